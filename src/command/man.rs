//! `nattrace man`: the manual, from the same declaration as `--help`.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man as Page;
use serde::Serialize;

use crate::args::{Arguments, Global, Man};
use crate::exit::{Result, Status};
use crate::input::unwritable;
use crate::output::document::{self, Named};

/// The manual, for programs.
#[derive(Serialize)]
struct Manual<'a> {
    schema: &'a str,
    /// The folder that it was written into.
    output: Option<&'a Path>,
    pages: Vec<Named<'a>>,
}

/// Prints the page of nattrace, or writes one page for each command.
pub(crate) fn run(global: &Global, arguments: &Man) -> Result<Status> {
    let layout = document::layout(global, "man")?;
    let pages = pages(arguments.output.is_some())?;
    let output = arguments.output.as_deref();
    if let Some(folder) = output {
        let write = || {
            fs::create_dir_all(folder)?;
            pages.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
        };
        write().map_err(|error| unwritable(folder, &error))?;
    }
    match layout {
        Some(layout) => {
            let text = |text| output.is_none().then_some(text);
            let named = pages.iter().map(|(name, page)| Named { name, text: text(&**page) });
            let manual = Manual { schema: "nattrace/man/1", output, pages: named.collect() };
            document::print(&manual, layout)?;
        }
        None if output.is_some() => {}
        None => {
            let all: String = pages.into_iter().map(|(_, text)| text).collect();
            document::print_text(&all)?;
        }
    }
    Ok(Status::Holds)
}

/// Names and texts of pages: that of nattrace, and those of its commands where they are asked for.
fn pages(each_command: bool) -> Result<Vec<(String, String)>> {
    let mut command = Arguments::command();
    command.build();
    // After `build`, a subcommand knows its full name: `nattrace-why`.
    let parts = command.get_subcommands().filter(|known| each_command && !known.is_hide_set());
    let commands = std::iter::once(&command).chain(parts);
    let page = |command: &clap::Command| {
        let page = Page::new(command.clone());
        let mut text = Vec::new();
        page.render(&mut text)?;
        Ok((page.get_filename(), String::from_utf8_lossy(&text).into_owned()))
    };
    commands.map(page).collect()
}
