//! The host around the rules: what the kernel knows (interfaces, routes, sysctls, sets, sockets)
//! and what only the container inventory and the reader know.

pub mod inventory;
pub mod route;
pub mod set;
pub mod sysctl;

use std::collections::BTreeMap;
use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::hook::Hook;
use inventory::Inventory;
use route::Routing;
use set::IpSet;
use sysctl::Sysctls;

/// A part of a snapshot that an answer may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of CLI.md's table")]
pub enum Part {
    Rules4,
    Rules6,
    LegacyRules4,
    LegacyRules6,
    Nft,
    Ipset,
    Addresses,
    Routes4,
    Routes6,
    PolicyRules4,
    PolicyRules6,
    BridgeLinks,
    Sysctl,
    Listeners,
    DockerNetworks,
    DockerContainers,
    Conntrack,
    Zones,
}

impl Part {
    /// Every part, in the order of CLI.md's table.
    pub const ALL: [Self; 18] = [
        Self::Rules4,
        Self::Rules6,
        Self::LegacyRules4,
        Self::LegacyRules6,
        Self::Nft,
        Self::Ipset,
        Self::Addresses,
        Self::Routes4,
        Self::Routes6,
        Self::PolicyRules4,
        Self::PolicyRules6,
        Self::BridgeLinks,
        Self::Sysctl,
        Self::Listeners,
        Self::DockerNetworks,
        Self::DockerContainers,
        Self::Conntrack,
        Self::Zones,
    ];

    /// The routes of an IP version.
    #[must_use]
    pub const fn routes(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Routes4,
            Family::Ipv6 => Self::Routes6,
        }
    }

    /// The name of the part's file in a snapshot.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Rules4 => "iptables-save",
            Self::Rules6 => "ip6tables-save",
            Self::LegacyRules4 => "iptables-legacy-save",
            Self::LegacyRules6 => "ip6tables-legacy-save",
            Self::Nft => "nft-ruleset.json",
            Self::Ipset => "ipset-save",
            Self::Addresses => "ip-addr.json",
            Self::Routes4 => "ip-route.json",
            Self::Routes6 => "ip6-route.json",
            Self::PolicyRules4 => "ip-rule.json",
            Self::PolicyRules6 => "ip6-rule.json",
            Self::BridgeLinks => "bridge-link.json",
            Self::Sysctl => "sysctl",
            Self::Listeners => "listeners",
            Self::DockerNetworks => "docker-network-inspect.json",
            Self::DockerContainers => "docker-inspect.json",
            Self::Conntrack => "conntrack",
            Self::Zones => "zones.toml",
        }
    }
}

/// Something that an answer rests on and that nobody measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assumption {
    /// A stable name in kebab case, such as `no-listeners`.
    pub code: &'static str,
    /// What is assumed, and which part of a snapshot would settle it.
    pub text: String,
}

/// What an assumption is about, where it is about one thing only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An interface, with what is behind it.
    Interface(String),
    /// An own address of the host.
    Address(IpAddr),
    /// The packets of a family.
    Family(Family),
}

/// What kind of device an interface is, as far as it matters for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceKind {
    /// The loopback interface.
    Loopback,
    /// A bridge.
    Bridge,
    /// One end of a veth pair.
    Veth,
    /// A point-to-point tunnel without hardware addresses (tun, wireguard, …).
    Tunnel,
    /// Anything else: a network card, a vlan, …
    Other,
}

/// The scope of an address or route, as the kernel numbers it: higher is narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Valid everywhere.
    Global,
    /// Valid in the site.
    Site,
    /// Valid on the link.
    Link,
    /// Valid in the host.
    Host,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The host's own address.
    pub local: IpAddr,
    /// The subnet that is on-link: of the peer where there is one, else of the address itself.
    pub subnet: Prefix,
    /// The other end of a point-to-point address.
    pub peer: Option<IpAddr>,
    /// The broadcast address.
    pub broadcast: Option<IpAddr>,
    /// Its scope.
    pub scope: Scope,
    /// Not the first of its subnet (IPv4); never chosen by MASQUERADE (kernel-facts B2).
    pub secondary: bool,
    /// No longer preferred (IPv6 source selection).
    pub deprecated: bool,
}

