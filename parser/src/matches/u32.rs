//! `-m u32`: a test of any 4 bytes of the packet.
//!
//! | option | value |
//! |---|---|
//! | `[!] --u32` | `Text`, in the form that iptables-save prints |

use std::fmt::Write as _;

use crate::arguments::{Argument, Context, Custom, Fault, number, text};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension =
    Extension::of_match("u32", OPTIONS).requires(&[Requirement::OneOf(&["u32"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("u32", Argument::Custom(&EXPRESSION)).negatable()];

static EXPRESSION: Custom = Custom {
    words: 1,
    form: "TESTS",
    samples: &["6&0xFF=1", "0>>22&0x3C@0>>24=0:5", "4&0x3FFF=0&&0>>22&0x3C@12=0xff,1"],
    parse,
    print,
};

fn parse<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let expression = words.first().map_or("", |word| word.text.as_ref());
    normal_form(expression).map(|text| Value::Text(text.into())).ok_or_else(|| {
        Fault::expected("invalid-u32", "an expression such as `6&0xFF=1`", expression)
    })
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(expression) = value {
        out.push(' ');
        text::print_quoted(expression, out);
    }
}

/// Every number in hexadecimal and no blanks: `START [OPERATOR NUMBER]… = RANGE[,RANGE]…`, and
/// more of these behind `&&`.
fn normal_form(expression: &str) -> Option<String> {
    let mut out = String::new();
    for (index, test) in expression.split("&&").enumerate() {
        out.push_str(if index > 0 { "&&" } else { "" });
        let (location, ranges) = test.split_once('=')?;
        location_form(location, &mut out)?;
        out.push('=');
        for (index, range) in ranges.split(',').enumerate() {
            out.push_str(if index > 0 { "," } else { "" });
            let (low, high) = range.split_once(':').unwrap_or((range, range));
            let (low, high) = (number_of(low)?, number_of(high)?);
            let _ = write!(out, "{low:#x}");
            if low != high {
                let _ = write!(out, ":{high:#x}");
            }
        }
    }
    Some(out)
}

fn location_form(location: &str, out: &mut String) -> Option<()> {
    let mut rest = location.trim();
    loop {
        let digits = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at_checked(digits)?;
        let number = number_of(number)?;
        // The kernel shifts by less than a word only (`u32_mt_checkentry`).
        if number > 31 && (out.ends_with("<<") || out.ends_with(">>")) {
            return None;
        }
        let _ = write!(out, "{number:#x}");
        rest = behind.trim_start();
        let operator = ["&", "@", "<<", ">>"].into_iter().find(|known| rest.starts_with(known));
        let Some(operator) = operator else { break };
        out.push_str(operator);
        rest = rest.strip_prefix(operator)?.trim_start();
    }
    rest.is_empty().then_some(())
}

fn number_of(text: &str) -> Option<u64> {
    number::parse(text.trim()).filter(|&number| number <= u64::from(u32::MAX))
}
