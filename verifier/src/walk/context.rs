//! What the way of a packet through a base chain depends on.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use nattrace_model::condition::{Condition, ConnectionCondition, TupleField, TypeLimit, Undecided};
use nattrace_model::packet::Transport;
use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_model::simulate::{Place, Stand, View};

use crate::space::Field;
use crate::walk::region::{Provenance, Region};

/// Everything that the way of a packet through a base chain depends on, besides the fields that
/// vary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    base: ChainId,
    from: Stand,
    place: Place,
    values: Vec<Value>,
    /// The cells of addresses that were sent, where rules ask what these mean to the host.
    cells: Vec<(Field, usize)>,
}

/// Where a value comes from, or the value that all packets have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Sent(Field),
    Mapped(Field, String),
    Address(IpAddr),
    Number(u16),
    None,
}

/// What the rules that a base chain leads to ask about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    source: bool,
    destination: bool,
    /// Ports, and type and code of ICMP.
    transport: bool,
    flags: bool,
    /// What the source means to the host: its type, or the way back to it.
    source_meaning: bool,
    /// What the destination means to the host.
    destination_meaning: bool,
    /// Addresses and ports of connections.
    tuples: bool,
    /// Hardware addresses.
    mac: bool,
}

impl Context {
    /// The fields, as they were sent, that rules may ask about.
    pub(crate) fn fields(&self) -> BTreeSet<Field> {
        let sent = self.values.iter().filter_map(|value| match value {
            Value::Sent(field) | Value::Mapped(field, _) => Some(*field),
            Value::Address(_) | Value::Number(_) | Value::None => None,
        });
        sent.chain([Field::Protocol]).collect()
    }

    /// Whether an address that rules ask about is none that was sent.
    pub(crate) fn is_picked(&self) -> bool {
        self.values.iter().any(|value| matches!(value, Value::Address(_)))
    }

    /// Whether it is about a base chain from its first rule on.
    pub(crate) fn is_from_the_start(&self) -> bool {
        self.from.callers.is_empty()
            && self.from.next.chain == self.base
            && self.from.next.index == 0
    }

    /// What matters of it to a chain that is called, whose rules never ask where packets leave: who
    /// calls it is asked for besides.
    pub(crate) fn of_called(&self) -> Self {
        let next = RuleId { chain: self.base, index: 0 };
        let from = Stand { callers: Vec::new(), next };
        Self { place: self.place.wherever_it_leaves(), from, ..self.clone() }
    }

    /// The cells of the fields whose meaning rules ask about.
    pub(crate) fn cells(&self) -> &[(Field, usize)] {
        &self.cells
    }
}

impl Region {
    /// The context of a packet that is about to walk a base chain; `None` where it can't be told.
    pub(crate) fn context(
        &self,
        view: &View<'_>,
        rules: &Ruleset,
        base: ChainId,
        from: &Stand,
    ) -> Option<Context> {
        let ground = Rc::clone(&self.ground);
        let traits = ground.land.traits(rules, base);
        if traits.mac && ground.land.knows_macs {
            return None;
        }
        let packet = view.packet();
        let mut values = Vec::with_capacity(8);
        let mut cells = Vec::new();
        for (address, asked, meaning) in [
            (packet.source, traits.source, traits.source_meaning),
            (packet.destination, traits.destination, traits.destination_meaning),
        ] {
            if !(asked || meaning) {
                values.push(Value::None);
                continue;
            }
            let value = self.address_value(address)?;
            if let (true, Value::Sent(field) | Value::Mapped(field, _)) = (meaning, &value) {
                if matches!(value, Value::Mapped(..)) {
                    return None;
                }
                cells.push((*field, self.cell_of(*field)));
            }
            values.push(value);
        }
        if traits.transport {
            self.transport_values(packet.transport, &mut values)?;
        }
        let sent = self.header();
        let number = |now: u8, own: u8, field| {
            if now == own { Value::Sent(field) } else { Value::Number(now.into()) }
        };
        values.push(number(packet.protocol, sent.protocol, Field::Protocol));
        values.push(Value::Number(sent.protocol.into()));
        if traits.flags {
            values.push(number(packet.tcp_flags, sent.tcp_flags, Field::TcpFlags));
        }
        if traits.tuples {
            values
                .push(view.connection_protocol().map_or(Value::None, |p| Value::Number(p.into())));
            for field in [
                TupleField::OriginalSource,
                TupleField::OriginalDestination,
                TupleField::ReplySource,
                TupleField::ReplyDestination,
            ] {
                values.push(match view.connection_address(field) {
                    Some(address) => self.address_value(address)?,
                    None => Value::None,
                });
                for port in view
                    .connection_ports(field)
                    .map_or([None; 2], |(source, destination)| [Some(source), Some(destination)])
                {
                    values.push(self.port_value(port)?);
                }
            }
        }
        Some(Context { base, from: from.clone(), place: view.place(), values, cells })
    }

