//! `-m string`: a text in the packet.
//!
//! | option | value |
//! |---|---|
//! | `[!] --string` | `Text`, if all of it is printable ASCII |
//! | `[!] --hex-string` | `Text` in the form `\|0d0a\|` otherwise; one of the two is there |
//! | `--algo` | `Text`: `bm` or `kmp` |
//! | `--from, --to` | `Number` |
//! | `--icase` | `Flag` |

use std::fmt::Write as _;

use crate::arguments::{Argument, Context, Custom, Fault};
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("string", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["string", "hex-string"]),
        Requirement::AtMostOneOf(&["string", "hex-string"]),
        Requirement::OneOf(&["algo"]),
    ])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("string", Argument::Custom(&PATTERN)).negatable(),
    OptionDecl::new("hex-string", Argument::Custom(&HEX_PATTERN)).negatable(),
    OptionDecl::new("algo", Argument::ExactKeyword(&[&["bm"], &["kmp"]])),
    OptionDecl::new("from", Argument::Number(65_535)).omitted(&Value::Number(0)),
    OptionDecl::new("to", Argument::Number(65_535)).omitted(&Value::Number(65_535)),
    OptionDecl::flag("icase"),
];

static PATTERN: Custom = Custom {
    words: 1,
    form: "TEXT",
    samples: &["abc", "GET /", "a.b", "it's"],
    parse: pattern,
    print,
};
static HEX_PATTERN: Custom = Custom {
    words: 1,
    form: "TEXT with |HEX|",
    samples: &["|0d0a|", "abc|00 ff|", "|61|"],
    parse: hex_pattern,
    print,
};

/// The longest pattern (xt_string.h, `XT_STRING_MAX_PATTERN_SIZE`).
const LONGEST: usize = 128;

fn pattern<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let Some(word) = words.first() else { return Ok(Value::Flag) };
    let text = word.text.as_ref();
    checked(text.as_bytes(), text)?;
    if is_printable(text.as_bytes()) {
        return Ok(Value::Text(word.text.clone()));
    }
    Ok(Value::Text(in_hex(text.as_bytes()).into()))
}

fn hex_pattern<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let expected =
        || Fault::expected("invalid-pattern", "a pattern with bytes such as `|0d 0a|`", text);
    let bytes = bytes(text).ok_or_else(expected)?;
    checked(&bytes, text)?;
    match String::from_utf8(bytes) {
        Ok(plain) if is_printable(plain.as_bytes()) => Ok(Value::Text(plain.into())),
        Ok(other) => Ok(Value::Text(in_hex(other.as_bytes()).into())),
        Err(other) => Ok(Value::Text(in_hex(other.as_bytes()).into())),
    }
}

fn checked(bytes: &[u8], text: &str) -> Result<(), Fault> {
    if bytes.is_empty() || bytes.len() > LONGEST {
        return Err(Fault::expected("invalid-pattern", "1 to 128 bytes to search for", text));
    }
    Ok(())
}

/// Printable, and not to be mistaken for an escape at its end.
fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) && bytes.last() != Some(&b'\\')
}

fn in_hex(bytes: &[u8]) -> String {
    let mut hex = String::from("|");
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.push('|');
    hex
}

/// The bytes of a pattern, as iptables 1.8.9 reads it: hexadecimal between bars, each pair perhaps
/// with one blank behind it; outside of them a backslash takes the next character as it is. The
/// character behind a closing bar is never a bar.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut found = Vec::new();
    let mut inside = false;
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        if *first == b'|' {
            inside = !inside;
            rest = if inside { behind.trim_ascii_start() } else { behind };
            if rest.is_empty() {
                break;
            }
        }
        rest = match rest {
            [b'\\', literal, behind @ ..] if !inside && *first == b'\\' => {
                found.push(*literal);
                behind
            }
            [b'\\'] if !inside && *first == b'\\' => return None,
            [high, low, next, ..] if inside => {
                found.push(digit(high)? << 4 | digit(low)?);
                rest.get(if *next == b' ' { 3.. } else { 2.. }).unwrap_or_default()
            }
            [byte, behind @ ..] if !inside => {
                found.push(*byte);
                behind
            }
            _ => return None,
        };
    }
    Some(found)
}

/// Gives a pattern the option that it is printed with.
fn complete(completion: &mut Completion<'_, '_>) {
    if let (Some(Value::Number(from)), Some(Value::Number(to))) =
        (completion.value("from"), completion.value("to"))
        && from > to
    {
        let span = completion.span_of("to");
        completion.refuse("invalid-range", "`--to` lies before `--from`", span);
    }
    let [plain, hex, ..] = completion.extension.options else { return };
    for option in completion.options.iter_mut() {
        let Value::Text(text) = &option.value else { continue };
        let in_hex = text.strip_prefix('|').and_then(|rest| rest.strip_suffix('|'));
        let is_hex = in_hex.is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if std::ptr::eq(option.option, plain) || std::ptr::eq(option.option, hex) {
            option.option = if is_hex { hex } else { plain };
        }
    }
}

/// Always in quotes, of which only quotes and backslashes are escaped.
fn print(value: &Value<'_>, out: &mut String) {
    let Value::Text(text) = value else { return };
    out.push_str(" \"");
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}
