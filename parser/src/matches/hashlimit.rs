//! `-m hashlimit`: a token bucket for each address.
//!
//! | option | value |
//! |---|---|
//! | `--hashlimit-upto, --hashlimit-above` | `Rate`, or `Text` in bytes |
//! | `--hashlimit-burst` | `Number`, or `Text` in bytes |
//! | `--hashlimit-mode` | `Bits`: srcip 2, srcport 8, dstip 1, dstport 4 |
//! | `--hashlimit-name` | `Text` |
//! | `--hashlimit-htable-size, -max, -gcinterval, -expire` | `Number` |
//! | `--hashlimit-srcmask, --hashlimit-dstmask` | `Number`, a prefix length |
//! | `--hashlimit-rate-match` | `Flag` |
//! | `--hashlimit-rate-interval` | `Number` of seconds |

use crate::arguments::{Argument, Context, Custom, Fault, number, rate};
use crate::extension::{Alias, Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("hashlimit", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["hashlimit-upto", "hashlimit-above"]),
        Requirement::AtMostOneOf(&["hashlimit-upto", "hashlimit-above"]),
        Requirement::OneOf(&["hashlimit-name"]),
    ])
    .complete(complete);

const NONE: &Value<'static> = &Value::Number(0);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hashlimit-upto", Argument::Custom(&AMOUNT))
        .negatable()
        .aliases(&[Alias::new("hashlimit")]),
    OptionDecl::new("hashlimit-above", Argument::Custom(&AMOUNT)).negatable(),
    OptionDecl::new("hashlimit-burst", Argument::Custom(&BURST)),
    OptionDecl::new("hashlimit-mode", Argument::LooseBits(MODES)).omitted(&Value::Bits(0)),
    OptionDecl::new("hashlimit-name", Argument::Cut(254)).not_empty(),
    OptionDecl::new("hashlimit-htable-size", Argument::Number(u32::MAX as u64)).omitted(NONE),
    OptionDecl::new("hashlimit-htable-max", Argument::Number(u32::MAX as u64)).omitted(NONE),
    OptionDecl::new("hashlimit-htable-gcinterval", Argument::Between(1, u32::MAX as u64))
        .omitted(&Value::Number(1_000)),
    OptionDecl::new("hashlimit-htable-expire", Argument::Between(1, u32::MAX as u64)),
    OptionDecl::new("hashlimit-srcmask", Argument::Number(128)),
    OptionDecl::new("hashlimit-dstmask", Argument::Number(128)),
    OptionDecl::flag("hashlimit-rate-match"),
    OptionDecl::new("hashlimit-rate-interval", Argument::Custom(&INTERVAL)),
];

/// What a bucket is kept for (xt_hashlimit.h).
const MODES: &[(&str, u32)] = &[("srcip", 2), ("srcport", 8), ("dstip", 1), ("dstport", 4)];

/// The kernel's units per second (xt_hashlimit.h, `XT_HASHLIMIT_SCALE_v2`).
const SCALE: u64 = 1_000_000;

static AMOUNT: Custom = Custom {
    words: 1,
    form: "COUNT[/UNIT]|COUNT[k|m]b/s",
    samples: &[
        "10/sec",
        "7/min",
        "100/hour",
        "3/day",
        "512kb/s",
        "1mb/s",
        "12000b/s",
        "10",
        "1000/second",
    ],
    parse: amount,
    print,
};
static BURST: Custom = Custom {
    words: 1,
    form: "COUNT|COUNT[k|m]b",
    samples: &["5", "20", "10000", "1mb", "64kb"],
    parse: burst,
    print,
};

static INTERVAL: Custom = Custom {
    words: 1,
    form: "SECONDS",
    samples: &["1", "5", "60"],
    parse: |words, _| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        rate::leading_number(text)
            .filter(|seconds| (1..=i32::MAX as u64).contains(seconds))
            .map(Value::Number)
            .ok_or_else(|| Fault::expected("invalid-number", "a number of seconds", text))
    },
    print,
};

