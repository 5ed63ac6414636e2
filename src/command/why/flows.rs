//! `nattrace why --flows`: one question a line, one answer a line, in order.

mod line;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use nattrace_model::System;
use nattrace_model::answer::Outcome;
use rayon::prelude::*;

use crate::args::{Format, Global};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, system};
use crate::output::concise;
use crate::output::context::Context;
use crate::output::json::{self, Fragments, Layout};
use crate::output::screen::Screen;

pub(crate) use line::read as read_line;

/// How much is read at once. A pipe gives less at a time, and is answered as it comes.
const CHUNK: usize = 1 << 16;

/// A line longer than this is no question.
const LONGEST_LINE: usize = 1 << 20;

/// How many lines one task answers.
const LINES_PER_TASK: usize = 16;

/// Answers every line of a file.
pub(super) fn run(global: &Global, path: &Path, format: Option<Format>) -> Result<Status> {
    if format == Some(Format::Pretty) {
        return Err(Failure::input(
            "`--flows` prints one line for each answer, and pretty has many",
        )
        .help("choose `--format jsonl` or `--format concise`"));
    }
    let is_stdin = path == Path::new("-");
    if is_stdin && global.rules.iter().chain(&global.snapshot).any(|other| other == path) {
        return Err(Failure::input("standard input can be read only once")
            .help("give the rules or the snapshot as a file"));
    }
    let reader: Box<dyn Read> = if is_stdin {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| input::unreadable(path, &error))?)
    };
    let system = system::load(global)?;
    let style = if format == Some(Format::Concise) { Style::Concise } else { Style::Json };
    let mut tally = Tally::default();
    let mut screen = Screen::stdout();
    let fragments = Fragments::new(&system);
    let context = Context::new(&system).keeping(Some(&fragments));
    let questioner = Questioner { global, flows: path, system: &system, context, style };
    questioner.answer_all(reader, screen.raw(), &mut tally)?;
    screen.finish()?;
    Ok(tally.status())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Json,
    Concise,
}

/// What the answers so far were.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    unreadable: bool,
    failed: bool,
    undetermined: bool,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Connects => {}
            Outcome::Undetermined => self.undetermined = true,
            Outcome::Refused | Outcome::Unreachable | Outcome::Timeout => self.failed = true,
        }
    }

    fn add(&mut self, other: Self) {
        self.unreadable |= other.unreadable;
        self.failed |= other.failed;
        self.undetermined |= other.undetermined;
    }

    /// The worst of all lines.
    fn status(self) -> Status {
        match self {
            Self { unreadable: true, .. } => Status::Input,
            Self { failed: true, .. } => Status::Fails,
            Self { undetermined: true, .. } => Status::Undetermined,
            _ => Status::Holds,
        }
    }
}

/// The answers of one task; its memory is used again and again.
#[derive(Debug, Default)]
struct Page {
    text: Vec<u8>,
    tally: Tally,
}

/// Answers lines, many at a time.
struct Questioner<'a> {
    global: &'a Global,
    /// The file of the questions.
    flows: &'a Path,
    system: &'a System,
    context: Context<'a>,
    style: Style,
}

impl Questioner<'_> {
    fn answer_all(
        &self,
        mut reader: impl Read,
        out: &mut impl Write,
        tally: &mut Tally,
    ) -> Result<()> {
        let cause = |error| input::unreadable(self.flows, &error);
        let mut buffer = Vec::with_capacity(2 * CHUNK);
        let mut chunk = vec![0; CHUNK];
        let mut pages = Vec::new();
        // The rest of a line that is too long is skipped up to its end.
        let mut skipping = false;
        loop {
            let size = match reader.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(cause)?,
            };
            let mut fresh = chunk.get(..size).unwrap_or(&[]);
            if skipping {
                let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
                    if size == 0 {
                        break;
                    }
                    continue;
                };
                fresh = fresh.get(end + 1..).unwrap_or(&[]);
                skipping = false;
            }
            buffer.extend_from_slice(fresh);
            let complete = match size {
                0 => buffer.len(),
                _ => {
                    buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
                }
            };
            self.answer_lines(buffer.get(..complete).unwrap_or(&[]), &mut pages, out, tally)?;
            buffer.drain(..complete);
            if size == 0 {
                break;
            }
            if buffer.len() > LONGEST_LINE {
                let mut answer = Vec::new();
                self.refuse(&mut answer, "the line is longer than 1 MiB", tally)?;
                out.write_all(&answer)?;
                buffer.clear();
                skipping = true;
            }
        }
        Ok(())
    }

    /// Answers whole lines side by side, and writes the answers in order.
    fn answer_lines(
        &self,
        text: &[u8],
        pages: &mut Vec<Page>,
        out: &mut impl Write,
        tally: &mut Tally,
    ) -> Result<()> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.is_empty() {
            return Ok(());
        }
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let tasks = lines.len().div_ceil(LINES_PER_TASK);
        if pages.len() < tasks {
            pages.resize_with(tasks, Page::default);
        }
        let (pages, _) = pages.split_at_mut(tasks);
        lines.par_chunks(LINES_PER_TASK).zip(pages.par_iter_mut()).try_for_each(
            |(lines, page)| {
                page.text.clear();
                page.tally = Tally::default();
                lines
                    .iter()
                    .try_for_each(|line| self.answer_line(line, &mut page.text, &mut page.tally))
            },
        )?;
        for page in pages {
            out.write_all(&page.text)?;
            tally.add(page.tally);
        }
        out.flush()?;
        Ok(())
    }

    fn answer_line(&self, line: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> io::Result<()> {
        let request = match line::read(line, self.global.family()) {
            Ok(request) => request,
            Err(message) => return self.refuse(out, &message, tally),
        };
        match super::answer(self.system, &request) {
            Ok((system, answer)) => {
                tally.count(answer.outcome);
                let own;
                let context = match &system {
                    Cow::Borrowed(_) => &self.context,
                    Cow::Owned(system) => {
                        own = Context::new(system);
                        &own
                    }
                };
                match self.style {
                    Style::Json => json::write_answer(out, context, &answer, Layout::Line),
                    Style::Concise => writeln!(out, "{}", concise::line(context, &answer)),
                }
            }
            Err(Failure::Question { diagnostic, .. }) => match diagnostic.help {
                Some(help) => self.refuse(out, &format!("{}: {help}", diagnostic.message), tally),
                None => self.refuse(out, &diagnostic.message, tally),
            },
            Err(failure) => self.refuse(out, &failure.to_string(), tally),
        }
    }

    /// A line that can't be read gets an answer too.
    fn refuse(&self, out: &mut Vec<u8>, message: &str, tally: &mut Tally) -> io::Result<()> {
        tally.unreadable = true;
        match self.style {
            Style::Json => {
                out.write_all(b"{\"error\":")?;
                serde_json::to_writer(&mut *out, message)?;
                out.write_all(b"}\n")
            }
            Style::Concise => writeln!(out, "error: {message}"),
        }
    }
}
