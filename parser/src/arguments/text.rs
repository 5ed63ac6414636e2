//! Names, texts and hardware addresses.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Fault;
use crate::syntax::Value;
use crate::words::Word;

/// A text, cut to `max` bytes as iptables cuts it (kernel-facts H7).
pub(crate) fn text<'a>(word: &Word<'a>, max: usize) -> Value<'a> {
    if word.text.len() <= max {
        return Value::Text(word.text.clone());
    }
    let mut end = max;
    while !word.text.is_char_boundary(end) {
        end -= 1;
    }
    Value::Text(match &word.text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(..end).unwrap_or_default().to_owned()),
    })
}

/// A name, which must fit.
pub(crate) fn bare<'a>(word: &Word<'a>, max: usize) -> Result<Value<'a>, Fault> {
    if word.text.len() > max {
        let message = format!(
            "`{}` is too long: at most {max} characters, these are {}",
            crate::words::clip(&word.text),
            word.text.len()
        );
        return Err(Fault::new("too-long", message));
    }
    Ok(Value::Text(word.text.clone()))
}

/// Prints a text bare if that is safe, else in double quotes (kernel-facts H7).
pub(crate) fn print_quoted(text: &str, out: &mut String) {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !text.is_empty() && text.bytes().all(safe) {
        out.push_str(text);
        return;
    }
    out.push('"');
    if memchr::memchr3(b'"', b'\\', b'\'', text.as_bytes()).is_none() {
        out.push_str(text);
        out.push('"');
        return;
    }
    for char in text.chars() {
        if matches!(char, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

/// `xx:xx:xx:xx:xx:xx`.
pub(crate) fn mac(text: &str) -> Result<Value<'static>, Fault> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = parts
            .next()
            .filter(|part| !part.is_empty() && part.len() <= 2)
            .and_then(|part| u8::from_str_radix(part, 16).ok())
            .ok_or_else(|| invalid_mac(text))?;
    }
    match parts.next() {
        None => Ok(Value::Mac(mac)),
        Some(_) => Err(invalid_mac(text)),
    }
}

fn invalid_mac(text: &str) -> Fault {
    Fault::expected("invalid-mac", "a hardware address `xx:xx:xx:xx:xx:xx`", text)
}

pub(crate) fn print_mac(mac: [u8; 6], out: &mut String) {
    for (index, byte) in mac.into_iter().enumerate() {
        let _ = write!(out, "{}{byte:02x}", if index > 0 { ":" } else { "" });
    }
}
