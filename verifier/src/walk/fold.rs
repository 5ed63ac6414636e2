//! A base chain folded: which packets it ends in which way, for all of them at once.
//!
//! Rules are first divided into pieces, each with the packets that it decides about; neighbours are
//! then put together by pairs, the first one going before the second. Where a rule does more than
//! to end the chain, or nobody can say whether it matches and what it does then is not simple, the
//! fold is open: there the packet walks on by itself.

mod called;
mod forks;
mod locate;

use std::collections::HashMap;
use std::rc::Rc;

use nattrace_model::ruleset::{ChainId, Rule, RuleId, Ruleset};
use nattrace_model::simulate::{Foresight, Stand, View};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Policy;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::walk::conditions::Extent;
use crate::walk::context::Context;
use crate::walk::filter::{Bits, Filter};
use crate::walk::index::{Known, is_count};
use crate::walk::piece::{Exit, Key, Left, Piece};
use crate::walk::region::Region;
pub(crate) use called::Called;
use forks::Then;

/// With at most so many parts the packet's own is sought among them; else among the rules.
const FEW: usize = 12;
/// Chains with at most so many rules are walked as a whole where they are open.
const SHORT: usize = 16;

/// How a base chain ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum End {
    Policy,
    By(Target),
}

/// What becomes of the packets of a part.
#[derive(Clone, Debug)]
enum Fate {
    /// The chain ends, by a rule or by the policy.
    Ends(Option<RuleId>),
    /// From there on they walk.
    Walks(Stand),
    /// A rule may match them; where it does not, this comes.
    Forks(Foresight),
}

/// A base chain folded.
#[derive(Default)]
pub(crate) struct Fold {
    parts: Vec<(Fate, BDDFunction)>,
    ends: HashMap<End, usize>,
    /// The parts that are open, by the rule.
    open: HashMap<RuleId, Vec<usize>>,
    /// The parts that a rule may match.
    forks: Vec<usize>,
}

/// What is known of a context.
#[derive(Clone)]
pub(crate) enum Folded {
    /// It can't be folded for other packets.
    Never,
    /// It was folded for some packets, and for others.
    For(Vec<(BDDFunction, Rc<Fold>)>),
}

/// The ways in which packets leave that were met.
#[derive(Default)]
struct Exits {
    /// A rule for each end.
    ends: Vec<RuleId>,
    known: HashMap<Target, usize>,
    open: Vec<Stand>,
    /// What comes where rules do not match that may.
    forks: Vec<Foresight>,
    known_forks: HashMap<(Then, Then), usize>,
}

/// The packets that a rule matches.
struct Matched {
    sure: BDDFunction,
    /// Those that it may match, where they are others.
    perhaps: Option<BDDFunction>,
    key: Key,
}

/// What a fold is made of.
struct Matter<'v, 'p, 'r> {
    view: &'v View<'p>,
    rules: &'r Ruleset,
    known: Known,
    /// The chains that were left for others.
    callers: Vec<(ChainId, u32)>,
    exits: Exits,
    /// What it is about but for where packets leave, where it is about all of them.
    context: Option<Context>,
}

impl Region {
    /// What is known of a base chain that the packet is about to walk from some place on.
    pub(crate) fn foresee(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        base: ChainId,
        from: &Stand,
    ) -> Foresight {
        let Some(context) = self.context(view, rules, base, from) else { return Foresight::None };
        let ground = Rc::clone(&self.ground);
        let mut known = match ground.folds.borrow().get(&context) {
            Some(Folded::Never) => return Foresight::None,
            Some(Folded::For(known)) => known.clone(),
            None => Vec::new(),
        };
        if let Some((_, fold)) = known.iter().find(|(care, _)| self.holds_here(care)) {
            let fold = Rc::clone(fold);
            return self.expect(view, rules, from, base, &fold);
        }
        let whole = if context.is_from_the_start() {
            // Others come with the same fields, but hardly with the address that NAT picked. A
            // context that comes again is folded for all packets that are asked about.
            !context.is_picked() || !known.is_empty()
        } else {
            // Few packets walk on from most of the rules of a chain that is called; of one that
            // calls, what it calls is known for all of them.
            from.callers.is_empty() || known.len() >= FEW
        };
        let care = self.care(&context, whole);
        let before = self.parts();
        self.touched = false;
        let called = whole.then(|| context.of_called());
        let fold = self.fold(view, rules, (base, from), &care, called);
        let sound = !self.touched;
        self.reset(before);
        let Some(fold) = fold.filter(|_| sound) else {
            ground.folds.borrow_mut().insert(context, Folded::Never);
            return Foresight::None;
        };
        let fold = Rc::new(fold);
        known.push((care, Rc::clone(&fold)));
        ground.folds.borrow_mut().insert(context, Folded::For(known));
        self.expect(view, rules, from, base, &fold)
    }

