//! What a question demands, of all packets of a class at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use nattrace_model::answer::{Outcome, Verdict};

use super::packets::{destinations, protocols, sources};
use crate::class::{AddressAfter, Class, EgressAfter, PortAfter, Way};
use crate::packets::PacketSet;
use crate::policy::{AddressSet, Demand, Landing, Question, Service, Spot, Unchanged, Where};
use crate::space::Space;

/// What a class means for a demand.
pub(crate) struct Found {
    /// The packets that the demand is about.
    pub(crate) concerned: PacketSet,
    /// Those that break it on all of their ways.
    pub(crate) broken_always: PacketSet,
    /// Those that break it on some way, but not on all.
    pub(crate) broken_sometimes: PacketSet,
    /// What is to blame where nobody knows a way.
    pub(crate) unknown: Option<String>,
}

/// What one way of a class means for a demand.
struct OnWay {
    concerned: PacketSet,
    broken: PacketSet,
    unknown: Option<String>,
}

/// Weighs classes against a demand.
pub(crate) struct Effects<'q> {
    question: &'q Question,
    space: &'q Space,
    /// Sets of packets to and from the addresses of zones, which many classes are held against.
    known: RefCell<HashMap<(End, AddressSet), PacketSet>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Source,
    Destination,
}

impl<'q> Effects<'q> {
    pub(crate) fn new(question: &'q Question, space: &'q Space) -> Self {
        Self { question, space, known: RefCell::new(HashMap::new()) }
    }

    pub(crate) fn of(&self, class: &Class) -> Found {
        let none = || self.space.none();
        let mut found = Found {
            concerned: none(),
            broken_always: none(),
            broken_sometimes: none(),
            unknown: class.undetermined.clone(),
        };
        let mut always: Option<PacketSet> = None;
        let mut some = none();
        for way in &class.ways {
            let on_way = self.on_way(class, way);
            found.concerned = found.concerned.union(&on_way.concerned);
            found.unknown = found.unknown.take().or(on_way.unknown);
            some = some.union(&on_way.broken);
            always = Some(match always {
                Some(always) => always.intersection(&on_way.broken),
                None => on_way.broken,
            });
        }
        // Where there may be more ways than are known, none is on all of them.
        if class.undetermined.is_none() {
            found.broken_always = always.unwrap_or_else(none);
        }
        found.broken_sometimes = some.difference(&found.broken_always);
        found
    }

    fn on_way(&self, class: &Class, way: &Way) -> OnWay {
        let nobody_knows = |what: &str| {
            Some(way.because.clone().unwrap_or_else(|| format!("{what} is not known")))
        };
        let none = self.space.none();
        match &self.question.demand {
            Demand::Leaves { landing, sources, unchanged } => {
                if is_open(way.verdict) {
                    let unknown = nobody_knows("what becomes of the packet");
                    return OnWay { concerned: none.clone(), broken: none, unknown };
                }
                let Some(egress) = way.egress.as_ref().filter(|_| arrives(way.verdict)) else {
                    return OnWay { concerned: none.clone(), broken: none, unknown: None };
                };
                let concerned = self.landed(class, egress, landing);
                if egress.source_unknown && !concerned.is_empty() {
                    let unknown = nobody_knows("the source that it leaves with");
                    return OnWay { concerned, broken: none, unknown };
                }
                let mut broken = concerned.difference(&self.lies_in(&egress.source, sources));
                if *unchanged == Unchanged::Allowed {
                    broken = broken.difference(&self.same_source(way, &egress.source));
                }
                OnWay { concerned, broken, unknown: None }
            }
            Demand::Arrives(landing) => {
                let concerned = class.set.clone();
                if way.outcome == Outcome::Undetermined {
                    let unknown = nobody_knows("whether the answer arrives");
                    return OnWay { concerned, broken: none, unknown };
                }
                if way.outcome != Outcome::Connects {
                    return OnWay { broken: concerned.clone(), concerned, unknown: None };
                }
                if landing.is_empty() {
                    return OnWay { concerned, broken: none, unknown: None };
                }
                let arrived = self.arrived(class, way, landing);
                OnWay { broken: concerned.difference(&arrived), concerned, unknown: None }
            }
            Demand::NeverLands(landing) => {
                let concerned = class.set.clone();
                if is_open(way.verdict) {
                    let unknown = nobody_knows("what becomes of the packet");
                    return OnWay { concerned, broken: none, unknown };
                }
                let broken = self.arrived(class, way, landing);
                OnWay { concerned, broken, unknown: None }
            }
        }
    }

    /// The packets of a class that arrive in a landing by a way, docker-proxy's doing included.
    fn arrived(&self, class: &Class, way: &Way, landing: &[Landing]) -> PacketSet {
        let mut arrived = match way.egress.as_ref().filter(|_| arrives(way.verdict)) {
            Some(egress) => self.landed(class, egress, landing),
            None => self.space.none(),
        };
        if let Some((address, port)) = way.proxied_to {
            let to = Proxied { address, port, by: way.proxied_by.as_deref() };
            for landing in landing.iter().filter(|landing| to.is_into(landing)) {
                let meant = protocols(self.space, &landing.service.protocols);
                arrived = arrived.union(&class.set.intersection(&meant));
            }
        }
        arrived
    }

