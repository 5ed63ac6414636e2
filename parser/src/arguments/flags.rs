//! TCP flags.

use super::{Fault, names};
use crate::syntax::Value;
use crate::words::Word;

/// The flags by name, in the order in which iptables-save prints them.
const FLAGS: &[(&str, u32)] =
    &[("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32)];

/// What may stand in a list of flags (kernel-facts G12).
const NAMES: &[(&str, u32)] = &[
    ("FIN", 1),
    ("SYN", 2),
    ("RST", 4),
    ("PSH", 8),
    ("ACK", 16),
    ("URG", 32),
    ("ALL", 0x3f),
    ("NONE", 0),
];

/// `--syn`: of FIN, SYN, RST and ACK only SYN (kernel-facts G12).
pub(crate) const SYN: Value<'static> = Value::TcpFlags { mask: 0x17, compare: 0x02 };

/// `MASK COMPARE`.
pub(crate) fn tcp_flags(words: &[Word<'_>]) -> Result<Value<'static>, Fault> {
    let [mask, compare] = words else {
        return Err(Fault::new("missing-argument", "expected two lists of TCP flags"));
    };
    let one = |word: &Word<'_>| match names::bits(&word.text, NAMES)? {
        Value::Bits(bits) => Ok(u8::try_from(bits).unwrap_or(0x3f)),
        _ => Ok(0),
    };
    Ok(Value::TcpFlags { mask: one(mask)?, compare: one(compare)? })
}

pub(crate) fn print_tcp_flags(mask: u8, compare: u8, out: &mut String) {
    for (index, flags) in [mask, compare].into_iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        match flags {
            0 => out.push_str("NONE"),
            _ => names::print_bits(u32::from(flags), FLAGS, out),
        }
    }
}
