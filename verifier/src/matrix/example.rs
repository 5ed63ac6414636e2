//! An example of each part: the packet that a person would take.
//!
//! What is preferred is asked for thing by thing, the most telling first, as
//! [`PacketSet::sample_with`] does. Here nothing is built of the sets for it: a preference is one of
//! addresses and one of what comes behind them, and it is only looked whether a set leads to some
//! packet that has what is preferred so far.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use foldhash::fast::RandomState;

use super::diagram::{ANYTHING, Diagram, Id, Mark, NOTHING, split};
use super::row::Start;
use super::shadow::{Bits, Live, levels};
use crate::header::Header;
use crate::packets::{PacketSet, point_of};
use crate::space::{Field, Relation, Space};

/// What is asked of a packet: a node of addresses, and one of what comes behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    place: Id,
    rest: Id,
}

/// Looks for examples in the sets of a column.
pub(super) struct Search<'a> {
    space: &'a Space,
    usual: &'a PacketSet,
    /// What is asked of addresses. It is the same for many examples, and kept.
    places: Diagram,
    /// What is asked of what comes behind; of each lot that begins anew.
    rests: Diagram,
    fresh: Mark,
    /// The packets of the lot that is looked at, and those of them that are usual.
    meant: Id,
    of_usual: Option<Id>,
    /// What makes packets telling, by where they start; `None` where that can't be said here.
    telling: Vec<Option<Vec<Wish>>>,
    different: Id,
    same: Id,
    /// The levels of both addresses.
    source: Range<u32>,
    destination: Range<u32>,
    /// Whether a set has packets with what is asked of addresses, whatever the service.
    inhabited: HashMap<(Id, Id), bool, RandomState>,
}

/// What was found out about one wish.
#[derive(Default)]
struct Tried {
    /// Pairs of nodes that no packet is behind.
    apart: HashSet<(Id, Id), RandomState>,
    overlaps: HashMap<Id, bool, RandomState>,
}

/// The packets of a set with the services of a lot.
#[derive(Clone, Copy)]
pub(super) struct Among<'a> {
    pub(super) live: &'a Live<'a>,
    pub(super) lot: Bits,
    pub(super) set: Id,
    /// The same, as a set.
    pub(super) packets: &'a PacketSet,
    pub(super) meant: &'a PacketSet,
    /// Where they start.
    pub(super) start: usize,
}

impl<'a> Search<'a> {
    /// `usual` are the packets with the source port of an example, and those without ports.
    pub(super) fn new(space: &'a Space, starts: &[Start], usual: &'a PacketSet) -> Self {
        let (mut places, mut rests) = (Diagram::new(space), Diagram::new(space));
        let mut of = |set: &PacketSet| wish(set, space, &mut places, &mut rests);
        let telling = starts.iter().map(|start| start.telling.iter().map(&mut of).collect());
        let telling = telling.collect();
        let different = places.add(space, &space.relation(Relation::SameAddress, false));
        let same = places.add(space, &space.relation(Relation::SameAddress, true));
        let [source, destination] =
            [Field::Source, Field::Destination].map(|field| levels(space, field));
        let fresh = rests.mark();
        let inhabited = HashMap::default();
        let (meant, of_usual) = (NOTHING, None);
        Self {
            space,
            usual,
            places,
            rests,
            fresh,
            meant,
            of_usual,
            telling,
            different,
            same,
            source,
            destination,
            inhabited,
        }
    }

    /// From now on it is about packets of a lot.
    pub(super) fn begin(&mut self, meant: &PacketSet) {
        self.rests.back_to(self.fresh);
        self.meant = self.rests.add(self.space, meant.function());
        let usual = self.rests.add(self.space, meant.intersection(self.usual).function());
        self.of_usual = self.behind_addresses(usual).filter(|_| {
            // Otherwise it says something of addresses, and is looked at more closely.
            self.behind_addresses(self.meant).is_some()
        });
    }

    /// The values of a field of which packets of sets are, and those of which `most` says that
    /// there are no more: no more than that is looked for.
    pub(super) fn values(
        &mut self,
        live: &Live<'_>,
        bottoms: impl Iterator<Item = Id>,
        levels: &Range<u32>,
        lot: Bits,
        most: Option<Id>,
    ) -> Id {
        let (mut all, mut known) = (NOTHING, HashMap::default());
        for node in bottoms.filter(|node| live.behind(*node) & lot != 0) {
            let own = self.rests.values((live.diagram, node), self.meant, levels, &mut known);
            all = self.rests.or(all, own);
            if most == Some(all) {
                break;
            }
        }
        all
    }

    /// What the ids of [`Self::values`] mean.
    pub(super) fn diagram(&self) -> &Diagram {
        &self.rests
    }

