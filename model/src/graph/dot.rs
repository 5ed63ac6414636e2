//! The chain graph in DOT, the language of Graphviz.

use std::fmt::Write;

use super::LinkKind;
use super::drawing::{Drawing, Edge, GraphOptions, Node};
use crate::ruleset::Ruleset;

/// Draws the chain graph in DOT: a cluster a table, base chains by hook, a dashed edge for a goto.
#[must_use]
pub fn to_dot(ruleset: &Ruleset, options: &GraphOptions<'_>) -> String {
    let drawing = Drawing::new(ruleset, options);
    let mut out = String::from(
        "digraph chains {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  \
         edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    for (index, cluster) in drawing.clusters.iter().enumerate() {
        let title = quoted(&cluster.title);
        // Writing into a string can't fail.
        let _ = writeln!(out, "  subgraph cluster_{index} {{\n    label={title};");
        for node in &cluster.nodes {
            write_node(&mut out, node);
        }
        out.push_str("  }\n");
    }
    for edge in &drawing.edges {
        write_edge(&mut out, edge);
    }
    out.push_str("}\n");
    out
}

fn write_node(out: &mut String, node: &Node) {
    let label: Vec<String> = node.lines.iter().map(|line| escaped(line)).collect();
    let label = label.join("\\n");
    let mut styles = Vec::new();
    if node.base {
        styles.push("rounded");
    }
    if node.marked {
        styles.push("bold");
    }
    let style = match styles.as_slice() {
        [] => String::new(),
        styles => format!(", style=\"{}\"", styles.join(",")),
    };
    let colour = if node.marked { ", color=\"#005fcc\", penwidth=2" } else { "" };
    let _ = writeln!(out, "    c{} [label=\"{label}\"{style}{colour}];", node.chain.0);
}

fn write_edge(out: &mut String, edge: &Edge) {
    let label = quoted(&edge.label);
    let style = match (edge.kind, edge.marked) {
        (LinkKind::Jump, false) => "",
        (LinkKind::Jump, true) => ", style=bold",
        (LinkKind::Goto, false) => ", style=dashed",
        (LinkKind::Goto, true) => ", style=\"dashed,bold\"",
    };
    let colour = if edge.marked { ", color=\"#005fcc\", penwidth=2" } else { "" };
    let _ = writeln!(out, "  c{} -> c{} [label={label}{style}{colour}];", edge.from.0, edge.to.0);
}

/// A text as a quoted string. Graphviz reads escapes such as `\N` in labels, so each backslash is
/// doubled.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            // An HTML entity would be decoded.
            '&' => escaped.push_str("&amp;"),
            _ if character.is_control() => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_gets_out_of_its_quotes() {
        assert_eq!(quoted(r#"a"b\N"#), r#""a\"b\\N""#);
        assert_eq!(quoted("x&lt;\ty"), "\"x&amp;lt; y\"");
    }
}
