//! The chain graph as a picture: SVG, laid out here.
//!
//! A chain is a box, and each way out of it a line in its box from which an arrow leads to the
//! chain that is called. Boxes stand in columns, each to the right of all that call it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::LinkKind;
use super::drawing::{Cluster, Drawing, Edge, GraphOptions, Node};
use crate::ruleset::{ChainId, Ruleset};

/// How wide a character is, in tenths.
const CHARACTER: usize = 73;
/// How high a line of text is.
const LINE: usize = 17;
/// What is between the text of a box and its border.
const PADDING: usize = 8;
/// What is between two boxes of a column.
const GAP: usize = 18;
/// What is between two columns.
const ALLEY: usize = 90;
/// What is around everything.
const MARGIN: usize = 24;
/// How many ways out a box names one by one.
const MOST_CALLS: usize = 200;
/// How many characters of a line are shown.
const LONGEST: usize = 72;

/// Draws the chain graph in SVG: a frame a table, base chains with round corners, a dashed arrow
/// for a goto.
#[must_use]
pub fn to_svg(ruleset: &Ruleset, options: &GraphOptions<'_>) -> String {
    let drawing = Drawing::new(ruleset, options);
    let mut body = String::new();
    let (mut width, mut y) = (0, MARGIN);
    for cluster in &drawing.clusters {
        let layout = Layout::new(cluster, &drawing.edges);
        let (wide, high) = layout.draw(&mut body, cluster, y);
        width = width.max(wide);
        y += high + MARGIN;
    }
    let width = (width + 2 * MARGIN).max(200);
    let height = y.max(100);
    let mut out = String::new();
    // Writing into a string can't fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <title>chains and how they call each other</title>\n\
         <defs>\n{}{}</defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
        arrowhead("tip", "#57606a"),
        arrowhead("tip-marked", "#005fcc"),
    );
    out.push_str(&body);
    out.push_str("</svg>\n");
    out
}

fn arrowhead(id: &str, colour: &str) -> String {
    format!(
        "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" \
         fill=\"{colour}\"/></marker>\n"
    )
}

/// A chain in the picture.
#[derive(Debug)]
struct Tile<'d> {
    node: &'d Node,
    /// The ways out, in order.
    calls: Vec<&'d Edge>,
    column: usize,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Tile<'_> {
    /// The lines that name a way out one by one.
    fn named(&self) -> usize {
        if self.calls.len() > MOST_CALLS { MOST_CALLS - 1 } else { self.calls.len() }
    }

    /// The height of the middle of a line.
    fn middle(&self, line: usize) -> usize {
        self.y + PADDING + line * LINE + LINE / 2
    }

    /// Where the arrow of a way out starts.
    fn port(&self, call: usize) -> usize {
        self.middle(self.node.lines.len() + call.min(self.named()))
    }
}

/// The chains of one table with their places.
#[derive(Debug)]
struct Layout<'d> {
    tiles: Vec<Tile<'d>>,
    index: BTreeMap<ChainId, usize>,
}

impl<'d> Layout<'d> {
    fn new(cluster: &'d Cluster, edges: &'d [Edge]) -> Self {
        let index: BTreeMap<ChainId, usize> =
            cluster.nodes.iter().enumerate().map(|(at, node)| (node.chain, at)).collect();
        let mut tiles: Vec<Tile<'d>> = cluster.nodes.iter().map(|node| tile(node)).collect();
        for edge in edges {
            if index.contains_key(&edge.to)
                && let Some(tile) = index.get(&edge.from).and_then(|at| tiles.get_mut(*at))
            {
                tile.calls.push(edge);
            }
        }
        tiles.iter_mut().for_each(measure);
        let mut layout = Self { tiles, index };
        layout.choose_columns();
        layout.place();
        layout
    }

    fn at(&self, chain: ChainId) -> Option<usize> {
        self.index.get(&chain).copied()
    }

