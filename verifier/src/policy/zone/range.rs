//! The addresses that routes, subnets and the kernel tell apart.

use std::collections::HashMap;
use std::net::IpAddr;

use nattrace_model::address::{Prefix, is_internet};
use nattrace_model::host::inventory::Endpoint;
use nattrace_model::host::route::{LOCAL, RouteKind};
use nattrace_model::host::{Interface, Scope};
use nattrace_model::simulate::{Expected, expected, kernel_source};
use nattrace_parser::syntax::Family;

use super::{Region, Zones};
use crate::cells::special_ranges;
use crate::policy::addresses::{AddressSet, address};
use crate::policy::side::{Side, Where};

/// Ranges of addresses, both ends inclusive.
type Ranges = Vec<(u128, u128)>;

impl<'s> Zones<'s> {
    pub(super) fn union(&self, sets: impl Iterator<Item = AddressSet>) -> AddressSet {
        AddressSet::of_ranges(self.family, sets.flat_map(|set| set.ranges().to_vec()).collect())
    }

    pub(super) fn of_prefix(&self, prefix: &Prefix) -> AddressSet {
        match prefix.family() == self.family {
            true => AddressSet::prefix(prefix),
            false => self.none(),
        }
    }

    pub(super) fn of_net(&self, net: ipnet::IpNet) -> AddressSet {
        self.of_prefix(&net.into())
    }

    pub(super) fn of_address(&self, own: IpAddr) -> AddressSet {
        match Family::of(own) == self.family {
            true => AddressSet::one(own),
            false => self.none(),
        }
    }

    pub(super) fn of_endpoint(&self, endpoint: &Endpoint) -> AddressSet {
        self.union(endpoint.addresses.iter().map(|(address, _)| self.of_address(*address)))
    }

    /// The host's own addresses.
    pub(crate) fn own(&self) -> AddressSet {
        let made = || {
            let addresses = self.host().interfaces.iter().flat_map(|own| &own.addresses);
            self.union(addresses.map(|address| self.of_address(address.local)))
        };
        self.own.get_or_init(made).clone()
    }

    /// What an interface has on-link.
    pub(super) fn on_link(&self, interface: &Interface) -> AddressSet {
        self.union(interface.addresses.iter().map(|own| self.of_prefix(&own.subnet)))
    }

    /// The addresses that hosts on-link at an interface can have: of its global subnets, without
    /// the host's own, and without those that stand for a whole subnet.
    pub(crate) fn hosts_on_link(&self, interface: &Interface) -> AddressSet {
        let global = interface.addresses.iter().filter(|own| own.scope == Scope::Global);
        let subnets = self.union(global.map(|own| self.hosts_of(&own.subnet)));
        subnets.difference(&self.own())
    }

    /// The addresses of a subnet that a host can have.
    pub(super) fn hosts_of(&self, subnet: &Prefix) -> AddressSet {
        let all = self.of_prefix(subnet);
        let Some((first, last)) = all.ranges().first().copied() else { return all };
        if last - first < 2 {
            return all;
        }
        let network = AddressSet::one(address(self.family, first));
        // Nobody broadcasts in IPv6.
        let broadcast = match self.family {
            Family::Ipv4 => AddressSet::one(address(self.family, last)),
            Family::Ipv6 => self.none(),
        };
        all.difference(&network).difference(&broadcast)
    }

