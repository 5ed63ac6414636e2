//! Annotations of GitHub Actions: workflow commands on standard output.

use std::fmt::Write;

use super::{Item, Level, Report, plain};

/// One command for each thing that is wrong or not known, ending in a newline.
pub(crate) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    for item in report.items.iter().filter(|item| item.level != Level::Pass) {
        annotate(&mut text, item);
    }
    text
}

fn annotate(text: &mut String, item: &Item) {
    let command = match (item.level, &item.excuse) {
        (_, Some(_)) | (Level::Info, None) => "notice",
        (Level::Error, None) => "error",
        (Level::Warning | Level::Pass, None) => "warning",
    };
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
}
