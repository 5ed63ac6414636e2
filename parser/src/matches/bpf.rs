//! `-m bpf`: a BPF program, which is not looked into.
//!
//! | option | value |
//! |---|---|
//! | `--bytecode, --object-pinned` | `Text` |

use crate::arguments::{Argument, Context, Custom, Fault, number, text};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("bpf", OPTIONS).requires(&[
    Requirement::OneOf(&["bytecode", "object-pinned"]),
    Requirement::AtMostOneOf(&["bytecode", "object-pinned"]),
]);

/// The most instructions (xt_bpf.h, `XT_BPF_MAX_NUM_INSTR`).
const MOST: usize = 64;

static BYTECODE: Custom = Custom {
    words: 1,
    form: "COUNT,CODE JT JF K,...",
    samples: &["1,6 0 0 65535", "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0"],
    parse,
    print: |value, out| {
        if let Value::Text(program) = value {
            out.push(' ');
            text::print_quoted(program, out);
        }
    },
};

/// The number of instructions, and each; what the kernel makes of the program is not known here.
fn parse<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let program = words.first().map_or("", |word| word.text.as_ref());
    let fault = |what: &str| Fault::expected("invalid-bytecode", what, program);
    let (count, rest) = program.split_once(',').ok_or_else(|| fault("`COUNT,CODE JT JF K,...`"))?;
    let mut after = count;
    let count = scanned(&mut after, 0xffff)
        .filter(|_| after.is_empty())
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| (1..=MOST).contains(count))
        .ok_or_else(|| fault("from 1 to 64 instructions"))?;
    let mut out = count.to_string();
    let instructions: Vec<&str> = rest.strip_suffix(',').unwrap_or(rest).split(',').collect();
    if instructions.len() != count {
        return Err(fault(&format!("{count} instructions")));
    }
    for instruction in instructions {
        let mut rest = instruction;
        for (separator, most) in [(',', 0xffff), (' ', 0xff), (' ', 0xff), (' ', 0xffff_ffff)] {
            let number = scanned(&mut rest, most).ok_or_else(|| fault("`CODE JT JF K`"))?;
            out.push(separator);
            number::print(number, &mut out);
        }
    }
    Ok(Value::Text(out.into()))
}

/// A decimal number as sscanf(3) reads it, cut to this mask.
fn scanned(text: &mut &str, mask: u64) -> Option<u64> {
    let rest = text.trim_start();
    let (negative, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix('+').unwrap_or(rest)),
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    let number = digits.parse::<u64>().ok()?;
    *text = rest;
    Some(if negative { number.wrapping_neg() } else { number } & mask)
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("bytecode", Argument::Custom(&BYTECODE)),
    OptionDecl::new("object-pinned", Argument::Text(511)),
];
