//! Interfaces that the rules name, and the networks behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use super::clues::{Clues, SubnetClue, UplinkClue, is_card_name, is_tunnel_name, single};
use crate::address::{Prefix, is_internet};
use crate::build::connected;
use crate::host::route::MAIN;
use crate::host::{
    Assumption, BridgeFilter, Host, Interface, InterfaceAddress, InterfaceKind, Part, Scope,
    Subject,
};
use crate::ruleset::Ruleset;

/// The name of the way out where no rule names it.
pub(super) const UNNAMED_UPLINK: &str = "uplink";

/// The interfaces of a host, as its rules show them.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    /// Bridges with the rule that shows them.
    bridges: BTreeMap<String, String>,
    /// Networks behind interfaces, with the rule.
    subnets: BTreeMap<(String, NetKey), (Prefix, String)>,
    /// Single addresses behind interfaces whose network is not known.
    neighbours: BTreeMap<(IpAddr, String), String>,
    /// Addresses that rules show to be somebody else's.
    strangers: BTreeSet<IpAddr>,
    /// Other interfaces with the rule that names them.
    others: BTreeMap<String, String>,
    /// Interfaces whose name no rule tells, with the rule that shows that they are there.
    unnamed: BTreeMap<String, String>,
    /// The way out, if there is just one candidate.
    pub(super) uplink: Option<String>,
}

/// The subnet of Docker's default pools that holds an address: 172.17.0.0/16 to 172.31.0.0/16.
fn default_pool(address: IpAddr) -> Option<Prefix> {
    let IpAddr::V4(v4) = address else { return None };
    let [first, second, ..] = v4.octets();
    (first == 172 && (17..=31).contains(&second)).then(|| Prefix::new(address, 16))
}

/// Orders prefixes.
type NetKey = (IpAddr, u32);

fn key(prefix: &Prefix) -> NetKey {
    (prefix.network(), prefix.length())
}

impl Devices {
    pub(super) fn find(clues: &Clues, rules: &Ruleset) -> Self {
        let mut devices = Self {
            bridges: clues.bridges.clone(),
            strangers: clues.strangers.clone(),
            ..Self::default()
        };
        devices.others = clues
            .interfaces
            .iter()
            .filter(|(name, _)| !clues.bridges.contains_key(*name) && *name != "lo")
            .map(|(name, (_, place))| (name.clone(), place.clone()))
            .collect();
        devices.uplink = uplink(clues).map(|(name, _)| name);
        for clue in &clues.subnets {
            devices.place_subnet(clues, clue);
        }
        devices.place_hidden(clues);
        devices.place_neighbours(clues);
        if devices.uplink.is_none() && candidates(clues).is_empty() && !rules.chains.is_empty() {
            devices.uplink = Some(UNNAMED_UPLINK.to_owned());
            devices.unnamed.insert(UNNAMED_UPLINK.to_owned(), String::new());
        }
        devices
    }

    /// Finds the interface that a network is behind: Docker's own rule says it, an address in it
    /// is shown to be behind a bridge, or packets from it are shown to come in by an interface.
    fn place_subnet(&mut self, clues: &Clues, clue: &SubnetClue) {
        let subnet = &clue.subnet;
        if self.subnets.values().any(|(known, _)| known == subnet) {
            return;
        }
        let is_inner = |name: &&str| self.uplink.as_deref() != Some(*name);
        let shown_behind = || {
            let inside = clues.behind.iter().find(|(address, ..)| subnet.contains(*address));
            inside.map(|(_, interface, _)| interface.as_str())
        };
        let seen_from = || {
            let same = |(seen, ..): &&(Prefix, String, String)| seen == subnet;
            clues.arrivals.iter().find(same).map(|(_, interface, _)| interface.as_str())
        };
        let named = clue
            .interface
            .as_deref()
            .or_else(shown_behind)
            .or_else(|| seen_from().filter(is_inner));
        let docker_default = clues.docker && *subnet == Prefix::V4(0xac11_0000, 0xffff_0000);
        let interface = match named {
            Some(name) => name.to_owned(),
            None if clue.hidden && docker_default => {
                self.bridges.entry("docker0".to_owned()).or_insert_with(|| clue.place.clone());
                "docker0".to_owned()
            }
            None => match self.unplaced(clues, clue.except.as_deref()).as_slice() {
                [only] => (*only).clone(),
                [] => {
                    let name = format!("net-{subnet}");
                    self.unnamed.insert(name.clone(), clue.place.clone());
                    name
                }
                // Nobody can tell which.
                _ => return,
            },
        };
        self.subnets.insert((interface, key(subnet)), (subnet.clone(), clue.place.clone()));
    }

