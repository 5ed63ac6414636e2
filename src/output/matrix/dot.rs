//! A matrix for Graphviz: zones, and an arrow for whatever connects.

use std::fmt::Write;

use nattrace_verifier::matrix::{Cell, Reach};

use super::grid::{Grid, Tone, group_name, pairs};
use super::{View, families};

/// How many services an arrow names.
const MOST_SERVICES: usize = 4;

/// Draws a matrix.
pub(crate) fn render(view: &View<'_>) -> String {
    let mut text = String::from(
        "digraph matrix {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=monospace];\n  \
         edge [fontname=monospace, fontsize=10];\n",
    );
    for (family, name) in families(view.matrix) {
        let grid = Grid::new(view, family);
        // Writing into a string can't fail.
        let _ = writeln!(text, "  subgraph \"cluster_{name}\" {{\n    label=\"{name}\";");
        let node = |zone: &str| quoted(&format!("{name} {zone}"));
        let mut nodes: Vec<String> =
            grid.from.iter().map(|group| group_name(group, |at| view.from(at))).collect();
        nodes.extend(grid.to.iter().map(|group| group_name(group, |at| view.to(at))));
        let mut seen: Vec<&String> = Vec::new();
        for zone in &nodes {
            if !seen.contains(&zone) {
                seen.push(zone);
                let _ = writeln!(text, "    {} [label={}];", node(zone), quoted(zone));
            }
        }
        for (sender, marks) in grid.from.iter().zip(&grid.rows) {
            for (receiver, mark) in grid.to.iter().zip(marks) {
                if matches!(mark.tone, Tone::Empty | Tone::Closed) {
                    continue;
                }
                let first = pairs(sender, receiver).into_iter().find_map(|(from, to)| {
                    let cells = view.matrix.between(family, from, to);
                    let open: Vec<&Cell> =
                        cells.filter(|cell| cell.reach != Reach::Never).collect();
                    (!open.is_empty()).then_some(open)
                });
                let open = first.unwrap_or_default();
                let label = label(view, &open);
                let style = if open.iter().any(|cell| cell.reach == Reach::Always) {
                    "solid"
                } else {
                    "dashed"
                };
                let _ = writeln!(
                    text,
                    "    {} -> {} [label={}, style={style}];",
                    node(&group_name(sender, |at| view.from(at))),
                    node(&group_name(receiver, |at| view.to(at))),
                    quoted(&label)
                );
            }
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}

/// What connects, in a few lines.
fn label(view: &View<'_>, open: &[&Cell]) -> String {
    let line = |cell: &&Cell| {
        let services = view.services(cell, MOST_SERVICES);
        match cell.reach {
            Reach::Always | Reach::Never => services,
            Reach::Sometimes => format!("{services} sometimes"),
            Reach::Undetermined => format!("{services}?"),
        }
    };
    let mut lines: Vec<String> = open.iter().take(MOST_SERVICES).map(line).collect();
    if open.len() > lines.len() {
        lines.push(format!("{} more", open.len() - lines.len()));
    }
    lines.join("\n")
}

/// A string of the DOT language.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
