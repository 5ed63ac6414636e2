//! From differing sets of packets to changes that a person would tell.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use nattrace_model::address::Prefix;
use nattrace_model::answer::Verdict;
use nattrace_model::flow::FlowState;
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_model::simulate::why;
use nattrace_parser::policy::Families;
use nattrace_parser::syntax::Family;

use super::change::{
    Aspect, Being, Change, Disagreement, Hosts, Part, Rarity, Side, Status, Witness,
};
use super::extent::{addresses, services};
use super::fate::{Fate, agrees, aspect, plainly};
use super::places::{Place, Places};
use crate::check::packets::{destinations, real_ports, sources};
use crate::class::{AddressAfter, PortAfter, Way};
use crate::packets::{PacketSet, plain};
use crate::policy::AddressSet;
use crate::space::{Field, Relation, Space};
use crate::walk::Question;

/// What differing packets have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    aspect: Aspect,
    before: Vec<Being>,
    after: Vec<Being>,
    status: Status,
    /// Where they land, where that is not where they are addressed.
    landing: Option<(IpAddr, Option<u16>)>,
}

impl Kind {
    fn of(set: &PacketSet, before: &Fate, after: &Fate, status: Status) -> Self {
        let pairs = before.ways().flat_map(|one| after.ways().map(move |other| (one, other)));
        let aspect = pairs
            .filter_map(|(one, other)| aspect(set, one, other))
            .min()
            .unwrap_or(Aspect::Outcome);
        let beings = |fate: &Fate| {
            let mut all: Vec<Being> = Vec::new();
            for way in fate.ways() {
                let being = Being::of(way, aspect);
                if !all.contains(&being) {
                    all.push(being);
                }
            }
            if fate.cut.is_some() || all.is_empty() {
                all.push(Being::Outcome(nattrace_model::answer::Outcome::Undetermined));
            }
            all
        };
        let landing = match (landing(before), landing(after)) {
            (Some(one), Some(other)) => (one == other).then_some(one),
            (one, other) => one.or(other),
        };
        Self { aspect, before: beings(before), after: beings(after), status, landing }
    }
}

/// Where packets land that are addressed elsewhere, where all of their ways lead there.
fn landing(fate: &Fate) -> Option<(IpAddr, Option<u16>)> {
    let mut all = fate.ways().map(landing_of);
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

fn landing_of(way: &Way) -> Option<(IpAddr, Option<u16>)> {
    match way.verdict {
        Verdict::Proxied => way.proxied_to.map(|(address, port)| (address, Some(port))),
        Verdict::Forwarded | Verdict::Bridged => {
            let egress = way.egress.as_ref()?;
            let AddressAfter::Rewritten(address) = egress.destination else { return None };
            let port = match egress.destination_port {
                PortAfter::Sent => None,
                PortAfter::Rewritten(port) => Some(port),
            };
            Some((address, port))
        }
        _ => None,
    }
}

/// Packets with what became of them on both hosts.
type Member = (PacketSet, Arc<(Fate, Fate)>);

/// Differing packets of one question, by what they have in common.
#[derive(Default)]
pub(super) struct Pieces {
    kinds: Vec<(Kind, Vec<Member>)>,
    known: HashMap<Kind, usize>,
}

impl Pieces {
    /// Adds packets that fare differently.
    pub(super) fn add(&mut self, set: PacketSet, fates: &Arc<(Fate, Fate)>, status: Status) {
        if !set.function_is_possible() {
            return;
        }
        let kind = Kind::of(&set, &fates.0, &fates.1, status);
        let at = *self.known.entry(kind.clone()).or_insert_with(|| {
            self.kinds.push((kind, Vec::new()));
            self.kinds.len() - 1
        });
        if let Some((_, members)) = self.kinds.get_mut(at) {
            members.push((set, Arc::clone(fates)));
        }
    }
}

/// A change as it shows in one question.
pub(super) struct Draft {
    /// `None` for sources that are out of place.
    from: Option<String>,
    to: String,
    kind: Kind,
    rarity: Rarity,
    family: Family,
    part: Part,
    witness: Witness,
    /// Where nattrace contradicts itself about the witness.
    pub(super) fault: Option<Disagreement>,
}

impl Draft {
    /// Whether it is sure that usual packets fare differently.
    pub(super) fn is_sure(&self) -> bool {
        self.kind.status == Status::Changed && self.rarity == Rarity::Usual
    }
}

/// Tells the differing packets of one question.
pub(super) struct Teller<'a> {
    pub(super) hosts: &'a Hosts<'a>,
    pub(super) places: &'a Places<'a>,
    pub(super) question: &'a Question,
    pub(super) space: &'a Space,
    /// Whether these are packets as people send them.
    pub(super) usual: bool,
}

