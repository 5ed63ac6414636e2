//! What a command of `iptables` does, by its option.

use crate::rule::option_names as rule_options;
use crate::syntax::TableName;
use crate::words::{Takes, letters};

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Append,
    Insert,
    Delete,
    Replace,
    Check,
    New,
    DeleteChain,
    Rename,
    Flush,
    Zero,
    Policy,
    /// `-L`, `-S`: what only prints.
    Print,
    /// `-h`, `-V`: prints, and whatever stands beside it is not carried out.
    Help,
}

/// The long options of commands.
const LONG: [(&str, Verb); 15] = [
    ("append", Verb::Append),
    ("insert", Verb::Insert),
    ("delete", Verb::Delete),
    ("replace", Verb::Replace),
    ("check", Verb::Check),
    ("new-chain", Verb::New),
    ("delete-chain", Verb::DeleteChain),
    ("rename-chain", Verb::Rename),
    ("flush", Verb::Flush),
    ("zero", Verb::Zero),
    ("policy", Verb::Policy),
    ("list", Verb::Print),
    ("list-rules", Verb::Print),
    ("version", Verb::Help),
    ("help", Verb::Help),
];

impl Verb {
    /// The verb of `-A` and its like.
    pub(super) fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'A' => Self::Append,
            'I' => Self::Insert,
            'D' => Self::Delete,
            'R' => Self::Replace,
            'C' => Self::Check,
            'N' => Self::New,
            'X' => Self::DeleteChain,
            'E' => Self::Rename,
            'F' => Self::Flush,
            'Z' => Self::Zero,
            'P' => Self::Policy,
            'L' | 'S' => Self::Print,
            'h' | 'V' => Self::Help,
            _ => return None,
        })
    }

    /// The verb of a long option, with what is attached to it.
    pub(super) fn of_long(text: &str) -> Option<(Self, Option<&str>)> {
        let long = text.strip_prefix("--")?;
        if let Some(verb) = long_verb(long) {
            return Some((verb, None));
        }
        let (name, value) = long.split_once('=')?;
        Some((long_verb(name)?, Some(value)))
    }
}

/// The verb of a long option, which may be abbreviated as long as no other option of iptables
/// begins alike.
fn long_verb(name: &str) -> Option<Verb> {
    if name.is_empty() {
        return None;
    }
    if let Some((_, verb)) = LONG.iter().find(|(long, _)| *long == name) {
        return Some(*verb);
    }
    let mut near = LONG.iter().filter(|(long, _)| long.starts_with(name));
    let (only, verb) = near.next().filter(|_| near.next().is_none())?;
    let others = rule_options().filter(|long| long.starts_with(name));
    others.into_iter().all(|long| long == *only).then_some(*verb)
}

/// The verb that a word gives, such as `-A`, `-vnL` and `--append`, and the value that is attached.
fn verb_of(word: &str) -> Option<(Verb, Option<&str>)> {
    if let Some(found) = Verb::of_long(word) {
        return Some(found);
    }
    let last = letters(word).find(|one| one.takes != Some(Takes::Nothing) || one.letter == 'V')?;
    let value = Some(last.value).filter(|value| !value.is_empty());
    Some((Verb::of_letter(last.letter)?, value))
}

/// Whether a word is a command.
pub(crate) fn is_command(word: &str) -> bool {
    verb_of(word).is_some()
}

/// Whether a word is a command that changes rules. Behind a letter only a built-in chain is taken
/// for its value, for any word may stand in prose.
pub(crate) fn changes_rules(word: &str) -> bool {
    let Some((verb, value)) = verb_of(word) else { return false };
    let mut builtin = TableName::ALL.iter().flat_map(|table| table.builtin_chains());
    let known = word.starts_with("--") || value.is_none_or(|value| builtin.any(|c| *c == value));
    known && !matches!(verb, Verb::Print | Verb::Help | Verb::Check)
}
