//! `nattrace explain`: the page of a code or of an extension.

mod extension;

use anstyle::Style;
use nattrace_parser::diagnostic::nearest;

use crate::args::Explain;
use crate::codes;
use crate::exit::{Failure, Result, Status};
use crate::output::screen::Screen;

const BOLD: Style = Style::new().bold();

/// Prints the page of a code, or a list of all codes.
pub(crate) fn run(arguments: &Explain) -> Result<Status> {
    let text = match &arguments.code {
        Some(code) => page(code)?,
        None => list(),
    };
    let mut screen = Screen::stdout();
    screen.write_styled(&text)?;
    screen.finish()?;
    Ok(Status::Holds)
}

fn page(asked: &str) -> Result<String> {
    // People paste codes as they see them: `[no-listeners]`.
    let code = asked.trim_matches(['[', ']']).to_ascii_lowercase();
    if let Some(page) = codes::find(&code) {
        return Ok(styled(page.text));
    }
    if code == "extensions" {
        return Ok(extension::table());
    }
    let extensions = extension::find(asked);
    if !extensions.is_empty() {
        return Ok(extensions.into_iter().map(|one| styled(&extension::page(one))).collect());
    }
    let unknown = Failure::input(format!("unknown code `{asked}`"));
    let known = codes::PAGES.iter().map(|page| page.code);
    Err(match nearest(&code, known.chain(extension::names())) {
        Some(near) => unknown.help(format!("a similar code exists: `{near}`")),
        None => unknown.help("`nattrace explain` lists all codes"),
    })
}

fn list() -> String {
    let width = codes::PAGES.iter().map(|page| page.code.len()).max().unwrap_or(0);
    let line = |page: &codes::Page| format!("{:width$}  {}\n", page.code, page.summary());
    codes::PAGES.iter().map(line).collect()
}

/// Markdown with its headings in bold.
fn styled(markdown: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(heading) => format!("{BOLD}{}{BOLD:#}\n", heading.trim_start_matches('#').trim()),
        None => format!("{line}\n"),
    };
    markdown.lines().map(line).collect()
}
