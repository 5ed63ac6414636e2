//! Lines and words of the listings of ip(8), bridge(8) and ss(8), with their places.

use std::iter::Peekable;
use std::str::FromStr;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// One line without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The text, without a carriage return.
    pub(super) text: &'a str,
    /// Where it stands.
    pub(super) span: Span,
}

/// One word of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    /// The word.
    pub(super) text: &'a str,
    /// Where it stands.
    pub(super) span: Span,
}

/// The lines of a text.
///
/// `ip -o` joins lines with a backslash; these are lines here too, so that nothing behind needs to
/// know of it.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.split_inclusive('\n').flat_map(split_oneline).scan(0, |offset, piece| {
        let start = *offset;
        *offset += piece.len();
        let content = piece.trim_end_matches(['\n', '\r']);
        let content = content.strip_suffix('\\').unwrap_or(content);
        let content_start =
            start + usize::from(content.starts_with('\u{feff}')) * '\u{feff}'.len_utf8();
        let content = content.trim_start_matches('\u{feff}');
        Some(Line { text: content, span: Span::new(content_start, content_start + content.len()) })
    })
}

/// Cuts a line behind each backslash that white space follows.
fn split_oneline(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let current = rest.take()?;
        let cut = current
            .match_indices('\\')
            .map(|(at, _)| at + 1)
            .find(|&at| current.get(at..).is_some_and(|tail| tail.starts_with([' ', '\t'])));
        match cut.and_then(|at| current.split_at_checked(at)) {
            Some((head, tail)) => {
                rest = Some(tail);
                Some(head)
            }
            None => Some(current),
        }
    })
}

impl<'a> Line<'a> {
    /// Whether white space stands before the first word.
    pub(super) fn is_indented(&self) -> bool {
        self.text.starts_with([' ', '\t'])
    }

    /// Whether there is nothing on it that could be data: it is blank, a code fence or a shell
    /// prompt.
    pub(super) fn is_blank(&self) -> bool {
        let text = self.text.trim();
        text.is_empty() || text.starts_with("```") || is_prompt(text)
    }

    /// Its words.
    pub(super) fn words(&self) -> Words<'a> {
        Words {
            rest: Cursor { text: self.text, start: self.span.start as usize }.peekable(),
            end: self.span.end,
        }
    }

    /// Its first word.
    pub(super) fn first_word(&self) -> &'a str {
        self.text.split_ascii_whitespace().next().unwrap_or("")
    }

    /// The warning that this line is not understood.
    pub(super) fn not_understood(&self, expected: &str) -> Diagnostic {
        let leading = self.text.len() - self.text.trim_start().len();
        let start = self.span.start as usize + leading;
        let span = Span::new(start, start + self.text.trim().len());
        Diagnostic::warning("unknown-line", format!("expected {expected}"), span)
    }
}

/// The lines around a listing, such as the sentences of a pasted message.
#[derive(Debug, Default)]
pub(super) struct Prose {
    span: Option<Span>,
}

impl Prose {
    /// Adds a line.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        self.span = Some(self.span.map_or(line.span, |known| known.cover(line.span)));
    }

    /// What is to be said of these lines: a note, or an error where they are all there is.
    /// `expected` is, for example, "routes, as `ip route` prints".
    pub(super) fn finish(self, found_any: bool, expected: &str) -> Option<Diagnostic> {
        let span = self.span?;
        Some(if found_any {
            Diagnostic::note("text-around", "the text around the listing is not read", span)
        } else {
            Diagnostic::error("no-listing", format!("expected {expected}, found none"), span)
        })
    }
}

/// Whether a line is a command behind a shell prompt.
fn is_prompt(text: &str) -> bool {
    let command = |rest: &str| {
        let first = rest.split_ascii_whitespace().find(|word| *word != "sudo").unwrap_or("");
        let program = first.rsplit('/').next().unwrap_or("");
        ["ip", "ss", "netstat", "bridge", "sysctl", "ipset", "route", "docker", "conntrack", "cat"]
            .contains(&program)
    };
    match text.split_once(['$', '#']) {
        Some((_, rest)) => command(rest),
        None => false,
    }
}

/// The words of a line, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    rest: Peekable<Cursor<'a>>,
    end: u32,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        self.rest.next()
    }
}

impl<'a> Words<'a> {
    /// The next word, which stays there.
    pub(super) fn peek(&mut self) -> Option<Word<'a>> {
        self.rest.peek().copied()
    }

    /// The next word if it is this one.
    pub(super) fn accept(&mut self, word: &str) -> Option<Word<'a>> {
        self.rest.next_if(|next| next.text == word)
    }

    /// The next word, which has to be there.
    pub(super) fn expect(&mut self, expected: &str) -> Result<Word<'a>, Diagnostic> {
        let end = Span { start: self.end, end: self.end };
        self.next().ok_or_else(|| {
            let message = format!("expected {expected}, found the end of the line");
            Diagnostic::warning("unexpected-end", message, end)
        })
    }

    /// The next word, parsed.
    pub(super) fn parse<T: FromStr>(&mut self, expected: &str) -> Result<T, Diagnostic> {
        self.expect(expected)?.parse(expected)
    }
}

impl Word<'_> {
    /// The word, parsed.
    pub(super) fn parse<T: FromStr>(&self, expected: &str) -> Result<T, Diagnostic> {
        self.text.parse().map_err(|_| self.unexpected(expected))
    }

    /// The warning that this word is something else than it should be.
    pub(super) fn unexpected(&self, expected: &str) -> Diagnostic {
        let message = format!("expected {expected}, found `{}`", self.text);
        Diagnostic::warning("unexpected-value", message, self.span)
    }
}

/// Walks over the words of a text.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Iterator for Cursor<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let trimmed = self.text.trim_start();
        let start = self.start + (self.text.len() - trimmed.len());
        let length = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (word, rest) = trimmed.split_at_checked(length)?;
        self.text = rest;
        self.start = start + word.len();
        (!word.is_empty())
            .then_some(Word { text: word, span: Span::new(start, start + word.len()) })
    }
}
