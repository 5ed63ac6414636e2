//! Rules by hand that were meant for the packet and miss it: by a prefix that is too narrow, or by
//! an interface that nobody has.

use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, InterfacePattern, PortSide, Sense};
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Negatable, TableName};

use super::super::change::Candidate;
use super::super::evidence::{Evidence, Seen};
use super::super::owner::is_by_hand;
use super::super::wording::reworded;
use super::candidate;
use super::source::mask;

/// What of a rule has to be another.
enum Miss {
    /// `-s` is narrower than the senders that the entry is about.
    Source(Prefix),
    /// `-i` names an interface that is not there.
    In(String),
    /// `-o` does.
    Out(String),
}

/// The rules of a table that do what is needed, put right.
pub(super) fn of(
    evidence: &Evidence<'_>,
    seen: &Seen,
    table: TableName,
    does: impl Fn(&Target) -> bool,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (index, chain) in (0u32..).zip(&evidence.system.rules.chains) {
        if chain.family != evidence.family() || chain.table != table {
            continue;
        }
        for (number, rule) in (0u32..).zip(&chain.rules).filter(|(_, rule)| does(&rule.target)) {
            let id = RuleId { chain: ChainId(index), index: number };
            if let Some(misses) = misses(evidence, seen, rule)
                && is_by_hand(evidence, id)
            {
                found.extend(put_right(evidence, id, table, &misses));
            }
        }
    }
    found
}

/// In what a rule misses the packet; `None` where it asks for another one.
fn misses(evidence: &Evidence<'_>, seen: &Seen, rule: &Rule) -> Option<Vec<Miss>> {
    let mut misses = Vec::new();
    for condition in &rule.conditions {
        match condition {
            Condition::Source(Sense::Is, own) if !own.contains(evidence.answer.flow.source) => {
                let meant = evidence.senders()?;
                let is_part = own.length() > meant.length() && meant.contains(own.network());
                // Who names one address means it.
                if !is_part || own.is_single() {
                    return None;
                }
                misses.push(Miss::Source(meant));
            }
            Condition::InInterface(Sense::Is, own) => {
                let met = seen.in_interface.as_deref()?;
                if !own.matches(met) {
                    misses.push(Miss::In(nobodys(evidence, own, met)?));
                }
            }
            Condition::OutInterface(Sense::Is, own) => {
                let met = seen.out_interface.as_deref()?;
                if !own.matches(met) {
                    misses.push(Miss::Out(nobodys(evidence, own, met)?));
                }
            }
            Condition::Destination(sense, own) if !sense.apply(own.contains(seen.destination)) => {
                return None;
            }
            Condition::Protocol(sense, own) if !sense.apply(*own == seen.protocol) => return None,
            Condition::Port(sense, PortSide::Destination, first, last) => {
                let port = seen.port?;
                if !sense.apply((*first..=*last).contains(&port)) {
                    return None;
                }
            }
            _ => {}
        }
    }
    (!misses.is_empty()).then_some(misses)
}

/// The interface that is met, where a rule names one that is not there: the name of an address
/// (`eth0:1`) among them, which no packet ever has.
fn nobodys(evidence: &Evidence<'_>, own: &InterfacePattern, met: &str) -> Option<String> {
    let interfaces = &evidence.system.host.interfaces;
    let known = interfaces.iter().any(|interface| own.matches(&interface.name));
    (!known && !interfaces.is_empty()).then(|| met.to_owned())
}

fn put_right(
    evidence: &Evidence<'_>,
    id: RuleId,
    table: TableName,
    misses: &[Miss],
) -> Option<Candidate> {
    let (_, rule) = evidence.rule(id)?;
    let anchor = evidence.instead(id)?;
    let text = evidence.system.rules.text(rule);
    let named = |name: &str| Some(Negatable { negated: false, value: name.to_owned().into() });
    let mut why = Vec::new();
    let new = reworded(text, evidence.family(), table, |rule| {
        for miss in misses {
            match miss {
                Miss::Source(prefix) => {
                    rule.source = mask(prefix).map(|value| Negatable { negated: false, value });
                }
                Miss::In(name) => rule.in_interface = named(name),
                Miss::Out(name) => rule.out_interface = named(name),
            }
        }
    })?;
    for miss in misses {
        why.push(match miss {
            Miss::Source(prefix) => format!("is about fewer senders than {prefix}"),
            Miss::In(_) | Miss::Out(_) => "names an interface that is not there".to_owned(),
        });
    }
    Some(candidate(&anchor, new, &why.join(" and "), 3))
}
