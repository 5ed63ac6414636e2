//! `docker network inspect`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{address, flag, mac, map, prefix, read, string};
use crate::diagnostic::Diagnostic;
use crate::host::Read;
use crate::host::json::Object;
use crate::span::Span;
use crate::syntax::Family;

/// One network of Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its identifier, 64 hexadecimal digits.
    pub id: String,
    /// What makes it, such as `bridge`, `host`, `null`, `macvlan`, `ipvlan`, `overlay`.
    pub driver: String,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether it has IPv4; versions that do not say so always have it.
    pub enable_ipv4: bool,
    /// Whether it has IPv6.
    pub enable_ipv6: bool,
    /// Its prefixes.
    pub subnets: Vec<Subnet>,
    /// The options of its driver, such as `com.docker.network.bridge.enable_icc`.
    pub options: BTreeMap<String, String>,
    /// What is attached to it now, in the order of the text.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub span: Span,
}

/// One prefix of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The prefix.
    pub subnet: IpNet,
    /// The address of the host in it, where it is given.
    pub gateway: Option<IpAddr>,
    /// The part of it that containers get addresses of.
    pub range: Option<IpNet>,
}

/// One container in a network, as the network sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The container's identifier, or another key such as `lb-…` of a load balancer.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// The identifier of the endpoint.
    pub id: String,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// Its IPv4 address with the prefix length of the network.
    pub ipv4: Option<IpNet>,
    /// Its IPv6 address with the prefix length of the network.
    pub ipv6: Option<IpNet>,
}

/// How packets reach containers of a bridge network from outside
/// (`com.docker.network.bridge.gateway_mode_ipv4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewayMode {
    /// By NAT, the default.
    Nat,
    /// By NAT, and also directly to any port.
    NatUnprotected,
    /// Directly, to published ports only.
    Routed,
    /// Not at all; the host has no address in the network.
    Isolated,
}

impl Network {
    /// The interface of a bridge network; `None` for other drivers.
    #[must_use]
    pub fn bridge(&self) -> Option<String> {
        if self.driver != "bridge" {
            return None;
        }
        if let Some(name) =
            self.options.get("com.docker.network.bridge.name").filter(|name| !name.is_empty())
        {
            return Some(name.clone());
        }
        if self.is_default() {
            return Some("docker0".to_owned());
        }
        self.id.get(..12).map(|id| format!("br-{id}"))
    }

    /// Whether it is the network that containers are in by default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == "bridge" || self.truth("com.docker.network.bridge.default_bridge", false)
    }

    /// Whether Docker masquerades what leaves it (`enable_ip_masquerade`).
    #[must_use]
    pub fn masquerades(&self) -> bool {
        self.truth("com.docker.network.bridge.enable_ip_masquerade", true)
    }

    /// Whether its containers may talk to each other (`enable_icc`).
    #[must_use]
    pub fn allows_inter_container(&self) -> bool {
        self.truth("com.docker.network.bridge.enable_icc", true)
    }

    /// The address that ports are published on where a container gives none.
    #[must_use]
    pub fn host_binding_ipv4(&self) -> Option<IpAddr> {
        self.options.get("com.docker.network.bridge.host_binding_ipv4")?.parse().ok()
    }

    /// The source address that leaving packets get instead of a masqueraded one
    /// (`com.docker.network.host_ipv4`, `…host_ipv6`).
    #[must_use]
    pub fn host_address(&self, family: Family) -> Option<IpAddr> {
        let name = match family {
            Family::Ipv4 => "com.docker.network.host_ipv4",
            Family::Ipv6 => "com.docker.network.host_ipv6",
        };
        self.options.get(name)?.parse().ok()
    }

    /// How packets reach its containers; `None` for a mode that is not known.
    #[must_use]
    pub fn gateway_mode(&self, family: Family) -> Option<GatewayMode> {
        let name = match family {
            Family::Ipv4 => "com.docker.network.bridge.gateway_mode_ipv4",
            Family::Ipv6 => "com.docker.network.bridge.gateway_mode_ipv6",
        };
        match self.options.get(name).map(String::as_str) {
            None | Some("" | "nat") => Some(GatewayMode::Nat),
            Some("nat-unprotected") => Some(GatewayMode::NatUnprotected),
            Some("routed") => Some(GatewayMode::Routed),
            Some("isolated") => Some(GatewayMode::Isolated),
            Some(_) => None,
        }
    }

    /// A truth value among the options, as Go reads one.
    fn truth(&self, name: &str, absent: bool) -> bool {
        match self.options.get(name).map(String::as_str) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            _ => absent,
        }
    }
}

/// Reads what `docker network inspect` printed.
#[must_use]
pub fn parse_networks(text: &str) -> Read<Vec<Network>> {
    let mut diagnostics = Vec::new();
    let expected = "a list of networks, as `docker network inspect` prints";
    let networks = read(text, expected, &mut diagnostics, network);
    (networks, diagnostics)
}

/// One network.
fn network(object: &Object<'_>, diagnostics: &mut Vec<Diagnostic>) -> Result<Network, Diagnostic> {
    let mut network = Network {
        name: object.required("Name")?.string()?.into_owned(),
        id: object.required("Id")?.string()?.into_owned(),
        driver: object.required("Driver")?.string()?.into_owned(),
        internal: flag(object, "Internal", false)?,
        enable_ipv4: flag(object, "EnableIPv4", true)?,
        enable_ipv6: flag(object, "EnableIPv6", false)?,
        options: map(object, "Options")?,
        span: object.span,
        ..Network::default()
    };
    if let Some(ipam) = object.get("IPAM")
        && let Some(config) = ipam.object("the addresses of a network")?.get("Config")
    {
        for entry in config.list("a list of prefixes")? {
            match entry.object("a prefix of a network").and_then(|object| subnet(&object)) {
                Ok(subnet) => network.subnets.extend(subnet),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
    }
    if let Some(containers) = object.get("Containers") {
        for (key, value) in containers.object("a map of containers")?.iter() {
            match value.object("a container of a network").and_then(|object| endpoint(key, &object))
            {
                Ok(endpoint) => network.endpoints.push(endpoint),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
    }
    Ok(network)
}

/// One prefix; an entry without one is none.
fn subnet(object: &Object<'_>) -> Result<Option<Subnet>, Diagnostic> {
    let Some(subnet) = prefix(object, "Subnet")? else { return Ok(None) };
    let gateway = address(object, "Gateway")?;
    Ok(Some(Subnet { subnet, gateway, range: prefix(object, "IPRange")? }))
}

/// One container of a network.
fn endpoint(container: &str, object: &Object<'_>) -> Result<Endpoint, Diagnostic> {
    Ok(Endpoint {
        container: container.to_owned(),
        name: string(object, "Name")?,
        id: string(object, "EndpointID")?,
        mac: mac(object, "MacAddress")?,
        ipv4: prefix(object, "IPv4Address")?,
        ipv6: prefix(object, "IPv6Address")?,
    })
}
