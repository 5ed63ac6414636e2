//! Input of iptables-restore that is no dump: it also deletes, replaces, renames and clears.

use std::borrow::Cow;

use super::{Options, Replay, RestoreLine, restore};
use crate::diagnostic::Diagnostic;
use crate::save::{Origin, family_of_save, lines};
use crate::syntax::{Backend, Family};

/// Whether a text begins with a table and holds commands that depend on those before them, or are
/// for one family only. A dump holds neither.
pub(crate) fn is_edited(text: &str) -> bool {
    let first = lines(text).find(|line| !line.text.starts_with('#'));
    if !first.is_some_and(|line| line.text.starts_with('*')) {
        return false;
    }
    let families = [" -4", " -6", " --ipv"];
    let of_family = |needle: &str| memchr::memmem::find(text.as_bytes(), needle.as_bytes());
    if families.into_iter().any(|needle| of_family(needle).is_some())
        && lines(text).any(|line| line.text.split_ascii_whitespace().any(is_family))
    {
        return true;
    }
    let starts = memchr::memmem::find_iter(text.as_bytes(), b"\n-");
    starts.into_iter().any(|newline| {
        let line = text.get(newline + 1..).and_then(|rest| rest.lines().next());
        line.is_some_and(edits)
    })
}

/// Whether a line is such a command.
fn edits(line: &str) -> bool {
    let (option, rest) = match line.split_once([' ', '\t']) {
        Some((option, rest)) => (option, rest.trim_start()),
        None => (line.trim_end(), ""),
    };
    match option {
        "-A" => false,
        // Where a rule is put depends on how many there are.
        "-I" | "--insert" => {
            let position = rest.split_ascii_whitespace().nth(1);
            position.is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        }
        "-D" | "-R" | "-E" | "-F" | "-X" | "-Z" | "-C" | "-L" | "-S" | "-N" | "-P" => true,
        "--delete" | "--replace" | "--rename-chain" | "--flush" | "--delete-chain" | "--zero"
        | "--check" | "--list" | "--list-rules" | "--new-chain" | "--policy" => true,
        option => is_family(option),
    }
}

/// Whether a word is the option of a family.
fn is_family(word: &str) -> bool {
    matches!(word, "-4" | "-6" | "--ipv4" | "--ipv6")
}

/// Carries out the commands, from empty tables.
pub(super) fn load<'a>(
    replay: &mut Replay<'a>,
    text: &'a str,
    known: Origin,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let told = family_of_save(text, known);
    let family = told.family.unwrap_or(Family::Ipv4);
    let backend = told.backend.unwrap_or(Backend::Nft);
    let given: Vec<RestoreLine<'a>> = lines(text)
        .map(|line| RestoreLine {
            text: Cow::Borrowed(line.text),
            span: line.span(),
            line: line.number,
        })
        .collect();
    let options = Options { counters: true, ..Options::default() };
    restore(replay.set(family, backend), &given, &options, diagnostics);
}
