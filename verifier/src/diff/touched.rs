//! Which packets may meet a rule that differs: only these can fare differently.
//!
//! A rule asks about a packet as it is where the rule stands. That may be the packet as it was
//! sent, the same after NAT, the answer, or an error that somebody reports. Each of these is told in
//! terms of the packet as it was sent, and where that is not possible any packet will do: too many
//! are no harm, too few would be.

use std::collections::HashMap;
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::{Part, SocketProtocol};
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Base, ChainId, ChainKind, Rule, RuleId};
use nattrace_model::target::{Action, NatOptions, Target};
use nattrace_parser::syntax::{Family, NatRange};
use oxidd::bdd::BDDFunction;
use oxidd::{BooleanFunction, BooleanFunctionQuant};

use super::change::{Hosts, Side};
use super::edits::Edits;
use crate::header::{Header, bits};
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

/// What a packet that meets rules is to the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum View {
    /// The packet, as it was sent.
    Packet,
    /// The answer, from where the packet was sent to.
    Answer,
    /// The answer, or an error, from whichever address the host chooses.
    FromHost,
}

impl View {
    /// The field as it was sent that a field has its value from.
    fn origin(self, field: Field) -> Option<Field> {
        match (self, field) {
            (Self::Packet, field) => Some(field),
            (Self::Answer, Field::Source) => Some(Field::Destination),
            (_, Field::Destination) => Some(Field::Source),
            (Self::Answer, Field::SourcePort) => Some(Field::DestinationPort),
            (Self::Answer, Field::DestinationPort) => Some(Field::SourcePort),
            _ => None,
        }
    }
}

/// Finds the packets of one space that start by one entry.
struct Search<'a, 's> {
    space: &'a Space,
    entry: &'a Entry,
    map: &'a Map<'s>,
    reached: HashMap<(ChainId, View), BDDFunction>,
}

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
    edits: &Edits,
    maps: &(Map<'_>, Map<'_>),
    space: &Space,
    entry: &Entry,
) -> PacketSet {
    if edits.everything.contains(&space.family()) {
        return space.all();
    }
    let scene = Scene { hosts, edits, maps, space };
    let mut all = scene.met(entry);
    let ports = scene.proxied(entry, &all);
    all = space.or(&all, &scene.untranslated(&ports, &ports));
    space.all().intersection(&space.set(all))
}

/// What is compared.
struct Scene<'a> {
    hosts: &'a Hosts<'a>,
    edits: &'a Edits,
    maps: &'a (Map<'a>, Map<'a>),
    space: &'a Space,
}

