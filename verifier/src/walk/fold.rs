//! A base chain folded: which packets it ends in which way, for all of them at once.
//!
//! Rules are first divided into pieces, each with the packets that it decides about; neighbours are
//! then put together by pairs, the first one going before the second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use nattrace_model::condition::{
    Condition, ConnectionCondition, InterfacePattern, Sense, TupleField,
};
use nattrace_model::packet::Transport;
use nattrace_model::ruleset::{ChainId, Rule, RuleId, Ruleset};
use nattrace_model::simulate::{Foresight, Place, View};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Policy;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::space::{Field, Space};
use crate::walk::conditions::Extent;
use crate::walk::region::{Provenance, Region};

/// With at most so many ends the packet's own is sought among them; else the packet walks.
const FEW: usize = 12;

/// Everything that the way of a packet through a base chain depends on, besides the fields that
/// vary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    base: ChainId,
    place: Place,
    values: Vec<Value>,
    /// The cells of addresses that were sent, where rules ask what these mean to the host.
    cells: Vec<(Field, usize)>,
}

/// Where a value comes from, or the value that all packets have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Sent(Field),
    Mapped(Field, String),
    Address(IpAddr),
    Number(u16),
    None,
}

/// How a base chain ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum End {
    Policy,
    By(Target),
}

/// A base chain folded.
#[derive(Default)]
pub(crate) struct Fold {
    parts: Vec<(Option<RuleId>, BDDFunction)>,
    known: HashMap<End, usize>,
}

/// What is known of a context.
#[derive(Clone)]
pub(crate) enum Folded {
    /// It was met once.
    Once,
    /// The chain does more than to end.
    Never,
    Done(Rc<Fold>),
}

/// What the rules that a base chain leads to ask about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    source: bool,
    destination: bool,
    /// Ports, and type and code of ICMP.
    transport: bool,
    flags: bool,
    /// What the source means to the host: its type, or the way back to it.
    source_meaning: bool,
    /// What the destination means to the host.
    destination_meaning: bool,
    /// Addresses and ports of connections.
    tuples: bool,
    /// Hardware addresses.
    mac: bool,
}

/// How a packet leaves a piece of a chain: by an end, or back to where the chain was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    End(usize),
    Return,
}

/// A piece of a chain: the packets that it decides about.
struct Piece {
    exits: Vec<(Exit, BDDFunction)>,
    any: BDDFunction,
}

/// The ends that were met, each with a rule that brings it about.
#[derive(Default)]
struct Ends {
    rules: Vec<RuleId>,
    known: HashMap<Target, usize>,
}

/// The rules of a chain by the interface that they want packets to leave by.
#[derive(Default)]
pub(crate) struct ByInterface {
    named: HashMap<Box<str>, Vec<u32>>,
    /// Those that name none.
    others: Vec<u32>,
}

impl ByInterface {
    fn of(rules: &[Rule]) -> Self {
        let mut all = Self::default();
        for (index, rule) in (0u32..).zip(rules) {
            let named = rule.conditions.iter().find_map(|condition| match condition {
                Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) => Some(name),
                _ => None,
            });
            match named {
                Some(name) => all.named.entry(name.clone()).or_default().push(index),
                None => all.others.push(index),
            }
        }
        all
    }

    /// The rules that may match what leaves by an interface, in order.
    fn candidates(&self, interface: &str) -> Vec<u32> {
        let named = self.named.get(interface).map_or(&[] as &[u32], Vec::as_slice);
        let mut all = [named, self.others.as_slice()].concat();
        all.sort_unstable();
        all
    }
}

impl Region {
    /// What is known of a base chain that the packet is about to walk.
    pub(crate) fn foresee(&mut self, view: &View<'_>, rules: &Ruleset, base: ChainId) -> Foresight {
        self.expected = None;
        let Some(context) = self.context(view, rules, base) else { return Foresight::None };
        let ground = Rc::clone(&self.ground);
        let known = ground.folds.borrow().get(&context).cloned();
        let whole = match known {
            Some(Folded::Never) => return Foresight::None,
            Some(Folded::Done(fold)) => return self.expect(base, fold),
            Some(Folded::Once) => true,
            None => false,
        };
        // A context that comes again is folded for all packets that are asked about.
        let mut care = ground.asked.clone();
        if whole {
            for (field, cell) in &context.cells {
                care = ground.space.and(&care, &self.cell(*field, *cell));
            }
        } else {
            care = ground.space.and(&care, self.function());
        }
        let before = self.function().clone();
        self.touched = false;
        let fold = self.fold(view, rules, base, &care);
        let sound = !self.touched;
        self.reset(before);
        let Some(fold) = fold.filter(|_| sound) else {
            ground.folds.borrow_mut().insert(context, Folded::Never);
            return Foresight::None;
        };
        let fold = Rc::new(fold);
        let known = if whole { Folded::Done(Rc::clone(&fold)) } else { Folded::Once };
        ground.folds.borrow_mut().insert(context, known);
        self.expect(base, fold)
    }

