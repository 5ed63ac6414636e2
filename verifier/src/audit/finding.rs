//! What a lint found.

use nattrace_model::answer::Answer;
use nattrace_model::owner::Owner;
use nattrace_model::ruleset::RuleId;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Hygiene.
    Info,
    /// Likely a mistake.
    Warning,
    /// Breaks security or connectivity, with a packet that shows it.
    Error,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The lint.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Who keeps the rule; none where it is about the host itself: a setting, a route, a network.
    pub owner: Option<Owner>,
    /// The rule, where it is about one.
    pub rule: Option<RuleId>,
    /// The words of the rule that are wrong; empty for all of it.
    pub marked: String,
    /// What is wrong, in a few words.
    pub message: String,
    /// What follows from it, in one sentence.
    pub effect: String,
    /// What to do, at a place that lasts.
    pub help: String,
    /// A packet that shows it, and what becomes of it.
    pub witness: Option<Box<Answer>>,
}

impl Finding {
    /// A finding about a rule or the host; the rest is filled in by the builders below.
    pub(super) fn new(code: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            owner: None,
            rule: None,
            marked: String::new(),
            message: message.into(),
            effect: String::new(),
            help: String::new(),
            witness: None,
        }
    }

    pub(super) fn effect(mut self, effect: impl Into<String>) -> Self {
        self.effect = effect.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(super) fn witness(mut self, answer: Answer) -> Self {
        self.witness = Some(Box::new(answer));
        self
    }

    pub(super) fn at(mut self, rule: RuleId, owner: Owner) -> Self {
        self.rule = Some(rule);
        self.owner = Some(owner);
        self
    }

    pub(super) fn marked(mut self, words: impl Into<String>) -> Self {
        self.marked = words.into();
        self
    }
}
