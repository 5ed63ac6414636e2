//! `nattrace check --init`: a policy written from what holds today.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use nattrace_verifier::draft::draft;
use serde::Serialize;

use crate::args::Global;
use crate::exit::{Result, Status};
use crate::input::{self, system};
use crate::output::diagnostic::print_note;
use crate::output::document;

/// Writes the policy to a new file, or to standard output.
pub(super) fn run(global: &Global, path: Option<&Path>) -> Result<Status> {
    let layout = document::layout(global, "check --init")?;
    let system = system::load(global)?;
    let text = draft(&system);
    let path = path.filter(|path| *path != Path::new("-"));
    if let Some(path) = path {
        write(path, &text)?;
    }
    match layout {
        Some(layout) => {
            let policy = path.is_none().then_some(&*text);
            let drafted = Drafted { schema: "nattrace/init/1", output: path, policy };
            document::print(&drafted, layout)?;
        }
        None if path.is_some() => {}
        None => document::print_text(&text)?,
    }
    Ok(Status::Holds)
}

/// The policy, for programs.
#[derive(Serialize)]
struct Drafted<'a> {
    schema: &'a str,
    /// The file that it was written to.
    output: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
}

/// Writes it to a new file.
fn write(path: &Path, text: &str) -> Result<()> {
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
    Ok(())
}