    fn expect(&mut self, base: ChainId, fold: Rc<Fold>) -> Foresight {
        if fold.parts.len() > FEW {
            self.expected = Some((base, fold));
            return Foresight::Walk;
        }
        let mut own = fold.parts.iter().filter(|(_, part)| self.holds_here(part));
        let Some((by, part)) = own.next() else { return Foresight::None };
        self.restrict(&part.clone());
        Foresight::Ends(*by)
    }

    /// The chain that was foreseen ended.
    pub(crate) fn ended(&mut self, rules: &Ruleset, by: Option<RuleId>) {
        let Some((base, fold)) = self.expected.take() else { return };
        let end = end_of(rules, base, by);
        let part = fold.known.get(&end).and_then(|at| fold.parts.get(*at));
        match part {
            Some((_, part)) => self.restrict(&part.clone()),
            // Not to be: then nothing but this packet is known to go this way.
            None => Field::ALL.into_iter().for_each(|field| self.pin(field)),
        }
    }

    fn context(&self, view: &View<'_>, rules: &Ruleset, base: ChainId) -> Option<Context> {
        let ground = Rc::clone(&self.ground);
        let traits = *ground
            .traits
            .borrow_mut()
            .entry(base)
            .or_insert_with(|| Traits::of(rules, base, ground.macs_in_sets));
        if traits.mac {
            return None;
        }
        let packet = view.packet();
        let mut values = Vec::with_capacity(8);
        let mut cells = Vec::new();
        for (address, asked, meaning) in [
            (packet.source, traits.source, traits.source_meaning),
            (packet.destination, traits.destination, traits.destination_meaning),
        ] {
            if !(asked || meaning) {
                values.push(Value::None);
                continue;
            }
            let value = self.address_value(address)?;
            if let (true, Value::Sent(field) | Value::Mapped(field, _)) = (meaning, &value) {
                if matches!(value, Value::Mapped(..)) {
                    return None;
                }
                cells.push((*field, self.cell_of(*field)));
            }
            values.push(value);
        }
        if traits.transport {
            self.transport_values(packet.transport, &mut values)?;
        }
        let sent = self.header();
        let number = |now: u8, own: u8, field| {
            if now == own { Value::Sent(field) } else { Value::Number(now.into()) }
        };
        values.push(number(packet.protocol, sent.protocol, Field::Protocol));
        values.push(Value::Number(sent.protocol.into()));
        if traits.flags {
            values.push(number(packet.tcp_flags, sent.tcp_flags, Field::TcpFlags));
        }
        if traits.tuples {
            values
                .push(view.connection_protocol().map_or(Value::None, |p| Value::Number(p.into())));
            for field in [
                TupleField::OriginalSource,
                TupleField::OriginalDestination,
                TupleField::ReplySource,
                TupleField::ReplyDestination,
            ] {
                values.push(match view.connection_address(field) {
                    Some(address) => self.address_value(address)?,
                    None => Value::None,
                });
                for port in view
                    .connection_ports(field)
                    .map_or([None; 2], |(source, destination)| [Some(source), Some(destination)])
                {
                    values.push(self.port_value(port)?);
                }
            }
        }
        Some(Context { base, place: view.place(), values, cells })
    }

    fn transport_values(&self, transport: Transport, values: &mut Vec<Value>) -> Option<()> {
        let sent = self.header();
        match transport {
            Transport::Ports { source, destination } => {
                values.push(self.port_value(Some(source))?);
                values.push(self.port_value(Some(destination))?);
            }
            Transport::Icmp { kind, code, .. } => {
                let own = crate::header::is_icmp(sent.protocol);
                let part = |now: u8, was: u8, field| {
                    if own && now == was { Value::Sent(field) } else { Value::Number(now.into()) }
                };
                values.push(part(kind, sent.icmp.0, Field::IcmpType));
                values.push(part(code, sent.icmp.1, Field::IcmpCode));
            }
            Transport::Opaque => values.push(Value::None),
        }
        Some(())
    }

