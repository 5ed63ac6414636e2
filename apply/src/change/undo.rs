//! From rules that others may have changed meanwhile to the commands that take a change back.

use nattrace_parser::syntax::TableName;

use super::place::{fits, gap};
use super::{Step, forms, marker, tagged};
use crate::live::Store;
use crate::plan::Op;
use crate::saved::{Command, CommandFault, Finds, Forms, Saved, Table, count, removal};

/// What takes a change of a table back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undone {
    /// The commands; none where the change is not there.
    pub(crate) commands: Vec<Command>,
    /// What others did to our edits meanwhile, for a person.
    pub(crate) notes: Vec<String>,
    /// The edits whose old rules came back, by their numbers.
    pub(crate) returned: Vec<usize>,
}

/// Takes the edits of a table back: our rules go, and what they replaced comes back at its place.
pub(crate) fn undo(
    id: &str,
    store: Store,
    name: TableName,
    steps: &[Step],
    saved: &mut Saved,
    finds: Finds,
) -> Result<Undone, CommandFault> {
    let mut table = saved.table(name);
    let mut undone = Undone::default();
    if !table.has(&marker(id)) {
        return Ok(undone);
    }
    let forms = forms(store, name, finds);
    for step in steps.iter().rev() {
        let (commands, note, returned) = back(id, step, &table, &forms);
        undone.returned.extend(returned.then_some(step.number));
        for command in &commands {
            table.run(command, &forms)?;
        }
        undone.commands.extend(commands);
        undone.notes.extend(note);
    }
    let last = Command::DropChain(marker(id));
    table.run(&last, &forms)?;
    undone.commands.push(last);
    saved.set(name, table);
    Ok(undone)
}

/// What takes one edit back, what there is to say, and whether its old rule returns.
fn back(
    id: &str,
    step: &Step,
    table: &Table,
    forms: &Forms,
) -> (Vec<Command>, Option<String>, bool) {
    let Step { number, chain, .. } = step;
    let Some(rules) = table.rules(chain) else {
        let note = format!("edit {number}: chain `{chain}` is gone");
        return (Vec::new(), Some(note), false);
    };
    let ours = match step.op {
        Op::Delete => None,
        Op::Insert | Op::Replace | Op::Append => tagged(rules, id, *number),
    };
    let mut commands = ours.map_or_else(Vec::new, |index| removal(rules, index, chain, forms));
    let gone = step.op != Op::Delete && ours.is_none();
    let mut note = gone.then(|| format!("edit {number}: somebody removed our rule from `{chain}`"));
    let mut returned = false;
    if let Some(old) = &step.old {
        if count(rules, forms, old) > step.alike {
            note = Some(format!("edit {number}: `{old}` is back already"));
        } else if ours.is_none() && is_flushed(step, rules, forms) {
            note = Some(format!("edit {number}: chain `{chain}` was made anew"));
        } else {
            let position = 1 + ours.unwrap_or_else(|| best(step, rules, forms));
            let (chain, rule) = (chain.clone(), old.clone());
            commands.push(Command::Insert { chain, position, rule });
            returned = true;
        }
    }
    (commands, note, returned)
}

/// What puts the old rules of edits to their places where somebody inserted others at the very
/// moment at which they returned; nothing where they stand well.
pub(crate) fn settle(
    returned: &[usize],
    steps: &[Step],
    table: &Table,
    forms: &Forms,
) -> Vec<Command> {
    let steps = steps.iter().filter(|step| returned.contains(&step.number));
    // One at a time: the next look finds the next one.
    steps.filter_map(|step| displaced(step, table, forms)).next().unwrap_or_default()
}

fn displaced(step: &Step, table: &Table, forms: &Forms) -> Option<Vec<Command>> {
    let rules = table.rules(&step.chain)?;
    let old = step.old.as_ref()?;
    let all: Vec<String> = rules.iter().map(|rule| forms.of(rule)).collect();
    let form = forms.of(old);
    let mut places = all.iter().enumerate().filter(|(_, rule)| **rule == form);
    let (index, _) = places.next()?;
    if places.next().is_some() {
        // Which of several alike returned, nobody can tell.
        return None;
    }
    let rest = all.iter().enumerate().filter(|(place, _)| *place != index);
    let rest: Vec<&str> = rest.map(|(_, rule)| rule.as_str()).collect();
    if fits(&rest, index, &step.before, &step.behind) {
        return None;
    }
    let position = gap(&rest, &step.before, &step.behind) + 1;
    let mut commands = removal(rules, index, &step.chain, forms);
    let (chain, rule) = (step.chain.clone(), old.clone());
    commands.push(Command::Insert { chain, position, rule });
    Some(commands)
}

fn best(step: &Step, rules: &[String], forms: &Forms) -> usize {
    let rules: Vec<String> = rules.iter().map(|rule| forms.of(rule)).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    gap(&rules, &step.before, &step.behind)
}

/// Whether nothing that stood around the rule stands in the chain any more: then its owner made the
/// chain anew, and knows what belongs there.
fn is_flushed(step: &Step, rules: &[String], forms: &Forms) -> bool {
    let known = |rule: &String| {
        let form = forms.of(rule);
        step.before.contains(&form) || step.behind.contains(&form)
    };
    let alone = step.before.is_empty() && step.behind.is_empty();
    !alone && !rules.iter().any(known)
}
