//! What becomes of packets on one host, in terms that another host's can be held against.

use std::collections::HashMap;

use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::packet::tcp_flag;

use super::change::Aspect;
use super::identity::Identities;
use crate::class::{AddressAfter, EgressAfter, PortAfter, Way};
use crate::packets::PacketSet;
use crate::space::{Field, Relation, Space};
use crate::walk::{Region, cut, way};

/// What is taken to be so, with its answer, in the words of [`Identities::decision`].
type When = Vec<(String, bool)>;

/// What may become of each packet of a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fate {
    /// The ways, each with what has to be so.
    pub(super) ways: Vec<(When, Way)>,
    /// Why there may be more of them.
    pub(super) cut: Option<String>,
}

impl Fate {
    /// What the simulator says, in terms of any packet of the region.
    pub(super) fn of(region: &Region, answer: &Answer, identities: &Identities<'_>) -> Self {
        let mut ways: Vec<(When, Way)> = Vec::new();
        let family = region.header().family();
        for branch in &answer.branches {
            let decision =
                |(what, holds): &(String, bool)| (identities.decision(family, what), *holds);
            let when = branch.when.iter().map(decision).collect();
            ways.push((when, way(region, &branch.answer)));
        }
        if answer.branches.is_empty() {
            ways.push((When::new(), way(region, answer)));
        }
        Self { ways, cut: cut(answer).or_else(|| region.unfollowed.clone()) }
    }

    /// Whether nobody knows what becomes of the packets, whatever chance does.
    pub(super) fn is_open(&self) -> bool {
        self.cut.is_some() || self.ways.iter().any(|(_, way)| is_open(way))
    }

    /// The ways without what has to be so.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter().map(|(_, way)| way)
    }
}

/// Whether nobody knows what becomes of a packet on this way.
fn is_open(way: &Way) -> bool {
    way.outcome == Outcome::Undetermined || way.verdict == Verdict::Undetermined
}

/// The packets of a set that fare differently.
pub(super) struct Difference {
    /// On all ways that go together.
    pub(super) surely: PacketSet,
    /// On some, but not on all.
    pub(super) perhaps: PacketSet,
}

/// Which of some packets fare differently, of which this became before, and that after.
pub(super) fn difference(set: &PacketSet, before: &Fate, after: &Fate) -> Difference {
    let none = set.space().none();
    if before == after {
        return Difference { surely: none.clone(), perhaps: none };
    }
    let mut always: Option<PacketSet> = None;
    let mut sometimes = none.clone();
    for (when, one) in &before.ways {
        for (other_when, other) in &after.ways {
            if !go_together(when, other_when) {
                continue;
            }
            let differ = differ(set, one, other);
            sometimes = sometimes.union(&differ);
            always = Some(match always {
                Some(always) => always.intersection(&differ),
                None => differ,
            });
        }
    }
    if before.cut.is_some() || after.cut.is_some() {
        return Difference { surely: none, perhaps: set.clone() };
    }
    let surely = always.unwrap_or(none);
    Difference { perhaps: sometimes.difference(&surely), surely }
}

/// Whether two combinations of decisions can both be so.
fn go_together(one: &When, other: &When) -> bool {
    let known: HashMap<&str, bool> = one.iter().map(|(what, so)| (what.as_str(), *so)).collect();
    other.iter().all(|(what, so)| known.get(what.as_str()).is_none_or(|known| known == so))
}

/// The packets of a set of which one way says something else than another.
fn differ(set: &PacketSet, one: &Way, other: &Way) -> PacketSet {
    let space = set.space();
    if one.verdict != other.verdict
        || one.outcome != other.outcome
        || one.proxied_to != other.proxied_to
    {
        return set.clone();
    }
    let (one, other) = match (&one.egress, &other.egress) {
        (None, None) => return space.none(),
        (Some(one), Some(other)) => (one, other),
        (None, Some(_)) | (Some(_), None) => return set.clone(),
    };
    if one == other {
        return space.none();
    }
    if !same_elsewhere(one, other) {
        return set.clone();
    }
    let mut same = set.clone();
    for all in [
        same_address(space, &one.source, &other.source),
        same_address(space, &one.destination, &other.destination),
        same_port(space, Field::SourcePort, one.source_port, other.source_port),
        same_port(space, Field::DestinationPort, one.destination_port, other.destination_port),
    ]
    .into_iter()
    .flatten()
    {
        same = same.intersection(&all);
    }
    set.difference(&same)
}

