//! One rule of nft: its statements in order. What it asks before it does anything are conditions,
//! as of any rule; from the first thing it does, order counts.

use nattrace_parser::diagnostic::{Diagnostic, nearest};
use nattrace_parser::host::nftables::{self, Element, Expression, Statement, Verdict};
use nattrace_parser::syntax::Counters;

use super::Context;
use super::compare::{self, compare, named_set};
use super::operand::{Reading, readings};
use super::rewrite;
use crate::condition::value::{Interval, Operand};
use crate::condition::{Condition, Undecided};
use crate::ruleset::{Origin, Rule};
use crate::target::{Action, MapEntry, Target, TargetMap};

/// What was found besides the rule itself.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether it makes the kernel track connections (kernel-facts A4; `nf_ct_netns_get` is called
    /// by `ct`, NAT and flowtables, not by `notrack`).
    pub(super) tracked: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// A rule under way.
pub(super) struct Draft<'a> {
    pub(super) context: &'a Context<'a>,
    rule: &'a nftables::Rule,
    conditions: Vec<Condition>,
    actions: Vec<Action>,
    pub(super) found: Found,
}

/// Lowers a rule.
pub(super) fn lower(rule: &nftables::Rule, context: &Context<'_>, text: &str) -> (Rule, Found) {
    let mut draft = Draft {
        context,
        rule,
        conditions: Vec::new(),
        actions: Vec::new(),
        found: Found::default(),
    };
    let mut statements = rule.statements.iter().peekable();
    while let Some(statement) = statements.next() {
        match statements.peek().and_then(|next| compare::joined(context, statement, next)) {
            Some(conditions) => {
                statements.next();
                conditions.into_iter().for_each(|condition| draft.ask(condition));
            }
            None => draft.statement(statement),
        }
    }
    let counted = rule.statements.iter().find_map(|statement| match statement {
        Statement::Counter { counted: Some((packets, bytes)), .. } => {
            Some(Counters { packets: *packets, bytes: *bytes })
        }
        _ => None,
    });
    let Draft { conditions, mut actions, found, .. } = draft;
    let target = match (actions.pop(), actions.is_empty()) {
        (None, _) => Target::None,
        (Some(Action::Do(only)), true) => only,
        (Some(last), _) => {
            actions.push(last);
            Target::Sequence(actions.into())
        }
    };
    let before = text.get(..rule.span.start as usize).unwrap_or("");
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let origin = Origin {
        source: context.source,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        handle: rule.handle,
        span: rule.span,
        printed: Some(rule.to_string().into()),
    };
    (Rule { conditions, target, origin, counters: counted }, found)
}

