//! Entries of a policy on one host: which packets each is about, and what is demanded of them.

use ipnet::IpNet;
use nattrace_model::System;
use nattrace_model::host::Zone;
use nattrace_model::packet::protocol;
use nattrace_parser::host::zones::Placed;
use nattrace_parser::policy::{Claim, Entry, Expression, Families, Kind, Policy, Protocol, Source};
use nattrace_parser::syntax::Family;

use super::AddressSet;
use super::side::{Landing, Service, Side, Where};
use super::zone::{Breadth, Zones};

/// An entry in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The family.
    pub family: Family,
    /// The questions, all of which have to be answered as demanded.
    pub questions: Vec<Question>,
}

impl Property {
    /// Whether there is a packet that it could be about.
    #[must_use]
    pub fn is_about_something(&self) -> bool {
        !self.questions.is_empty()
    }
}

/// Packets that start in one place, and what is demanded of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where they start.
    pub from: Side,
    /// Where they are addressed; `None` for anywhere.
    pub to: Option<AddressSet>,
    /// Which of those.
    pub service: Service,
    /// Sources and destinations of packets that are not meant: those whose sender has no way to
    /// know the destination.
    pub without: Vec<(AddressSet, AddressSet)>,
    /// Packets that are not meant although they start here: those of other entries.
    pub except: Vec<Exception>,
    /// What is demanded.
    pub demand: Demand,
}

impl Question {
    /// Whether UDP-Lite is left out unless it is named: what comes in of it is INVALID, begins no
    /// connection and meets no nat chain (kernel-facts K16), so no rule could give it a source or
    /// an answer. Of what must not get somewhere it is a part.
    #[must_use]
    pub fn leaves_out_udplite(&self) -> bool {
        let named = |protocol: &Protocol| *protocol == Protocol::Number(protocol::UDPLITE);
        matches!(self.from.at, Where::Behind(_))
            && matches!(self.demand, Demand::Leaves { .. } | Demand::Arrives(_))
            && !self.service.protocols.iter().any(named)
    }
}

/// Packets that another entry allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Their sources.
    pub sources: AddressSet,
    /// Where they are addressed.
    pub to: AddressSet,
    /// Which of those.
    pub service: Service,
}

/// What is demanded of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Those that arrive there have one of these sources then; `None` for the one they had.
    Leaves {
        /// Where they have to arrive to be concerned.
        landing: Vec<Landing>,
        /// The sources.
        sources: AddressSet,
        /// Whether they may have the one that they came with.
        unchanged: Unchanged,
    },
    /// They arrive there (anywhere, where nothing is named), and the answer comes back.
    Arrives(Vec<Landing>),
    /// None arrives there.
    NeverLands(Vec<Landing>),
}

/// Whether a packet may leave with the source that it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// It may.
    Allowed,
    /// Only if it is one of those that are named.
    Refused,
}

/// What the entries of a policy are about on this host, in the families that they can be about.
///
/// The names have to be known (see `names`); what is not known is about nothing.
#[must_use]
pub fn resolve(policy: &Policy, entry: &Entry, system: &System) -> Vec<Property> {
    let wanted = match entry.families {
        Some(Families::One(family)) => vec![family],
        Some(Families::Both) | None => vec![Family::Ipv4, Family::Ipv6],
    };
    let mut properties: Vec<Property> = wanted
        .into_iter()
        .map(|family| {
            let zones = Zones::new(system, family);
            let resolver = Resolver { policy, entry, zones, family };
            Property { family, questions: resolver.questions() }
        })
        .collect();
    // What is about nothing in one family is about the other one.
    if properties.iter().any(Property::is_about_something) {
        properties.retain(Property::is_about_something);
    } else {
        properties.truncate(1);
    }
    properties
}

/// The host with the zones of a policy, which go before those of its own `zones.toml`.
#[must_use]
pub fn with_zones(system: &System, policy: &Policy) -> System {
    let mut system = system.clone();
    for zone in &policy.zones {
        let prefixes = |nets: &[Placed<IpNet>]| nets.iter().map(|net| net.value.into()).collect();
        let known = Zone {
            via: zone.via.iter().map(|via| via.value.clone()).collect(),
            nets: prefixes(&zone.nets),
            routes: prefixes(&zone.routes),
        };
        system.host.zones.insert(zone.name.clone(), known);
    }
    system
}

