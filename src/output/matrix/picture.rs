//! A matrix as a picture: SVG, laid out here, with nothing from elsewhere.

use std::fmt::Write;

use nattrace_parser::syntax::Family;
use nattrace_verifier::matrix::Cell;

use super::grid::{Grid, LEGEND, Mark, Tone, group_name, pairs};
use super::{View, families};

/// The side of a cell.
const SIDE: usize = 44;
/// How wide a character is, in tenths.
const CHARACTER: usize = 73;
/// How high a line of text is.
const LINE: usize = 18;
/// What is around everything.
const MARGIN: usize = 24;
/// How many lines a cell's words have.
const MOST_LINES: usize = 12;

/// Draws a matrix: rows send, columns are addressed; what a cell is about stands in its title,
/// which browsers show where the pointer is.
pub(crate) fn render(view: &View<'_>) -> String {
    let mut body = String::new();
    let (mut width, mut y) = (400, MARGIN);
    for (family, name) in families(view.matrix) {
        let grid = Grid::new(view, family);
        let (wide, high) = draw(&mut body, view, &grid, (family, name), y);
        width = width.max(wide);
        y += high + MARGIN;
    }
    for (sign, meaning) in LEGEND {
        // Writing into a string can't fail.
        let _ = writeln!(
            body,
            "<text x=\"{MARGIN}\" y=\"{}\" fill=\"#57606a\"><tspan font-weight=\"bold\">{sign}</tspan> {meaning}</text>",
            y + LINE
        );
        y += LINE;
    }
    let (width, height) = (width + 2 * MARGIN, y + 2 * MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <title>who connects to whom</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn text_width(text: &str) -> usize {
    text.chars().count() * CHARACTER / 10
}

fn draw(
    body: &mut String,
    view: &View<'_>,
    grid: &Grid,
    (family, name): (Family, &str),
    top: usize,
) -> (usize, usize) {
    let rows: Vec<String> =
        grid.from.iter().map(|group| group_name(group, |at| view.from(at))).collect();
    let columns: Vec<String> =
        grid.to.iter().map(|group| group_name(group, |at| view.to(at))).collect();
    let longest = |names: &[String]| names.iter().map(|name| text_width(name)).max().unwrap_or(0);
    let left = MARGIN + longest(&rows) + 12;
    let head = longest(&columns) + 12;
    let first = top + LINE + head;
    let _ = writeln!(
        body,
        "<text x=\"{MARGIN}\" y=\"{}\" font-weight=\"bold\" font-size=\"14\">{name}: rows connect to columns</text>",
        top + LINE - 4
    );
    for (index, column) in columns.iter().enumerate() {
        let (x, y) = (left + index * SIDE + SIDE / 2 + 4, first - 8);
        let _ = writeln!(
            body,
            "<text x=\"{x}\" y=\"{y}\" transform=\"rotate(-90 {x} {y})\">{}</text>",
            escaped(column)
        );
    }
    for (index, (row, marks)) in rows.iter().zip(&grid.rows).enumerate() {
        let y = first + index * SIDE;
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 8,
            y + SIDE / 2 + 4,
            escaped(row)
        );
        for (at, mark) in marks.iter().enumerate() {
            let x = left + at * SIDE;
            let groups = grid.from.get(index).zip(grid.to.get(at));
            let title = groups.map(|(sender, receiver)| {
                let told = pairs(sender, receiver).into_iter().find_map(|(from, to)| {
                    let cells: Vec<&Cell> = view.matrix.between(family, from, to).collect();
                    (!cells.is_empty()).then(|| told(view, &cells))
                });
                told.unwrap_or_else(|| "no such packets".to_owned())
            });
            tile(body, (x, y), mark, &title.unwrap_or_default());
        }
    }
    (left + columns.len() * SIDE, LINE + head + rows.len() * SIDE)
}

fn tile(body: &mut String, (x, y): (usize, usize), mark: &Mark, title: &str) {
    let (fill, ink) = colours(mark.tone);
    let _ = writeln!(
        body,
        "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" \
         fill=\"{fill}\" stroke=\"#d0d7de\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\" \
         fill=\"{ink}\">{}</text></g>",
        escaped(title),
        x + SIDE / 2,
        y + SIDE / 2 + 4,
        escaped(&mark.text)
    );
}

/// The colours of a mark: what is behind it, and its own.
pub(super) fn colours(tone: Tone) -> (&'static str, &'static str) {
    match tone {
        Tone::Empty => ("#ffffff", "#57606a"),
        Tone::Closed => ("#eaeef2", "#57606a"),
        Tone::Partly => ("#fff1c2", "#5c4400"),
        Tone::Open => ("#c8efd0", "#0b4a1e"),
        Tone::Unknown => ("#e7dcff", "#43258a"),
    }
}

/// What is said of two zones, line by line.
fn told(view: &View<'_>, cells: &[&Cell]) -> String {
    let mut lines = Vec::new();
    if let Some(cell) = cells.first() {
        lines.push(format!("{} -> {}", view.from(cell.from), view.to(cell.to)));
    }
    for cell in cells {
        let fates: Vec<String> = cell.parts.iter().map(|part| view.fate(part)).collect();
        lines.push(format!("{}: {}", view.services(cell, 6), fates.join("; ")));
    }
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(format!("… and {more} more"));
    }
    lines.join("\n")
}

/// Text within XML or HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no others, not even escaped ones.
            letter if letter.is_control() && letter != '\n' => {
                safe.extend(letter.escape_default());
            }
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_are_no_markup() {
        assert_eq!(escaped("<b> & \"it's\"\u{1}"), "&lt;b&gt; &amp; &quot;it&#39;s&quot;\\u{1}");
    }
}
