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

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hashlimit-upto", Argument::Custom(&AMOUNT))
        .aliases(&[Alias::new("hashlimit")]),
    OptionDecl::new("hashlimit-above", Argument::Custom(&AMOUNT)),
    OptionDecl::new("hashlimit-burst", Argument::Custom(&BURST)),
    OptionDecl::new("hashlimit-mode", Argument::ExactBits(MODES)),
    OptionDecl::new("hashlimit-name", Argument::Bare(254)),
    OptionDecl::new("hashlimit-htable-size", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hashlimit-htable-max", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hashlimit-htable-gcinterval", Argument::Number(u32::MAX as u64))
        .omitted(&Value::Number(1_000)),
    OptionDecl::new("hashlimit-htable-expire", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hashlimit-srcmask", Argument::Number(128)),
    OptionDecl::new("hashlimit-dstmask", Argument::Number(128)),
    OptionDecl::flag("hashlimit-rate-match"),
    OptionDecl::new("hashlimit-rate-interval", Argument::Number(u32::MAX as u64)),
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

/// `COUNT/UNIT` of packets, or `COUNT[k|m]b/s` of bytes, which is kept as written.
fn amount<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let Some(word) = words.first() else { return Ok(Value::Flag) };
    let text = word.text.as_ref();
    if let Some(bytes) = text.strip_suffix("b/s").and_then(amount_of) {
        return Ok(Value::Text(normal_bytes(bytes).into()));
    }
    rate::scaled(text, SCALE).ok_or_else(|| {
        Fault::expected("invalid-rate", "a rate such as `10/sec` or `512kb/s`", text)
    })
}

fn burst<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let Some(word) = words.first() else { return Ok(Value::Flag) };
    if word.text.strip_suffix('b').and_then(amount_of).is_some() {
        return Ok(Value::Text(word.text.clone()));
    }
    number::number(&word.text, 1_000_000).map(Value::Number)
}

/// The bytes of digits and perhaps `k` or `m`.
fn amount_of(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (text.strip_suffix('k')?, 1 << 10),
        b'm' => (text.strip_suffix('m')?, 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (bytes <= u64::from(u32::MAX)).then_some(bytes)
}

/// A rate as the kernel's cost of 16 bytes and back, in the largest unit that fits.
fn normal_bytes(bytes: u64) -> String {
    let most = u64::from(u32::MAX);
    let cost = most / ((bytes >> 4) + 1);
    let bytes = most.checked_div(cost).unwrap_or(most).saturating_sub(1) << 4;
    match bytes {
        0 => "0b/s".to_owned(),
        _ if bytes % (1 << 20) == 0 => format!("{}mb/s", bytes >> 20),
        _ if bytes % (1 << 10) == 0 => format!("{}kb/s", bytes >> 10),
        _ => format!("{bytes}b/s"),
    }
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

/// A burst of packets is always printed; full masks never are.
fn complete(completion: &mut Completion<'_, '_>) {
    if matches!(rate_of(completion), Some(Value::Rate { .. })) {
        completion.fill("hashlimit-burst", Value::Number(5));
    }
    // Entries live as long as the unit of the rate; only another time is printed.
    let lifetime = match rate_of(completion) {
        Some(Value::Rate { seconds, .. }) => u64::from(*seconds) * 1_000,
        _ => 15_000,
    };
    completion.options.retain(|option| {
        option.option.name != "hashlimit-htable-expire" || option.value != Value::Number(lifetime)
    });
    let full = if completion.family() == Family::Ipv4 { 32 } else { 128 };
    let masks = ["hashlimit-srcmask", "hashlimit-dstmask"];
    completion.options.retain(|option| {
        !(masks.contains(&option.option.name) && option.value == Value::Number(full))
    });
}

fn rate_of<'c, 'a>(completion: &'c Completion<'_, 'a>) -> Option<&'c Value<'a>> {
    completion.value("hashlimit-upto").or(completion.value("hashlimit-above"))
}
