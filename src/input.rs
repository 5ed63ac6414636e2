//! What answers are computed from: a snapshot, rules, or this host.

pub(crate) mod single;
pub(crate) mod system;

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use nattrace_apply::{Conntrack, NoteKind};
use nattrace_model::build::part_of;
use nattrace_model::host::Part;
use nattrace_parser::diagnostic::nearest;
use nattrace_parser::host::snapshot::is_snapshot;
use nattrace_parser::without_margin;

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::output::diagnostic::print_note;

/// A part of a snapshot, or a file of rules, with its name as it stands in `iptables-save:14`.
pub(crate) use nattrace_model::build::SharedText as Text;

/// Everything that was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    /// The parts of the snapshot or of this host.
    pub(crate) parts: Vec<Text>,
    /// The files of `--rules`.
    pub(crate) rules: Vec<Text>,
}

/// Reads what the options name.
pub(crate) fn read(global: &Global) -> Result<Input> {
    let stdin = Path::new("-");
    let uses = global.snapshot.iter().chain(&global.rules).filter(|path| *path == stdin);
    if uses.count() > 1 {
        return Err(Failure::input("standard input can be read only once")
            .help("only one of `--snapshot` and `--rules` can be `-`"));
    }
    let rules = global.rules.iter().map(|path| read_rules(path)).collect::<Result<Vec<Text>>>()?;
    let parts = match &global.snapshot {
        Some(path) => read_snapshot(path)?,
        None if rules.is_empty() => read_host()?,
        None => Vec::new(),
    };
    Ok(Input { parts, rules })
}

/// Fails where this process may not read rules and sockets.
pub(crate) fn require_root() -> Result<()> {
    if nattrace_apply::is_root() {
        return Ok(());
    }
    Err(Failure::input(
        "reading this host needs root: use sudo, or give `--snapshot` or `--rules` (`nattrace \
         snapshot --script` prints a script that collects a snapshot)",
    ))
}

/// One of two things to be compared.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// A host: the parts of a snapshot, or of this host.
    Host(Vec<Text>),
    /// Rules alone.
    Rules(Text),
}

/// Reads a snapshot or rules, whichever it is; `live` is this host unless a file is called so.
pub(crate) fn read_any(path: &Path) -> Result<Given> {
    if path == Path::new("live") && !path.exists() {
        return read_host().map(Given::Host);
    }
    if path != Path::new("-") && path.is_dir() {
        return read_folder(path).map(Given::Host);
    }
    let text = read_text(path)?;
    if is_snapshot(&text) {
        return single::split(path, &text).map(Given::Host);
    }
    let text = flush(path, text);
    match single::transcribed(path, &text)? {
        Some(parts) if single::is_host(&parts) => Ok(Given::Host(parts)),
        _ => rules_of(path, text).map(Given::Rules),
    }
}

/// Reads what `--snapshot` and `--rules` name, without a host where they name none.
pub(crate) fn read_named(global: &Global) -> Result<Input> {
    let rules = global.rules.iter().map(|path| read_rules(path)).collect::<Result<Vec<Text>>>()?;
    let parts = global.snapshot.as_deref().map(read_snapshot).transpose()?;
    Ok(Input { parts: parts.unwrap_or_default(), rules })
}

fn read_host() -> Result<Vec<Text>> {
    require_root()?;
    let capture = nattrace_apply::capture(Conntrack::Omit);
    for note in capture.notes.iter().filter(|note| note.kind == NoteKind::Failed) {
        print_note(&note.text);
    }
    let text = |(name, text): (&str, String)| Text { name: name.to_owned(), text: Arc::new(text) };
    Ok(capture.parts.into_iter().map(text).collect())
}

/// Reads a file of rules.
pub(crate) fn read_rules(path: &Path) -> Result<Text> {
    let text = read_text(path).map_err(|failure| match path.is_dir() {
        true => failure.help("a directory with the parts of a snapshot goes with `--snapshot`"),
        false => failure,
    })?;
    if is_snapshot(&text) {
        return Err(Failure::input(format!("{} is a snapshot, not rules", shown(path)))
            .help(format!("use `--snapshot {}`", path.display())));
    }
    let text = flush(path, text);
    rules_of(path, text)
}

/// A text without quotation marks and line numbers before its lines.
fn flush(path: &Path, text: String) -> String {
    let Some((text, margin)) = without_margin(&text) else { return text };
    print_note(format_args!("{}: {margin}", shown(path)));
    text
}

