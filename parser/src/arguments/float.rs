//! Fractions, as strtod(3) reads them.

use super::number::BLANKS;

/// The fraction that a text begins with, and the rest of the text; or `None` where there is none.
pub(crate) fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start_matches(BLANKS);
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let read = hexadecimal(unsigned).or_else(|| decimal(unsigned)).or_else(|| named(unsigned));
    read.map(|(number, rest)| (if negative { -number } else { number }, rest))
}

/// A number that the processor cuts to 32 bits, as C's conversion of a double does on 64-bit x86.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit 64 bits becomes the smallest of them, whose lower half is zero"
)]
pub(crate) fn cut(number: f64) -> u64 {
    let fits = number.abs() < 9_223_372_036_854_775_808.0;
    if fits { number as i64 as u64 & 0xffff_ffff } else { 0 }
}

/// The length of the digits that a text begins with.
fn digits(text: &str, radix: u32) -> usize {
    text.chars().take_while(|char| char.is_digit(radix)).count()
}

/// The length of digits with at most one point among them; 0 where there is no digit.
fn mantissa(text: &str, radix: u32) -> usize {
    let whole = digits(text, radix);
    let behind = text.get(whole..).and_then(|rest| rest.strip_prefix('.'));
    match behind.map(|rest| digits(rest, radix)) {
        Some(fraction) if whole + fraction > 0 => whole + 1 + fraction,
        _ => whole,
    }
}

/// The length of an exponent behind a letter; 0 where there is none.
fn exponent(text: &str, letter: char) -> usize {
    let behind = text.strip_prefix([letter, letter.to_ascii_uppercase()]);
    let Some(behind) = behind else { return 0 };
    let unsigned = behind.strip_prefix(['+', '-']).unwrap_or(behind);
    match digits(unsigned, 10) {
        0 => 0,
        length => 1 + behind.len() - unsigned.len() + length,
    }
}

fn decimal(text: &str) -> Option<(f64, &str)> {
    let length = mantissa(text, 10);
    if length == 0 {
        return None;
    }
    let length = length + exponent(text.get(length..)?, 'e');
    let (number, rest) = text.split_at_checked(length)?;
    Some((number.parse().ok()?, rest))
}

/// `0x1.8p3`; `0x` alone is the number 0 before an `x`.
fn hexadecimal(text: &str) -> Option<(f64, &str)> {
    let behind = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let length = mantissa(behind, 16);
    if length == 0 {
        return None;
    }
    let (number, rest) = behind.split_at_checked(length)?;
    let fraction = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits = number.chars().filter_map(|char| char.to_digit(16));
    let value = digits.fold(0.0, |value, digit| value * 16.0 + f64::from(digit));
    let (power, rest) = rest.split_at_checked(exponent(rest, 'p'))?;
    let power: i32 = match power.get(1..) {
        Some(power) => power.parse().unwrap_or(if power.starts_with('-') { -9_999 } else { 9_999 }),
        None => 0,
    };
    let shift = power.saturating_sub(i32::try_from(fraction).unwrap_or(i32::MAX).saturating_mul(4));
    Some((value * 2_f64.powi(shift), rest))
}

fn named(text: &str) -> Option<(f64, &str)> {
    let known = [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)];
    known.into_iter().find_map(|(name, number)| {
        let start = text.get(..name.len())?;
        start.eq_ignore_ascii_case(name).then_some((number, text.get(name.len()..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read_as_by_strtod() {
        for (text, number, rest) in [
            ("0.5s", 0.5, "s"),
            (" -1e3ms", -1000.0, "ms"),
            (".5.", 0.5, "."),
            ("1.", 1.0, ""),
            ("1e", 1.0, "e"),
            ("1e+", 1.0, "e+"),
            ("2E-1x", 0.2, "x"),
            ("0x.8", 0.5, ""),
            ("0x1p-1", 0.5, ""),
            ("0x1.8P1k", 3.0, "k"),
            ("0x", 0.0, "x"),
            ("0xp1", 0.0, "xp1"),
            ("0x5s", 5.0, "s"),
            ("INFs", f64::INFINITY, "s"),
        ] {
            assert_eq!(leading(text), Some((number, rest)), "{text}");
        }
        for none in ["", ".", "-", "x", " ", "+-1", "e5", ".e1"] {
            assert_eq!(leading(none), None, "{none}");
        }
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(cut(4_294_967_297.5), 1);
        assert_eq!(cut(-1.0), 0xffff_ffff);
        assert_eq!(cut(1e19), 0);
        assert_eq!(cut(f64::INFINITY), 0);
        assert_eq!(cut(f64::NAN), 0);
    }
}
