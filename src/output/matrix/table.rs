//! A matrix for a person: a table of marks, and below it what connects.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use nattrace_model::answer::Outcome;
use nattrace_parser::syntax::Family;
use nattrace_verifier::matrix::{Cell, Part, Reach};

use super::grid::{Grid, LEGEND, Mark, Tone, group_name, pairs};
use super::{View, families, family_key, which_words};
use crate::output::words;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const OPEN: Style = AnsiColor::Yellow.on_default();

/// How many services are named in a line.
const MOST_SERVICES: usize = 6;
/// How many cells of a pair are told where nobody asked for the pair.
const MOST_CELLS: usize = 24;

/// The matrix for a person.
pub(crate) fn render(view: &View<'_>) -> String {
    let mut text = String::new();
    for (family, name) in families(view.matrix) {
        let grid = Grid::new(view, family);
        let _ = writeln!(text, "{BOLD}{name}: who connects to whom{BOLD:#}\n");
        table(&mut text, view, &grid);
        lists(&mut text, view, family, &grid);
        text.push('\n');
    }
    if view.matrix.cells.is_empty() {
        text.push_str("no packets: none of these zones sends to another on this host\n");
    }
    for assumption in &view.matrix.assumptions {
        let told = words::visible(&assumption.text);
        let _ = writeln!(text, "{DIM}assumed{DIM:#}: {told} [{}]", assumption.code);
    }
    let _ = writeln!(
        text,
        "{} always, {} sometimes, {} never, {} undetermined",
        view.count(Reach::Always),
        view.count(Reach::Sometimes),
        view.count(Reach::Never),
        view.count(Reach::Undetermined)
    );
    text
}

fn table(text: &mut String, view: &View<'_>, grid: &Grid) {
    let rows: Vec<String> =
        grid.from.iter().map(|group| group_name(group, |at| view.from(at))).collect();
    let columns: Vec<String> =
        grid.to.iter().map(|group| group_name(group, |at| view.to(at))).collect();
    let wide =
        rows.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("from \\ to".len());
    // The same zones in both directions are numbered once.
    let numbered = rows == columns;
    let cells = grid.rows.iter().flatten().map(|mark| mark.text.chars().count());
    let narrow = cells.chain([columns.len().to_string().len()]).max().unwrap_or(1) + 2;
    let _ = write!(text, "  {:>3} {:<wide$}", "", "from \\ to");
    for number in 1..=columns.len() {
        let _ = write!(text, "{number:>narrow$}");
    }
    text.push('\n');
    for (index, (name, marks)) in rows.iter().zip(&grid.rows).enumerate() {
        let number = if numbered { (index + 1).to_string() } else { String::new() };
        let padding = " ".repeat(wide - name.chars().count());
        let _ = write!(text, "  {number:>3} {name}{padding}");
        for mark in marks {
            let style = style(mark);
            let gap = " ".repeat(narrow - mark.text.chars().count());
            let _ = write!(text, "{gap}{style}{}{style:#}", mark.text);
        }
        text.push('\n');
    }
    if !numbered {
        text.push('\n');
        for (number, name) in columns.iter().enumerate() {
            let _ = writeln!(text, "  {DIM}{:>3}{DIM:#} {name}", number + 1);
        }
    }
    let used = |sign: &str| {
        let digits = |mark: &Mark| mark.text.starts_with(|first: char| first.is_ascii_digit());
        let mut marks = grid.rows.iter().flatten();
        match sign {
            "2" => marks.any(digits),
            sign => marks.any(|mark| mark.text.contains(sign)),
        }
    };
    let legend = LEGEND.iter().filter(|(sign, _)| used(sign));
    let legend: Vec<String> = legend.map(|(sign, meaning)| format!("{sign} {meaning}")).collect();
    let _ = writeln!(text, "\n  {DIM}{}{DIM:#}", legend.join(" · "));
}

fn style(mark: &Mark) -> Style {
    match mark.tone {
        Tone::Open => GOOD,
        Tone::Partly | Tone::Unknown => OPEN,
        Tone::Closed => BAD,
        Tone::Empty => DIM,
    }
}