/// The packets of a space that people send in a state, wherever they start.
pub(super) fn usual(space: &Space, places: &Places<'_>, state: FlowState) -> PacketSet {
    let oneself = space.set(space.relation(Relation::SameAddress, true));
    let flags = match state {
        FlowState::New => tcp_flag::SYN,
        FlowState::Established => tcp_flag::ACK,
        FlowState::Related | FlowState::Invalid | FlowState::Untracked => return space.none(),
    };
    let echo = match space.family() {
        Family::Ipv4 => space.protocol(protocol::ICMP).intersection(&space.icmp(8, 0, 0)),
        Family::Ipv6 => space.protocol(protocol::ICMPV6).intersection(&space.icmp(128, 0, 0)),
    };
    let sensible = space.tcp_flags(0xff, flags).union(&space.protocol(protocol::UDP)).union(&echo);
    let sensible = sensible.intersection(&real_ports(space)).difference(&oneself);
    sensible.difference(&places.misguided(space))
}

impl Teller<'_> {
    /// The changes that pieces come to.
    pub(super) fn tell(&self, pieces: Pieces) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for (kind, members) in pieces.kinds {
            let all = members.iter().fold(self.space.none(), |all, (set, _)| all.union(set));
            let mut rest = all.clone();
            for from in &self.places.sources {
                let own = sources(self.space, &from.addresses);
                let set = all.intersection(&own);
                rest = rest.difference(&own);
                self.tell_from(&mut drafts, Some(from), &set, &kind, &members);
            }
            self.tell_from(&mut drafts, None, &rest, &kind, &members);
        }
        drafts
    }

    fn tell_from(
        &self,
        drafts: &mut Vec<Draft>,
        from: Option<&Place>,
        set: &PacketSet,
        kind: &Kind,
        members: &[Member],
    ) {
        if !set.function_is_possible() {
            return;
        }
        if let Some((address, port)) = kind.landing
            && let Some(name) = self.places.container(address)
        {
            let to = |told: &PacketSet| match port {
                Some(port) => format!("{name}:{port}{}", protocols(told)),
                None => format!("{name}{}", services(told).words()),
            };
            return self.draft(drafts, from, set, to, (kind, members));
        }
        for place in &self.places.destinations {
            let there = set.intersection(&destinations(self.space, &place.addresses));
            let to = |told: &PacketSet| {
                let own = addresses(told, Field::Destination);
                let name = self.places.told(place, own.as_ref());
                format!("{name}{}", services(told).words())
            };
            let first = drafts.len();
            self.draft(drafts, from, &there, to, (kind, members));
            if !place.is_named() {
                drafts.iter_mut().skip(first).for_each(|draft| draft.rarity = Rarity::Odd);
            }
        }
    }

    fn draft(
        &self,
        drafts: &mut Vec<Draft>,
        from: Option<&Place>,
        set: &PacketSet,
        to: impl Fn(&PacketSet) -> String,
        (kind, members): (&Kind, &[Member]),
    ) {
        if !set.function_is_possible() {
            return;
        }
        let rarity = if self.usual { Rarity::Usual } else { Rarity::Odd };
        let told = set;
        let Some((witness, fault)) = self.witness(told, members) else { return };
        let from =
            from.map(|place| self.places.told(place, addresses(told, Field::Source).as_ref()));
        let part = Part {
            entry: self.question.entry.clone(),
            state: self.question.state,
            packets: set.clone(),
        };
        let (to, mut kind, family) = (to(told), kind.clone(), self.space.family());
        if fault.is_some() {
            kind.status = Status::Undetermined;
        }
        drafts.push(Draft { from, to, kind, rarity, family, part, witness, fault });
    }

    /// A packet of a set on both hosts; the simulator has to agree with the classes, or it is a
    /// fault.
    fn witness(
        &self,
        set: &PacketSet,
        members: &[Member],
    ) -> Option<(Witness, Option<Disagreement>)> {
        let header = set.sample(&self.telling())?;
        let flow = plainly(self.question.flow(&header));
        let witness =
            Witness { before: why(self.hosts.before, &flow), after: why(self.hosts.after, &flow) };
        let Some((_, fates)) = members.iter().find(|(set, _)| set.contains(&header)) else {
            return Some((witness, None));
        };
        let both =
            [(Side::Before, &fates.0, &witness.before), (Side::After, &fates.1, &witness.after)];
        let wrong = both.into_iter().find(|(_, fate, answer)| !agrees(fate, &header, answer));
        let fault = wrong.map(|(host, fate, answer)| Disagreement {
            flow: Box::new(flow),
            host,
            classes: format!("{:?}", fate.ways),
            simulator: format!("{:?} {:?} {:?}", answer.verdict, answer.outcome, answer.egress),
        });
        Some((witness, fault))
    }

    /// What makes a packet telling.
    fn telling(&self) -> Vec<PacketSet> {
        // Nobody outside would think of the loopback address.
        let loopback: Prefix = match self.space.family() {
            Family::Ipv4 => Prefix::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            Family::Ipv6 => Prefix::new(Ipv6Addr::LOCALHOST.into(), 128),
        };
        let loopback = destinations(self.space, &AddressSet::prefix(&loopback));
        let mut preferred = vec![
            self.space.all().difference(&loopback),
            self.space.protocol(protocol::TCP),
            self.space.protocol(protocol::UDP),
        ];
        preferred.extend(self.places.running(self.space));
        preferred.extend(plain(self.space));
        preferred
    }
}

