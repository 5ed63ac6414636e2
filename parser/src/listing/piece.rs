//! Pieces of a pasted text that know their place, and a cursor over them.

use crate::span::Span;

/// A part of the text with the byte offset at which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

/// Whether a character only separates words. Pastes bring the blanks of web pages, and
/// `match bpf` ends with a NUL.
pub(super) fn is_blank(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\0' | '\u{200b}' | '\u{feff}')
}

impl<'a> Piece<'a> {
    /// Its place.
    pub(super) fn span(self) -> Span {
        Span::new(self.start, self.start + self.text.len())
    }

    /// What is left behind its first `count` bytes.
    pub(super) fn skip(self, count: usize) -> Self {
        let text = self.text.get(count..).unwrap_or_default();
        Self { text, start: self.start + count.min(self.text.len()) }
    }

    /// Its first `count` bytes.
    pub(super) fn take(self, count: usize) -> Self {
        Self { text: self.text.get(..count).unwrap_or(self.text), start: self.start }
    }

    /// Without the prefix, if it has it.
    pub(super) fn strip_prefix(self, prefix: &str) -> Option<Self> {
        self.text.starts_with(prefix).then(|| self.skip(prefix.len()))
    }

    /// Without the blanks around it.
    pub(super) fn trim(self) -> Self {
        let text = self.text.trim_start_matches(is_blank);
        let start = self.start + self.text.len() - text.len();
        Self { text: text.trim_end_matches(is_blank), start }
    }

    /// The parts before and behind the first `separator`.
    pub(super) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(separator)?;
        Some((self.take(before.len()), self.skip(self.text.len() - after.len())))
    }

    /// The value behind a leading `!`, and whether there is one.
    pub(super) fn negatable(self) -> (bool, Self) {
        match self.strip_prefix("!") {
            Some(value) => (true, value),
            None => (false, self),
        }
    }

    /// Its words.
    pub(super) fn words(self) -> Cursor<'a> {
        Cursor { rest: self }
    }
}

/// Reads a piece word by word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: Piece<'a>,
}

impl<'a> Cursor<'a> {
    /// What is not read yet, without leading blanks.
    pub(super) fn rest(self) -> Piece<'a> {
        let text = self.rest.text.trim_start_matches(is_blank);
        self.rest.skip(self.rest.text.len() - text.len())
    }

    /// Whether all is read.
    pub(super) fn is_done(self) -> bool {
        self.rest().text.is_empty()
    }

    /// Goes on at the end of `piece`, a part of the rest.
    pub(super) fn jump_behind(&mut self, piece: Piece<'a>) {
        let end = piece.start + piece.text.len();
        self.rest = self.rest.skip(end.saturating_sub(self.rest.start));
    }

    /// The next word, without reading it.
    pub(super) fn peek(self) -> Option<Piece<'a>> {
        let rest = self.rest();
        let end = rest.text.find(is_blank).unwrap_or(rest.text.len());
        (end > 0).then(|| rest.take(end))
    }

    /// Reads these words if they come next.
    pub(super) fn eat(&mut self, phrase: &str) -> bool {
        let mut ahead = *self;
        let matches =
            phrase.split(' ').all(|word| ahead.next().is_some_and(|next| next.text == word));
        if matches {
            *self = ahead;
        }
        matches
    }

    /// Reads the next word if it starts with `prefix`; returns what is behind that.
    pub(super) fn eat_prefix(&mut self, prefix: &str) -> Option<Piece<'a>> {
        let value = self.peek()?.strip_prefix(prefix)?;
        self.next();
        Some(value)
    }

    /// Reads `VALUE`, `!VALUE` or `! VALUE`.
    pub(super) fn negatable(&mut self) -> Option<(bool, Piece<'a>)> {
        let (negated, value) = self.next()?.negatable();
        Some((negated, if value.text.is_empty() { self.next()? } else { value }))
    }
}

impl<'a> Iterator for Cursor<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let word = self.peek()?;
        self.jump_behind(word);
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece<'_> {
        Piece { text, start: 10 }
    }

    #[test]
    fn words_know_their_place() {
        let words: Vec<_> =
            piece(" a\u{a0}bc  d\0").words().map(|word| (word.text, word.start)).collect();
        assert_eq!(words, [("a", 11), ("bc", 14), ("d", 18)]);
    }

    #[test]
    fn phrases_are_eaten_whole_or_not() {
        let mut cursor = piece("source IP range x").words();
        assert!(!cursor.eat("source IP ranges"));
        assert!(cursor.eat("source IP range"));
        assert_eq!(cursor.rest().text, "x");
    }

    #[test]
    fn negation_may_be_glued_or_apart() {
        for (text, expected) in [("x", (false, "x")), ("!x", (true, "x")), ("! x", (true, "x"))] {
            let found = piece(text).words().negatable();
            assert_eq!(found.map(|(negated, value)| (negated, value.text)), Some(expected));
        }
        assert!(piece("!").words().negatable().is_none());
    }
}
