//! A matrix for spreadsheets: one line for each service of a cell and each part (RFC 4180).

use std::io::{self, Write};

use super::{View, family_key, source_words, which_words};
use crate::output::{names, words};

/// The names of the columns.
const HEADER: [&str; 12] = [
    "family", "from", "to", "service", "reach", "outcome", "verdict", "source", "lands", "which",
    "because", "replay",
];

/// Writes a matrix.
pub(crate) fn write(out: &mut impl Write, view: &View<'_>) -> io::Result<()> {
    line(out, &HEADER)?;
    for cell in &view.matrix.cells {
        let (from, to) = (view.from(cell.from), view.to(cell.to));
        for service in cell.services.iter().map(ToString::to_string) {
            for part in &cell.parts {
                let sources: Vec<String> = part.sources.iter().map(source_words).collect();
                let lands: Vec<String> = part
                    .landings
                    .iter()
                    .filter_map(|landing| view.landing(landing, part.verdict))
                    .collect();
                line(
                    out,
                    &[
                        family_key(cell.family),
                        &from,
                        &to,
                        &service,
                        cell.reach.as_str(),
                        names::outcome(part.outcome),
                        names::verdict(part.verdict),
                        &sources.join(" or "),
                        &lands.join(" or "),
                        &part.which.as_ref().map(which_words).unwrap_or_default(),
                        &words::visible(part.because.as_deref().unwrap_or_default()),
                        &words::replay(&part.witness),
                    ],
                )?;
            }
        }
    }
    Ok(())
}

fn line(out: &mut impl Write, values: &[&str]) -> io::Result<()> {
    let quoted: Vec<String> = values.iter().map(|value| field(value)).collect();
    // Not the CRLF of the RFC: every reader takes both, and other tools of a pipe do not.
    writeln!(out, "{}", quoted.join(","))
}

/// A value, in quotes where it needs them. A spreadsheet takes what begins with one of these signs
/// for a formula; no name of ours begins so, but one of a container might.
fn field(value: &str) -> String {
    let formula = value.starts_with(['=', '+', '-', '@']);
    let value = if formula { format!("'{value}") } else { value.to_owned() };
    if value.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn values_with_signs_of_their_own_are_quoted() {
        assert_eq!(field("net:web"), "net:web");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"no\""), "\"say \"\"no\"\"\"");
        assert_eq!(field("=1+1"), "'=1+1");
    }
}
