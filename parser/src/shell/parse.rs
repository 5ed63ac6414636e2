//! Commands of a shell.

mod compound;
mod simple;

use super::word::{Open, Until, ends_word, name_length, read_word};
use super::{Chain, Command, Joint, Kind, List, Parsed, Piece, Pipeline, Quoting, ShellWord};
use crate::diagnostic::Diagnostic;
use crate::recognize::is_rules_program;
use crate::span::Span;
use crate::words::clip;

/// What a `#` before a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// A comment.
    Script,
    /// The prompt of root.
    Paste,
}

/// How deep commands may be nested.
const DEEPEST: usize = 40;

/// Reads a text as far as it is shell. What is prose is said to be so; what is neither is an error.
pub(crate) fn parse(text: &str, lead: Lead) -> Parsed<'_> {
    let mut parser = Parser {
        text,
        at: 0,
        lead,
        depth: 0,
        waiting: Vec::new(),
        parsed: Parsed::default(),
        torn: false,
        prose: false,
    };
    while parser.next_command() {}
    parser.parsed
}

/// How many bytes of a line are a prompt: `user@host:~$ `, `[root@host ~]# `, `$ `.
pub(crate) fn prompt(line: &str, lead: Lead) -> usize {
    let bare = match lead {
        Lead::Paste => ["$ ", "# ", "% ", "> "].as_slice(),
        Lead::Script => ["$ ", "% "].as_slice(),
    };
    if bare.iter().any(|sign| line.starts_with(sign)) {
        return 2;
    }
    let Some(end) = ["$ ", "# ", "% "].iter().filter_map(|sign| line.find(sign)).min() else {
        return 0;
    };
    let front = line.get(..end).unwrap_or_default();
    let names_host = front.contains('@') && !front.contains(['"', '\'', '=', ';', '(']);
    let words = front.split_whitespace().count();
    if names_host && (words == 1 || words == 2 && front.starts_with('[')) { end + 2 } else { 0 }
}

/// Why a command can't be read.
#[derive(Debug)]
struct Fault {
    message: String,
    at: usize,
}

impl From<Open> for Fault {
    fn from(open: Open) -> Self {
        Self { message: format!("`{}` is not closed", open.what), at: open.at }
    }
}

type Parse<T> = Result<T, Fault>;

/// A here-document whose lines are still to come.
struct Waiting {
    document: usize,
    delimiter: String,
    quoted: bool,
    /// Whether tabs before its lines are left out.
    strips: bool,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    lead: Lead,
    depth: usize,
    waiting: Vec<Waiting>,
    parsed: Parsed<'a>,
    /// Whether a command before was not read, so that the words that close it are left over.
    torn: bool,
    /// Whether the last line was prose.
    prose: bool,
}

