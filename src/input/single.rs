//! A snapshot in one file: each part headed by a line `#@ nattrace NAME`, or by a prompt with the
//! command that printed it.

use std::path::Path;
use std::sync::Arc;

use nattrace_model::build::part_of;
use nattrace_model::host::Part;
use nattrace_parser::host::{snapshot, transcript};

use super::Text;
use crate::exit::Result;
use crate::output::diagnostic::{Source, print_diagnostics};

/// What a header starts with.
pub(crate) const HEADER: &str = "#@ nattrace ";

/// The header behind the last part.
pub(crate) const END: &str = "end";

/// The first line of a file that was made by a machine: it ends with [`END`], or was cut off.
pub(crate) const PROMISE: &str =
    "# A snapshot by nattrace: complete if it ends with a line `#@ nattrace end`.";

/// Takes a file apart, and prints what there is to say about its headers.
pub(crate) fn split(path: &Path, text: &str) -> Result<Vec<Text>> {
    let (parts, diagnostics) = snapshot::split(text);
    let name = path.display().to_string();
    let source = Source { name: &name, text };
    print_diagnostics(diagnostics.iter().map(|diagnostic| (source, diagnostic)))?;
    let known = parts.into_iter().filter(|part| part.part.is_some());
    Ok(known
        .map(|part| Text { name: part.name.to_owned(), text: Arc::new(part.text.to_owned()) })
        .collect())
}

/// The parts in what a terminal showed, and prints what was left out; `None` if there are none.
pub(crate) fn transcribed(path: &Path, text: &str) -> Result<Option<Vec<Text>>> {
    let Some((parts, diagnostics)) = transcript::read(text) else { return Ok(None) };
    let name = path.display().to_string();
    let source = Source { name: &name, text };
    print_diagnostics(diagnostics.iter().map(|diagnostic| (source, diagnostic)))?;
    let part = |part: transcript::TranscriptPart| Text {
        name: part.name.to_owned(),
        text: Arc::new(part.text),
    };
    Ok(Some(parts.into_iter().map(part).collect()))
}

/// Whether parts tell more of a host than its rules.
pub(crate) fn is_host(parts: &[Text]) -> bool {
    let of_rules = [Part::Rules4, Part::Rules6, Part::LegacyRules4, Part::LegacyRules6].map(Some);
    parts.iter().any(|text| !of_rules.contains(&part_of(&text.name).map(|(part, _)| part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_here_is_what_is_read() {
        let text = format!("{PROMISE}\n{HEADER}sysctl\na = 1\n{HEADER}ipset-save\n{HEADER}{END}\n");
        assert_eq!(snapshot::split(&text).1, []);
        let parts = split(Path::new("file"), &text).unwrap();
        let expected = [("sysctl", "a = 1\n"), ("ipset-save", "")];
        let expected = expected
            .map(|(name, text)| Text { name: name.into(), text: Arc::new(text.to_owned()) });
        assert_eq!(parts, expected);
        let cut = text.replace(&format!("{HEADER}{END}\n"), "");
        assert_eq!(snapshot::split(&cut).1.len(), 1);
        assert!(nattrace_apply::SCRIPT.contains(PROMISE));
    }
}
