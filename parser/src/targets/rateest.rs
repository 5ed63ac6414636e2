//! `-j RATEEST`: feeds a rate estimator and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--rateest-name, --rateest-interval, --rateest-ewmalog` | `Text` |

use std::fmt::Write as _;

use crate::arguments::{Argument, Context, Custom, Fault, float};
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_target("RATEEST", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["rateest-name"]),
        Requirement::OneOf(&["rateest-interval"]),
        Requirement::OneOf(&["rateest-ewmalog"]),
    ])
    .complete(quantize);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("rateest-name", Argument::Cut(15)),
    OptionDecl::new("rateest-interval", Argument::Custom(&TIME)),
    OptionDecl::new("rateest-ewmalog", Argument::Custom(&TIME)),
];

/// Microseconds of a second.
const SECOND: f64 = 1_000_000.0;

static TIME: Custom = Custom {
    words: 1,
    form: "TIME[s|ms|us]",
    samples: &["250ms", "1s", "4s", "16sec", "500000us", "0.5s"],
    parse,
    print,
};

fn parse<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    microseconds(text)
        .map(Value::Number)
        .ok_or_else(|| Fault::expected("invalid-time", "a time such as `250ms`", text))
}

/// A number with a unit, microseconds where it has none.
fn microseconds(text: &str) -> Option<u64> {
    let (number, unit) = float::leading(text)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" => SECOND,
        "ms" | "msec" | "msecs" => SECOND / 1_000.0,
        "us" | "usec" | "usecs" | "" => 1.0,
        _ => return None,
    };
    Some(float::cut(number * scale))
}

fn print(value: &Value<'_>, out: &mut String) {
    let Value::Number(time) = value else { return };
    let _ = match *time {
        0..1_000 => write!(out, " {time}us"),
        1_000..1_000_000 => write!(out, " {:.1}ms", *time as f64 / 1_000.0),
        _ => write!(out, " {:.1}s", *time as f64 / SECOND),
    };
}

/// The kernel has powers of two only: an interval of 250 ms and up, and a multiple of it.
fn quantize(completion: &mut Completion<'_, '_>) {
    let (Some(Value::Number(interval)), Some(Value::Number(average))) =
        (completion.value("rateest-interval"), completion.value("rateest-ewmalog"))
    else {
        return;
    };
    let (interval, average) = (*interval, *average);
    let Some(step) = (0..=5_u32).find(|step| interval <= 250_000 << step) else {
        let span = completion.span_of("rateest-interval");
        completion.refuse("invalid-time", "the interval is longer than 8 seconds", span);
        return;
    };
    let weight = (1..32_u32).find(|log| weighed(interval, *log) > average as f64);
    let log = weight.unwrap_or(32) - 1;
    if log == 0 || log >= 31 {
        let span = completion.span_of("rateest-ewmalog");
        completion.refuse("invalid-time", "the averaging time does not fit the interval", span);
        return;
    }
    let rounded = 250_000_u64 << step;
    for option in completion.options.iter_mut() {
        match option.option.name {
            "rateest-interval" => option.value = Value::Number(rounded),
            "rateest-ewmalog" => option.value = Value::Number((rounded << log) & 0xffff_ffff),
            _ => {}
        }
    }
}

/// The time over which a weight of 2 to this power averages; the power is one of a signed number
/// of 32 bits.
fn weighed(interval: u64, log: u32) -> f64 {
    let weight = 1.0 - 1.0 / f64::from(1_i32 << log);
    interval as f64 / -weight.ln()
}
