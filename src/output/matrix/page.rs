//! A matrix as a page for a browser: one file, no script, nothing from elsewhere.

use std::fmt::Write;

use nattrace_model::answer::Outcome;
use nattrace_parser::syntax::Family;
use nattrace_verifier::matrix::{Cell, Reach};

use super::grid::{Grid, LEGEND, Tone, group_name, mark, pairs};
use super::picture::{colours, escaped};
use super::{View, families, family_key, which_words};
use crate::output::words;

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;margin:2rem;color:#1f2328;background:#fff}\
table{border-collapse:collapse;margin:1rem 0}\
th,td{border:1px solid #d0d7de;padding:.3rem .55rem;text-align:left;vertical-align:top}\
.grid td{text-align:center;min-width:2.2rem}.grid thead th{writing-mode:vertical-rl;\
transform:rotate(180deg)}.grid a{color:inherit;text-decoration:none;display:block}\
code{font:12px/1.4 ui-monospace,monospace}summary{cursor:pointer;font-weight:600}\
details{margin:.4rem 0}.no{color:#82071e}.yes{color:#0b4a1e}.open{color:#5c4400}\
.legend{color:#57606a}";

/// Writes the page.
pub(crate) fn render(view: &View<'_>) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>who connects to whom</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Who connects to whom</h1>\n"
    );
    for (family, name) in families(view.matrix) {
        let grid = Grid::new(view, family);
        // Writing into a string can't fail.
        let _ = writeln!(text, "<h2>{name}</h2>");
        table(&mut text, view, family, &grid);
        let legend: Vec<String> =
            LEGEND.iter().map(|(sign, meaning)| format!("<b>{sign}</b> {meaning}")).collect();
        let _ = writeln!(text, "<p class=\"legend\">{}</p>", legend.join(" · "));
        groups(&mut text, view, &grid);
        lists(&mut text, view, family);
    }
    if view.matrix.cells.is_empty() {
        text.push_str("<p>No packets: none of these zones sends to another on this host.</p>\n");
    }
    if !view.matrix.assumptions.is_empty() {
        text.push_str("<h2>Assumed</h2>\n<ul>\n");
        for own in &view.matrix.assumptions {
            let told = escaped(&words::visible(&own.text));
            let _ = writeln!(text, "<li>{told} <code>{}</code></li>", own.code);
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</body>\n</html>\n");
    text
}

fn table(text: &mut String, view: &View<'_>, family: Family, grid: &Grid) {
    text.push_str("<table class=\"grid\">\n<thead><tr><td></td>");
    for group in &grid.to {
        let name = escaped(&group_name(group, |at| view.to(at)));
        let _ = write!(text, "<th scope=\"col\">{name}</th>");
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (sender, marks) in grid.from.iter().zip(&grid.rows) {
        let name = escaped(&group_name(sender, |at| view.from(at)));
        let _ = write!(text, "<tr><th scope=\"row\">{name}</th>");
        for (receiver, mark) in grid.to.iter().zip(marks) {
            let (fill, ink) = colours(mark.tone);
            let style = format!("background:{fill};color:{ink}");
            let first = pairs(sender, receiver).into_iter().next().unwrap_or_default();
            match mark.tone {
                Tone::Empty => {
                    let _ = write!(text, "<td style=\"{style}\"></td>");
                }
                _ => {
                    let (to, shown) = (anchor(family, first), escaped(&mark.text));
                    let _ =
                        write!(text, "<td style=\"{style}\"><a href=\"#{to}\">{shown}</a></td>");
                }
            }
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table>\n");
}

fn anchor(family: Family, (from, to): (usize, usize)) -> String {
    format!("{}-{from}-{to}", family_key(family))
}

/// Which zones are put together.
fn groups(text: &mut String, view: &View<'_>, grid: &Grid) {
    for group in grid.from.iter().filter(|group| group.members.len() > 1) {
        let names: Vec<String> = group.members.iter().map(|at| escaped(&view.from(*at))).collect();
        let _ = writeln!(text, "<p class=\"legend\">alike: {}</p>", names.join(", "));
    }
}

fn lists(text: &mut String, view: &View<'_>, family: Family) {
    for from in 0..view.matrix.from.len() {
        for to in 0..view.matrix.to.len() {
            let cells: Vec<&Cell> = view.matrix.between(family, from, to).collect();
            if !cells.is_empty() {
                list(text, view, family, (from, to), &cells);
            }
        }
    }
}

fn list(text: &mut String, view: &View<'_>, family: Family, pair: (usize, usize), cells: &[&Cell]) {
    let heading = format!("{} -> {}", view.from(pair.0), view.to(pair.1));
    let sign = mark(cells).text;
    let _ = writeln!(
        text,
        "<details id=\"{}\"><summary>{} ({})</summary>\n<table>\n<tr><th>services</th>\
         <th>reach</th><th>packets</th><th>what becomes of them</th><th>ask again</th></tr>",
        anchor(family, pair),
        escaped(&heading),
        escaped(&sign)
    );
    for cell in cells {
        for (at, part) in cell.parts.iter().enumerate() {
            let class = match (part.outcome, cell.reach) {
                (Outcome::Connects, _) => "yes",
                (Outcome::Undetermined, _) | (_, Reach::Sometimes) => "open",
                _ => "no",
            };
            let services = if at == 0 { view.services(cell, 24) } else { String::new() };
            let reach = if at == 0 { cell.reach.as_str() } else { "" };
            let which = part.which.as_ref().map(which_words).filter(|words| !words.is_empty());
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td>{reach}</td><td>{}</td><td class=\"{class}\">{}</td>\
                 <td><code>{}</code></td></tr>",
                escaped(&services),
                escaped(&which.unwrap_or_else(|| "all".to_owned())),
                escaped(&view.fate(part)),
                escaped(&words::replay(&part.witness))
            );
        }
    }
    text.push_str("</table></details>\n");
}
