//! `nattrace redact`: the same snapshot, but nobody's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use nattrace_parser::redact::{Input, Pseudonyms, redact};

use super::snapshot::{create, deliver};
use crate::args::{Global, Redact};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Text, unwritable};
use crate::output::diagnostic::print_note;
use crate::output::screen::Screen;

/// Writes what was given with pseudonyms.
pub(crate) fn run(global: &Global, arguments: &Redact) -> Result<Status> {
    let input = input::read(global)?;
    let only_rules = input.parts.is_empty();
    let texts: Vec<Text> = input.parts.into_iter().chain(input.rules).collect();
    let inputs: Vec<Input<'_>> =
        texts.iter().map(|text| Input { name: &text.name, text: &text.text }).collect();
    let redacted = redact(&inputs).map_err(|(name, error)| {
        Failure::input(format!("`{name}` is no JSON: {error}"))
            .help("nothing is written: what can't be read can't be redacted")
    })?;
    for note in redacted.pseudonyms.notes() {
        print_note(note);
    }
    if let Some(path) = &arguments.map {
        write_map(path, &redacted.pseudonyms)?;
    }
    if only_rules {
        write_rules(&redacted.parts, arguments.output.as_deref())?;
    } else {
        deliver(&redacted.parts, arguments.output.as_deref())?;
    }
    Ok(Status::Holds)
}

/// Rules alone stay rules alone.
fn write_rules(parts: &[(String, String)], to: Option<&Path>) -> Result<()> {
    let Some(path) = to else {
        let mut screen = Screen::stdout();
        for (_, text) in parts {
            screen.raw().write_all(text.as_bytes())?;
        }
        screen.finish()?;
        return Ok(());
    };
    let written = create(path).and_then(|mut file| {
        parts.iter().try_for_each(|(_, text)| file.write_all(text.as_bytes()))
    });
    written.map_err(|error| unwritable(path, &error))
}

/// What stands for what, by kind: original and pseudonym.
fn write_map(path: &Path, pseudonyms: &Pseudonyms) -> Result<()> {
    let mut kinds: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for ((kind, original), pseudonym) in pseudonyms.table() {
        kinds.entry(kind).or_default().insert(original, pseudonym);
    }
    let written = create(path).and_then(|mut file| {
        serde_json::to_writer_pretty(&mut file, &kinds)?;
        file.write_all(b"\n")
    });
    written.map_err(|error| unwritable(path, &error))
}
