//! What a lint found.

use nattrace_model::answer::Answer;
use nattrace_model::owner::Owner;
use nattrace_model::ruleset::RuleId;

/// How many commands are told in words.
const MOST_SHOWN: usize = 4;

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
    /// Where no rule is wrong by itself, that which its witness owes its fate to: a place to look at.
    pub shown: Option<RuleId>,
    /// The words of the rule that are wrong; empty for all of it.
    pub marked: String,
    /// What is wrong, in a few words.
    pub message: String,
    /// What follows from it, in one sentence.
    pub effect: String,
    /// What to do, at a place that lasts.
    pub help: String,
    /// The commands that end it, in their order; empty where it takes more than rules.
    pub fix: Vec<String>,
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
            shown: None,
            marked: String::new(),
            message: message.into(),
            effect: String::new(),
            help: String::new(),
            fix: Vec::new(),
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

    /// Commands that end it, and what else there is to say: another way (`or …`), or what keeps
    /// the place. Without commands the words stand alone.
    pub(super) fn fixed_by(mut self, commands: Vec<String>, words: &str) -> Self {
        let mut shown = commands.get(..MOST_SHOWN).unwrap_or(&commands).join("; ");
        if commands.len() > MOST_SHOWN {
            shown.push_str(&format!("; and {} more", commands.len() - MOST_SHOWN));
        }
        self.help = match (commands.is_empty(), words) {
            (true, words) => words.strip_prefix("or ").unwrap_or(words).to_owned(),
            (false, "") => shown,
            (false, words) if words.starts_with("or ") => format!("{shown}, {words}"),
            (false, words) => format!("{shown} ({words})"),
        };
        self.fix = commands;
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
