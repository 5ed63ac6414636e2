//! A snapshot in one file: each part headed by a line `#@ nattrace NAME`.

use nattrace_model::build::part_of;
use nattrace_model::host::Part;
use nattrace_parser::diagnostic::nearest;

use super::Text;
use crate::exit::{Failure, Result};

/// What a header starts with.
pub(crate) const HEADER: &str = "#@ nattrace ";

/// The header behind the last part.
pub(crate) const END: &str = "end";

/// The first line of a file that was made by a machine: it ends with [`END`], or was cut off.
pub(crate) const PROMISE: &str =
    "# A snapshot by nattrace: complete if it ends with a line `#@ nattrace end`.";

/// Whether a text has headers.
pub(crate) fn is_snapshot(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(HEADER))
}

/// Takes a file apart. A part that is there twice counts once, the later one.
pub(crate) fn split(file: &str, text: &str) -> Result<Vec<Text>> {
    let mut parts: Vec<Text> = Vec::new();
    let mut start = None;
    let mut offset = 0;
    let mut ended = false;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if let Some(name) = line.strip_prefix(HEADER) {
            finish(&mut parts, start.take(), text, offset);
            match name.trim() {
                END => ended = true,
                name => start = Some((known(file, index + 1, name)?, offset + line.len())),
            }
        }
        offset += line.len();
    }
    finish(&mut parts, start.take(), text, offset);
    if text.starts_with(PROMISE) && !ended {
        return Err(Failure::input(format!("the snapshot `{file}` is cut off"))
            .help("its last line must be `#@ nattrace end`: collect it again"));
    }
    Ok(parts)
}

fn known(file: &str, line: usize, name: &str) -> Result<&'static str> {
    let names = || Part::ALL.map(Part::file_name);
    if let Some((known, _)) = part_of(name) {
        return Ok(known.file_name());
    }
    let unknown = Failure::input(format!("unknown part `{name}` in `{file}`, line {line}"));
    Err(match nearest(name, names()) {
        Some(near) => unknown.help(format!("a similar part exists: `{near}`")),
        None => unknown.help(format!("the parts are {}", names().join(", "))),
    })
}

fn finish(parts: &mut Vec<Text>, start: Option<(&'static str, usize)>, text: &str, end: usize) {
    let Some((name, start)) = start else { return };
    parts.retain(|part| part.name != name);
    let text = text.get(start..end).unwrap_or("").to_owned();
    parts.push(Text { name: name.to_owned(), text });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        split("file", text).unwrap().into_iter().map(|part| (part.name, part.text)).collect()
    }

    #[test]
    fn parts_reach_to_the_next_header() {
        let text = "prose\n#@ nattrace sysctl\na = 1\n#@ nattrace ipset-save\n#@ nattrace end\n";
        let expected = [("sysctl", "a = 1\n"), ("ipset-save", "")];
        assert_eq!(names(text), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn windows_line_ends_do_not_hide_a_header() {
        assert_eq!(
            names("#@ nattrace sysctl\r\na = 1\r\n"),
            [("sysctl".into(), "a = 1\r\n".into())]
        );
    }

    #[test]
    fn the_later_one_of_two_counts() {
        let text = "#@ nattrace sysctl\na = 1\n#@ nattrace sysctl\na = 2\n";
        assert_eq!(names(text), [("sysctl".into(), "a = 2\n".into())]);
    }

    #[test]
    fn a_file_that_lacks_its_promised_end_is_refused() {
        let whole = format!("{PROMISE}\n#@ nattrace sysctl\na = 1\n#@ nattrace end\n");
        assert_eq!(names(&whole).len(), 1);
        let cut = whole.replace("#@ nattrace end\n", "");
        assert!(split("file", &cut).unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn an_unknown_part_is_refused() {
        let error = split("file", "\n#@ nattrace sysctrl\n").unwrap_err();
        assert_eq!(error.to_string(), "unknown part `sysctrl` in `file`, line 2");
    }
}
