//! A run of the lab: ruleset after ruleset, packet after packet.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nattrace_model::System;
use nattrace_model::build::{Text, load};
use nattrace_parser::syntax::Family;
use serde::{Deserialize, Serialize};

use super::Options;
use super::command;
use super::comparison::{Judgement, Prediction};
use super::conntrack::Connections;
use super::generate::{Generator, has_routing_of_its_own};
use super::kept::{Kept, kept_dir};
use super::kinds::kinds;
use super::native;
use super::report;
use super::rules::Loader;
use super::shrink::{self, Found};
use super::socket::Listeners;
use super::surroundings::Surroundings;
use super::topology::{self, Around, LocalRoutes, Variation};
use super::trace::{Meter, Trace};
use super::trial::{Bench, Observation, Skipped, Trial};
use super::wire::{Patience, Wires};

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Packets for which the simulator named one answer, and it was right.
    pub agreed: u64,
    /// Packets for which it named several ways, and one of them was right.
    pub agreed_in_a_branch: u64,
    /// Packets for which it said that it does not know.
    pub undetermined: u64,
    /// Packets for which it was wrong.
    pub disagreed: u64,
    /// Packets that were sent again because the first look disagreed, and then agreed.
    #[serde(default)]
    pub repeated: u64,
    /// How many packets were compared up to the first for which it was wrong.
    pub first_disagreement: Option<u64>,
    /// Packets that could not be sent as drawn.
    pub skipped: BTreeMap<String, u64>,
    /// How many of each kind were compared, of IPv4 and of IPv6.
    #[serde(default)]
    pub kinds: BTreeMap<String, (u64, u64)>,
    /// Rulesets that the kernel took.
    pub rulesets: u64,
    /// Rulesets that the kernel or the tool refused.
    pub refused: u64,
}

impl Totals {
    /// How many packets were compared.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.agreed + self.agreed_in_a_branch + self.undetermined + self.disagreed
    }
}

