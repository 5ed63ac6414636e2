//! The parts of a snapshot, and a snapshot in one file.

use std::collections::HashSet;

use super::Read;
use super::line::lines;
use crate::diagnostic::{Diagnostic, nearest};
use crate::span::Span;

/// The parts of a snapshot by the names of their files, in the order of the contract.
pub const PART_NAMES: [&str; 18] = [
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "nft-ruleset.json",
    "ipset-save",
    "ip-addr.json",
    "ip-route.json",
    "ip6-route.json",
    "ip-rule.json",
    "ip6-rule.json",
    "bridge-link.json",
    "sysctl",
    "listeners",
    "docker-network-inspect.json",
    "docker-inspect.json",
    "conntrack",
    "zones.toml",
];

/// Other names of parts: the text forms of what is JSON otherwise, and other listings of rules.
const VARIANTS: [(&str, &str); 16] = [
    ("iptables-S", "iptables-save"),
    ("iptables-L", "iptables-save"),
    ("iptables-Lnv", "iptables-save"),
    ("ip6tables-S", "ip6tables-save"),
    ("ip6tables-L", "ip6tables-save"),
    ("ip6tables-Lnv", "ip6tables-save"),
    ("nft-ruleset", "nft-ruleset.json"),
    ("ip-addr", "ip-addr.json"),
    ("ip-route", "ip-route.json"),
    ("ip6-route", "ip6-route.json"),
    ("ip-rule", "ip-rule.json"),
    ("ip6-rule", "ip6-rule.json"),
    ("bridge-link", "bridge-link.json"),
    ("docker-network-inspect", "docker-network-inspect.json"),
    ("docker-inspect", "docker-inspect.json"),
    ("zones", "zones.toml"),
];

/// What a header of a part starts with.
const HEADER: &str = "#@ nattrace";

/// The name behind the last part of a snapshot that was collected to its end.
const END: &str = "end";

/// One part of a snapshot in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPart<'a> {
    /// Its name as it is written.
    pub name: &'a str,
    /// Its name among [`PART_NAMES`], if it is one of these or a variant of one.
    pub part: Option<&'static str>,
    /// Its text, without the header.
    pub text: &'a str,
    /// The name in its header.
    pub header: Span,
    /// Where its text stands in the file. A place in the part's text plus this start is one in
    /// the file.
    pub span: Span,
}

/// The name among [`PART_NAMES`] of a file or a header; variants such as `ip-addr` and
/// `iptables-S` count as the part that they stand for.
#[must_use]
pub fn part_name(name: &str) -> Option<&'static str> {
    let variants = || VARIANTS.iter().find(|(variant, _)| *variant == name).map(|(_, part)| *part);
    PART_NAMES.iter().find(|part| **part == name).copied().or_else(variants)
}

/// The known name of a part that is nearest to an unknown one, if any is near.
#[must_use]
pub fn nearest_part(name: &str) -> Option<&'static str> {
    nearest(name, PART_NAMES.iter().copied().chain(VARIANTS.iter().map(|(variant, _)| *variant)))
}

/// Whether a text is a snapshot in one file: it has a header of a part.
#[must_use]
pub fn is_snapshot(text: &str) -> bool {
    // Most texts are not, and some of those are long.
    memchr::memmem::find(text.as_bytes(), HEADER.as_bytes()).is_some()
        && lines(text).any(|line| header_name(line.text).is_some())
}

/// Splits a snapshot in one file into its parts, in their order.
///
/// A part of an unknown name is kept, with a warning. A name that is there twice is an error, and
/// so is text before the first header, comments apart. The same part in two variants, such as
/// `ip-addr` and `ip-addr.json`, is fine; which to read is up to the reader of the snapshot.
#[must_use]
pub fn split(text: &str) -> Read<Vec<SnapshotPart<'_>>> {
    let mut diagnostics = Vec::new();
    let mut parts: Vec<SnapshotPart<'_>> = Vec::new();
    let mut names: HashSet<&str> = HashSet::new();
    let mut lost: Option<Span> = None;
    let mut headers = headers(text).into_iter().peekable();
    let first = headers.peek().map_or(text.len(), |header| header.line.start as usize);
    let before = text.get(..first).unwrap_or("");
    for line in lines(before)
        .filter(|line| !line.text.trim().is_empty() && !line.text.trim().starts_with('#'))
    {
        lost = Some(lost.map_or(line.span, |known| known.cover(line.span)));
    }
    if let Some(span) = lost {
        let message = "expected a line `#@ nattrace NAME` before the first part";
        diagnostics.push(
            Diagnostic::error("no-part-header", message, span)
                .help("each part of a snapshot in one file starts with such a line"),
        );
    }
    let mut ended = false;
    while let Some(header) = headers.next() {
        let end = headers.peek().map_or(text.len(), |next| next.line.start as usize);
        let body = text.get(header.body..end).unwrap_or("");
        let part = SnapshotPart {
            name: header.name.slice(text),
            part: part_name(header.name.slice(text)),
            text: body,
            header: header.name,
            span: Span::new(header.body, end),
        };
        ended |= part.name == END;
        match part.name {
            END if body.trim().is_empty() => {}
            END => {
                let message = "expected nothing behind the end of the snapshot";
                diagnostics.push(Diagnostic::warning("text-after-end", message, part.span));
            }
            _ => {
                diagnostics.extend(complaint(&part, names.insert(part.name)));
                parts.push(part);
            }
        }
    }
    if !ended && before.contains("# A snapshot by nattrace: complete if it ends") {
        let end = text.trim_end().len();
        let message = "the snapshot is cut off: its last line `#@ nattrace end` is missing";
        diagnostics.push(Diagnostic::error("incomplete-snapshot", message, Span::new(end, end)));
    }
    (parts, diagnostics)
}

