//! What a question demands, of one packet that the simulator was asked about.
//!
//! The same meaning as that of the classes, written down once more for single answers: the two
//! have to agree.

use nattrace_model::System;
use nattrace_model::answer::{Answer, Branch, Outcome, Verdict};
use nattrace_model::condition::{Condition, Undecided};
use nattrace_parser::syntax::Family;

use super::Reason;
use super::demand::{Proxied, arrives, is_open};
use crate::policy::{Demand, Landing, Question, Unchanged};

/// What an answer means for a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is kept, or not about this packet.
    Kept,
    /// It is broken; by chance at least.
    Broken(Reason),
    /// Something that is not known decides.
    Open(String),
}

/// Judges an answer.
pub(crate) fn judge(question: &Question, system: &System, answer: &Answer) -> Judgement {
    if answer.branches.is_empty() {
        return judge_one(question, answer);
    }
    let each: Vec<(&Branch, Judgement)> = answer
        .branches
        .iter()
        .map(|branch| (branch, judge_one(question, &branch.answer)))
        .collect();
    let broken = |judgement: &Judgement| matches!(judgement, Judgement::Broken(_));
    // Broken whatever decides, or by mere chance, is broken.
    if each.iter().all(|(_, judgement)| broken(judgement)) {
        return each.into_iter().next().map_or(Judgement::Kept, |(_, judgement)| judgement);
    }
    let by_chance = each.iter().find(|(branch, judgement)| {
        let family = Family::of(branch.answer.flow.destination);
        broken(judgement) && branch.when.iter().all(|(what, _)| is_chance(system, family, what))
    });
    if let Some((_, judgement)) = by_chance {
        return judgement.clone();
    }
    let open = each.iter().find(|(_, judgement)| *judgement != Judgement::Kept);
    match open {
        Some((_, Judgement::Open(why))) => Judgement::Open(why.clone()),
        Some((branch, _)) => Judgement::Open(depends_on(branch)),
        None => Judgement::Kept,
    }
}

/// Judges an answer that has one way only.
fn judge_one(question: &Question, answer: &Answer) -> Judgement {
    let nobody_knows =
        || Judgement::Open(undetermined(answer).unwrap_or_else(|| "it is not known".to_owned()));
    match &question.demand {
        Demand::Leaves { landing, sources, unchanged } => {
            if is_open(answer.verdict) {
                return nobody_knows();
            }
            if !lands(answer, landing) {
                return Judgement::Kept;
            }
            let Some(egress) = &answer.egress else { return Judgement::Kept };
            if egress.source_unknown {
                return Judgement::Open("the source that it leaves with is not known".to_owned());
            }
            let source = egress.packet.source;
            let as_it_came = *unchanged == Unchanged::Allowed && source == answer.flow.source;
            if sources.contains(source) || as_it_came {
                return Judgement::Kept;
            }
            let interface = egress.out_interface.clone();
            Judgement::Broken(Reason::LeavesAs { interface, source })
        }
        Demand::Arrives(landing) => match answer.outcome {
            Outcome::Undetermined => nobody_knows(),
            Outcome::Connects if landing.is_empty() || arrives_in(answer, landing).is_some() => {
                Judgement::Kept
            }
            Outcome::Connects => Judgement::Broken(elsewhere(answer)),
            outcome => Judgement::Broken(Reason::Experiences(outcome)),
        },
        Demand::NeverLands(landing) => {
            if is_open(answer.verdict) {
                return nobody_knows();
            }
            match arrives_in(answer, landing) {
                Some(reason) => Judgement::Broken(reason),
                None => Judgement::Kept,
            }
        }
    }
}

/// Whether a packet leaves, or is delivered, into a landing.
pub(crate) fn lands(answer: &Answer, landing: &[Landing]) -> bool {
    let Some(egress) = answer.egress.as_ref().filter(|_| arrives(answer.verdict)) else {
        return false;
    };
    let packet = &egress.packet;
    landing.iter().any(|landing| {
        landing.has(
            egress.out_interface.as_deref(),
            packet.destination,
            packet.protocol,
            packet.destination_port(),
        )
    })
}

