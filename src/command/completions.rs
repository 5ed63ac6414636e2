//! `nattrace completions`: what a shell needs to complete the command line.

use std::io::Write;

use clap::CommandFactory;

use crate::args::{Arguments, Completions};
use crate::exit::{Result, Status};
use crate::output::screen::Screen;

/// Prints the completions of a shell.
pub(crate) fn run(arguments: &Completions) -> Result<Status> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "nattrace", &mut script);
    let mut screen = Screen::stdout();
    screen.raw().write_all(&script)?;
    screen.finish()?;
    Ok(Status::Holds)
}