    /// Puts each chain one column behind the last that calls it. Where chains lead round, one of
    /// them has to come first.
    fn choose_columns(&mut self) {
        let mut callers = vec![0_usize; self.tiles.len()];
        let targets: Vec<Vec<usize>> = self
            .tiles
            .iter()
            .map(|tile| tile.calls.iter().filter_map(|call| self.at(call.to)).collect())
            .collect();
        for to in targets.iter().flatten() {
            if let Some(count) = callers.get_mut(*to) {
                *count += 1;
            }
        }
        let mut done = vec![false; self.tiles.len()];
        let mut ready: Vec<usize> = (0..self.tiles.len()).rev().collect();
        ready.retain(|at| callers.get(*at) == Some(&0));
        let mut rest = 0..self.tiles.len();
        loop {
            let next = ready.pop().or_else(|| rest.find(|at| done.get(*at) == Some(&false)));
            let Some(at) = next else { break };
            if done.get(at) == Some(&true) {
                continue;
            }
            if let Some(done) = done.get_mut(at) {
                *done = true;
            }
            let column = self.tiles.get(at).map_or(0, |tile| tile.column + 1);
            for &to in targets.get(at).into_iter().flatten() {
                if done.get(to) == Some(&true) {
                    continue;
                }
                if let Some(tile) = self.tiles.get_mut(to) {
                    tile.column = tile.column.max(column);
                }
                if let Some(count) = callers.get_mut(to) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        ready.push(to);
                    }
                }
            }
        }
    }

    /// Gives every chain its place: near the middle of where its arrows come from.
    fn place(&mut self) {
        let columns = self.tiles.iter().map(|tile| tile.column + 1).max().unwrap_or(0);
        let mut sources: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for (from, tile) in self.tiles.iter().enumerate() {
            for (call, edge) in tile.calls.iter().enumerate() {
                if let Some(to) = self.at(edge.to) {
                    sources.entry(to).or_default().push((from, call));
                }
            }
        }
        let mut x = MARGIN + PADDING * 2;
        for column in 0..columns {
            let mut wanted: Vec<(usize, usize)> = Vec::new();
            for (at, tile) in self.tiles.iter().enumerate().filter(|(_, t)| t.column == column) {
                let from = sources.get(&at).into_iter().flatten().filter_map(|(from, call)| {
                    self.tiles.get(*from).filter(|from| from.column < column).map(|f| f.port(*call))
                });
                let ports: Vec<usize> = from.collect();
                let middle = ports.iter().sum::<usize>() / ports.len().max(1);
                wanted.push((middle.saturating_sub(tile.height / 2), at));
            }
            wanted.sort_unstable();
            let mut free = 0;
            let mut widest = 0;
            for (y, at) in wanted {
                let Some(tile) = self.tiles.get_mut(at) else { continue };
                tile.x = x;
                tile.y = y.max(free);
                free = tile.y + tile.height + GAP;
                widest = widest.max(tile.width);
            }
            x += widest + ALLEY;
        }
    }

    /// Draws everything below `top`; returns how wide and how high it is.
    fn draw(&self, out: &mut String, cluster: &Cluster, top: usize) -> (usize, usize) {
        let right = self.tiles.iter().map(|tile| tile.x + tile.width).max().unwrap_or(0);
        let bottom = self.tiles.iter().map(|tile| tile.y + tile.height).max().unwrap_or(0);
        let heading = 2 * LINE;
        let width = (right + PADDING * 2)
            .saturating_sub(MARGIN)
            .max(text_width(&cluster.title) + 4 * PADDING);
        let height = bottom + heading + 2 * PADDING;
        let _ = write!(
            out,
            "<g transform=\"translate(0 {top})\">\n<rect x=\"{MARGIN}\" width=\"{width}\" \
             height=\"{height}\" rx=\"6\" fill=\"#f6f8fa\" stroke=\"#d0d7de\"/>\n"
        );
        write_text(out, MARGIN + 2 * PADDING, LINE + 2, &cluster.title, true);
        let _ = writeln!(out, "<g transform=\"translate(0 {heading})\">");
        for tile in &self.tiles {
            for (call, edge) in tile.calls.iter().enumerate() {
                if let Some(to) = self.at(edge.to).and_then(|to| self.tiles.get(to)) {
                    write_arrow(out, tile, call, edge, to);
                }
            }
        }
        for tile in &self.tiles {
            write_tile(out, tile);
        }
        out.push_str("</g>\n</g>\n");
        (width, height)
    }
}

