//! ICMP and ICMPv6 types and codes.

use super::{Fault, names, number};
use crate::syntax::Value;
use crate::words::clip;

/// A name of a type and its codes, as `iptables -p icmp -h` lists them.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The name.
    pub name: &'static str,
    /// The type; `None` for `any`.
    pub kind: Option<u8>,
    /// The codes, both ends inclusive.
    pub codes: (u8, u8),
}

impl Name {
    /// A name of a type with every code.
    pub(crate) const fn of_type(name: &'static str, kind: u8) -> Self {
        Self { name, kind: Some(kind), codes: (0, 255) }
    }

    /// A name of a type with one code.
    pub(crate) const fn of_code(name: &'static str, kind: u8, code: u8) -> Self {
        Self { name, kind: Some(kind), codes: (code, code) }
    }
}

/// A name, the unambiguous beginning of one, or `TYPE[/CODE]`.
pub(crate) fn icmp(text: &str, table: &'static [Name]) -> Result<Value<'static>, Fault> {
    if text.trim_start().trim_start_matches('+').starts_with(|char: char| char.is_ascii_digit()) {
        return in_numbers(text, table).ok_or_else(|| {
            Fault::expected("invalid-icmp-type", "an ICMP type `TYPE[/CODE]`", text)
        });
    }
    let starts =
        |name: &str| name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let mut near = table.iter().filter(|entry| starts(entry.name));
    let exact = table.iter().find(|entry| entry.name.eq_ignore_ascii_case(text));
    let found = match (exact, near.next(), near.next()) {
        (Some(entry), ..) | (None, Some(entry), None) if !text.is_empty() => entry,
        (None, Some(first), Some(second)) if !text.is_empty() => {
            let message = format!(
                "ICMP type `{}` is ambiguous: `{}` or `{}`",
                clip(text),
                first.name,
                second.name
            );
            return Err(Fault::new("invalid-icmp-type", message));
        }
        _ => {
            let fault = names::unknown(text, table.iter().map(|entry| entry.name));
            return Err(Fault { code: "invalid-icmp-type", ..fault });
        }
    };
    Ok(Value::Icmp { kind: found.kind, codes: found.codes })
}

fn in_numbers(text: &str, table: &[Name]) -> Option<Value<'static>> {
    let byte = |text: &str| number::parse(text).and_then(|number| u8::try_from(number).ok());
    let (kind, codes) = match text.split_once('/') {
        None => (byte(text)?, (0, 255)),
        Some((kind, codes)) => {
            let code = byte(codes)?;
            (byte(kind)?, (code, code))
        }
    };
    // Type 255 is the same as `any`, where there is one (kernel-facts G13).
    let any = kind == 255 && table.iter().any(|entry| entry.kind.is_none());
    let codes = if any { (0, 255) } else { codes };
    Some(Value::Icmp { kind: (!any).then_some(kind), codes })
}

pub(crate) fn print(kind: Option<u8>, codes: (u8, u8), out: &mut String) {
    let Some(kind) = kind else {
        out.push_str("any");
        return;
    };
    number::print(u64::from(kind), out);
    if codes != (0, 255) {
        out.push('/');
        number::print_range(u64::from(codes.0), u64::from(codes.1), '-', out);
    }
}
