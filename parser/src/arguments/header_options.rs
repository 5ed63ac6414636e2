//! The options within an IPv6 extension header, by number and length.

use super::{Context, Custom, Fault, number};
use crate::syntax::Value;
use crate::words::Word;

/// The most options of one list (ip6t_opts.h, `IP6T_OPTS_OPTSNR`).
const MOST: usize = 16;

/// The length that stands for any.
const ANY: u64 = 0xff;

/// `TYPE[:LENGTH],...`, both cut to a byte.
pub(crate) static LIST: Custom = Custom {
    words: 1,
    form: "TYPE[:LENGTH],...",
    samples: &["1", "1:4", "0,5:2,255:0", "194:255", "0x3e:010"],
    parse,
    print,
};

fn parse<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    if text.split(',').count() > MOST {
        return Err(Fault::new("too-long", format!("more than {MOST} options")));
    }
    let mut out = String::new();
    for (index, item) in text.split(',').enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        let (kind, length) = match item.split_once(':') {
            Some((kind, length)) => match byte(kind)? {
                0 => return Err(Fault::new("wrong-option", "option 0 (PAD0) has no length")),
                kind => (kind, byte(length)?),
            },
            None => (byte(item)?, ANY),
        };
        number::print(kind, &mut out);
        if length != ANY {
            out.push(':');
            number::print(length, &mut out);
        }
    }
    Ok(Value::Text(out.into()))
}

fn byte(text: &str) -> Result<u64, Fault> {
    let (negative, digits) = match text.trim_start().strip_prefix('-') {
        Some(digits) if !digits.starts_with(['+', ' ']) => (true, digits),
        _ => (false, text),
    };
    let number = number::number(digits, u64::MAX)?;
    Ok(if negative { number.wrapping_neg() } else { number } & 0xff)
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}
