//! `ip -j addr` and `ip -j link`.

use super::{Address, AddressFlags, BridgeSettings, Interface, Link, parse_mac};
use crate::diagnostic::Diagnostic;
use crate::host::json::{Json, Object, entries};

/// The interfaces of a text of JSON.
pub(super) fn interfaces(
    text: &str,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Interface> {
    let mut interfaces = Vec::new();
    for entry in entries(text, start, "a list of interfaces, as `ip -j addr` prints", diagnostics) {
        match entry.object("an interface").and_then(|object| interface(&object, diagnostics)) {
            Ok(interface) => interfaces.extend(interface),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    interfaces
}

/// One interface; iproute2 prints `{}` for one that a filter left out.
fn interface(
    object: &Object<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Interface>, Diagnostic> {
    if object.is_empty() {
        return Ok(None);
    }
    let name = object.required("ifname")?.string()?.into_owned();
    let mut interface = Interface { name, span: object.span, ..Interface::default() };
    for (key, value) in object.iter() {
        if let Err(diagnostic) = field(&mut interface, key, value, diagnostics) {
            diagnostics.push(diagnostic);
        }
    }
    Ok(Some(interface))
}

/// One field of an interface; those that say nothing about where packets go are passed over.
fn field(
    interface: &mut Interface,
    key: &str,
    value: Json<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    if value.is_null() {
        return Ok(());
    }
    match key {
        "ifindex" => interface.index = Some(value.parse("an interface number")?),
        "link" => interface.link = Some(Link::Here(value.string()?.into_owned())),
        "link_index" => interface.link = Some(Link::Elsewhere(value.parse("an interface number")?)),
        "flags" => interface.flags = Some(strings(value)?),
        "operstate" => interface.state = Some(value.string()?.into_owned()),
        "mtu" => interface.mtu = Some(value.parse("an MTU")?),
        "master" => interface.master = Some(value.string()?.into_owned()),
        "link_type" => interface.link_type = Some(value.string()?.into_owned()),
        "address" => interface.mac = parse_mac(&value.string()?),
        "group" => interface.group = Some(value.word()?.into_owned()),
        "altname" => interface.alternative_names.push(value.string()?.into_owned()),
        "altnames" => interface.alternative_names = strings(value)?,
        "linkinfo" => link_info(interface, &value.object("the details of a link")?)?,
        "addr_info" => {
            for entry in value.list("a list of addresses")? {
                match entry.object("an address").and_then(|object| address(&object)) {
                    Ok(address) => interface.addresses.extend(address),
                    Err(diagnostic) => diagnostics.push(diagnostic),
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// The details that `-d` adds.
fn link_info(interface: &mut Interface, object: &Object<'_>) -> Result<(), Diagnostic> {
    if let Some(kind) = object.get("info_kind") {
        interface.kind = Some(kind.string()?.into_owned());
    }
    if let Some(kind) = object.get("info_slave_kind") {
        interface.port_kind = Some(kind.string()?.into_owned());
    }
    let Some(data) = object.get("info_data") else { return Ok(()) };
    let data = data.object("the details of a link")?;
    let flag = |name| data.get(name).map_or(Ok(false), |value: Json<'_>| value.flag());
    match interface.kind.as_deref() {
        Some("bridge") => {
            interface.bridge = Some(BridgeSettings {
                vlan_filtering: flag("vlan_filtering")?,
                nf_call_iptables: flag("nf_call_iptables")?,
                nf_call_ip6tables: flag("nf_call_ip6tables")?,
            });
        }
        Some("vlan") => interface.vlan = Some(data.required("id")?.parse("a VLAN identifier")?),
        Some("vrf") => {
            interface.vrf_table = Some(data.required("table")?.parse("the number of a table")?)
        }
        _ => {}
    }
    Ok(())
}

/// One address; iproute2 prints `{}` for one that a filter left out.
fn address(object: &Object<'_>) -> Result<Option<Address>, Diagnostic> {
    if object.is_empty() {
        return Ok(None);
    }
    let flag = |name| object.get(name).map_or(Ok(false), |value: Json<'_>| value.flag());
    let local = match object.get("local") {
        Some(local) => local,
        None => object.required("address")?,
    };
    let prefix = object.required("prefixlen")?;
    let mut address = Address {
        local: local.parse("an IP address")?,
        peer: None,
        prefix_len: prefix.parse("a prefix length")?,
        broadcast: None,
        anycast: None,
        scope: None,
        label: None,
        flags: AddressFlags {
            secondary: flag("secondary")?,
            deprecated: flag("deprecated")?,
            tentative: flag("tentative")?,
            dad_failed: flag("dadfailed")?,
            temporary: flag("temporary")?,
            optimistic: flag("optimistic")?,
            no_prefix_route: flag("noprefixroute")?,
            dynamic: flag("dynamic")?,
        },
        span: object.span,
    };
    if address.prefix_len > if address.local.is_ipv4() { 32 } else { 128 } {
        return Err(prefix.unexpected("a prefix length"));
    }
    for (key, value) in object.iter() {
        match key {
            "address" if object.get("local").is_some() => {
                address.peer = Some(value.parse("an IP address")?)
            }
            "broadcast" => address.broadcast = Some(value.parse("an IPv4 address")?),
            "anycast" => address.anycast = Some(value.parse("an IP address")?),
            "scope" => address.scope = Some(value.parse("a scope")?),
            "label" => address.label = Some(value.string()?.into_owned()),
            _ => {}
        }
    }
    Ok(Some(address))
}

/// A list of strings.
fn strings(value: Json<'_>) -> Result<Vec<String>, Diagnostic> {
    value.list("a list of strings")?.iter().map(|entry| Ok(entry.string()?.into_owned())).collect()
}
