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
        Self { severity: Severity::Error, code, message: message.into(), span, label: None, help: None }
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
        self.label = Some(label.into());
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The known name nearest to a mistyped one, if any is near enough to be meant.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|(distance, name)| *distance <= 1 + found.len().min(name.len()) / 4)
        .min_by_key(|(distance, name)| (*distance, *name))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_suggested() {
        assert_eq!(nearest("--dprot", ["--dport", "--sport"]), Some("--dport"));
        assert_eq!(nearest("--frobnicate", ["--dport", "--sport"]), None);
    }
}
