//! Simple commands, and where their input and output go.

use std::borrow::Cow;

use super::super::word::{Until, ends_word, name_length, read_word};
use super::super::{
    Assigned, Assignment, Command, HereDocument, Kind, Piece, Quoting, Redirect, RedirectTo,
    ShellWord, Stream,
};
use super::{Parse, Parser, Waiting};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

impl<'a> Parser<'a> {
    pub(super) fn simple(&mut self) -> Parse<Command<'a>> {
        let start = self.at;
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = start;
        loop {
            self.skip_blanks();
            if self.redirect(&mut redirects)? {
                end = self.at;
                continue;
            }
            match self.byte(0) {
                None => break,
                Some(b'(') if words.len() == 1 && assignments.is_empty() => {
                    self.at = start;
                    let kind = self.function()?;
                    return Ok(Command { kind, redirects, span: Span::new(start, self.at) });
                }
                Some(byte) if ends_word(byte) => break,
                Some(_) => {}
            }
            let assignment = if words.is_empty() { self.assignment()? } else { None };
            match assignment {
                Some(assignment) => assignments.push(assignment),
                None => words.push(self.word()?),
            }
            end = self.at;
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.unexpected());
        }
        let kind = Kind::Simple { assignments, words };
        Ok(Command { kind, redirects, span: Span::new(start, end) })
    }

    fn assignment(&mut self) -> Parse<Option<Assignment<'a>>> {
        let rest = self.rest();
        let length = name_length(rest);
        let behind = rest.get(length..).unwrap_or_default();
        let appends = behind.starts_with("+=");
        if length == 0 || !appends && !behind.starts_with('=') {
            return Ok(None);
        }
        let name = rest.get(..length).unwrap_or_default();
        self.at += length + if appends { 2 } else { 1 };
        let value = if self.byte(0) == Some(b'(') {
            self.at += 1;
            let mut many = Vec::new();
            self.skip_newlines();
            while self.byte(0) != Some(b')') {
                many.push(self.word()?);
                self.skip_newlines();
            }
            self.at += 1;
            Assigned::Many(many)
        } else {
            let (word, end) =
                read_word(self.text, self.at, self.text.len(), Until::Blank, Quoting::Bare)?;
            self.at = end;
            Assigned::One(word)
        };
        Ok(Some(Assignment { name, appends, value }))
    }

    /// Takes a redirection, if one stands here.
    pub(super) fn redirect(&mut self, redirects: &mut Vec<Redirect<'a>>) -> Parse<bool> {
        self.skip_blanks();
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits).unwrap_or(("", rest));
        let both = behind.starts_with("&>");
        let behind = if both && digits == 0 { behind.get(1..).unwrap_or_default() } else { behind };
        let operators = ["<<<", "<<-", "<<", "<&", "<", ">>", ">&", ">|", ">"];
        let Some(operator) = operators.into_iter().find(|one| behind.starts_with(one)) else {
            return Ok(false);
        };
        self.at += digits + usize::from(both && digits == 0) + operator.len();
        let from = match (number, operator.starts_with('<')) {
            _ if both => Stream::Both,
            ("" | "0", true) => Stream::Input,
            ("2", false) => Stream::Errors,
            _ => Stream::Output,
        };
        self.skip_blanks();
        let to = match operator {
            "<<" | "<<-" => self.here(operator == "<<-")?,
            "<<<" => RedirectTo::HereString(self.word()?),
            "<&" | ">&" => {
                let rest = self.rest();
                let length = rest.bytes().take_while(|byte| !ends_word(*byte)).count();
                self.at += length;
                RedirectTo::Descriptor(rest.get(..length).unwrap_or_default())
            }
            _ => RedirectTo::File(self.word()?),
        };
        redirects.push(Redirect { from, to });
        Ok(true)
    }

    fn here(&mut self, strips: bool) -> Parse<RedirectTo<'a>> {
        let start = self.at;
        let word = self.word()?;
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let quoted = raw.contains(['"', '\'', '\\']);
        let delimiter = word.literal().map_or_else(|| raw.to_owned(), Cow::into_owned);
        let document = self.parsed.documents.len();
        self.parsed.documents.push(HereDocument::new());
        self.waiting.push(Waiting { document, delimiter, quoted, strips });
        Ok(RedirectTo::Here(document))
    }

    /// Reads the lines of a here-document.
    pub(super) fn document(&mut self, waiting: &Waiting) {
        let mut lines: HereDocument<'a> = Vec::new();
        while self.at < self.text.len() {
            let end = self.line_end(self.at);
            let mut start = self.at;
            self.at = (end + 1).min(self.text.len());
            let whole = self.text.get(start..end).unwrap_or_default();
            let end = start + whole.trim_end_matches('\r').len();
            if waiting.strips {
                start = end - whole.trim_end_matches('\r').trim_start_matches('\t').len();
            }
            let line = self.text.get(start..end).unwrap_or_default();
            if line == waiting.delimiter {
                if let Some(document) = self.parsed.documents.get_mut(waiting.document) {
                    *document = lines;
                }
                return;
            }
            let plain = || ShellWord {
                pieces: vec![Piece::Text { text: Cow::Borrowed(line), quoting: Quoting::Quoted }],
                span: Span::new(start, end),
            };
            let word = if waiting.quoted {
                plain()
            } else {
                read_word(self.text, start, end, Until::End, Quoting::Quoted)
                    .map_or_else(|_| plain(), |(word, _)| word)
            };
            lines.push(word);
        }
        if let Some(document) = self.parsed.documents.get_mut(waiting.document) {
            *document = lines;
        }
        let message =
            format!("the here-document is not closed: no line is `{}`", waiting.delimiter);
        let end = self.text.len();
        self.parsed.diagnostics.push(Diagnostic::error(
            "shell-syntax",
            message,
            Span::new(end, end),
        ));
    }
}