    /// Where an address comes from; `None` where it may come from several fields.
    fn address_value(&self, address: IpAddr) -> Option<Value> {
        match self.address_from(address).as_slice() {
            [] => Some(Value::Address(address)),
            [Provenance::Sent(field)] => Some(Value::Sent(*field)),
            [Provenance::Mapped(field, prefix)] => Some(Value::Mapped(*field, prefix.to_string())),
            _ => None,
        }
    }

    fn port_value(&self, port: Option<u16>) -> Option<Value> {
        let Some(port) = port else { return Some(Value::None) };
        match self.port_from(port).as_slice() {
            [] => Some(Value::Number(port)),
            [field] => Some(Value::Sent(*field)),
            _ => None,
        }
    }

    /// Folds a base chain; `None` where it does more than to end.
    fn fold(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        base: ChainId,
        care: &BDDFunction,
    ) -> Option<Fold> {
        let space = self.ground.space.clone();
        let mut ends = Ends::default();
        let piece = self.piece(view, rules, base, care, &mut ends)?;
        let mut fold = Fold::default();
        let falls = space.minus(care, &piece.any);
        let mut policy = vec![falls];
        let mut decided: Vec<Vec<BDDFunction>> = vec![Vec::new(); ends.rules.len()];
        for (exit, function) in piece.exits {
            match exit {
                Exit::Return => policy.push(function),
                Exit::End(at) => decided.get_mut(at)?.push(function),
            }
        }
        let all = ends.rules.iter().copied().map(Some).zip(decided);
        for (by, functions) in all.chain([(None, policy)]) {
            let part = space.union(functions);
            match fold.known.get(&end_of(rules, base, by)) {
                Some(at) => {
                    let (_, known) = fold.parts.get_mut(*at)?;
                    *known = space.or(known, &part);
                }
                None => {
                    fold.known.insert(end_of(rules, base, by), fold.parts.len());
                    fold.parts.push((by, part));
                }
            }
        }
        Some(fold)
    }

    /// The packets that a chain decides about.
    fn piece(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        chain: ChainId,
        care: &BDDFunction,
        ends: &mut Ends,
    ) -> Option<Piece> {
        let space = self.ground.space.clone();
        let mut pieces = Vec::new();
        let all = &rules.chain(chain)?.rules;
        let candidates = {
            let ground = Rc::clone(&self.ground);
            let mut known = ground.by_interface.borrow_mut();
            known
                .entry(chain)
                .or_insert_with(|| ByInterface::of(all))
                .candidates(view.out_interface())
        };
        for index in candidates {
            let Some(rule) = all.get(index as usize) else { continue };
            if view.may_drop(&rule.conditions) {
                return None;
            }
            if rule.target.does_nothing() {
                continue;
            }
            let Some((sure, perhaps)) = self.matches(view, rule, care) else { continue };
            if perhaps.is_some_and(|perhaps| perhaps != sure) {
                // Chance, or something unknown, decides.
                return None;
            }
            let one = |exit, function: &BDDFunction| Piece {
                exits: vec![(exit, function.clone())],
                any: function.clone(),
            };
            pieces.push(match &rule.target {
                Target::Return => one(Exit::Return, &sure),
                Target::Jump(to) => {
                    let mut called = self.piece(view, rules, *to, &sure, ends)?;
                    called.exits.retain(|(exit, _)| *exit != Exit::Return);
                    let each = called.exits.iter().map(|(_, function)| function.clone());
                    called.any = space.union(each.collect());
                    called
                }
                Target::Goto(to) => {
                    let mut called = self.piece(view, rules, *to, &sure, ends)?;
                    let falls = space.minus(&sure, &called.any);
                    called.exits.push((Exit::Return, falls));
                    Piece { exits: called.exits, any: sure }
                }
                target if target.ends() => {
                    let at = ends.of(target, RuleId { chain, index });
                    one(Exit::End(at), &sure)
                }
                _ => return None,
            });
        }
        Some(together(&space, pieces))
    }

