//! Annotations of GitHub Actions: workflow commands on standard output.

use std::fmt::Write;

use super::{Item, Level, Report, plain};

/// One command for each thing that is wrong or not known, ending in a newline.
pub(crate) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    for item in report.items.iter().filter(|item| item.level != Level::Pass) {
        annotate(&mut text, item);
    }
    for name in ["error", "warning"] {
        let told = report.items.iter().filter(|item| item.level != Level::Pass);
        let hidden = told.filter(|item| command(item) == name).count().saturating_sub(SHOWN);
        if hidden > 0 {
            // Writing into a string can't fail.
            let _ = writeln!(
                text,
                "::notice title=nattrace%3A and {hidden} more::GitHub shows {SHOWN} annotations of \
                 a kind: {hidden} more of level {name} are in the log and in the summary of this \
                 step"
            );
        }
    }
    text
}

/// How many annotations of a level GitHub shows of a step.
const SHOWN: usize = 10;

/// The command that tells of something.
fn command(item: &Item) -> &'static str {
    match (item.level, &item.excuse) {
        (_, Some(_)) | (Level::Info, None) => "notice",
        (Level::Error, None) => "error",
        (Level::Warning | Level::Pass, None) => "warning",
    }
}

fn annotate(text: &mut String, item: &Item) {
    let command = command(item);
    let mut properties = Vec::new();
    if let Some(place) = &item.place {
        properties.push(format!("file={}", property(&place.file)));
        properties.push(format!("line={},endLine={}", place.line, place.line));
        properties.push(format!("col={},endColumn={}", place.column, place.end_column));
    }
    properties.push(format!("title={}", property(&format!("nattrace: {}", item.title))));
    let excuse = item.excuse.as_ref().map(|excuse| format!(" (does not count: {excuse})"));
    let message = format!("{}{}", item.message, excuse.unwrap_or_default());
    let page = format!("{message}\n\n{}", item.page);
    // Writing into a string can't fail.
    let _ = writeln!(text, "::{command} {}::{}", properties.join(","), data(page.trim_end()));
}

/// The value of a property (`@actions/core`, escapeProperty).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The message (`@actions/core`, escapeData).
fn data(text: &str) -> String {
    plain(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::report::sample;

    #[test]
    fn an_annotation_is_one_line() {
        let text = render(&sample());
        assert_eq!(text.lines().count(), 3);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_github_does_not_show_is_told() {
        let mut report = sample();
        let failing = report.items[0].clone();
        report.items.extend(std::iter::repeat_n(failing, 11));
        let text = render(&report);
        assert_eq!(text.lines().filter(|line| line.starts_with("::error ")).count(), 12);
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("::notice title=nattrace%3A and 2 more::"), "{last}");
    }
}
