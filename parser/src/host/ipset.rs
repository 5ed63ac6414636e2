//! Sets of addresses and ports, as `ipset save` prints them.

mod element;

use std::collections::HashMap;
use std::net::IpAddr;

pub use element::{Dimension, Element};

use super::Read;
use super::line::{Line, Word, Words, lines};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::Family;

/// One set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// Its type as ipset(8) writes it, such as `hash:ip,port`.
    pub kind: String,
    /// What its entries consist of; `None` for a type that is not known, whose entries are not
    /// read then.
    pub dimensions: Option<Vec<Dimension>>,
    /// The family of its addresses; absent for types without addresses.
    pub family: Option<Family>,
    /// The mask that is laid over every address before it is added or looked up: an entry stands
    /// for all addresses that agree with it under the mask.
    pub mask: Option<IpAddr>,
    /// The mask that is laid over every mark before it is added or looked up.
    pub mark_mask: Option<u32>,
    /// Whether entries expire, and after how many seconds by default; 0 is never.
    pub timeout: Option<u32>,
    /// Its entries in the order of the text.
    pub entries: Vec<Entry>,
    /// Options and entries that were not understood; with any, nothing may rely on what is not in
    /// the set, nor on what is. Each is a warning too.
    pub unsupported: Vec<String>,
    /// Where it is created.
    pub span: Span,
}

/// One entry of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// One element for each dimension; the hardware address of `bitmap:ip,mac` may be missing,
    /// which stands for any.
    pub elements: Vec<Element>,
    /// Whether it is an exception from a wider entry.
    pub no_match: bool,
    /// The seconds until it expires; 0 is never.
    pub timeout: Option<u32>,
    /// The mark and mask that `SET --map-set` gives to packets.
    pub mark: Option<(u32, u32)>,
    /// Its comment.
    pub comment: Option<String>,
    /// Where it stands.
    pub span: Span,
}

/// Reads what `ipset save` printed.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<IpSet>> {
    let mut reader = Reader::default();
    for line in lines(text).filter(|line| !line.is_blank()) {
        if let Err(diagnostic) = reader.line(&line) {
            reader.diagnostics.push(diagnostic);
        }
    }
    (reader.sets, reader.diagnostics)
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    sets: Vec<IpSet>,
    by_name: HashMap<String, usize>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) -> Result<(), Diagnostic> {
        let mut words = line.words();
        while words.accept("-exist").or_else(|| words.accept("-!")).is_some() {}
        let Some(command) = words.next() else { return Ok(()) };
        match command.text {
            "create" | "-N" | "--create" | "n" => self.create(&mut words, line),
            "add" | "-A" | "--add" | "a" => self.add(&mut words, line),
            "COMMIT" => Ok(()),
            text if text.starts_with('#') => Ok(()),
            _ => Err(line.not_understood("`create` or `add`, as `ipset save` prints")),
        }
    }

    fn create(&mut self, words: &mut Words<'_>, line: &Line<'_>) -> Result<(), Diagnostic> {
        let name = words.expect("the name of a set")?;
        let kind = words.expect("the type of a set")?;
        let dimensions = Dimension::of_type(kind.text);
        if dimensions.is_none() {
            let message =
                format!("the type `{}` of a set is not known; its entries are not read", kind.text);
            self.diagnostics.push(Diagnostic::warning("unsupported-set-type", message, kind.span));
        }
        let mut set = IpSet {
            name: name.text.to_owned(),
            kind: kind.text.to_owned(),
            // The default of ipset, and all that the bitmaps know.
            family: dimensions.as_deref().and_then(Dimension::default_family),
            dimensions,
            span: line.span,
            ..IpSet::default()
        };
        let options =
            create_options(&mut set, words).inspect_err(|_| set.unsupported.push(shown(line)));
        match self.by_name.insert(set.name.clone(), self.sets.len()) {
            None => self.sets.push(set),
            Some(earlier) => {
                self.by_name.insert(set.name, earlier);
                let message = format!("the set `{}` is created twice", name.text);
                return Err(Diagnostic::warning("duplicate-set", message, name.span));
            }
        }
        options
    }

    fn add(&mut self, words: &mut Words<'_>, line: &Line<'_>) -> Result<(), Diagnostic> {
        let name = words.expect("the name of a set")?;
        let set = self.by_name.get(name.text).and_then(|&at| self.sets.get_mut(at));
        let Some(set) = set else {
            let message = format!("the set `{}` is not created before", name.text);
            return Err(Diagnostic::warning("unknown-set", message, name.span));
        };
        let Some(dimensions) = &set.dimensions else { return Ok(()) };
        let result = entry(words, dimensions, set.family, line);
        match result {
            Ok(entry) => {
                set.entries.push(entry);
                Ok(())
            }
            Err(diagnostic) => {
                set.unsupported.push(shown(line));
                Err(diagnostic)
            }
        }
    }
}

