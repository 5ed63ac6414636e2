//! `ip addr` and `ip link` for people: plain, with details, one line each, or brief.

use std::net::IpAddr;

use ipnet::IpNet;
use nom::bytes::complete::{take_till1, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map_res, opt};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

use super::{Address, AddressFlags, BridgeSettings, Interface, Link, parse_mac};
use crate::diagnostic::Diagnostic;
use crate::host::line::{Line, Prose, Word, Words, lines};
use crate::span::Span;

/// The interfaces of a listing.
pub(super) fn interfaces(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut prose = Prose::default();
    // Whether the lines below belong to the last interface.
    let mut open = false;
    for line in lines(text).filter(|line| !line.is_blank()) {
        if let Some(header) = header(&line).or_else(|| brief(&line, diagnostics)) {
            let mut interface = header.interface;
            if let Some(mut words) = header.rest {
                diagnostics.extend(header_words(&mut interface, &mut words).err());
            }
            interfaces.push(interface);
            open = true;
        } else if line.is_indented() || is_detail(line.first_word()) {
            match interfaces.last_mut().filter(|_| open) {
                Some(interface) => {
                    interface.span = interface.span.cover(line.span);
                    diagnostics.extend(detail(interface, &line).err());
                }
                None if is_detail(line.first_word()) => {
                    diagnostics
                        .push(line.not_understood("the line of an interface before this one"));
                }
                None => prose.add(&line),
            }
        } else if index(line.first_word()).is_ok() {
            diagnostics.push(line.not_understood("an interface, as `ip addr` prints"));
            open = false;
        } else {
            prose.add(&line);
            open = false;
        }
    }
    diagnostics.extend(prose.finish(!interfaces.is_empty(), "interfaces, as `ip addr` prints"));
    interfaces
}

/// Whether a line that starts so tells of an interface above, even where a paste lost the white
/// space before it.
fn is_detail(word: &str) -> bool {
    matches!(word, "inet" | "inet6" | "valid_lft" | "altname") || word.starts_with("link/")
}

/// The start of an interface, and the words that are left of its line.
struct Header<'a> {
    interface: Interface,
    rest: Option<Words<'a>>,
}

/// `2: eth0@if5: <UP> mtu 1500 …`, or `2: eth0    inet 10.0.0.1/24 …` of `ip -o`.
fn header<'a>(line: &Line<'a>) -> Option<Header<'a>> {
    let (number, name) = {
        let mut words = line.words();
        (words.next()?, words.next()?)
    };
    let (_, index) = index(number.text).ok()?;
    let full = name.text.ends_with(':');
    let (name_text, link) = split_link(name.text.strip_suffix(':').unwrap_or(name.text));
    let mut words = line.words();
    words.next();
    words.next();
    let next = words.peek()?;
    let known =
        if full { next.text.starts_with('<') } else { matches!(next.text, "inet" | "inet6") };
    known.then(|| Header {
        interface: Interface {
            name: name_text.to_owned(),
            index: Some(index),
            link,
            span: line.span,
            ..Interface::default()
        },
        rest: Some(words),
    })
}

/// `12:` at the start of a line.
fn index(text: &str) -> IResult<&str, u32> {
    all_consuming(terminated(map_res(digit1, str::parse), char(':'))).parse(text)
}

/// The words between `<` and `>`.
fn flags(text: &str) -> IResult<&str, Vec<String>> {
    let words = take_while1(|c: char| c != '>' && c != '<');
    let (rest, words) = delimited(char('<'), opt(words), char('>')).parse(text)?;
    Ok((
        rest,
        words.unwrap_or("").split(',').filter(|flag| !flag.is_empty()).map(str::to_owned).collect(),
    ))
}

/// `eth0.100@eth0`, `veth1@if5`, `tunl0@NONE`, or a name alone.
fn split_link(text: &str) -> (&str, Option<Link>) {
    let parsed: IResult<&str, (&str, &str)> =
        (take_till1(|c| c == '@'), preceded(char('@'), take_while1(|_| true))).parse(text);
    let Ok((_, (name, link))) = parsed else { return (text, None) };
    let link = (link != "NONE").then(|| Link::Here(link.to_owned()));
    (name, link)
}

