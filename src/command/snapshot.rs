//! `nattrace snapshot`: what this host tells, as a directory or as one file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nattrace_apply::{Conntrack, SCRIPT};
use serde::Serialize;

use crate::args::{Global, Snapshot};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, single};
use crate::output::diagnostic::print_note;
use crate::output::document::{self, Named};
use crate::output::screen::Screen;

/// Collects a snapshot, or prints the script that does.
pub(crate) fn run(global: &Global, arguments: &Snapshot) -> Result<Status> {
    let layout = document::layout(global, "snapshot")?;
    if arguments.script {
        match layout {
            None => document::print_text(SCRIPT)?,
            Some(layout) => {
                document::print(&Script { schema: "nattrace/script/1", text: SCRIPT }, layout)?;
            }
        }
        return Ok(Status::Holds);
    }
    if global.snapshot.is_some() || !global.rules.is_empty() {
        return Err(Failure::input("`nattrace snapshot` collects this host, and reads no other")
            .help("leave out `--snapshot` and `--rules`"));
    }
    input::require_root()?;
    let conntrack = if arguments.conntrack { Conntrack::Include } else { Conntrack::Omit };
    let capture = nattrace_apply::capture(conntrack);
    for note in &capture.notes {
        print_note(&note.text);
    }
    let output = arguments.output.as_deref();
    let Some(layout) = layout else {
        deliver(&capture.parts, output)?;
        return Ok(Status::Holds);
    };
    if let Some(path) = output {
        write(&capture.parts, path)?;
    }
    let notes = capture.notes.iter().map(|note| &*note.text);
    let collected = Collected {
        schema: "nattrace/snapshot/1",
        output,
        parts: named(&capture.parts, output),
        notes: notes.collect(),
    };
    document::print(&collected, layout)?;
    Ok(Status::Holds)
}

/// The script, for programs.
#[derive(Serialize)]
struct Script<'a> {
    schema: &'a str,
    text: &'a str,
}

/// A snapshot, for programs.
#[derive(Serialize)]
struct Collected<'a> {
    schema: &'a str,
    /// Where it was written to.
    output: Option<&'a Path>,
    parts: Vec<Named<'a>>,
    notes: Vec<&'a str>,
}

/// Parts by name, with their texts where they were not written elsewhere.
pub(crate) fn named<'a, N: AsRef<str>>(
    parts: &'a [(N, String)],
    output: Option<&Path>,
) -> Vec<Named<'a>> {
    let part = |(name, text): &'a (N, String)| Named {
        name: name.as_ref(),
        text: output.is_none().then_some(text),
    };
    parts.iter().map(part).collect()
}

/// Writes parts to a directory, into one file, or to standard output.
pub(crate) fn deliver<N: AsRef<str>>(parts: &[(N, String)], to: Option<&Path>) -> Result<()> {
    if let Some(path) = to {
        return write(parts, path);
    }
    let mut screen = Screen::stdout();
    write_single(screen.raw(), parts)?;
    screen.finish()?;
    Ok(())
}

/// Writes parts to a directory, or into one file.
pub(crate) fn write<N: AsRef<str>>(parts: &[(N, String)], path: &Path) -> Result<()> {
    let names_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let written = if names_folder || path.is_dir() {
        write_folder(path, parts)
    } else {
        create(path).and_then(|file| write_single(&mut BufWriter::new(file), parts))
    };
    written.map_err(|error| input::unwritable(path, &error))
}

/// The one-file form.
fn write_single<N: AsRef<str>>(out: &mut impl Write, parts: &[(N, String)]) -> io::Result<()> {
    writeln!(out, "{}", single::PROMISE)?;
    for (name, text) in parts {
        writeln!(out, "{}{}", single::HEADER, name.as_ref())?;
        out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
    }
    writeln!(out, "{}{}", single::HEADER, single::END)?;
    out.flush()
}

/// One file for each part. A snapshot tells much about a host: only its owner may read it.
fn write_folder<N: AsRef<str>>(folder: &Path, parts: &[(N, String)]) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Parts of an older snapshot must not stand beside those of this one.
    for part in nattrace_model::host::Part::ALL {
        let stale = folder.join(part.file_name());
        let hand_made = part == nattrace_model::host::Part::Zones;
        if !hand_made && stale.is_file() {
            fs::remove_file(stale)?;
        }
    }
    for (name, text) in parts {
        create(&folder.join(name.as_ref()))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
