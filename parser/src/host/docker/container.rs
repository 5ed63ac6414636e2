//! `docker inspect` of containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{address, address_with_length, filled, flag, mac, map, read, string};
use crate::diagnostic::Diagnostic;
use crate::host::Read;
use crate::host::json::{Json, Object};
use crate::span::Span;

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its identifier, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the slash in front.
    pub name: String,
    /// What it calls itself.
    pub hostname: String,
    /// Whether it runs; a paused one does.
    pub running: bool,
    /// Its first process, where it runs.
    pub pid: Option<u32>,
    /// How it was attached when it was created.
    pub network_mode: NetworkMode,
    /// The networks it is in, in the order of the text.
    pub networks: Vec<Attachment>,
    /// The ports that are published now. Empty while it does not run.
    pub ports: Vec<PublishedPort>,
    /// The ports that it was told to publish.
    pub bindings: Vec<PortBinding>,
    /// The kernel parameters that are set in it.
    pub sysctls: BTreeMap<String, String>,
    /// Where it stands.
    pub span: Span,
}

/// How a container was attached when it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// To the network `bridge`.
    #[default]
    Default,
    /// Not apart from the host.
    Host,
    /// To nothing but its own loopback.
    None,
    /// To what another container is attached to, by its identifier or name.
    Container(String),
    /// To a network by its name.
    Network(String),
}

/// A container's place in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The name of the network.
    pub network: String,
    /// The identifier of the network.
    pub network_id: String,
    /// The identifier of the endpoint.
    pub endpoint_id: String,
    /// Where its IPv4 packets go by default, if this network carries its default route.
    pub gateway: Option<IpAddr>,
    /// The same for IPv6.
    pub ipv6_gateway: Option<IpAddr>,
    /// Its IPv4 address with the prefix length; absent while the container does not run.
    pub ipv4: Option<IpNet>,
    /// Its IPv6 address with the prefix length.
    pub ipv6: Option<IpNet>,
    /// The addresses that somebody asked for (`--ip`, compose's `ipv4_address`): it keeps them.
    pub assigned: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// The names it has in this network.
    pub aliases: Vec<String>,
    /// Which network carries the default route: the one with the highest number (`GwPriority`,
    /// since Docker 28); 0 where none is given.
    pub gateway_priority: i64,
}

/// A port of a container that is published on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// The port in the container.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The address on the host; absent where none is given.
    pub host_address: Option<IpAddr>,
    /// The port on the host.
    pub host_port: u16,
}

/// A port that a container was told to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortBinding {
    /// The port in the container.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The address on the host; absent where none is given.
    pub host_address: Option<IpAddr>,
    /// The ports on the host to choose from, both ends inclusive; absent for any.
    pub host_ports: Option<(u16, u16)>,
}

impl Container {
    /// Its place in a network, by the network's name.
    #[must_use]
    pub fn attachment(&self, network: &str) -> Option<&Attachment> {
        self.networks.iter().find(|attachment| attachment.network == network)
    }
}

/// Reads what `docker inspect` printed about containers, of old and new versions.
#[must_use]
pub fn parse_containers(text: &str) -> Read<Vec<Container>> {
    let mut diagnostics = Vec::new();
    let expected = "a list of containers, as `docker inspect` prints";
    let containers = read(text, expected, &mut diagnostics, container);
    (containers, diagnostics)
}

