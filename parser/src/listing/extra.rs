//! The text behind the destination of a row: what each match, then the target, prints of itself.
//!
//! Every form that iptables 1.8.9 prints is read back into the words of the rule, and the older
//! ones that are still pasted (`icmp type 8`, `dpt:22flags: 0x17/0x02`). What is not recognised is
//! kept; of the text behind it only the target's own is read, since an unknown match may print
//! words that look like a known one.

mod address;
mod keyed;
mod packet;
mod rate;
mod state;
mod target;
mod transport;

use std::borrow::Cow;

use super::names;
use super::piece::{Cursor, Piece};
use crate::diagnostic::Diagnostic;
use crate::extension::{ExtensionKind, find};
use crate::replay::as_match;
use crate::span::Span;
use crate::syntax::{Family, Unsupported};
use crate::words::Word;

/// The longest comment that iptables takes (xt_comment.h, `XT_MAX_COMMENT_LEN`).
const LONGEST_COMMENT: usize = 256;

/// How many words a rule may have: more than the 64 KiB of a rule in the kernel can hold
/// (x_tables.h, `next_offset`).
const MOST_WORDS: usize = 16_384;

/// How many words behind an unknown text the target's own text is looked for.
const LOOK_AHEAD: usize = 64;

/// The words of a rule, as they are read from a row.
#[derive(Debug)]
pub(super) struct Extra<'a> {
    /// The protocol of the rule, whose service names count.
    pub(super) protocol: Option<u8>,
    pub(super) family: Option<Family>,
    pub(super) words: Vec<Word<'a>>,
    pub(super) unsupported: Vec<Unsupported<'a>>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether a name was looked up in our tables.
    pub(super) looked_up: bool,
    /// The match that options are added to, with the number of its last option.
    open: Option<(&'static str, usize)>,
    /// The name of the target, where its text tells another than its column.
    renamed: Option<&'static str>,
}

/// Whether all text that the target prints of itself is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetText {
    Known,
    Unknown,
}

/// What to go back to if a form turns out not to fit.
#[derive(Clone, Copy)]
struct Mark {
    words: usize,
    unsupported: usize,
    diagnostics: usize,
    open: Option<(&'static str, usize)>,
}

/// A comment that may go on, since it can hold `*/`.
#[derive(Clone, Copy)]
struct Comment<'a> {
    mark: Mark,
    /// The text from its `/*`.
    from: Piece<'a>,
}

impl<'a> Extra<'a> {
    pub(super) fn new(protocol: Option<u8>, family: Option<Family>) -> Self {
        Self {
            protocol,
            family,
            words: Vec::new(),
            unsupported: Vec::new(),
            diagnostics: Vec::new(),
            looked_up: false,
            open: None,
            renamed: None,
        }
    }

    /// Reads the text behind the destination of a rule with this target, and adds `-j` unless some
    /// of the text that is not understood may be the target's.
    pub(super) fn read(&mut self, text: Piece<'a>, target: Option<Piece<'a>>) -> TargetText {
        let mut cursor = text.words();
        let goto = cursor.eat("[goto]");
        let mut comment = None;
        let target_name = target.map_or("", |target| target.text);
        let mut target_words = None;
        while !cursor.is_done() && self.words.len() < MOST_WORDS {
            if let Some(read) = self.comment(&mut cursor) {
                comment = Some(read);
                continue;
            }
            if self.attempt(&mut cursor, Self::one_match) {
                continue;
            }
            let mark = self.mark();
            if let Some(words) = self.target_text(&mut cursor, target_name) {
                target_words = Some(words);
                break;
            }
            self.back_to(mark);
            if let Some(longer) = comment.and_then(|comment| self.lengthen(&mut cursor, comment)) {
                comment = Some(longer);
                continue;
            }
            target_words = self.unknown(&mut cursor, target_name);
            break;
        }
        // Nothing is known to stand behind the target's own text.
        let rest = cursor.rest().trim();
        if !rest.text.is_empty() {
            self.keep_unknown(rest);
        }
        let takes_options = find(ExtensionKind::Target, target_name)
            .is_some_and(|extension| !extension.options.is_empty());
        if !rest.text.is_empty() && takes_options {
            return TargetText::Unknown;
        }
        if let Some(target) = target {
            self.push(if goto { "-g" } else { "-j" }, target.span());
            self.push(self.renamed.unwrap_or(target.text), target.span());
        }
        self.words.extend(target_words.unwrap_or_default());
        TargetText::Known
    }