    /// A packet that a person would take as an example.
    pub(super) fn example(&mut self, among: &Among<'_>, telling: &[PacketSet]) -> Option<Header> {
        self.quickly(among).unwrap_or_else(|| {
            // A packet to its own address is found without what is preferred, so that comes first.
            let usual = among.meant.intersection(self.usual);
            let set = among.packets;
            set.sample_with(&usual, telling).or_else(|| set.sample_with(among.meant, telling))
        })
    }

    /// The same, where it is plain; `None` where it has to be looked at more closely.
    fn quickly(&mut self, among: &Among<'_>) -> Option<Option<Header>> {
        let telling = self.telling.get(among.start)?.clone()?;
        let usual = self.of_usual?;
        let mut tried = Tried::default();
        if self.is_mirrored(among, among.set, &mut Vec::new()) {
            // What is preferred is asked of packets whose addresses differ.
            let wish = Wish { place: self.same, rest: usual };
            return self.point(among, wish, &mut tried).map(Some);
        }
        let mut wish = Wish { place: self.different, rest: usual };
        if !self.meets(among, among.set, wish, &mut tried) {
            let same = Wish { place: ANYTHING, rest: usual };
            if self.meets(among, among.set, same, &mut tried) {
                return None;
            }
            wish.rest = self.meant;
            tried = Tried::default();
            if !self.meets(among, among.set, wish, &mut tried) {
                return None;
            }
        }
        for preferred in telling {
            let place = self.places.and(wish.place, preferred.place);
            let rest = self.rests.and(wish.rest, preferred.rest);
            let both = Wish { place, rest };
            if both == wish || place == NOTHING || rest == NOTHING {
                continue;
            }
            if place != wish.place && !self.is_inhabited(among, among.set, place) {
                continue;
            }
            let mut own = Tried::default();
            let of = if rest == wish.rest { &mut tried } else { &mut own };
            if self.meets(among, among.set, both, of) {
                if rest != wish.rest {
                    tried = own;
                }
                wish = both;
            }
        }
        self.point(among, wish, &mut tried).map(Some)
    }

    /// Whether each packet behind a node has one address for both, of which some first bits are
    /// known.
    fn is_mirrored(&self, among: &Among<'_>, node: Id, known: &mut Vec<bool>) -> bool {
        if among.live.behind(node) & among.lot == 0 {
            return true;
        }
        let (level, one, zero) = among.live.diagram.at(node);
        let (source, destination) = (&self.source, &self.destination);
        if level < source.start {
            return self.is_mirrored(among, one, known) && self.is_mirrored(among, zero, known);
        }
        let width = source.end - source.start;
        let Ok(at) = u32::try_from(known.len()) else { return false };
        if at < width {
            return level == source.start + at
                && [(zero, false), (one, true)].into_iter().all(|(child, bit)| {
                    known.push(bit);
                    let is = self.is_mirrored(among, child, known);
                    known.pop();
                    is
                });
        }
        let mut node = node;
        for (level, bit) in destination.clone().zip(known.iter()) {
            let (own, one, zero) = among.live.diagram.at(node);
            let (taken, other) = if *bit { (one, zero) } else { (zero, one) };
            if own != level || among.live.behind(other) & among.lot != 0 {
                return false;
            }
            node = taken;
        }
        true
    }

    /// What a set without addresses says of the rest.
    fn behind_addresses(&self, set: Id) -> Option<Id> {
        (self.rests.at(set).0 >= self.rests.protocol).then_some(set)
    }

    /// Whether a set has packets with such addresses.
    fn is_inhabited(&mut self, among: &Among<'_>, node: Id, place: Id) -> bool {
        if node == NOTHING || place == NOTHING {
            return false;
        }
        let own = among.live.diagram.at(node);
        if own.0 >= self.places.protocol || place == ANYTHING {
            return true;
        }
        if let Some(known) = self.inhabited.get(&(node, place)) {
            return *known;
        }
        let (_, [a, c], [b, d]) = split((node, own), (place, self.places.at(place)));
        let is = self.is_inhabited(among, b, d) || self.is_inhabited(among, a, c);
        self.inhabited.insert((node, place), is);
        is
    }

    /// Whether a node of a set leads to a packet as wished.
    fn meets(&mut self, among: &Among<'_>, node: Id, wish: Wish, tried: &mut Tried) -> bool {
        if wish.place == NOTHING || among.live.behind(node) & among.lot == 0 {
            return false;
        }
        let own = among.live.diagram.at(node);
        if own.0 >= self.places.protocol {
            return self.overlaps(among, node, wish.rest, tried);
        }
        if tried.apart.contains(&(node, wish.place)) {
            return false;
        }
        let (_, [a, c], [b, d]) = split((node, own), (wish.place, self.places.at(wish.place)));
        let met = self.meets(among, b, Wish { place: d, ..wish }, tried)
            || self.meets(among, a, Wish { place: c, ..wish }, tried);
        if !met {
            tried.apart.insert((node, wish.place));
        }
        met
    }

