//! What commands read: here-documents, pipes from `echo`, and files, which are not there.

use std::borrow::Cow;

use super::{Script, Status};
use crate::diagnostic::Diagnostic;
use crate::recognize::{Program, Tool, program};
use crate::replay::{Field, Options, RestoreLine, UNKNOWN, doubted, restore};
use crate::shell::{Command, Kind, RedirectTo, ShellWord, Stream};
use crate::span::Span;
use crate::words::clip;

/// What a command reads.
enum Input<'a> {
    /// These lines.
    Lines(Vec<RestoreLine<'a>>),
    /// A file, or what a program prints.
    Unknown(Span),
    /// Nothing that the text tells of.
    None,
}

impl<'a> Script<'_, 'a> {
    /// What the redirections of a command make it read.
    fn input_of(&mut self, command: &Command<'a>) -> Input<'a> {
        let mut input = Input::None;
        for redirect in command.redirects.iter().filter(|one| one.from == Stream::Input) {
            input = match &redirect.to {
                RedirectTo::Here(document) => Input::Lines(self.document(*document)),
                RedirectTo::HereString(word) => {
                    let text = self.marked(word);
                    Input::Lines(self.lines_of(&text, word.span))
                }
                RedirectTo::File(word) => Input::Unknown(word.span),
                RedirectTo::Descriptor(_) => Input::Unknown(command.span),
            };
        }
        input
    }

    fn document(&mut self, document: usize) -> Vec<RestoreLine<'a>> {
        let parsed = self.parsed;
        let words = parsed.documents.get(document).map_or(&[][..], Vec::as_slice);
        words.iter().map(|word| self.here_line(word)).collect()
    }

    fn here_line(&mut self, word: &ShellWord<'a>) -> RestoreLine<'a> {
        let line = self.lines.line(word.span.start);
        let text = match word.literal() {
            Some(text) => text,
            None => Cow::Owned(self.marked(word)),
        };
        RestoreLine { text, span: word.span, line }
    }

    fn lines_of(&self, text: &str, span: Span) -> Vec<RestoreLine<'a>> {
        let line = self.lines.line(span.start);
        // The lines of a quoted text stand one below the other.
        let written = span.slice(self.text).lines().count();
        let place = |index: u32| {
            if written > 1 { line + index } else { line }
        };
        (0..)
            .zip(text.lines())
            .map(|(index, text)| {
                let text = Cow::Owned(text.trim_end_matches('\r').to_owned());
                RestoreLine { text, span, line: place(index) }
            })
            .collect()
    }

    /// Carries out iptables-restore with what its redirections give it.
    pub(super) fn restore(
        &mut self,
        command: &Command<'a>,
        program: Program,
        arguments: &[Field<'a>],
    ) -> Status {
        let input = self.input_of(command);
        self.restore_from(command, program, arguments, &input)
    }

    fn restore_from(
        &mut self,
        command: &Command<'a>,
        program: Program,
        arguments: &[Field<'a>],
        input: &Input<'a>,
    ) -> Status {
        let mut options = Options::default();
        let mut file = None;
        let mut words = arguments.iter();
        while let Some(field) = words.next() {
            match field.word.text.as_ref() {
                "-n" | "--noflush" => options.keeps = true,
                "-c" | "--counters" => options.counters = true,
                "-nc" | "-cn" => {
                    options.keeps = true;
                    options.counters = true;
                }
                // Only a test.
                "-t" | "--test" => return Status::Yes,
                "-T" | "--table" => {
                    let name = words.next().map(|field| field.word.text.as_ref());
                    options.only = name.and_then(crate::recognize::table);
                }
                "-w" | "--wait" | "-W" | "-M" | "--modprobe" => {}
                text if text.starts_with('-') => {}
                text if text.bytes().all(|byte| byte.is_ascii_digit()) => {}
                _ => file = Some(field.word.span),
            }
        }
        let lines = match (input, &file) {
            (Input::Lines(lines), None) => lines,
            (Input::Unknown(place), None) | (_, Some(place)) => {
                let message = format!("`{}` is not read", clip(place.slice(self.text)));
                self.diagnostics.push(
                    Diagnostic::error("unread-file", message, *place)
                        .help("give its rules before the script: `--rules RULES --rules SCRIPT`"),
                );
                return Status::Unknown;
            }
            (Input::None, None) => {
                let message = "what is restored can't be known";
                self.diagnostics.push(Diagnostic::error("unread-file", message, command.span));
                return Status::Unknown;
            }
        };
        if let Some(doubt) = self.doubts.last() {
            self.diagnostics.push(doubted(doubt, command.span));
            return Status::Unknown;
        }
        let (family, backend) = self.kernel(program);
        let set = self.replay.set(family, backend);
        let mut found = Vec::new();
        let outcome = restore(set, lines, &options, &mut found);
        self.outcome(outcome, found)
    }

    /// Carries out a pipe into iptables-restore or into a loop; `None` where it is neither.
    pub(super) fn piped(&mut self, front: &[Command<'a>], last: &Command<'a>) -> Option<Status> {
        let (tool, arguments) = match &last.kind {
            Kind::Simple { assignments, words } if assignments.is_empty() => {
                let mut fields = Vec::new();
                for word in words {
                    self.expand(word, &mut fields);
                }
                let skipped = fields.iter().take_while(|field| {
                    field.word.text == "sudo" || field.word.text.starts_with('-')
                });
                let at = skipped.count();
                let tool = program(&fields.get(at)?.word.text)?;
                (tool.tool == Tool::Restore).then_some(())?;
                (Some(tool), fields.split_off(at + 1))
            }
            Kind::While { .. } => (None, Vec::new()),
            _ => return None,
        };
        let input = match front {
            [one] => self.printed(one),
            _ => Input::Unknown(front.first().map_or(last.span, |one| one.span)),
        };
        if let Some(tool) = tool {
            return Some(self.restore_from(last, tool, &arguments, &input));
        }
        let Input::Lines(lines) = input else { return None };
        self.feed.push(lines.into_iter().rev().map(|line| line.text.into_owned()).collect());
        let status = self.command(last);
        self.feed.pop();
        Some(status)
    }

    /// What `echo`, `printf` and `cat` of a here-document print.
    fn printed(&mut self, command: &Command<'a>) -> Input<'a> {
        let unknown = Input::Unknown(command.span);
        match &command.kind {
            Kind::Group(list) => {
                let mut lines = Vec::new();
                for chain in list {
                    let [command] = chain.first.commands.as_slice() else { return unknown };
                    match self.printed(command) {
                        Input::Lines(more) if chain.rest.is_empty() => lines.extend(more),
                        _ => return unknown,
                    }
                }
                Input::Lines(lines)
            }
            Kind::Simple { words, .. } => {
                let name = words.first().and_then(ShellWord::literal).unwrap_or_default();
                let texts = words.iter().skip(1).map(|word| self.marked(word));
                let texts: Vec<String> = texts.collect();
                let place = words.get(1).map_or(command.span, |word| word.span);
                let place = if words.len() > 2 { command.span } else { place };
                match name.as_ref() {
                    "cat" if texts.is_empty() || texts == ["-"] => match self.input_of(command) {
                        Input::None => unknown,
                        input => input,
                    },
                    "echo" => {
                        let escapes = texts.first().is_some_and(|first| first == "-e");
                        let skipped =
                            texts.iter().take_while(|text| matches!(text.as_str(), "-e" | "-n"));
                        let text = texts.get(skipped.count()..).unwrap_or_default().join(" ");
                        let text = if escapes { unescaped(&text) } else { text };
                        Input::Lines(self.lines_of(&text, place))
                    }
                    "printf" => match texts.split_first() {
                        Some((format, arguments)) => {
                            let text = formatted(format, arguments);
                            text.map_or(unknown, |text| Input::Lines(self.lines_of(&text, place)))
                        }
                        None => unknown,
                    },
                    _ => unknown,
                }
            }
            _ => unknown,
        }
    }

    /// Gives a loop the lines that its redirection reads; false where they are not known.
    pub(super) fn feed_from(&mut self, command: &Command<'a>) -> Option<bool> {
        match self.input_of(command) {
            Input::None => None,
            Input::Unknown(_) => Some(false),
            Input::Lines(lines) => {
                self.feed
                    .push(lines.into_iter().rev().map(|line| line.text.into_owned()).collect());
                Some(true)
            }
        }
    }
}

/// A text with its escapes carried out.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('\\') => out.push('\\'),
            Some('"') => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// What `printf` prints: its format as often as there are arguments.
fn formatted(format: &str, arguments: &[String]) -> Option<String> {
    let format = unescaped(format);
    let mut out = String::new();
    let mut rest = arguments.iter();
    let mut marks = 0;
    loop {
        let left = rest.len();
        let mut chars = format.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                out.push(char);
                continue;
            }
            match chars.next()? {
                '%' => out.push('%'),
                's' | 'd' | 'i' => {
                    marks += 1;
                    out.push_str(rest.next().map_or("", String::as_str));
                }
                'b' => out.push_str(&unescaped(rest.next().map_or("", String::as_str))),
                // Widths and the like change the text.
                _ => return None,
            }
        }
        if rest.len() == 0 || rest.len() == left && marks == 0 {
            return Some(out);
        }
        if out.len() > 1 << 20 || out.contains(UNKNOWN) && out.len() > 1 << 16 {
            return None;
        }
    }
}
