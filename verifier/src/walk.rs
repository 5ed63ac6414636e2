//! From a set of packets to the classes of those that have the same fate.
//!
//! The simulator is asked about one packet at a time, and a [`Region`] watches: it ends up with all
//! packets that go the same way. They are one class, and the next packet is one of the rest.
//! Classes with the same fate are merged.

mod conditions;
mod context;
#[cfg(test)]
mod fault;
mod filter;
mod fold;
mod ground;
mod index;
mod membership;
mod piece;
mod region;
mod rest;
mod skim;
mod values;
mod world;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Egress, Verdict};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::protocol;
use nattrace_model::simulate::{Witness, witnessed};

use crate::class::{Class, EgressAfter, PortAfter, Way, blame};
use crate::header::{Header, has_ports, is_icmp};
use crate::packets::PacketSet;
use ground::Ground;
pub(crate) use region::Region;
use region::Testimony;
use rest::{Alike, Rest};
pub(crate) use skim::why;
pub(crate) use world::World;

/// Where packets begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// They come in by an interface.
    Interface(String),
    /// A local process sends them from the address that they have. A packet whose source is none
    /// of the host's own addresses comes in where routing expects it.
    Local,
    /// A local process sends them, and the kernel picks the source: that of the set means nothing.
    LocalAnySource,
}

/// Which packets are asked about, and where they begin.
#[derive(Clone, Debug)]
pub struct Question {
    /// The packets.
    pub packets: PacketSet,
    /// Where they begin.
    pub entry: Entry,
    /// The state of their connections.
    pub state: FlowState,
    /// The packet mark they start with.
    pub mark: u32,
    /// TTL or hop limit; `None` for 64.
    pub ttl: Option<u8>,
    /// How many different ways of single packets are looked at; what is left is undetermined.
    pub most: usize,
}

/// How many different ways are looked at where nobody says another number.
const MOST_WAYS: usize = 200_000;

impl Question {
    /// A question about packets that begin connections.
    #[must_use]
    pub fn new(packets: PacketSet, entry: Entry) -> Self {
        Self { packets, entry, state: FlowState::New, mark: 0, ttl: None, most: MOST_WAYS }
    }

    /// The question about one of the packets, for the simulator.
    #[must_use]
    pub fn flow(&self, header: &Header) -> Flow {
        let ports = has_ports(header.protocol);
        Flow {
            source: header.source,
            destination: header.destination,
            protocol: header.protocol,
            source_port: ports.then_some(header.source_port),
            destination_port: ports.then_some(header.destination_port),
            in_interface: match &self.entry {
                Entry::Interface(name) => Some(name.clone()),
                Entry::Local | Entry::LocalAnySource => None,
            },
            state: self.state,
            mark: self.mark,
            tcp_flags: (header.protocol == protocol::TCP).then_some(header.tcp_flags),
            icmp: is_icmp(header.protocol).then_some(header.icmp),
            ttl: self.ttl,
            any_source: self.entry == Entry::LocalAnySource,
        }
    }
}

/// The classes of a question's packets. Each packet is in one of them.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// The classes, in the order in which they were found.
    pub classes: Vec<Class>,
    /// How many packets were asked about.
    pub asked: usize,
}

impl Classes {
    /// The class that a packet is in.
    #[must_use]
    pub fn of(&self, header: &Header) -> Option<&Class> {
        self.classes.iter().find(|class| class.set.contains(header))
    }
}

/// Divides the packets of a question into classes.
#[must_use]
pub fn walk(system: &System, question: &Question) -> Classes {
    walk_in(system, &World::default(), question)
}

/// The same for one of many questions about a host.
pub(crate) fn walk_in(system: &System, world: &World, question: &Question) -> Classes {
    let divided = divide(system, world, question, fate);
    let class = |(set, (ways, undetermined))| Class { set, ways, undetermined };
    let mut classes: Vec<Class> = divided.classes.into_iter().map(class).collect();
    if let Some((set, why)) = divided.left {
        classes.push(Class { set, ways: Vec::new(), undetermined: Some(why.to_owned()) });
    }
    Classes { classes, asked: divided.asked }
}