impl Totals {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { agreed, agreed_in_a_branch, undetermined, disagreed, repeated, .. } = other;
        self.agreed += agreed;
        self.agreed_in_a_branch += agreed_in_a_branch;
        self.undetermined += undetermined;
        self.disagreed += disagreed;
        self.repeated += repeated;
        self.first_disagreement =
            self.first_disagreement.into_iter().chain(other.first_disagreement).min();
        self.rulesets += other.rulesets;
        self.refused += other.refused;
        for (why, count) in &other.skipped {
            *self.skipped.entry(why.clone()).or_default() += count;
        }
        for (kind, (four, six)) in &other.kinds {
            let own = self.kinds.entry(kind.clone()).or_default();
            own.0 += four;
            own.1 += six;
        }
    }

    /// How many packets of each kind were compared, one line each.
    #[must_use]
    pub fn kinds(&self) -> String {
        let line = |(kind, (four, six)): (&String, &(u64, u64))| {
            format!("{kind}: {four} of IPv4, {six} of IPv6\n")
        };
        self.kinds.iter().map(line).collect()
    }

    fn count(&mut self, family: Family, kinds: &[&'static str]) {
        for kind in kinds {
            let (four, six) = self.kinds.entry((*kind).to_owned()).or_default();
            match family {
                Family::Ipv4 => *four += 1,
                Family::Ipv6 => *six += 1,
            }
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = self.agreed + self.agreed_in_a_branch;
        write!(
            f,
            "{right}/{} agree ({} by one of several branches, {} undetermined, {} disagree) over {} rulesets ({} refused)",
            self.compared(),
            self.agreed_in_a_branch,
            self.undetermined,
            self.disagreed,
            self.rulesets,
            self.refused
        )?;
        if self.repeated > 0 {
            write!(f, "; {} agreed when sent again", self.repeated)?;
        }
        if let Some(first) = self.first_disagreement {
            write!(f, "; the first after {first} packets")?;
        }
        for (why, count) in &self.skipped {
            write!(f, "; skipped {count}: {why}")?;
        }
        Ok(())
    }
}

/// A packet that was sent and compared.
pub(crate) struct Tried {
    pub(crate) judgement: Judgement,
    pub(crate) observed: Observation,
    /// Of which kinds the packet is.
    pub(crate) kinds: Vec<&'static str>,
}

impl Tried {
    fn disagrees(&self) -> bool {
        matches!(self.judgement, Judgement::Disagrees(_))
    }
}

/// The kernel with a ruleset in it, and the same for the simulator.
pub(crate) struct Loaded {
    pub(crate) texts: Vec<topology::Text>,
    pub(crate) system: System,
}

/// The host under test with everything that is needed to try rulesets on it.
pub(crate) struct Session {
    pub(crate) bench: Bench,
    pub(crate) loader: Loader,
    /// What of the snapshot the variations do not touch.
    fixed: Vec<topology::Text>,
    /// How many packets agreed only when they were sent again.
    repeated: Cell<u64>,
}

/// How long the kernel is given to announce its groups after the interfaces came up.
const ANNOUNCEMENTS: Duration = Duration::from_millis(2500);

/// A disagreement must show again after each of these pauses before it counts: what the kernel
/// does late for an earlier packet is no disagreement about this one, and errors about routes are
/// limited to one a second for each sender (`ip_error`). The longest is for a machine that is busy:
/// what the kernel leaves to a thread of its own has to wait for a processor then.
const PAUSES: [(Duration, Patience); 3] = [
    (Duration::from_millis(5), Patience::Much),
    (Duration::from_millis(1100), Patience::Much),
    (Duration::from_millis(1100), Patience::Most),
];

impl Session {
    fn open(options: &Options, local: LocalRoutes) -> io::Result<Self> {
        topology::create_interfaces()?;
        let surroundings: Rc<dyn Surroundings> = Rc::new(Around);
        let wires = Wires::attach(Rc::clone(&surroundings))?;
        topology::configure(local)?;
        let loader = Loader { family: options.family, backend: options.backend };
        let listeners = Listeners::open(options.family)?;
        let end = std::time::Instant::now() + ANNOUNCEMENTS;
        while std::time::Instant::now() < end {
            wires.collect(Patience::Little)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let meter = if command::exists("nft") {
            Meter::Trace(Trace::open(options.family, options.backend)?)
        } else {
            Meter::by_counters(vec![loader])
        };
        let bench = Bench {
            wires,
            listeners: RefCell::new(listeners),
            meter,
            connections: Connections::open()?,
            patience: Cell::new(Patience::Little),
            surroundings,
        };
        let repeated = Cell::default();
        Ok(Self { bench, loader, fixed: topology::fixed_parts()?, repeated })
    }

    /// Loads rules into the kernel, and what the kernel then says into the simulator.
    pub(crate) fn load(&self, rules: &str) -> io::Result<Result<Loaded, String>> {
        let (iptables, native) = native::split(rules);
        if let Err(why) = self.loader.load(iptables)? {
            return Ok(Err(why));
        }
        if let Some(Err(why)) = native.map(native::load).transpose()? {
            return Ok(Err(why));
        }
        let saved = self.loader.save()?;
        self.bench.meter.learn(&saved)?;
        let mut texts = self.fixed.clone();
        texts.extend(topology::varying_parts()?);
        texts.push((self.loader.part().to_owned(), saved));
        if native.is_some() {
            texts.push((native::PART.to_owned(), native::part()?));
        }
        let borrowed: Vec<Text<'_>> =
            texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&borrowed, &[]);
        if loaded.has_errors() {
            return Err(io::Error::other(format!(
                "the simulator does not take what the kernel took: {:?}\n{rules}",
                loaded.diagnostics
            )));
        }
        Ok(Ok(Loaded { system: loaded.system, texts }))
    }

    /// Sends a packet and compares; `None` where they agree.
    pub(crate) fn try_out(
        &self,
        loaded: &Loaded,
        trial: &Trial,
    ) -> io::Result<Result<Tried, Skipped>> {
        let prediction = Prediction::of(&*self.bench.surroundings, &loaded.system, trial);
        if prediction.is_apart() {
            return Ok(Err(Skipped::Apart));
        }
        let observed = match self.bench.run(trial, prediction.answering())? {
            Ok(observed) => observed,
            Err(skipped) => return Ok(Err(skipped)),
        };
        let judgement = prediction.judge(&observed);
        let kinds = kinds(trial, prediction.answer(), &observed);
        Ok(Ok(Tried { judgement, observed, kinds }))
    }

    /// The same, but a disagreement counts only if it shows again.
    pub(crate) fn try_again(
        &self,
        loaded: &Loaded,
        trial: &Trial,
    ) -> io::Result<Result<Tried, Skipped>> {
        let mut tried = self.try_out(loaded, trial)?;
        let disagreed = tried.as_ref().is_ok_and(Tried::disagrees);
        for (pause, patience) in PAUSES {
            if !tried.as_ref().is_ok_and(Tried::disagrees) {
                break;
            }
            std::thread::sleep(pause);
            // What came late belongs to no trial.
            self.bench.patience.set(patience);
            self.bench.clear()?;
            tried = self.try_out(loaded, trial)?;
        }
        self.bench.patience.set(Patience::Little);
        if disagreed && !tried.as_ref().is_ok_and(Tried::disagrees) {
            self.repeated.set(self.repeated.get() + 1);
        }
        Ok(tried)
    }
}

/// Runs the lab inside a network namespace that is its own.
///
/// # Errors
///
/// The namespace can't be set up, or a program that it needs fails.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<Totals> {
    let others = has_routing_of_its_own(options.seed, options.backend, options.family);
    let local = if others { LocalRoutes::Others } else { LocalRoutes::OfAddresses };
    let session = Session::open(options, local)?;
    let mut totals = Totals::default();
    let mut before: Option<Variation> = None;
    for number in options.first..options.first + options.rulesets {
        let mut generator = Generator::new(
            options.seed,
            number,
            options.family,
            options.backend,
            options.bridge_nf,
        );
        let variation = generator.variation();
        variation.apply(before.as_ref(), options.family)?;
        before = Some(variation);
        let mut rules = generator.ruleset();
        if options.native {
            rules += &format!("{}\n{}", native::MARKER, generator.native_tables());
        }
        let loaded = match session.load(&rules)? {
            Ok(loaded) => loaded,
            Err(why) => {
                totals.refused += 1;
                writeln!(out, "ruleset {number} is refused: {why}\n{rules}")?;
                continue;
            }
        };
        totals.rulesets += 1;
        let packets = packets_of(options.packets, options.rulesets, number - options.first);
        for _ in 0..packets {
            let trial = generator.trial();
            let Tried { judgement, observed, kinds } = match session.try_again(&loaded, &trial)? {
                Ok(tried) => tried,
                Err(skipped) => {
                    *totals.skipped.entry(reason(skipped).to_owned()).or_default() += 1;
                    continue;
                }
            };
            totals.repeated = session.repeated.get();
            totals.count(options.family, &kinds);
            match judgement {
                Judgement::Agrees => totals.agreed += 1,
                Judgement::AgreesInABranch => totals.agreed_in_a_branch += 1,
                Judgement::Undetermined => totals.undetermined += 1,
                Judgement::Disagrees(_) => {
                    totals.disagreed += 1;
                    totals.first_disagreement.get_or_insert(totals.compared());
                    writeln!(out, "disagreement {} in ruleset {number}", totals.disagreed)?;
                    let repeated = session.repeated.get();
                    let found = if options.shrink {
                        shrink::shrink(&session, &rules, &trial, observed, judgement)?
                    } else {
                        Found::whole(&session, &rules, &trial, observed, judgement)?
                    };
                    report::print(&found, &session, out)?;
                    let kept = before
                        .as_ref()
                        .and_then(|variation| Kept::of(&found, variation, session.loader));
                    if let (Some(folder), Some(kept)) = (&options.cases, kept) {
                        let (seed, at) = (options.seed, totals.disagreed);
                        let kind = session.loader.part().replace("-save", "");
                        kept.write(folder, &format!("{kind}-{seed}-{number}-{at}"))?;
                    }
                    // The rules may be fewer now than the packets to come shall meet.
                    session.load(&rules)?.map_err(io::Error::other)?;
                    session.repeated.set(repeated);
                    if totals.disagreed >= options.at_most {
                        return Ok(totals);
                    }
                }
            }
        }
    }
    Ok(totals)
}

