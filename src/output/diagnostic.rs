//! Messages on standard error: one line where there is no place to show, else with the place
//! underlined.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};
use nattrace_parser::{Diagnostic, Severity};

use super::screen;
use crate::exit::Failure;

/// How many messages are shown; a text that is no rules at all has one for each line.
const SHOWN: usize = 50;

/// How many that say the same are shown in full; of the others only the places are.
const ALIKE: usize = 5;

/// How many places of those are named.
const PLACES: usize = 100;

/// A line longer than this is shown only around the place.
const LONG_LINE: usize = 400;

/// How much of a long line is shown on either side of the place.
const AROUND: usize = 80;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const BOLD: Style = Style::new().bold();

/// A text that messages point into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The name of the part or file.
    pub(crate) name: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
}

/// Prints why there is no answer. Nothing can be done where standard error is closed.
pub(crate) fn print_failure(failure: &Failure) {
    let (message, help) = match failure {
        Failure::Input { message, help } | Failure::Ended { message, help, .. } => {
            (message.clone(), help.as_ref())
        }
        Failure::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            (failure.to_string(), None)
        }
        Failure::Question { name, text, diagnostic } => {
            // It was an error before, so there is nothing to learn from its being one.
            drop(print_diagnostics([(Source { name, text }, &**diagnostic)]));
            return;
        }
        Failure::Fault(fault) => {
            let line = format!("fault: nattrace {}: {fault}", env!("CARGO_PKG_VERSION"));
            drop(writeln!(
                anstream::stderr().lock(),
                "{line}; please report it with the command that you ran"
            ));
            return;
        }
        Failure::Output(_) | Failure::Diagnosed => return,
    };
    let mut stderr = anstream::stderr().lock();
    drop(writeln!(stderr, "{ERROR}error{ERROR:#}{BOLD}:{BOLD:#} {message}"));
    if let Some(help) = help {
        drop(writeln!(stderr, "  {NOTE}help{NOTE:#}: {help}"));
    }
}

/// Prints a remark.
pub(crate) fn print_note(text: impl fmt::Display) {
    drop(writeln!(anstream::stderr().lock(), "{NOTE}note{NOTE:#}: {text}"));
}

/// Prints the diagnostics of an input, the errors first, and says whether there are errors.
pub(crate) fn print_diagnostics<'a>(
    diagnostics: impl IntoIterator<Item = (Source<'a>, &'a Diagnostic)>,
) -> Result<(), Failure> {
    let mut all: Vec<_> = diagnostics.into_iter().collect();
    all.sort_by_key(|(_, diagnostic)| diagnostic.severity);
    if all.first().is_some_and(|(_, worst)| worst.severity == Severity::Error) {
        // How a text was read is no matter where it could not be read.
        all.retain(|(_, diagnostic)| diagnostic.severity != Severity::Note);
    }
    let stderr = io::stderr();
    let color = AutoStream::choice(&stderr) != ColorChoice::Never;
    let text = render_diagnostics(&all, screen::width_of(&stderr), color);
    drop(stderr.lock().write_all(text.as_bytes()));
    match all.first() {
        Some((_, worst)) if worst.severity == Severity::Error => Err(Failure::Diagnosed),
        _ => Ok(()),
    }
}

