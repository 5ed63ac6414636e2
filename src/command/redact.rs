//! `nattrace redact`: the same snapshot, but nobody's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use nattrace_parser::redact::{Input, Pseudonyms, redact};
use nattrace_parser::{Severity, policy};
use serde::Serialize;

use super::snapshot::{create, deliver, named};
use crate::args::{Global, Redact};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Text, unwritable};
use crate::output::diagnostic::{Source, print_diagnostics, print_note};
use crate::output::document::{self, Named};
use crate::output::screen::Screen;

/// Writes what was given with pseudonyms.
pub(crate) fn run(global: &Global, arguments: &Redact) -> Result<Status> {
    let layout = document::layout(global, "redact")?;
    let input = input::read(global)?;
    let only_rules = input.parts.is_empty();
    let texts: Vec<Text> = input.parts.into_iter().chain(input.rules).collect();
    // In a part of a transcript, empty lines stand for what is no part of it.
    let mut inputs: Vec<Input<'_>> =
        texts.iter().map(|text| Input { name: &text.name, text: filled(&text.text) }).collect();
    let given = arguments.policy.as_deref().map(read_policy).transpose()?;
    if let Some(text) = &given {
        inputs.push(Input { name: POLICY, text });
    }
    let mut redacted = redact(&inputs).map_err(|(name, error)| {
        Failure::input(format!("`{name}` is no JSON: {error}"))
            .help("nothing is written: what can't be read can't be redacted")
    })?;
    for note in redacted.pseudonyms.notes() {
        print_note(note);
    }
    let policy = given.is_some().then(|| redacted.parts.pop()).flatten();
    if let Some(path) = &arguments.map {
        write_map(path, &redacted.pseudonyms)?;
    }
    let output = arguments.output.as_deref();
    match (layout, output) {
        (Some(_), None) => {}
        (_, to) if only_rules => write_rules(&redacted.parts, to)?,
        (_, to) => deliver(&redacted.parts, to)?,
    }
    if let (Some((_, text)), Some(output)) = (policy, output) {
        write_policy(&text, output)?;
    }
    if let Some(layout) = layout {
        let public = Public {
            schema: "nattrace/redact/1",
            output,
            parts: named(&redacted.parts, output),
            notes: redacted.pseudonyms.notes(),
        };
        document::print(&public, layout)?;
    }
    Ok(Status::Holds)
}

/// A text without the empty lines around it, which stand for other parts in those of a transcript.
fn filled(text: &str) -> &str {
    let text = text.trim_start_matches('\n');
    let end = text.trim_end_matches('\n').len() + usize::from(text.ends_with('\n'));
    text.get(..end).unwrap_or(text)
}

/// What may be shown, for programs.
#[derive(Serialize)]
struct Public<'a> {
    schema: &'a str,
    /// Where it was written to.
    output: Option<&'a Path>,
    parts: Vec<Named<'a>>,
    notes: Vec<String>,
}

/// The name of a policy among the parts.
const POLICY: &str = "policy.toml";

/// Reads a policy, or says everything that is wrong with it: what is not understood is not passed
/// on.
fn read_policy(path: &Path) -> Result<String> {
    let text = input::read_text(path)?;
    let (_, diagnostics) = policy::parse(&text);
    let name = path.display().to_string();
    let source = Source { name: &name, text: &text };
    let mut errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
    if errors.next().is_some() {
        print_diagnostics(diagnostics.iter().map(|found| (source, found)))?;
        return Err(Failure::Diagnosed);
    }
    Ok(text)
}

/// Writes the policy into the folder of the snapshot, or beside its file.
fn write_policy(text: &str, output: &Path) -> Result<()> {
    let path = if output.is_dir() {
        output.join(POLICY)
    } else {
        let mut name = output.as_os_str().to_owned();
        name.push(format!(".{POLICY}"));
        name.into()
    };
    let written = create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| unwritable(&path, &error))
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
