//! ipsets and the directions they are looked up with.

use super::Fault;
use crate::syntax::{SetDirection, Value};
use crate::words::Word;

/// The longest name of a set (ip_set.h, `IPSET_MAXNAMELEN` without its NUL).
const LONGEST: usize = 31;

/// The most dimensions of a lookup (kernel-facts G18).
const DIMENSIONS: usize = 6;

/// `NAME src,dst,…`.
pub(crate) fn set<'a>(words: &[Word<'a>]) -> Result<Value<'a>, Fault> {
    let [name, flags] = words else {
        return Err(Fault::new(
            "missing-argument",
            "expected the name of a set and its directions",
        ));
    };
    if name.text.is_empty() || name.text.len() > LONGEST {
        return Err(Fault::expected(
            "invalid-set",
            "the name of a set of at most 31 bytes",
            &name.text,
        ));
    }
    let mut directions = Vec::with_capacity(1);
    for flag in flags.text.split(',') {
        directions.push(match flag {
            "src" => SetDirection::Source,
            "dst" => SetDirection::Destination,
            _ => return Err(Fault::expected("invalid-set", "`src` or `dst`", flag)),
        });
        if directions.len() > DIMENSIONS {
            return Err(Fault::new("invalid-set", "more than 6 directions"));
        }
    }
    Ok(Value::Set { name: name.text.clone(), directions })
}

pub(crate) fn print(name: &str, directions: &[SetDirection], out: &mut String) {
    out.push_str(name);
    for (index, direction) in directions.iter().enumerate() {
        out.push(if index == 0 { ' ' } else { ',' });
        out.push_str(match direction {
            SetDirection::Source => "src",
            SetDirection::Destination => "dst",
        });
    }
}