/// `COUNT/UNIT` of packets, as the kernel's period and the seconds of the unit; or `COUNT[k|m]b/s`
/// of bytes, as the kernel's cost. [`complete`] makes of it what is printed.
fn amount<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let invalid = || Fault::expected("invalid-rate", "a rate such as `10/sec` or `512kb/s`", text);
    if let Some((count, _)) = text.split_once("b/s").filter(|(count, _)| !count.is_empty()) {
        let factor = factor(count.bytes().last());
        let bytes = number::signed(count).filter(|&bytes| bytes != 0).ok_or_else(invalid)?;
        // A negative number is a large one; iptables dies of what has no cost.
        let cost = cost_of(bytes.cast_unsigned().wrapping_mul(factor));
        return Some(cost).filter(|&cost| cost > 0).map(Value::Number).ok_or_else(invalid);
    }
    let (count, unit) = text.split_once('/').unwrap_or((text, "second"));
    let seconds = rate::seconds(unit).ok_or_else(invalid)?;
    let count = rate::leading_number(count).filter(|&count| count > 0).ok_or_else(invalid)?;
    match SCALE * seconds / count {
        0 => Err(invalid()),
        period => Ok(Value::Range(period, seconds)),
    }
}

/// A number and what follows it: `k` and `m` multiply, anything else means nothing.
fn burst<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    number::leading(text)
        .filter(|(number, rest)| *number > 0 && (!rest.is_empty() || *number <= MOST))
        .map(|(number, rest)| Value::Number(number.wrapping_mul(factor(rest.bytes().next()))))
        .ok_or_else(|| {
            Fault::expected("invalid-number", &format!("a burst from 1 to {MOST}"), text)
        })
}

/// The largest burst of packets, and the largest table.
const MOST: u64 = 1_000_000;
const LARGEST_TABLE: u64 = 1_048_576;

/// What costs no more than this has no credits in the kernel, unless only the rate is matched.
const LEAST_COST: u64 = 1;

/// The kernel's credits of a unit of the average (xt_hashlimit.c, with a clock of 250 or 1000 Hz).
const CREDITS: u64 = 137_438_953;

fn factor(unit: Option<u8>) -> u64 {
    match unit {
        Some(b'k') => 1 << 10,
        Some(b'm') => 1 << 20,
        _ => 1,
    }
}

/// The kernel's cost of 16 bytes at so many bytes a second.
fn cost_of(bytes: u64) -> u64 {
    let blocks = (bytes >> 4) & 0xffff_ffff;
    u64::from(u32::MAX) / (blocks + 1).max(1)
}

/// The bytes a second of a cost.
fn bytes_of(cost: u64) -> u64 {
    let most = u64::from(u32::MAX);
    (most.checked_div(cost).unwrap_or(most).saturating_sub(1)) << 4
}

/// A number of bytes in the largest unit that it reaches, and that `fits`. iptables rounds with a
/// mask of 32 bits.
fn in_units(bytes: u64, fits: impl Fn(u64) -> bool) -> String {
    for (unit, name) in [(1 << 20, "m"), (1 << 10, "k")] {
        if bytes >= unit && fits(bytes & !(unit - 1) & u64::from(u32::MAX)) {
            return format!("{}{name}b", bytes / unit);
        }
    }
    format!("{bytes}b")
}

fn print(value: &Value<'_>, out: &mut String) {
    out.push(' ');
    match value {
        Value::Rate { count, seconds } => rate::print_rate(*count, *seconds, out),
        Value::Number(number) => number::print(*number, out),
        Value::Text(text) => out.push_str(text),
        _ => {}
    }
}

