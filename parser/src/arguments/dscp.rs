//! The differentiated services code point.

use std::fmt::Write as _;

use super::{Context, Custom, Fault, names, number};
use crate::syntax::Value;
use crate::words::Word;

/// The classes (RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622).
const CLASSES: &[(&str, u64)] = &[
    ("CS0", 0x00),
    ("CS1", 0x08),
    ("CS2", 0x10),
    ("CS3", 0x18),
    ("CS4", 0x20),
    ("CS5", 0x28),
    ("CS6", 0x30),
    ("CS7", 0x38),
    ("BE", 0x00),
    ("AF11", 0x0a),
    ("AF12", 0x0c),
    ("AF13", 0x0e),
    ("AF21", 0x12),
    ("AF22", 0x14),
    ("AF23", 0x16),
    ("AF31", 0x1a),
    ("AF32", 0x1c),
    ("AF33", 0x1e),
    ("AF41", 0x22),
    ("AF42", 0x24),
    ("AF43", 0x26),
    ("EF", 0x2e),
];

/// The code point of the class with exactly this name.
pub(crate) fn class_named(text: &str) -> Option<u8> {
    let (_, class) = CLASSES.iter().find(|(name, _)| *name == text)?;
    u8::try_from(*class).ok()
}

/// A number up to 63.
pub(crate) static NUMBER: Custom =
    Custom { words: 1, form: "0-63", samples: &["0", "46", "0x2e", "63"], parse: number, print };
/// The name of a class.
pub(crate) static CLASS: Custom =
    Custom { words: 1, form: "CLASS", samples: &["CS0", "AF31", "EF", "be"], parse: class, print };

fn text<'w>(words: &'w [Word<'_>]) -> &'w str {
    words.first().map_or("", |word| word.text.as_ref())
}

fn number<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    number::number(text(words), 63).map(Value::Number)
}

/// Whatever begins with the name of a class stands for it.
fn class<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    let found = CLASSES.iter().find(|(name, _)| {
        text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    });
    found
        .map(|(_, class)| Value::Number(*class))
        .ok_or_else(|| names::unknown(text, CLASSES.iter().map(|(name, _)| *name)))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Number(number) = value {
        let _ = write!(out, " {number:#04x}");
    }
}