/// What connects, pair by pair; of groups, for the first pair of each.
fn lists(text: &mut String, view: &View<'_>, family: Family, grid: &Grid) {
    let asked = !view.scope.from.is_empty() || !view.scope.to.is_empty();
    for sender in &grid.from {
        for receiver in &grid.to {
            let pairs = pairs(sender, receiver);
            let mut seen: Vec<Vec<(Reach, Vec<_>)>> = Vec::new();
            for (from, to) in &pairs {
                let cells: Vec<&Cell> = view.matrix.between(family, *from, *to).collect();
                let tells = asked || cells.iter().any(|cell| cell.reach != Reach::Never);
                let likeness: Vec<_> =
                    cells.iter().map(|cell| (cell.reach, cell.services.clone())).collect();
                if !tells || cells.is_empty() || seen.contains(&likeness) {
                    continue;
                }
                seen.push(likeness);
                let _ = writeln!(text, "\n{BOLD}{} -> {}{BOLD:#}", view.from(*from), view.to(*to));
                list(text, view, &cells, if asked { usize::MAX } else { MOST_CELLS });
            }
        }
    }
}

fn list(text: &mut String, view: &View<'_>, cells: &[&Cell], most: usize) {
    let names: Vec<String> = cells.iter().map(|cell| view.services(cell, MOST_SERVICES)).collect();
    let mut told: Vec<(&&Cell, &String)> = cells.iter().zip(&names).collect();
    // What connects first, what is everything else last.
    told.sort_by_key(|(cell, _)| {
        (cell.breadth != nattrace_verifier::matrix::Breadth::Some, cell.reach)
    });
    let (shown, hidden): (Vec<_>, Vec<_>) =
        told.into_iter().enumerate().partition(|(at, (cell, _))| {
            *at < most || cell.breadth != nattrace_verifier::matrix::Breadth::Some
        });
    let wide = shown.iter().map(|(_, (_, name))| name.chars().count()).max().unwrap_or(0).min(28);
    for (_, (cell, name)) in shown {
        if cell.breadth != nattrace_verifier::matrix::Breadth::Some && !hidden.is_empty() {
            let _ = writeln!(
                text,
                "  {DIM}… and {} more: `--from {} --to {}` lists them all{DIM:#}",
                hidden.len(),
                view.from(cell.from),
                view.to(cell.to)
            );
        }
        for (at, part) in cell.parts.iter().enumerate() {
            let name = if at == 0 { name.as_str() } else { "" };
            let gap = " ".repeat(wide.saturating_sub(name.chars().count()));
            let style = outcome_style(part);
            let which = part.which.as_ref().map(which_words).filter(|words| !words.is_empty());
            let which = which.map(|words| format!("{words}: ")).unwrap_or_default();
            let sometimes =
                if cell.reach == Reach::Sometimes && at == 0 { "sometimes: " } else { "" };
            let _ = writeln!(
                text,
                "  {name}{gap}  {sometimes}{which}{style}{}{style:#}",
                view.fate(part)
            );
            if cell.reach != Reach::Never {
                let _ =
                    writeln!(text, "  {:wide$}  {DIM}{}{DIM:#}", "", words::replay(&part.witness));
            }
        }
    }
}

fn outcome_style(part: &Part) -> Style {
    match part.outcome {
        Outcome::Connects => GOOD,
        Outcome::Undetermined => OPEN,
        Outcome::Refused | Outcome::Unreachable | Outcome::Timeout => BAD,
    }
}

/// A line for each cell.
pub(crate) fn concise(view: &View<'_>) -> String {
    let mut text = String::new();
    for cell in &view.matrix.cells {
        let fates: Vec<String> = cell
            .parts
            .iter()
            .map(|part| {
                let which = part.which.as_ref().map(which_words).filter(|words| !words.is_empty());
                let which = which.map(|words| format!("{words}: ")).unwrap_or_default();
                format!("{which}{}", view.fate(part))
            })
            .collect();
        let _ = writeln!(
            text,
            "{} {} -> {} {}: {}, {}",
            family_key(cell.family),
            view.from(cell.from),
            view.to(cell.to),
            view.services(cell, usize::MAX),
            cell.reach.as_str(),
            fates.join("; ")
        );
    }
    text
}
