//! Arguments of options as the numbers and addresses of the model.

use nattrace_parser::syntax::{OptionUse, Value};

use crate::condition::Sense;

/// The sense that an option is asked in.
pub(super) fn sense(option: &OptionUse<'_>) -> Sense {
    Sense::of_negation(option.negated)
}

/// A number.
pub(super) fn number<T: TryFrom<u64>>(value: &Value<'_>) -> Option<T> {
    match value {
        Value::Number(number) => T::try_from(*number).ok(),
        _ => None,
    }
}

/// A range of numbers; a single number is one too.
pub(super) fn range<T: TryFrom<u64>>(value: &Value<'_>) -> Option<(T, T)> {
    let (low, high) = match value {
        Value::Number(number) => (*number, *number),
        Value::Range(low, high) => (*low, *high),
        _ => return None,
    };
    Some((T::try_from(low).ok()?, T::try_from(high).ok()?))
}

/// A value and its mask; a plain number is looked at in full.
pub(super) fn masked<T: TryFrom<u64>>(value: &Value<'_>, full: T) -> Option<(T, T)> {
    match value {
        Value::Number(number) => Some((T::try_from(*number).ok()?, full)),
        Value::Masked(number, mask) => Some((T::try_from(*number).ok()?, T::try_from(*mask).ok()?)),
        _ => None,
    }
}

/// A text.
pub(super) fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Named bits, from those of the parser to those of the model; absent where a bit has no meaning.
pub(super) fn named_bits(value: &Value<'_>, names: &[(u32, u16)]) -> Option<u16> {
    let Value::Bits(given) = *value else { return None };
    let known = names.iter().fold(0, |known, (written, _)| known | written);
    let meant = names.iter().filter(|(written, _)| given & written != 0);
    (given & !known == 0).then(|| meant.fold(0, |bits, (_, bit)| bits | bit))
}
