//! Which packets may meet a rule that differs: only these can fare differently.
//!
//! A rule asks about a packet as it is where the rule stands. That may be the packet as it was
//! sent, the same after NAT, the answer, or an error that somebody reports. Each of these is told in
//! terms of the packet as it was sent, and where that is not possible any packet will do: too many
//! are no harm, too few would be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::hook::Hook;
use nattrace_model::host::SocketProtocol;
use nattrace_model::host::route::RouteKind;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Base, ChainId, ChainKind};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use super::change::Hosts;
use super::decisions::{Version, differing};
use super::edits::{Edited, Edits};
use super::ends::{self, Ending};
use super::extent::addresses;
use super::identity::Identities;
use super::meets::{Meets, View, forget, forget_others};
use super::search::{Map, Search};
use super::translation::Known;
use crate::header::bits;
use crate::packets::PacketSet;
use crate::space::{Field, Space};
use crate::walk::Entry;

/// Those of the earlier and of the later host.
type Searches<'a, 's> = [Search<'a, 's>; 2];

/// Packets as they may meet rules, by which translations may have changed them before.
struct Met {
    /// As they were sent.
    plain: BDDFunction,
    /// As they were sent, if they are not tracked.
    untracked: BDDFunction,
    /// Perhaps to another destination, and then they are for the host itself.
    local: BDDFunction,
    /// Perhaps to another destination.
    redirected: BDDFunction,
    /// Perhaps with another source, too.
    masked: BDDFunction,
}

/// Packets that may fare differently.
pub(super) struct Touched {
    /// In whatever state.
    pub(super) any: PacketSet,
    /// Where they belong to no connection that is known.
    pub(super) untracked: PacketSet,
}

/// The packets of an entry that may fare differently.
pub(super) fn touched(
    hosts: &Hosts<'_>,
    identities: &(Identities<'_>, Identities<'_>),
    edits: &Edits,
    maps: &(Map<'_>, Map<'_>),
    space: &Space,
    entry: &Entry,
) -> Touched {
    if edits.everything.contains(&space.family()) {
        return Touched { any: space.all(), untracked: space.none() };
    }
    let scene = Scene { hosts, identities, edits, maps, space };
    let met = scene.meet_all(entry);
    let mut all = scene.all_of(&met);
    let ports = scene.proxied(entry, &all);
    all = space.or(&all, &scene.untranslated(&space.nothing(), &ports, &ports));
    let real = |function| space.all().intersection(&space.set(function));
    let mut any = real(all);
    if *entry == Entry::LocalAnySource {
        // The source of the set means nothing; rules see one of the host's own.
        let own = space.set(scene.own(Field::Source));
        any = space.set(forget(space, any.intersection(&own).function(), &[Field::Source]));
    }
    Touched { untracked: real(met.untracked).difference(&any), any }
}

/// What is compared.
struct Scene<'a> {
    hosts: &'a Hosts<'a>,
    identities: &'a (Identities<'a>, Identities<'a>),
    edits: &'a Edits,
    maps: &'a (Map<'a>, Map<'a>),
    space: &'a Space,
}

