//! What is wrong with an input, and where.

use crate::span::Span;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The input can't be used; the program ends with status 2.
    Error,
    /// The input is usable; something in it is kept but not understood, or surely not meant.
    Warning,
    /// Worth knowing, for example how a listing was read.
    Note,
}

/// One message about one place of one text.
///
/// Wording: lower case, one line, no final period, what was expected and what was found, the
/// user's own words in backticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name in kebab case, such as `unknown-option`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The place that is underlined.
    pub span: Span,
    /// A few words under the underlined place.
    pub label: Option<String>,
    /// What to do about it, for example the nearest known name.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without label and help.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        let message = one_line(message.into());
        Self { severity: Severity::Error, code, message, span, label: None, help: None }
    }

    /// A warning without label and help.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, span) }
    }

    /// A note without label and help.
    #[must_use]
    pub fn note(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, message, span) }
    }

    /// The same with words under the underlined place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(one_line(label.into()));
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(one_line(help.into()));
        self
    }
}

/// How many characters of a quoted word a message shows.
const LONGEST_QUOTE: usize = 60;

/// How many bytes a message has where its quotes hold quotes themselves.
const LONGEST_MESSAGE: usize = 1_000;

/// A message as one short line: a quoted word of the text may be of any length, and may hold what
/// would act on a terminal.
fn one_line(message: String) -> String {
    if message.len() <= LONGEST_QUOTE && !message.bytes().any(|byte| !matches!(byte, b' '..=b'~')) {
        return message;
    }
    let mut line = String::with_capacity(message.len().min(1_024));
    let mut quoted = None;
    for char in message.chars() {
        if line.len() > LONGEST_MESSAGE {
            line.push('…');
            break;
        }
        if char == '`' {
            quoted = quoted.is_none().then_some(0);
        } else if let Some(length) = &mut quoted {
            *length += 1;
            if *length > LONGEST_QUOTE {
                if !line.ends_with('…') {
                    line.push('…');
                }
                continue;
            }
        }
        if char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

/// The known name nearest to a mistyped one, if any is near enough to be meant.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &str| 1 + found.len().min(name.len()) / 4;
    let length = found.chars().count();
    known
        .into_iter()
        // The distance costs the product of both lengths, and a word of a text can be of any.
        .filter(|name| length.abs_diff(name.chars().count()) <= near(name))
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|(distance, name)| *distance <= near(name))
        .min_by_key(|(distance, name)| (*distance, *name))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_short_line() {
        let message = |word: &str| {
            Diagnostic::error("x", format!("found `{word}` here"), Span::default()).message
        };
        assert_eq!(message("a\n\u{1b}[2Jb"), "found `a\\n\\u{1b}[2Jb` here");
        assert_eq!(message("é\u{202e}"), "found `é\\u{202e}` here");
        assert_eq!(message(&"é".repeat(60)), format!("found `{}` here", "é".repeat(60)));
        assert_eq!(message(&"ab".repeat(1_000_000)), format!("found `{}…` here", "ab".repeat(30)));
        let help = Diagnostic::error("x", "", Span::default()).help("\r").help;
        assert_eq!(help.as_deref(), Some("\\r"));
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        assert_eq!(nearest("--dprot", ["--dport", "--sport"]), Some("--dport"));
        assert_eq!(nearest(&"-".repeat(100_000_000), ["--dport", "--sport"]), None);
        assert_eq!(nearest("--frobnicate", ["--dport", "--sport"]), None);
    }
}
