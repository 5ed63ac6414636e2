//! Which packets may meet a rule that differs: only these can fare differently.
//!
//! A rule asks about a packet as it is where the rule stands. That may be the packet as it was
//! sent, the same after NAT, the answer, or an error that somebody reports. Each of these is told in
//! terms of the packet as it was sent, and where that is not possible any packet will do: too many
//! are no harm, too few would be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::condition::Condition;
use nattrace_model::hook::Hook;
use nattrace_model::host::SocketProtocol;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Base, ChainId, ChainKind, Rule, RuleId};
use nattrace_model::target::{Action, Target};
use nattrace_parser::syntax::Family;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use super::change::Hosts;
use super::decisions::{Version, differing};
use super::edits::{Edited, Edits};
use super::identity::Identities;
use super::meets::{Meets, View, forget, forget_others};
use super::translation::{Known, given};
use crate::header::bits;
use crate::packets::PacketSet;
use crate::space::{Field, Space};
use crate::walk::Entry;

/// What of a host is needed again and again.
pub(super) struct Map<'s> {
    system: &'s System,
    /// The rules that call a chain.
    callers: HashMap<ChainId, Vec<RuleId>>,
    /// The rules that may give packets another destination, or another source.
    translations: Vec<RuleId>,
}

impl<'s> Map<'s> {
    pub(super) fn new(system: &'s System) -> Self {
        let mut map = Self { system, callers: HashMap::new(), translations: Vec::new() };
        for (chain, all) in (0u32..).map(ChainId).zip(&system.rules.chains) {
            for (index, rule) in (0u32..).zip(&all.rules) {
                let id = RuleId { chain, index };
                rule.target.calls(&mut |called, _| map.callers.entry(called).or_default().push(id));
                if may_translate(&rule.target) {
                    map.translations.push(id);
                }
            }
        }
        map
    }

    /// Rules of a chain.
    fn rules<'m>(
        &'m self,
        chain: ChainId,
        indices: &'m [u32],
    ) -> impl Iterator<Item = (RuleId, &'s Rule)> + 'm {
        let system = self.system;
        let ids = indices.iter().map(move |index| RuleId { chain, index: *index });
        ids.filter_map(move |id| Some((id, system.rules.rule(id)?)))
    }

    /// The base chains that lead to a chain.
    fn bases(&self, chain: ChainId) -> Vec<Base> {
        let mut seen = vec![chain];
        let mut at = 0;
        let mut bases = Vec::new();
        while let Some(id) = seen.get(at).copied() {
            at += 1;
            bases.extend(self.system.rules.chain(id).and_then(|chain| chain.base));
            for caller in self.callers.get(&id).into_iter().flatten() {
                if !seen.contains(&caller.chain) {
                    seen.push(caller.chain);
                }
            }
        }
        bases
    }

    /// Whether a target leads to rules that change packets in passing.
    pub(super) fn modifies(&self, target: &Target) -> bool {
        let mut seen: Vec<ChainId> = Vec::new();
        target.calls(&mut |called, _| seen.push(called));
        let mut at = 0;
        while let Some(id) = seen.get(at).copied() {
            at += 1;
            let rules = self.system.rules.chain(id).map_or(&[][..], |chain| &chain.rules);
            for rule in rules {
                let calls = matches!(rule.target, Target::Jump(_) | Target::Goto(_));
                let passes = matches!(rule.target, Target::Return) || calls;
                if !(passes || rule.target.ends() || rule.target.does_nothing()) {
                    return true;
                }
                rule.target.calls(&mut |called, _| {
                    if !seen.contains(&called) {
                        seen.push(called);
                    }
                });
            }
        }
        false
    }
}

fn may_translate(target: &Target) -> bool {
    match target {
        Target::Snat(..)
        | Target::Dnat(..)
        | Target::Masquerade(..)
        | Target::Redirect(..)
        | Target::Netmap(_)
        | Target::Unsupported(_) => true,
        Target::Sequence(actions) => actions.iter().any(|action| match action {
            Action::Do(target) => may_translate(target),
            Action::If(_) => false,
        }),
        Target::Map(map) => {
            map.entries.iter().map(|entry| &entry.target).chain(&map.otherwise).any(may_translate)
        }
        _ => false,
    }
}

