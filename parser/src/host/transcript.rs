//! What a terminal showed: each prompt tells by its command which part of a snapshot stands below.

mod command;

use std::collections::HashSet;
use std::ops::Range;

use self::command::{Printed, Table, printed};
use super::Read;
use crate::diagnostic::Diagnostic;
use crate::shell::{Lead, prompt};
use crate::span::Span;
use crate::words::clip;

/// A part of a snapshot, put together from what commands printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptPart {
    /// Its name, as [`part_name`](super::snapshot::part_name) knows it.
    pub name: &'static str,
    /// The transcript with every other line empty, so that places in it are places in the
    /// transcript's lines.
    pub text: String,
}

/// Reads a transcript: prompts such as `root@host:~#` and `$`, commands such as `iptables-save`
/// and `ip addr`, and what they printed.
///
/// `None` where no prompt runs a command that prints a part of a snapshot. What stands behind
/// other commands is left out, with a note each. A command that prints a part not whole, such as
/// `ip addr show eth0`, is left out with a warning: what is missing in a part would be taken not
/// to be there. Prompts of two hosts are an error, and so is a part that was printed twice.
#[must_use]
pub fn read(text: &str) -> Option<Read<Vec<TranscriptPart>>> {
    let sections = sections(text);
    if !sections.iter().any(|section| matches!(section.printed, Printed::Part { .. })) {
        return None;
    }
    let mut diagnostics = Vec::new();
    let mut parts: Vec<(&'static str, Vec<Range<usize>>)> = Vec::new();
    let mut seen: HashSet<(&str, Table)> = HashSet::new();
    let mut host: Option<&str> = None;
    let saved: HashSet<&str> = sections.iter().filter_map(Section::saved).collect();
    for section in &sections {
        let (name, table) = match section.printed {
            Printed::Part { name, table } => (name, table),
            Printed::Some { why } => {
                diagnostics.push(section.partial(why));
                continue;
            }
            Printed::Other => {
                diagnostics.extend(section.left_out());
                continue;
            }
        };
        if table.is_listed() && saved.contains(name) {
            // The same rules once more, in another form.
            diagnostics.extend(section.left_out());
            continue;
        }
        if let Some(named) = section.host {
            let first = *host.get_or_insert(named);
            if first != named {
                diagnostics.push(section.of_another_host(first, named));
            }
        }
        if !seen.insert((name, table)) && table != Table::Repeatable {
            let message = format!("`{}` is there twice", clip(section.command));
            diagnostics.push(
                Diagnostic::error("duplicate-part", message, section.span)
                    .help("keep what the host shows now"),
            );
            continue;
        }
        match parts.iter_mut().find(|(part, _)| *part == name) {
            Some((_, lines)) => lines.push(section.lines.clone()),
            None => parts.push((name, vec![section.lines.clone()])),
        }
    }
    let part = |(name, kept): (_, Vec<_>)| TranscriptPart { name, text: only(text, &kept) };
    Some((parts.into_iter().map(part).collect(), diagnostics))
}

/// Whether a text is a transcript: whether a prompt in it runs a command that prints a part of a
/// snapshot.
#[must_use]
pub fn is_transcript(text: &str) -> bool {
    text.lines().any(|line| {
        let section = section(line.trim_end(), Span::default(), 0);
        section.is_some_and(|section| matches!(section.printed, Printed::Part { .. }))
    })
}

/// The lines of the ranges, which follow one another; the others are empty.
fn only(text: &str, kept: &[Range<usize>]) -> String {
    let mut kept = kept.iter().peekable();
    let mut all = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        while kept.next_if(|range| range.end <= number).is_some() {}
        if kept.peek().is_some_and(|range| range.contains(&number)) {
            all.push_str(line);
        } else if line.ends_with('\n') {
            all.push('\n');
        }
    }
    all
}

/// What stands between one prompt and the next.
struct Section<'a> {
    /// The host in the prompt.
    host: Option<&'a str>,
    /// The command.
    command: &'a str,
    /// What it prints.
    printed: Printed,
    /// The line of the prompt.
    span: Span,
    /// The numbers of the lines below, from 0, and of the prompt's own where it says which table
    /// a listing is of.
    lines: Range<usize>,
    /// Whether something stands below the prompt.
    filled: bool,
}

impl Section<'_> {
    /// The part, where the section holds rules as iptables-save prints them.
    fn saved(&self) -> Option<&'static str> {
        match self.printed {
            Printed::Part { name, table } if table.is_saved() => Some(name),
            _ => None,
        }
    }

    fn left_out(&self) -> Option<Diagnostic> {
        let message = format!("`{}` and what it printed are left out", clip(self.command));
        self.filled.then(|| Diagnostic::note("ignored-text", message, self.span))
    }

    fn partial(&self, why: &str) -> Diagnostic {
        let message = format!("`{}` is left out: {why}", clip(self.command));
        Diagnostic::warning("partial-listing", message, self.span)
            .help("what is missing in a part of a snapshot is taken not to be there")
    }

    fn of_another_host(&self, first: &str, named: &str) -> Diagnostic {
        let message = format!("prompts of two hosts: `{}` and `{}`", clip(first), clip(named));
        Diagnostic::error("several-hosts", message, self.span)
            .help("give what each of them printed as a file of its own")
    }
}

/// The sections of a transcript, in their order.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let (mut open, mut start) = (false, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let content = line.trim_end();
        let place = Span::new(start, start + content.len());
        start += line.len();
        if content.starts_with("```") {
            open = false;
        } else if let Some(section) = section(content, place, number) {
            sections.push(section);
            open = true;
        } else if let Some(last) = sections.last_mut().filter(|_| open) {
            last.lines.end = number + 1;
            last.filled |= !content.is_empty();
        }
    }
    sections
}

/// The section that a line begins, if it is a prompt.
fn section(line: &str, span: Span, number: usize) -> Option<Section<'_>> {
    // At the last prompt of a paste nothing was typed, and its blank is lost.
    let sure = match prompt(line, Lead::Script) {
        0 if prompt(&format!("{line} "), Lead::Script) == line.len() + 1 => line.len(),
        length => length,
    };
    // Behind `# ` stands a comment, unless it is a command that is known.
    let bare = line.strip_prefix("# ").filter(|_| sure == 0);
    let command = bare.or_else(|| line.get(sure..).filter(|_| sure > 0))?.trim();
    let printed = printed(command);
    if bare.is_some() && printed == Printed::Other {
        return None;
    }
    let names_table = matches!(printed, Printed::Part { table, .. } if table.is_listed());
    let lines = number + usize::from(!names_table)..number + 1;
    let host = host(line.get(..sure).unwrap_or_default());
    Some(Section { host, command, printed, span, lines, filled: false })
}

/// `vpn` of `root@vpn:~# ` and of `[root@vpn ~]# `.
fn host(prompt: &str) -> Option<&str> {
    let (_, behind) = prompt.split_once('@')?;
    behind.split([':', ' ', ']', '#', '$', '%', '~']).next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests;