impl Scene<'_> {
    /// The packets that may meet a rule that differs, docker-proxy's connections aside.
    fn met(&self, entry: &Entry) -> BDDFunction {
        self.all_of(&self.meet_all(entry))
    }

    /// Those that may be tracked, as they were sent.
    fn all_of(&self, met: &Met) -> BDDFunction {
        let found = self.untranslated(&met.local, &met.redirected, &met.masked);
        self.space.or(&met.plain, &found)
    }

    fn meet_all(&self, entry: &Entry) -> Met {
        let space = self.space;
        let search = |map| Search::new(space, entry, map);
        let mut searches = [search(&self.maps.0), search(&self.maps.1)];
        let mut met = Met::none(space);
        for edited in self.edits.chains.iter().filter(|own| own.family == space.family()) {
            self.meet(edited, &mut searches, entry, &mut met);
        }
        met
    }

    /// Adds the packets that may fare differently because of one chain.
    fn meet(&self, edited: &Edited, searches: &mut Searches<'_, '_>, entry: &Entry, met: &mut Met) {
        let space = self.space;
        let mut bases = Vec::new();
        for (search, own) in searches.iter().zip([&edited.before, &edited.after]) {
            bases.extend(own.iter().flat_map(|(id, _)| search.map.bases(*id)));
        }
        let own = self.in_view(edited, searches, View::Packet);
        let answer = self.in_view(edited, searches, View::Answer);
        let from_outside = matches!(entry, Entry::Interface(_));
        let is = |hooks: &[Hook]| bases.iter().all(|base| hooks.contains(&base.hook));
        let is_nat = bases.iter().all(|base| base.kind == ChainKind::Nat);
        let is_early = is_nat && is(&[Hook::Prerouting, Hook::Output]);
        let masked = bases.iter().any(|base| sees_masked(base, from_outside));
        let mut all = Vec::new();
        if is_early && from_outside {
            // First packets as they come in.
            met.plain = space.or(&met.plain, &own);
        } else if is(&[Hook::Input]) && !masked {
            met.local = space.or(&met.local, &space.and(&own, &self.own_destinations()));
        } else {
            all.push(own);
        }
        if is_early && !(self.maps.0.is_intricate || self.maps.1.is_intricate) {
            // Answers meet rules of NAT where the packet was not tracked, and then it was not
            // translated; or where a socket answers from another address than it was asked at.
            let to = match self.maps.0.leaves_untracked || self.maps.1.leaves_untracked {
                true => &mut met.plain,
                false => &mut met.untracked,
            };
            *to = space.or(to, &answer);
            let stream = space.equals(Field::Protocol, protocol::TCP.into());
            let others = space.minus(&self.answered_by_host(&answer), &stream);
            met.local = space.or(&met.local, &space.and(&others, &self.own_destinations()));
        } else {
            if !is(&[Hook::Forward]) {
                all.push(self.told_by_host(&answer));
            }
            all.push(answer);
        }
        let all = space.union(all);
        let to = if masked { &mut met.masked } else { &mut met.redirected };
        *to = space.or(to, &all);
        // docker-proxy may look a port up in a rule, wherever that stands.
        for (search, own) in searches.iter().zip([&edited.before, &edited.after]) {
            for rule in own.iter().flat_map(|(id, rules)| search.map.rules(*id, rules)) {
                if matches!(rule.1.target, Target::Dnat(..)) {
                    met.redirected = space.or(&met.redirected, &search.ports_of(rule.1));
                }
            }
        }
    }

    /// The packets that meet a rule of a chain that differs, and for which the two versions of the
    /// chain decide differently, as far as that can be told.
    fn in_view(&self, edited: &Edited, searches: &mut Searches<'_, '_>, view: View) -> BDDFunction {
        let space = self.space;
        let mut all = Vec::new();
        let [before, after] = searches;
        for (search, own) in [(before, &edited.before), (after, &edited.after)] {
            for (id, rule) in own.iter().flat_map(|(id, rules)| search.map.rules(*id, rules)) {
                all.push(search.rule(id, rule, view));
            }
        }
        let care = space.union(all);
        let (Some((before, _)), Some((after, _))) = (&edited.before, &edited.after) else {
            return care;
        };
        let (Some(old), Some(new)) =
            (self.hosts.before.rules.chain(*before), self.hosts.after.rules.chain(*after))
        else {
            return care;
        };
        let meets = Meets { space, view };
        let old = Version { chain: old, identities: &self.identities.0, map: &self.maps.0 };
        let new = Version { chain: new, identities: &self.identities.1, map: &self.maps.1 };
        let differ = differing(&meets, &old, &new, &care).unwrap_or(care);
        self.ending_apart((*before, *after), &meets, differ)
    }

    /// Those of some packets for which the base chains that lead to a chain end differently too.
    fn ending_apart(
        &self,
        chains: (ChainId, ChainId),
        meets: &Meets<'_>,
        differ: BDDFunction,
    ) -> BDDFunction {
        if !differ.satisfiable() {
            return differ;
        }
        let maps = (&self.maps.0, &self.maps.1);
        let Some(pairs) = ends::pairs(maps, &self.identities.1, chains) else { return differ };
        let mut all = Vec::new();
        for (before, after) in pairs {
            let old = Ending { chain: before, identities: &self.identities.0, map: maps.0 };
            let new = Ending { chain: after, identities: &self.identities.1, map: maps.1 };
            match ends::differing(meets, &old, &new, &differ) {
                Some(packets) => all.push(packets),
                None => return differ,
            }
        }
        self.space.union(all)
    }

    /// The packets that are told from an address of the host's own choice: errors of ICMP about
    /// them, and answers of sockets that are bound to no address.
    fn told_by_host(&self, answer: &BDDFunction) -> BDDFunction {
        let space = self.space;
        let icmp = [protocol::ICMP, protocol::ICMPV6]
            .map(|number| space.equals(Field::Protocol, number.into()));
        let icmp = space.and(&self.of_host(answer), &space.union(icmp.to_vec()));
        let ports = [Field::SourcePort, Field::DestinationPort];
        let about = [Field::Destination, Field::Protocol, ports[0], ports[1]];
        space.or(&forget(space, &icmp, &about), &self.answered_by_host(answer))
    }

    /// The packets that sockets which are bound to no address answer from another one than they
    /// were asked at.
    fn answered_by_host(&self, answer: &BDDFunction) -> BDDFunction {
        forget(self.space, &self.of_host(answer), &[Field::Destination])
    }

    /// Those of some answers that come from an address that the host has, or may have.
    fn of_host(&self, answer: &BDDFunction) -> BDDFunction {
        self.space.and(answer, &self.own(Field::Destination))
    }

    /// The packets of which an end is an address that one of the hosts has, or may have.
    fn own(&self, field: Field) -> BDDFunction {
        let space = self.space;
        let host = |system: &System| -> Vec<IpAddr> {
            let addresses = system.host.interfaces.iter().flat_map(|own| &own.addresses);
            addresses.map(|own| own.local).collect()
        };
        let unknown: [IpAddr; 4] = [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::LOCALHOST.into(),
        ];
        let mut own = [host(self.hosts.before), host(self.hosts.after), unknown.to_vec()].concat();
        own.sort_unstable();
        own.dedup();
        let each = own.iter().map(|own| space.addresses(field, *own, *own));
        space.union(each.collect())
    }

    /// The packets that may be for one of the hosts itself: for an own address, for everybody on a
    /// link, or where a route says so.
    fn own_destinations(&self) -> BDDFunction {
        let space = self.space;
        let mut all = vec![self.own(Field::Destination)];
        let everybody: [(IpAddr, u8); 4] = [
            (Ipv4Addr::new(224, 0, 0, 0).into(), 3),
            (Ipv4Addr::LOCALHOST.into(), 8),
            (Ipv4Addr::UNSPECIFIED.into(), 8),
            (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
        ];
        for (address, length) in everybody {
            all.push(space.prefix(Field::Destination, &Prefix::new(address, length)));
        }
        for system in [self.hosts.before, self.hosts.after] {
            for own in system.host.interfaces.iter().flat_map(|own| &own.addresses) {
                let ends = addresses(
                    &space.set(space.prefix(Field::Destination, &own.subnet)),
                    Field::Destination,
                );
                for (first, last) in ends.iter().flat_map(|ends| ends.ranges()) {
                    all.push(space.equals(Field::Destination, *first));
                    all.push(space.equals(Field::Destination, *last));
                }
                if let Some(broadcast) = own.broadcast {
                    all.push(space.addresses(Field::Destination, broadcast, broadcast));
                }
            }
            let tables = system.host.routing.tables(space.family()).values();
            let routes = tables.flat_map(|table| table.routes());
            for route in routes.filter(|route| route.kind != RouteKind::Unicast) {
                all.push(space.prefix(Field::Destination, &route.destination));
            }
        }
        space.union(all)
    }

    /// The packets that are one of these, perhaps after a translation: of the first and second ones
    /// the destination may be another one, of the last the source too.
    fn untranslated(
        &self,
        local: &BDDFunction,
        redirected: &BDDFunction,
        masked: &BDDFunction,
    ) -> BDDFunction {
        let (space, mut all) = (self.space, self.space.or(redirected, masked));
        all = space.or(&all, &self.each_translation(masked, Field::Source));
        let translated =
            [&all, local].map(|these| self.each_translation(these, Field::Destination));
        space.union([&[all, local.clone()][..], &translated].concat())
    }

    /// The packets that a rule gives another source, or destination, so that they are one of these.
    fn each_translation(&self, these: &BDDFunction, field: Field) -> BDDFunction {
        let space = self.space;
        let port = match field {
            Field::Source => Field::SourcePort,
            _ => Field::DestinationPort,
        };
        if forget(space, these, &[field, port]) == *these {
            return space.nothing();
        }
        let values = addresses(&space.set(these.clone()), field);
        let ports = forget_others(space, these, port);
        let mut all = Vec::new();
        for map in [&self.maps.0, &self.maps.1] {
            let mut search = Search::new(space, &Entry::Local, map);
            for (id, given) in map.translations.giving(space.family(), field, values.as_ref()) {
                let wanted = given.may_have_ports(space, &ports, port);
                let Some(rule) = map.system.rules.rule(*id).filter(|_| wanted) else { continue };
                let result = space.and(these, &given.function(space, field, port));
                if !result.satisfiable() {
                    continue;
                }
                let fields: &[Field] =
                    if given.ports == Known::Same { &[field] } else { &[field, port] };
                let before = forget(space, &result, fields);
                // A source is translated last, when the destination may be another one.
                let sent = match field {
                    Field::Source => before,
                    _ => space.and(&before, &search.rule(*id, rule, View::Packet)),
                };
                all.push(sent);
            }
        }
        space.union(all)
    }

    /// What the host itself sends of another family that may meet a rule that differs, whatever its
    /// source is.
    fn of_family(&self, family: Family) -> (Space, BDDFunction) {
        let space = Space::new(family);
        let met = match self.edits.everything.contains(&family) {
            true => space.anything(),
            false => Scene { space: &space, ..*self }.met(&Entry::LocalAnySource),
        };
        let met = forget(&space, &met, &[Field::Source, Field::SourcePort]);
        (space, met)
    }

    /// The packets that docker-proxy may take whose own connection may meet a rule that differs, or
    /// that it takes somewhere because of such a rule.
    fn proxied(&self, entry: &Entry, met: &BDDFunction) -> BDDFunction {
        let space = self.space;
        let mut targets: Vec<Taken> = Vec::new();
        for system in [self.hosts.before, self.hosts.after] {
            proxy_targets(system, &mut targets);
        }
        let mut all = space.nothing();
        if targets.is_empty() {
            return all;
        }
        let local = match entry {
            Entry::LocalAnySource => met.clone(),
            Entry::Interface(_) | Entry::Local => self.met(&Entry::LocalAnySource),
        };
        let known = forget(space, &local, &[Field::Source, Field::SourcePort]);
        let mut other: Option<(Space, BDDFunction)> = None;
        for Taken { number, port, target } in targets {
            let meets = match target {
                None => true,
                Some((address, port)) if Family::of(address) != space.family() => {
                    // docker-proxy may connect by the other family.
                    let other = other.get_or_insert_with(|| self.of_family(Family::of(address)));
                    leads_to(&other.0, &other.1, address, port)
                }
                Some((address, port)) => leads_to(space, &known, address, port),
            };
            if meets {
                let taken = space.and(
                    &space.equals(Field::Protocol, number.into()),
                    &space.equals(Field::DestinationPort, port.into()),
                );
                all = space.or(&all, &taken);
            }
        }
        all
    }
}