    /// The packets that a chain is folded for, as far as its rules can tell them apart.
    fn care(&self, context: &Context, whole: bool) -> BDDFunction {
        let ground = &self.ground;
        let fields = context.fields();
        let mut care = ground.asked_of(&fields);
        if whole {
            for (field, cell) in context.cells() {
                if fields.contains(field) {
                    care = ground.space.and(&care, &self.cell(*field, *cell));
                }
            }
            return ground.space.and(&care, &self.alike_protocols());
        }
        ground.space.and(&care, &self.roughly(&fields))
    }

    fn expect(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        from: &Stand,
        base: ChainId,
        fold: &Fold,
    ) -> Foresight {
        let few = fold.parts.len() <= FEW;
        let sought = if few { None } else { self.locate(view, rules, (base, from), fold) };
        let own = sought.and_then(|at| fold.parts.get(at)).filter(|own| self.holds_here(&own.1));
        let own = own.or_else(|| fold.parts.iter().find(|(_, part)| self.holds_here(part)));
        let Some((fate, part)) = own else { return Foresight::None };
        let foresight = match fate {
            Fate::Ends(by) => Foresight::Ends(*by),
            Fate::Walks(stand) => Foresight::From(stand.clone()),
            Fate::Forks(otherwise) => match self.unsure(view, rules, from) {
                Some(stand) => Foresight::Perhaps(stand, Box::new(otherwise.clone())),
                None => return Foresight::None,
            },
        };
        self.restrict(part);
        foresight
    }

    /// Folds a base chain from some place on.
    fn fold(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        (base, from): (ChainId, &Stand),
        care: &BDDFunction,
        context: Option<Context>,
    ) -> Option<Fold> {
        let space = self.ground.space.clone();
        let mut matter = Matter {
            view,
            rules,
            known: self.known(view),
            callers: from.callers.clone(),
            exits: Exits::default(),
            context,
        };
        let (mut gone, mut left) = (Vec::new(), care.clone());
        let mut at = (from.next.chain, from.next.index);
        loop {
            // What returns, and what comes to its end, goes on in the chain that called.
            let piece = self.piece(&mut matter, at, &left)?;
            let mut here = piece.exits;
            let mut on = vec![space.minus(&left, &piece.any)];
            let back = here.extract_if(.., |left| left.by == Exit::Return);
            on.extend(back.map(|left| left.packets));
            left = space.union(on);
            gone.extend(here);
            match matter.callers.pop() {
                Some(caller) => at = caller,
                None => break,
            }
        }
        let exits = matter.exits;
        let policy = vec![left];
        let mut decided: Vec<Vec<BDDFunction>> = vec![Vec::new(); exits.ends.len()];
        let mut open: Vec<Vec<BDDFunction>> = vec![Vec::new(); exits.open.len()];
        let mut forks: Vec<Vec<BDDFunction>> = vec![Vec::new(); exits.forks.len()];
        for Left { by, packets, .. } in gone {
            match by {
                Exit::Return => {}
                Exit::End(at) => decided.get_mut(at)?.push(packets),
                Exit::Open(at) => open.get_mut(at)?.push(packets),
                Exit::Fork(at) => forks.get_mut(at)?.push(packets),
            }
        }
        let mut fold = Fold::default();
        let all = exits.ends.into_iter().map(Some).zip(decided);
        for (by, functions) in all.chain([(None, policy)]) {
            let part = space.union(functions);
            let end = end_of(rules, base, by);
            match fold.ends.get(&end) {
                Some(at) => {
                    let (_, known) = fold.parts.get_mut(*at)?;
                    *known = space.or(known, &part);
                }
                None => {
                    fold.ends.insert(end, fold.parts.len());
                    fold.parts.push((Fate::Ends(by), part));
                }
            }
        }
        for (stand, functions) in exits.open.into_iter().zip(open) {
            fold.open.entry(stand.next).or_default().push(fold.parts.len());
            fold.parts.push((Fate::Walks(stand), space.union(functions)));
        }
        for (otherwise, functions) in exits.forks.into_iter().zip(forks) {
            fold.forks.push(fold.parts.len());
            fold.parts.push((Fate::Forks(otherwise), space.union(functions)));
        }
        Some(fold)
    }