/// A line as it is quoted among what was not understood.
fn shown(line: &Line<'_>) -> String {
    line.text.trim().to_owned()
}

/// One entry with its options.
fn entry(
    words: &mut Words<'_>,
    dimensions: &[Dimension],
    family: Option<Family>,
    line: &Line<'_>,
) -> Result<Entry, Diagnostic> {
    let elements = element::parse(words.expect("an entry")?, dimensions, family)?;
    let mut entry = Entry { elements, span: line.span, ..Entry::default() };
    entry_options(&mut entry, words, line)?;
    Ok(entry)
}

/// What follows the type of a set.
fn create_options(set: &mut IpSet, words: &mut Words<'_>) -> Result<(), Diagnostic> {
    while let Some(word) = words.next() {
        match word.text {
            "family" => {
                let family = words.expect("`inet` or `inet6`")?;
                set.family = Some(match family.text {
                    "inet" | "ipv4" => Family::Ipv4,
                    "inet6" | "ipv6" => Family::Ipv6,
                    _ => return Err(family.unexpected("`inet` or `inet6`")),
                });
            }
            "netmask" => {
                let length = words.expect("a prefix length")?;
                set.mask = Some(netmask(length, set.family)?);
            }
            "bitmask" => set.mask = Some(words.parse("a mask")?),
            "markmask" => set.mark_mask = Some(number(words.expect("a mask")?)?),
            "timeout" => set.timeout = Some(words.parse("a number of seconds")?),
            // The range only bounds what can be added; the rest is about storage and about what
            // entries may carry.
            "range" | "from" | "to" | "hashsize" | "maxelem" | "bucketsize" | "initval"
            | "size" | "probes" | "resize" | "gc" => {
                words.expect("a value")?;
            }
            "counters" | "comment" | "skbinfo" | "forceadd" | "wildcard" => {}
            _ => return Err(word.unexpected("an option of a set")),
        }
    }
    Ok(())
}

/// The mask of a prefix length.
fn netmask(word: Word<'_>, family: Option<Family>) -> Result<IpAddr, Diagnostic> {
    let length: u8 = word.parse("a prefix length")?;
    let any: IpAddr = match family {
        Some(Family::Ipv6) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ => std::net::Ipv4Addr::UNSPECIFIED.into(),
    };
    ipnet::IpNet::new(any, length)
        .map(|net| net.netmask())
        .map_err(|_| word.unexpected("a prefix length"))
}

/// What follows an entry.
fn entry_options(
    entry: &mut Entry,
    words: &mut Words<'_>,
    line: &Line<'_>,
) -> Result<(), Diagnostic> {
    while let Some(word) = words.next() {
        match word.text {
            "nomatch" => entry.no_match = true,
            "timeout" => entry.timeout = Some(words.parse("a number of seconds")?),
            "comment" => entry.comment = Some(quoted(words, line)?),
            "skbmark" => {
                let mark = words.expect("a mark")?;
                let (value, mask) = mark.text.split_once('/').unwrap_or((mark.text, "0xffffffff"));
                let read = |text| number(Word { text, span: mark.span });
                entry.mark = Some((read(value)?, read(mask)?));
            }
            "wildcard" => {
                for element in &mut entry.elements {
                    if let Element::Interface { wildcard, .. } = element {
                        *wildcard = true;
                    }
                }
            }
            "packets" | "bytes" | "skbprio" | "skbqueue" => {
                words.expect("a value")?;
            }
            // A list keeps its order, which the order of the lines tells already.
            "before" | "after" => {
                words.expect("the name of a set")?;
            }
            _ => return Err(word.unexpected("an option of an entry")),
        }
    }
    Ok(())
}

/// A comment in quotes; ipset allows no quote inside of one.
fn quoted(words: &mut Words<'_>, line: &Line<'_>) -> Result<String, Diagnostic> {
    let first = words.expect("a comment in quotes")?;
    if !first.text.starts_with('"') {
        return Ok(first.text.to_owned());
    }
    let mut last = first;
    while last.text.len() < 2 && last.span == first.span || !last.text.ends_with('"') {
        last = words.expect("the end of a comment in quotes")?;
    }
    let from = line.span.start;
    let inner = Span { start: first.span.start - from + 1, end: last.span.end - from - 1 };
    Ok(inner.slice(line.text).to_owned())
}

/// A number, in hexadecimal with `0x`.
fn number(word: Word<'_>) -> Result<u32, Diagnostic> {
    let number = match word.text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.text.parse().ok(),
    };
    number.ok_or_else(|| word.unexpected("a number"))
}

#[cfg(test)]
mod tests;
