//! `nattrace man`: the manual, from the same declaration as `--help`.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man as Page;

use crate::args::{Arguments, Man};
use crate::exit::{Result, Status};
use crate::input::unwritable;
use crate::output::screen::Screen;

/// Prints the page of nattrace, or writes one page for each command.
pub(crate) fn run(arguments: &Man) -> Result<Status> {
    let mut command = Arguments::command();
    command.build();
    if let Some(folder) = &arguments.output {
        write_pages(&command, folder)?;
        return Ok(Status::Holds);
    }
    let mut text = Vec::new();
    Page::new(command).render(&mut text)?;
    let mut screen = Screen::stdout();
    screen.raw().write_all(&text)?;
    screen.finish()?;
    Ok(Status::Holds)
}

fn write_pages(command: &clap::Command, folder: &Path) -> Result<()> {
    let cause = |error| unwritable(folder, &error);
    fs::create_dir_all(folder).map_err(cause)?;
    Page::new(command.clone()).generate_to(folder).map_err(cause)?;
    for subcommand in command.get_subcommands().filter(|known| !known.is_hide_set()) {
        // After `build`, a subcommand knows its full name: `nattrace-why`.
        Page::new(subcommand.clone()).generate_to(folder).map_err(cause)?;
    }
    Ok(())
}
