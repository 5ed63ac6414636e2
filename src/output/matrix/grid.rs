//! The short form: one mark for each pair of zones, and zones that fare alike together.

use nattrace_parser::syntax::Family;
use nattrace_verifier::matrix::{Breadth, Cell, Group, Grouping, Reach, grouping};

use super::View;

/// A family's rows and columns, and a mark for each pair of them.
pub(super) struct Grid {
    /// The sending zones.
    pub(super) from: Vec<Group>,
    /// The addressed zones.
    pub(super) to: Vec<Group>,
    /// The marks of each row.
    pub(super) rows: Vec<Vec<Mark>>,
}

/// What connects between two groups of zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// What is written: see [`LEGEND`].
    pub(super) text: String,
    /// The colour of it.
    pub(super) tone: Tone,
}

/// How open a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// No packets.
    Empty,
    /// Nothing connects.
    Closed,
    /// Some services connect.
    Partly,
    /// Everything does, or everything but what is named.
    Open,
    /// Nobody knows.
    Unknown,
}

/// What the marks mean.
pub(super) const LEGEND: [(&str, &str); 7] = [
    ("all", "everything connects"),
    ("most", "everything but what is listed"),
    ("2", "so many services, or ranges of them"),
    ("~", "some packets do, others do not"),
    ("?", "it is not known"),
    ("-", "nothing does"),
    ("*", "not the same between all of these zones"),
];

impl Grid {
    pub(super) fn new(view: &View<'_>, family: Family) -> Self {
        let Grouping { mut from, mut to } = grouping(view.matrix, family);
        let has = |pick: &dyn Fn(&Cell) -> bool| {
            view.matrix.cells.iter().any(|cell| cell.family == family && pick(cell))
        };
        let sends = |group: &Group| has(&|cell| group.members.contains(&cell.from));
        let gets = |group: &Group| has(&|cell| group.members.contains(&cell.to));
        // A zone that has no packets in this family in either direction is left out.
        let same = view.matrix.from == view.matrix.to;
        from.retain(|group| sends(group) || same && gets(group));
        to.retain(|group| gets(group) || same && sends(group));
        let row = |sender: &Group| {
            to.iter().map(|receiver| mark_of(view, family, sender, receiver)).collect()
        };
        let rows = from.iter().map(row).collect();
        Self { from, to, rows }
    }
}

/// The pairs of zones of two groups, those of different zones first.
pub(super) fn pairs(sender: &Group, receiver: &Group) -> Vec<(usize, usize)> {
    let all = || sender.members.iter().flat_map(|a| receiver.members.iter().map(move |b| (*a, *b)));
    let others = all().filter(|(a, b)| a != b);
    others.chain(all().filter(|(a, b)| a == b)).collect()
}

fn mark_of(view: &View<'_>, family: Family, sender: &Group, receiver: &Group) -> Mark {
    let pairs = pairs(sender, receiver);
    let between = |(from, to): &(usize, usize)| {
        mark(&view.matrix.between(family, *from, *to).collect::<Vec<_>>())
    };
    let mut marks: Vec<Mark> = Vec::new();
    // A zone and itself is another matter than two zones of a group.
    let apart: Vec<&(usize, usize)> = pairs.iter().filter(|(a, b)| a != b).collect();
    let asked = if apart.is_empty() { pairs.iter().collect() } else { apart };
    for found in asked.into_iter().map(between) {
        if !marks.contains(&found) {
            marks.push(found);
        }
    }
    match marks.as_slice() {
        [only] => only.clone(),
        several => {
            let open = several.iter().any(|mark| matches!(mark.tone, Tone::Partly | Tone::Open));
            Mark { text: "*".to_owned(), tone: if open { Tone::Partly } else { Tone::Unknown } }
        }
    }
}

/// The mark of two zones.
pub(super) fn mark(cells: &[&Cell]) -> Mark {
    let made = |text: &str, tone: Tone| Mark { text: text.to_owned(), tone };
    let has = |reach: Reach| cells.iter().any(|cell| cell.reach == reach);
    let open = |cell: &&&Cell| matches!(cell.reach, Reach::Always | Reach::Sometimes);
    if cells.is_empty() {
        return made("", Tone::Empty);
    }
    let count: usize = cells.iter().filter(open).map(|cell| cell.services.len()).sum();
    if count == 0 {
        return if has(Reach::Undetermined) {
            made("?", Tone::Unknown)
        } else {
            made("-", Tone::Closed)
        };
    }
    let mut text = match cells.iter().filter(open).find(|cell| cell.breadth != Breadth::Some) {
        Some(cell) if cells.iter().all(|cell| open(&cell)) && cell.reach == Reach::Always => {
            "all".to_owned()
        }
        Some(cell) if cell.breadth == Breadth::Everything => String::new(),
        Some(_) => "most".to_owned(),
        None => count.to_string(),
    };
    let tone = if ["all", "most"].contains(&text.as_str()) { Tone::Open } else { Tone::Partly };
    if has(Reach::Sometimes) {
        text.push('~');
    }
    if has(Reach::Undetermined) {
        text.push('?');
    }
    Mark { text, tone }
}

/// The name of a group: `net:a`, or `net:a and 49 like it`.
pub(super) fn group_name(group: &Group, name: impl Fn(usize) -> String) -> String {
    let first = name(group.first());
    match group.members.len() {
        0 | 1 => first,
        2 => format!("{first}, {}", group.members.get(1).map_or_else(String::new, |at| name(*at))),
        count => format!("{first} and {} like it", count - 1),
    }
}
