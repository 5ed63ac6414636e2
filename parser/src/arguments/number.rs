//! Numbers and ranges of numbers, as strtoul(3) with base 0 reads them.

use std::fmt::Write as _;

use super::Fault;
use crate::syntax::Value;

/// What strtoul(3) skips.
pub(crate) const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// A number in decimal, octal (`010`) or hexadecimal (`0x10`), or `None`.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.trim_start_matches(BLANKS);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    // from_str_radix takes a sign, strtoul's callers refuse one.
    digits.as_bytes().first().filter(|byte| byte.is_ascii_hexdigit())?;
    u64::from_str_radix(digits, radix).ok()
}

/// The number that a text begins with, and the rest of the text; or `None` where there is none.
pub(crate) fn leading(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches(BLANKS);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (text.get(2..)?, 16),
        [b'0', ..] => (text, 8),
        _ => (text, 10),
    };
    let length = digits.chars().take_while(|char| char.is_digit(radix)).count();
    let (digits, rest) = digits.split_at_checked(length)?;
    Some((u64::from_str_radix(digits, radix).ok()?, rest))
}

/// The number that a text begins with as scanf(3) with `%llu` reads it: with a sign, and at most as
/// large as fits; and the rest of the text.
pub(crate) fn scanned(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches(BLANKS);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) =
        digits.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())?;
    let number = match digits.parse::<u64>() {
        Ok(number) if text.starts_with('-') => number.wrapping_neg(),
        Ok(number) => number,
        Err(_) => u64::MAX,
    };
    Some((number, rest))
}

/// What atoll(3) reads: the sign and the digits that a text begins with, as far as they fit.
pub(crate) fn signed(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(BLANKS);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let size = digits.get(..length).filter(|digits| !digits.is_empty())?.parse::<u64>().ok();
    Some(match text.starts_with('-') {
        true => size.and_then(|size| 0_i64.checked_sub_unsigned(size)).unwrap_or(i64::MIN),
        false => size.and_then(|size| i64::try_from(size).ok()).unwrap_or(i64::MAX),
    })
}

/// A number up to `max`.
pub(crate) fn number(text: &str, max: u64) -> Result<u64, Fault> {
    parse(text).filter(|&number| number <= max).ok_or_else(|| {
        Fault::expected("invalid-number", &format!("a number from 0 to {max}"), text)
    })
}

/// A number within these ends.
pub(crate) fn between(text: &str, low: u64, high: u64) -> Result<u64, Fault> {
    parse(text).filter(|number| (low..=high).contains(number)).ok_or_else(|| {
        Fault::expected("invalid-number", &format!("a number from {low} to {high}"), text)
    })
}

/// `N`, `LOW<separator>HIGH`, or a range with an open end. iptables takes a reversed range, which
/// never matches.
pub(crate) fn range(text: &str, separator: char, max: u64) -> Result<Value<'static>, Fault> {
    if text.is_empty() {
        return Ok(Value::Range(0, 0));
    }
    let Some((low, high)) = text.split_once(separator) else {
        let number = number(text, max)?;
        return Ok(Value::Range(number, number));
    };
    let low = if low.is_empty() { 0 } else { number(low, max)? };
    let high = if high.is_empty() { max } else { number(high, max)? };
    Ok(Value::Range(low, high))
}

pub(crate) fn print(number: u64, out: &mut String) {
    let _ = write!(out, "{number}");
}

pub(crate) fn print_hex(number: u64, out: &mut String) {
    let _ = write!(out, "{number:#x}");
}

pub(crate) fn print_wide_hex(number: u64, digits: usize, out: &mut String) {
    let _ = write!(out, "0x{number:0digits$x}");
}

pub(crate) fn print_range(low: u64, high: u64, separator: char, out: &mut String) {
    print(low, out);
    if low != high {
        out.push(separator);
        print(high, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_where_digits_end() {
        assert_eq!(leading("5kb"), Some((5, "kb")));
        assert_eq!(leading(" +0x1fg"), Some((31, "g")));
        assert_eq!(leading("0x"), Some((0, "x")));
        assert_eq!(leading("08"), Some((0, "8")));
        assert_eq!(leading("010"), Some((8, "")));
        assert_eq!(leading("-1"), None);
        assert_eq!(leading("99999999999999999999"), None);
    }

    #[test]
    fn a_signed_number_is_as_large_as_fits() {
        assert_eq!(signed(" -1mb/s"), Some(-1));
        assert_eq!(signed("+010"), Some(10));
        assert_eq!(signed("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed("-99999999999999999999"), Some(i64::MIN));
        assert_eq!(signed("9223372036854775808"), Some(i64::MAX));
        assert_eq!(signed("- 1"), None);
        assert_eq!(signed("0x10"), Some(0));
    }

    #[test]
    fn numbers_are_read_as_by_strtoul() {
        assert_eq!(parse("80"), Some(80));
        assert_eq!(parse("0x50"), Some(80));
        assert_eq!(parse("010"), Some(8));
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse(" +1"), Some(1));
        for bad in ["080", "-1", "", "+", "0x", "1 ", "0x+1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
