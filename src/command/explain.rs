//! `nattrace explain`: the page of a code or of an extension.

mod extension;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::Style;
use nattrace_parser::diagnostic::nearest;
use serde::Serialize;

use crate::args::{Explain, Format, Global};
use crate::codes;
use crate::exit::{Failure, Result, Status};
use crate::output::screen::Screen;

const BOLD: Style = Style::new().bold();

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/explain/1";

/// A page about something.
#[derive(Debug, Serialize)]
struct Page {
    code: &'static str,
    /// Its first sentence.
    summary: Cow<'static, str>,
    /// The page in Markdown.
    text: Cow<'static, str>,
}

/// Prints the page of a code, or a list of all codes.
pub(crate) fn run(global: &Global, arguments: &Explain) -> Result<Status> {
    let pages = match &arguments.code {
        Some(code) => find(code)?,
        None => codes::PAGES.iter().map(Page::of_code).collect(),
    };
    let mut screen = Screen::stdout();
    match global.format() {
        None | Some(Format::Pretty) if arguments.code.is_some() => {
            let text: String = pages.iter().map(|page| page.styled()).collect();
            screen.write_styled(&text)?;
        }
        None | Some(Format::Pretty | Format::Concise) => {
            screen.write_styled(&list(&pages))?;
        }
        Some(Format::Json) => {
            #[derive(Serialize)]
            struct Document<'a> {
                schema: &'a str,
                pages: &'a [Page],
            }
            let document = Document { schema: SCHEMA, pages: &pages };
            serde_json::to_writer_pretty(screen.raw(), &document).map_err(std::io::Error::from)?;
            screen.raw().write_all(b"\n")?;
        }
        Some(Format::Jsonl) => {
            #[derive(Serialize)]
            struct Line<'a> {
                schema: &'a str,
                #[serde(flatten)]
                page: &'a Page,
            }
            for page in &pages {
                let line = Line { schema: SCHEMA, page };
                serde_json::to_writer(screen.raw(), &line).map_err(std::io::Error::from)?;
                screen.raw().write_all(b"\n")?;
            }
        }
        Some(_) => {
            return Err(Failure::input("`explain` prints pretty, concise, json or jsonl"));
        }
    }
    screen.finish()?;
    Ok(Status::Holds)
}

impl Page {
    fn of_code(page: &codes::Page) -> Self {
        let (summary, text) = (Cow::Borrowed(page.summary()), Cow::Borrowed(page.text));
        Self { code: page.code, summary, text }
    }

    fn made(code: &'static str, text: String) -> Self {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("# "));
        let summary = lines.next().unwrap_or(code).to_owned();
        Self { code, summary: Cow::Owned(summary), text: Cow::Owned(text) }
    }

    /// Markdown with its headings in bold; a table stays as it is.
    fn styled(&self) -> Cow<'_, str> {
        if self.code == TABLE { Cow::Borrowed(&*self.text) } else { Cow::Owned(styled(&self.text)) }
    }
}

/// The word for the table of all extensions.
const TABLE: &str = "extensions";

fn find(asked: &str) -> Result<Vec<Page>> {
    // People paste codes as they see them: `[no-listeners]`.
    let code = asked.trim_matches(['[', ']']).to_ascii_lowercase();
    if let Some(page) = codes::find(&code) {
        return Ok(vec![Page::of_code(page)]);
    }
    if code == TABLE {
        return Ok(vec![Page::made(TABLE, extension::table())]);
    }
    let extensions = extension::find(asked);
    if !extensions.is_empty() {
        let pages = extensions.into_iter().map(|one| Page::made(one.name, extension::page(one)));
        return Ok(pages.collect());
    }
    let unknown = Failure::input(format!("unknown code `{asked}`"));
    let known = codes::PAGES.iter().map(|page| page.code);
    Err(match nearest(&code, known.chain(extension::names()).chain([TABLE])) {
        Some(near) => unknown.help(format!("a similar code exists: `{near}`")),
        None => unknown.help("`nattrace explain` lists all codes"),
    })
}

fn list(pages: &[Page]) -> String {
    let width = pages.iter().map(|page| page.code.len()).max().unwrap_or(0);
    pages.iter().fold(String::new(), |mut text, page| {
        // Writing into a string can't fail.
        let _ = writeln!(text, "{:width$}  {}", page.code, page.summary);
        text
    })
}

/// Markdown with its headings in bold.
fn styled(markdown: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(heading) => format!("{BOLD}{}{BOLD:#}\n", heading.trim_start_matches('#').trim()),
        None => format!("{line}\n"),
    };
    markdown.lines().map(line).collect()
}
