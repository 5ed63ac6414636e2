//! `nattrace check --init`: a policy written from what holds today.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use nattrace_verifier::draft::draft;

use super::at_odds;
use crate::args::Global;
use crate::exit::{Result, Status};
use crate::input::{self, system};
use crate::output::diagnostic::print_note;
use crate::output::screen::Screen;

/// Writes the policy to a new file, or to standard output.
pub(super) fn run(global: &Global, path: Option<&Path>) -> Result<Status> {
    let system = system::load(global)?;
    let text = draft(&system).map_err(at_odds)?;
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut screen = Screen::stdout();
        screen.raw().write_all(text.as_bytes())?;
        screen.finish()?;
        return Ok(Status::Holds);
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let failure = input::unwritable(path, &error);
        match error.kind() {
            ErrorKind::AlreadyExists => failure.help("a policy that is there is not overwritten"),
            _ => failure,
        }
    })?;
    print_note(format_args!("wrote `{}`: edit it, then run `nattrace check`", path.display()));
    Ok(Status::Holds)
}
