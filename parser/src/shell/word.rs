//! Words of a shell, with their quotes and expansions.

use std::borrow::Cow;

use super::{Piece, Quoting, ShellWord};
use crate::span::Span;

/// Why a word can't be read: what is missing, and where it began.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// The quote or bracket that is not closed.
    pub(super) what: &'static str,
    /// Where it began.
    pub(super) at: usize,
}

/// Where a word ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// At a blank or an operator.
    Blank,
    /// At the `}` that closes an expansion.
    Brace,
    /// At the end of the text, as in a line of a here-document, where quotes are text.
    End,
}

/// Whether a byte ends a bare word.
pub(super) fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')')
}

/// The reading of one word.
pub(super) struct Words<'a> {
    /// The whole text.
    text: &'a str,
    /// The byte where the word ends at the latest.
    limit: usize,
    at: usize,
    pieces: Vec<Piece<'a>>,
    /// Text that is not a piece yet: where it starts, and its letters once they differ from the
    /// text's own.
    start: usize,
    owned: Option<String>,
    quoting: Quoting,
    /// In how many braces the word stands.
    depth: usize,
}

/// How deep expansions may be nested.
const DEEPEST: usize = 32;

/// Reads the word that starts at `at`; returns it and where it ends.
pub(super) fn read_word<'a>(
    text: &'a str,
    at: usize,
    limit: usize,
    until: Until,
    quoting: Quoting,
) -> Result<(ShellWord<'a>, usize), Open> {
    read_nested(text, at, limit, until, quoting, 0)
}

fn read_nested<'a>(
    text: &'a str,
    at: usize,
    limit: usize,
    until: Until,
    quoting: Quoting,
    depth: usize,
) -> Result<(ShellWord<'a>, usize), Open> {
    if depth > DEEPEST {
        return Err(Open { what: "${", at });
    }
    let pieces = Vec::new();
    let mut words = Words { text, limit, at, pieces, start: at, owned: None, quoting, depth };
    words.run(until)?;
    words.flush();
    let end = words.at;
    let mut pieces = words.pieces;
    if pieces.is_empty() && end > at {
        // `""` is a word.
        pieces.push(Piece::Text { text: Cow::Borrowed(""), quoting: Quoting::Quoted });
    }
    Ok((ShellWord { pieces, span: Span::new(at, end) }, end))
}

