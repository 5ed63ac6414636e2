//! From a plan to the commands that load it.

use std::collections::BTreeMap;

use super::{At, NEIGHBOURS, Step, TableChange, forms, marker, tag};
use crate::brought::Brought;
use crate::live::Store;
use crate::plan::{Edit, Holder, Op, Plan};
use crate::saved::{Command, CommandFault, Finds, Forms, Saved, Table, body, count, removal};

/// Why the edits of a plan do not fit the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// The rule at the position is another one.
    #[error("edit {number}: rule {position} of `{chain}` is not `{expected}`")]
    OtherRule {
        /// The edit, from 1.
        number: usize,
        /// The chain.
        chain: String,
        /// The position.
        position: usize,
        /// The rule that should be there.
        expected: String,
    },
    /// iptables would refuse it.
    #[error("edit {number}: {fault}")]
    Refused {
        /// The edit, from 1.
        number: usize,
        /// Why.
        fault: String,
    },
}

impl LoadError {
    fn refused(number: usize, fault: &CommandFault) -> Self {
        Self::Refused { number, fault: fault.to_string() }
    }
}

/// A change of a table with the commands that make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) change: TableChange,
    /// For a table of iptables; the table of our own is changed by its steps alone.
    pub(crate) commands: Vec<Command>,
}

/// Makes changes of a plan, and carries them out on the rules as they were read. The marker of the
/// change is in the commands, but not in the rules that come of it.
pub(crate) fn changes(
    plan: &Plan,
    rules: &mut BTreeMap<Store, Saved>,
    finds: Finds,
) -> Result<Vec<Prepared>, LoadError> {
    let mut tables: BTreeMap<At, Vec<(usize, &Edit)>> = BTreeMap::new();
    for (index, edit) in plan.edits.iter().enumerate() {
        tables.entry(place(edit)).or_default().push((index + 1, edit));
    }
    let mut prepared = Vec::new();
    for (at, edits) in tables {
        prepared.push(match at {
            At::Own(_) => own(at, &plan.id, &edits),
            At::Iptables(store, table) => {
                let saved = rules.entry(store).or_default();
                let mut edited = saved.table(table);
                let change =
                    iptables(forms(store, table, finds), store, &plan.id, &edits, &mut edited)?;
                saved.set(table, edited);
                change
            }
        });
    }
    Ok(prepared)
}

fn place(edit: &Edit) -> At {
    match edit.holder {
        Holder::Own => At::Own(edit.family),
        Holder::Iptables(backend, table) => {
            At::Iptables(Store { family: edit.family, backend }, table)
        }
    }
}

fn own(at: At, id: &str, edits: &[(usize, &Edit)]) -> Prepared {
    let step = |(number, edit): &(usize, &Edit)| Step {
        number: *number,
        chain: edit.chain.clone(),
        op: edit.op,
        new: Some(format!("{} comment \"{}\"", edit.rule, tag(id, *number))),
        old: None,
        // The position, which the table of our own counts by itself.
        alike: edit.position.map_or(0, |position| usize::try_from(position).unwrap_or_default()),
        before: Vec::new(),
        behind: Vec::new(),
    };
    let steps = edits.iter().map(step).collect();
    Prepared {
        change: TableChange { at, steps, brought: Brought::default() },
        commands: Vec::new(),
    }
}

fn iptables(
    forms: Forms,
    store: Store,
    id: &str,
    edits: &[(usize, &Edit)],
    edited: &mut Table,
) -> Result<Prepared, LoadError> {
    let table = forms.table;
    let mut commands = vec![Command::NewChain(marker(id))];
    let mut steps = Vec::new();
    for (number, edit) in edits {
        let (step, made) = step(id, *number, edit, edited, &forms)?;
        for command in &made {
            edited.run(command, &forms).map_err(|fault| LoadError::refused(*number, &fault))?;
        }
        commands.extend(made);
        steps.push(step);
    }
    let (at, brought) = (At::Iptables(store, table), Brought::default());
    Ok(Prepared { change: TableChange { at, steps, brought }, commands })
}

/// One edit, as it will be taken back, with the commands that make it.
fn step(
    id: &str,
    number: usize,
    edit: &Edit,
    table: &Table,
    forms: &Forms,
) -> Result<(Step, Vec<Command>), LoadError> {
    let chain = || edit.chain.clone();
    let rules = table.rules(&edit.chain);
    let no_chain = || LoadError::refused(number, &CommandFault::NoChain(chain()));
    let rules = rules.ok_or_else(no_chain)?;
    let position = match edit.op {
        Op::Append => rules.len() + 1,
        Op::Insert | Op::Replace | Op::Delete => {
            edit.position.and_then(|position| usize::try_from(position).ok()).unwrap_or(1)
        }
    };
    let index = position.saturating_sub(1);
    let goes = match edit.op {
        Op::Replace => edit.replaces.as_deref(),
        Op::Delete => Some(edit.rule.as_str()),
        Op::Insert | Op::Append => None,
    };
    if let Some(expected) = goes
        && rules.get(index).map(|rule| forms.of(rule)) != Some(forms.of(expected))
    {
        let expected = expected.to_owned();
        return Err(LoadError::OtherRule { number, chain: chain(), position, expected });
    }
    let old = goes.and_then(|_| rules.get(index)).cloned();
    let new = (edit.op != Op::Delete).then(|| with_tag(edit, &tag(id, number), forms));
    let mut commands = Vec::new();
    let mut alike = 0;
    if let Some(old) = &old {
        alike = count(rules, forms, old).saturating_sub(1);
        commands.extend(removal(rules, index, &edit.chain, forms));
    }
    if let Some(new) = &new {
        let rule = new.clone();
        commands.push(match edit.op {
            Op::Append => Command::Append { chain: chain(), rule },
            Op::Insert | Op::Replace | Op::Delete => {
                Command::Insert { chain: chain(), position, rule }
            }
        });
    }
    let taken = usize::from(old.is_some());
    let form = |rule: &String| forms.of(rule);
    let before = rules.iter().take(index).rev().take(NEIGHBOURS).map(form).collect();
    let behind = rules.iter().skip(index + taken).take(NEIGHBOURS).map(form).collect();
    let step = Step { number, chain: chain(), op: edit.op, new, old, alike, before, behind };
    Ok((step, commands))
}

/// The rule with our comment, as iptables-save will print it.
fn with_tag(edit: &Edit, tag: &str, forms: &Forms) -> String {
    let rest = body(&edit.chain, &edit.rule);
    forms.of(&format!("-A {} -m comment --comment \"{tag}\" {rest}", edit.chain))
}