    /// The inner interfaces whose network is not known: bridges and tunnels, or where there are
    /// none, others by which no rule says that packets leave for elsewhere.
    fn unplaced(&self, clues: &Clues, except: Option<&str>) -> Vec<&String> {
        let names = self.bridges.keys().chain(self.others.keys());
        let unplaced: Vec<&String> = names
            .filter(|name| {
                let named = clues.interfaces.get(*name);
                self.uplink.as_ref() != Some(name)
                    && except != Some(name.as_str())
                    && !self.subnets.keys().any(|(interface, _)| interface == *name)
                    && named.is_none_or(|(clue, _)| *clue == UplinkClue::Named)
            })
            .collect();
        let inner = |name: &&&String| self.bridges.contains_key(**name) || is_tunnel_name(name);
        let surely: Vec<&String> = unplaced.iter().filter(inner).copied().collect();
        if surely.is_empty() { unplaced } else { surely }
    }

    /// Addresses of Docker's default pools in a listing that hides the interfaces: they are
    /// containers', and a bridge has their network.
    fn place_hidden(&mut self, clues: &Clues) {
        for (address, place) in clues.hidden.iter().filter(|_| clues.docker) {
            let covered = self.subnets.values().any(|(known, _)| known.contains(*address));
            let Some(subnet) = default_pool(*address).filter(|_| !covered) else { continue };
            let clue = SubnetClue {
                subnet,
                interface: None,
                except: None,
                hidden: true,
                place: place.clone(),
            };
            self.place_subnet(clues, &clue);
        }
    }

    /// Addresses behind an interface that no known network of it covers.
    fn place_neighbours(&mut self, clues: &Clues) {
        for (address, interface, place) in &clues.behind {
            if self.is_covered(interface, *address) || self.uplink.as_ref() == Some(interface) {
                continue;
            }
            let pool = default_pool(*address)
                .filter(|_| clues.docker && crate::build::interfaces::is_bridge_name(interface));
            match pool {
                Some(subnet) => {
                    let key = (interface.clone(), key(&subnet));
                    self.subnets.insert(key, (subnet, place.clone()));
                }
                None => {
                    let key = (*address, interface.clone());
                    self.neighbours.entry(key).or_insert_with(|| place.clone());
                }
            }
        }
        for (address, place) in &clues.targets {
            let unplaced = self.unplaced(clues, None);
            let [only] = unplaced.as_slice() else { continue };
            if !is_internet(*address) && !self.is_inside(*address) {
                let key = (*address, (*only).clone());
                self.neighbours.insert(key, place.clone());
            }
        }
        for (subnet, interface, place) in &clues.arrivals {
            let inner = self.uplink.as_ref() != Some(interface);
            let covered = self.subnets.values().any(|(known, _)| known.contains(subnet.network()));
            if inner && !covered && !is_internet(subnet.network()) {
                let key = (interface.clone(), key(subnet));
                self.subnets.insert(key, (subnet.clone(), place.clone()));
            }
        }
    }

    fn is_covered(&self, interface: &str, address: IpAddr) -> bool {
        self.subnets
            .iter()
            .any(|((name, _), (subnet, _))| name == interface && subnet.contains(address))
    }

    /// Whether an address is in a network behind an inner interface.
    pub(super) fn is_inside(&self, address: IpAddr) -> bool {
        let own_net = |((name, _), (subnet, _)): (&(String, NetKey), &(Prefix, String))| {
            self.uplink.as_ref() != Some(name) && subnet.contains(address)
        };
        self.subnets.iter().any(own_net)
            || self.neighbours.keys().any(|(known, _)| *known == address)
    }

    /// Adds the interfaces, with the gateway addresses of bridges.
    pub(super) fn add_to(&self, host: &mut Host) {
        let settled = Part::Addresses.file_name();
        let add = |host: &mut Host, name: &str, kind, code, what: String| {
            if host.interface(name).is_some() {
                return;
            }
            let last = host.interfaces.iter().map(|interface| interface.index).max().unwrap_or(0);
            host.interfaces.push(interface(name, last + 1, kind));
            let text = format!("{what} ({settled} settles it)");
            host.assume_about(Subject::Interface(name.to_owned()), Assumption { code, text });
        };
        if host.interface("lo").is_none() {
            host.interfaces.insert(0, loopback());
        }
        for (name, place) in &self.others {
            let kind =
                if is_tunnel_name(name) { InterfaceKind::Tunnel } else { InterfaceKind::Other };
            let what = format!("the host is taken to have an interface {name}, as {place} has it");
            add(host, name, kind, "inferred-interface", what);
        }
        for (name, place) in &self.bridges {
            let what = format!("{name} is taken to be a bridge, as {place} treats it");
            add(host, name, InterfaceKind::Bridge, "inferred-bridge", what);
        }
        for (name, place) in &self.unnamed {
            let (kind, code, what) = if name == UNNAMED_UPLINK {
                let what =
                    format!("no rule names the interface that leads out; it is called {name} here");
                (InterfaceKind::Other, "inferred-interface", what)
            } else {
                let what = format!(
                    "{place} translates a network that no rule ties to an interface; its bridge \
                     is called {name} here"
                );
                (InterfaceKind::Bridge, "inferred-bridge", what)
            };
            add(host, name, kind, code, what);
        }
        for ((name, _), (subnet, place)) in &self.subnets {
            self.add_gateway(host, name, subnet, place);
        }
    }