impl Draft<'_> {
    /// Asks something: before anything is done, a condition of the rule.
    pub(super) fn ask(&mut self, condition: Condition) {
        if self.actions.is_empty() {
            self.conditions.push(condition);
        } else {
            self.actions.push(Action::If(condition));
        }
    }

    /// Does something.
    pub(super) fn act(&mut self, target: Target) {
        self.actions.push(Action::Do(target));
    }

    /// Does something that is not modelled.
    pub(super) fn unsupported(&mut self, name: &str) {
        self.act(Target::Unsupported(name.into()));
    }

    fn chance(&mut self, at_first: bool) {
        let why = Undecided::Chance { at_first: Some(at_first) };
        self.ask(Condition::Undecided(why));
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match { relation, left, right } => {
                let compared = compare(self.context, *relation, left, right);
                self.found.tracked |= compared.tracked;
                for condition in compared.conditions {
                    self.ask(condition);
                }
            }
            Statement::Verdict(verdict) => {
                // `continue` is what happens anyway.
                if *verdict != Verdict::Continue {
                    let target = self.verdict(verdict);
                    self.act(target);
                }
            }
            Statement::VerdictMap { key, data } => {
                self.map(
                    key,
                    data,
                    Target::Unsupported("vmap".into()),
                    |draft, value| match value {
                        Expression::Verdict(verdict) => Some(draft.verdict(verdict)),
                        _ => None,
                    },
                );
            }
            Statement::Counter { .. } => {}
            Statement::Mangle { key, value } => rewrite::mangle(self, key, value),
            Statement::Nat(nat) => {
                self.found.tracked = true;
                rewrite::nat(self, nat);
            }
            Statement::Reject { kind, code } => {
                rewrite::reject(self, kind.as_deref(), code.as_ref());
            }
            Statement::Log(_) => self.act(Target::Log),
            Statement::Limit { name, over, .. } => {
                // A bucket starts full (kernel-facts G19).
                let over = *over || self.is_over("limit", name.as_deref());
                self.chance(!over);
            }
            Statement::Quota { name, over, .. } => {
                let over = *over || self.is_over("quota", name.as_deref());
                self.chance(!over);
            }
            Statement::Notrack => self.act(Target::Notrack),
            Statement::Set { operation, element, data, statements, .. } => {
                for value in std::iter::once(element).chain(data) {
                    self.read(value);
                }
                self.limits(statements);
                self.act(Target::Continue(operation.as_str()));
            }
            Statement::Meter { key, statement, .. } => {
                self.read(key);
                self.limits(std::slice::from_ref(statement));
                self.act(Target::Continue("meter"));
            }
            Statement::ConnectionCount { over, .. } => {
                self.found.tracked = true;
                self.chance(!over);
            }
            Statement::ConnectionObject(_) => {
                self.found.tracked = true;
                self.act(Target::ConntrackOptions);
            }
            Statement::Queue { bypass, .. } => self.act(Target::Queue { bypass: *bypass }),
            Statement::Tproxy { family, address, port } => {
                rewrite::tproxy(self, family.as_deref(), address.as_ref(), port.as_ref());
            }
            Statement::Flow(_) => {
                self.found.tracked = true;
                self.act(Target::Offload);
            }
            Statement::Xt { name, .. } => {
                let what = format!("xt {name}");
                self.unsupported(&what);
            }
            Statement::Passing { name, .. } => self.act(Target::Continue(match name.as_str() {
                "dup" => "dup",
                "last" => "last",
                "secmark" => "secmark",
                _ => "tunnel",
            })),
            Statement::Unknown { name, .. } => self.unsupported(name),
        }
    }

    /// The limits that an element of a set carries.
    fn limits(&mut self, statements: &[Statement]) {
        if statements.iter().all(|own| matches!(own, Statement::Counter { .. })) {
            return;
        }
        self.found.tracked |=
            statements.iter().any(|own| matches!(own, Statement::ConnectionCount { .. }));
        let over = statements.iter().any(|own| {
            matches!(
                own,
                Statement::Limit { over: true, .. }
                    | Statement::Quota { over: true, .. }
                    | Statement::ConnectionCount { over: true, .. }
            )
        });
        self.chance(!over);
    }

    /// Whether a named limit or quota matches what is beyond it.
    fn is_over(&self, kind: &str, name: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let objects = self.context.ruleset.objects.iter();
        let mut own = objects.filter(|object| {
            object.table == *self.context.table && object.kind == kind && object.name == name
        });
        own.any(|object| object.over)
    }

    /// The target of a verdict.
    pub(super) fn verdict(&mut self, verdict: &Verdict) -> Target {
        match verdict {
            Verdict::Accept => Target::Accept,
            Verdict::Drop => Target::Drop,
            Verdict::Continue => Target::None,
            Verdict::Return => Target::Return,
            Verdict::Jump(name) => self.call(name, Target::Jump),
            Verdict::Goto(name) => self.call(name, Target::Goto),
        }
    }

    fn call(&mut self, name: &str, target: fn(crate::ruleset::ChainId) -> Target) -> Target {
        if let Some(chain) = self.context.chains.get(name) {
            return target(*chain);
        }
        let message = format!("chain `{name}` does not exist in table `{}`", self.context.table);
        let diagnostic = Diagnostic::error("unknown-chain", message, self.rule.span);
        self.found.diagnostics.push(match nearest(name, self.context.chains.keys().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
        Target::Unsupported(name.into())
    }

    /// Reads values: where one of them is not there, the rule ends.
    fn read(&mut self, values: &Expression) -> Vec<Reading> {
        let read = readings(values, self.context.family);
        self.found.tracked |= read.iter().any(|reading| reading.tracked);
        for need in read.iter().flat_map(|reading| reading.needs.clone()) {
            self.ask(need);
        }
        read
    }

    /// A map from values of the packet to targets; `broken` is what is done where an entry can't be
    /// understood, or may be another one by now.
    pub(super) fn map(
        &mut self,
        key: &Expression,
        data: &Expression,
        broken: Target,
        target: impl Fn(&mut Self, &Expression) -> Option<Target>,
    ) {
        let read = self.read(key);
        let (entries, changes): (Vec<Element>, bool) = match data {
            Expression::Set(entries) => (entries.clone(), false),
            reference => match named_set(self.context, reference) {
                Some(set) => {
                    let name = set.name.as_str();
                    let grown = self.context.grown.contains(name);
                    (set.elements.clone(), grown || self.context.shrunk.contains(name))
                }
                None => return self.act(broken),
            },
        };
        let mut lowered: Vec<MapEntry> = Vec::with_capacity(entries.len());
        for entry in &entries {
            let key = compare::element(&read, &entry.key);
            let found = entry.data.as_ref().and_then(|data| target(self, data));
            match (key, found) {
                (Some(key), Some(target)) => lowered.push(MapEntry { key, target }),
                // An entry that is not understood may be the one that fits.
                (key, _) => {
                    let key = key.unwrap_or_else(|| read.iter().map(|_| Interval::ALL).collect());
                    lowered.push(MapEntry { key, target: broken.clone() });
                }
            }
        }
        let otherwise = if changes {
            Some(broken)
        } else if covers_all(key, &entries) {
            // One of the entries fits whatever is drawn: the last one, if none before.
            lowered.pop().map(|last| last.target)
        } else {
            None
        };
        let operands: Box<[Operand]> =
            read.iter().map(|reading: &Reading| reading.operand.clone()).collect();
        self.act(Target::Map(Box::new(TargetMap { operands, entries: lowered.into(), otherwise })));
    }
}

/// Whether the entries of a map hold every number that is drawn.
fn covers_all(key: &Expression, entries: &[Element]) -> bool {
    let Expression::Numgen { modulus, offset, .. } = key else { return false };
    let holds = |drawn: u64| {
        entries.iter().any(|entry| match &entry.key {
            Expression::Number(number) => *number == drawn,
            Expression::Range(first, last) => match (&**first, &**last) {
                (Expression::Number(first), Expression::Number(last)) => {
                    (first..=last).contains(&&drawn)
                }
                _ => false,
            },
            _ => false,
        })
    };
    let many = *modulus > 4096;
    !many && (0..*modulus).all(|drawn| holds(drawn.saturating_add(*offset)))
}
