//! What of iptables is modelled: found by lowering an example of every extension and option, so that
//! it can't differ from what rules are lowered to.

use std::sync::Arc;

use nattrace_parser::extension::{Extension, OptionDecl, example};
use nattrace_parser::parse_rules;
use nattrace_parser::syntax::Backend;

use crate::condition::{Condition, Undecided};
use crate::lower::{RulesInput, lower};
use crate::target::Target;

/// What becomes of an extension or of one of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// It is simulated as the kernel does it.
    Simulated,
    /// It is known that the packet goes on as if the rule were not there.
    PassesOn,
    /// Chance or other packets decide: answers fork.
    Chance,
    /// It is kept, and nothing is said that depends on it.
    Undetermined,
}

impl Meaning {
    /// The word that pages and tables have for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::PassesOn => "passes on",
            Self::Chance => "chance",
            Self::Undetermined => "undetermined",
        }
    }
}

/// What a use of the extension with this option is lowered to, or one with what it must have.
#[must_use]
pub fn meaning(extension: &'static Extension, option: Option<&'static OptionDecl>) -> Meaning {
    let example = example(extension, option);
    let text = Arc::new(example.text());
    let (rules, _) = parse_rules(&text);
    let (family, backend) = (example.family, Backend::Nft);
    let input = RulesInput { name: "example", text: &text, rules: &rules, family, backend };
    let (ruleset, _) = lower(&[input]);
    let Some(rule) = ruleset.chains.iter().flat_map(|chain| &chain.rules).next() else {
        return Meaning::Undetermined;
    };
    let says = |why: fn(&Undecided) -> bool| {
        rule.conditions.iter().any(|one| matches!(one, Condition::Undecided(found) if why(found)))
    };
    if says(|why| matches!(why, Undecided::Unsupported)) {
        return Meaning::Undetermined;
    }
    if says(|why| matches!(why, Undecided::Chance { .. } | Undecided::Count { .. })) {
        return Meaning::Chance;
    }
    match rule.target {
        Target::Unsupported(_) => Meaning::Undetermined,
        Target::Continue(_) | Target::Log | Target::ConntrackOptions => Meaning::PassesOn,
        _ => Meaning::Simulated,
    }
}

#[cfg(test)]
mod tests {
    use nattrace_parser::extension::{ExtensionKind, find};

    use super::*;

    #[track_caller]
    fn check(kind: ExtensionKind, name: &str, option: Option<&str>, expected: Meaning) {
        let extension = find(kind, name).expect(name);
        let option = option
            .map(|option| extension.options.iter().find(|one| one.name == option).expect(option));
        assert_eq!(meaning(extension, option), expected, "{name} {option:?}");
    }

    #[test]
    fn what_is_modelled_is_what_rules_are_lowered_to() {
        use ExtensionKind::{Match, Target};
        check(Match, "conntrack", Some("ctstate"), Meaning::Simulated);
        check(Match, "tcp", Some("dport"), Meaning::Simulated);
        check(Match, "tcp", Some("tcp-option"), Meaning::Undetermined);
        check(Match, "limit", None, Meaning::Chance);
        check(Match, "string", None, Meaning::Undetermined);
        check(Target, "MASQUERADE", None, Meaning::Simulated);
        check(Target, "LOG", None, Meaning::PassesOn);
        check(Target, "CLASSIFY", None, Meaning::PassesOn);
        check(Target, "SYNPROXY", None, Meaning::Undetermined);
    }
}