/// A text of rules.
fn rules_of(path: &Path, text: String) -> Result<Text> {
    if text.trim().is_empty() {
        return Err(Failure::input(format!("{} is empty", shown(path)))
            .help("iptables-save prints nothing without root, or where no rules are loaded"));
    }
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    Ok(Text { name, text: Arc::new(text) })
}

/// Reads a directory, or one file with headers.
fn read_snapshot(path: &Path) -> Result<Vec<Text>> {
    if path != Path::new("-") && path.is_dir() {
        return read_folder(path);
    }
    let text = read_text(path)?;
    if is_snapshot(&text) {
        return single::split(path, &text);
    }
    let text = flush(path, text);
    if let Some(parts) = single::transcribed(path, &text)? {
        return Ok(parts);
    }
    Err(Failure::input(format!(
        "{} is not a snapshot: no line starts with `#@ nattrace `, and behind no prompt stands a \
         command such as `ip addr`",
        shown(path)
    ))
    .help(format!("for rules alone use `--rules {}`", path.display())))
}

/// Reads the files that are parts by their names.
fn read_folder(folder: &Path) -> Result<Vec<Text>> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let mut parts = Vec::new();
    for name in names {
        if part_of(&name).is_some() {
            parts.push(Text { text: Arc::new(read_text(&folder.join(&name))?), name });
        } else if let Some(near) = misspelt(&name) {
            print_note(format_args!("`{name}` is not read: a part is called `{near}`"));
        }
    }
    if parts.is_empty() {
        let names = Part::ALL.map(Part::file_name).join(", ");
        return Err(Failure::input(format!("no part of a snapshot in {}", shown(folder)))
            .help(format!("the parts are {names}")));
    }
    Ok(parts)
}

/// The part that a file is surely meant to be although it is called in another way.
fn misspelt(name: &str) -> Option<&'static str> {
    let plain = name.replace(['_', ' '], "-").to_lowercase();
    let (part, _) = part_of(&plain)?;
    Some(part.file_name())
}

/// Reads a file, or standard input, as text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    decode(path, bytes.map_err(|error| unreadable(path, &error))?)
}

/// What compressed files begin with, and the program that takes them apart.
const COMPRESSED: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
];

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String> {
    if let Some((_, program)) = COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Failure::input(format!("{} is compressed by {program}", shown(path)))
            .help(format!("`{program} -dc FILE | nattrace … -` reads what is in it")));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Failure::input(format!("{} is UTF-16", shown(path)))
            .help("save it as UTF-8; PowerShell's `>` writes UTF-16"));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        Failure::input(format!("{} is not UTF-8: line {line}, byte {offset}", shown(path)))
            .help("the rules and parts of a snapshot are plain text")
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Why a file can't be read, with the name that may be meant.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::input(format!("can't read {}: {}", shown(path), cause_words(error)));
    match (error.kind(), neighbour(path)) {
        (io::ErrorKind::NotFound, Some(near)) => {
            failure.help(format!("a similar name exists: `{near}`"))
        }
        _ => failure,
    }
}

/// Why a file can't be written.
pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::input(format!("can't write {}: {}", shown(path), cause_words(error)))
}

/// What the system says, without the number that Rust puts behind the words.
fn cause_words(error: &io::Error) -> String {
    let cause = error.to_string();
    cause.split(" (os error").next().unwrap_or(&cause).to_lowercase()
}

/// The name beside a missing one that may be meant.
fn neighbour(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    let wanted = path.file_name()?.to_str()?;
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(here).ok()?;
    let names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let near = nearest(wanted, names.iter().map(String::as_str))?;
    Some(folder.join(near).display().to_string())
}

/// A path in a message.
fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_refused_with_the_place() {
        let path = Path::new("dump");
        let error = decode(path, b"a\nb\xffc".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "`dump` is not UTF-8: line 2, byte 3");
        let error = decode(path, b"\x1f\x8b\x08\0".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "`dump` is compressed by gzip");
        let error = decode(path, b"\xff\xfea\0".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "`dump` is UTF-16");
        assert_eq!(decode(path, b"\xef\xbb\xbf*nat".to_vec()).unwrap(), "*nat");
    }

    #[test]
    fn a_part_in_other_letters_is_noticed() {
        assert_eq!(misspelt("IPtables_save"), Some("iptables-save"));
        assert_eq!(misspelt("notes"), None);
    }
}