/// Turns the kernel's numbers into what is printed (hashlimit_mt_check and hashlimit_mt_save of
/// iptables 1.8.9).
fn complete(completion: &mut Completion<'_, '_>) {
    completion.refuse_file_name("hashlimit-name");
    swap_negated(completion);
    let rate_match = completion.has("hashlimit-rate-match");
    let burst = match completion.value("hashlimit-burst") {
        Some(Value::Number(burst)) => Some(*burst),
        _ => None,
    };
    // Milliseconds: how long entries live, and what is not printed.
    let (lifetime, hidden) = match rate_of(completion).cloned() {
        Some(Value::Range(period, seconds)) => {
            let period = if rate_match { period / seconds } else { period };
            let printed = rate::in_units(period, SCALE);
            let hidden = match printed {
                Value::Rate { seconds, .. } => u64::from(seconds) * 1_000,
                _ => 0,
            };
            set_rate(completion, printed);
            if burst.is_some_and(|burst| burst > MOST) {
                let message = format!("the burst is above {MOST}");
                let span = completion.span_of("hashlimit-burst");
                completion.refuse("invalid-number", message, span);
            }
            let credits = |average: u64| average.wrapping_mul(CREDITS);
            if !rate_match && credits(period.wrapping_mul(burst.unwrap_or(5))) < credits(period) {
                let message = "the rate and the burst are out of the range of the kernel";
                completion.refuse("invalid-rate", message, completion.span);
            }
            completion.fill("hashlimit-burst", Value::Number(5));
            if rate_match {
                completion.fill("hashlimit-rate-interval", Value::Number(seconds));
            }
            (seconds * 1_000, hidden)
        }
        Some(Value::Number(cost)) => {
            if cost <= LEAST_COST && !rate_match {
                let message = "the rate is out of the range of the kernel";
                completion.refuse("invalid-rate", message, completion.span);
            }
            let times = of_bytes(completion, cost, burst);
            if rate_match {
                completion.fill("hashlimit-rate-interval", Value::Number(1));
            }
            times
        }
        _ => return,
    };
    completion.fill("hashlimit-htable-expire", Value::Number(lifetime));
    completion.forget("hashlimit-htable-expire", &Value::Number(hidden));
    finish(completion, rate_match);
}

/// A rate of bytes and its burst; returns how long entries live, and what is not printed of that.
fn of_bytes(completion: &mut Completion<'_, '_>, cost: u64, burst: Option<u64>) -> (u64, u64) {
    let bytes = bytes_of(cost);
    let text = in_units(bytes, |rounded| cost_of(rounded) == cost);
    set_rate(completion, Value::Text(format!("{text}/s").into()));
    let Some(burst) = burst else { return (15_000, 15_000) };
    if burst < bytes || bytes == 0 {
        let message = format!("a burst of bytes can't be below the {bytes} of one second");
        let span = completion.span_of("hashlimit-burst");
        completion.refuse("invalid-number", message, span);
        return (60_000, 60_000);
    }
    // Of the burst 32 bits are divided.
    let seconds = (burst & u64::from(u32::MAX)) / bytes + u64::from(!burst.is_multiple_of(bytes));
    if seconds == 0 {
        completion.remove("hashlimit-burst");
        return (60_000, 15_000);
    }
    let text = in_units(bytes.saturating_mul(seconds), |_| true);
    for option in completion.options.iter_mut() {
        if option.option.name == "hashlimit-burst" {
            option.value = Value::Text(text.clone().into());
        }
    }
    (60_000, 60_000)
}

/// `! --hashlimit-upto` is `--hashlimit-above` and the reverse.
fn swap_negated(completion: &mut Completion<'_, '_>) {
    let [upto, above, ..] = completion.extension.options else { return };
    for option in completion.options.iter_mut().filter(|option| option.negated) {
        option.option = if std::ptr::eq(option.option, upto) { above } else { upto };
        option.negated = false;
    }
}

/// Tables have a largest size; full masks and an interval of a second are not printed.
fn finish(completion: &mut Completion<'_, '_>, rate_match: bool) {
    let full = if completion.family() == Family::Ipv4 { 32 } else { 128 };
    for name in ["hashlimit-srcmask", "hashlimit-dstmask"] {
        if matches!(completion.value(name), Some(Value::Number(length)) if *length > full) {
            let message = format!("expected a prefix length from 0 to {full}");
            let span = completion.span_of(name);
            completion.refuse("invalid-mask", message, span);
        }
        completion.forget(name, &Value::Number(full));
    }
    for option in completion.options.iter_mut() {
        if let Value::Number(size) = &mut option.value
            && matches!(option.option.name, "hashlimit-htable-size" | "hashlimit-htable-max")
        {
            *size = (*size).min(LARGEST_TABLE);
        }
    }
    match rate_match {
        true => completion.forget("hashlimit-rate-interval", &Value::Number(1)),
        false => completion.remove("hashlimit-rate-interval"),
    }
}

fn set_rate<'a>(completion: &mut Completion<'_, 'a>, value: Value<'a>) {
    let rates = ["hashlimit-upto", "hashlimit-above"];
    for option in completion.options.iter_mut() {
        if rates.contains(&option.option.name) {
            option.value = value.clone();
        }
    }
}

fn rate_of<'c, 'a>(completion: &'c Completion<'_, 'a>) -> Option<&'c Value<'a>> {
    completion.value("hashlimit-upto").or(completion.value("hashlimit-above"))
}