    /// Gives a bridge the first address of its subnet, as Docker does; the last one where rules show
    /// that somebody else has the first.
    fn add_gateway(&self, host: &mut Host, name: &str, subnet: &Prefix, place: &str) {
        let taken = |address: &IpAddr| {
            self.strangers.contains(address)
                || self.neighbours.keys().any(|(neighbour, _)| neighbour == address)
        };
        let (first, last) = match subnet {
            Prefix::V4(network, mask) => {
                let last = (network | !mask).saturating_sub(1);
                (IpAddr::V4((network | 1).into()), Some(IpAddr::V4(last.into())))
            }
            Prefix::V6(prefix) => (IpAddr::V6((prefix.0 | 1).into()), None),
        };
        let Some(gateway) = [Some(first), last].into_iter().flatten().find(|own| !taken(own))
        else {
            return;
        };
        let settled = Part::Addresses.file_name();
        let Some(interface) = host.interfaces.iter_mut().find(|i| i.name == *name) else { return };
        if interface.kind != InterfaceKind::Bridge {
            return;
        }
        if interface.addresses.iter().any(|address| address.local == gateway) {
            return;
        }
        let length = u8::try_from(subnet.length()).unwrap_or(u8::MAX);
        interface.addresses.push(InterfaceAddress {
            local: gateway,
            subnet: Prefix::new(gateway, length),
            peer: None,
            broadcast: None,
            scope: Scope::Global,
            secondary: false,
            deprecated: false,
        });
        let text = format!(
            "{name} is taken to have {subnet} with the address {gateway}, from the rule at {place} \
             ({settled} settles it)"
        );
        let assumption = Assumption { code: "inferred-subnet", text };
        host.assume_about(Subject::Interface(name.to_owned()), assumption);
    }

    /// Adds routes to what is behind an interface without an address in it.
    pub(super) fn add_routes(&self, host: &mut Host, family: Family) {
        let settled = Part::routes(family).file_name();
        let networks =
            self.subnets.iter().map(|((name, _), (subnet, place))| (name, subnet.clone(), place));
        let neighbours = self
            .neighbours
            .iter()
            .map(|((address, name), place)| (name, Prefix::new(*address, 128), place));
        for (name, destination, place) in networks.chain(neighbours) {
            let covered = host.is_on_link(destination.network(), name);
            if destination.family() != family || covered {
                continue;
            }
            let what =
                single(&destination).map_or_else(|| destination.to_string(), |a| a.to_string());
            let route = connected::device_route(destination, None, name);
            connected::insert(&mut host.routing, family, MAIN, route);
            let text = format!(
                "{what} is taken to be behind {name}, from the rule at {place} ({settled} settles \
                 it)"
            );
            let assumption = Assumption { code: "inferred-route", text };
            host.assume_about(Subject::Interface(name.clone()), assumption);
        }
    }
}

/// The interfaces that may be the way out: a rule uses them so, or their name is a network card's.
fn candidates(clues: &Clues) -> Vec<(&String, UplinkClue, &String)> {
    clues
        .interfaces
        .iter()
        .filter(|(name, (clue, _))| {
            let inner = clues.bridges.contains_key(*name) || *name == "lo";
            !inner && (*clue > UplinkClue::Named || is_card_name(name))
        })
        .map(|(name, (clue, place))| (name, *clue, place))
        .collect()
}

/// The way out: of the interfaces that the rules make likeliest, the only one that is no tunnel,
/// else the only one. Several are none.
pub(super) fn uplink(clues: &Clues) -> Option<(String, String)> {
    let candidates = candidates(clues);
    let likeliest = candidates.iter().map(|(_, clue, _)| *clue).max()?;
    let best = || candidates.iter().filter(|(_, clue, _)| *clue == likeliest);
    let mut cards = best().filter(|(name, ..)| !is_tunnel_name(name));
    let (card, second) = (cards.next(), cards.next());
    let mut all = best();
    let only = match (card, second, all.next(), all.next()) {
        (Some(card), None, ..) => card,
        (None, _, Some(tunnel), None) => tunnel,
        _ => return None,
    };
    Some((only.0.clone(), only.2.clone()))
}

fn interface(name: &str, index: u32, kind: InterfaceKind) -> Interface {
    Interface {
        name: name.to_owned(),
        index,
        up: true,
        kind,
        mac: None,
        mtu: None,
        addresses: Vec::new(),
        port: None,
        bridge_filter: BridgeFilter::default(),
    }
}

/// `lo` is as every host has it.
fn loopback() -> Interface {
    let address = |address: IpAddr, length: u8| InterfaceAddress {
        local: address,
        subnet: Prefix::new(address, length),
        peer: None,
        broadcast: None,
        scope: Scope::Host,
        secondary: false,
        deprecated: false,
    };
    Interface {
        addresses: vec![
            address(std::net::Ipv4Addr::LOCALHOST.into(), 8),
            address(std::net::Ipv6Addr::LOCALHOST.into(), 128),
        ],
        ..interface("lo", 1, InterfaceKind::Loopback)
    }
}
