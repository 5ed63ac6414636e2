//! The self-test: a described host rebuilt in a network namespace of the running kernel, and
//! packets sent through it beside the simulator's answers.
//!
//! ```text
//! System ──replica──▶ interfaces, addresses, routes, settings, sets, sockets, rules
//!    └────sample────▶ packets ──lab──▶ what the kernel does, what the simulator says
//! ```

mod around;
mod job;
mod native;
mod replica;
mod routes;
mod rules;
mod sample;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nattrace_model::System;
use nattrace_model::answer::{Answer, RouteDecision, Step};
use nattrace_model::flow::Flow;
use nattrace_model::host::Part;
use nattrace_parser::syntax::{Backend, Family};
use serde::{Deserialize, Serialize};

use crate::lab::command;
use crate::lab::comparison::{Judgement, Prediction};
use crate::lab::conntrack::Connections;
use crate::lab::rules::Loader;
use crate::lab::socket::Listeners;
use crate::lab::surroundings::Surroundings;
use crate::lab::trace::{Meter, Trace};
use crate::lab::trial::{Bench, Observation, Seen, Skipped, Start, Trial};
use crate::lab::wire::{Patience, Wires};

use around::Around;
use job::FlowDef;
pub use job::{Description, Job, serve};
use sample::Sampler;

/// Which packets are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sample {
    /// So many, drawn from a seed.
    Drawn {
        /// How many.
        packets: u64,
        /// What they are drawn from.
        seed: u64,
    },
    /// This one.
    Given {
        /// The packet.
        #[serde(with = "FlowDef")]
        flow: Flow,
    },
}

/// What a self-test came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Packets for which the simulator named one answer, and the kernel did just that.
    pub agreed: u64,
    /// Packets for which it named several ways, and the kernel went one of them.
    pub agreed_in_a_branch: u64,
    /// Packets for which it said that it does not know.
    pub undetermined: u64,
    /// Packets that could not be sent, by the reason.
    pub skipped: BTreeMap<String, u64>,
    /// What of the host the kernel did not take.
    pub not_rebuilt: Vec<String>,
    /// The first packet about which they differ.
    pub difference: Option<Difference>,
}

impl Report {
    /// How many packets the kernel agrees on.
    #[must_use]
    pub fn agreed_in_all(&self) -> u64 {
        self.agreed + self.agreed_in_a_branch
    }
}

/// A packet about which simulator and kernel differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The packet.
    #[serde(with = "FlowDef")]
    pub flow: Flow,
    /// The same in words.
    pub packet: String,
    /// One line for each thing that differs.
    pub differences: Vec<String>,
    /// What the kernel did: the rules that counted, and what left.
    pub kernel: Vec<String>,
    /// The rules of the packet's family, as they were loaded.
    pub rules: String,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// Something about the host can't be rebuilt.
    #[error("{0}")]
    NotRebuilt(String),
    /// The system refused something.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// What is missing for a self-test of this host: programs, or rights.
#[must_use]
pub fn missing(system: &System) -> Vec<String> {
    let mut programs = vec!["unshare", "ip", "bridge"];
    if !system.host.sets.is_empty() {
        programs.push("ipset");
    }
    if native::has_any(system) {
        programs.push("nft");
    }
    let mut missing: Vec<String> = programs
        .into_iter()
        .map(str::to_owned)
        .chain(rules::loaders(system).into_iter().flat_map(Loader::programs))
        .filter(|program| !command::exists(program))
        .map(|program| format!("`{program}` is not installed"))
        .collect();
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        missing.push(format!("/dev/net/tun can't be opened: {error}"));
    }
    if missing.is_empty() && namespace_options().is_none() {
        missing.push(
            "neither root nor a user namespace of one's own: no network namespace can be made"
                .to_owned(),
        );
    }
    missing
}

/// How unshare(1) makes a network namespace here: as root, or in a user namespace.
fn namespace_options() -> Option<&'static [&'static str]> {
    const ROOT: &[&str] = &["--net"];
    const USER: &[&str] = &["--user", "--map-root-user", "--net"];
    [ROOT, USER].into_iter().find(|options| {
        let probe = command::run("unshare", &[options, ["true"].as_slice()].concat(), "");
        probe.is_ok_and(|ran| ran.succeeded)
    })
}

/// How long the kernel is given to announce its groups after the interfaces came up.
const ANNOUNCEMENTS: Duration = Duration::from_millis(2500);

/// A difference must show again after each of these pauses before it counts.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(1100)];

/// How many packets are drawn at most for each one that is wanted: some can't be sent.
const DRAWS: u64 = 4;