    /// Whether a node behind the addresses holds of anything together with what is wished.
    fn overlaps(&self, among: &Among<'_>, node: Id, rest: Id, tried: &mut Tried) -> bool {
        let known = tried.overlaps.get(&node);
        if let Some(known) = known {
            return *known;
        }
        let mut apart = HashSet::default();
        let met = self.meet(among.live.diagram, node, rest, &mut apart);
        tried.overlaps.insert(node, met);
        met
    }

    fn meet(
        &self,
        sets: &Diagram,
        node: Id,
        rest: Id,
        apart: &mut HashSet<(Id, Id), RandomState>,
    ) -> bool {
        if node == NOTHING || rest == NOTHING {
            return false;
        }
        if node == ANYTHING || rest == ANYTHING {
            return true;
        }
        if apart.contains(&(node, rest)) {
            return false;
        }
        let (_, [a, c], [b, d]) = split((node, sets.at(node)), (rest, self.rests.at(rest)));
        let met = self.meet(sets, b, d, apart) || self.meet(sets, a, c, apart);
        if !met {
            apart.insert((node, rest));
        }
        met
    }

    /// A packet as wished, bits that are free those of a plain one; `None` if it can't be one.
    fn point(&mut self, among: &Among<'_>, wish: Wish, tried: &mut Tried) -> Option<Header> {
        let sets = among.live.diagram;
        let mut said: HashMap<u32, bool, RandomState> = HashMap::default();
        let (mut node, mut place) = (among.set, wish.place);
        let mut ends = None;
        while node != NOTHING {
            let (own, asked) = (sets.at(node), self.places.at(place));
            if own.0.min(asked.0) >= self.places.protocol {
                ends = Some(self.with_rest(among, node, wish.rest));
                break;
            }
            let (level, [a, c], [b, d]) = split((node, own), (place, asked));
            let zero = self.meets(among, b, Wish { place: d, ..wish }, tried);
            let both = zero && self.meets(among, a, Wish { place: c, ..wish }, tried);
            if both && level + 1 == self.places.protocol {
                // Where it makes no difference it is free.
                let (yes, no) =
                    (self.with_rest(among, a, wish.rest), self.with_rest(among, b, wish.rest));
                if yes == no {
                    ends = Some(no);
                    break;
                }
            }
            said.insert(level, !zero);
            (node, place) = if zero { (b, d) } else { (a, c) };
        }
        let mut rest = ends.filter(|rest| *rest != NOTHING)?;
        while rest != ANYTHING {
            let (level, one, zero) = self.rests.at(rest);
            said.insert(level, zero == NOTHING);
            rest = if zero == NOTHING { one } else { zero };
        }
        let said = |variable: u32| said.get(&variable).copied();
        let (header, same_address, same_port) = point_of(self.space.family(), said);
        let wrong = |said: Option<bool>, is: bool| said.is_some_and(|said| said != is);
        let impossible = wrong(same_address, header.source == header.destination)
            || wrong(same_port, header.source_port == header.destination_port);
        (!impossible).then(|| header.normal())
    }

    /// What a node behind the addresses says together with what is wished.
    fn with_rest(&mut self, among: &Among<'_>, node: Id, rest: Id) -> Id {
        let every = 0..u32::MAX;
        let theirs = (among.live.diagram, node);
        self.rests.values(theirs, rest, &every, &mut HashMap::default())
    }
}

/// A set as a wish: `None` where what it asks of the rest depends on addresses.
fn wish(set: &PacketSet, space: &Space, places: &mut Diagram, rests: &mut Diagram) -> Option<Wish> {
    let all = rests.add(space, set.function());
    if all == NOTHING {
        return Some(Wish { place: NOTHING, rest: NOTHING });
    }
    let [rest] = rests.below(vec![all], rests.protocol).try_into().ok()?;
    let place = over(rests, all, places, &mut HashMap::default());
    Some(Wish { place, rest })
}

/// What a node of one diagram asks of addresses, as a node of another.
fn over(
    from: &Diagram,
    node: Id,
    to: &mut Diagram,
    known: &mut HashMap<Id, Id, RandomState>,
) -> Id {
    let (level, one, zero) = from.at(node);
    if level >= from.protocol {
        return if node == NOTHING { NOTHING } else { ANYTHING };
    }
    if let Some(made) = known.get(&node) {
        return *made;
    }
    let (one, zero) = (over(from, one, to, known), over(from, zero, to, known));
    let made = to.node(level, one, zero);
    known.insert(node, made);
    made
}