/// Whether some of these packets go to a socket.
fn leads_to(space: &Space, packets: &BDDFunction, address: IpAddr, port: u16) -> bool {
    let there = space.and(
        &space.equals(Field::Destination, bits(address)),
        &space.equals(Field::DestinationPort, port.into()),
    );
    space.and(packets, &there).satisfiable()
}

/// A port on which docker-proxy may take connections.
#[derive(PartialEq, Eq)]
pub(super) struct Taken {
    /// The protocol's number.
    pub(super) number: u8,
    pub(super) port: u16,
    /// Where it connects to; `None` where rules say it.
    pub(super) target: Option<(IpAddr, u16)>,
}

/// The ports that docker-proxy may take connections on, with where it connects to; nowhere for
/// ports of which rules say it.
pub(super) fn proxy_targets(system: &System, targets: &mut Vec<Taken>) {
    let number = |own: SocketProtocol| match own {
        SocketProtocol::Tcp => protocol::TCP,
        SocketProtocol::Udp => protocol::UDP,
        SocketProtocol::Sctp => protocol::SCTP,
    };
    let host = &system.host;
    let mut add = |number, port, target| {
        let target = Taken { number, port, target };
        if !targets.contains(&target) {
            targets.push(target);
        }
    };
    let listeners = host.listeners.iter().flatten();
    for own in listeners.filter(|own| own.processes.iter().any(|name| name == "docker-proxy")) {
        let known = host.inventory.containers.iter().any(|container| {
            container.published.iter().any(|published| published.host_port == own.port)
        });
        if !known {
            add(number(own.protocol), own.port, None);
        }
    }
    for container in &host.inventory.containers {
        let addresses = container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        for published in &container.published {
            for (address, _) in addresses.clone() {
                let target = Some((*address, published.container_port));
                add(number(published.protocol), published.host_port, target);
            }
        }
    }
}

/// Whether a base chain may see packets whose source was translated, or answers to them.
fn sees_masked(base: &Base, from_outside: bool) -> bool {
    match base.hook {
        Hook::Prerouting | Hook::Output => base.priority <= -100 || !from_outside,
        Hook::Input => base.priority > 100 || !from_outside,
        Hook::Postrouting => base.priority > 100,
        Hook::Forward => false,
    }
}

impl Met {
    fn none(space: &Space) -> Self {
        let none = || space.nothing();
        Self { plain: none(), untracked: none(), local: none(), redirected: none(), masked: none() }
    }
}