/// Rebuilds `host`, whose `texts` tell its sets and native tables, in the network namespace of this
/// process, which must be its own, and compares the kernel with what the simulator says about `claimed`: the same host, unless somebody wants
/// to see what a wrong claim looks like.
///
/// # Errors
///
/// The host can't be rebuilt, or a program that is needed fails.
fn run(
    host: &System,
    texts: &Description,
    claimed: &System,
    sample: &Sample,
) -> Result<Report, SelftestError> {
    let around = Rc::new(Around::of(host)?);
    let mut bench = Replica::build(host, texts, &around)?;
    let mut report =
        Report { not_rebuilt: std::mem::take(&mut bench.not_rebuilt), ..Report::default() };
    match sample {
        Sample::Given { flow } => {
            let trial = around.trial(claimed, flow.clone());
            bench.compare(claimed, &trial, &mut report)?;
        }
        Sample::Drawn { packets, seed } => {
            let mut sampler = Sampler::new(claimed, *seed);
            for _ in 0..packets.saturating_mul(DRAWS) {
                let tried = report.agreed_in_all() + report.undetermined;
                if tried >= *packets || report.difference.is_some() {
                    break;
                }
                let Some(flow) = sampler.draw() else { break };
                bench.compare(claimed, &around.trial(claimed, flow), &mut report)?;
            }
        }
    }
    Ok(report)
}

/// The rebuilt host, ready for packets.
struct Replica {
    bench: Bench,
    around: Rc<Around>,
    /// IPv6 neighbours whose hardware addresses are set, so that nobody is asked for them.
    neighbours: RefCell<std::collections::BTreeSet<(String, std::net::IpAddr)>>,
    /// The rules, each with the tool that loaded them.
    rules: Vec<(Loader, String)>,
    native: Option<Native>,
    not_rebuilt: Vec<String>,
}

/// The tables of nftables beside iptables.
struct Native {
    /// As nft writes them.
    text: String,
    /// The family whose packets are being traced: rules without a counter tell nothing else.
    traced: Option<Family>,
}

impl Native {
    fn load(host: &System, texts: &Description) -> Result<Self, SelftestError> {
        Ok(Self { text: native::load(host, texts.part(Part::Nft))?, traced: None })
    }
}

impl Replica {
    fn build(
        host: &System,
        texts: &Description,
        around: &Rc<Around>,
    ) -> Result<Self, SelftestError> {
        let mut not_rebuilt = Vec::new();
        replica::create_interfaces(&host.host, around)?;
        let surroundings: Rc<dyn Surroundings> = Rc::clone(around) as Rc<dyn Surroundings>;
        let wires = Wires::attach(Rc::clone(&surroundings))?;
        replica::configure(&host.host, around, &mut not_rebuilt)?;
        routes::configure(&host.host, &mut not_rebuilt)?;
        replica::create_sets(texts.part(Part::Ipset))?;
        let rules = rules::load(system_rules(host)?)?;
        let native = match native::has_any(host) {
            true => Some(Native::load(host, texts)?),
            false => None,
        };
        let listeners =
            Listeners::of(host.host.listeners.as_deref().unwrap_or(&[]), &mut not_rebuilt);
        let end = Instant::now() + ANNOUNCEMENTS;
        while Instant::now() < end {
            wires.collect(Patience::Little)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let bench = Bench {
            wires,
            listeners: RefCell::new(listeners),
            meter: Meter::by_counters(Vec::new()),
            connections: Connections::open()?,
            patience: Cell::new(Patience::Much),
            surroundings,
        };
        let neighbours = RefCell::default();
        Ok(Self { bench, around: Rc::clone(around), neighbours, rules, native, not_rebuilt })
    }

    /// Takes what tells the rules that a packet of this family meets.
    fn meter(&mut self, family: Family) -> io::Result<()> {
        let meter = match &mut self.native {
            None => {
                let rules = self.rules.iter().filter(|(loader, _)| loader.family == family);
                Meter::by_counters(rules.map(|(loader, _)| *loader).collect())
            }
            Some(native) if native.traced == Some(family) => return Ok(()),
            Some(native) => {
                native.traced = Some(family);
                let trace = Trace::open(family, Backend::Nft)?;
                trace.learn("")?;
                Meter::Trace(trace)
            }
        };
        self.bench.meter = meter;
        Ok(())
    }

    /// Sends a packet, and notes what comes of it.
    fn compare(
        &mut self,
        claimed: &System,
        trial: &Trial,
        report: &mut Report,
    ) -> Result<(), SelftestError> {
        if let Some(why) = self.unfit(claimed, trial) {
            *report.skipped.entry(why.to_owned()).or_default() += 1;
            return Ok(());
        }
        let family = Family::of(trial.flow.destination);
        self.meter(family)?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let prediction = Prediction::of(&*self.around, claimed, trial);
            if stays_with_its_sender(prediction.answer()) {
                *report.skipped.entry(IN_VAIN.to_owned()).or_default() += 1;
                return Ok(());
            }
            self.introduce(trial, prediction.answer())?;
            let observed = match self.bench.run(trial, prediction.answering())? {
                Ok(observed) => observed,
                Err(skipped) => {
                    *report.skipped.entry(reason(skipped).to_owned()).or_default() += 1;
                    return Ok(());
                }
            };
            match prediction.judge(&observed) {
                Judgement::Agrees => report.agreed += 1,
                Judgement::AgreesInABranch => report.agreed_in_a_branch += 1,
                Judgement::Undetermined => report.undetermined += 1,
                Judgement::Disagrees(differences) => {
                    if let Some(pause) = pauses.next() {
                        std::thread::sleep(pause);
                        continue;
                    }
                    report.difference = Some(Difference {
                        flow: trial.flow.clone(),
                        packet: trial.to_string(),
                        differences,
                        kernel: story(&observed),
                        rules: self.rules_of(family),
                    });
                }
            }
            return Ok(());
        }
    }

