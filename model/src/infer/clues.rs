//! What single rules give away about interfaces and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nattrace_parser::syntax::{Family, TableName};

use crate::address::{Prefix, is_host_address};
use crate::condition::{Condition, InterfacePattern, Sense};
use crate::hook::Hook;
use crate::ruleset::{Chain, Rule, Ruleset};
use crate::target::Target;

/// The widest range of SNAT that is taken to consist of own addresses.
const WIDEST_OWN_RANGE: u128 = 16;

/// How sure a rule makes that an interface is the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UplinkClue {
    /// It is named.
    Named,
    /// What comes in by it is redirected to somewhere inside.
    Published,
    /// What leaves by it gets another source.
    Translated,
}

/// A network that rules speak of, with the rule.
#[derive(Clone, Debug)]
pub(super) struct SubnetClue {
    pub(super) subnet: Prefix,
    /// The interface it is behind, where the rule tells.
    pub(super) interface: Option<String>,
    /// An interface that the rule makes an exception of, though not in Docker's own form.
    pub(super) except: Option<String>,
    /// Whether the listing hides the interfaces.
    pub(super) hidden: bool,
    pub(super) place: String,
}

/// Everything that the rules give away, each with the first rule that does.
#[derive(Clone, Debug, Default)]
pub(super) struct Clues {
    /// Names that rules mention, with how sure they are the way out.
    pub(super) interfaces: BTreeMap<String, (UplinkClue, String)>,
    /// Interfaces that rules treat as containers' bridges are treated.
    pub(super) bridges: BTreeMap<String, String>,
    /// Networks whose packets get another source.
    pub(super) subnets: Vec<SubnetClue>,
    /// Single addresses behind an interface.
    pub(super) behind: Vec<(IpAddr, String, String)>,
    /// Single addresses that packets come from by an interface, or go to by one: none of the host's.
    pub(super) strangers: BTreeSet<IpAddr>,
    /// Addresses that DNAT sends packets to.
    pub(super) targets: BTreeMap<IpAddr, String>,
    /// Single addresses in rules whose interfaces a listing hides.
    pub(super) hidden: BTreeMap<IpAddr, String>,
    /// Networks that are seen to come in by an interface.
    pub(super) arrivals: Vec<(Prefix, String, String)>,
    /// The host's own addresses, with the interface where a rule tells it.
    pub(super) own: BTreeMap<IpAddr, (Option<String>, String)>,
    /// Whether there are chains of the family at all.
    pub(super) families: Vec<Family>,
    /// Whether Docker made chains here.
    pub(super) docker: bool,
}

/// The conditions of a rule that clues are made of.
struct Shape<'r> {
    source: Option<&'r Prefix>,
    destination: Option<&'r Prefix>,
    /// `! -s` or `! -d`.
    except: Option<&'r Prefix>,
    input: Option<(Sense, &'r str)>,
    output: Option<(Sense, &'r str)>,
    /// Whether the listing hides the interfaces.
    hidden: bool,
    /// Whether nothing but addresses and interfaces is asked.
    plain: bool,
}

impl<'r> Shape<'r> {
    fn of(rule: &'r Rule) -> Self {
        let mut shape = Self {
            source: None,
            destination: None,
            except: None,
            input: None,
            output: None,
            hidden: false,
            plain: true,
        };
        for condition in &rule.conditions {
            match condition {
                Condition::Source(Sense::Is, prefix) => shape.source = Some(prefix),
                Condition::Destination(Sense::Is, prefix) => shape.destination = Some(prefix),
                Condition::InInterface(sense, pattern) => {
                    shape.input = name_of(pattern).map(|name| (*sense, name));
                }
                Condition::OutInterface(sense, pattern) => {
                    shape.output = name_of(pattern).map(|name| (*sense, name));
                }
                Condition::Undecided(crate::condition::Undecided::InterfacesNotShown) => {
                    shape.hidden = true;
                }
                Condition::Source(Sense::IsNot, prefix)
                | Condition::Destination(Sense::IsNot, prefix) => shape.except = Some(prefix),
                _ => shape.plain = false,
            }
        }
        shape
    }

    fn input_is(&self) -> Option<&'r str> {
        self.input.filter(|(sense, _)| *sense == Sense::Is).map(|(_, name)| name)
    }

    fn input_is_not(&self) -> Option<&'r str> {
        self.input.filter(|(sense, _)| *sense == Sense::IsNot).map(|(_, name)| name)
    }

    fn output_is(&self) -> Option<&'r str> {
        self.output.filter(|(sense, _)| *sense == Sense::Is).map(|(_, name)| name)
    }

    fn output_is_not(&self) -> Option<&'r str> {
        self.output.filter(|(sense, _)| *sense == Sense::IsNot).map(|(_, name)| name)
    }
}

/// A single interface's name.
fn name_of(pattern: &InterfacePattern) -> Option<&str> {
    match pattern {
        InterfacePattern::Name(name) if !name.is_empty() => Some(name),
        _ => None,
    }
}

