//! `nattrace completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use serde::Serialize;

use crate::args::{Arguments, Completions, Global};
use crate::exit::{Result, Status};
use crate::output::document;

/// The script, for programs.
#[derive(Serialize)]
struct Script<'a> {
    schema: &'a str,
    shell: String,
    text: &'a str,
}

/// Prints the completions of a shell.
pub(crate) fn run(global: &Global, arguments: &Completions) -> Result<Status> {
    let layout = document::layout(global, "completions")?;
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "nattrace", &mut script);
    let text = String::from_utf8_lossy(&script);
    match layout {
        None => document::print_text(&text)?,
        Some(layout) => {
            let (schema, shell) = ("nattrace/completions/1", arguments.shell.to_string());
            document::print(&Script { schema, shell, text: &text }, layout)?;
        }
    }
    Ok(Status::Holds)
}