impl<'a> Parser<'a> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn line_end(&self, from: usize) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        memchr::memchr(b'\n', rest).map_or(self.text.len(), |length| from + length)
    }

    /// Skips blanks, joined lines and comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.byte(0) {
                Some(b' ' | b'\t' | b'\r' | 0x0b | 0x0c) => self.at += 1,
                Some(b'\\') if self.byte(1) == Some(b'\n') => self.at += 2,
                Some(b'\\') if self.byte(1) == Some(b'\r') && self.byte(2) == Some(b'\n') => {
                    self.at += 3;
                }
                Some(b'#') => {
                    let end = self.line_end(self.at);
                    let comment = self.text.get(self.at..end).unwrap_or_default();
                    if is_disabled(comment) {
                        self.parsed
                            .disabled
                            .push(Span::new(self.at, self.at + comment.trim_end().len()));
                    }
                    self.at = end;
                }
                Some(0xa0 | 0xc2) if self.rest().starts_with('\u{a0}') => self.at += 2,
                _ => return,
            }
        }
    }

    /// Skips what is between two commands: blanks, ends of lines, and `;`.
    fn skip_lines(&mut self) {
        loop {
            self.skip_blanks();
            match self.byte(0) {
                Some(b'\n') => self.newline(),
                Some(b';') if self.byte(1) != Some(b';') => self.at += 1,
                _ => return,
            }
        }
    }

    /// Takes the end of a line, and the here-documents behind it.
    fn newline(&mut self) {
        self.at += 1;
        for waiting in std::mem::take(&mut self.waiting) {
            self.document(&waiting);
        }
    }

    /// Reads the next command of the text; false at its end.
    fn next_command(&mut self) -> bool {
        self.skip_lines_and_prompts();
        if self.at >= self.text.len() {
            for waiting in std::mem::take(&mut self.waiting) {
                self.document(&waiting);
            }
            return false;
        }
        let start = self.at;
        let line_end = self.line_end(start);
        let line = self.text.get(start..line_end).unwrap_or_default().trim_end();
        let found = self.chain().and_then(|chain| self.ended().map(|()| chain));
        match found {
            Ok(chain) if !self.runs_on(&chain) => {
                self.prose = false;
                self.parsed.commands.push(chain);
            }
            found => {
                self.waiting.clear();
                self.at = line_end;
                self.unread(line, start, found.err());
            }
        }
        true
    }

    /// Says what a line that is no command is.
    fn unread(&mut self, line: &str, start: usize, fault: Option<Fault>) {
        let first = line.split_whitespace().next().unwrap_or_default();
        let closing = ["fi", "done", "esac", "else", "elif", "then", "do", "}", ")", ";;"];
        let shell = line.split_whitespace().any(|word| {
            is_rules_program(word.trim_start_matches(['$', '{', '('])) || word.starts_with('$')
        }) || name_length(line) > 0
            && line.get(name_length(line)..).is_some_and(|rest| rest.starts_with('='));
        if self.torn && closing.iter().any(|word| first.trim_end_matches(';') == *word) {
            return;
        }
        let span = Span::new(start, start + line.len());
        if let (Some(fault), true) = (&fault, shell) {
            self.torn = true;
            let place = Span::new(fault.at, (fault.at + 1).min(self.text.len()));
            self.parsed.diagnostics.push(Diagnostic::error(
                "shell-syntax",
                fault.message.clone(),
                if span.range().contains(&fault.at) { place } else { span },
            ));
            return;
        }
        let keyword =
            ["if", "for", "while", "until", "case", "else", "fi", "done"].contains(&first);
        self.torn |= keyword;
        if !self.prose {
            let message = format!("`{}` is taken for prose", clip(line));
            self.parsed.diagnostics.push(Diagnostic::note("ignored-text", message, span));
        }
        self.prose = true;
    }

    /// Whether quotes of a line of prose (`don't`) took in the lines behind it.
    fn runs_on(&self, chain: &Chain<'a>) -> bool {
        let Some(Command { kind: Kind::Simple { assignments, words }, .. }) =
            chain.first.commands.first()
        else {
            return false;
        };
        let first = words.first().and_then(ShellWord::literal);
        let name = first.as_deref().and_then(|name| name.rsplit('/').next());
        let speaks = |name: &str| {
            is_rules_program(name)
                || ["echo", "printf", "sh", "bash", "sudo", "eval", "su", "ssh", "cat"]
                    .contains(&name)
        };
        if !assignments.is_empty() || name.is_none_or(speaks) {
            return false;
        }
        words.iter().flat_map(|word| &word.pieces).any(|piece| {
            matches!(piece, Piece::Text { text, quoting: Quoting::Quoted } if text.contains('\n'))
        })
    }

    fn skip_lines_and_prompts(&mut self) {
        loop {
            let line_start = self.at == 0
                || self.text.as_bytes().get(self.at - 1).is_some_and(|byte| *byte == b'\n');
            if line_start {
                let blanks = self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
                let line_end = self.line_end(self.at);
                let line = self.text.get(self.at + blanks..line_end).unwrap_or_default();
                let sign = prompt(line, self.lead);
                let behind = line.get(sign..).unwrap_or_default();
                // A `#` before prose stays a comment.
                if sign > 0 && (!line.starts_with("# ") || is_command(behind)) {
                    self.at += blanks + sign;
                }
            }
            self.skip_blanks();
            match self.byte(0) {
                Some(b'\n') => self.newline(),
                Some(b';') => self.at += 1,
                _ => return,
            }
        }
    }

    /// Takes what ends a command at the outermost level.
    fn ended(&mut self) -> Parse<()> {
        self.skip_blanks();
        match self.byte(0) {
            None | Some(b'\n') => Ok(()),
            Some(b';') if self.byte(1) != Some(b';') => {
                self.at += 1;
                Ok(())
            }
            Some(b'&') => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Fault {
        let rest = self.rest();
        let word = rest.split_whitespace().next().unwrap_or_default();
        let message = match word {
            "" => "the command is cut off".to_owned(),
            word => format!("expected a command of a shell, found `{}`", clip(word)),
        };
        Fault { message, at: self.at.min(self.text.len()) }
    }

    /// The reserved word that stands here, if it is one of these.
    fn keyword(&self, among: &[&'static str]) -> Option<&'static str> {
        let rest = self.rest();
        among.iter().copied().find(|word| {
            let behind = rest.strip_prefix(word);
            behind.is_some_and(|behind| behind.bytes().next().is_none_or(ends_word))
        })
    }

    fn expect(&mut self, word: &'static str) -> Parse<()> {
        self.skip_lines();
        if self.keyword(&[word]).is_none() {
            let fault = self.unexpected();
            let message = format!("expected `{word}`: {}", fault.message);
            return Err(Fault { message, ..fault });
        }
        self.at += word.len();
        Ok(())
    }

    /// Commands up to one of these words, which is not taken.
    fn list(&mut self, until: &[&'static str]) -> Parse<List<'a>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            self.depth -= 1;
            let message = "commands are nested too deep".to_owned();
            return Err(Fault { message, at: self.at });
        }
        let list = self.list_inside(until);
        self.depth -= 1;
        list
    }

    fn list_inside(&mut self, until: &[&'static str]) -> Parse<List<'a>> {
        let mut list = Vec::new();
        loop {
            self.skip_lines();
            if self.at >= self.text.len() {
                let wanted = until.first().copied().unwrap_or_default();
                let message = format!("expected `{wanted}`: the text ends");
                return Err(Fault { message, at: self.text.len() });
            }
            let closes = |end: &&str| match *end {
                ")" => self.byte(0) == Some(b')'),
                ";;" => self.rest().starts_with(";;"),
                word => starts_keyword(self.rest(), word),
            };
            if until.iter().any(closes) {
                return Ok(list);
            }
            list.push(self.chain()?);
            self.skip_blanks();
            match self.byte(0) {
                Some(b'&') => self.at += 1,
                Some(b'\n' | b';' | b')') | None => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    fn chain(&mut self) -> Parse<Chain<'a>> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let joint = match (self.byte(0), self.byte(1)) {
                (Some(b'&'), Some(b'&')) => Joint::And,
                (Some(b'|'), Some(b'|')) => Joint::Or,
                _ => return Ok(Chain { first, rest }),
            };
            self.at += 2;
            self.skip_newlines();
            rest.push((joint, self.pipeline()?));
        }
    }

    fn skip_newlines(&mut self) {
        self.skip_blanks();
        while self.byte(0) == Some(b'\n') {
            self.newline();
            self.skip_blanks();
        }
    }

    fn pipeline(&mut self) -> Parse<Pipeline<'a>> {
        self.skip_blanks();
        let mut negated = false;
        while self.keyword(&["!"]).is_some() {
            negated = !negated;
            self.at += 1;
            self.skip_blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.byte(0) != Some(b'|') || self.byte(1) == Some(b'|') {
                return Ok(Pipeline { negated, commands });
            }
            self.at += if self.byte(1) == Some(b'&') { 2 } else { 1 };
            self.skip_newlines();
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parse<Command<'a>> {
        self.skip_blanks();
        let start = self.at;
        let kind = match self.byte(0) {
            Some(b'(') if self.byte(1) == Some(b'(') => self.arithmetic()?,
            Some(b'(') => {
                self.at += 1;
                let list = self.list(&[")"])?;
                self.at += 1;
                Kind::Group(list)
            }
            _ => {
                match self.keyword(&["if", "for", "while", "until", "case", "{", "function", "[["])
                {
                    Some("if") => self.conditional()?,
                    Some("for") => self.loop_over()?,
                    Some("while") => self.loop_while(false)?,
                    Some("until") => self.loop_while(true)?,
                    Some("case") => self.case()?,
                    Some("{") => {
                        self.at += 1;
                        let list = self.list(&["}"])?;
                        self.at += 1;
                        Kind::Group(list)
                    }
                    Some("function") => {
                        self.at += "function".len();
                        self.skip_blanks();
                        self.function()?
                    }
                    Some("[[") => self.test()?,
                    _ => return self.simple(),
                }
            }
        };
        let mut redirects = Vec::new();
        let end = self.at;
        while self.redirect(&mut redirects)? {}
        Ok(Command { kind, redirects, span: Span::new(start, end) })
    }

    fn word(&mut self) -> Parse<ShellWord<'a>> {
        let start = self.at;
        let (word, end) =
            read_word(self.text, start, self.text.len(), Until::Blank, Quoting::Bare)?;
        if end == start {
            return Err(self.unexpected());
        }
        self.at = end;
        Ok(word)
    }
}

fn starts_keyword(rest: &str, word: &str) -> bool {
    rest.strip_prefix(word).is_some_and(|behind| behind.bytes().next().is_none_or(ends_word))
}

/// Whether a line behind a `#` is a command rather than prose.
fn is_command(line: &str) -> bool {
    let mut words = line.split_whitespace().filter(|word| *word != "sudo");
    let first = words.next().unwrap_or_default();
    is_rules_program(first)
        && words.next().is_none_or(|next| next.starts_with('-') || next.starts_with('<'))
        || matches!(first, "echo" | "sysctl" | "modprobe" | "systemctl" | "service" | "ip")
}

/// Whether a comment holds a command of iptables.
fn is_disabled(comment: &str) -> bool {
    let text = comment.trim_start_matches(['#', ' ', '\t']);
    let mut words = text.split_whitespace().filter(|word| *word != "sudo");
    let program = words.next().unwrap_or_default();
    let program = program.trim_start_matches(['$', '{']).trim_end_matches('}');
    let rules = is_rules_program(program) || program.to_ascii_uppercase().starts_with("IPT");
    rules && words.next().is_some_and(|next| next.starts_with('-') && next.len() > 1)
}