    /// For which of some packets all conditions of a rule hold, surely and, where that differs,
    /// perhaps; `None` for none.
    fn matches(
        &mut self,
        view: &View<'_>,
        rule: &Rule,
        care: &BDDFunction,
    ) -> Option<(BDDFunction, Option<BDDFunction>)> {
        let space = self.ground.space.clone();
        let mut unsure = false;
        for condition in rule.conditions.iter().filter(|c| !super::conditions::varies(c)) {
            match view.says(condition) {
                Some(true) => {}
                Some(false) => return None,
                None => unsure = true,
            }
        }
        let (mut sure, mut perhaps) = (care.clone(), None);
        for condition in rule.conditions.iter().filter(|c| super::conditions::varies(c)) {
            match self.extent(view, condition) {
                Extent::Same => match view.says(condition) {
                    Some(true) => {}
                    Some(false) => return None,
                    None => unsure = true,
                },
                Extent::Of(holds, may) => {
                    if perhaps.is_some() || may.is_some() {
                        let either =
                            may.map_or_else(|| holds.clone(), |may| space.or(&holds, &may));
                        perhaps = Some(space.and(perhaps.as_ref().unwrap_or(&sure), &either));
                    }
                    sure = space.and(&sure, &holds);
                }
            }
            let some = perhaps.as_ref().unwrap_or(&sure);
            if !some.satisfiable() {
                return None;
            }
        }
        if unsure {
            perhaps = Some(perhaps.unwrap_or(sure));
            sure = space.nothing();
        }
        Some((sure, perhaps))
    }
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

/// Pieces one behind the other: what one decides about, the later ones don't see.
fn together(space: &Space, mut pieces: Vec<Piece>) -> Piece {
    while pieces.len() > 1 {
        let mut paired = Vec::with_capacity(pieces.len().div_ceil(2));
        let mut all = pieces.into_iter();
        while let Some(mut first) = all.next() {
            if let Some(second) = all.next() {
                for (exit, function) in second.exits {
                    let left = space.minus(&function, &first.any);
                    match first.exits.iter_mut().find(|(own, _)| *own == exit) {
                        Some((_, own)) => *own = space.or(own, &left),
                        None => first.exits.push((exit, left)),
                    }
                }
                first.any = space.or(&first.any, &second.any);
            }
            paired.push(first);
        }
        pieces = paired;
    }
    pieces.pop().unwrap_or_else(|| Piece { exits: Vec::new(), any: space.nothing() })
}

impl Ends {
    fn of(&mut self, target: &Target, rule: RuleId) -> usize {
        if let Some(known) = self.known.get(target) {
            return *known;
        }
        self.known.insert(target.clone(), self.rules.len());
        self.rules.push(rule);
        self.rules.len() - 1
    }
}

impl Traits {
    /// Of all rules that a base chain may lead to; `in_sets` tells whether entries of ipsets hold
    /// hardware addresses.
    fn of(rules: &Ruleset, base: ChainId, in_sets: bool) -> Self {
        let mut traits = Self::default();
        let mut open = vec![base];
        let mut seen = vec![base];
        while let Some(chain) = open.pop().and_then(|id| rules.chain(id)) {
            for rule in &chain.rules {
                rule.conditions.iter().for_each(|condition| traits.add(condition, in_sets));
                rule.target.calls(&mut |called, _| {
                    if !seen.contains(&called) {
                        seen.push(called);
                        open.push(called);
                    }
                });
            }
        }
        traits
    }

    fn add(&mut self, condition: &Condition, in_sets: bool) {
        match condition {
            Condition::Source(..) | Condition::SourceRange(..) => self.source = true,
            Condition::Destination(..) | Condition::DestinationRange(..) => self.destination = true,
            Condition::SourceType(..) => self.source_meaning = true,
            Condition::DestinationType(..) => self.destination_meaning = true,
            Condition::ReversePath { .. } => {
                (self.source_meaning, self.destination_meaning) = (true, true);
            }
            Condition::Port(..) | Condition::Ports(..) | Condition::Icmp { .. } => {
                self.transport = true;
            }
            Condition::TcpFlags { .. } => self.flags = true,
            Condition::Mac(..) => self.mac = true,
            Condition::Set(..) => {
                (self.source, self.destination, self.transport) = (true, true, true);
                self.mac |= in_sets;
            }
            Condition::Connection(_, asked) => self.tuples |= asks_tuples(asked),
            Condition::Value(..) => {
                (self.source, self.destination, self.transport) = (true, true, true);
                (self.flags, self.tuples) = (true, true);
            }
            _ => {}
        }
    }
}

fn asks_tuples(asked: &ConnectionCondition) -> bool {
    match asked {
        ConnectionCondition::OrUntracked(_, inner) => asks_tuples(inner),
        ConnectionCondition::Address(..)
        | ConnectionCondition::Port(..)
        | ConnectionCondition::Protocol(_) => true,
        _ => false,
    }
}