fn tile(node: &Node) -> Tile<'_> {
    Tile { node, calls: Vec::new(), column: 0, x: 0, y: 0, width: 0, height: 0 }
}

/// The lines of a box: what is said of the chain, and its ways out.
fn lines(tile: &Tile<'_>) -> Vec<String> {
    let mut lines: Vec<String> = tile.node.lines.clone();
    lines.extend(tile.calls.iter().take(tile.named()).map(|call| call.label.clone()));
    let more = tile.calls.len() - tile.named();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.iter().map(|line| shortened(line)).collect()
}

fn measure(tile: &mut Tile<'_>) {
    let lines = lines(tile);
    let widest = lines.iter().map(|line| text_width(line)).max().unwrap_or(0);
    tile.width = widest + 2 * PADDING;
    tile.height = lines.len() * LINE + 2 * PADDING;
}

fn text_width(text: &str) -> usize {
    text.chars().count() * CHARACTER / 10 + 1
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONGEST - 1).collect();
    format!("{cut}\u{2026}")
}

fn write_tile(out: &mut String, tile: &Tile<'_>) {
    let Tile { x, y, width, height, node, .. } = tile;
    let corner = if node.base { 10 } else { 2 };
    let (colour, stroke) = if node.marked { ("#005fcc", "2.5") } else { ("#57606a", "1") };
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{corner}\" \
         fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"{stroke}\"/>"
    );
    for (index, line) in lines(tile).iter().enumerate() {
        write_text(out, x + PADDING, tile.middle(index) + 4, line, index == 0);
    }
    if !tile.calls.is_empty() {
        let rule = tile.middle(node.lines.len()) - LINE / 2 - 1;
        let end = x + width;
        let _ = writeln!(out, "<path d=\"M{x} {rule}H{end}\" stroke=\"#d0d7de\"/>");
    }
}

fn write_text(out: &mut String, x: usize, y: usize, text: &str, bold: bool) {
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\"{weight} xml:space=\"preserve\">{}</text>",
        escaped(text)
    );
}

fn write_arrow(out: &mut String, from: &Tile<'_>, call: usize, edge: &Edge, to: &Tile<'_>) {
    let (x, y) = (from.x + from.width, from.port(call));
    let end = to.middle(0);
    let path = if to.column > from.column {
        let bend = (to.x - x) / 2;
        format!("M{x} {y}C{} {y} {} {end} {} {end}", x + bend, to.x - bend, to.x)
    } else {
        // Back, or round: out of the box and in again from the right.
        let back = to.x + to.width;
        let bend = x.max(back) + ALLEY / 2;
        format!("M{x} {y}C{bend} {y} {bend} {end} {back} {end}")
    };
    let (colour, width, tip) = match edge.marked {
        true => ("#005fcc", "2.5", "tip-marked"),
        false => ("#57606a", "1", "tip"),
    };
    let dashes = match edge.kind {
        LinkKind::Jump => "",
        LinkKind::Goto => " stroke-dasharray=\"5 3\"",
    };
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes} \
         marker-end=\"url(#{tip})\"/>"
    );
}

/// A text as XML takes it, which knows hardly any control character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                escaped.push(' ');
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_gets_out_of_its_element() {
        assert_eq!(escaped("a<b>&\"\u{1}c"), "a&lt;b&gt;&amp;&quot; c");
        assert_eq!(shortened(&"x".repeat(80)).chars().count(), LONGEST);
    }
}