impl Scene<'_> {
    /// The packets that may meet a rule that differs, docker-proxy's connections aside.
    fn met(&self, entry: &Entry) -> BDDFunction {
        let mut all = self.space.nothing();
        for (side, map) in [(Side::Before, &self.maps.0), (Side::After, &self.maps.1)] {
            let mut search = Search { space: self.space, entry, map, reached: HashMap::new() };
            let own = self.edits.rules.iter().filter(|(own, _)| *own == side);
            let met = search.met(own.map(|(_, rule)| *rule));
            all = self.space.or(&all, &met.plain);
            all = self.space.or(&all, &self.untranslated(&met.redirected, &met.masked));
        }
        all
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
        for Taken { number, port, target } in targets {
            let meets = match target {
                None => true,
                Some((address, _)) if Family::of(address) != space.family() => {
                    self.edits.concern(self.hosts, Family::of(address))
                }
                Some((address, port)) => {
                    let there = space.and(
                        &space.equals(Field::Destination, bits(address)),
                        &space.equals(Field::DestinationPort, port.into()),
                    );
                    space.and(&known, &there).satisfiable()
                }
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

/// What a translation makes of an end of a packet.
struct Given {
    /// The addresses, both ends inclusive; `None` for any.
    addresses: Option<(IpAddr, IpAddr)>,
    ports: Known,
}

/// What is known of a port after a translation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is what it was.
    Same,
    /// One of these, both ends inclusive.
    Range(u16, u16),
    /// Nothing.
    Nothing,
}

impl Given {
    /// Whether one of its addresses is a value that a function of a field allows.
    fn may_be_in(&self, space: &Space, values: &BDDFunction, field: Field) -> bool {
        let Some((first, last)) = self.addresses else { return true };
        if first != last || Family::of(first) != space.family() {
            return Family::of(first) == space.family();
        }
        let header = Header {
            source: first,
            destination: first,
            protocol: 0,
            source_port: 0,
            destination_port: 0,
            icmp: (0, 0),
            tcp_flags: 0,
        };
        debug_assert!(matches!(field, Field::Source | Field::Destination));
        space.set(values.clone()).contains(&header)
    }

    fn function(&self, space: &Space, field: Field, port: Field) -> BDDFunction {
        let addresses = match self.addresses {
            Some((first, last)) => space.addresses(field, first, last),
            None => space.anything(),
        };
        match self.ports {
            Known::Range(first, last) => {
                space.and(&addresses, &space.range(port, first.into(), last.into()))
            }
            Known::Same | Known::Nothing => addresses,
        }
    }
}

/// What a target may make of the source, or the destination.
fn given(system: &System, target: &Target, field: Field) -> Vec<Given> {
    let ranged = |range: &NatRange, options: &NatOptions| {
        let ports = match (range.ports, range.base_port) {
            (_, Some(_)) => Known::Nothing,
            (Some((first, last)), None) => Known::Range(first, last),
            (None, None) if options.random => Known::Nothing,
            (None, None) => Known::Same,
        };
        let ports =
            if field == Field::Source && ports != Known::Same { Known::Nothing } else { ports };
        match range.addresses {
            Some(addresses) => vec![Given { addresses: Some(addresses), ports }],
            // The address stays, or nobody can say.
            None => vec![Given { addresses: None, ports }],
        }
    };
    let own = |ports: Option<(u16, u16)>, options: &NatOptions| {
        let ports = match ports {
            Some((first, last)) if field == Field::Destination => Known::Range(first, last),
            Some(_) => Known::Nothing,
            None if options.random => Known::Nothing,
            None => Known::Same,
        };
        if !system.host.has(Part::Addresses) {
            return vec![Given { addresses: None, ports }];
        }
        let addresses = system.host.interfaces.iter().flat_map(|own| &own.addresses);
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
        let addresses = addresses.map(|own| own.local).chain(loopback);
        addresses.map(|own| Given { addresses: Some((own, own)), ports }).collect()
    };
    let anything = || vec![Given { addresses: None, ports: Known::Nothing }];
    match (target, field) {
        (Target::Snat(range, options), Field::Source)
        | (Target::Dnat(range, options), Field::Destination) => ranged(range, options),
        (Target::Masquerade(ports, options), Field::Source)
        | (Target::Redirect(ports, options), Field::Destination) => own(*ports, options),
        (Target::Netmap(_) | Target::Unsupported(_) | Target::Map(_) | Target::Sequence(_), _) => {
            anything()
        }
        _ => Vec::new(),
    }
}

impl Search<'_, '_> {
    /// The packets that may meet some rules.
    fn met(&mut self, rules: impl Iterator<Item = RuleId>) -> Met {
        let nothing = || Vec::new();
        let (mut plain, mut redirected, mut masked) = (nothing(), nothing(), nothing());
        for id in rules {
            let Some(chain) = self.map.system.rules.chain(id.chain) else { continue };
            let Some(rule) = self.map.system.rules.rule(id) else { continue };
            if chain.family != self.space.family() {
                continue;
            }
            let bases = self.bases(id.chain);
            let is_nat = |base: &Base| base.kind == ChainKind::Nat;
            let early = |base: &Base| base.hook == Hook::Prerouting;
            let from_outside = matches!(self.entry, Entry::Interface(_));
            let own = self.rule(id, rule, View::Packet);
            if from_outside
                && bases
                    .iter()
                    .all(|base| is_nat(base) && (early(base) || base.hook == Hook::Output))
            {
                // First packets as they come in.
                plain.push(own);
                continue;
            }
            let mut all = vec![own];
            if !bases.iter().all(is_nat) {
                all.push(self.rule(id, rule, View::Answer));
                all.push(self.rule(id, rule, View::FromHost));
            }
            let all = self.space.union(all);
            let sees_masked = |base: &Base| match base.hook {
                Hook::Prerouting | Hook::Output if base.kind != ChainKind::Nat => {
                    base.priority <= -100 || !from_outside
                }
                Hook::Prerouting | Hook::Output => !from_outside,
                Hook::Input => base.priority > 100 || !from_outside,
                Hook::Postrouting => base.priority > 100,
                Hook::Forward => false,
            };
            if bases.iter().any(sees_masked) {
                masked.push(all)
            } else {
                redirected.push(all)
            }
            if matches!(rule.target, Target::Dnat(..)) {
                // docker-proxy may look a port up in such a rule.
                let named = rule.conditions.iter().filter(|condition| {
                    matches!(condition, Condition::Port(..) | Condition::Protocol(..))
                });
                let named = named.fold(self.space.anything(), |all, condition| {
                    self.space.and(&all, &self.condition(condition, View::Packet))
                });
                redirected.push(named);
            }
        }
        let space = self.space;
        Met {
            plain: space.union(plain),
            redirected: space.union(redirected),
            masked: space.union(masked),
        }
    }

    /// The base chains that lead to a chain.
    fn bases(&self, chain: ChainId) -> Vec<Base> {
        let mut seen = vec![chain];
        let mut at = 0;
        let mut bases = Vec::new();
        while let Some(id) = seen.get(at).copied() {
            at += 1;
            bases.extend(self.map.system.rules.chain(id).and_then(|chain| chain.base));
            for caller in self.map.callers.get(&id).into_iter().flatten() {
                if !seen.contains(&caller.chain) {
                    seen.push(caller.chain);
                }
            }
        }
        bases
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
        let conditions = rule.conditions.iter();
        conditions.fold(self.space.anything(), |all, condition| {
            if all.satisfiable() {
                self.space.and(&all, &self.condition(condition, view))
            } else {
                all
            }
        })
    }

    /// The packets for which a condition may hold.
    fn condition(&self, condition: &Condition, view: View) -> BDDFunction {
        let space = self.space;
        let on = |field: Field, function: &dyn Fn(Field) -> BDDFunction, sense: Sense| match view
            .origin(field)
        {
            Some(field) => space.when(sense == Sense::Is, &function(field)),
            None => space.anything(),
        };
        let ports = |sense: Sense, side: PortSide, ranges: &[(u16, u16)]| {
            let one = |field: Field| {
                let range = |field: Field| {
                    let each = ranges.iter().map(|(first, last)| {
                        space.range(field, u128::from(*first), u128::from(*last))
                    });
                    space.union(each.collect())
                };
                on(field, &range, sense)
            };
            match (side, sense) {
                (PortSide::Source, _) => one(Field::SourcePort),
                (PortSide::Destination, _) => one(Field::DestinationPort),
                (PortSide::Either, Sense::Is) => {
                    space.or(&one(Field::SourcePort), &one(Field::DestinationPort))
                }
                (PortSide::Either, Sense::IsNot) => space.anything(),
            }
        };
        match condition {
            Condition::Source(sense, prefix) => {
                on(Field::Source, &|field| space.prefix(field, prefix), *sense)
            }
            Condition::Destination(sense, prefix) => {
                on(Field::Destination, &|field| space.prefix(field, prefix), *sense)
            }
            Condition::SourceRange(sense, ends) => {
                on(Field::Source, &|field| space.addresses(field, ends.0, ends.1), *sense)
            }
            Condition::DestinationRange(sense, ends) => {
                on(Field::Destination, &|field| space.addresses(field, ends.0, ends.1), *sense)
            }
            // An error of ICMP may answer any protocol.
            Condition::Protocol(..) if view == View::FromHost => space.anything(),
            Condition::Protocol(sense, number) => {
                space.when(*sense == Sense::Is, &space.equals(Field::Protocol, (*number).into()))
            }
            Condition::Port(sense, side, first, last) => ports(*sense, *side, &[(*first, *last)]),
            Condition::Ports(sense, side, ranges) => ports(*sense, *side, ranges),
            Condition::InInterface(sense, pattern) => match (view, self.entry) {
                (View::Packet, Entry::Interface(name)) => {
                    let interfaces = self.map.system.host.interfaces.iter();
                    let ports = interfaces
                        .filter(|own| own.port.as_ref().is_some_and(|port| port.bridge == *name));
                    let mut names =
                        ports.map(|own| own.name.as_str()).chain(std::iter::once(name.as_str()));
                    match names.any(|name| sense.apply(pattern.matches(name))) {
                        true => space.anything(),
                        false => space.nothing(),
                    }
                }
                _ => space.anything(),
            },
            Condition::Constant(false) => space.nothing(),
            _ => space.anything(),
        }
    }
}

/// The function whatever some fields are.
fn forget(space: &Space, function: &BDDFunction, fields: &[Field]) -> BDDFunction {
    let bits = fields
        .iter()
        .fold(space.anything(), |all, field| space.and(&space.equals(*field, u128::MAX), &all));
    function.exists(&bits).unwrap_or_else(|_| space.anything())
}

/// The function of a field alone: of the values that it takes whatever the others are.
fn forget_others(space: &Space, function: &BDDFunction, field: Field) -> BDDFunction {
    let others: Vec<Field> = Field::ALL.into_iter().filter(|other| *other != field).collect();
    forget(space, function, &others)
}
