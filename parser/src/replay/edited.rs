//! Input of iptables-restore that is no dump: it also deletes, replaces, renames and clears.

use std::borrow::Cow;

use super::verb::is_command;
use super::{Options, Replay, RestoreLine, restore};
use crate::diagnostic::Diagnostic;
use crate::save::{Line, Origin, family_of_save, lines, padding};
use crate::syntax::{Backend, Family};
use crate::words::{letters, split_words};

/// Whether a text begins with a table and holds commands that depend on those before them, or are
/// written as iptables-save never writes them. A dump holds neither.
pub(crate) fn is_edited(text: &str) -> bool {
    let first = lines(text).find(|line| !line.text.starts_with('#'));
    if !first.is_some_and(|line| line.text.starts_with('*')) {
        return false;
    }
    // `-A CHAIN` begins nearly every line.
    let mut starts = memchr::memchr_iter(b'\n', text.as_bytes());
    starts.any(|newline| {
        let line = text.get(newline + 1..).unwrap_or_default();
        match line.as_bytes() {
            [b'-', b'A', b' ', ..] | [b':', ..] => false,
            [b'-' | b'[' | b'"' | b'!' | b' ' | b'\t', ..] => {
                line.lines().next().is_some_and(edits)
            }
            _ => false,
        }
    })
}

/// Whether a line is such a command.
fn edits(line: &str) -> bool {
    let line = line.trim();
    let line = match line.strip_prefix('[').and_then(|counted| counted.split_once(']')) {
        Some((_, rest)) => rest.trim_start(),
        None => line,
    };
    let (option, rest) = match line.split_once([' ', '\t']) {
        Some((option, rest)) => (option, rest.trim_start()),
        None => (line, ""),
    };
    match option {
        "-A" | "--append" => false,
        // Where a rule is put depends on how many there are.
        "-I" | "--insert" => {
            let position = rest.split_ascii_whitespace().nth(1);
            position.is_some_and(|word| !word.starts_with(['-', '!', '"']))
        }
        _ if option.starts_with(['-', '"', '!']) => {
            let mut words = Vec::new();
            split_words(line, 0, &mut words, &mut Vec::new());
            words.iter().any(|word| is_command(&word.text) || asks_for_family(&word.text))
        }
        _ => false,
    }
}

/// Whether a word holds the option of a family.
fn asks_for_family(word: &str) -> bool {
    matches!(word, "--ipv4" | "--ipv6") || letters(word).any(|one| matches!(one.letter, '4' | '6'))
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
    let padded = |line: Line<'a>| {
        let begins = matches!(line.text.as_bytes(), [b'*' | b':' | b'#' | b'[', ..] | b"COMMIT");
        begins.then(|| padding(text, line, told.backend)).flatten()
    };
    diagnostics.extend(lines(text).find_map(padded));
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