/// How a port of a bridge is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// The bridge.
    pub bridge: String,
    /// Whether a frame may leave by the port it came from; `None` where no part says.
    pub hairpin: Option<bool>,
    /// Isolated ports do not talk to one another; `None` where no part says.
    pub isolated: Option<bool>,
}

/// Which frames pass the rules of the IP layer on one bridge (`nf_call_iptables` and
/// `nf_call_ip6tables` of `ip -d link`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeFilter {
    /// Those of IPv4.
    pub ipv4: bool,
    /// Those of IPv6.
    pub ipv6: bool,
}

impl BridgeFilter {
    /// Those of a family.
    #[must_use]
    pub fn of(self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, without `@…`.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
    /// What it is.
    pub kind: InterfaceKind,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// How large packets may be that leave by it; `None` where no part says.
    pub mtu: Option<u32>,
    /// Its addresses in kernel order.
    pub addresses: Vec<InterfaceAddress>,
    /// Set where it is a port of a bridge.
    pub port: Option<BridgePort>,
    /// Whose frames pass the rules if it is a bridge, whatever the settings for all bridges say.
    pub bridge_filter: BridgeFilter,
}

/// What is known of hosts around: a `[zones.NAME]` of zones.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The interfaces they are behind; empty for any.
    pub via: Vec<String>,
    /// Their addresses; empty for all behind `via`.
    pub nets: Vec<Prefix>,
    /// What they send to this machine although it is not on-link.
    pub routes: Vec<Prefix>,
}

impl Zone {
    /// Whether an address behind an interface belongs to the zone.
    #[must_use]
    pub fn contains(&self, address: IpAddr, interface: &str) -> bool {
        let via = self.via.is_empty() || self.via.iter().any(|name| name == interface);
        let net = self.nets.is_empty() || self.nets.iter().any(|net| net.contains(address));
        via && net && !(self.via.is_empty() && self.nets.is_empty())
    }
}

/// The protocol of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SocketProtocol {
    Tcp,
    Udp,
    Sctp,
}

/// A socket that waits for packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its protocol.
    pub protocol: SocketProtocol,
    /// The address it is bound to; `None` for any address of `family`.
    pub address: Option<IpAddr>,
    /// The family of the socket. An IPv6 socket bound to `[::]` may take IPv4 packets too.
    pub family: Family,
    /// Whether an IPv6 wildcard socket takes IPv4 packets (`*:80` in ss, not `[::]:80`).
    pub dual_stack: bool,
    /// The port.
    pub port: u16,
    /// The interface it is bound to, where it is.
    pub interface: Option<String>,
    /// The names of the processes that hold it.
    pub processes: Vec<String>,
}

/// Where a chain that is not simulated sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForeignLayer {
    /// At a device: all of its packets.
    Device,
    /// In a bridge: the frames that pass its ports.
    Bridge,
}

/// A base chain of nftables whose rules are not modelled: of family `netdev` or `bridge`, or at
/// `ingress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// Its packets; `None` for both families (`inet`, `netdev`).
    pub family: Option<Family>,
    /// The hook where it sees them; for `ingress`, PREROUTING is the first.
    pub hook: Hook,
    /// Its table as nft names it, such as `inet firewalld`.
    pub table: String,
    /// What it sees.
    pub layer: ForeignLayer,
    /// The devices that it is bound to, where the listing tells.
    pub devices: Vec<String>,
}

/// Everything that is known of a host besides its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The interfaces in the order of their numbers.
    pub interfaces: Vec<Interface>,
    /// Policy rules and routes of both families.
    pub routing: Routing,
    /// Kernel settings.
    pub sysctls: Sysctls,
    /// The ipsets.
    pub sets: BTreeMap<String, IpSet>,
    /// Listening sockets; `None` where the snapshot does not say.
    pub listeners: Option<Vec<Listener>>,
    /// Containers and their networks.
    pub inventory: Inventory,
    /// Hosts around.
    pub zones: BTreeMap<String, Zone>,
    /// Base chains of nftables that are not simulated.
    pub foreign_chains: Vec<ForeignChain>,
    /// The parts that were given.
    pub parts: Vec<Part>,
    /// What was assumed while the parts were put together.
    pub assumptions: Vec<Assumption>,
    /// Those of [`Host::assumptions`] that are about one interface, address or family only, and so
    /// bear just on packets that meet it.
    pub subjects: Vec<(Assumption, Subject)>,
}

