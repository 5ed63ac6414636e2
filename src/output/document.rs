//! Texts that a command makes for people to keep (snapshots, scripts, pages), within JSON where
//! that is asked for.

use std::io::{self, Write};

use serde::Serialize;

use super::json::Layout;
use super::screen::Screen;
use crate::args::{Format, Global};
use crate::exit::{Failure, Result};

/// A text with its name: a part of a snapshot, a page of the manual.
#[derive(Debug, Serialize)]
pub(crate) struct Named<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// The text, unless it was written elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<&'a str>,
}

/// How JSON is laid out, or `None` where texts are printed as they are.
pub(crate) fn layout(global: &Global, command: &str) -> Result<Option<Layout>> {
    match global.format() {
        None | Some(Format::Pretty | Format::Concise) => Ok(None),
        Some(Format::Json) => Ok(Some(Layout::Indented)),
        Some(Format::Jsonl) => Ok(Some(Layout::Line)),
        Some(_) => {
            Err(Failure::input(format!("`{command}` prints pretty, concise, json or jsonl")))
        }
    }
}

/// Prints a value as JSON.
pub(crate) fn print(value: &impl Serialize, layout: Layout) -> Result<()> {
    let mut screen = Screen::stdout();
    let written = match layout {
        Layout::Indented => serde_json::to_writer_pretty(screen.raw(), value),
        Layout::Line => serde_json::to_writer(screen.raw(), value),
    };
    written.map_err(io::Error::from)?;
    screen.raw().write_all(b"\n")?;
    screen.finish()?;
    Ok(())
}

/// Prints a text as it is.
pub(crate) fn print_text(text: &str) -> Result<()> {
    let mut screen = Screen::stdout();
    screen.raw().write_all(text.as_bytes())?;
    screen.finish()?;
    Ok(())
}