/// What two ways of some packets differ in first of all; `None` where they do not.
pub(super) fn aspect(set: &PacketSet, before: &Way, after: &Way) -> Option<Aspect> {
    if before.outcome != after.outcome {
        let same_way = before.verdict == after.verdict && before.egress == after.egress;
        return Some(if same_way { Aspect::Answer } else { Aspect::Outcome });
    }
    if before.verdict != after.verdict {
        return Some(Aspect::Verdict);
    }
    if before.proxied_to != after.proxied_to {
        return Some(Aspect::Destination);
    }
    let (Some(one), Some(other)) = (&before.egress, &after.egress) else {
        return (before.egress != after.egress).then_some(Aspect::Verdict);
    };
    let space = set.space();
    let same = |all: Option<PacketSet>| all.is_none_or(|all| set.is_subset(&all));
    let destination = same(same_address(space, &one.destination, &other.destination))
        && same(same_port(
            space,
            Field::DestinationPort,
            one.destination_port,
            other.destination_port,
        ));
    if !destination {
        return Some(Aspect::Destination);
    }
    let known = |egress: &EgressAfter| (egress.source_unknown, egress.source_port_random);
    let source = same(same_address(space, &one.source, &other.source))
        && same(same_port(space, Field::SourcePort, one.source_port, other.source_port));
    if !source || known(one) != known(other) {
        return Some(Aspect::Source);
    }
    if one.out_interface != other.out_interface {
        return Some(Aspect::Interface);
    }
    if one.mark != other.mark {
        return Some(Aspect::Mark);
    }
    ((one.ttl, one.tos) != (other.ttl, other.tos)).then_some(Aspect::Header)
}

/// Whether packets leave alike but for their addresses and ports.
fn same_elsewhere(one: &EgressAfter, other: &EgressAfter) -> bool {
    one.out_interface == other.out_interface
        && (one.mark, one.ttl, one.tos) == (other.mark, other.ttl, other.tos)
        && one.source_unknown == other.source_unknown
        && one.source_port_random == other.source_port_random
}

/// The packets of which two addresses are the same; `None` for all.
fn same_address(space: &Space, one: &AddressAfter, other: &AddressAfter) -> Option<PacketSet> {
    use AddressAfter::{Destination, DestinationMapped, Rewritten, Source, SourceMapped};
    if one == other {
        return None;
    }
    Some(match (one, other) {
        (Rewritten(_), Rewritten(_)) => space.none(),
        (Rewritten(own), after) | (after, Rewritten(own)) => {
            after.lies_in(space, &nattrace_model::address::Prefix::new(*own, 128))
        }
        (Source, Destination) | (Destination, Source) => {
            space.set(space.relation(Relation::SameAddress, true))
        }
        (Source, SourceMapped(prefix)) | (SourceMapped(prefix), Source) => space.source(prefix),
        (Destination, DestinationMapped(prefix)) | (DestinationMapped(prefix), Destination) => {
            space.destination(prefix)
        }
        // Of other mappings no two give the same but by chance.
        (Source | SourceMapped(_) | Destination | DestinationMapped(_), _) => space.none(),
    })
}

fn same_port(space: &Space, field: Field, one: PortAfter, other: PortAfter) -> Option<PacketSet> {
    let without = || space.all().difference(&space.destination_ports(0, u16::MAX));
    let ports = |port: u16| match field {
        Field::SourcePort => space.source_ports(port, port),
        _ => space.destination_ports(port, port),
    };
    match (one, other) {
        (PortAfter::Rewritten(port), PortAfter::Sent)
        | (PortAfter::Sent, PortAfter::Rewritten(port)) => Some(ports(port).union(&without())),
        (one, other) if one == other => None,
        _ => Some(without()),
    }
}

/// The same packet for the simulator, with what is usual left to it.
pub(super) fn plainly(mut flow: nattrace_model::flow::Flow) -> nattrace_model::flow::Flow {
    use nattrace_model::flow::FlowState;
    let usual = match flow.state {
        FlowState::Established => tcp_flag::ACK,
        FlowState::New | FlowState::Related | FlowState::Invalid | FlowState::Untracked => {
            tcp_flag::SYN
        }
    };
    flow.tcp_flags = flow.tcp_flags.filter(|flags| *flags != usual);
    flow.icmp = flow.icmp.filter(|icmp| ![(8, 0), (128, 0)].contains(icmp));
    flow
}

/// Whether the simulator says of a packet what its class says.
pub(super) fn agrees(fate: &Fate, header: &crate::header::Header, answer: &Answer) -> bool {
    if fate.cut.is_some() || cut(answer).is_some() {
        return true;
    }
    let single = answer.branches.is_empty().then_some(answer);
    let answers: Vec<&Answer> =
        answer.branches.iter().map(|branch| &branch.answer).chain(single).collect();
    let is = |way: &Way, answer: &Answer| {
        let left = match (&way.egress, &answer.egress) {
            (None, None) => true,
            (Some(way), Some(egress)) => {
                way.of(header) == egress.packet
                    && way.out_interface == egress.out_interface
                    && way.source_unknown == egress.source_unknown
                    && way.source_port_random == egress.source_port_random
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        left && way.verdict == answer.verdict && way.outcome == answer.outcome
    };
    answers.iter().all(|answer| fate.ways().any(|way| is(way, answer)))
        && fate.ways().all(|way| answers.iter().any(|answer| is(way, answer)))
}
