//! Real connections, and what became of them: the outcome, what the other end saw, and the rules
//! that counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use nattrace_corpus::case::{CounterDelta, Probe, ProbeFlow, ProbeProtocol, Sender};

use crate::namespace::run;
use crate::socket::{Call, Sightings, call, source_for};
use crate::world::{Container, World};

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) namespace: PathBuf,
    pub(crate) kind: Sender,
    /// The addresses that its sockets are bound to, where they are.
    pub(crate) bound: Vec<IpAddr>,
    /// Its addresses as a container.
    pub(crate) container: Option<Container>,
}

/// A connection to be tried.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) what: String,
    pub(crate) from: Place,
    pub(crate) to: SocketAddr,
    pub(crate) protocol: ProbeProtocol,
}

/// How long to wait where an answer is expected: as long as a busy machine may need.
const PATIENT: Duration = Duration::from_secs(5);

/// How long to wait where none is expected.
const IMPATIENT: Duration = Duration::from_millis(350);

/// How long the last packets of a connection may be under way.
const SETTLE: Duration = Duration::from_millis(15);

impl Question {
    /// The packet that begins it; `None` where the sender itself has no way there.
    pub(crate) fn flow(&self, source_port: u16) -> Option<ProbeFlow> {
        let destination = self.to.ip();
        let bound = self.from.bound.iter().find(|bound| bound.is_ipv4() == destination.is_ipv4());
        let src = match bound {
            Some(bound) => *bound,
            None => source_for(&self.from.namespace, destination).ok()?,
        };
        let iif = match (&self.from.container, self.from.kind) {
            (Some(container), _) => Some(container.bridge_of(src)?.to_owned()),
            (None, Sender::Host) => None,
            (None, Sender::Outside | Sender::Container) => Some("eth0".to_owned()),
        };
        let ported = self.protocol != ProbeProtocol::Icmp;
        Some(ProbeFlow {
            src,
            sport: ported.then_some(source_port),
            dst: destination,
            dport: ported.then_some(self.to.port()),
            proto: self.protocol,
            iif,
        })
    }

    /// Makes the connection, and looks at what it sets in motion.
    pub(crate) fn ask(
        &self,
        world: &World,
        seen: &Sightings,
        number: usize,
        probe: ProbeFlow,
        answered: bool,
    ) -> Probe {
        run(world.command("conntrack").arg("-F"));
        seen.lock().unwrap().clear();
        let before = counters(world);
        let bound = self.from.bound.iter().find(|bound| bound.is_ipv4() == probe.dst.is_ipv4());
        let result = call(
            &self.from.namespace,
            &Call {
                bound: bound.copied(),
                source_port: probe.sport.unwrap_or(number as u16),
                destination: probe.dst,
                destination_port: self.to.port(),
                protocol: probe.proto,
                patience: if answered { PATIENT } else { IMPATIENT },
            },
        );
        std::thread::sleep(SETTLE);
        let moved = difference(&before, &counters(world));
        let sighting = seen.lock().unwrap().first().cloned();
        Probe {
            n: format!("{number:02}"),
            probe: self.what.clone(),
            kind: self.from.kind,
            flow: probe,
            result: result.to_owned(),
            answered_by: sighting.as_ref().map(|sighting| sighting.who.clone()),
            seen_src: sighting.as_ref().map(|sighting| sighting.source.ip()),
            seen_dst: sighting.as_ref().map(|sighting| sighting.destination.ip()),
            seen_dport: sighting.as_ref().map(|sighting| sighting.destination.port()),
            counters: moved,
        }
    }
}

/// The packets that each rule has counted, by table and text; rules that are written alike count
/// together.
type Counters = BTreeMap<(String, String), u64>;

fn counters(world: &World) -> Counters {
    let mut counters = Counters::new();
    for program in ["iptables-save", "ip6tables-save"] {
        let ran = run(world.command(program).arg("-c"));
        assert!(ran.succeeded, "{}", ran.text);
        let mut table = String::new();
        for line in ran.text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.to_owned();
            } else if let Some((counted, rule)) = line.split_once("] ") {
                let packets = counted.trim_start_matches('[').split(':').next().unwrap();
                let packets: u64 = packets.parse().unwrap();
                *counters.entry((table.clone(), rule.to_owned())).or_default() += packets;
            }
        }
    }
    counters
}

fn difference(before: &Counters, after: &Counters) -> Vec<CounterDelta> {
    let moved = after.iter().filter_map(|((table, rule), packets)| {
        let old = before.get(&(table.clone(), rule.clone())).copied().unwrap_or(0);
        let packets = packets.saturating_sub(old);
        (packets > 0).then(|| CounterDelta { table: table.clone(), rule: rule.clone(), packets })
    });
    moved.collect()
}
