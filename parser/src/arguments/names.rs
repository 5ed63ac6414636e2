//! Words of a closed vocabulary, alone or as a list of bits.

use std::borrow::Cow;

use super::Fault;
use crate::diagnostic::nearest;
use crate::syntax::Value;
use crate::words::clip;

/// One of some words, as its canonical spelling. Case does not count.
pub(crate) fn keyword(
    text: &str,
    table: &'static [&'static [&'static str]],
) -> Result<Value<'static>, Fault> {
    table
        .iter()
        .find(|row| row.iter().any(|name| name.eq_ignore_ascii_case(text)))
        .and_then(|row| row.first())
        .map(|name| Value::Text(Cow::Borrowed(name)))
        .ok_or_else(|| unknown(text, table.iter().copied().flatten().copied()))
}

/// One of some words in exactly this case, as its canonical spelling.
pub(crate) fn exact_keyword(
    text: &str,
    table: &'static [&'static [&'static str]],
) -> Result<Value<'static>, Fault> {
    table
        .iter()
        .find(|row| row.contains(&text))
        .and_then(|row| row.first())
        .map(|name| Value::Text(Cow::Borrowed(name)))
        .ok_or_else(|| unknown(text, table.iter().copied().flatten().copied()))
}

/// A list of names, of each of which the beginning is enough; the first that fits counts.
pub(crate) fn short_bits(
    text: &str,
    table: &'static [(&'static str, u32)],
) -> Result<Value<'static>, Fault> {
    let mut found = 0;
    for item in text.split(',') {
        let starts = |name: &str| {
            name.get(..item.len()).is_some_and(|start| start.eq_ignore_ascii_case(item))
        };
        let known = table.iter().find(|(name, _)| !item.is_empty() && starts(name));
        let (_, bit) = known.ok_or_else(|| unknown(item, table.iter().map(|(name, _)| *name)))?;
        found |= bit;
    }
    Ok(Value::Bits(found))
}

/// A list of names in exactly this case.
pub(crate) fn exact_bits(
    text: &str,
    table: &'static [(&'static str, u32)],
) -> Result<Value<'static>, Fault> {
    of_items(text.split(','), table)
}

/// A list of names in exactly this case, as strtok(3) takes it apart: what is empty is no item.
pub(crate) fn loose_bits(
    text: &str,
    table: &'static [(&'static str, u32)],
) -> Result<Value<'static>, Fault> {
    of_items(text.split(',').filter(|item| !item.is_empty()), table)
}

fn of_items<'t>(
    mut items: impl Iterator<Item = &'t str>,
    table: &'static [(&'static str, u32)],
) -> Result<Value<'static>, Fault> {
    let bits = items.try_fold(0, |bits, item| {
        let known = table.iter().find(|(name, _)| *name == item);
        let (_, bit) = known.ok_or_else(|| unknown(item, table.iter().map(|(name, _)| *name)))?;
        Ok(bits | bit)
    });
    bits.map(Value::Bits)
}

/// A list of names, each of which stands for some bits, as strtok(3) takes it apart: what is empty
/// is no item. Case does not count.
pub(crate) fn bits(
    text: &str,
    table: &'static [(&'static str, u32)],
) -> Result<Value<'static>, Fault> {
    let mut bits = 0;
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (_, bit) = table
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(item))
            .ok_or_else(|| unknown(item, table.iter().map(|(name, _)| *name)))?;
        bits |= bit;
    }
    Ok(Value::Bits(bits))
}

/// The fault of a word outside of its vocabulary.
pub(crate) fn unknown<'t>(text: &str, known: impl Iterator<Item = &'t str> + Clone) -> Fault {
    let fault = Fault::new("unknown-value", format!("unknown value `{}`", clip(text)));
    let upper = text.to_uppercase();
    let near = (text.len() <= 60)
        .then(|| nearest(text, known.clone()).or_else(|| nearest(&upper, known.clone())))
        .flatten();
    match near {
        Some(name) => fault.help(format!("did you mean `{name}`?")),
        None => fault.help(format!("expected {}", known.collect::<Vec<_>>().join(", "))),
    }
}

/// Prints the names of bits in the order of the table; a name of several bits needs all of them.
pub(crate) fn print_bits(bits: u32, table: &[(&str, u32)], out: &mut String) {
    let mut rest = bits;
    let mut first = true;
    for (name, bit) in table {
        let zero = *bit == 0 && bits == 0;
        if !(zero || *bit != 0 && rest & bit == *bit) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        out.push_str(name);
        rest &= !bit;
        if zero {
            return;
        }
    }
}