    fn transport_values(&self, transport: Transport, values: &mut Vec<Value>) -> Option<()> {
        let sent = self.header();
        match transport {
            Transport::Ports { source, destination } => {
                values.push(self.port_value(Some(source))?);
                values.push(self.port_value(Some(destination))?);
            }
            Transport::Icmp { kind, code, .. } => {
                let own = crate::header::is_icmp(sent.protocol);
                let part = |now: u8, was: u8, field| {
                    if own && now == was { Value::Sent(field) } else { Value::Number(now.into()) }
                };
                values.push(part(kind, sent.icmp.0, Field::IcmpType));
                values.push(part(code, sent.icmp.1, Field::IcmpCode));
            }
            Transport::Opaque => values.push(Value::None),
        }
        Some(())
    }

    /// Where an address comes from; `None` where it may come from several fields.
    fn address_value(&self, address: IpAddr) -> Option<Value> {
        match self.address_from(address).as_slice() {
            [] => Some(Value::Address(address)),
            [Provenance::Sent(field)] => Some(Value::Sent(*field)),
            [Provenance::Mapped(field, prefix)] => Some(Value::Mapped(*field, prefix.to_string())),
            _ => None,
        }
    }

    fn port_value(&self, port: Option<u16>) -> Option<Value> {
        let Some(port) = port else { return Some(Value::None) };
        match self.port_from(port).as_slice() {
            [] => Some(Value::Number(port)),
            [field] => Some(Value::Sent(*field)),
            _ => None,
        }
    }
}

impl Traits {
    /// Of all rules that a base chain may lead to; `in_sets` tells whether entries of ipsets hold
    /// hardware addresses.
    pub(super) fn of(rules: &Ruleset, base: ChainId, in_sets: bool) -> Self {
        let mut traits = Self::default();
        let mut open = vec![base];
        let mut seen = HashSet::from([base]);
        while let Some(chain) = open.pop().and_then(|id| rules.chain(id)) {
            for rule in &chain.rules {
                rule.conditions.iter().for_each(|condition| traits.add(condition, in_sets));
                rule.target.calls(&mut |called, _| {
                    if seen.insert(called) {
                        open.push(called);
                    }
                });
            }
        }
        traits
    }

    fn add(&mut self, condition: &Condition, in_sets: bool) {
        match condition {
            Condition::Source(..) | Condition::SourceRange(..) => self.source = true,
            Condition::Destination(..) | Condition::DestinationRange(..) => self.destination = true,
            Condition::SourceType(..) => self.source_meaning = true,
            Condition::DestinationType(..) => self.destination_meaning = true,
            Condition::ReversePath { .. } => {
                (self.source_meaning, self.destination_meaning) = (true, true);
            }
            Condition::Port(..) | Condition::Ports(..) | Condition::Icmp { .. } => {
                self.transport = true;
            }
            Condition::TcpFlags { .. } => self.flags = true,
            Condition::Mac(..) => self.mac = true,
            Condition::Set(..) => {
                (self.source, self.destination, self.transport) = (true, true, true);
                self.mac |= in_sets;
            }
            Condition::Connection(_, asked) => self.tuples |= asks_tuples(asked),
            Condition::Value(..) => {
                (self.source, self.destination, self.transport) = (true, true, true);
                (self.flags, self.tuples) = (true, true);
            }
            _ => {}
        }
    }
}

/// Whether the rules that a chain leads to may ask where a packet leaves.
pub(super) fn asks_out(rules: &Ruleset, chain: ChainId) -> bool {
    let mut open = vec![chain];
    let mut seen = HashSet::from([chain]);
    let mut asks = false;
    while let Some(chain) = open.pop().and_then(|id| rules.chain(id)) {
        for rule in &chain.rules {
            asks |= !rule.conditions.iter().all(asks_nothing_of_out);
            rule.target.calls(&mut |called, _| {
                if seen.insert(called) {
                    open.push(called);
                }
            });
        }
    }
    asks
}

/// Whether a condition surely has nothing to do with where a packet leaves.
fn asks_nothing_of_out(condition: &Condition) -> bool {
    match condition {
        Condition::Source(..)
        | Condition::Destination(..)
        | Condition::SourceRange(..)
        | Condition::DestinationRange(..)
        | Condition::InInterface(..)
        | Condition::Protocol(..)
        | Condition::Fragment(_)
        | Condition::Port(..)
        | Condition::Ports(..)
        | Condition::TcpFlags { .. }
        | Condition::Icmp { .. }
        | Condition::Connection(..)
        | Condition::Mark { .. }
        | Condition::ConnectionMark { .. }
        | Condition::Mac(..)
        | Condition::Length(..)
        | Condition::Ttl(..)
        | Condition::Tos { .. }
        | Condition::Owner(..)
        | Condition::Constant(_)
        | Condition::Undecided(Undecided::Chance { .. } | Undecided::Count { .. }) => true,
        Condition::SourceType(_, _, limit) | Condition::DestinationType(_, _, limit) => {
            *limit == TypeLimit::None
        }
        _ => false,
    }
}

fn asks_tuples(asked: &ConnectionCondition) -> bool {
    match asked {
        ConnectionCondition::OrUntracked(_, inner) => asks_tuples(inner),
        ConnectionCondition::Address(..)
        | ConnectionCondition::Port(..)
        | ConnectionCondition::Protocol(_) => true,
        _ => false,
    }
}