impl<'a> Words<'a> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        let at = self.at + ahead;
        if at >= self.limit { None } else { self.text.as_bytes().get(at).copied() }
    }

    /// The text between two places.
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Makes a piece of the text so far.
    fn flush(&mut self) {
        let text = match self.owned.take() {
            Some(owned) => Cow::Owned(owned),
            None => Cow::Borrowed(self.slice(self.start, self.at)),
        };
        if !text.is_empty() {
            self.pieces.push(Piece::Text { text, quoting: self.quoting });
        }
        self.start = self.at;
    }

    /// Takes the next character as text.
    fn keep(&mut self) {
        let rest = self.slice(self.at, self.limit);
        let Some(char) = rest.chars().next() else { return };
        if let Some(owned) = &mut self.owned {
            owned.push(char);
        }
        self.at += char.len_utf8();
    }

    /// Leaves out bytes that are no text of the word.
    fn skip(&mut self, bytes: usize) {
        if self.start == self.at && self.owned.is_none() {
            self.start += bytes;
        } else {
            let so_far = self.slice(self.start, self.at).to_owned();
            self.owned.get_or_insert(so_far);
        }
        self.at += bytes;
    }

    fn run(&mut self, until: Until) -> Result<(), Open> {
        while let Some(byte) = self.byte(0) {
            match (until, byte) {
                (Until::Blank, byte) if ends_word(byte) => break,
                (Until::Brace, b'}') => break,
                (Until::Blank | Until::Brace, b'\'') => self.single()?,
                (Until::Blank | Until::Brace, b'"') => self.double()?,
                (_, b'\\') => self.backslash(until),
                (_, b'$') => self.dollar()?,
                (_, b'`') => self.backquote()?,
                _ => self.keep(),
            }
        }
        Ok(())
    }

    fn single(&mut self) -> Result<(), Open> {
        let open = self.at;
        self.flush();
        let inside = self.slice(open + 1, self.limit);
        let Some(length) = inside.find('\'') else {
            return Err(Open { what: "'", at: open });
        };
        let text = Cow::Borrowed(self.slice(open + 1, open + 1 + length));
        self.pieces.push(Piece::Text { text, quoting: Quoting::Quoted });
        self.at = open + length + 2;
        self.start = self.at;
        Ok(())
    }

    fn double(&mut self) -> Result<(), Open> {
        let open = self.at;
        self.flush();
        self.at += 1;
        self.start = self.at;
        let outer = std::mem::replace(&mut self.quoting, Quoting::Quoted);
        let pieces = self.pieces.len();
        loop {
            match self.byte(0) {
                None => return Err(Open { what: "\"", at: open }),
                Some(b'"') => break,
                Some(b'\\') => match self.byte(1) {
                    Some(b'$' | b'`' | b'"' | b'\\') => {
                        self.skip(1);
                        self.keep();
                    }
                    Some(b'\n') => self.skip(2),
                    _ => self.keep(),
                },
                Some(b'$') => self.dollar()?,
                Some(b'`') => self.backquote()?,
                Some(_) => self.keep(),
            }
        }
        self.flush();
        if self.pieces.len() == pieces {
            let text = Cow::Borrowed("");
            self.pieces.push(Piece::Text { text, quoting: Quoting::Quoted });
        }
        self.at += 1;
        self.start = self.at;
        self.quoting = outer;
        Ok(())
    }

    fn backslash(&mut self, until: Until) {
        match (self.byte(1), until) {
            (Some(b'\n'), _) => self.skip(2),
            (Some(b'\r'), _) if self.byte(2) == Some(b'\n') => self.skip(3),
            (Some(b'$' | b'`' | b'\\'), Until::End) => {
                self.skip(1);
                self.keep();
            }
            (Some(_), Until::Blank | Until::Brace) => {
                self.skip(1);
                self.keep();
            }
            (None, _) | (Some(_), Until::End) => self.keep(),
        }
    }

    fn backquote(&mut self) -> Result<(), Open> {
        let open = self.at;
        self.flush();
        let inside = self.slice(open + 1, self.limit);
        let length = inside.find('`').ok_or(Open { what: "`", at: open })?;
        let inner = self.slice(open + 1, open + 1 + length);
        self.at = open + length + 2;
        self.start = self.at;
        let (raw, quoting) = (self.slice(open, self.at), self.quoting);
        self.pieces.push(Piece::Substitution { inner, raw, arithmetic: false, quoting });
        Ok(())
    }

    /// What a `$` begins.
    fn dollar(&mut self) -> Result<(), Open> {
        let open = self.at;
        match self.byte(1) {
            Some(b'(') => {
                self.flush();
                let arithmetic = self.byte(2) == Some(b'(');
                let end = self.closing(open + 1)?;
                let (from, to) = if arithmetic { (open + 3, end - 2) } else { (open + 2, end - 1) };
                let inner = self.slice(from, to.max(from));
                self.at = end;
                self.start = end;
                let (raw, quoting) = (self.slice(open, end), self.quoting);
                self.pieces.push(Piece::Substitution { inner, raw, arithmetic, quoting });
                Ok(())
            }
            Some(b'{') => self.braces(open),
            Some(byte) if byte == b'_' || byte.is_ascii_alphabetic() => {
                self.flush();
                let rest = self.slice(open + 1, self.limit);
                let length = name_length(rest);
                self.parameter(open, open + 1, length);
                Ok(())
            }
            Some(b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => {
                self.flush();
                self.parameter(open, open + 1, 1);
                Ok(())
            }
            _ => {
                self.keep();
                Ok(())
            }
        }
    }

    fn parameter(&mut self, open: usize, from: usize, length: usize) {
        let end = from + length;
        let (name, raw, quoting) = (self.slice(from, end), self.slice(open, end), self.quoting);
        self.pieces.push(Piece::Parameter { name, operator: None, raw, quoting });
        self.at = end;
        self.start = end;
    }

    /// `${…}`.
    fn braces(&mut self, open: usize) -> Result<(), Open> {
        self.flush();
        let inside = self.slice(open + 2, self.limit);
        let length = match inside.as_bytes().first() {
            Some(b'@' | b'*' | b'?' | b'#' | b'!') => 1,
            Some(b'0'..=b'9') => inside.bytes().take_while(u8::is_ascii_digit).count(),
            _ => name_length(inside),
        };
        let mut name_end = open + 2 + length;
        // An element of an array.
        if let Some(rest) = inside.get(length..)
            && rest.starts_with('[')
            && let Some(close) = rest.find(']')
        {
            name_end += close + 1;
        }
        let name = self.slice(open + 2, name_end);
        self.at = name_end;
        let operators = [":-", ":=", ":+", ":?", "##", "#", "%%", "%", "-", "=", "+", "?"];
        let rest = self.slice(name_end, self.limit);
        let operator = match rest.chars().next() {
            Some('}') => None,
            Some(_) => {
                let found = operators.into_iter().find(|one| rest.starts_with(one));
                // Of what is not known only the end matters.
                let found = found.unwrap_or("");
                let start = name_end + found.len();
                let (quoting, depth) = (self.quoting, self.depth + 1);
                let (word, end) =
                    read_nested(self.text, start, self.limit, Until::Brace, quoting, depth)?;
                self.at = end;
                let found = if found.is_empty() { "…" } else { found };
                Some((found, Box::new(word)))
            }
            None => return Err(Open { what: "${", at: open }),
        };
        if self.byte(0) != Some(b'}') {
            return Err(Open { what: "${", at: open });
        }
        self.at += 1;
        self.start = self.at;
        let (raw, quoting) = (self.slice(open, self.at), self.quoting);
        self.pieces.push(Piece::Parameter { name, operator, raw, quoting });
        Ok(())
    }

    /// Where the parenthesis that opens at `open` is closed, one byte behind it.
    fn closing(&self, open: usize) -> Result<usize, Open> {
        let mut depth = 0_usize;
        let mut quote = None;
        let mut escaped = false;
        let inside = self.slice(open, self.limit);
        for (index, byte) in inside.bytes().enumerate() {
            if escaped {
                escaped = false;
                continue;
            }
            match (quote, byte) {
                (Some(b'"') | None, b'\\') => escaped = true,
                (Some(open), byte) if open == byte => quote = None,
                (Some(_), _) => {}
                (None, b'\'' | b'"') => quote = Some(byte),
                (None, b'(') => depth += 1,
                (None, b')') => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(open + index + 1);
                    }
                }
                (None, _) => {}
            }
        }
        Err(Open { what: "$(", at: open.saturating_sub(1) })
    }
}

/// How many bytes a name has.
pub(super) fn name_length(text: &str) -> usize {
    let mut bytes = text.bytes();
    match bytes.next() {
        Some(first) if first == b'_' || first.is_ascii_alphabetic() => {
            1 + bytes.take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric()).count()
        }
        _ => 0,
    }
}
