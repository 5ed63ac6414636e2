//! Which address and port a NAT target picks (kernel-facts B).

use std::net::IpAddr;

use nattrace_model::target::NatOptions;
use nattrace_parser::syntax::Family;

use super::Encoder;
use super::address::number;
use super::state::{Drawn, Maybe, Merge, Trip, Tuple};
use crate::smt::term::{B, Operation, V};

/// Which end of a packet is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manip {
    Source,
    Destination,
}

/// What an end is mapped to.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    pub(super) address: V,
    pub(super) port: Maybe,
    pub(super) drawn: Drawn,
}

/// What a target says about ports.
#[derive(Clone, Copy, Default)]
pub(super) struct Ports {
    pub(super) range: Option<(u16, u16)>,
    pub(super) base: Option<u16>,
}

/// The tuples of another connection: no answer may look like them.
#[derive(Clone, Copy)]
pub(super) struct Claims {
    /// Where there is such a connection.
    pub(super) when: B,
    pub(super) original: Tuple,
    pub(super) reply: Tuple,
}

impl Encoder<'_> {
    /// What the first connection of an exchange has, where a packet belongs to a second one.
    pub(super) fn claims(&self, trip: &Trip) -> Claims {
        let (first, second) = (&trip.first, &trip.second);
        let same_zone = self.t.equal(first.zone, second.zone);
        let when = self.t.all([trip.tracking.second, first.begun, first.confirmed, same_zone]);
        Claims { when, original: first.original, reply: first.reply }
    }

    /// Whether the answer to such a packet would be taken for one of another connection
    /// (`nf_nat_used_tuple`).
    pub(super) fn taken(&self, claims: &Claims, tuple: &Tuple) -> B {
        let t = &self.t;
        if claims.when == t.no {
            return t.no;
        }
        let answer = self.inverted(tuple);
        let of = |claimed: &Tuple| self.same_tuple(claimed, &answer);
        t.and(claims.when, t.or(of(&claims.original), of(&claims.reply)))
    }

    /// Picks address and port where a range of addresses is given (`get_unique_tuple`).
    pub(super) fn choose(
        &self,
        manip: Manip,
        current: &Tuple,
        addresses: Option<(IpAddr, IpAddr)>,
        ports: Ports,
        (options, zone, claims): (NatOptions, V, &Claims),
    ) -> Mapping {
        let t = &self.t;
        let own = match manip {
            Manip::Source => current.source,
            Manip::Destination => current.destination,
        };
        let address = match addresses {
            None => own,
            Some((first, last)) if first == last => self.address(first),
            Some(range) => {
                let picked = self.pick(manip, range, current, (options, zone));
                let fits = match ports.range {
                    Some((first, last)) => t.implies(
                        self.has_ports(current.protocol),
                        t.within(current.from_port, first, last),
                    ),
                    None => t.yes,
                };
                let may_stay = t.is(manip == Manip::Source && !options.random);
                let stays = t.all([may_stay, fits, self.in_range(own, range)]);
                t.choice(t.minus(stays, self.taken(claims, current)), own, picked)
            }
        };
        self.with_ports(manip, current, address, (ports, options, claims))
    }

    /// Picks a port to go with an address (`nf_nat_l4proto_unique_tuple`, kernel-facts B8, B11,
    /// B12, B19, K19).
    pub(super) fn with_ports(
        &self,
        manip: Manip,
        current: &Tuple,
        address: V,
        (ports, options, claims): (Ports, NatOptions, &Claims),
    ) -> Mapping {
        let t = &self.t;
        let ported = self.has_ports(current.protocol);
        let icmp = self.is_icmp(current.protocol);
        let (own, tuple) = match manip {
            Manip::Source => (current.from_port, Tuple { source: address, ..*current }),
            Manip::Destination => (current.to_port, Tuple { destination: address, ..*current }),
        };
        let used = |port: V| {
            let tuple = match manip {
                Manip::Source => Tuple { from_port: port, ..tuple },
                Manip::Destination => Tuple { to_port: port, ..tuple },
            };
            self.taken(claims, &tuple)
        };
        let number = |port: u16| t.number(16, port);
        let none = self.not_drawn();
        let (port, drawn) = match ports.range {
            None if manip == Manip::Source => {
                let is = t.or(t.is(options.random), used(own));
                (Maybe { is, value: own }, Drawn { is, ..self.class_of(own) })
            }
            None => (self.nothing(16), none),
            Some((first, last)) => {
                let yes = t.yes;
                let size = u32::from(last.saturating_sub(first)) + 1;
                // Of more than two ports one is free: another connection has two tuples.
                let search = |begin: &dyn Fn(u16) -> V| {
                    let tried = u16::try_from(size.min(3)).unwrap_or(3);
                    let mut found = begin(tried.saturating_sub(1));
                    for step in (0..tried.saturating_sub(1)).rev() {
                        let port = begin(step);
                        found = t.choice(used(port), found, port);
                    }
                    found
                };
                if let Some(base) = ports.base {
                    let offset = t.binary(Operation::Sub, own, number(base));
                    let port = search(&|step| {
                        let offset = t.binary(Operation::Add, offset, number(step));
                        let offset = match u16::try_from(size) {
                            Ok(size) => t.binary(Operation::Rem, offset, number(size)),
                            Err(_) => offset,
                        };
                        t.binary(Operation::Add, number(first), offset)
                    });
                    (Maybe { is: yes, value: port }, none)
                } else if first == last {
                    (Maybe { is: yes, value: number(first) }, none)
                } else {
                    let low = search(&|step| number(first.saturating_add(step)));
                    let high = search(&|step| number(last.saturating_sub(step)));
                    let inside = t.within(own, first, last);
                    let stays = t.minus(t.is(!options.random), used(own));
                    let stays = t.and(stays, inside);
                    let several = t.minus(t.at_most(low, high), t.equal(low, high));
                    let draws = t.is(options.random || manip == Manip::Source);
                    let is = t.minus(t.and(draws, several), stays);
                    let value = t.choice(stays, own, low);
                    (Maybe { is: yes, value }, Drawn { is, first: low, last: high })
                }
            }
        };
        // The identifier of a query is drawn.
        let is = t.or(t.is(options.random), self.taken(claims, &tuple));
        let identifier = Drawn { is, first: number(0), last: number(u16::MAX) };
        let of_icmp = Drawn::merge(t, icmp, &identifier, &none);
        Mapping {
            address,
            port: Maybe { is: t.and(ported, port.is), value: port.value },
            drawn: Drawn::merge(t, ported, &drawn, &of_icmp),
        }
    }

    /// From which ports another one is drawn in place of a port (kernel-facts B8).
    pub(super) fn class_of(&self, port: V) -> Drawn {
        let t = &self.t;
        let number = |port: u16| t.number(16, port);
        let low = t.at_most(port, number(511));
        let middle = t.at_most(port, number(1023));
        let pick = |a: u16, b: u16, c: u16| {
            t.choice(low, number(a), t.choice(middle, number(b), number(c)))
        };
        Drawn { is: t.yes, first: pick(1, 600, 1024), last: pick(511, 1023, u16::MAX) }
    }

    /// The kernel's unseeded hash picks an address of a range (`find_best_ips_proto`,
    /// kernel-facts B13).
    fn pick(
        &self,
        manip: Manip,
        (first, last): (IpAddr, IpAddr),
        current: &Tuple,
        (options, zone): (NatOptions, V),
    ) -> V {
        let t = &self.t;
        let own = self.words(current.source);
        let start = self.hash_start(current, (options, zone));
        let hash = self.jhash2(own, start);
        let (first, last) = (number(first), number(last));
        if self.family() == Family::Ipv4 {
            let count = last.wrapping_sub(first).wrapping_add(1);
            let offset = self.scaled(hash, t.number(32, count));
            return t.binary(Operation::Add, t.number(32, first), offset);
        }
        self.pick6(manip, (hash, options), (first, last), current)
    }

    fn hash_start(&self, current: &Tuple, (options, zone): (NatOptions, V)) -> V {
        let t = &self.t;
        if options.persistent {
            return t.number(32, 0u8);
        }
        let [first, .., last] = self.words(current.destination);
        let word = if self.is_ipv4() { first } else { last };
        t.binary(Operation::Xor, word, t.widened(zone, 32))
    }

    /// The IPv6 half: word by word, and once a word is not the highest the following ones are free.
    fn pick6(
        &self,
        manip: Manip,
        (mut hash, options): (V, NatOptions),
        (first, last): (u128, u128),
        current: &Tuple,
    ) -> V {
        let t = &self.t;
        let word = |address: u128, at: u32| t.number(32, address >> (96 - 32 * at) & 0xffff_ffff);
        let mut free = t.no;
        let mut picked: Option<V> = None;
        for (at, destination) in (0..4).zip(self.words(current.destination)) {
            let (low, high) = (word(first, at), word(last, at));
            let one = t.number(32, 1u8);
            let count = t.binary(Operation::Add, t.binary(Operation::Sub, high, low), one);
            let bounded = t.binary(Operation::Add, low, self.scaled(hash, count));
            let chosen = t.choice(free, self.scaled(hash, t.number(32, u32::MAX)), bounded);
            free = t.or(free, t.not(t.equal(chosen, high)));
            if !options.persistent {
                let stir = match manip {
                    Manip::Source => destination,
                    Manip::Destination => self.swapped(chosen),
                };
                hash = t.binary(Operation::Xor, hash, stir);
            }
            picked = Some(picked.map_or(chosen, |all| t.concat(all, chosen)));
        }
        picked.unwrap_or_else(|| self.nowhere())
    }

    /// The address's four words: network byte order in memory, read as little-endian numbers.
    fn words(&self, address: V) -> [V; 4] {
        let t = &self.t;
        if self.is_ipv4() {
            let zero = t.number(32, 0u8);
            return [self.swapped(address), zero, zero, zero];
        }
        [96, 64, 32, 0].map(|low| self.swapped(t.extract(address, low + 31, low)))
    }

    /// The bytes of a word the other way round.
    fn swapped(&self, word: V) -> V {
        let t = &self.t;
        let [first, second, third, fourth] =
            [0, 8, 16, 24].map(|low| t.extract(word, low + 7, low));
        t.concat(t.concat(first, second), t.concat(third, fourth))
    }

    /// `hash * count >> 32` (`reciprocal_scale`).
    fn scaled(&self, hash: V, count: V) -> V {
        let t = &self.t;
        let product = t.binary(Operation::Mul, t.widened(count, 64), t.widened(hash, 64));
        t.extract(product, 63, 32)
    }

    /// `jhash2` of four words (include/linux/jhash.h).
    fn jhash2(&self, [first, second, third, fourth]: [V; 4], start: V) -> V {
        let t = &self.t;
        let add = |a, b| t.binary(Operation::Add, a, b);
        let sub = |a, b| t.binary(Operation::Sub, a, b);
        let xor = |a, b| t.binary(Operation::Xor, a, b);
        let turn = |a, by| t.rotated_left(a, by);
        let seed = add(t.number(32, 0xdead_beef_u32.wrapping_add(16)), start);
        let (mut a, mut b, mut c) = (add(seed, first), add(seed, second), add(seed, third));
        for (by, next, last) in [(4, 6, 8), (16, 19, 4)] {
            a = xor(sub(a, c), turn(c, by));
            c = add(c, b);
            b = xor(sub(b, a), turn(a, next));
            a = add(a, c);
            c = xor(sub(c, b), turn(b, last));
            b = add(b, a);
        }
        a = add(a, fourth);
        c = sub(xor(c, b), turn(b, 14));
        a = sub(xor(a, c), turn(c, 11));
        b = sub(xor(b, a), turn(a, 25));
        c = sub(xor(c, b), turn(b, 16));
        a = sub(xor(a, c), turn(c, 4));
        b = sub(xor(b, a), turn(a, 14));
        sub(xor(c, b), turn(b, 24))
    }
}
