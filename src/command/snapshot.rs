//! `nattrace snapshot`: what this host tells, as a directory or as one file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nattrace_apply::{Capture, Conntrack, SCRIPT};

use crate::args::{Global, Snapshot};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, single};
use crate::output::diagnostic::print_note;
use crate::output::screen::Screen;

/// Collects a snapshot, or prints the script that does.
pub(crate) fn run(global: &Global, arguments: &Snapshot) -> Result<Status> {
    if arguments.script {
        let mut screen = Screen::stdout();
        screen.raw().write_all(SCRIPT.as_bytes())?;
        screen.finish()?;
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
    match &arguments.output {
        None => {
            let mut screen = Screen::stdout();
            write_single(screen.raw(), &capture)?;
            screen.finish()?;
        }
        Some(path) => {
            let names_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
            let written = if names_folder || path.is_dir() {
                write_folder(path, &capture)
            } else {
                create(path).and_then(|file| write_single(&mut BufWriter::new(file), &capture))
            };
            written.map_err(|error| {
                Failure::input(format!("can't write to `{}`: {error}", path.display()))
            })?;
        }
    }
    Ok(Status::Holds)
}

/// The one-file form.
fn write_single(out: &mut impl Write, capture: &Capture) -> io::Result<()> {
    writeln!(out, "{}", single::PROMISE)?;
    for (name, text) in &capture.parts {
        writeln!(out, "{}{name}", single::HEADER)?;
        out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
    }
    writeln!(out, "{}{}", single::HEADER, single::END)?;
    out.flush()
}

/// One file for each part. A snapshot tells much about a host: only its owner may read it.
fn write_folder(folder: &Path, capture: &Capture) -> io::Result<()> {
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
    for (name, text) in &capture.parts {
        create(&folder.join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
