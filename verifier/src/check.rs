//! `check`: whether what a policy says holds for every packet.
//!
//! Each entry becomes questions about packets that start in one place. Their classes say what
//! becomes of all of them; a packet that breaks the entry is taken out of the offending classes,
//! and the simulator is asked about it: it has to agree, or one of the two is wrong and nothing is
//! said of the entry but what the simulator shows.

mod demand;
mod disagreement;
mod engine;
mod finding;
mod inquiry;
mod judgement;
pub(crate) mod packets;
mod reach;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use nattrace_model::System;
use nattrace_parser::policy::{Entry, Given, Policy};
use nattrace_parser::syntax::Family;
use rayon::prelude::*;

use crate::given;
use crate::packets::PacketSet;
use crate::policy::{self, Demand};
use crate::space::Space;
use crate::walk::World;
pub(crate) use demand::{Effects, arrives};
pub use disagreement::{Between, Disagreement};
pub use engine::Engine;
pub use finding::{Counterexample, Finding, Nothing, Reason, Status};
pub(crate) use inquiry::flow_of;
pub(crate) use judgement::{Judgement, judge, lands, undetermined};
use reach::Redirections;

/// Says of each entry of a policy whether it holds, in the order of the policy.
///
/// All names have to be known on the host ([`policy::unknown_names`]). `given` is taken to be so
/// for all entries, besides what each says for itself.
///
/// # Errors
///
/// The classes and the simulator disagree about a packet.
pub fn check(
    policy: &Policy,
    system: &System,
    given: &Given,
) -> Result<Vec<Finding>, Disagreement> {
    check_with(policy, system, given, Engine::Classes)
}

/// The same by an engine.
///
/// # Errors
///
/// Two of the engines, or one and the simulator, disagree.
pub fn check_with(
    policy: &Policy,
    system: &System,
    given: &Given,
    engine: Engine<'_>,
) -> Result<Vec<Finding>, Disagreement> {
    sound(check_each(policy, system, given, engine))
}

/// The same where a fault of nattrace about one entry is no reason to say nothing of the others:
/// it is in the entry's finding.
#[must_use]
pub fn check_each(
    policy: &Policy,
    system: &System,
    given: &Given,
    engine: Engine<'_>,
) -> Vec<Finding> {
    check_all(policy, &[], (system, given), engine)
}

/// The same for some of the entries of a policy; others are only referred to.
pub(crate) fn check_some(
    policy: &Policy,
    referred: &[Entry],
    system: &System,
    given: &Given,
) -> Vec<Finding> {
    check_all(policy, referred, (system, given), Engine::Classes)
}

/// The findings, if nattrace contradicts itself in none of them.
fn sound(mut findings: Vec<Finding>) -> Result<Vec<Finding>, Disagreement> {
    match findings.iter_mut().find_map(|finding| finding.fault.take()) {
        Some(fault) => Err(*fault),
        None => Ok(findings),
    }
}

fn check_all(
    policy: &Policy,
    referred: &[Entry],
    (system, given): (&System, &Given),
    engine: Engine<'_>,
) -> Vec<Finding> {
    let base = Premises::of(policy::with_zones(system, policy));
    let mut known = policy.clone();
    known.entries.extend_from_slice(referred);
    let known = &known;
    let each: Vec<Vec<Finding>> = policy
        .entries
        .par_iter()
        .map(|entry| {
            let mut all = given.clone();
            all.extend(entry.given.clone());
            if all.is_empty() {
                return check_entry(known, entry, &base, engine);
            }
            check_entry(known, entry, &Premises::of(given::apply(&base.system, &all)), engine)
        })
        .collect();
    each.into_iter().flatten().collect()
}

/// A host that questions are about, with what is found out about it once.
struct Premises {
    system: Arc<System>,
    world: World,
    redirections: [OnceLock<Redirections>; 2],
}

impl Premises {
    fn of(system: System) -> Self {
        Self { system: Arc::new(system), world: World::default(), redirections: Default::default() }
    }

    /// What gives packets of a family another destination.
    fn redirections(&self, family: Family) -> &Redirections {
        let [ipv4, ipv6] = &self.redirections;
        let known = match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        known.get_or_init(|| Redirections::of(&self.system, family))
    }
}

/// The packets of a question, without those that can't get where it is about.
pub(crate) fn reaching(question: &policy::Question, system: &System, space: &Space) -> PacketSet {
    let packets = packets::of(question, space);
    let (Demand::Leaves { landing, .. } | Demand::NeverLands(landing)) = &question.demand else {
        return packets;
    };
    let redirections = &Redirections::of(system, space.family());
    match redirections.into(system, space, landing) {
        Some(reaching) => packets.intersection(&reaching),
        None => packets,
    }
}

/// The findings of one entry: one where its families fare alike, else one for each.
fn check_entry(
    policy: &Policy,
    entry: &Entry,
    premises: &Premises,
    engine: Engine<'_>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for property in policy::resolve(policy, entry, &premises.system) {
        let finding = engine
            .check(entry, &property, premises)
            .unwrap_or_else(|fault| Finding::of_fault(entry, property.family, fault));
        match findings.first_mut().filter(|first| first.status == finding.status) {
            Some(first) => first.join(finding),
            None => findings.push(finding),
        }
    }
    findings
}