fn render_diagnostics(all: &[(Source<'_>, &Diagnostic)], width: usize, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_context_lines(1)
        .with_width(width);
    let mut text = String::new();
    let groups = groups(all);
    for group in groups.iter().take(SHOWN) {
        for (source, diagnostic) in group.iter().take(ALIKE) {
            let report = Report { excerpt: Excerpt::new(*source, diagnostic), diagnostic };
            // Writing into a string can't fail, and the excerpt answers every place.
            let _ = handler.render_report(&mut text, &report);
            text.push('\n');
        }
        write_places(&mut text, group.get(ALIKE..).unwrap_or(&[]), width);
    }
    let hidden: Vec<_> = groups.iter().skip(SHOWN).flatten().collect();
    if !hidden.is_empty() {
        let errors = hidden.iter().filter(|(_, d)| d.severity == Severity::Error).count();
        let _ = writeln!(text, "and {} more, {errors} of them errors", hidden.len());
    }
    text
}

/// A message with the text that it is about.
type Placed<'a, 'd> = (Source<'a>, &'d Diagnostic);

/// The messages, those that say the same together at the place of the first.
fn groups<'a, 'd>(all: &[Placed<'a, 'd>]) -> Vec<Vec<Placed<'a, 'd>>> {
    let mut groups: Vec<Vec<Placed<'_, '_>>> = Vec::new();
    let mut known = BTreeMap::new();
    for (source, found) in all {
        let says = (source.name, found.code, &found.message, &found.label, &found.help);
        let at = *known.entry(says).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push((*source, found)),
            None => groups.push(vec![(*source, found)]),
        }
    }
    groups
}

/// Where else the same is to be said.
fn write_places(text: &mut String, others: &[Placed<'_, '_>], width: usize) {
    if others.is_empty() {
        return;
    }
    let mut line = "  the same at".to_owned();
    for (at, (source, diagnostic)) in others.iter().take(PLACES).enumerate() {
        let Excerpt { name, line: row, column, .. } = Excerpt::new(*source, diagnostic);
        let place = format!(" {name}:{}:{}", row + 1, column + 1);
        if line.len() + place.len() >= width {
            text.push_str(&line);
            text.push('\n');
            line = "   ".to_owned();
        }
        line.push_str(&place);
        line.push_str(if at + 1 < others.len() { "," } else { "" });
    }
    text.push_str(&line);
    let more = others.len().saturating_sub(PLACES);
    if more > 0 {
        // Writing into a string can't fail.
        let _ = write!(text, " and {more} more");
    }
    text.push_str("\n\n");
}

/// A diagnostic as miette wants it.
#[derive(Debug)]
struct Report<'a> {
    excerpt: Excerpt<'a>,
    diagnostic: &'a Diagnostic,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.diagnostic.label.clone();
        let place = LabeledSpan::new_primary_with_span(label, self.excerpt.place);
        Some(Box::new(std::iter::once(place)))
    }
}

/// The line that a diagnostic points into, or as much of it as a person can read.
#[derive(Debug)]
struct Excerpt<'a> {
    name: &'a str,
    text: String,
    /// The place in `text`.
    place: SourceSpan,
    /// The line and the column of the place in the whole text, counted from 0.
    line: usize,
    column: usize,
}

impl<'a> Excerpt<'a> {
    fn new(source: Source<'a>, diagnostic: &Diagnostic) -> Self {
        let all = source.text;
        let start = floor(all, diagnostic.span.range().start);
        let (before, after) = all.split_at_checked(start).unwrap_or((all, ""));
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = after.find('\n').map_or(all.len(), |newline| start + newline);
        let carriage = all.get(..line_end).is_some_and(|text| text.ends_with('\r'));
        let line_end = line_end - usize::from(carriage && line_end > start);
        let end = floor(all, diagnostic.span.range().end.clamp(start, line_end.max(start)));

        let long = line_end - line_start > LONG_LINE;
        let from = if long {
            floor(all, start.saturating_sub(AROUND)).max(line_start)
        } else {
            line_start
        };
        let end = if long { floor(all, end.min(start + LONG_LINE / 2)) } else { end };
        let to = if long { floor(all, (end + AROUND).min(line_end)) } else { line_end };
        let (opening, closing) = (cut(from > line_start), cut(to < line_end));
        let shown = all.get(from..to).unwrap_or("").replace('\0', "\u{fffd}");
        Self {
            name: source.name,
            place: (opening.len() + start - from, end - start).into(),
            text: format!("{opening}{shown}{closing}"),
            line: before.bytes().filter(|byte| *byte == b'\n').count(),
            column: all.get(line_start..start).map_or(0, |text| text.chars().count()),
        }
    }
}

/// The mark where text was left out.
fn cut(is_cut: bool) -> &'static str {
    if is_cut { "…" } else { "" }
}