/// Sends kept cases of one backend and family into the kernel again; how many it was right about.
///
/// # Errors
///
/// The namespace can't be set up, or a program that it needs fails.
pub fn replay(options: &Options, out: &mut dyn Write) -> io::Result<Totals> {
    let session = Session::open(options, LocalRoutes::Others)?;
    let mut totals = Totals::default();
    let mut before: Option<Variation> = None;
    for (name, kept) in Kept::read_all(&kept_dir())? {
        if kept.kind() != (options.backend, options.family) {
            continue;
        }
        let differences = kept.send(&session, before.as_ref())?;
        before = Some(kept.variation().clone());
        totals.rulesets += 1;
        if differences.is_empty() {
            totals.agreed += 1;
        } else {
            totals.disagreed += 1;
            writeln!(out, "kept case `{name}`: {}", differences.join("\n"))?;
        }
    }
    Ok(totals)
}

/// Writes the parts of the host under test, as they are before anything varies, into a folder.
///
/// # Errors
///
/// The namespace can't be set up, or a part can't be written.
pub fn record_host(options: &Options, folder: &Path) -> io::Result<()> {
    let session = Session::open(options, LocalRoutes::Others)?;
    let mut texts = session.fixed.clone();
    texts.extend(topology::varying_parts()?);
    texts.into_iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
}

/// The packets of one ruleset, so that all together are as many as asked for.
pub(crate) fn packets_of(packets: u64, rulesets: u64, number: u64) -> u64 {
    let rulesets = rulesets.max(1);
    packets / rulesets + u64::from(number < packets % rulesets)
}

fn reason(skipped: Skipped) -> &'static str {
    match skipped {
        Skipped::Bind => "the socket can't be bound so",
        Skipped::NoConnection => "the connection it should belong to does not come about",
        Skipped::Overrun => "it met more rules than the kernel could tell",
        Skipped::Apart => "nothing puts its fragments together",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_sent_once() {
        for (packets, rulesets) in [(10, 3), (3, 10), (0, 5), (7, 1)] {
            let all: u64 = (0..rulesets).map(|number| packets_of(packets, rulesets, number)).sum();
            assert_eq!(all, packets);
        }
    }
}