/// The protocol behind a port, where it is not TCP alone.
fn protocols(set: &PacketSet) -> String {
    match services(set) {
        super::extent::Services::All => String::new(),
        super::extent::Services::Some(all) => {
            let names: Vec<&str> =
                all.iter().map(|(number, _)| super::extent::protocol_name(*number)).collect();
            match names.as_slice() {
                ["tcp"] => String::new(),
                names => format!("/{}", names.join("+")),
            }
        }
    }
}

/// Puts together what is told in the same words.
pub(super) fn together(drafts: Vec<Draft>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut known: HashMap<(String, String, Kind), usize> = HashMap::new();
    let (placed, displaced): (Vec<Draft>, Vec<Draft>) =
        drafts.into_iter().partition(|draft| draft.from.is_some());
    for draft in placed {
        add(&mut changes, &mut known, draft);
    }
    for mut draft in displaced {
        // Sources that are out of place are told along with those that are at home.
        let beside = changes.iter_mut().find(|change| {
            let here = change.parts.iter().any(|part| part.entry == draft.part.entry);
            here && change.is_of(&draft.kind)
        });
        match beside {
            Some(change) => change.parts.push(draft.part),
            None => {
                draft.from = Some(match &draft.part.entry {
                    crate::walk::Entry::Interface(name) => {
                        format!("iface:{name} (sources out of place)")
                    }
                    _ => "host (sources out of place)".to_owned(),
                });
                add(&mut changes, &mut known, draft);
            }
        }
    }
    changes.sort_by_key(|change| (change.status, change.rarity));
    changes
}

fn add(
    changes: &mut Vec<Change>,
    known: &mut HashMap<(String, String, Kind), usize>,
    draft: Draft,
) {
    let from = draft.from.unwrap_or_default();
    // Where it lands is said by its name.
    let kind = Kind { landing: None, ..draft.kind };
    let key = (from.clone(), draft.to.clone(), kind.clone());
    let family = Families::One(draft.family);
    if let Some(change) = known.get(&key).and_then(|at| changes.get_mut(*at)) {
        if change.families != family {
            change.families = Families::Both;
        }
        if draft.rarity < change.rarity {
            change.rarity = draft.rarity;
            change.state = draft.part.state;
            change.witness = draft.witness;
        }
        change.parts.push(draft.part);
        return;
    }
    known.insert(key, changes.len());
    changes.push(Change {
        from,
        to: draft.to,
        aspect: kind.aspect,
        before: kind.before,
        after: kind.after,
        status: kind.status,
        rarity: draft.rarity,
        state: draft.part.state,
        families: family,
        parts: vec![draft.part],
        witness: draft.witness,
    });
}

impl Change {
    fn is_of(&self, kind: &Kind) -> bool {
        (self.aspect, self.status) == (kind.aspect, kind.status)
            && (&self.before, &self.after) == (&kind.before, &kind.after)
    }
}
