//! What a NAT target rewrites to: addresses and ports.

use std::net::IpAddr;

use super::{Context, Fault, address, number, port};
use crate::syntax::{Family, NatRange, Value};
use crate::words::clip;

/// `[ADDRESS[-ADDRESS]][:PORT[-PORT[/BASE]]]`; an IPv6 address with ports stands in brackets.
pub(crate) fn nat(text: &str, context: &Context) -> Result<Value<'static>, Fault> {
    if context.family == Some(Family::Ipv4) && text.contains('[') {
        return Err(Fault::expected("invalid-address", "an IPv4 address to translate to", text));
    }
    let (addresses, ports) = split(text, context);
    let mut range = NatRange::default();
    if let Some(ports) = ports {
        (range.ports, range.base_port) = parse_ports(ports)?;
    }
    if !addresses.is_empty() {
        let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
        let one = |part: &str| {
            let bare = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
            let found = bare.unwrap_or(part).parse::<IpAddr>().map_err(|_| {
                Fault::expected("invalid-address", "an address to translate to", part)
            })?;
            address::of_family(found, context.family, part)
        };
        let lowest = one(first)?;
        let highest = if last == first { lowest } else { one(last)? };
        range.addresses = Some((lowest, highest));
    } else if range.ports.is_none() {
        return Err(Fault::expected("invalid-address", "an address to translate to", text));
    }
    Ok(Value::Nat(range))
}

/// Divides addresses from ports.
fn split<'t>(text: &'t str, context: &Context) -> (&'t str, Option<&'t str>) {
    // What stands around the first brackets does not count, up to a colon (`parse_to`).
    if context.family == Some(Family::Ipv6)
        && let Some((_, inside)) = text.split_once('[')
        && let Some((inside, behind)) = inside.split_once(']')
    {
        return (inside, behind.split_once(':').map(|(_, ports)| ports));
    }
    let colons = memchr::memchr_iter(b':', text.as_bytes()).take(2).count();
    match text.rsplit_once(':') {
        Some((addresses, ports)) if colons == 1 => (addresses, Some(ports)),
        Some((addresses, ports)) if text.starts_with('[') && !ports.contains(']') => {
            let inside = addresses.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            // `[a]-[b]` keeps its brackets, which are taken off one by one.
            (inside.filter(|inside| !inside.contains(']')).unwrap_or(addresses), Some(ports))
        }
        _ => (text, None),
    }
}

type Ports = (Option<(u16, u16)>, Option<u16>);

fn parse_ports(text: &str) -> Result<Ports, Fault> {
    // The services of every protocol count here.
    let context = &Context::default();
    let (ports, base) = match text.split_once('/') {
        Some((ports, base)) => (ports, Some(port::port(base, context)?)),
        None => (text, None),
    };
    let dashed =
        ports.split_once('-').filter(|_| crate::services::port(ports, context.protocol).is_none());
    // Only a single port may have a name.
    let number = |text: &str| {
        let number = number::parse(text).and_then(|number| u16::try_from(number).ok());
        number.ok_or_else(|| Fault::expected("invalid-port", "a port from 0 to 65535", text))
    };
    let (low, high) = match dashed {
        Some((low, high)) => (number(low)?, number(high)?),
        None => {
            let port = port::port(ports, context)?;
            (port, port)
        }
    };
    if low > high {
        let message = format!("the port range `{}` is empty", clip(ports));
        return Err(Fault::new("invalid-range", message).help("write the lower port first"));
    }
    Ok((Some((low, high)), base))
}

/// `PORT[-PORT]`.
pub(crate) fn ports_only(text: &str) -> Result<Value<'static>, Fault> {
    let (ports, base_port) = parse_ports(text)?;
    match base_port {
        None => Ok(Value::Nat(NatRange { addresses: None, ports, base_port })),
        Some(_) => Err(Fault::expected("invalid-port", "a port or a range of ports", text)),
    }
}

pub(crate) fn print(range: &NatRange, out: &mut String) {
    if let Some((first, last)) = range.addresses {
        let brackets = first.is_ipv6() && range.ports.is_some();
        if brackets {
            out.push('[');
        }
        address::print_ip(first, out);
        if last != first {
            out.push('-');
            address::print_ip(last, out);
        }
        if brackets {
            out.push(']');
        }
    }
    if range.ports.is_some() {
        out.push(':');
    }
    print_ports(range, out);
}

/// Prints the ports alone, as behind `--to-ports`.
pub(crate) fn print_ports(range: &NatRange, out: &mut String) {
    if let Some((low, high)) = range.ports {
        number::print_range(u64::from(low), u64::from(high), '-', out);
    }
    if let Some(base) = range.base_port {
        out.push('/');
        number::print(u64::from(base), out);
    }
}
