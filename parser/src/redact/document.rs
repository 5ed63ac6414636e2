//! The parts that are JSON: of Docker only what an answer can depend on, of the others everything.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::address::Addresses;
use super::interface::Interfaces;
use super::name::{Kind, Names};
use super::{Input, Pseudonyms};

/// The keys of docker's inventory that are read. Everything else (environment, labels, mounts,
/// commands) is left out.
const DOCKER: [&str; 38] = [
    "Aliases",
    "Config",
    "Containers",
    "DNSNames",
    "Driver",
    "EnableIPv4",
    "EnableIPv6",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "GwPriority",
    "HostConfig",
    "HostIp",
    "HostPort",
    "Hostname",
    "IPAM",
    "IPAddress",
    "IPPrefixLen",
    "IPRange",
    "IPv4Address",
    "IPv6Address",
    "IPv6Gateway",
    "Id",
    "Internal",
    "MacAddress",
    "Name",
    "NetworkID",
    "NetworkMode",
    "NetworkSettings",
    "Networks",
    "Options",
    "Pid",
    "PortBindings",
    "Ports",
    "Running",
    "State",
    "Subnet",
];

/// Objects of docker's inventory whose keys are data.
const OPEN: [&str; 6] = ["Networks", "Containers", "Options", "Sysctls", "Ports", "PortBindings"];

/// What a string is.
enum Item {
    Name(Kind),
    Interface,
    Other,
}

/// Reads a part, or says what is wrong with it.
pub(super) fn parse(input: &Input<'_>) -> Result<Value, (String, String)> {
    serde_json::from_str(input.text).map_err(|error| (input.name.to_owned(), error.to_string()))
}

/// Whether a document is docker's: its keys begin with capital letters.
fn is_docker(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(is_docker),
        Value::Object(fields) => fields.contains_key("Id") && fields.contains_key("Name"),
        _ => false,
    }
}

/// What the string under these keys is; the innermost comes last.
fn item(path: &[&str]) -> Item {
    let within = |key: &str| path.iter().rev().skip(1).any(|outer| *outer == key);
    match path.last().copied().unwrap_or_default() {
        "Name" if within("Containers") => Item::Name(Kind::Container),
        "Name" if path.first() == Some(&"network") => Item::Name(Kind::Network),
        "Name" | "Aliases" | "DNSNames" | "Hostname" if path.first() == Some(&"container") => {
            Item::Name(Kind::Container)
        }
        "NetworkMode" => Item::Name(Kind::Network),
        "ifname"
        | "dev"
        | "iif"
        | "oif"
        | "link"
        | "master"
        | "label"
        | "altname"
        | "altnames"
        | "com.docker.network.bridge.name"
        | "vrf" => Item::Interface,
        "comment" | "ifalias" | "prefix" => Item::Name(Kind::Text),
        _ => Item::Other,
    }
}

/// A container's id in short stands for its name in places: it names nobody.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 12 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a document is about.
fn subject(value: &Value) -> &'static str {
    let first = value.as_array().and_then(|items| items.first()).unwrap_or(value);
    match first {
        Value::Object(fields) if fields.contains_key("IPAM") => "network",
        Value::Object(fields) if fields.contains_key("NetworkSettings") => "container",
        _ if is_docker(value) => "container",
        _ => "host",
    }
}

/// Notes every name and every prefix of a document.
pub(super) fn collect(
    value: &Value,
    addresses: &mut Addresses,
    interfaces: &mut Interfaces,
    names: &mut Names,
) {
    let mut noting = Noting { docker: is_docker(value), addresses, interfaces, names };
    noting.visit(&mut vec![subject(value)], value);
}

struct Noting<'a> {
    docker: bool,
    addresses: &'a mut Addresses,
    interfaces: &'a mut Interfaces,
    names: &'a mut Names,
}

