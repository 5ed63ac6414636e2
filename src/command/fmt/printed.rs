//! What `nattrace fmt` prints, for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::stats::Lines;

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/fmt/1";

/// The rules of one text.
#[derive(Debug, Serialize)]
pub(super) struct Printed<'a> {
    /// The name of the text.
    pub(super) text: &'a str,
    /// The rules as iptables-save prints them.
    pub(super) rules: String,
    /// Where the text is written in another way, if that was asked.
    pub(super) differs: Option<String>,
}

/// Writes one document, or a line for each text.
pub(super) fn write_json(
    out: &mut impl Write,
    printed: &[Printed<'_>],
    lines: Lines,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'a str,
        texts: &'a [Printed<'a>],
    }
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'a str,
        #[serde(flatten)]
        one: &'a Printed<'a>,
    }
    match lines {
        Lines::Many => {
            serde_json::to_writer_pretty(&mut *out, &Document { schema: SCHEMA, texts: printed })?;
            out.write_all(b"\n")
        }
        Lines::One => printed.iter().try_for_each(|one| {
            serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, one })?;
            out.write_all(b"\n")
        }),
    }
}