    /// What is the same for all packets of a region when a rule asks it.
    fn known(&self, view: &View<'_>) -> Known {
        let (packet, all) = (view.packet(), Known::all(view));
        let same = |address: &std::net::IpAddr| self.address_from(*address).is_empty();
        Known {
            source: Some(packet.source).filter(same),
            destination: Some(packet.destination).filter(same),
            destination_port: all.destination_port.filter(|port| self.port_from(*port).is_empty()),
        }
    }

    /// The packets that a chain decides about, from one of its rules on.
    fn piece(
        &mut self,
        matter: &mut Matter<'_, '_, '_>,
        (chain, from): (ChainId, u32),
        care: &BDDFunction,
    ) -> Option<Piece> {
        let ground = Rc::clone(&self.ground);
        let space = &ground.space;
        let all = &matter.rules.chain(chain)?.rules;
        let mut candidates = ground.land.index(chain, all).candidates(matter.view, &matter.known);
        candidates.retain(|index| *index >= from);
        let filter = Filter::of(space, care, candidates.len());
        let mut pieces = Vec::new();
        for index in candidates {
            let Some(rule) = all.get(index as usize) else { continue };
            if counts(matter.view, rule) {
                // It may drop what it does not match: from here on everything walks.
                let open = matter.open(RuleId { chain, index }, (care, Key::default()));
                pieces.push(open.of_rule(index));
                break;
            }
            if rule.target.does_nothing() {
                continue;
            }
            let Some(Matched { sure, perhaps, key }) = self.matches(matter.view, rule, &filter)
            else {
                continue;
            };
            let id = RuleId { chain, index };
            let piece = match perhaps.filter(|perhaps| *perhaps != sure) {
                // Chance, or something unknown, decides.
                Some(perhaps) => match matter.undecided(rule, id).filter(|_| !sure.satisfiable()) {
                    Some(target) => Piece::perhaps(space, target, (perhaps, key)),
                    None => matter.open(id, (&perhaps, key)),
                },
                None => self.carried_out(matter, id, &rule.target, (&sure, key))?,
            };
            // What comes behind a rule that all packets leave by is met by none.
            let last = piece.any == *care;
            pieces.push(piece.of_rule(index));
            if last {
                break;
            }
        }
        let mut forks = |target, otherwise| matter.fork((chain, all.len()), target, otherwise);
        Some(Piece::together(space, pieces, &mut forks).settled(space, &mut forks))
    }

    /// What the target of a rule does with the packets that match it.
    fn carried_out(
        &mut self,
        matter: &mut Matter<'_, '_, '_>,
        id: RuleId,
        target: &Target,
        (sure, key): (&BDDFunction, Key),
    ) -> Option<Piece> {
        let space = self.ground.space.clone();
        let (to, returns) = match target {
            Target::Return => return Some(Piece::of(Exit::Return, (sure, key))),
            Target::Jump(to) => (*to, true),
            Target::Goto(to) => (*to, false),
            target if target.ends() => {
                let at = matter.exits.end(target, id);
                return Some(Piece::of(Exit::End(at), (sure, key)));
            }
            _ => return Some(matter.open(id, (sure, key))),
        };
        let opened = matter.exits.open.len();
        if returns {
            matter.callers.push((id.chain, id.index + 1));
        }
        let called = self.called(matter, to, sure);
        if returns {
            matter.callers.pop();
        }
        let called = called?;
        let short = matter.rules.chain(to).is_some_and(|chain| chain.rules.len() <= SHORT);
        if short && called.is_open() {
            matter.exits.open.truncate(opened);
            return Some(matter.open(id, (sure, key)));
        }
        let called = match returns {
            true => called.without_returns(&space),
            false => called.all_returning(&space, sure),
        };
        Some(called.within(key))
    }

