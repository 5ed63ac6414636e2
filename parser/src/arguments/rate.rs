//! Rates and probabilities, in the fixed point of the kernel.

use std::fmt::Write as _;

use super::{Fault, float};
use crate::syntax::Value;

/// The units of a rate: seconds and the name that is printed, the longest first.
const UNITS: [(u32, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "min"), (1, "sec")];

/// The kernel's units per second (xt_limit.h, `XT_LIMIT_SCALE`).
const SCALE: u64 = 10_000;

/// What 1 is as a probability.
const ONE: f64 = 2_147_483_648.0;

/// The seconds of a unit, of which any beginning may be written.
pub(crate) fn seconds(unit: &str) -> Option<u64> {
    let units = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let starts =
        |name: &str| name.get(..unit.len()).is_some_and(|start| start.eq_ignore_ascii_case(unit));
    units.into_iter().find(|(name, _)| !unit.is_empty() && starts(name)).map(|(_, s)| s)
}

/// `COUNT[/UNIT]`, as the kernel's period and back: `60/minute` is `1/sec` (kernel-facts H6).
pub(crate) fn rate(text: &str) -> Result<Value<'static>, Fault> {
    scaled(text, SCALE).ok_or_else(|| {
        Fault::expected("invalid-rate", "a rate such as `3/min` of at most 10000/sec", text)
    })
}

/// What atoi(3) reads: the digits that a text begins with.
pub(crate) fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches(super::number::BLANKS);
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}

/// The same for a kernel that counts `scale` units a second.
pub(crate) fn scaled(text: &str, scale: u64) -> Option<Value<'static>> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "second"));
    let count = leading_number(count).filter(|&count| count > 0)?;
    let period = scale.checked_mul(seconds(unit)?)? / count;
    if period == 0 {
        return None;
    }
    Some(in_units(period, scale))
}

/// A period in the unit that tells it best.
pub(crate) fn in_units(period: u64, scale: u64) -> Value<'static> {
    let period = period.max(1);
    let mut best = None;
    for (seconds, _) in UNITS {
        let whole = scale * u64::from(seconds);
        if best.is_some() && (period > whole || whole / period < whole % period) {
            break;
        }
        best = Some(Value::Rate { count: whole / period, seconds });
    }
    best.unwrap_or(Value::Rate { count: 0, seconds: 1 })
}

pub(crate) fn print_rate(count: u64, seconds: u32, out: &mut String) {
    let unit = UNITS.iter().find(|(length, _)| *length == seconds).map_or("sec", |(_, name)| name);
    let _ = write!(out, "{count}/{unit}");
}

/// A number from 0 to 1, rounded to 2^-31 (kernel-facts H6).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is between 0 and 2^31; what is none counts as 0"
)]
pub(crate) fn probability(text: &str) -> Result<Value<'static>, Fault> {
    let whole = float::leading(text).filter(|(_, rest)| rest.is_empty());
    let fits = |number: &f64| number.is_nan() || (0.0..=1.0).contains(number);
    let number = whole.map(|(number, _)| number).filter(fits).ok_or_else(|| {
        Fault::expected("invalid-probability", "a probability from 0.0 to 1.0", text)
    })?;
    Ok(Value::Probability((number * ONE).round() as u32))
}

pub(crate) fn print_probability(probability: u32, out: &mut String) {
    let _ = write!(out, "{:.11}", f64::from(probability) / ONE);
}