struct Resolver<'p, 's> {
    policy: &'p Policy,
    entry: &'p Entry,
    zones: Zones<'s>,
    family: Family,
}

impl Resolver<'_, '_> {
    fn questions(&self) -> Vec<Question> {
        match &self.entry.claim {
            Claim::Egress { from, to, sources } => {
                self.egress(from, to, sources.iter().map(|s| s.value))
            }
            Claim::Allow { from, to, lands } => self.allow(from, to, lands),
            Claim::Deny { from, lands, except } => {
                let landing = self.landings(lands);
                let from = self.senders(from, Breadth::Possible);
                let mut questions = self.never_lands(from, &landing);
                for question in &mut questions {
                    for name in except {
                        question.except.extend(self.exceptions(&name.value, &question.from));
                    }
                }
                questions
            }
            Claim::Isolate { zones } => self.isolate(zones),
        }
    }

    fn egress(
        &self,
        from: &[Expression],
        to: &[Expression],
        sources: impl Iterator<Item = Source>,
    ) -> Vec<Question> {
        let landing = self.landings(to);
        let mut addresses = AddressSet::none(self.family);
        let mut unchanged = Unchanged::Refused;
        for source in sources {
            match source {
                Source::Unchanged => unchanged = Unchanged::Allowed,
                Source::Net(net) => {
                    let net = AddressSet::prefix(&net.into());
                    if net.family() == self.family {
                        addresses = addresses.union(&net);
                    }
                }
            }
        }
        let possible = !addresses.is_empty() || unchanged == Unchanged::Allowed;
        if landing.is_empty() || !possible {
            return Vec::new();
        }
        let service = self.protocols_of(&landing);
        let demand = Demand::Leaves { landing, sources: addresses, unchanged };
        self.ask(self.senders(from, Breadth::Meant), &service, &demand)
    }

    fn allow(&self, from: &[Expression], to: &[Expression], lands: &[Expression]) -> Vec<Question> {
        let landing: Vec<Landing> = lands.iter().map(|zone| self.landing(zone, &[])).collect();
        let mut questions = Vec::new();
        for side in self.senders(from, Breadth::Meant) {
            for zone in to {
                let mut addresses = self.zones.addressed(&zone.place, &side);
                if let Some(reaches) = &side.reaches {
                    addresses = addresses.intersection(reaches);
                }
                if addresses.is_empty() {
                    continue;
                }
                questions.push(Question {
                    from: side.clone(),
                    to: Some(addresses),
                    service: self.service(zone, &self.ports()),
                    without: Vec::new(),
                    except: Vec::new(),
                    demand: Demand::Arrives(landing.clone()),
                });
            }
        }
        questions
    }

    fn isolate(&self, zones: &[Expression]) -> Vec<Question> {
        let mut questions = Vec::new();
        for (index, from) in zones.iter().enumerate() {
            let others = zones.iter().enumerate().filter(|(other, _)| *other != index);
            let landing: Vec<Landing> = others
                .map(|(_, zone)| self.landing(zone, &self.ports()))
                .filter(|landing| !landing.spots.is_empty())
                .collect();
            let senders = self.senders(std::slice::from_ref(from), Breadth::Possible);
            questions.extend(self.never_lands(senders, &landing));
        }
        questions
    }

    fn never_lands(&self, from: Vec<Side>, landing: &[Landing]) -> Vec<Question> {
        if landing.is_empty() {
            return Vec::new();
        }
        let service = self.protocols_of(landing);
        self.ask(from, &service, &Demand::NeverLands(landing.to_vec()))
    }

    /// The same question about packets from several places.
    fn ask(&self, from: Vec<Side>, service: &Service, demand: &Demand) -> Vec<Question> {
        from.into_iter()
            .map(|from| Question {
                to: from.reaches.clone(),
                without: self.zones.unknown_to(&from),
                service: service.clone(),
                except: Vec::new(),
                demand: demand.clone(),
                from,
            })
            .collect()
    }

