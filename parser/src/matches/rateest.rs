//! `-m rateest`: what rate estimators of `-j RATEEST` say.
//!
//! | option | value |
//! |---|---|
//! | `--rateest, --rateest1, --rateest2` | `Text`, the names of estimators |
//! | `--rateest-delta` | `Flag` |
//! | `--rateest-bps, --rateest-bps1, --rateest-bps2` | `Number` of bytes a second, or `Flag` |
//! | `--rateest-pps, --rateest-pps1, --rateest-pps2` | `Number` of packets a second, or `Flag` |
//! | `[!] --rateest-lt, --rateest-gt, --rateest-eq` | `Flag` |

use std::fmt::Write as _;

use crate::arguments::{Argument, Custom, Fault, float, number};
use crate::extension::{Alias, Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{OptionUse, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("rateest", OPTIONS)
    .repeats()
    .requires(&[
        Requirement::OneOf(&["rateest1"]),
        Requirement::OneOf(&["rateest-lt", "rateest-gt", "rateest-eq"]),
        Requirement::AtMostOneOf(&["rateest-lt", "rateest-gt", "rateest-eq"]),
        Requirement::OneOf(&["rateest-bps1", "rateest-bps2", "rateest-pps1", "rateest-pps2"]),
    ])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("rateest-delta"),
    OptionDecl::new("rateest1", Argument::Cut(15)).aliases(&[Alias::new("rateest")]),
    OptionDecl::new("rateest2", Argument::Cut(15)),
    OptionDecl::new("rateest-bps1", Argument::Optional(&BYTES)),
    OptionDecl::new("rateest-bps2", Argument::Optional(&BYTES))
        .aliases(&[Alias::new("rateest-bps")]),
    OptionDecl::new("rateest-pps1", Argument::Optional(&PACKETS)),
    OptionDecl::new("rateest-pps2", Argument::Optional(&PACKETS))
        .aliases(&[Alias::new("rateest-pps")]),
    OptionDecl::flag("rateest-lt").negatable(),
    OptionDecl::flag("rateest-gt").negatable(),
    OptionDecl::flag("rateest-eq").negatable(),
];

/// How the options of one estimator are printed.
static ABSOLUTE: [OptionDecl; 3] = [
    OptionDecl::new("rateest", Argument::Cut(15)),
    OptionDecl::new("rateest-bps", Argument::Optional(&BYTES)),
    OptionDecl::new("rateest-pps", Argument::Optional(&PACKETS)),
];

static BYTES: Custom = Custom {
    words: 1,
    form: "RATE",
    samples: &["1mbit", "8000", "9KBps"],
    parse: |words, _| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        bytes(text)
            .map(Value::Number)
            .ok_or_else(|| Fault::expected("invalid-rate", "a rate such as `1mbit`", text))
    },
    print: |value, out| {
        let Value::Number(bytes) = value else { return };
        let _ = match bytes * 8 {
            bits @ 0..1_000_000 => write!(out, " {bits}bit"),
            bits @ 1_000_000..1_000_000_000 => write!(out, " {:.0}Kbit", bits as f64 / 1e3),
            bits => write!(out, " {:.0}Mbit", bits as f64 / 1e6),
        };
    },
};

static PACKETS: Custom = Custom {
    words: 1,
    form: "COUNT",
    samples: &["5", "1000"],
    parse: |words, _| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        number::number(text, u64::from(u32::MAX)).map(Value::Number)
    },
    print: |value, out| {
        if let Value::Number(packets) = value {
            out.push(' ');
            number::print(*packets, out);
        }
    },
};

/// The units of tc(8), in bits a second.
const UNITS: &[(&str, f64)] = &[
    ("bit", 1.0),
    ("kbit", 1e3),
    ("mbit", 1e6),
    ("gbit", 1e9),
    ("tbit", 1e12),
    ("kibit", 1024.0),
    ("mibit", 1_048_576.0),
    ("gibit", 1_073_741_824.0),
    ("tibit", 1_099_511_627_776.0),
    ("bps", 8.0),
    ("kbps", 8e3),
    ("mbps", 8e6),
    ("gbps", 8e9),
    ("tbps", 8e12),
    ("kibps", 8_192.0),
    ("mibps", 8_388_608.0),
    ("gibps", 8_589_934_592.0),
    ("tibps", 8_796_093_022_208.0),
];

/// Bytes a second, of 32 bits.
fn bytes(text: &str) -> Option<u64> {
    let (bits, unit) = float::leading(text)?;
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let scale = if unit.is_empty() { 1.0 } else { known?.1 };
    Some(float::cut(bits * scale / 8.0))
}

/// Puts the options in the order that they are printed in: the comparison before what it is with,
/// once for bytes and once for packets.
fn complete(completion: &mut Completion<'_, '_>) {
    let options = std::mem::take(completion.options);
    for (index, one) in options.iter().enumerate() {
        if options.iter().skip(index + 1).any(|other| std::ptr::eq(other.option, one.option)) {
            let message = format!("`--{}` is given more than once", one.option.name);
            completion.refuse("duplicate-option", message, one.span);
        }
    }
    let extension = completion.extension;
    let find = |name: &str| options.iter().find(|one| one.option.name == name);
    let (delta, relative) = (find("rateest-delta"), find("rateest2"));
    let mode = ["rateest-lt", "rateest-gt", "rateest-eq"].into_iter().find_map(find);
    let [plain, plain_bytes, plain_packets] = &ABSOLUTE;
    let mut out: Vec<OptionUse<'_>> = delta.cloned().into_iter().collect();
    if let Some(first) = find("rateest1") {
        let option = if relative.is_some() { first.option } else { plain };
        out.push(OptionUse { option, ..first.clone() });
    }
    for (first, second, single) in [
        ("rateest-bps1", "rateest-bps2", plain_bytes),
        ("rateest-pps1", "rateest-pps2", plain_packets),
    ] {
        let Some(any) = find(first).or_else(|| find(second)) else { continue };
        let declared = |name: &str| extension.options.iter().find(|one| one.name == name);
        let rate = |name: &str| match find(name).map(|one| &one.value) {
            Some(Value::Number(rate)) => Value::Number(*rate),
            _ => Value::Number(0),
        };
        let compared =
            if delta.is_some() || relative.is_none() { rate(second) } else { Value::Flag };
        let mut push = |option: Option<&'static OptionDecl>, value| {
            if let Some(option) = option {
                out.push(OptionUse { option, negated: false, value, span: any.span });
            }
        };
        if delta.is_some() {
            push(declared(first), rate(first));
        }
        out.extend(mode.cloned());
        let option = if delta.is_some() { declared(second) } else { Some(single) };
        if let Some(option) = option {
            out.push(OptionUse { option, negated: false, value: compared, span: any.span });
        }
    }
    out.extend(relative.cloned());
    *completion.options = out;
}
