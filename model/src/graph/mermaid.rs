//! The chain graph as a Mermaid flowchart, which forges and wikis render from text.

use std::fmt::Write;

use super::LinkKind;
use super::drawing::{Drawing, GraphOptions, Node};
use crate::ruleset::Ruleset;

/// Draws the chain graph as a Mermaid flowchart: a subgraph a table, a dotted edge for a goto.
///
/// Mermaid's own default limits are 500 edges and 50,000 characters; restrict the options for a
/// large ruleset.
#[must_use]
pub fn to_mermaid(ruleset: &Ruleset, options: &GraphOptions<'_>) -> String {
    let drawing = Drawing::new(ruleset, options);
    let mut out = String::from("flowchart LR\n");
    for (index, cluster) in drawing.clusters.iter().enumerate() {
        // Writing into a string can't fail.
        let _ = writeln!(out, "  subgraph t{index}[\"{}\"]", escaped(&cluster.title));
        for node in &cluster.nodes {
            write_node(&mut out, node);
        }
        out.push_str("  end\n");
    }
    let mut marked_edges = Vec::new();
    for (index, edge) in drawing.edges.iter().enumerate() {
        let arrow = match edge.kind {
            LinkKind::Jump => "-->",
            LinkKind::Goto => "-.->",
        };
        let label = escaped(&edge.label);
        let _ = writeln!(out, "  c{} {arrow}|\"{label}\"| c{}", edge.from.0, edge.to.0);
        if edge.marked {
            marked_edges.push(index.to_string());
        }
    }
    let nodes = drawing.clusters.iter().flat_map(|cluster| &cluster.nodes);
    let marked: Vec<String> =
        nodes.filter(|node| node.marked).map(|node| format!("c{}", node.chain.0)).collect();
    if !marked.is_empty() {
        out.push_str("  classDef marked stroke:#005fcc,stroke-width:3px,font-weight:bold\n");
        let _ = writeln!(out, "  class {} marked", marked.join(","));
    }
    if !marked_edges.is_empty() {
        let edges = marked_edges.join(",");
        let _ = writeln!(out, "  linkStyle {edges} stroke:#005fcc,stroke-width:3px");
    }
    out
}

fn write_node(out: &mut String, node: &Node) {
    let lines: Vec<String> = node.lines.iter().map(|line| escaped(line)).collect();
    let label = lines.join("<br/>");
    let (open, close) = if node.base { ("([", "])") } else { ("[", "]") };
    let _ = writeln!(out, "    c{}{open}\"{label}\"{close}", node.chain.0);
}

/// A text inside of quotes: whatever Mermaid, Markdown or HTML might read becomes an entity code.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let plain = character.is_alphanumeric()
            || matches!(character, ' ' | '.' | ',' | ':' | '/' | '-' | '+' | '(' | ')' | '!' | '=')
            || !character.is_ascii() && !character.is_control();
        match character {
            _ if plain => escaped.push(character),
            _ if character.is_control() => escaped.push(' '),
            _ => {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_gets_out_of_its_quotes() {
        assert_eq!(escaped("a\"b"), "a#34;b");
        assert_eq!(escaped("<b> #x; `y` [z]"), "#60;b#62; #35;x#59; #96;y#96; #91;z#93;");
        assert_eq!(escaped("-s 10.0.0.0/8 é"), "-s 10.0.0.0/8 é");
    }
}