    /// Keeps what is not recognised, up to the target's own text if that is found.
    fn unknown(&mut self, cursor: &mut Cursor<'a>, target: &str) -> Option<Vec<Word<'a>>> {
        let from = cursor.rest();
        let mut ahead = *cursor;
        for _ in 0..LOOK_AHEAD {
            ahead.next()?;
            let mut found = ahead;
            let mark = self.mark();
            let start = found.rest().start;
            if let Some(words) = self.target_text(&mut found, target)
                && found.is_done()
            {
                self.keep_unknown(from.take(start - from.start).trim());
                *cursor = found;
                return Some(words);
            }
            self.back_to(mark);
        }
        None
    }

    fn keep_unknown(&mut self, piece: Piece<'a>) {
        let message =
            format!("`{}` of this listing is not understood", crate::words::clip(piece.text));
        self.diagnostics.push(
            Diagnostic::warning("unknown-listing-text", message, piece.span()).help(
                "the rule is kept, but whether it matches can't be said; iptables-save shows more",
            ),
        );
        self.keep(piece);
    }

    /// Keeps a piece as not understood, so that it can be read again.
    fn keep(&mut self, piece: Piece<'a>) {
        let raw = Cow::Owned(as_match("listing", piece.text));
        self.unsupported.push(Unsupported { raw, span: piece.span(), of: None });
    }

    fn mark(&self) -> Mark {
        Mark {
            words: self.words.len(),
            unsupported: self.unsupported.len(),
            diagnostics: self.diagnostics.len(),
            open: self.open,
        }
    }

    fn back_to(&mut self, mark: Mark) {
        self.words.truncate(mark.words);
        self.unsupported.truncate(mark.unsupported);
        self.diagnostics.truncate(mark.diagnostics);
        self.open = mark.open;
    }

    /// Reads a form, or leaves everything as it was.
    fn attempt(
        &mut self,
        cursor: &mut Cursor<'a>,
        form: impl FnOnce(&mut Self, &mut Cursor<'a>) -> Option<()>,
    ) -> bool {
        let (before, mark) = (*cursor, self.mark());
        let fits = form(self, cursor).is_some();
        if !fits {
            *cursor = before;
            self.back_to(mark);
        }
        fits
    }

    /// The text of any one match.
    fn one_match(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let before = cursor.rest();
        let negated = cursor.eat("!");
        let head = cursor.next()?;
        let whole = before.take(head.start + head.text.len() - before.start);
        let form = Head { negated, word: head, whole, from: before };
        self.transport(cursor, form)
            .or_else(|| self.state(cursor, form))
            .or_else(|| self.address_match(cursor, form))
            .or_else(|| self.rate(cursor, form))
            .or_else(|| self.packet(cursor, form))
            .or_else(|| self.keyed(cursor, form))
    }

    /// The words of the target's own text, which ends the row.
    fn target_text(&mut self, cursor: &mut Cursor<'a>, target: &str) -> Option<Vec<Word<'a>>> {
        let (before, from) = (*cursor, self.words.len());
        self.open = None;
        let fits = self.target(cursor, target).is_some();
        let words = self.words.split_off(from);
        if !fits {
            *cursor = before;
            return None;
        }
        Some(words)
    }

    /// `/* text */`.
    fn comment(&mut self, cursor: &mut Cursor<'a>) -> Option<Comment<'a>> {
        let from = cursor.rest();
        let end = comment_end(from, 2)?;
        let comment = Comment { mark: self.mark(), from };
        self.push_comment(cursor, from.take(end));
        Some(comment)
    }

    /// Takes text that is not understood, and ends with `*/`, as the rest of the comment before.
    fn lengthen(&mut self, cursor: &mut Cursor<'a>, comment: Comment<'a>) -> Option<Comment<'a>> {
        let at = cursor.rest().start - comment.from.start;
        let end = comment_end(comment.from, at)?;
        if comment.from.take(end).skip(at).text.contains("/*") {
            return None;
        }
        self.back_to(comment.mark);
        self.push_comment(cursor, comment.from.take(end));
        Some(comment)
    }

    fn push_comment(&mut self, cursor: &mut Cursor<'a>, whole: Piece<'a>) {
        let inner = whole.text.strip_prefix("/*").and_then(|inner| inner.strip_suffix("*/"));
        let inner = inner.unwrap_or_default();
        let inner = inner.strip_prefix(' ').unwrap_or(inner);
        let inner = inner.strip_suffix(' ').unwrap_or(inner);
        self.open = None;
        self.begin("comment", whole.span());
        self.push("--comment", whole.span());
        self.words.push(Word { text: Cow::Borrowed(inner), span: whole.span(), quoted: true });
        self.open = None;
        cursor.jump_behind(whole);
    }

    /// Adds a word.
    fn push(&mut self, text: impl Into<Cow<'a, str>>, span: Span) {
        self.words.push(Word { text: text.into(), span, quoted: false });
    }

    /// `-m NAME`, whose options follow.
    fn begin(&mut self, name: &'static str, span: Span) {
        self.push("-m", span);
        self.push(name, span);
        self.open = Some((name, 0));
    }

    /// An option of a match, in the use of it that is open if it may stand there.
    ///
    /// A match prints its options in the order of its declaration, so an option that stands before
    /// the last one begins another use.
    fn of_match(&mut self, name: &'static str, option: Setting<'a>) {
        let declared = find(ExtensionKind::Match, name).and_then(|extension| {
            extension.options.iter().position(|declared| declared.name == option.name)
        });
        let number = declared.map_or(0, |number| number + 1);
        match self.open {
            Some((open, last)) if open == name && (number > last || number == 0) => {}
            _ => self.begin(name, option.span),
        }
        self.open = Some((name, number));
        self.set(option);
    }

    /// An option with its value.
    fn set(&mut self, option: Setting<'a>) {
        if option.negated {
            self.push("!", option.span);
        }
        self.push(format!("--{}", option.name), option.span);
        if let Some(value) = option.value {
            // A value is never an option, even if it begins with a dash.
            self.words.push(Word { text: value, span: option.span, quoted: true });
        }
    }

    /// The value of an address as words take it; `None` where only its host can look it up, and
    /// then it is kept as not understood.
    fn host(&mut self, piece: Piece<'a>) -> Option<Cow<'a, str>> {
        match names::place(piece.text, self.family) {
            Some(names::Place::Named(address)) => {
                self.looked_up = true;
                Some(Cow::Owned(address))
            }
            Some(names::Place::Unknown) => {
                self.unresolved("address", piece, piece);
                None
            }
            _ => Some(Cow::Borrowed(piece.text)),
        }
    }

    /// Ports in numbers; `None` where a service is not known, and then `whole` is kept.
    fn ports(&mut self, piece: Piece<'a>, whole: Piece<'a>) -> Option<Cow<'a, str>> {
        let found = names::ports(piece.text, self.protocol);
        match &found {
            Some(Cow::Owned(_)) => self.looked_up = true,
            Some(Cow::Borrowed(_)) => {}
            None => self.unresolved("port", piece, whole),
        }
        found
    }

    /// Keeps `whole`, in which a name stands that only the listed host can look up.
    pub(super) fn unresolved(&mut self, what: &str, name: Piece<'a>, whole: Piece<'a>) {
        let text = crate::words::clip(name.text);
        self.diagnostics.push(
            Diagnostic::warning(
                "unresolved-name",
                format!("the {what} behind the name `{text}` is not known"),
                name.span(),
            )
            .help("the rule is kept, but whether it matches can't be said; `iptables -n` prints numbers"),
        );
        self.keep(whole);
    }

    /// Warns of something that a listing does not show.
    fn lossy(&mut self, message: &str, span: Span) {
        self.diagnostics.push(
            Diagnostic::warning("lossy-listing", message, span).help("iptables-save shows it"),
        );
    }
}

/// The first word of the text of a match.
#[derive(Clone, Copy)]
struct Head<'a> {
    /// Whether a `!` of its own stands before it.
    negated: bool,
    word: Piece<'a>,
    /// The word with its `!`.
    whole: Piece<'a>,
    /// The text from there to the end of the row.
    from: Piece<'a>,
}

impl<'a> Head<'a> {
    /// The place from the head to where the cursor is.
    fn to(self, cursor: &Cursor<'a>) -> Span {
        let end = cursor.rest().start;
        let read = self.from.take(end.saturating_sub(self.from.start)).trim();
        self.whole.span().cover(read.span())
    }

    /// The text from the head to the end of `last`.
    fn line_to(self, last: Piece<'a>) -> Piece<'a> {
        self.from.take(last.start + last.text.len() - self.from.start)
    }
}

/// An option with its value, ready to be written as words.
struct Setting<'a> {
    name: &'static str,
    negated: bool,
    value: Option<Cow<'a, str>>,
    span: Span,
}

impl<'a> Setting<'a> {
    fn flag(name: &'static str, span: Span) -> Self {
        Self { name, negated: false, value: None, span }
    }

    fn new(name: &'static str, value: impl Into<Cow<'a, str>>, span: Span) -> Self {
        Self { name, negated: false, value: Some(value.into()), span }
    }

    fn negated(mut self, negated: bool) -> Self {
        self.negated = negated;
        self
    }
}

/// Whether a line begins with the text of a match, as the rest of a row that was wrapped does.
pub(super) fn starts_extra(line: Piece<'_>) -> bool {
    let mut cursor = line.words();
    let mut extra = Extra::new(None, None);
    extra.comment(&mut cursor).is_some() || extra.attempt(&mut cursor, Extra::one_match)
}

/// Where the comment at the start of `from` ends, if `*/` comes behind its first `least` bytes.
fn comment_end(from: Piece<'_>, least: usize) -> Option<usize> {
    if !from.text.starts_with("/*") {
        return None;
    }
    let longest = LONGEST_COMMENT + "/*  */".len();
    let window = from.text.as_bytes().get(..from.text.len().min(longest))?;
    let mut at = least.max(2);
    loop {
        let tail = window.get(at..)?;
        let end = at + tail.windows(2).position(|pair| pair == b"*/")? + 2;
        let closes = from.text.as_bytes().get(end).is_none_or(u8::is_ascii_whitespace);
        let spaced = window.get(end - 3) == Some(&b' ');
        if closes && spaced {
            return Some(end);
        }
        at = end;
    }
}