    /// The packets of a class that leave into a landing.
    fn landed(&self, class: &Class, egress: &EgressAfter, landing: &[Landing]) -> PacketSet {
        let mut landed = self.space.none();
        for landing in landing {
            let meant = class.set.intersection(&self.served(&landing.service, egress));
            if meant.is_empty() {
                continue;
            }
            for spot in &landing.spots {
                let there = match (spot, egress.out_interface.as_deref()) {
                    (Spot::Local(_), None) => true,
                    (Spot::Beyond { interface, .. }, Some(out)) => {
                        interface.as_deref().is_none_or(|name| name == out)
                    }
                    (Spot::Local(_), Some(_)) | (Spot::Beyond { .. }, None) => false,
                };
                if there {
                    let inside = self.lies_in(&egress.destination, spot.addresses());
                    landed = landed.union(&meant.intersection(&inside));
                }
            }
        }
        landed
    }

    /// The packets that a service means as they leave.
    fn served(&self, service: &Service, egress: &EgressAfter) -> PacketSet {
        let space = self.space;
        let meant = protocols(space, &service.protocols);
        if service.ports.is_empty() {
            return meant;
        }
        let ported = match egress.destination_port {
            PortAfter::Sent => service
                .ports
                .iter()
                .map(|(first, last)| space.destination_ports(*first, *last))
                .fold(space.none(), |all, ports| all.union(&ports)),
            PortAfter::Rewritten(port)
                if service.ports.iter().any(|(first, last)| (*first..=*last).contains(&port)) =>
            {
                space.destination_ports(0, u16::MAX)
            }
            PortAfter::Rewritten(_) => space.none(),
        };
        meant.intersection(&ported)
    }

    /// The packets for which an address, as it became, is one of these.
    fn lies_in(&self, after: &AddressAfter, addresses: &AddressSet) -> PacketSet {
        match after {
            AddressAfter::Rewritten(own) if addresses.contains(*own) => self.space.all(),
            AddressAfter::Rewritten(_) => self.space.none(),
            AddressAfter::Source => self.known(End::Source, addresses),
            AddressAfter::Destination => self.known(End::Destination, addresses),
            AddressAfter::SourceMapped(_) | AddressAfter::DestinationMapped(_) => {
                let prefixes = addresses.prefixes();
                let inside = prefixes.iter().map(|prefix| after.lies_in(self.space, prefix));
                inside.fold(self.space.none(), |all, set| all.union(&set))
            }
        }
    }

    fn known(&self, end: End, addresses: &AddressSet) -> PacketSet {
        let mut known = self.known.borrow_mut();
        let make = || match end {
            End::Source => sources(self.space, addresses),
            End::Destination => destinations(self.space, addresses),
        };
        known.entry((end, addresses.clone())).or_insert_with(make).clone()
    }

    /// The packets whose source, as it became, is the one that they came with.
    fn same_source(&self, way: &Way, after: &AddressAfter) -> PacketSet {
        if self.question.from.at == Where::Unbound {
            return if way.as_picked { self.space.all() } else { self.space.none() };
        }
        match after {
            AddressAfter::Source => self.space.all(),
            AddressAfter::Rewritten(own) => self.known(End::Source, &AddressSet::one(*own)),
            // Exchanging a network part for itself changes nothing.
            AddressAfter::SourceMapped(prefix) => self.space.source(prefix),
            AddressAfter::Destination | AddressAfter::DestinationMapped(_) => self.space.none(),
        }
    }
}

/// Where docker-proxy connects to.
pub(super) struct Proxied<'a> {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// The interface by which its packets leave, where they do.
    pub(super) by: Option<&'a str>,
}

impl Proxied<'_> {
    /// Whether that is where a landing is.
    pub(super) fn is_into(&self, landing: &Landing) -> bool {
        let ports = &landing.service.ports;
        let fits = |(first, last): &(u16, u16)| (*first..=*last).contains(&self.port);
        (ports.is_empty() || ports.iter().any(fits))
            && landing.spots.iter().any(|spot| match spot {
                Spot::Beyond { addresses, interface } => {
                    let other =
                        interface.as_deref().zip(self.by).is_some_and(|(own, by)| own != by);
                    !other && addresses.contains(self.address)
                }
                Spot::Local(_) => false,
            })
    }
}

/// Whether a packet with this verdict gets somewhere.
pub(crate) fn arrives(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Forwarded | Verdict::Delivered | Verdict::Proxied | Verdict::Bridged => true,
        Verdict::Dropped
        | Verdict::Rejected
        | Verdict::Unroutable
        | Verdict::Martian
        | Verdict::TtlExpired
        | Verdict::Queued
        | Verdict::Undetermined => false,
    }
}

/// Whether something decides that nobody knows: a program, or what is not modelled.
pub(super) fn is_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Undetermined | Verdict::Queued)
}
