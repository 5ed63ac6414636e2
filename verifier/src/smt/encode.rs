//! The encoding: what the kernel does with a packet, as terms.
//!
//! It follows the same facts as the simulator, but has no packet: a field is a bit-vector, a
//! hook makes it a choice between what each rule would make of it, and where the packet may end in
//! several ways, each has its condition. Nothing here asks the simulator or looks at classes.

mod address;
mod chain;
mod checks;
mod condition;
pub(crate) mod demand;
mod exchange;
mod flood;
mod hook;
mod nat;
mod outside;
mod path;
mod reply;
mod route;
mod selection;
mod set;
mod setting;
mod socket;
pub(crate) mod state;
mod tracked;
mod translation;
mod value;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::host::Host;
use nattrace_parser::syntax::Family;

use super::term::{B, Terms, V};

/// The width of the number of an interface.
const INTERFACE: u32 = 16;

/// What decides where neither rules nor packet do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decider {
    /// Chance, rates or history.
    Chance,
    /// Something that nobody knows.
    Ignorance,
}

/// What is encoded, and with what.
pub(crate) struct Encoder<'s> {
    pub(crate) t: Terms,
    system: &'s System,
    host: &'s Host,
    /// The family of the packets; docker-proxy may connect in the other one.
    of: Cell<Family>,
    /// The names of interfaces; 0 is the number of none.
    interfaces: Vec<&'s str>,
    /// The addresses of this host, each with the interfaces that have it.
    own: BTreeMap<IpAddr, Vec<&'s str>>,
    /// Whether something that nobody knows has decided so far.
    ignorance: Cell<B>,
    /// What is not encoded, and when it is met.
    missing: RefCell<Vec<(B, String)>>,
    /// How many terms there may be.
    most_terms: usize,
}

/// What all packets of one exchange share.
pub(crate) struct Run {
    /// The interface by which the packet that is asked about came; 0 for none.
    link: V,
    /// The source that it was asked with: somebody at that interface has it.
    asker: V,
    /// Whether the packet under way is an answer.
    back: Cell<bool>,
    /// Whether the kernel picks the source.
    any_source: bool,
    legacy_first: Cell<Option<B>>,
    quiet: Cell<Option<B>>,
    bridge_filter: Cell<Option<B>>,
}

impl<'s> Encoder<'s> {
    pub(crate) fn new(system: &'s System, family: Family, most_terms: usize) -> Self {
        let t = Terms::new();
        let no = t.no;
        let host = &system.host;
        let mut own: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        for interface in &host.interfaces {
            for address in &interface.addresses {
                {
                    own.entry(address.local).or_default().push(&interface.name);
                }
            }
        }
        Self {
            t,
            system,
            host,
            of: Cell::new(family),
            interfaces: interface_names(host),
            own,
            ignorance: Cell::new(no),
            missing: RefCell::new(Vec::new()),
            most_terms,
        }
    }

    /// Whether something that nobody knows has decided.
    pub(crate) fn ignorance(&self) -> B {
        self.ignorance.get()
    }

    /// What is not encoded, and when it is met.
    pub(crate) fn missing(&self) -> Vec<(B, String)> {
        self.missing.borrow().clone()
    }

    /// Whether the encoding has grown larger than it may.
    pub(crate) fn is_too_large(&self) -> bool {
        self.t.len() > self.most_terms
    }

    /// Notes that something is not encoded.
    fn miss(&self, when: B, what: impl Into<String>) {
        if when != self.t.no {
            self.missing.borrow_mut().push((when, what.into()));
        }
    }

    /// Asks what neither rules nor packet say; `when` it is asked.
    fn decide(&self, when: B, question: &str, by: Decider) -> B {
        if when == self.t.no {
            return self.t.no;
        }
        if by == Decider::Ignorance {
            self.ignorance.set(self.t.or(self.ignorance.get(), when));
        }
        self.t.unknown(question)
    }

    /// The same, once for a whole exchange.
    fn decide_once(&self, known: &Cell<Option<B>>, when: B, question: &str) -> B {
        if when == self.t.no {
            return self.t.no;
        }
        self.ignorance.set(self.t.or(self.ignorance.get(), when));
        known.get().unwrap_or_else(|| {
            let asked = self.t.unknown(question);
            known.set(Some(asked));
            asked
        })
    }

    fn run(&self, (link, asker): (V, V), any_source: bool) -> Run {
        Run {
            link,
            asker,
            back: Cell::new(false),
            any_source,
            legacy_first: Cell::new(None),
            quiet: Cell::new(None),
            bridge_filter: Cell::new(None),
        }
    }

    fn family(&self) -> Family {
        self.of.get()
    }

    fn is_ipv4(&self) -> bool {
        self.family() == Family::Ipv4
    }

    /// The number of an interface; that of none where nothing has such a name.
    pub(crate) fn interface(&self, name: &str) -> V {
        let at = self.interfaces.iter().position(|known| *known == name);
        self.t.number(INTERFACE, at.map_or(0, |at| at as u128 + 1))
    }

    /// The name of an interface by its number.
    pub(crate) fn interface_name(&self, number: u128) -> Option<&'s str> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.interfaces.get(at).copied()
    }

    fn no_interface(&self) -> V {
        self.t.number(INTERFACE, 0u8)
    }

    /// Whether an interface is one of those whose names are wanted; none has the empty name.
    fn interface_is(&self, interface: V, wanted: impl Fn(&str) -> bool) -> B {
        if let Some(number) = self.t.value(interface) {
            return self.t.is(wanted(self.interface_name(number).unwrap_or("")));
        }
        let names = std::iter::once("").chain(self.interfaces.iter().copied());
        let (yes, no): (Vec<u128>, Vec<u128>) = {
            let each = names.enumerate().map(|(at, name)| (at as u128, wanted(name)));
            let (yes, no): (Vec<_>, Vec<_>) = each.partition(|(_, wanted)| *wanted);
            let numbers = |list: Vec<(u128, bool)>| list.into_iter().map(|(at, _)| at).collect();
            (numbers(yes), numbers(no))
        };
        let one_of = |numbers: &[u128]| {
            self.t.any(numbers.iter().map(|number| self.t.is_number(interface, *number)))
        };
        if yes.len() <= no.len() { one_of(&yes) } else { self.t.not(one_of(&no)) }
    }

    /// Whether an interface is the one of a name.
    fn interface_named(&self, interface: V, name: &str) -> B {
        self.interface_is(interface, |known| known == name)
    }

    /// Whether there is a name at all.
    fn has_interface(&self, interface: V) -> B {
        self.t.not(self.t.is_number(interface, 0u8))
    }

    /// A setting of which the values are known for each interface.
    fn setting_is(
        &self,
        interface: V,
        known: impl Fn(&str) -> Option<i64>,
        wanted: impl Fn(Option<i64>) -> bool,
    ) -> B {
        self.interface_is(interface, |name| wanted(known(name)))
    }
}

/// Every interface that a packet may meet, or that anything names.
fn interface_names(host: &Host) -> Vec<&str> {
    let mut names: Vec<&str> = vec!["lo"];
    let mut seen: BTreeSet<&str> = ["lo", ""].into();
    let own = host.interfaces.iter().map(|own| own.name.as_str());
    let tables = [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .flat_map(|family| host.routing.tables(family).values().flat_map(|table| table.routes()));
    let hops = tables.flat_map(|route| &route.next_hops).map(|hop| hop.interface.as_str());
    let bridges = host.inventory.networks.iter().map(|network| network.bridge.as_str());
    for name in own.chain(hops).chain(bridges) {
        if seen.insert(name) {
            names.push(name);
        }
    }
    names
}