/// The address of a prefix that covers just one.
pub(super) fn single(prefix: &Prefix) -> Option<IpAddr> {
    let width = if prefix.family() == Family::Ipv4 { 32 } else { 128 };
    (prefix.length() == width).then(|| prefix.network())
}

/// Whether a prefix is a network: more than one address and not everything.
fn is_network(prefix: &Prefix) -> bool {
    prefix.length() > 0 && single(prefix).is_none()
}

impl Clues {
    pub(super) fn gather(rules: &Ruleset) -> Self {
        let mut clues = Self::default();
        for chain in &rules.chains {
            if !clues.families.contains(&chain.family) {
                clues.families.push(chain.family);
            }
            clues.docker |= chain.name.starts_with("DOCKER");
            for rule in &chain.rules {
                let shape = Shape::of(rule);
                let place = || rules.place(rule);
                clues.interfaces_of(chain, rule, &shape, &place);
                clues.networks_of(chain, rule, &shape, &place);
                clues.addresses_of(chain, rule, &shape, &place);
            }
        }
        clues
    }

    /// Names of interfaces, and which of them are bridges or lead out.
    fn interfaces_of(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        shape: &Shape<'_>,
        place: &dyn Fn() -> String,
    ) {
        let translates = matches!(rule.target, Target::Masquerade(..) | Target::Snat(..));
        let redirects = matches!(rule.target, Target::Dnat(..));
        for (clue, named) in [
            (UplinkClue::Translated, shape.output_is().filter(|_| translates)),
            (UplinkClue::Published, shape.input_is().filter(|_| redirects)),
            (UplinkClue::Named, shape.input.map(|(_, name)| name)),
            (UplinkClue::Named, shape.output.map(|(_, name)| name)),
        ] {
            let Some(name) = named else { continue };
            let known = self.interfaces.entry(name.to_owned()).or_insert_with(|| (clue, place()));
            if known.0 < clue {
                *known = (clue, place());
            }
        }
        // Docker's own forms: what is on a bridge talks to what is not, or to itself.
        let same = |one: Option<&str>, other: Option<&str>| one.is_some() && one == other;
        let loops = same(shape.input_is(), shape.output_is_not())
            || same(shape.input_is_not(), shape.output_is())
            || same(shape.input_is(), shape.output_is());
        let masks = matches!(rule.target, Target::Masquerade(..))
            && chain.table == TableName::Nat
            && shape.source.is_some_and(is_network)
            && shape.plain;
        let named = if loops {
            shape.input.map(|(_, name)| name)
        } else {
            shape.output_is_not().filter(|_| masks)
        };
        let names = [shape.input, shape.output].into_iter().flatten().map(|(_, name)| name);
        let by_name = names.filter(|name| crate::build::interfaces::is_bridge_name(name));
        for name in named.filter(|name| may_be_bridge(name)).into_iter().chain(by_name) {
            self.bridges.entry(name.to_owned()).or_insert_with(place);
        }
    }

    /// Networks, and the interfaces that they are behind.
    fn networks_of(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        shape: &Shape<'_>,
        place: &dyn Fn() -> String,
    ) {
        let translates = matches!(rule.target, Target::Masquerade(..) | Target::Snat(..));
        if chain.table == TableName::Nat
            && translates
            && let Some(subnet) = shape.source.filter(|prefix| is_network(prefix))
        {
            // Only Docker's own rule says that the subnet is the bridge's: a person may except
            // any bridge from translating any subnet.
            let own_form = matches!(rule.target, Target::Masquerade(..))
                && shape.plain
                && shape.destination.is_none();
            self.subnets.push(SubnetClue {
                subnet: subnet.clone(),
                interface: shape.output_is_not().filter(|_| own_form).map(str::to_owned),
                except: shape.output_is_not().filter(|_| !own_form).map(str::to_owned),
                hidden: shape.hidden,
                place: place(),
            });
        }
        // `! -s 172.20.0.0/16 -o br-inner -j DROP`: Docker's rule for an internal network.
        let bridge = shape.output_is().xor(shape.input_is());
        if let (Some(subnet), Some(bridge), Target::Drop) = (shape.except, bridge, &rule.target)
            && chain.table == TableName::Filter
            && shape.plain
            && is_network(subnet)
            && crate::build::interfaces::is_bridge_name(bridge)
        {
            self.subnets.push(SubnetClue {
                subnet: subnet.clone(),
                interface: Some(bridge.to_owned()),
                except: None,
                hidden: false,
                place: place(),
            });
        }
        // `! -i tailscale0 -s 100.64.0.0/10 -j DROP`: what has such a source comes in there.
        if let (Some(subnet), Some(interface), Target::Drop) =
            (shape.source, shape.input_is_not(), &rule.target)
            && is_network(subnet)
            && shape.plain
            && is_tunnel_name(interface)
        {
            self.arrivals.push((subnet.clone(), interface.to_owned(), place()));
        }
        // What is refused may be just what must not come in there.
        let welcome = matches!(
            rule.target,
            Target::Accept
                | Target::Masquerade(..)
                | Target::Snat(..)
                | Target::Dnat(..)
                | Target::Mark { .. }
        );
        if !welcome {
            return;
        }
        if let (Some(subnet), Some(interface)) = (shape.source, shape.input_is())
            && is_network(subnet)
        {
            self.arrivals.push((subnet.clone(), interface.to_owned(), place()));
        }
        if let (Some(subnet), Some(interface)) = (shape.destination, shape.output_is())
            && is_network(subnet)
        {
            self.arrivals.push((subnet.clone(), interface.to_owned(), place()));
        }
    }

