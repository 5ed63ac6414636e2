//! Policy rules and routes: the forwarding information base.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::host::Scope;

/// The number of a routing table.
pub type TableId = u32;

/// Table `local`.
pub const LOCAL: TableId = 255;
/// Table `main`.
pub const MAIN: TableId = 254;
/// Table `default`.
pub const DEFAULT: TableId = 253;
/// The first identity given to a table whose number is not known, only its name.
pub const FIRST_NAMED: TableId = 0xffff_0000;

/// What a route does with a packet (`RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of ip-route(8)")]
pub enum RouteKind {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
}

impl RouteKind {
    /// Whether nothing goes by such a route.
    #[must_use]
    pub fn refuses(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw)
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway; absent where the destination is on-link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: String,
    /// The share of a multipath route, at least 1.
    pub weight: u32,
    /// `dead`: not used.
    pub dead: bool,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// The destinations.
    pub destination: Prefix,
    /// The next hops: none for blackhole and its kin, several for multipath.
    pub next_hops: Vec<NextHop>,
    /// `src`: the address that local packets get.
    pub preferred_source: Option<IpAddr>,
    /// Lower is preferred among routes of one prefix.
    pub metric: u32,
    /// Only packets of this type of service; 0 for any.
    pub tos: u8,
    /// Its scope.
    pub scope: Scope,
    /// As `ip route` prints it, for explanations.
    pub text: String,
}

/// What a policy rule does with a packet that it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Look into a table; on with the next rule where nothing is found.
    Lookup {
        /// The table.
        table: TableId,
        /// Routes of at most this prefix length do not count (`suppress_prefixlength`).
        suppress_prefix_length: Option<u32>,
    },
    /// On with the rule of this priority.
    Goto(u32),
    /// Nothing.
    Nop,
    /// Dropped silently.
    Blackhole,
    /// ICMP network unreachable.
    Unreachable,
    /// ICMP administratively prohibited.
    Prohibit,
    /// Something that is not modelled (l3mdev, …): the answer is undetermined.
    Unsupported,
}

/// One policy rule (ip-rule(8), kernel-facts D13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The order; lower first.
    pub priority: u32,
    /// `not`: selects what the rest does not.
    pub inverted: bool,
    /// `from`.
    pub source: Option<Prefix>,
    /// `to`.
    pub destination: Option<Prefix>,
    /// `iif`; a local packet comes in by `lo`.
    pub in_interface: Option<String>,
    /// `oif`: only packets of sockets bound to it.
    pub out_interface: Option<String>,
    /// `fwmark` as value and mask.
    pub mark: Option<(u32, u32)>,
    /// `tos`/`dsfield`.
    pub tos: Option<u8>,
    /// `ipproto`.
    pub protocol: Option<u8>,
    /// `sport`, both ends inclusive.
    pub source_port: Option<(u16, u16)>,
    /// `dport`, both ends inclusive.
    pub destination_port: Option<(u16, u16)>,
    /// `uidrange`, both ends inclusive: who sends is not known of a foreign packet.
    pub users: Option<(u32, u32)>,
    /// What it does.
    pub action: RuleAction,
    /// As `ip rule` prints it, for explanations.
    pub text: String,
}

impl PolicyRule {
    /// A rule that takes every packet and does nothing with it, for others to be made of.
    #[must_use]
    pub fn of_any(priority: u32) -> Self {
        Self {
            priority,
            inverted: false,
            source: None,
            destination: None,
            in_interface: None,
            out_interface: None,
            mark: None,
            tos: None,
            protocol: None,
            source_port: None,
            destination_port: None,
            users: None,
            action: RuleAction::Nop,
            text: String::new(),
        }
    }
}

/// The routes of one table, found by longest prefix, then by lowest metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    /// Sorted: longer prefixes first, then lower metric, then the order of the snapshot.
    routes: Vec<Route>,
}

impl RouteTable {
    /// Adds a route at its place.
    pub fn insert(&mut self, route: Route) {
        let key = |route: &Route| (u32::MAX - route.destination.length(), route.metric);
        let at = self.routes.partition_point(|other| key(other) <= key(&route));
        self.routes.insert(at, route);
    }

    /// The routes, best first.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// Policy rules and tables of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Rules of IPv4, in order.
    pub rules4: Vec<PolicyRule>,
    /// Rules of IPv6, in order.
    pub rules6: Vec<PolicyRule>,
    /// Tables of IPv4.
    pub tables4: BTreeMap<TableId, RouteTable>,
    /// Tables of IPv6.
    pub tables6: BTreeMap<TableId, RouteTable>,
    /// Tables that the listings name without telling their numbers: the identities that they got
    /// here, from [`FIRST_NAMED`] on, with their names.
    pub names: BTreeMap<TableId, String>,
}

impl Routing {
    /// The rules of a family.
    #[must_use]
    pub fn rules(&self, family: Family) -> &[PolicyRule] {
        match family {
            Family::Ipv4 => &self.rules4,
            Family::Ipv6 => &self.rules6,
        }
    }

    /// The name of a table as ip(8) prints it.
    #[must_use]
    pub fn table_name(&self, table: TableId) -> String {
        match table {
            LOCAL => "local".to_owned(),
            MAIN => "main".to_owned(),
            DEFAULT => "default".to_owned(),
            other => self.names.get(&other).cloned().unwrap_or_else(|| other.to_string()),
        }
    }

    /// The tables of a family.
    #[must_use]
    pub fn tables(&self, family: Family) -> &BTreeMap<TableId, RouteTable> {
        match family {
            Family::Ipv4 => &self.tables4,
            Family::Ipv6 => &self.tables6,
        }
    }
}