    /// For which of some packets all conditions of a rule hold, surely and, where that differs,
    /// perhaps; `None` for none.
    fn matches(&mut self, view: &View<'_>, rule: &Rule, filter: &Filter<'_>) -> Option<Matched> {
        let space = self.ground.space.clone();
        let mut key = Key::default();
        if filter.is_worthwhile() {
            for condition in &rule.conditions {
                let Some(sought) = self.sought(view, condition) else { continue };
                if filter.rules_out(&space, sought) {
                    return None;
                }
                if let (field, value, Bits::All) = sought {
                    key.set(field, value);
                }
            }
        }
        let mut unsure = false;
        for condition in rule.conditions.iter().filter(|c| !super::conditions::varies(c)) {
            match view.says(condition) {
                Some(true) => {}
                Some(false) => return None,
                None => unsure = true,
            }
        }
        let mut extents = Vec::new();
        for condition in rule.conditions.iter().filter(|c| super::conditions::varies(c)) {
            match self.extent(view, condition) {
                Extent::Same => match view.says(condition) {
                    Some(true) => {}
                    Some(false) => return None,
                    None => unsure = true,
                },
                Extent::Of(holds, may) => {
                    let either = may.map(|may| space.or(&holds, &may));
                    let tier = space.tier(either.as_ref().unwrap_or(&holds));
                    extents.push((tier, holds, either));
                }
            }
        }
        if !filter.may_match(&space, &extents) {
            return None;
        }
        extents.sort_by_key(|(tier, ..)| *tier);
        let (mut sure, mut perhaps) = (filter.care.clone(), None);
        for (_, holds, either) in extents {
            if perhaps.is_some() || either.is_some() {
                let either = either.as_ref().unwrap_or(&holds);
                perhaps = Some(space.and(perhaps.as_ref().unwrap_or(&sure), either));
            }
            sure = space.and(&sure, &holds);
            if !perhaps.as_ref().unwrap_or(&sure).satisfiable() {
                return None;
            }
        }
        if unsure {
            perhaps = Some(perhaps.unwrap_or(sure));
            sure = space.nothing();
        }
        Some(Matched { sure, perhaps, key })
    }
}

impl Matter<'_, '_, '_> {
    /// Packets that walk from a rule on.
    fn open(&mut self, rule: RuleId, packets: (&BDDFunction, Key)) -> Piece {
        let stand = Stand { callers: self.callers.clone(), next: rule };
        self.exits.open.push(stand);
        Piece::of(Exit::Open(self.exits.open.len() - 1), packets)
    }
}

impl Exits {
    fn end(&mut self, target: &Target, rule: RuleId) -> usize {
        if let Some(known) = self.known.get(target) {
            return *known;
        }
        self.known.insert(target.clone(), self.ends.len());
        self.ends.push(rule);
        self.ends.len() - 1
    }
}

/// Whether a rule may drop packets by its count of connections, where their own began before.
fn counts(view: &View<'_>, rule: &Rule) -> bool {
    let mut counting = rule.conditions.iter().filter(|condition| is_count(condition));
    counting.any(|condition| view.may_drop(std::slice::from_ref(condition)))
}

/// The end that a rule or the policy brings about.
fn end_of(rules: &Ruleset, base: ChainId, by: Option<RuleId>) -> End {
    let policy = || rules.chain(base).and_then(|chain| chain.base).map(|base| base.policy);
    match by.and_then(|id| rules.rule(id)) {
        Some(rule) => End::By(rule.target.clone()),
        None => match policy() {
            Some(Policy::Accept) => End::By(Target::Accept),
            Some(Policy::Drop) => End::By(Target::Drop),
            None => End::Policy,
        },
    }
}