    /// Single addresses: behind a bridge, or the host's own.
    fn addresses_of(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        shape: &Shape<'_>,
        place: &dyn Fn() -> String,
    ) {
        let destination = shape.destination.and_then(single).filter(|a| is_host_address(*a));
        if shape.hidden {
            let source = shape.source.and_then(single).filter(|a| is_host_address(*a));
            for address in [source, destination].into_iter().flatten() {
                self.hidden.entry(address).or_insert_with(place);
            }
        }
        if let Target::Dnat(range, _) = &rule.target {
            let to = range.addresses.filter(|(first, last)| first == last).map(|(to, _)| to);
            if let Some(to) = to.filter(|_| shape.hidden) {
                self.hidden.entry(to).or_insert_with(place);
            }
            if let Some(to) = to {
                self.targets.entry(to).or_insert_with(place);
            }
            // `! -i docker0 … -j DNAT --to-destination 172.17.0.2:80`
            if let (Some(to), Some(bridge)) = (to, shape.input_is_not()) {
                self.behind.push((to, bridge.to_owned(), place()));
            }
        }
        let source = shape.source.and_then(single).filter(|_| shape.input_is().is_some());
        self.strangers.extend(source);
        // `-d 172.17.0.2/32 ! -i docker0 -o docker0 … -j ACCEPT`
        if let (Some(address), Some(interface)) = (destination, shape.output_is()) {
            self.strangers.insert(address);
            self.behind.push((address, interface.to_owned(), place()));
        }
        // `-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP`, Docker 28 and later.
        if let (Some(address), Some(bridge), Target::Drop) =
            (destination, shape.input_is_not(), &rule.target)
            && chain.table == TableName::Raw
        {
            self.behind.push((address, bridge.to_owned(), place()));
        }
        if let Some(address) = destination
            && is_own(chain, rule)
            && !looks_like_broadcast(address)
        {
            let interface = shape.input_is().map(str::to_owned);
            self.own.entry(address).or_insert_with(|| (interface, place()));
        }
        if let Target::Snat(range, _) = &rule.target
            && let Some((first, last)) = range.addresses
        {
            let interface = shape.output_is().map(str::to_owned);
            for address in addresses(first, last).into_iter().filter(|a| is_host_address(*a)) {
                self.own.entry(address).or_insert_with(|| (interface.clone(), place()));
            }
        }
    }
}

/// Whether a rule is about packets to the host itself: it redirects what is addressed to it, or
/// stands where only the host's own packets pass.
fn is_own(chain: &Chain, rule: &Rule) -> bool {
    let base = chain.base.map(|base| base.hook);
    match (&rule.target, chain.table.of_iptables()) {
        // In OUTPUT a rule may just as well redirect what the host asks of others.
        (Target::Dnat(..), Some(TableName::Nat)) => base != Some(Hook::Output),
        (_, Some(TableName::Filter)) => base == Some(Hook::Input),
        _ => false,
    }
}

/// Whether an address ends as most broadcast addresses do, which INPUT sees too.
fn looks_like_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[3] == 255)
}

/// The addresses of a range, unless it is too wide to be somebody's own.
fn addresses(first: IpAddr, last: IpAddr) -> Vec<IpAddr> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            let narrow = u128::from(last.saturating_sub(first)) < WIDEST_OWN_RANGE;
            if narrow { (first..=last).map(|a| IpAddr::V4(a.into())).collect() } else { Vec::new() }
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            let narrow = last.saturating_sub(first) < WIDEST_OWN_RANGE;
            if narrow { (first..=last).map(|a| IpAddr::V6(a.into())).collect() } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

/// Whether a name may be a bridge's: it is none that network cards and tunnels are given.
fn may_be_bridge(name: &str) -> bool {
    !is_tunnel_name(name) && !is_card_name(name) && name != "lo" && !name.starts_with("veth")
}

/// Whether a name is one that network cards are given.
pub(super) fn is_card_name(name: &str) -> bool {
    let card = ["eth", "en", "wl", "ww", "ib", "bond", "team", "usb", "venet"];
    card.iter().any(|beginning| name.starts_with(beginning))
}

/// Whether a name is one that tunnels are given.
pub(super) fn is_tunnel_name(name: &str) -> bool {
    let tunnel = [
        "tun",
        "tap",
        "wg",
        "ppp",
        "tailscale",
        "nordlynx",
        "ipsec",
        "vti",
        "xfrm",
        "gre",
        "sit",
        "zt",
        "nebula",
        "utun",
        "proton",
    ];
    tunnel.iter().any(|beginning| name.starts_with(beginning))
}
