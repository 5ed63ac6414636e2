//! Markdown: a table of all results, and a page for each that is wrong. GitHub's step summary and
//! comments on a pull request take it.

use std::fmt::Write;

use super::{Item, Level, Report, page_address, plain};

/// The page, ending in a newline.
pub(crate) fn render(report: &Report<'_>) -> String {
    let (command, subject) = (report.command, cell(report.subject));
    let mut text = format!("## nattrace {command}: {subject}\n\n{}\n", report.summary);
    if !report.items.is_empty() {
        text.push_str("\n| | what | found |\n|---|---|---|\n");
    }
    for item in &report.items {
        // Writing into a string can't fail.
        let _ = writeln!(text, "| {} | {} | {} |", state(item), cell(&item.title), found(item));
    }
    for item in report.open() {
        let page = plain(&item.page);
        let fence = fence(&page);
        let _ = write!(
            text,
            "\n### {}\n\n[`{}`]({})\n",
            cell(&item.title),
            item.code,
            page_address(item.code),
        );
        let _ = match page.trim_end() {
            // What is wrong with it stands in the table.
            "" => Ok(()),
            page => write!(text, "\n{fence}text\n{page}\n{fence}\n"),
        };
    }
    text
}

fn state(item: &Item) -> &'static str {
    match (item.level, &item.excuse) {
        (Level::Pass, _) => "✅ holds",
        (_, Some(_)) => "➖ known",
        (Level::Info, None) => "ℹ️ note",
        (Level::Warning, None) if item.is_check() => "❔ unknown",
        (Level::Warning, None) => "⚠️ warning",
        (Level::Error, None) if item.is_check() => "❌ fails",
        (Level::Error, None) => "❌ error",
    }
}

fn found(item: &Item) -> String {
    match &item.excuse {
        Some(excuse) if item.level != Level::Pass => {
            format!("{} ({})", cell(&item.message), cell(excuse))
        }
        _ => cell(&item.message),
    }
}

/// Text in a cell or heading, where nothing of it acts.
fn cell(text: &str) -> String {
    let mut shown = String::new();
    for letter in plain(text).chars() {
        match letter {
            '\n' | '\t' => shown.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' => {
                shown.push('\\');
                shown.push(letter);
            }
            _ => shown.push(letter),
        }
    }
    shown
}

/// A fence that the text does not hold.
fn fence(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::report::sample;

    #[test]
    fn a_page_shows_everything() {
        insta::assert_snapshot!(render(&sample()));
    }

    #[test]
    fn a_fence_holds_what_is_inside() {
        assert_eq!(fence("no"), "```");
        assert_eq!(fence("a ```` b"), "`````");
    }
}