/// Packets of one space that start by one entry, as they meet rules of one host.
struct Search<'a, 's> {
    space: &'a Space,
    entry: &'a Entry,
    map: &'a Map<'s>,
    reached: HashMap<(ChainId, View), BDDFunction>,
}

/// Those of the earlier and of the later host.
type Searches<'a, 's> = [Search<'a, 's>; 2];

/// Packets as they may meet rules, by which translations may have changed them before.
struct Met {
    /// As they were sent.
    plain: BDDFunction,
    /// Perhaps to another destination.
    redirected: BDDFunction,
    /// Perhaps with another source, too.
    masked: BDDFunction,
}

/// The packets of an entry that may fare differently.
pub(super) fn touched(
    hosts: &Hosts<'_>,
    identities: &(Identities<'_>, Identities<'_>),
    edits: &Edits,
    maps: &(Map<'_>, Map<'_>),
    space: &Space,
    entry: &Entry,
) -> PacketSet {
    if edits.everything.contains(&space.family()) {
        return space.all();
    }
    let scene = Scene { hosts, identities, edits, maps, space };
    let mut all = scene.met(entry);
    let ports = scene.proxied(entry, &all);
    all = space.or(&all, &scene.untranslated(&ports, &ports));
    space.all().intersection(&space.set(all))
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
        let space = self.space;
        let search = |map| Search { space, entry, map, reached: HashMap::new() };
        let mut searches = [search(&self.maps.0), search(&self.maps.1)];
        let mut met = Met::none(space);
        for edited in self.edits.chains.iter().filter(|own| own.family == space.family()) {
            self.meet(edited, &mut searches, entry, &mut met);
        }
        let found = self.untranslated(&met.redirected, &met.masked);
        space.or(&met.plain, &found)
    }

    /// Adds the packets that may fare differently because of one chain.
    fn meet(&self, edited: &Edited, searches: &mut Searches<'_, '_>, entry: &Entry, met: &mut Met) {
        let space = self.space;
        let mut bases = Vec::new();
        for (search, own) in searches.iter().zip([&edited.before, &edited.after]) {
            bases.extend(own.iter().flat_map(|(id, _)| search.map.bases(*id)));
        }
        let is_nat = bases.iter().all(|base| base.kind == ChainKind::Nat);
        let own = self.in_view(edited, searches, View::Packet);
        // Answers meet rules of NAT too, where the packet was not tracked.
        let answer = self.in_view(edited, searches, View::Answer);
        let mut all = vec![self.told_by_host(&answer), answer];
        let from_outside = matches!(entry, Entry::Interface(_));
        let first = |base: &Base| matches!(base.hook, Hook::Prerouting | Hook::Output);
        if is_nat && from_outside && bases.iter().all(first) {
            // First packets as they come in.
            met.plain = space.or(&met.plain, &own);
        } else {
            all.push(own);
        }
        let all = space.union(all);
        let to = match bases.iter().any(|base| sees_masked(base, from_outside)) {
            true => &mut met.masked,
            false => &mut met.redirected,
        };
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
        differing(&meets, &old, &new, &care).unwrap_or(care)
    }

    /// The packets that are told from an address of the host's own choice: errors of ICMP about
    /// them, and answers of sockets that are bound to no address.
    fn told_by_host(&self, answer: &BDDFunction) -> BDDFunction {
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
        let each = own.iter().map(|own| space.addresses(Field::Destination, *own, *own));
        let from_own = space.and(answer, &space.union(each.collect()));
        let icmp = [protocol::ICMP, protocol::ICMPV6]
            .map(|number| space.equals(Field::Protocol, number.into()));
        let icmp = space.union(icmp.to_vec());
        let ports = [Field::SourcePort, Field::DestinationPort];
        let about = [Field::Destination, Field::Protocol, ports[0], ports[1]];
        let errors = forget(space, &space.and(&from_own, &icmp), &about);
        space.or(&errors, &forget(space, &from_own, &[Field::Destination]))
    }

    /// The packets that are one of these, perhaps after a translation: of the first ones the
    /// destination may be another one, of the others the source too.
    fn untranslated(&self, redirected: &BDDFunction, masked: &BDDFunction) -> BDDFunction {
        let (space, mut all) = (self.space, self.space.or(redirected, masked));
        all = space.or(&all, &self.each_translation(masked, Field::Source));
        space.or(&all, &self.each_translation(&all, Field::Destination))
    }

    /// The packets that a rule gives another source, or destination, so that they are one of these.
    fn each_translation(&self, these: &BDDFunction, field: Field) -> BDDFunction {
        let space = self.space;
        let port = match field {
            Field::Source => Field::SourcePort,
            _ => Field::DestinationPort,
        };
        let without = forget(space, these, &[field, port]);
        if without == *these {
            return space.nothing();
        }
        let values = forget_others(space, these, field);
        let mut all = Vec::new();
        for (map, entry) in [(&self.maps.0, Entry::Local), (&self.maps.1, Entry::Local)] {
            let mut search = Search { space, entry: &entry, map, reached: HashMap::new() };
            for id in &map.translations {
                let Some(rule) = map.system.rules.rule(*id) else { continue };
                let Some(chain) = map.system.rules.chain(id.chain) else { continue };
                if chain.family != space.family() {
                    continue;
                }
                for given in given(map.system, &rule.target, field) {
                    if !given.may_be_in(space, &values, field) {
                        continue;
                    }
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
struct Taken {
    /// The protocol's number.
    number: u8,
    port: u16,
    /// Where it connects to; `None` where rules say it.
    target: Option<(IpAddr, u16)>,
}

/// The ports that docker-proxy may take connections on, with where it connects to; nowhere for
/// ports of which rules say it.
fn proxy_targets(system: &System, targets: &mut Vec<Taken>) {
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
        Self { plain: none(), redirected: none(), masked: none() }
    }
}

impl Search<'_, '_> {
    /// The packets with the protocol and ports that a rule names.
    fn ports_of(&self, rule: &Rule) -> BDDFunction {
        let named = rule
            .conditions
            .iter()
            .filter(|condition| matches!(condition, Condition::Port(..) | Condition::Protocol(..)));
        let meets = Meets { space: self.space, view: View::Packet };
        let exactly = named.filter_map(|condition| meets.exactly(condition));
        exactly.fold(self.space.anything(), |all, one| self.space.and(&all, &one))
    }

    /// The packets that may meet and match a rule.
    fn rule(&mut self, id: RuleId, rule: &Rule, view: View) -> BDDFunction {
        let matching = self.matching(rule, view);
        if !matching.satisfiable() {
            return matching;
        }
        let reached = self.reach(id.chain, view);
        self.space.and(&reached, &matching)
    }

    /// The packets that may get to a chain.
    fn reach(&mut self, chain: ChainId, view: View) -> BDDFunction {
        if let Some(known) = self.reached.get(&(chain, view)) {
            return known.clone();
        }
        let rules = &self.map.system.rules;
        let mut all = Vec::new();
        if rules.chain(chain).is_some_and(|own| own.base.is_some()) {
            all.push(self.space.anything());
        }
        for caller in self.map.callers.get(&chain).into_iter().flatten() {
            if let Some(rule) = rules.rule(*caller) {
                all.push(self.rule(*caller, rule, view));
            }
        }
        let all = self.space.union(all);
        self.reached.insert((chain, view), all.clone());
        all
    }

    /// The packets for which the conditions of a rule may hold.
    fn matching(&self, rule: &Rule, view: View) -> BDDFunction {
        let (space, mut all) = (self.space, self.space.anything());
        let meets = Meets { space, view };
        for condition in &rule.conditions {
            if let Some(function) = meets.exactly(condition) {
                all = space.and(&all, &function);
            } else if self.is_elsewhere(condition, view) {
                return space.nothing();
            }
            if !all.satisfiable() {
                break;
            }
        }
        all
    }

    /// Whether a condition asks for an interface by which the packet does not come.
    fn is_elsewhere(&self, condition: &Condition, view: View) -> bool {
        let (Condition::InInterface(sense, pattern), View::Packet, Entry::Interface(name)) =
            (condition, view, self.entry)
        else {
            return false;
        };
        let interfaces = self.map.system.host.interfaces.iter();
        let ports = interfaces
            .filter(|own| own.port.as_ref().is_some_and(|port| port.bridge == *name))
            .map(|own| own.name.as_str());
        let mut names = ports.chain([name.as_str()]);
        !names.any(|name| sense.apply(pattern.matches(name)))
    }
}