impl Host {
    /// Whether a part was given.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether two hosts are the same to every packet: what was assumed of them is in what they
    /// are, and in which words it is told, with the line of a rule perhaps, makes no difference.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let Self {
            interfaces,
            routing,
            sysctls,
            sets,
            listeners,
            inventory,
            zones,
            foreign_chains,
            parts,
            assumptions: _,
            subjects: _,
        } = self;
        *interfaces == other.interfaces
            && *routing == other.routing
            && *sysctls == other.sysctls
            && *sets == other.sets
            && *listeners == other.listeners
            && *inventory == other.inventory
            && *zones == other.zones
            && *foreign_chains == other.foreign_chains
            && *parts == other.parts
    }

    /// The assumptions that bear on a packet that meets these interfaces and addresses: those
    /// about them, and those about the host as a whole.
    #[must_use]
    pub fn assumptions_about(&self, interfaces: &[&str], addresses: &[IpAddr]) -> Vec<&Assumption> {
        let met = |subject: &Subject| match subject {
            Subject::Interface(name) => interfaces.contains(&name.as_str()),
            Subject::Address(address) => addresses.contains(address),
            Subject::Family(family) => addresses.iter().any(|one| Family::of(*one) == *family),
        };
        let bears = |assumption: &&Assumption| {
            let mut about = self.subjects.iter().filter(|(known, _)| known == *assumption);
            about
                .next()
                .is_none_or(|(_, first)| met(first) || about.any(|(_, subject)| met(subject)))
        };
        self.assumptions.iter().filter(bears).collect()
    }

    /// Notes an assumption about one thing.
    pub(crate) fn assume_about(&mut self, subject: Subject, assumption: Assumption) {
        self.assumptions.push(assumption.clone());
        self.subjects.push((assumption, subject));
    }

    /// An interface by its name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The interface that has this address as its own.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| {
            interface.addresses.iter().any(|candidate| candidate.local == address)
        })
    }

    /// An own address that stands for the one of an interface where no part lists addresses: one
    /// that rules show for it, or another of the host's, a container bridge's at last.
    #[must_use]
    pub fn stand_in(&self, interface: &str, family: Family) -> Option<IpAddr> {
        if self.has(Part::Addresses) {
            return None;
        }
        let of = |interface: &Interface| {
            let mut own = interface.addresses.iter().map(|own| own.local);
            own.find(|own| Family::of(*own) == family && !own.is_loopback())
        };
        let others = || self.interfaces.iter();
        let outer = || others().filter(|other| !self.is_container_bridge(&other.name));
        let named = self.interface(interface).and_then(of);
        named.or_else(|| outer().find_map(of)).or_else(|| others().find_map(of))
    }

    /// Whether an interface is a bridge whose ports are containers or guests, not a network card.
    #[must_use]
    pub fn is_container_bridge(&self, name: &str) -> bool {
        if self.inventory.networks.iter().any(|network| network.bridge == name) {
            return true;
        }
        let is_bridge = self.interface(name).is_some_and(|i| i.kind == InterfaceKind::Bridge);
        let has_card = self.interfaces.iter().any(|interface| {
            interface.kind == InterfaceKind::Other
                && interface.port.as_ref().is_some_and(|port| port.bridge == name)
                && !interface.name.starts_with("vnet")
                && !interface.name.starts_with("tap")
        });
        is_bridge && !has_card
    }

    /// Whether it is known which addresses of a family an interface has, and so which of them the
    /// kernel would pick. Without the part that lists them, what rules show to be an own address
    /// is kept as a secondary one, and only a bridge has a primary one.
    #[must_use]
    pub fn knows_addresses_of(&self, name: &str, family: Family) -> bool {
        let shown = || {
            self.interface(name).is_some_and(|interface| {
                let mut addresses = interface.addresses.iter();
                addresses.any(|own| Family::of(own.local) == family && !own.secondary)
            })
        };
        self.has(Part::Addresses) || shown()
    }

    /// Whether an address is on-link at an interface: covered by one of its subnets.
    #[must_use]
    pub fn is_on_link(&self, address: IpAddr, interface: &str) -> bool {
        self.interface(interface).is_some_and(|interface| {
            interface.addresses.iter().any(|own| own.subnet.contains(address))
        })
    }
}