impl Noting<'_> {
    fn visit<'v>(&mut self, path: &mut Vec<&'v str>, value: &'v Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.visit(path, item)),
            Value::Object(fields) => {
                self.prefix_in_two(fields);
                for (key, value) in fields {
                    if self.docker && !is_kept(path, key) {
                        continue;
                    }
                    if path.last() == Some(&"Networks") {
                        self.names.note(Kind::Network, key);
                    }
                    path.push(key);
                    self.visit(path, value);
                    path.pop();
                }
            }
            Value::String(text) => match item(path) {
                Item::Name(Kind::Network) if text.starts_with("container:") => {}
                Item::Name(Kind::Container) if is_id(text) => {}
                Item::Name(kind) => self.names.note(kind, text.trim_start_matches('/')),
                Item::Interface => {
                    self.interfaces.note(text.split([':', '@']).next().unwrap_or_default());
                }
                Item::Other => {}
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Address and length in two fields.
    fn prefix_in_two(&mut self, fields: &Map<String, Value>) {
        for (address, length) in [
            ("local", "prefixlen"),
            ("IPAddress", "IPPrefixLen"),
            ("GlobalIPv6Address", "GlobalIPv6PrefixLen"),
            ("src", "srclen"),
            ("dst", "dstlen"),
            ("addr", "len"),
        ] {
            let address = fields.get(address).and_then(Value::as_str);
            let length = fields.get(length).and_then(Value::as_u64);
            if let (Some(address), Some(length)) = (address, length)
                && let Ok(address) = address.parse::<IpAddr>()
                && let Ok(prefix) = IpNet::new(address, u8::try_from(length).unwrap_or(u8::MAX))
            {
                self.addresses.note(prefix);
            }
        }
    }
}

/// The document with pseudonyms.
pub(super) fn write(value: &Value, pseudonyms: &mut Pseudonyms) -> String {
    let docker = is_docker(value);
    let mut path = vec![subject(value)];
    let written = rewritten(&mut path, value, docker, pseudonyms);
    let mut text = serde_json::to_string_pretty(&written).unwrap_or_default();
    text.push('\n');
    text
}

fn rewritten<'v>(
    path: &mut Vec<&'v str>,
    value: &'v Value,
    docker: bool,
    pseudonyms: &mut Pseudonyms,
) -> Value {
    match value {
        Value::Array(items) => {
            items.iter().map(|item| rewritten(path, item, docker, pseudonyms)).collect()
        }
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (key, value) in fields {
                if docker && !is_kept(path, key) {
                    continue;
                }
                let key_written = if path.last() == Some(&"Networks") {
                    pseudonyms.names.pseudonym(Kind::Network, key)
                } else {
                    key.clone()
                };
                path.push(key);
                kept.insert(key_written, rewritten(path, value, docker, pseudonyms));
                path.pop();
            }
            Value::Object(kept)
        }
        Value::String(text) => Value::String(string(path, text, pseudonyms)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Whether a field of docker's inventory is passed on.
fn is_kept(path: &[&str], key: &str) -> bool {
    let open = path.last().is_some_and(|key| OPEN.contains(key));
    match path.last().copied() {
        Some("Options") => key.starts_with("com.docker.network."),
        Some("Sysctls") => key.starts_with("net."),
        // `docker network inspect` lists subnets under IPAM.Config.
        Some("IPAM") => matches!(key, "Config" | "Driver"),
        _ => open || key == "Sysctls" || DOCKER.contains(&key),
    }
}

fn string(path: &[&str], text: &str, pseudonyms: &mut Pseudonyms) -> String {
    match item(path) {
        Item::Name(Kind::Network) => match text.strip_prefix("container:") {
            Some(name) => {
                format!("container:{}", pseudonyms.names.pseudonym(Kind::Container, name))
            }
            None => pseudonyms.names.pseudonym(Kind::Network, text),
        },
        Item::Name(kind) => match text.strip_prefix('/') {
            Some(name) => format!("/{}", pseudonyms.names.pseudonym(kind, name)),
            None => pseudonyms.names.pseudonym(kind, text),
        },
        Item::Interface => {
            let name = text.split([':', '@']).next().unwrap_or_default();
            let behind = text.get(name.len()..).unwrap_or_default();
            format!("{}{behind}", pseudonyms.interfaces.pseudonym(name))
        }
        Item::Other => pseudonyms.addresses_in(text),
    }
}
