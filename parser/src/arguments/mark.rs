//! Marks: values of 32 bits under a mask.

use std::fmt::Write as _;

use super::{Fault, number};
use crate::syntax::Value;
use crate::words::Word;

/// An operation on a mark other than `--set-xmark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `--set-mark VALUE[/MASK]`: clears the bits of the mask, sets those of the value.
    Set,
    /// `--and-mark BITS`.
    And,
    /// `--or-mark BITS`.
    Or,
    /// `--xor-mark BITS`.
    Xor,
}

const FULL: u64 = 0xffff_ffff;

fn half(text: &str, whole: &str) -> Result<u64, Fault> {
    number::parse(text)
        .filter(|&number| number <= FULL)
        .ok_or_else(|| Fault::expected("invalid-mark", "a mark `VALUE[/MASK]` of 32 bits", whole))
}

fn pair(text: &str) -> Result<(u64, u64), Fault> {
    match text.split_once('/') {
        Some((value, mask)) => Ok((half(value, text)?, half(mask, text)?)),
        None => Ok((half(text, text)?, FULL)),
    }
}

/// `VALUE[/MASK]`.
pub(crate) fn mark(text: &str) -> Result<Value<'static>, Fault> {
    pair(text).map(|(value, mask)| Value::Masked(value, mask))
}

/// The operand of an operation, as that of `--set-xmark` (kernel-facts G14).
pub(crate) fn operand(text: &str, operation: Operation) -> Result<Value<'static>, Fault> {
    let (value, mask) = match operation {
        Operation::Set => {
            let (value, mask) = pair(text)?;
            (value, value | mask)
        }
        Operation::And => (0, !half(text, text)? & FULL),
        Operation::Or => {
            let bits = half(text, text)?;
            (bits, bits)
        }
        Operation::Xor => (half(text, text)?, 0),
    };
    Ok(Value::Masked(value, mask))
}

/// `VALUE[/MASK]`, or the name that a table of iproute2 gives to 0.
pub(crate) fn named<'a>(words: &[Word<'a>], zero: &str) -> Result<Value<'a>, Fault> {
    match words.first().map_or("", |word| word.text.as_ref()) {
        text if text == zero => Ok(Value::Masked(0, FULL)),
        text => mark(text),
    }
}

/// Prints 0 by its name.
pub(crate) fn print_named(value: &Value<'_>, zero: &str, out: &mut String) {
    let Value::Masked(value, mask) = value else { return };
    out.push(' ');
    match (*value, *mask) {
        (0, FULL) => out.push_str(zero),
        (value, mask) => print(value, mask, out),
    }
}

pub(crate) fn print(value: u64, mask: u64, out: &mut String) {
    if mask == FULL {
        number::print_hex(value, out);
    } else {
        print_masked(value, mask, out);
    }
}

pub(crate) fn print_masked(value: u64, mask: u64, out: &mut String) {
    let _ = write!(out, "{value:#x}/{mask:#x}");
}