/// The words behind the name of an interface.
fn header_words(interface: &mut Interface, words: &mut Words<'_>) -> Result<(), Diagnostic> {
    let first = words.expect("flags or an address")?;
    if matches!(first.text, "inet" | "inet6") {
        interface.addresses.push(address(words, first.span)?);
        return Ok(());
    }
    let (_, flags) = flags(first.text).map_err(|_| first.unexpected("flags in `<` and `>`"))?;
    interface.flags = Some(flags);
    while let Some(word) = words.next() {
        match word.text {
            "mtu" => interface.mtu = Some(words.parse("an MTU")?),
            "state" => interface.state = Some(words.expect("a state")?.text.to_owned()),
            "master" => {
                interface.master = Some(words.expect("the name of a master")?.text.to_owned())
            }
            "group" => interface.group = Some(words.expect("a group")?.text.to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// A line below the first one of an interface.
fn detail(interface: &mut Interface, line: &Line<'_>) -> Result<(), Diagnostic> {
    let mut words = line.words();
    let Some(first) = words.next() else { return Ok(()) };
    match first.text {
        "inet" | "inet6" => interface.addresses.push(address(&mut words, first.span)?),
        "altname" => interface.alternative_names.push(words.expect("a name")?.text.to_owned()),
        "bridge" => {
            interface.kind = Some("bridge".to_owned());
            interface.bridge = Some(bridge_settings(words));
        }
        "vlan" => {
            interface.kind = Some("vlan".to_owned());
            while let Some(word) = words.next() {
                if word.text == "id" {
                    interface.vlan = Some(words.parse("a VLAN identifier")?);
                }
            }
        }
        "vrf" => {
            interface.kind = Some("vrf".to_owned());
            if words.accept("table").is_some() {
                interface.vrf_table = Some(words.parse("the number of a table")?);
            }
        }
        "valid_lft" | "alias" | "prog/xdp" | "RX:" | "TX:" | "RX" | "TX" | "vf" => {}
        other => match other.strip_prefix("link/") {
            Some(link_type) => {
                interface.link_type = Some(link_type.to_owned());
                interface.mac = words.next().and_then(|word| parse_mac(word.text));
                if words.any(|word| matches!(word.text, "link-netns" | "link-netnsid")) {
                    interface.link = interface.link.take().map(Link::elsewhere);
                }
            }
            // The counters of `-s`.
            None if other.bytes().all(|byte| byte.is_ascii_digit()) => {}
            None => match other.strip_suffix("_slave") {
                Some(kind) => interface.port_kind = Some(kind.to_owned()),
                None if interface.kind.is_none() && is_kind(other, words) => {
                    interface.kind = Some(other.to_owned())
                }
                None => {
                    return Err(line.not_understood("a line of an interface, as `ip addr` prints"));
                }
            },
        },
    }
    Ok(())
}

/// The kinds of devices that `-d` prints a line of details for.
///
/// Of other kinds the line goes on with what it has of every device.
fn is_kind(word: &str, mut rest: Words<'_>) -> bool {
    const KINDS: [&str; 34] = [
        "amt",
        "bareudp",
        "bond",
        "bridge",
        "can",
        "dsa",
        "dummy",
        "erspan",
        "geneve",
        "gre",
        "gretap",
        "gtp",
        "hsr",
        "ifb",
        "ip6gre",
        "ip6gretap",
        "ip6tnl",
        "ipip",
        "ipoib",
        "ipvlan",
        "ipvtap",
        "macsec",
        "macvlan",
        "macvtap",
        "netdevsim",
        "nlmon",
        "sit",
        "team",
        "tun",
        "veth",
        "vti",
        "vxlan",
        "wireguard",
        "xfrm",
    ];
    KINDS.contains(&word)
        || rest.any(|word| word.text == "numtxqueues")
        || matches!(word, "ip6erspan" | "vti6" | "rmnet" | "vcan" | "netkit" | "wwan" | "virt_wifi")
}

/// The settings among the details of a bridge.
fn bridge_settings(mut words: Words<'_>) -> BridgeSettings {
    let mut settings = BridgeSettings::default();
    while let Some(word) = words.next() {
        let setting = match word.text {
            "vlan_filtering" => &mut settings.vlan_filtering,
            "nf_call_iptables" => &mut settings.nf_call_iptables,
            "nf_call_ip6tables" => &mut settings.nf_call_ip6tables,
            _ => continue,
        };
        *setting = words.next().is_some_and(|value| value.text == "1");
    }
    settings
}

/// What follows `inet` or `inet6`.
fn address(words: &mut Words<'_>, start: Span) -> Result<Address, Diagnostic> {
    let mut address = prefixed(words, start)?;
    while let Some(word) = words.next() {
        match word.text {
            "brd" => address.broadcast = Some(words.parse("an IPv4 address")?),
            "any" => address.anycast = Some(words.parse("an IP address")?),
            "scope" => address.scope = Some(words.parse("a scope")?),
            "metric" | "proto" | "flags" => {
                words.expect("a value")?;
            }
            _ if set_flag(&mut address.flags, word.text) => {}
            label
                if address.local.is_ipv4()
                    && words.peek().is_none_or(|next| next.text == "proto") =>
            {
                address.label = Some(label.to_owned());
            }
            _ => return Err(word.unexpected("a flag of an address")),
        }
        address.span = address.span.cover(word.span);
    }
    Ok(address)
}

/// `10.0.0.1/24`, or `10.0.0.1 peer 10.0.0.2/32`.
fn prefixed(words: &mut Words<'_>, start: Span) -> Result<Address, Diagnostic> {
    let first = words.expect("an address with a prefix length")?;
    let mut last = first;
    let (local, peer, prefix_len) = if words.accept("peer").is_some() {
        let local: IpAddr = first.parse("an IP address")?;
        last = words.expect("the address of the peer")?;
        let (peer, prefix_len) = with_length(last)?;
        (local, Some(peer), prefix_len)
    } else {
        let (local, prefix_len) = with_length(first)?;
        (local, None, prefix_len)
    };
    Ok(Address {
        local,
        peer,
        prefix_len,
        broadcast: None,
        anycast: None,
        scope: None,
        label: None,
        flags: AddressFlags::default(),
        span: start.cover(last.span),
    })
}

/// An address and its prefix length; a host address may stand alone.
fn with_length(word: Word<'_>) -> Result<(IpAddr, u8), Diagnostic> {
    match word.text.parse::<IpNet>() {
        Ok(net) => Ok((net.addr(), net.prefix_len())),
        Err(_) => {
            let address: IpAddr = word.parse("an address with a prefix length")?;
            Ok((address, if address.is_ipv4() { 32 } else { 128 }))
        }
    }
}

/// Sets a flag by its word; false if there is no such flag.
fn set_flag(flags: &mut AddressFlags, word: &str) -> bool {
    match word {
        "secondary" => flags.secondary = true,
        "deprecated" => flags.deprecated = true,
        "tentative" => flags.tentative = true,
        "dadfailed" => flags.dad_failed = true,
        "temporary" => flags.temporary = true,
        "optimistic" => flags.optimistic = true,
        "noprefixroute" => flags.no_prefix_route = true,
        "dynamic" => flags.dynamic = true,
        // They say nothing about the use of the address.
        "nodad" | "home" | "mngtmpaddr" | "autojoin" | "stable-privacy" | "permanent" => {}
        _ => return false,
    }
    true
}

/// `eth0@if5  UP  10.0.0.1/24 …` of `ip -br addr`, or `eth0  UP  02:42:… <…>` of `ip -br link`.
fn brief<'a>(line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> Option<Header<'a>> {
    const STATES: [&str; 7] =
        ["UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN", "DORMANT", "NOTPRESENT", "TESTING"];
    let mut words = line.words();
    let name = words.next()?;
    let state = words.next().filter(|state| STATES.contains(&state.text))?;
    let (name, link) = split_link(name.text);
    let mut interface = Interface {
        name: name.to_owned(),
        link,
        state: Some(state.text.to_owned()),
        span: line.span,
        ..Interface::default()
    };
    while let Some(word) = words.peek() {
        if let Ok((_, flags)) = flags(word.text) {
            interface.flags = Some(flags);
        } else if let Some(mac) = parse_mac(word.text) {
            interface.mac = Some(mac);
        } else if word.text == "metric" {
            words.next();
        } else {
            match prefixed(&mut words, word.span) {
                Ok(address) => interface.addresses.push(address),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
            continue;
        }
        words.next();
    }
    Some(Header { interface, rest: None })
}
