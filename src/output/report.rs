//! What `check` and `audit` found, in the forms that other programs take.
//!
//! Each renderer takes the same [`Item`]s: it knows nothing of policies or lints.

pub(crate) mod files;
pub(crate) mod github;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod sarif;

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, Write};

use nattrace_parser::Lines;
use nattrace_parser::span::Span;

use super::diagnostic::print_note;
use crate::args::Format;

/// Where the pages of all codes can be read.
const PAGES: &str = "https://github.com/nattrace/nattrace/blob/main/docs/codes";

/// How many bytes GitHub takes as the summary of a step; of more it takes nothing.
const SUMMARY_LIMIT: usize = 1024 * 1024;

/// What was looked for, and what was found.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// The command: `check` or `audit`.
    pub(crate) command: &'static str,
    /// The policy's file or the snapshot, for headings.
    pub(crate) subject: &'a str,
    /// How many there are of each kind, in words.
    pub(crate) summary: String,
    /// One entry for each thing that was looked for.
    pub(crate) items: Vec<Item>,
    /// From where on the command ends with a status that tells of it; nothing does where there is
    /// none.
    pub(crate) fails_from: Option<Level>,
}

/// One thing that was looked for.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The code of its page.
    pub(crate) code: &'static str,
    /// Its name.
    pub(crate) title: String,
    /// What was found.
    pub(crate) level: Level,
    /// What was found, in one line.
    pub(crate) message: String,
    /// Where it stands.
    pub(crate) place: Option<Place>,
    /// The rule that decided.
    pub(crate) decided_at: Option<Place>,
    /// Everything that there is to say, as plain text.
    pub(crate) page: String,
    /// Why it does not count, where it is put up with.
    pub(crate) excuse: Option<String>,
    /// What stays the same from run to run.
    pub(crate) fingerprint: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing is wrong.
    Pass,
    /// Worth knowing.
    Info,
    /// Something that is not known decides; something is likely a mistake.
    Warning,
    /// It is wrong.
    Error,
}

/// A place in a file, counted from 1; the last column is behind the last character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) file: String,
    /// The first line.
    pub(crate) line: usize,
    /// The first column.
    pub(crate) column: usize,
    /// The column behind the last one.
    pub(crate) end_column: usize,
}

impl Place {
    /// The place of a span that is within one line.
    pub(crate) fn of(file: &str, text: &str, span: Span) -> Self {
        let line = Lines::new(text).line(span.start) as usize;
        let before = text.get(..span.range().start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        let length = span.slice(text).lines().next().unwrap_or("").chars().count();
        Self { file: files::relative(file), line, column, end_column: column + length.max(1) }
    }

    /// A line of a file.
    pub(crate) fn line(file: String, line: usize) -> Self {
        Self { file, line, column: 1, end_column: 2 }
    }
}

impl Item {
    /// Whether it is about an entry of a policy, not a lint.
    fn is_check(&self) -> bool {
        self.code.starts_with("policy-")
    }
}

impl Report<'_> {
    /// Those that are wrong or not known, and are not put up with.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.level != Level::Pass && item.excuse.is_none())
    }
}

/// Writes a report in one of the formats for other programs. Annotations of GitHub Actions come with
/// the summary of the step, where this is one.
pub(crate) fn write(out: &mut impl Write, report: &Report<'_>, format: Format) -> io::Result<()> {
    let text = match format {
        Format::Sarif => sarif::render(report)?,
        Format::Junit => junit::render(report).map_err(io::Error::other)?,
        Format::Github => {
            summarize(&markdown::render(report));
            github::render(report)
        }
        _ => markdown::render(report),
    };
    out.write_all(text.as_bytes())
}

/// Adds to the summary of a step of GitHub Actions, where this is one.
fn summarize(page: &str) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| {
        let there = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let room = SUMMARY_LIMIT.saturating_sub(there);
        file.write_all(fitted(page, room).as_bytes())
    });
    if let Err(error) = written {
        print_note(format_args!("can't write the step summary: {error}"));
    }
}

/// As much of a page as there is room for: whole sections, and whole rows of its table.
fn fitted(page: &str, room: usize) -> Cow<'_, str> {
    const CUT: &str = "\n\nThere is more than GitHub shows here: the log of the step has all.\n";
    if page.len() <= room {
        return Cow::Borrowed(page);
    }
    let mut end = room.saturating_sub(CUT.len());
    while !page.is_char_boundary(end) {
        end -= 1;
    }
    let kept = page.get(..end).unwrap_or("");
    let at = kept.rfind("\n### ").or_else(|| kept.rfind('\n')).unwrap_or(0);
    let kept = kept.get(..at).unwrap_or("").trim_end();
    if CUT.len() > room { Cow::Borrowed("") } else { Cow::Owned(format!("{kept}{CUT}")) }
}

/// The address of a code's page.
pub(crate) fn page_address(code: &str) -> String {
    format!("{PAGES}/{code}.md")
}

/// Text without the characters that XML and terminals can't have, or take for their own.
pub(crate) fn plain(text: &str) -> String {
    let kept = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    anstream::adapter::strip_str(text).to_string().chars().filter(kept).collect()
}

/// A report that shows every case, for the tests of the renderers.
#[cfg(test)]
fn sample() -> Report<'static> {
    let item = |code, title: &str, level, message: &str| Item {
        code,
        title: title.to_owned(),
        level,
        message: message.to_owned(),
        place: Some(Place { file: "nattrace.toml".into(), line: 3, column: 1, end_column: 11 }),
        decided_at: Some(Place::line("iptables-save".into(), 14)),
        page: format!("{title}\n  <page> & \"more\" %\n"),
        excuse: None,
        fingerprint: format!("check/{title}"),
    };
    let mut known = item("policy-deny", "known | bad", Level::Error, "lands at 10.0.0.1:80");
    known.excuse = Some("accepted: until we move".to_owned());
    known.place = None;
    Report {
        command: "check",
        subject: "nattrace.toml",
        summary: "1 hold, 1 fail, 1 unknown".to_owned(),
        items: vec![
            item("policy-egress", "a wears .205", Level::Error, "leaves eth0 as 1.2.3.4, 100%"),
            item("policy-allow", "b < c", Level::Warning, "it depends on whether x matches"),
            item("policy-isolate", "fine", Level::Pass, ""),
            known,
        ],
        fails_from: Some(Level::Warning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_cut_between_sections() {
        let page = "## head\n\n| a |\n\n### one\n\ntext\n\n### two\n\nmore of it\n".to_owned();
        assert_eq!(fitted(&page, 1000), page);
        let page = format!("{page}{}", "x".repeat(200));
        let cut = fitted(&page, 130);
        assert!(cut.starts_with("## head") && cut.len() <= 130, "{cut}");
        assert!(cut.contains("### one") && !cut.contains("### two"), "{cut}");
        assert_eq!(fitted(&page, 10), "");
    }
}
