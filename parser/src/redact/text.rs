//! The parts that are plain lines: settings, sockets, sets, connections, zones, and what `ip` and
//! `bridge` print without `-j`.

use std::fmt::Write;

use super::Pseudonyms;
use super::interface::Interfaces;
use super::name::{Kind, Names};

/// What stands before a name in a line.
fn named_by(word: &str) -> Option<Kind> {
    match word {
        "create" | "add" => Some(Kind::Set),
        "comment" => Some(Kind::Text),
        _ => None,
    }
}

/// Pieces of a line: words, and what is between them.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let inside = |char: char| {
            !char.is_whitespace()
                && !matches!(char, '"' | '[' | ']' | '(' | ')' | ',' | '=' | '@' | '%')
        };
        let kind = inside(first);
        let end = if first == '"' {
            rest.get(1..).and_then(|inner| inner.find('"')).map_or(rest.len(), |end| end + 2)
        } else {
            rest.find(|char| inside(char) != kind || char == '"')
                .filter(|end| *end > 0)
                .unwrap_or(rest.len())
        };
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Notes every name of a part.
pub(super) fn collect(text: &str, interfaces: &mut Interfaces, names: &mut Names) {
    for line in text.lines() {
        note_interfaces(line, interfaces);
        note_names(line, names);
    }
}

fn note_interfaces(line: &str, interfaces: &mut Interfaces) {
    for (before, word) in pairs(line) {
        if matches!(before, "dev" | "iif" | "oif" | "master") {
            interfaces.note(word);
        } else if let (Some(_), Some(name)) = (before.strip_suffix(':'), word.strip_suffix(':')) {
            // `2: eth0: <BROADCAST,…`
            interfaces.note(name);
        }
    }
    let key = line.split('=').next().unwrap_or_default().trim();
    if let Some(interface) = interface_of_key(key) {
        interfaces.note(&interface);
    }
    if let Some((_, list)) = line.split_once("via") {
        list.split('"').skip(1).step_by(2).for_each(|name| interfaces.note(name));
    }
}

fn note_names(line: &str, names: &mut Names) {
    if let Some(zone) = zone_of(line) {
        names.note(Kind::Zone, zone);
    }
    for (before, word) in pairs(line) {
        match named_by(before) {
            Some(Kind::Set) if !line.starts_with(before) => {}
            Some(kind) => names.note(kind, word.trim_matches('"')),
            None => {}
        }
    }
    if let Some((_, users)) = line.split_once("users:(") {
        users.split('"').skip(1).step_by(2).for_each(|process| names.note(Kind::Process, process));
    }
}

/// Each word with the one before it.
fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = pieces(line).into_iter().map(str::trim).filter(|piece| !piece.is_empty());
    words.scan("", |last, word| Some((std::mem::replace(last, word), word)))
}

/// The name in `[zones.NAME]`.
fn zone_of(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("[zones.")?.split(']').next()?;
    Some(name.trim_matches('"'))
}

/// The interface that a setting such as `net.ipv4.conf.eth0.rp_filter` is about.
fn interface_of_key(key: &str) -> Option<String> {
    let (_, rest) = [".conf.", ".neigh."].iter().find_map(|word| key.split_once(word))?;
    let (name, _) = rest.rsplit_once('.')?;
    (!matches!(name, "all" | "default")).then(|| name.replace('/', "."))
}

/// Settings: those of the network alone, as nothing else is asked for.
pub(super) fn sysctl(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let mut written = String::new();
    for line in text.lines().filter(|line| line.trim_start().starts_with("net.")) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let mut key = key.to_owned();
        if let Some(interface) = interface_of_key(key.trim()) {
            let pseudonym = pseudonyms.interfaces.pseudonym(&interface);
            key = key.replace(&interface.replace('.', "/"), &pseudonym.replace('.', "/"));
        }
        let value = pseudonyms.addresses_in(value);
        let _ = if line.contains('=') {
            writeln!(written, "{key}={value}")
        } else {
            writeln!(written, "{key}")
        };
    }
    written
}

/// Zones: without comments, with pseudonyms for their names.
pub(super) fn zones(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let mut written = String::new();
    for line in text.lines() {
        // No value of a zone holds a `#`.
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if let Some(zone) = zone_of(line) {
            let zone = pseudonyms.names.pseudonym(Kind::Zone, zone);
            let _ = writeln!(written, "[zones.{zone}]");
        } else {
            let _ = writeln!(written, "{}", strings(line, pseudonyms));
        }
    }
    written
}

/// A line of TOML with the strings in it replaced.
fn strings(line: &str, pseudonyms: &mut Pseudonyms) -> String {
    let replaced: Vec<String> = line
        .split('"')
        .enumerate()
        .map(|(at, piece)| {
            let inside = at % 2 == 1;
            if inside && pseudonyms.interfaces.knows(piece) {
                pseudonyms.interfaces.pseudonym(piece)
            } else {
                pseudonyms.addresses_in(piece)
            }
        })
        .collect();
    replaced.join("\"")
}

/// Any other lines.
pub(super) fn lines(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let mut written = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.starts_with('#') {
            written.push_str("#\n");
            continue;
        }
        let mut last = "";
        let mut plain = String::new();
        for piece in pieces(line) {
            match word(piece, last, pseudonyms) {
                Some(pseudonym) => {
                    written.push_str(&pseudonyms.addresses_in(&plain));
                    plain.clear();
                    written.push_str(&pseudonym);
                }
                None => plain.push_str(piece),
            }
            if !piece.trim().is_empty() {
                last = piece.trim();
            }
        }
        written.push_str(&pseudonyms.addresses_in(&plain));
    }
    written
}

/// The pseudonym of a word, if it has one.
fn word(piece: &str, last: &str, pseudonyms: &Pseudonyms) -> Option<String> {
    let bare = piece.trim_matches('"');
    let name = bare.trim_end_matches(':');
    let behind = bare.get(name.len()..).unwrap_or_default();
    let changed = |pseudonym: String, original: &str| (pseudonym != original).then_some(pseudonym);
    let pseudonym = if named_by(last) == Some(Kind::Text) {
        changed(pseudonyms.names.pseudonym(Kind::Text, bare), bare)
    } else if pseudonyms.interfaces.knows(name) {
        changed(pseudonyms.interfaces.pseudonym(name), name).map(|it| format!("{it}{behind}"))
    } else if piece.starts_with('"') {
        changed(pseudonyms.names.pseudonym(Kind::Process, bare), bare)
    } else {
        changed(pseudonyms.names.pseudonym(Kind::Set, bare), bare)
    }?;
    Some(if piece.starts_with('"') { format!("\"{pseudonym}\"") } else { pseudonym })
}