/// How a packet arrives in a landing, docker-proxy's doing included.
fn arrives_in(answer: &Answer, landing: &[Landing]) -> Option<Reason> {
    // What docker-proxy connects to says more than that the host has the packet.
    if let Some(proxy) = answer.proxy.as_ref().filter(|_| answer.verdict == Verdict::Proxied) {
        let (to, port) = (proxy.flow.destination, proxy.flow.destination_port.unwrap_or(0));
        let meant = |landing: &&Landing| {
            let protocols = crate::policy::Service { ports: Vec::new(), ..landing.service.clone() };
            protocols.has(answer.flow.protocol, None)
        };
        let by = proxy.egress.as_ref().and_then(|egress| egress.out_interface.as_deref());
        let proxied = Proxied { address: to, port, by };
        if landing.iter().filter(meant).any(|landing| proxied.is_into(landing)) {
            return Some(Reason::Proxied { destination: to, port });
        }
    }
    let egress = answer.egress.as_ref().filter(|_| lands(answer, landing))?;
    Some(Reason::Lands {
        interface: egress.out_interface.clone(),
        destination: egress.packet.destination,
        port: egress.packet.destination_port(),
    })
}

/// Where a packet arrives that should arrive elsewhere.
fn elsewhere(answer: &Answer) -> Reason {
    match &answer.egress {
        Some(egress) => Reason::ArrivesAt {
            interface: egress.out_interface.clone(),
            destination: egress.packet.destination,
            port: egress.packet.destination_port(),
        },
        None => Reason::Experiences(answer.outcome),
    }
}

/// What is to blame for an answer that nobody knows.
pub(crate) fn undetermined(answer: &Answer) -> Option<String> {
    let open = |answer: &Answer| is_open(answer.verdict) || answer.outcome == Outcome::Undetermined;
    if let Some(branch) = answer.branches.iter().find(|branch| open(&branch.answer)) {
        return branch.answer.because.clone().or_else(|| Some(depends_on(branch)));
    }
    if let Some(branch) = answer.branches.first() {
        return Some(depends_on(branch));
    }
    answer.because.clone()
}

/// `it depends on whether filter/INPUT/3 matches`.
fn depends_on(branch: &Branch) -> String {
    let what: Vec<&str> = branch.when.iter().map(|(what, _)| what.as_str()).collect();
    format!("it depends on whether {}", what.join(", and whether "))
}

/// Whether what a branch takes to be so is a matter of chance, rates or history, and so does
/// happen: the rule is known, and nothing of it is not modelled. Its name tells no family: it is one
/// of the packet's own, else of what docker-proxy opens in its place.
fn is_chance(system: &System, family: Family, what: &str) -> bool {
    let name = what.strip_suffix(" matches").or_else(|| what.strip_suffix(" drops the packet"));
    let Some(name) = name else { return false };
    // Words may stand in front: whose packet it is about.
    let name = name.rsplit(' ').next().unwrap_or(name);
    let mut parts = name.split('/');
    let (Some(table), Some(chain), Some(number), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(number) = number.parse::<usize>() else { return false };
    let index = number.saturating_sub(1);
    let named = |own: bool| {
        let chains = system.rules.chains.iter().filter(move |known| {
            known.table.as_str() == table
                && *known.name == *chain
                && own == (known.family == family)
        });
        chains.filter_map(move |chain| chain.rules.get(index)).peekable()
    };
    let mut rules = named(true);
    if rules.peek().is_none() {
        rules = named(false);
    }
    let chance = |condition: &Condition| {
        let Condition::Undecided(why) = condition else { return false };
        matches!(why, Undecided::Chance { .. } | Undecided::Count { .. })
    };
    let other = |condition: &Condition| {
        matches!(
            condition,
            Condition::Undecided(Undecided::Unsupported | Undecided::InterfacesNotShown)
        )
    };
    rules.peek().is_some()
        && rules
            .all(|rule| rule.conditions.iter().any(chance) && !rule.conditions.iter().any(other))
}

#[cfg(test)]
mod tests {
    use nattrace_model::build::{Text, load};

    use super::*;

    #[test]
    fn a_rule_of_the_other_family_has_the_same_name() {
        let rules =
            |rule: &str| format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {rule} -j DROP\nCOMMIT\n");
        let (own, other) = (rules("-m statistic --mode random --probability 0.5"), rules("-p tcp"));
        let parts = [
            Text { name: "iptables-save", text: &own },
            Text { name: "ip6tables-save", text: &other },
        ];
        let system = load(&parts, &[]).system;
        let what = "filter/INPUT/1 matches";
        assert!(is_chance(&system, Family::Ipv4, what));
        assert!(!is_chance(&system, Family::Ipv6, what));
        // What docker-proxy opens may be of the other one.
        let alone = load(&parts[..1], &[]).system;
        assert!(is_chance(&alone, Family::Ipv6, what));
    }
}
