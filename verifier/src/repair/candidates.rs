//! What could be done about a packet that broke the policy: one file for each kind of edit.

mod accept;
mod call;
mod destination;
mod drop;
mod meant;
mod published;
mod setting;
mod source;

use nattrace_model::answer::{Egress, Outcome, RouteDecision, Step, Verdict};
use nattrace_model::ruleset::Table;

use super::Placement;
use super::anchor::Anchor;
use super::change::{At, Candidate, Change, RuleChange};
use super::evidence::{Decider, Evidence};
use super::wording::Wording;
use crate::check::Reason;
use crate::policy::Demand;

/// What could be done, the least disliked first.
pub(super) fn propose(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let mut found = match &evidence.case.question.demand {
        Demand::Leaves { .. } => match evidence.reason {
            Some(Reason::LeavesAs { .. }) => source::of(evidence),
            _ => pass(evidence),
        },
        // What leaves by the wrong interface is not led back by a rule.
        Demand::Arrives(_) if led_astray(evidence).is_some() => Vec::new(),
        Demand::Arrives(landing) => {
            let mut found = pass(evidence);
            found.extend(source::masquerade(evidence));
            found.extend(destination::of(evidence, landing));
            found
        }
        Demand::NeverLands(_) => drop::of(evidence),
    };
    if !found.is_empty() {
        found.extend(call::of(evidence));
    }
    found.sort_by_key(|candidate| candidate.dislike);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in found {
        if kept.iter().all(|known| known.change.key() != candidate.change.key()) {
            kept.push(candidate);
        }
    }
    kept
}

/// What lets a packet, or its answer, pass.
fn pass(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let mut found = accept::of(evidence);
    found.extend(setting::of(evidence));
    found
}

/// What stands in the way and no candidate can be made of, in a line.
pub(super) fn obstacle(evidence: &Evidence<'_>) -> Option<String> {
    let answer = evidence.answer;
    let destination = answer.flow.destination;
    match evidence.decider() {
        Some((_, Decider::Rule(_, rule))) if evidence.was_stopped() => {
            let chain = evidence.chain(rule.chain)?;
            if let Table::Native(table) = &chain.table {
                return Some(format!(
                    "a rule of nftables stops it, which `fix` does not edit: `nft insert rule \
                     {table} {} … accept`",
                    chain.name
                ));
            }
            if evidence.placement == Placement::DockerUser {
                return Some(
                    "DOCKER-USER is not called on its way: leave `--place` out".to_owned(),
                );
            }
        }
        Some((_, Decider::Policy(_, chain))) if evidence.was_stopped() => {
            let chain = evidence.chain(chain)?;
            if let Table::Native(table) = &chain.table {
                return Some(format!(
                    "the policy of a chain of nftables stops it, which `fix` does not edit: `nft \
                     add rule {table} {} … accept`",
                    chain.name
                ));
            }
        }
        Some((_, Decider::Route(decision, because))) => {
            let told = match decision {
                RouteDecision::NoRoute => {
                    format!(
                        "there is no route to {destination}: `ip route add {destination} via …`"
                    )
                }
                RouteDecision::Blackhole | RouteDecision::Unreachable | RouteDecision::Prohibit => {
                    format!("a route says no: `ip route show match {destination}` names it")
                }
                RouteDecision::NoNeighbour => format!("nobody has the address {destination}"),
                RouteDecision::BridgePort => {
                    "a port of a bridge does not send back what it got: `bridge link set dev … \
                     hairpin on`"
                        .to_owned()
                }
                _ => because.map(str::to_owned).or_else(|| answer.because.clone())?,
            };
            return Some(told);
        }
        _ => {}
    }
    if let Some(route) = led_astray(evidence) {
        return Some(route);
    }
    if let Some(uplink) = evidence.wrong_uplink().or_else(|| evidence.other_uplink()) {
        return Some(uplink);
    }
    if let Some(because) = &answer.because {
        return Some(because.clone());
    }
    match (answer.verdict, answer.outcome) {
        (Verdict::Undetermined, _) | (_, Outcome::Undetermined) => {
            Some("what becomes of the packet is not known".to_owned())
        }
        _ => None,
    }
}

/// A route that leads away packets, or the answers to them, to an address that is on-link elsewhere,
/// with the one that is missing.
fn led_astray(evidence: &Evidence<'_>) -> Option<String> {
    let answer = evidence.answer;
    let forth = answer.egress.as_ref();
    let back = answer.reply.as_ref().and_then(|reply| Some((reply, reply.egress.as_ref()?)));
    forth
        .and_then(|egress| missing_route(evidence, egress, evidence.steps()))
        .or_else(|| back.and_then(|(reply, egress)| missing_route(evidence, egress, &reply.steps)))
}

/// The route that is missing where a packet left by one interface, and its destination is on-link
/// at another.
fn missing_route(evidence: &Evidence<'_>, egress: &Egress, steps: &[Step]) -> Option<String> {
    let host = &evidence.system.host;
    let destination = egress.packet.destination;
    let left_by = egress.out_interface.as_deref()?;
    let on_link = host.interfaces.iter().flat_map(|own| {
        let subnets = own.addresses.iter().map(|address| &address.subnet);
        subnets.map(move |subnet| (own.name.as_str(), subnet))
    });
    let near = on_link.filter(|(_, subnet)| subnet.contains(destination));
    let (interface, subnet) = near.max_by_key(|(_, subnet)| subnet.length())?;
    if interface == left_by {
        return None;
    }
    let table = steps.iter().rev().find_map(|step| match step {
        Step::Route { route: Some((table, _)), .. } => Some(*table),
        _ => None,
    })?;
    let table = host.routing.table_name(table);
    Some(format!(
        "table {table} leads {destination} out by {left_by}, although it is behind {interface}: `ip \
         route add {subnet} dev {interface} table {table}`"
    ))
}

/// A new rule at a place.
fn new_rule(
    evidence: &Evidence<'_>,
    anchor: &Anchor,
    wording: &Wording,
    because: &str,
    dislike: u32,
) -> Option<Candidate> {
    let rule = wording.rule(evidence.family(), anchor.table(), &anchor.place.chain)?;
    Some(candidate(anchor, rule, because, dislike))
}

/// A rule, worded already, at a place.
fn candidate(anchor: &Anchor, rule: String, because: &str, dislike: u32) -> Candidate {
    let change = RuleChange {
        place: anchor.place.clone(),
        at: anchor.at,
        rule,
        native: None,
        because: because.to_owned(),
    };
    Candidate { change: Change::Rule(change), dislike }
}

/// A rule goes.
fn deletion(anchor: &Anchor, because: &str, dislike: u32) -> Option<Candidate> {
    let At::Instead(index) = anchor.at else { return None };
    let gone = Anchor { place: anchor.place.clone(), at: At::Gone(index) };
    Some(candidate(&gone, String::new(), because, dislike))
}