    /// The rules of a family, as they were loaded.
    fn rules_of(&self, family: Family) -> String {
        let own = self.rules.iter().filter(|(loader, _)| loader.family == family);
        let native = self.native.as_ref().map(|native| native.text.as_str());
        own.map(|(_, text)| text.as_str()).chain(native).collect()
    }

    /// Why a packet is no fair question to a rebuilt host.
    fn unfit(&self, claimed: &System, trial: &Trial) -> Option<&'static str> {
        if let Start::Wire(wire, _) = trial.start {
            if wire.is_empty() {
                return Some("it comes in by an interface that is not there");
            }
            if self.around.asks_in_vain(wire, trial.flow.destination) {
                return Some(IN_VAIN);
            }
        }
        let local = claimed.host.owner(trial.flow.destination).is_some();
        let unknown = claimed.host.listeners.is_none() && local;
        unknown.then_some("which sockets listen is not known")
    }

    /// Tells the kernel the hardware addresses of everybody that an IPv6 packet is expected to
    /// meet: asking for them passes the rules, and would count.
    fn introduce(&self, trial: &Trial, answer: &Answer) -> io::Result<()> {
        if trial.flow.destination.is_ipv4() {
            return Ok(());
        }
        let branches = answer.branches.iter().map(|branch| &branch.answer);
        let mut met = Vec::new();
        if let Some(interface) = &trial.flow.in_interface {
            met.push((interface.clone(), trial.flow.source));
        }
        for way in branches.chain([answer]) {
            let forth = (&way.steps, way.egress.as_ref());
            let back = way.reply.as_ref().map(|reply| (&reply.steps, reply.egress.as_ref()));
            for (steps, egress) in [Some(forth), back].into_iter().flatten() {
                let Some(egress) = egress else { continue };
                for step in steps {
                    if let Step::Route { out_interface: Some(out), gateway, .. } = step {
                        met.push((out.clone(), gateway.unwrap_or(egress.packet.destination)));
                    }
                }
            }
        }
        let mut known = self.neighbours.borrow_mut();
        for (interface, address) in met {
            if address.is_ipv6()
                && !self.around.is_own(address)
                && known.insert((interface.clone(), address))
            {
                self.around.introduce(&interface, address)?;
            }
        }
        Ok(())
    }
}

/// The rules, where all of them can be put into a kernel.
fn system_rules(host: &System) -> Result<&System, SelftestError> {
    match rules::obstacle(host) {
        Some(obstacle) => Err(SelftestError::NotRebuilt(obstacle)),
        None => Ok(host),
    }
}

/// Why a packet does not come to the host.
const IN_VAIN: &str = "its sender finds nobody to send it to";

/// Whether the simulator says that a container's packet does not even leave the container: here
/// it would be put on the wire all the same.
fn stays_with_its_sender(answer: &Answer) -> bool {
    let first = answer.steps.first();
    matches!(first, Some(Step::Route { decision: RouteDecision::NoNeighbour, .. }))
}

fn reason(skipped: Skipped) -> &'static str {
    match skipped {
        Skipped::Bind => "a socket can't be bound so",
        Skipped::NoConnection => "the connection that it should belong to does not come about",
        Skipped::Overrun => "it met more rules than the kernel could tell",
        Skipped::Apart => "nothing puts its fragments together",
    }
}

/// What the kernel did, one line each.
fn story(observed: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    let phases = [("forth", Some(&observed.forth)), ("back", observed.back.as_ref())];
    for (phase, seen) in phases {
        let Some(Seen { counts, departed, .. }) = seen else { continue };
        for (counted, packets) in counts {
            lines.push(format!("{phase}: {counted} counts {packets}"));
        }
        for departed in departed {
            lines.push(format!("{phase}: {} leaves by {}", departed.packet, departed.wire));
        }
        if departed.is_empty() {
            lines.push(format!("{phase}: nothing leaves"));
        }
    }
    lines
}

impl Around {
    /// A packet, and where it starts in the rebuilt host.
    fn trial(&self, system: &System, flow: Flow) -> Trial {
        match &flow.in_interface {
            None => Trial::whole(flow, Start::Local),
            Some(interface) => {
                let wire = self.wire_of(system, interface, flow.source);
                let mac = self.next_mac(wire, flow.destination);
                Trial::whole(flow, Start::Wire(wire, mac))
            }
        }
    }
}
