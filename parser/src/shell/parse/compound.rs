//! Conditions, loops and functions.

use std::borrow::Cow;
use std::rc::Rc;

use super::super::word::{ends_word, name_length};
use super::super::{Kind, List, Piece, Quoting, ShellWord};
use super::{DEEPEST, Fault, Parse, Parser};
use crate::span::Span;

impl<'a> Parser<'a> {
    /// `((…))`, whose status is not known.
    pub(super) fn arithmetic(&mut self) -> Parse<Kind<'a>> {
        let start = self.at;
        let Some(length) = self.rest().find("))") else {
            return Err(Fault { message: "`((` is not closed".to_owned(), at: start });
        };
        self.at += length + 2;
        let text = Cow::Borrowed(self.text.get(start..self.at).unwrap_or_default());
        let pieces = vec![Piece::Text { text, quoting: Quoting::Quoted }];
        let word = ShellWord { pieces, span: Span::new(start, self.at) };
        Ok(Kind::Simple { assignments: Vec::new(), words: vec![word] })
    }

    /// `[[ … ]]`, as the words of a command.
    pub(super) fn test(&mut self) -> Parse<Kind<'a>> {
        let start = self.at;
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            let byte = self.byte(0);
            let from = self.at;
            match byte {
                None | Some(b'\n') => {
                    return Err(Fault { message: "`[[` is not closed".to_owned(), at: start });
                }
                Some(byte) if ends_word(byte) => {
                    let both = self.byte(1) == Some(byte) && matches!(byte, b'&' | b'|');
                    self.at += if both { 2 } else { 1 };
                    let text = Cow::Borrowed(self.text.get(from..self.at).unwrap_or_default());
                    let pieces = vec![Piece::Text { text, quoting: Quoting::Bare }];
                    words.push(ShellWord { pieces, span: Span::new(from, self.at) });
                }
                Some(_) => {
                    let word = self.word()?;
                    let closes = word.literal().is_some_and(|text| text == "]]");
                    words.push(word);
                    if closes {
                        return Ok(Kind::Simple { assignments: Vec::new(), words });
                    }
                }
            }
        }
    }

    pub(super) fn conditional(&mut self) -> Parse<Kind<'a>> {
        self.at += 2;
        let mut arms = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            let body = self.list(&["elif", "else", "fi"])?;
            arms.push((condition, body));
            match self.keyword(&["elif", "else", "fi"]) {
                Some("elif") => self.at += 4,
                Some("else") => {
                    self.at += 4;
                    let otherwise = Some(self.list(&["fi"])?);
                    self.at += 2;
                    return Ok(Kind::If { arms, otherwise });
                }
                _ => {
                    self.at += 2;
                    return Ok(Kind::If { arms, otherwise: None });
                }
            }
        }
    }

    fn body(&mut self) -> Parse<List<'a>> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.at += "done".len();
        Ok(body)
    }

    pub(super) fn loop_over(&mut self) -> Parse<Kind<'a>> {
        self.at += 3;
        self.skip_blanks();
        if self.rest().starts_with("((") {
            let message = "`for ((…))` is not read: write `for n in $(seq FROM TO)`";
            return Err(Fault { message: message.to_owned(), at: self.at });
        }
        let length = name_length(self.rest());
        if length == 0 {
            return Err(self.unexpected());
        }
        let name = self.text.get(self.at..self.at + length).unwrap_or_default();
        self.at += length;
        self.skip_newlines();
        let mut words = None;
        if self.keyword(&["in"]).is_some() {
            self.at += 2;
            let mut listed = Vec::new();
            self.skip_blanks();
            while self.byte(0).is_some_and(|byte| !ends_word(byte)) {
                listed.push(self.word()?);
                self.skip_blanks();
            }
            words = Some(listed);
        }
        Ok(Kind::For { name, words, body: self.body()? })
    }

    pub(super) fn loop_while(&mut self, until: bool) -> Parse<Kind<'a>> {
        self.at += 5;
        let condition = self.list(&["do"])?;
        Ok(Kind::While { condition, until, body: self.body()? })
    }

    pub(super) fn case(&mut self) -> Parse<Kind<'a>> {
        self.at += 4;
        self.skip_blanks();
        let subject = self.word()?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_lines();
            if self.keyword(&["esac"]).is_some() {
                self.at += 4;
                return Ok(Kind::Case { subject, arms });
            }
            if self.byte(0) == Some(b'(') {
                self.at += 1;
            }
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                patterns.push(self.word()?);
                self.skip_blanks();
                match self.byte(0) {
                    Some(b'|') => self.at += 1,
                    Some(b')') => {
                        self.at += 1;
                        break;
                    }
                    _ => return Err(self.unexpected()),
                }
            }
            let body = self.list(&[";;", "esac"])?;
            arms.push((patterns, body));
            if self.rest().starts_with(";;") {
                self.at += 2;
            }
        }
    }

    /// `NAME () COMMAND`, from its name on.
    pub(super) fn function(&mut self) -> Parse<Kind<'a>> {
        let start = self.at;
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| !ends_word(*byte)).count();
        let name = rest.get(..length).unwrap_or_default();
        self.at += length;
        self.skip_blanks();
        if self.byte(0) == Some(b'(') {
            self.at += 1;
            self.skip_blanks();
            if self.byte(0) != Some(b')') {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        self.skip_newlines();
        if name.is_empty() || self.depth >= DEEPEST {
            return Err(Fault { message: "expected a function".to_owned(), at: start });
        }
        self.depth += 1;
        let body = self.command();
        self.depth -= 1;
        Ok(Kind::Function { name, body: Rc::new(body?) })
    }
}