    /// The interfaces that have a default route and are up.
    pub(crate) fn uplinks(&self) -> Vec<&'s str> {
        let host = self.host();
        let tables = host.routing.tables(self.family).iter().filter(|(table, _)| **table != LOCAL);
        let defaults = tables
            .flat_map(|(_, table)| table.routes())
            .filter(|route| route.kind == RouteKind::Unicast && route.destination.length() == 0);
        let mut names: Vec<&str> = Vec::new();
        for hop in defaults.flat_map(|route| &route.next_hops).filter(|hop| !hop.dead) {
            let up = host.interface(&hop.interface).is_none_or(|own| own.up);
            if up && !names.contains(&hop.interface.as_str()) {
                names.push(&hop.interface);
            }
        }
        names
    }

    /// The addresses that nobody on the internet has.
    pub(super) fn reserved(&self) -> AddressSet {
        let reserved = match self.family {
            // What `is_internet` excludes, and what nobody has (RFC 1122 section 3.2.1.3).
            Family::Ipv4 => [
                "0.0.0.0/8",
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "224.0.0.0/4",
                "255.255.255.255/32",
            ]
            .as_slice(),
            Family::Ipv6 => {
                &["::/128", "::1/128", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8"]
            }
        };
        let reserved = reserved.iter().filter_map(|net| net.parse::<ipnet::IpNet>().ok());
        self.union(reserved.map(|net| self.of_net(net)))
    }

    /// The addresses of the internet.
    pub(crate) fn internet(&self) -> AddressSet {
        let reserved = self.reserved();
        let on_link = self.union(self.host().interfaces.iter().map(|own| self.on_link(own)));
        let public = reserved.complement().difference(&on_link).difference(&self.own());
        debug_assert!(public.first().is_none_or(is_internet));
        public
    }

    /// The addresses that are expected behind an interface, without those that no host has.
    pub(crate) fn behind_by_routes(&self, interface: &str) -> AddressSet {
        let here = |region: &&Region<'_>| region.expected == Expected::Behind(interface);
        let routed = self.union(self.regions().iter().filter(here).map(|r| r.addresses.clone()));
        let nobody = match self.family {
            Family::Ipv4 => {
                ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"].as_slice()
            }
            Family::Ipv6 => &["::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff00::/8"],
        };
        let nobody = nobody.iter().filter_map(|net| net.parse::<ipnet::IpNet>().ok());
        let nobody = self.union(nobody.map(|net| self.of_net(net)));
        routed.difference(&nobody).difference(&self.whole_subnets())
    }

    /// The addresses that stand for a whole subnet of the host, and so are nobody's.
    pub(super) fn whole_subnets(&self) -> AddressSet {
        let subnets = self.host().interfaces.iter().flat_map(|own| &own.addresses);
        self.union(subnets.map(|own| {
            let all = self.of_prefix(&own.subnet);
            all.difference(&self.hosts_of(&own.subnet))
        }))
    }

    /// The packets of processes that leave the choice of their source to the kernel: for each
    /// source that it picks, those to the destinations that it picks it for.
    pub(super) fn unbound(&self) -> Vec<Side> {
        let mut picked: Vec<(Option<IpAddr>, Ranges)> = Vec::new();
        let mut known: HashMap<Option<IpAddr>, usize> = HashMap::new();
        // Source selection of IPv6 asks for scopes, labels and common prefixes (kernel-facts J3).
        let special = special_ranges(self.host(), self.family);
        for addresses in self.atoms(special.iter().map(|(prefix, _)| prefix)) {
            let source = addresses.first().and_then(|to| kernel_source(self.system, to));
            let at = *known.entry(source).or_insert(picked.len());
            match picked.get_mut(at) {
                Some((_, to)) => to.extend(addresses.ranges()),
                None => picked.push((source, addresses.ranges().to_vec())),
            }
        }
        let side = |(source, to): (Option<IpAddr>, Ranges)| Side {
            at: Where::Unbound,
            sources: source.map_or_else(|| self.none(), AddressSet::one),
            reaches: Some(AddressSet::of_ranges(self.family, to)),
        };
        picked.into_iter().map(side).collect()
    }

    /// Every address with where it is expected.
    pub(super) fn regions(&self) -> &[Region<'s>] {
        self.routed.get_or_init(|| {
            let mut regions: Vec<Region<'s>> = Vec::new();
            for addresses in self.atoms([].iter()) {
                let Some(first) = addresses.first() else { continue };
                let expected = expected(self.system, first);
                match regions.iter_mut().find(|region| region.expected == expected) {
                    Some(region) => region.addresses = region.addresses.union(&addresses),
                    None => regions.push(Region { expected, addresses }),
                }
            }
            regions
        })
    }

    /// All addresses, cut wherever a route, a rule, a subnet, an own address or one of some other
    /// prefixes begins or ends.
    fn atoms<'p>(&self, others: impl Iterator<Item = &'p Prefix>) -> Vec<AddressSet> {
        let mut starts: Vec<u128> = vec![0];
        let mut cut = |set: &AddressSet| {
            for (first, last) in set.ranges() {
                starts.push(*first);
                starts.extend(last.checked_add(1));
            }
        };
        for table in self.host().routing.tables(self.family).values() {
            for route in table.routes() {
                cut(&self.of_prefix(&route.destination));
            }
        }
        for rule in self.host().routing.rules(self.family) {
            for prefix in [&rule.source, &rule.destination].into_iter().flatten() {
                cut(&self.of_prefix(prefix));
            }
        }
        for own in self.host().interfaces.iter().flat_map(|own| &own.addresses) {
            cut(&self.of_address(own.local));
            cut(&self.of_prefix(&own.subnet));
        }
        others.for_each(|prefix| cut(&self.of_prefix(prefix)));
        if self.family == Family::Ipv4 {
            cut(&AddressSet::prefix(&Prefix::new([127, 0, 0, 0].into(), 8)));
        }
        let everything = AddressSet::all(self.family);
        let top = everything.ranges().first().map_or(0, |(_, last)| *last);
        starts.sort_unstable();
        starts.dedup();
        starts.retain(|start| *start <= top);
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([top]);
        let range = |(first, last): (&u128, u128)| {
            AddressSet::range(address(self.family, *first), address(self.family, last))
        };
        starts.iter().zip(ends).map(range).collect()
    }
}
