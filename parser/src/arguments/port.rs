//! Ports: one, a range, a list; in numbers or by service name.

use super::{Context, Fault, number};
use crate::services;
use crate::syntax::Value;

/// The most ports that one `-m multiport` holds; a range takes two (kernel-facts G11).
const SLOTS: usize = 15;

/// One port. The name of a service must be known for the protocol.
pub(crate) fn port(text: &str, context: &Context) -> Result<u16, Fault> {
    if let Some(number) = number::parse(text) {
        return u16::try_from(number).map_err(|_| invalid(text));
    }
    if let Some(port) = services::port(text, context.protocol) {
        return Ok(port);
    }
    if text.is_empty() || !text.as_bytes().iter().any(u8::is_ascii_alphabetic) {
        return Err(invalid(text));
    }
    let fault = Fault::expected("unknown-service", "a port or the name of a service", text);
    Err(match crate::words::clip(text) {
        short if short == text => match services::nearest(text) {
            Some(name) => fault.help(format!("did you mean `{name}`?")),
            None => fault,
        },
        _ => fault,
    })
}

fn invalid(text: &str) -> Fault {
    let fault = Fault::expected("invalid-port", "a port from 0 to 65535", text);
    match text {
        "!" => fault.help("write `!` before the option"),
        _ => fault,
    }
}

/// `PORT`, `LOW:HIGH`, or a range with an open end (kernel-facts H5).
pub(crate) fn range(text: &str, context: &Context) -> Result<Value<'static>, Fault> {
    let Some((low, high)) = text.split_once(':') else {
        let port = u64::from(port(text, context)?);
        return Ok(Value::Range(port, port));
    };
    let low = if low.is_empty() { 0 } else { port(low, context)? };
    let high = if high.is_empty() { u16::MAX } else { port(high, context)? };
    if low > high {
        let message = format!("the port range `{}` is empty", crate::words::clip(text));
        return Err(Fault::new("invalid-range", message).help("write the lower port first"));
    }
    Ok(Value::Range(u64::from(low), u64::from(high)))
}

/// One port as getaddrinfo(3) of glibc reads it: decimal whatever it begins with, cut to 16 bits.
pub(crate) fn decimal(text: &str) -> Result<u16, Fault> {
    let digits = text.trim_start_matches(number::BLANKS);
    let negative = digits.starts_with('-');
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if text.is_empty() {
        return Ok(0);
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = digits.parse::<u64>().unwrap_or(u64::MAX);
        // What is -1 as an int stands for a name in glibc.
        if number & 0xffff_ffff == 0xffff_ffff || negative && number > 0 {
            return Err(invalid(text));
        }
        return u16::try_from(number & 0xffff).map_err(|_| invalid(text));
    }
    if number::parse(text).is_some() {
        return Err(invalid(text).help("only decimal ports are taken here"));
    }
    // The services of every protocol count here.
    port(text, &Context::default())
}

/// A port or a range of such ports; a reversed one is taken, and never matches.
pub(crate) fn decimal_range(text: &str) -> Result<Value<'static>, Fault> {
    let Some((low, high)) = text.split_once(':') else {
        let port = u64::from(decimal(text)?);
        return Ok(Value::Range(port, port));
    };
    let low = decimal(low)?;
    let high = if high.is_empty() { u16::MAX } else { decimal(high)? };
    Ok(Value::Range(u64::from(low), u64::from(high)))
}

/// `PORT,LOW:HIGH,…` of multiport; no open ranges there (kernel-facts G11).
pub(crate) fn list(text: &str, context: &Context) -> Result<Value<'static>, Fault> {
    if context.protocol.is_none() {
        let message = "`multiport` needs `-p` and a protocol with ports before its ports";
        return Err(Fault::new("missing-protocol", message));
    }
    let mut ranges = Vec::with_capacity(1 + memchr::memchr_iter(b',', text.as_bytes()).count());
    let mut slots = 0;
    for item in text.split(',') {
        let (low, high) = match item.split_once(':') {
            Some((low, high)) => (port(low, context)?, port(high, context)?),
            None => {
                let port = port(item, context)?;
                (port, port)
            }
        };
        slots += if item.contains(':') { 2 } else { 1 };
        if item.contains(':') && low >= high {
            return Err(Fault::new("invalid-range", format!("the port range `{item}` is empty"))
                .help("write the lower port first"));
        }
        if slots > SLOTS {
            return Err(Fault::new(
                "too-many-ports",
                format!("more than {SLOTS} ports in one multiport (a range counts as 2)"),
            )
            .help("split the list over several rules"));
        }
        ranges.push((low, high));
    }
    Ok(Value::Ranges(ranges))
}

pub(crate) fn print_list(ranges: &[(u16, u16)], out: &mut String) {
    for (index, &(low, high)) in ranges.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        number::print_range(u64::from(low), u64::from(high), ':', out);
    }
}
