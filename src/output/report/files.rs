//! Which file, and which line of it, a place such as `iptables-save:14` is: what programs that show
//! a report beside its files want to know.

use std::env;
use std::path::Path;

use nattrace_parser::host::snapshot;

use super::Place;
use crate::args::Global;
use crate::input;

/// The files that the parts of a host were read from.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Files of rules, which are called as they are.
    rules: Vec<String>,
    parts: Parts,
}

/// Where the parts of a snapshot are.
#[derive(Debug, Default)]
enum Parts {
    /// Nowhere: this host, or standard input.
    #[default]
    Unknown,
    /// Each in a file of its own in a directory.
    Folder(String),
    /// All in one file, with how many lines stand before each.
    One { file: String, before: Vec<(String, usize)> },
}

impl Files {
    /// The files that the options name.
    pub(crate) fn of(global: &Global) -> Self {
        let stdin = Path::new("-");
        let rules = global.rules.iter().filter(|path| *path != stdin);
        let rules = rules.map(|path| path.display().to_string()).collect();
        let parts = match global.snapshot.as_deref().filter(|path| *path != stdin) {
            None => Parts::Unknown,
            Some(path) if path.is_dir() => Parts::Folder(path.display().to_string()),
            Some(path) => in_one(path),
        };
        Self { rules, parts }
    }

    /// The place of `iptables-save:14`; none where that is in no file.
    pub(crate) fn place(&self, place: &str) -> Option<Place> {
        let (name, line) = place.rsplit_once(':')?;
        let line: usize = line.parse().ok().filter(|line| *line > 0)?;
        let plain = name.strip_prefix("./").unwrap_or(name);
        if self.rules.iter().any(|file| file == name || file == plain) {
            return Some(Place::line(relative(name), line));
        }
        if name == "stdin" {
            return None;
        }
        Some(match &self.parts {
            Parts::Unknown => Place::line(name.to_owned(), line),
            Parts::Folder(folder) => {
                Place::line(relative(&Path::new(folder).join(name).display().to_string()), line)
            }
            Parts::One { file, before } => {
                let before = before.iter().find(|(part, _)| part == name).map(|(_, lines)| *lines);
                match before {
                    Some(before) => Place::line(relative(file), before + line),
                    None => Place::line(name.to_owned(), line),
                }
            }
        })
    }
}

/// Where the parts stand in a snapshot of one file. What a terminal showed keeps no such lines.
fn in_one(path: &Path) -> Parts {
    let Ok(text) = input::read_text(path) else { return Parts::Unknown };
    let (parts, _) = snapshot::split(&text);
    let lines = |end: u32| {
        let before = text.get(..end as usize).unwrap_or("");
        before.bytes().filter(|byte| *byte == b'\n').count()
    };
    let before = parts.iter().map(|part| (part.name.to_owned(), lines(part.span.start))).collect();
    Parts::One { file: path.display().to_string(), before }
}

/// A path as seen from where the program runs, which in CI is the repository.
pub(crate) fn relative(path: &str) -> String {
    let here = env::current_dir().ok();
    let inside = here.and_then(|here| Some(Path::new(path).strip_prefix(here).ok()?.to_owned()));
    let path = inside.map_or_else(|| path.to_owned(), |inside| inside.display().to_string());
    path.strip_prefix("./").map(str::to_owned).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_file_of_the_folder_and_rules_are_themselves() {
        let files = Files {
            rules: vec!["rules/rules.v4".to_owned()],
            parts: Parts::Folder("hosts/web".to_owned()),
        };
        let place = |text: &str| files.place(text).map(|place| (place.file, place.line));
        assert_eq!(place("iptables-save:14"), Some(("hosts/web/iptables-save".to_owned(), 14)));
        assert_eq!(place("rules/rules.v4:3"), Some(("rules/rules.v4".to_owned(), 3)));
        assert_eq!(place("nft-ruleset.json:handle 7"), None);
        assert_eq!(place("stdin:7"), None);
    }

    #[test]
    fn a_part_of_one_file_stands_behind_those_before_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("host.snapshot");
        let text = "#@ nattrace sysctl\na = 1\n#@ nattrace iptables-save\n*nat\nCOMMIT\n";
        std::fs::write(&path, text).unwrap();
        let files = Files { rules: Vec::new(), parts: in_one(&path) };
        let place = files.place("iptables-save:1").unwrap();
        assert_eq!((place.file, place.line), (path.display().to_string(), 4));
    }

    #[test]
    fn a_path_in_the_folder_is_seen_from_there() {
        let here = env::current_dir().unwrap();
        assert_eq!(relative(&here.join("a/b").display().to_string()), "a/b");
        assert_eq!(relative("./a"), "a");
        assert_eq!(relative("/nowhere/a"), "/nowhere/a");
    }
}