/// A header in its file.
struct Header {
    /// Its line.
    line: Span,
    /// The name in it.
    name: Span,
    /// The first byte behind its line.
    body: usize,
}

fn headers(text: &str) -> Vec<Header> {
    let mut headers = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let Some(name) = header_name(line) else { continue };
        let name_start = start + (name.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
        headers.push(Header {
            line: Span::new(start, offset),
            name: Span::new(name_start, name_start + name.len()),
            body: offset,
        });
    }
    headers
}

/// The name in a header; empty where it is missing.
fn header_name(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('\u{feff}').strip_prefix(HEADER)?;
    let name = rest.trim();
    (name.len() < rest.len() || rest.is_empty()).then_some(name)
}

/// What is wrong with the name of a part, which is there for the first time or again.
fn complaint(part: &SnapshotPart<'_>, is_first: bool) -> Option<Diagnostic> {
    let name = part.name;
    if name.is_empty() {
        let message = "expected the name of a part behind `#@ nattrace`";
        return Some(Diagnostic::error("no-part-name", message, part.header));
    }
    if !is_first {
        let message = format!("the part `{name}` is there twice");
        return Some(Diagnostic::error("duplicate-part", message, part.header));
    }
    if part.part.is_none() {
        let message = format!("expected the name of a part, found `{name}`");
        let diagnostic = Diagnostic::warning("unknown-part", message, part.header)
            .label("this part is not read");
        return Some(match nearest_part(name) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    #[test]
    fn parts_are_split_and_keep_their_places() {
        let text = "# A snapshot by nattrace: complete if it ends with a line `#@ nattrace end`.\r\n#@ nattrace sysctl\r\nnet.ipv4.ip_forward = 1\r\n#@ nattrace ipset-save\n#@ nattrace ip-addr\n1: lo\n#@ nattrace end\n";
        let (parts, complaints) = split(text);
        assert_eq!(complaints, []);
        let seen: Vec<_> = parts.iter().map(|part| (part.name, part.part, part.text)).collect();
        let expected = [
            ("sysctl", Some("sysctl"), "net.ipv4.ip_forward = 1\r\n"),
            ("ipset-save", Some("ipset-save"), ""),
            ("ip-addr", Some("ip-addr.json"), "1: lo\n"),
        ];
        assert_eq!(seen, expected);
        for part in &parts {
            assert_eq!((part.span.slice(text), part.header.slice(text)), (part.text, part.name));
        }
        assert!(is_snapshot(text) && !is_snapshot("*filter\nCOMMIT\n# nattrace\n"));
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let text = "hello\n#@ nattrace sysctl\n#@ nattrace sysctl\n#@ nattrace ip-adr.json\n#@ nattrace\n#@ nattrace observed.md\n#@ nattrace end\nmore\n";
        let (parts, complaints) = split(text);
        assert_eq!(parts.len(), 5);
        let seen: Vec<_> = complaints
            .iter()
            .map(|found| (found.code, found.severity, found.span.slice(text)))
            .collect();
        let expected = [
            ("no-part-header", Severity::Error, "hello"),
            ("duplicate-part", Severity::Error, "sysctl"),
            ("unknown-part", Severity::Warning, "ip-adr.json"),
            ("no-part-name", Severity::Error, ""),
            ("unknown-part", Severity::Warning, "observed.md"),
            ("text-after-end", Severity::Warning, "more\n"),
        ];
        assert_eq!(seen, expected);
        assert_eq!(complaints[2].help.as_deref(), Some("did you mean `ip-addr.json`?"));
    }

    #[test]
    fn a_collected_snapshot_without_its_end_is_cut_off() {
        let text = "# A snapshot by nattrace: complete if it ends with a line `#@ nattrace end`.\n#@ nattrace sysctl\nnet.ipv4.ip_for";
        assert_eq!(
            split(text).1.iter().map(|found| found.code).collect::<Vec<_>>(),
            ["incomplete-snapshot"]
        );
        assert_eq!(split("#@ nattrace sysctl\n").1, []);
    }

    #[test]
    fn every_name_and_variant_is_known() {
        for name in PART_NAMES {
            assert_eq!(part_name(name), Some(name));
        }
        for (variant, part) in VARIANTS {
            assert_eq!(part_name(variant), Some(part));
            assert!(PART_NAMES.contains(&part));
        }
        assert_eq!(part_name("end"), None);
        assert_eq!(nearest_part("iptables-svae"), Some("iptables-save"));
    }
}