/// The nearest character boundary at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        context_lines_before: usize,
        _context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        // miette asks twice: without context for the place in the heading, which is that of the
        // whole text; then with context, for the lines to print.
        let heading = context_lines_before == 0;
        let column = if heading { self.column } else { 0 };
        let shown = if heading { *span } else { (0, self.text.len()).into() };
        let bytes = self.text.as_bytes();
        let data = bytes.get(shown.offset()..shown.offset() + shown.len());
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.to_owned(),
            data.ok_or(MietteError::OutOfBounds)?,
            shown,
            self.line,
            column,
            1,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nattrace_parser::Span;

    fn render(text: &str, diagnostic: &Diagnostic) -> String {
        render_diagnostics(&[(Source { name: "rules", text }, diagnostic)], 80, false)
    }

    #[test]
    fn the_place_is_underlined_and_named() {
        let text = "*filter\r\n-A INPUT --dprot 22 -j ACCEPT\r\nCOMMIT\r\n";
        let start = text.find("--dprot").unwrap();
        let diagnostic = Diagnostic::error(
            "unknown-option",
            "unknown option `--dprot`",
            Span::new(start, start + 7),
        )
        .label("not an option of any match")
        .help("a similar option exists: `--dport`");
        insta::assert_snapshot!(render(text, &diagnostic));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}HERE{}", "ä".repeat(5_000_000), "ö".repeat(5_000_000));
        let start = text.find("HERE").unwrap();
        let diagnostic = Diagnostic::error("bad", "bad word", Span::new(start, start + 4));
        let page = render(&text, &diagnostic);
        assert!(page.len() < 2_000, "{page}");
        assert!(page.contains("HERE"), "{page}");
        assert!(page.contains("rules:1:5000001"), "{page}");
    }

    #[test]
    fn any_span_is_shown_somehow() {
        for text in ["", "\n", "a", "ä\nö", "a\r\n"] {
            for start in 0..6 {
                for end in 0..9 {
                    let diagnostic = Diagnostic::warning("code", "message", Span::new(start, end));
                    let page = render(text, &diagnostic);
                    assert!(page.contains("message"), "{text:?} {start} {end}: {page}");
                }
            }
        }
    }

    #[test]
    fn only_so_many_are_shown() {
        let messages: Vec<Diagnostic> = (0..SHOWN + 7)
            .map(|at| Diagnostic::error("code", format!("message {at}"), Span::new(0, 1)))
            .collect();
        let source = Source { name: "rules", text: "a" };
        let all: Vec<_> = messages.iter().map(|message| (source, message)).collect();
        let page = render_diagnostics(&all, 80, false);
        assert!(page.ends_with("and 7 more, 7 of them errors\n"), "{page}");
    }

    #[test]
    fn of_those_that_say_the_same_the_places_are_named() {
        let text = "a\n".repeat(160);
        let source = Source { name: "rules", text: &text };
        let says = |message: &str| {
            let at = |line: usize| Span::new(2 * line, 2 * line + 1);
            (0..160).map(|line| Diagnostic::error("code", message, at(line))).collect::<Vec<_>>()
        };
        let page = |messages: &[Diagnostic]| {
            let all: Vec<_> = messages.iter().map(|message| (source, message)).collect();
            render_diagnostics(&all, 80, false)
        };
        let few = page(&says("few")[..ALIKE]);
        assert_eq!((few.matches("few").count(), few.contains("the same at")), (ALIKE, false));
        let many = page(&says("many")[..ALIKE + 3]);
        assert_eq!(many.matches("many").count(), ALIKE);
        assert!(many.ends_with("  the same at rules:6:1, rules:7:1, rules:8:1\n\n"), "{many}");
        let most = page(&says("most"));
        let listed = most.split_once("the same at").unwrap().1;
        assert_eq!(listed.matches("rules:").count(), PLACES);
        assert!(most.ends_with(&format!(", and {} more\n\n", 160 - ALIKE - PLACES)), "{most}");
        assert!(most.lines().all(|line| line.chars().count() <= 80), "{most}");
        // Others between them stand for themselves.
        let mixed = [says("one")[..5].to_vec(), says("other")[..1].to_vec()].concat();
        assert_eq!(page(&mixed).matches("other").count(), 1);
    }
}