/// The packets of a question by what becomes of them, in whatever terms.
pub(crate) struct Divided<F> {
    /// Those that fare alike, in the order in which they were found.
    pub(crate) classes: Vec<(PacketSet, F)>,
    /// Those that were not looked at, and why.
    pub(crate) left: Option<(PacketSet, &'static str)>,
    /// How many packets were asked about.
    pub(crate) asked: usize,
}

/// Divides the packets of a question; `fate` says what becomes of the packets of a region, in
/// terms that fit each of them.
pub(crate) fn divide<F: Clone + Eq + Hash>(
    system: &System,
    world: &World,
    question: &Question,
    fate: impl Fn(&Region, &Answer) -> F,
) -> Divided<F> {
    let space = question.packets.space();
    let ground = Rc::new(Ground::new(system, world, space, question));
    let mut found = Found { classes: Vec::new(), known: HashMap::new() };
    let mut rest = Rest::of(&question.packets, &question.entry);
    let mut asked = 0;
    while let Some(header) = rest.next() {
        if asked == question.most || space.is_exhausted() {
            break;
        }
        asked += 1;
        let region =
            Rc::new(RefCell::new(Region::new(&ground, header, ground.answering(system, &header))));
        let witness: Box<dyn Witness> = Box::new(Testimony(Rc::clone(&region)));
        let (answer, _) = witnessed(system, &question.flow(&header), witness);
        #[cfg(test)]
        let answer = fault::heard(system, &header, answer);
        let region = region.borrow();
        let set = rest.take(region.parts().each_ref());
        if !region.holds() {
            // Nothing may be lost, whatever went wrong: the packet stands for itself.
            let own = space.only(&header);
            let anything = space.anything();
            rest.take([own.function(), &anything, &anything]);
            found.add(fate(&region, &answer), Alike::only(&own));
        }
        found.add(fate(&region, &answer), set);
    }
    let left = if space.is_exhausted() {
        let why = "the sets of packets grew too large for the memory that they may take";
        Some((question.packets.clone(), why))
    } else if rest.is_empty() {
        None
    } else {
        Some((rest.packets(), "there are more different ways than are looked at"))
    };
    let classes = found.classes.into_iter().map(|(set, fate)| (set.packets(space), fate));
    Divided { classes: classes.collect(), left, asked }
}

/// What becomes of a class.
type Fate = (Vec<Way>, Option<String>);

struct Found<F> {
    classes: Vec<(Alike, F)>,
    known: HashMap<F, usize>,
}

impl<F: Clone + Eq + Hash> Found<F> {
    fn add(&mut self, fate: F, set: Alike) {
        let known = self.known.get(&fate).and_then(|at| self.classes.get_mut(*at));
        match known {
            Some((class, _)) => class.join(set),
            None => {
                self.known.insert(fate.clone(), self.classes.len());
                self.classes.push((set, fate));
            }
        }
    }
}

/// What the simulator says, in terms of any packet of the region.
fn fate(region: &Region, answer: &Answer) -> Fate {
    if let Some(why) = &region.unfollowed {
        return (Vec::new(), Some(why.clone()));
    }
    let mut ways: Vec<Way> = Vec::new();
    let answers = answer.branches.iter().map(|branch| &branch.answer);
    let single = answer.branches.is_empty().then_some(answer);
    for one in answers.chain(single) {
        let way = way(region, one);
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    (ways, cut(answer))
}

/// Why not every way of a packet was looked at, where that is so.
pub(crate) fn cut(answer: &Answer) -> Option<String> {
    let cut = answer.assumptions.iter().find(|found| found.code == "too-many-branches");
    cut.map(|found| found.text.clone())
}

/// One way, in terms of any packet of the region.
pub(crate) fn way(region: &Region, answer: &Answer) -> Way {
    let proxy = answer.proxy.as_ref();
    let left_as = answer.egress.as_ref().map(|egress| egress.packet.source);
    Way {
        verdict: answer.verdict,
        outcome: answer.outcome,
        egress: answer.egress.as_ref().map(|egress| egress_after(region, egress)),
        proxied_to: proxy
            .filter(|_| answer.verdict == Verdict::Proxied)
            .map(|proxy| (proxy.flow.destination, proxy.flow.destination_port.unwrap_or(0))),
        proxied_by: proxy
            .filter(|_| answer.verdict == Verdict::Proxied)
            .and_then(|proxy| proxy.egress.as_ref()?.out_interface.clone()),
        as_picked: !region.ground.sourced && left_as == Some(answer.flow.source),
        because: blame(answer),
    }
}

fn egress_after(region: &Region, egress: &Egress) -> EgressAfter {
    let packet = &egress.packet;
    let port = |own: u16, now: Option<u16>| match now {
        Some(now) if now != own => PortAfter::Rewritten(now),
        _ => PortAfter::Sent,
    };
    let sent = region.header();
    EgressAfter {
        out_interface: egress.out_interface.clone(),
        source: region.source_after(packet.source),
        destination: region.destination_after(packet.destination),
        source_port: port(sent.source_port, packet.source_port()),
        destination_port: port(sent.destination_port, packet.destination_port()),
        mark: packet.mark,
        ttl: packet.ttl,
        tos: packet.tos,
        source_unknown: egress.source_unknown,
        source_port_random: egress.source_port_random,
    }
}