    fn senders(&self, zones: &[Expression], breadth: Breadth) -> Vec<Side> {
        let mut sides: Vec<Side> = Vec::new();
        for side in zones.iter().flat_map(|zone| self.zones.senders(&zone.place, breadth)) {
            match sides.iter_mut().find(|s| (&s.at, &s.reaches) == (&side.at, &side.reaches)) {
                Some(known) => known.sources = known.sources.union(&side.sources),
                None => sides.push(side),
            }
        }
        sides
    }

    fn landings(&self, zones: &[Expression]) -> Vec<Landing> {
        let landings = zones.iter().map(|zone| self.landing(zone, &self.ports()));
        landings.filter(|landing| !landing.spots.is_empty()).collect()
    }

    fn landing(&self, zone: &Expression, ports: &[(u16, u16)]) -> Landing {
        Landing { spots: self.zones.landing(&zone.place), service: self.service(zone, ports) }
    }

    fn ports(&self) -> Vec<(u16, u16)> {
        self.entry.ports.iter().map(|ports| ports.value).collect()
    }

    fn service(&self, zone: &Expression, ports: &[(u16, u16)]) -> Service {
        service_of(self.entry, zone, ports)
    }

    /// The protocols of several landings, which no translation changes.
    fn protocols_of(&self, landings: &[Landing]) -> Service {
        let mut protocols: Vec<Protocol> = Vec::new();
        for landing in landings {
            if landing.service.protocols.is_empty() {
                return Service::default();
            }
            protocols.extend(&landing.service.protocols);
        }
        protocols.sort_unstable();
        protocols.dedup();
        Service { protocols, ports: Vec::new() }
    }

    /// The packets of another entry that start in one place.
    fn exceptions(&self, name: &str, from: &Side) -> Vec<Exception> {
        let named = |entry: &&Entry| entry.name.as_ref().is_some_and(|known| known.value == name);
        let allows = self.policy.entries.iter().filter(named);
        let mut exceptions = Vec::new();
        for entry in allows {
            let Claim::Allow { from: senders, to, .. } = &entry.claim else { continue };
            if let Some(Families::One(family)) = entry.families
                && family != self.family
            {
                continue;
            }
            let ports: Vec<(u16, u16)> = entry.ports.iter().map(|ports| ports.value).collect();
            // What may come from a zone is allowed to come from all of it.
            for side in self.senders(senders, Breadth::Possible).iter().filter(|s| s.at == from.at)
            {
                exceptions.extend(to.iter().map(|zone| Exception {
                    sources: side.sources.clone(),
                    to: self.zones.addressed(&zone.place, side),
                    service: service_of(entry, zone, &ports),
                }));
            }
        }
        exceptions
    }
}

/// The packets that an entry means of those to a zone. A port without a protocol is one of TCP, as
/// in the endpoints of `why`.
fn service_of(entry: &Entry, zone: &Expression, ports: &[(u16, u16)]) -> Service {
    let ports = zone.ports.map_or_else(|| ports.to_vec(), |ports| vec![ports]);
    let mut protocols: Vec<Protocol> = match zone.protocol {
        Some(protocol) => vec![protocol],
        None => entry.protocols.iter().map(|protocol| protocol.value).collect(),
    };
    if protocols.is_empty() && !ports.is_empty() {
        protocols.push(Protocol::Number(nattrace_parser::protocols::TCP));
    }
    Service { protocols, ports }
}

/// The name of an entry; where it has none, what it says.
#[must_use]
pub fn title(entry: &Entry) -> String {
    if let Some(name) = &entry.name {
        return name.value.clone();
    }
    let list = |zones: &[Expression]| {
        zones.iter().map(|zone| zone.text.as_str()).collect::<Vec<_>>().join(", ")
    };
    let kind = entry.claim.kind().as_str();
    match &entry.claim {
        Claim::Egress { from, to, .. } | Claim::Allow { from, to, .. } => {
            format!("{kind} {} to {}", list(from), list(to))
        }
        Claim::Deny { from, lands, .. } => {
            format!("{kind} {} to land in {}", list(from), list(lands))
        }
        Claim::Isolate { zones } => format!("{kind} {}", list(zones)),
    }
}

/// The kind of an entry.
#[must_use]
pub fn kind(entry: &Entry) -> Kind {
    entry.claim.kind()
}
