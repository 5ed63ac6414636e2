//! Random properties that a packet has to do with.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::flow::Flow;

/// A zone of the lab's host, perhaps around an address that a packet of the lab has.
fn zone(system: &System, address: IpAddr, random: &mut fastrand::Rng) -> String {
    let interfaces = &system.host.interfaces;
    let most = if address.is_ipv4() { 32u8 } else { 128 };
    match random.u8(0..12) {
        0 => "internet".to_owned(),
        1 => "lan".to_owned(),
        2 => "host".to_owned(),
        3 => match random.choice(interfaces) {
            Some(own) => format!("iface:{}", own.name),
            None => "internet".to_owned(),
        },
        4..7 => address.to_string(),
        _ => {
            let length =
                if random.u8(0..4) > 0 { most - random.u8(0..9) } else { random.u8(1..=most) };
            Prefix::new(address, length).to_string()
        }
    }
}

/// A zone with a port, perhaps.
fn service(zone: String, flow: &Flow, random: &mut fastrand::Rng) -> String {
    let protocol = match flow.protocol {
        6 => "tcp",
        17 => "udp",
        132 => "sctp",
        _ => return zone,
    };
    let Some(port) = flow.destination_port.filter(|port| *port != 0) else { return zone };
    let zone =
        if zone.contains(':') && !zone.starts_with("iface:") { format!("[{zone}]") } else { zone };
    let whole = zone.trim_start_matches('[').trim_end_matches(']').to_owned();
    match random.u8(0..4) {
        0 => whole,
        1 => format!("{zone}:{port}-{}/{protocol}", port.saturating_add(random.u16(0..9))),
        _ => format!("{zone}:{port}/{protocol}"),
    }
}

/// What is taken to be otherwise on the host, now and then.
fn given(system: &System, random: &mut fastrand::Rng) -> String {
    let interfaces = &system.host.interfaces;
    let what = match (random.u8(0..24), random.choice(interfaces)) {
        (0 | 1, Some(own)) if own.name != "lo" => format!("down = [\"{}\"]", own.name),
        (2, _) => "gone = \"default\"".to_owned(),
        (3, _) => "ip_forward = false".to_owned(),
        (4, _) => "ipv6_forward = true".to_owned(),
        (5, _) => "ipv6_forward = false".to_owned(),
        _ => return String::new(),
    };
    format!("given = {{ {what} }}\n")
}

/// A property that a packet of the lab has to do with.
pub(crate) fn property(system: &System, flow: &Flow, random: &mut fastrand::Rng) -> String {
    let family = if flow.source.is_ipv4() { "ipv4" } else { "ipv6" };
    let from = zone(system, flow.source, random);
    let to = zone(system, flow.destination, random);
    let to_service = service(to.clone(), flow, random);
    // What is about one protocol is answered in time more often.
    let proto = match (random.u8(0..8), flow.protocol) {
        (0..4, 6) => "proto = \"tcp\"\n",
        (0..4, 17) => "proto = \"udp\"\n",
        (0..6, _) => "proto = \"icmp\"\n",
        _ => "",
    };
    let vacuous = if random.bool() { "vacuous = \"ok\"\n" } else { "" };
    let given = given(system, random);
    let rest = format!("family = \"{family}\"\n{vacuous}{given}");
    // A service has its protocol already.
    let of_service = if to_service == to { format!("{rest}{proto}") } else { rest.clone() };
    let rest = rest + proto;
    match random.u8(0..10) {
        0 | 1 => {
            let source = match random.u8(0..3) {
                0 => "unchanged".to_owned(),
                1 => {
                    let own = system.host.interfaces.iter().flat_map(|own| &own.addresses);
                    let own = own.filter(|own| own.local.is_ipv4() == flow.source.is_ipv4());
                    match random.choice(own.collect::<Vec<_>>()) {
                        Some(own) => own.local.to_string(),
                        None => flow.source.to_string(),
                    }
                }
                _ => flow.source.to_string(),
            };
            format!("[[egress]]\nfrom = \"{from}\"\nto = \"{to}\"\nsource = \"{source}\"\n{rest}")
        }
        2 | 3 => {
            let lands = match random.u8(0..3) {
                0 => format!("lands = \"{}\"\n", zone(system, flow.destination, random)),
                _ => String::new(),
            };
            format!("[[allow]]\nfrom = \"{from}\"\nto = \"{to_service}\"\n{lands}{of_service}")
        }
        4..7 => format!("[[deny]]\nfrom = \"{from}\"\nlands = \"{to_service}\"\n{of_service}"),
        7 | 8 => {
            // What is denied but for some of it.
            let narrow = service(flow.destination.to_string(), flow, random);
            format!(
                "[[allow]]\nname = \"open\"\nfrom = \"{from}\"\nto = \"{narrow}\"\n\
                 family = \"{family}\"\nvacuous = \"ok\"\n\
                 [[deny]]\nfrom = \"{from}\"\nlands = \"{to}\"\nexcept = [\"open\"]\n{rest}"
            )
        }
        _ => format!("[[isolate]]\nzones = [\"{from}\", \"{to}\"]\n{rest}"),
    }
}