/// One container.
fn container(
    object: &Object<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Container, Diagnostic> {
    let name = object.required("Name")?.string()?;
    let mut container = Container {
        id: object.required("Id")?.string()?.into_owned(),
        name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
        span: object.span,
        ..Container::default()
    };
    if let Some(config) = object.get("Config") {
        container.hostname =
            string(&config.object("the configuration of a container")?, "Hostname")?;
    }
    if let Some(state) = object.get("State") {
        let state = state.object("the state of a container")?;
        container.running = flag(&state, "Running", false)?;
        let pid =
            state.get("Pid").map(|pid| pid.parse::<u32>("the number of a process")).transpose()?;
        container.pid = pid.filter(|pid| *pid != 0);
    }
    if let Some(config) = object.get("HostConfig") {
        let config = config.object("the host configuration of a container")?;
        container.network_mode = network_mode(filled(&config, "NetworkMode")?.as_deref());
        container.sysctls = map(&config, "Sysctls")?;
        if let Some(ports) = config.get("PortBindings") {
            container.bindings = bindings(ports, diagnostics)?;
        }
    }
    if let Some(settings) = object.get("NetworkSettings") {
        settings_of(
            &mut container,
            &settings.object("the network settings of a container")?,
            diagnostics,
        )?;
    }
    Ok(container)
}

/// The word of `--network`.
fn network_mode(text: Option<&str>) -> NetworkMode {
    match text {
        None | Some("default" | "bridge") => NetworkMode::Default,
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(other) => match other.strip_prefix("container:") {
            Some(container) => NetworkMode::Container(container.to_owned()),
            None => NetworkMode::Network(other.to_owned()),
        },
    }
}

/// The networks and the published ports.
fn settings_of(
    container: &mut Container,
    settings: &Object<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    match settings.get("Networks") {
        Some(networks) => {
            for (name, value) in networks.object("a map of networks")?.iter() {
                match value
                    .object("a network of a container")
                    .and_then(|object| attachment(name, &object))
                {
                    Ok(attachment) => container.networks.push(attachment),
                    Err(diagnostic) => diagnostics.push(diagnostic),
                }
            }
        }
        // Docker before 1.9 knows one network, and describes it here.
        None if filled(settings, "IPAddress")?.is_some() => {
            container.networks.push(attachment("bridge", settings)?)
        }
        None => {}
    }
    let Some(ports) = settings.get("Ports") else { return Ok(()) };
    for binding in bindings(ports, diagnostics)? {
        match binding.host_ports {
            Some((host_port, last)) if host_port == last => container.ports.push(PublishedPort {
                container_port: binding.container_port,
                protocol: binding.protocol,
                host_address: binding.host_address,
                host_port,
            }),
            _ => {
                diagnostics.push(ports.unexpected("published ports with one port of the host each"))
            }
        }
    }
    Ok(())
}

/// One network of a container.
fn attachment(network: &str, object: &Object<'_>) -> Result<Attachment, Diagnostic> {
    let mut attachment = Attachment {
        network: network.to_owned(),
        network_id: string(object, "NetworkID")?,
        endpoint_id: string(object, "EndpointID")?,
        gateway: address(object, "Gateway")?,
        ipv6_gateway: address(object, "IPv6Gateway")?,
        ipv4: address_with_length(object, "IPAddress", "IPPrefixLen")?,
        ipv6: address_with_length(object, "GlobalIPv6Address", "GlobalIPv6PrefixLen")?,
        mac: mac(object, "MacAddress")?,
        ..Attachment::default()
    };
    if let Some(asked) = object.get("IPAMConfig") {
        let asked = asked.object("the addresses that were asked for")?;
        for key in ["IPv4Address", "IPv6Address"] {
            attachment.assigned.extend(address(&asked, key)?);
        }
    }
    if let Some(priority) = object.get("GwPriority") {
        attachment.gateway_priority = priority.parse("a priority")?;
    }
    // Since Docker 25 the short identifier stands only under `DNSNames`, with all other names.
    for key in ["Aliases", "DNSNames"] {
        let Some(names) = object.get(key) else { continue };
        for name in names.list("a list of names")? {
            let name = name.string()?.into_owned();
            if !attachment.aliases.contains(&name) {
                attachment.aliases.push(name);
            }
        }
    }
    Ok(attachment)
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": null}`.
fn bindings(
    ports: Json<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Vec<PortBinding>, Diagnostic> {
    let mut bindings = Vec::new();
    for (key, value) in ports.object("a map of ports")?.iter() {
        // A port that is exposed and not published has `null`.
        for entry in value.list("a list of published ports")? {
            match entry.object("a published port").and_then(|object| binding(key, &object)) {
                Ok(binding) => bindings.push(binding),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
    }
    Ok(bindings)
}

/// One published port; `key` is `80/tcp`, or `80` for TCP.
fn binding(key: &str, object: &Object<'_>) -> Result<PortBinding, Diagnostic> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    let container_port = port.parse().map_err(|_| {
        let message = format!("expected a port such as `80/tcp`, found `{key}`");
        Diagnostic::warning("unexpected-value", message, object.span)
    })?;
    let host_ports = match (object.get("HostPort"), filled(object, "HostPort")?) {
        (Some(value), Some(text)) if text != "0" => {
            let (low, high) = text.split_once('-').unwrap_or((&text, &text));
            let bad = |_| value.unexpected("a port or a range of ports");
            Some((low.parse().map_err(bad)?, high.parse().map_err(bad)?))
        }
        _ => None,
    };
    Ok(PortBinding {
        container_port,
        protocol: protocol.to_owned(),
        host_address: address(object, "HostIp")?,
        host_ports,
    })
}
