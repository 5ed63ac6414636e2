//! What mail, forums and pagers put in front of the lines of rules: `> ` and line numbers.

use std::collections::HashSet;
use std::fmt;

use crate::recognize::{changes, feeds_restore, is_listing_header, is_table_header};
use crate::save::{Line, lines};

/// What stands in front of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Margin {
    /// `> `, once or several times.
    Quotes,
    /// Line numbers, as `cat -n`, `nl` and `grep -n` print them.
    Numbers,
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quotes => "the quotation marks `>` before the lines are left out",
            Self::Numbers => "the line numbers before the lines are left out",
        })
    }
}

/// Puts blanks in the place of what stands in front of the lines, so that every other byte stays
/// where it is; nothing where rules stand in the text without it, or none behind it.
#[must_use]
pub fn without_margin(text: &str) -> Option<(String, Margin)> {
    [Margin::Quotes, Margin::Numbers]
        .into_iter()
        .find(|margin| margin.holds_rules(text))
        .map(|margin| (margin.taken_from(text), margin))
}

impl Margin {
    /// How many bytes of it stand in front of a line.
    fn length(self, line: &str) -> Option<usize> {
        let blanks = [' ', '\t'];
        match self {
            Self::Quotes => {
                let rest = line.trim_start_matches(blanks).strip_prefix('>')?;
                let rest = rest.trim_start_matches(['>', ' ', '\t']);
                Some(line.len() - rest.len())
            }
            Self::Numbers => {
                let (_, behind) = numbered(line)?;
                let marked = behind.trim_start_matches(blanks);
                let glued = marked.len() == behind.len();
                // `:INPUT` behind blanks is a chain.
                let rest = marked
                    .strip_prefix([':', '.', ')', '|'])
                    .filter(|rest| glued || rest.is_empty() || rest.starts_with(blanks))
                    .unwrap_or(marked)
                    .trim_start_matches(blanks);
                // What follows a number at once belongs to its word.
                let apart = rest.len() < behind.len() || behind.is_empty();
                apart.then_some(line.len() - rest.len())
            }
        }
    }

    /// Whether rules stand behind it, and none without it.
    fn holds_rules(self, text: &str) -> bool {
        let mut found = false;
        let mut number = None;
        for Line { text: line, .. } in lines(text) {
            let Some(rest) = self.length(line).and_then(|length| line.get(length..)) else {
                if is_saved(line) || changes(line) && !feeds_restore(line) {
                    return false;
                }
                continue;
            };
            // Lists in quotations are read with their quotation marks.
            if self == Self::Quotes && is_listing_header(rest) {
                return false;
            }
            if self == Self::Numbers {
                let this = numbered(line).map(|(number, _)| number);
                if this <= number {
                    return false;
                }
                number = this;
            }
            found |= is_saved(rest) || is_listing_header(rest) || changes(rest);
        }
        found
    }

    fn taken_from(self, text: &str) -> String {
        let ends = ends_of_input(text);
        let mut taken = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let length = self.length(line.trim_end()).unwrap_or(0);
            let (margin, rest) = line.split_at_checked(length).unwrap_or(("", line));
            let blanks = " ".repeat(margin.len());
            // The end of a here-document stands alone on its line: the blanks go to the next.
            let parts = match ends.contains(rest.trim_end()) {
                true => [rest, &blanks],
                false => [&blanks, rest],
            };
            taken.extend(parts);
        }
        taken
    }
}

/// The number that a line begins with, and what follows it.
fn numbered(line: &str) -> Option<(u32, &str)> {
    let line = line.trim_start_matches([' ', '\t']);
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = line.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

/// Whether a line is of iptables-save or of `iptables -S`.
fn is_saved(line: &str) -> bool {
    let command = ["-A ", "-N ", "-P ", "-I ", "-D "].iter().any(|start| line.starts_with(start));
    let chain = || {
        let mut words = line.strip_prefix(':')?.split_ascii_whitespace().skip(1);
        Some(matches!(words.next()?, "ACCEPT" | "DROP" | "-"))
    };
    let counted = line.starts_with('[') && line.contains("] -A ");
    command
        || counted
        || line.strip_prefix('*').is_some_and(is_table_header)
        || chain() == Some(true)
}

/// The words that end here-documents of a text.
fn ends_of_input(text: &str) -> HashSet<&str> {
    let words = text.match_indices("<<").filter_map(|(at, sign)| {
        let rest = text.get(at + sign.len()..)?;
        let rest = rest.strip_prefix('-').unwrap_or(rest).trim_start_matches(' ');
        let rest = rest.trim_start_matches(['\'', '"', '\\']);
        let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_');
        rest.get(..end.unwrap_or(rest.len())).filter(|word| !word.is_empty())
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "# Generated by iptables-save v1.8.9\n*filter\n:INPUT DROP [0:0]\n\
                         -A INPUT -s 192.0.2.1/32 -j ACCEPT\n\nCOMMIT\n";

    /// The text with something in front of each line.
    fn with(text: &str, front: impl Fn(usize) -> String) -> String {
        text.lines()
            .enumerate()
            .map(|(index, line)| format!("{}{line}\n", front(index + 1)))
            .collect()
    }

    fn trimmed(text: &str) -> Vec<&str> {
        text.lines().map(str::trim).collect()
    }

    #[test]
    fn rules_are_found_behind_quotes_and_numbers() {
        let check = |text: &str, expected: Margin| {
            let (found, margin) = without_margin(text).expect(text);
            assert_eq!(margin, expected);
            assert_eq!(found.len(), text.len());
            assert_eq!(trimmed(&found), trimmed(SAVED));
            let at = "-A INPUT";
            assert_eq!(found.find(at), text.find(at));
        };
        for quote in ["> ", ">", "> > ", " >> ", ">\t"] {
            check(&with(SAVED, |_| quote.to_owned()), Margin::Quotes);
        }
        check(&with(SAVED, |number| format!("{number:6}\t")), Margin::Numbers);
        for separator in [": ", ". ", ") ", " | ", ":", "  "] {
            check(&with(SAVED, |number| format!("{number}{separator}")), Margin::Numbers);
        }
    }

    #[test]
    fn prose_stands_before_a_quotation() {
        let text = format!("Bob wrote 3 lines:\n{}\nwell\n", with(SAVED, |_| "> ".to_owned()));
        let (found, _) = without_margin(&text).unwrap();
        assert_eq!(trimmed(&found)[0], "Bob wrote 3 lines:");
    }

    #[test]
    fn a_here_document_ends_alone_on_its_line() {
        let text = "# iptables-restore <<'END'\n> *filter\n> COMMIT\n> END\n";
        let (found, _) = without_margin(text).unwrap();
        assert_eq!(found, "# iptables-restore <<'END'\n  *filter\n  COMMIT\nEND\n  ");
    }

    #[test]
    fn what_can_be_read_stays_as_it_is() {
        let list = "> Chain INPUT (policy ACCEPT)\n> target prot opt source destination\n";
        let mixed = format!("{SAVED}{}", with(SAVED, |_| "> ".to_owned()));
        let repeated = "1 -A INPUT\n1 -A INPUT\n";
        let command = "iptables -P INPUT DROP\n> iptables -A INPUT -j ACCEPT\n";
        for text in [
            SAVED,
            list,
            &mixed,
            repeated,
            command,
            "",
            "> prose",
            "> Note: iptables is old\n",
            "12 apples\n",
            "1-A INPUT",
        ] {
            assert_eq!(without_margin(text), None, "{text}");
        }
    }
}
