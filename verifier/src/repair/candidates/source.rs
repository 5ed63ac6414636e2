//! Rules that decide about the source that packets leave with.

use std::net::IpAddr;

use nattrace_model::address::is_internet;
use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Negatable, TableName};

use super::super::Placement;
use super::super::anchor::Anchor;
use super::super::change::{Candidate, Change};
use super::super::evidence::{Evidence, Seen};
use super::super::owner::is_by_hand;
use super::super::scope::{Worded, single};
use super::super::wording::{Wording, is, retargeted, reworded, uncommented};
use super::{candidate, deletion, meant, new_rule};
use crate::policy::{AddressSet, Demand, Unchanged};

/// How many of the sources that a policy names are tried.
const MOST_SOURCES: usize = 4;

/// What gives packets the source that they have to leave with.
pub(super) fn of(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let Demand::Leaves { sources, unchanged, .. } = &evidence.case.question.demand else {
        return Vec::new();
    };
    let seen = evidence.at_end();
    let mut found = Vec::new();
    if *unchanged == Unchanged::Allowed || sources.contains(evidence.answer.flow.source) {
        found.extend(left_alone(evidence, &seen));
    }
    for source in chosen(evidence, sources, &seen) {
        found.extend(translated(evidence, &seen, source));
    }
    found
}

/// The addresses to translate to: the host's own first, since answers come back to them.
fn chosen(evidence: &Evidence<'_>, sources: &AddressSet, seen: &Seen) -> Vec<IpAddr> {
    let host = &evidence.system.host;
    let mut own: Vec<IpAddr> = Vec::new();
    for at_exit in [true, false] {
        for interface in &host.interfaces {
            if (seen.out_interface.as_deref() == Some(interface.name.as_str())) == at_exit {
                let addresses = interface.addresses.iter().map(|address| address.local);
                own.extend(addresses.filter(|address| sources.contains(*address)));
            }
        }
    }
    if own.is_empty() {
        own.extend(sources.first());
    }
    own.truncate(MOST_SOURCES);
    own
}

/// The built-in chain that translates sources, before what translated the packet.
fn anchor(evidence: &Evidence<'_>, seen: &Seen) -> Option<(Anchor, Option<RuleId>)> {
    match evidence.translator() {
        Some((rule, top)) => Some((evidence.before_rule(top)?, Some(rule))),
        None => {
            let hook = match seen.out_interface {
                Some(_) => Hook::Postrouting,
                None => Hook::Input,
            };
            // What lets packets pass untranslated has to come later.
            let passed = evidence.passed(hook, TableName::Nat);
            let before =
                passed.and_then(|(index, by)| evidence.before(evidence.steps(), index, by));
            Some((before.unwrap_or_else(|| evidence.built_in(TableName::Nat, hook)), None))
        }
    }
}

/// Rules that translate to a source.
fn translated(evidence: &Evidence<'_>, seen: &Seen, source: IpAddr) -> Vec<Candidate> {
    let Some((anchor, by)) = anchor(evidence, seen) else { return Vec::new() };
    let target = format!("SNAT --to-source {source}");
    let was = seen.source;
    let because = match by {
        Some(rule) => {
            format!("goes before {}, which makes {was} of the source", evidence.name(rule))
        }
        None => format!("nothing translates these packets, they leave as {was}"),
    };
    let mut found = Vec::new();
    for (wording, breadth) in evidence.leaving(seen) {
        found.extend(placed(
            evidence,
            &anchor,
            wording.to(target.as_str()),
            &because,
            10 + breadth,
        ));
    }
    if evidence.placement != Placement::Nft {
        let gives = |target: &Target| matches!(target, Target::Snat(range, _) if range.addresses == Some((source, source)));
        found.extend(meant::of(evidence, seen, TableName::Nat, gives));
    }
    let Some(rule) = by.filter(|_| evidence.placement != Placement::Nft) else { return found };
    found.extend(moved(evidence, &anchor, source, seen));
    let because = format!("makes {was} of the source");
    let dislike = if is_by_hand(evidence, rule) { 4 } else { 30 };
    for (text, breadth) in kept(evidence, rule, seen) {
        found.extend(in_place(evidence, rule, &text, Some(&target), &because, dislike + breadth));
    }
    if is_by_hand(evidence, rule)
        && let Some(instead) = evidence.instead(rule)
    {
        let dislike = if has_another_target(evidence, rule) { 2 } else { 18 };
        found.extend(deletion(&instead, &because, dislike));
    }
    found
}

/// Whether a rule behind this one asks for the same packets: then this one is in its way.
pub(super) fn has_another_target(evidence: &Evidence<'_>, rule: RuleId) -> bool {
    let Some((chain, own)) = evidence.rule(rule) else { return false };
    let asked = |rule: &Rule| {
        let text = evidence.system.rules.text(rule);
        let plain = reworded(text, evidence.family(), TableName::Nat, uncommented)?;
        Some(plain.rsplit_once(" -j ")?.0.to_owned())
    };
    let Some(same) = asked(own) else { return false };
    let mut behind = chain.rules.iter().skip(rule.index as usize + 1);
    behind.any(|other| asked(other).as_ref() == Some(&same))
}

/// A rule about a source where it was asked for: in iptables, or in a table of our own.
fn placed(
    evidence: &Evidence<'_>,
    anchor: &Anchor,
    wording: Wording,
    because: &str,
    dislike: u32,
) -> Option<Candidate> {
    if evidence.placement != Placement::Nft || anchor.place.chain != Hook::Postrouting.as_str() {
        return new_rule(evidence, anchor, &wording, because, dislike);
    }
    let native = wording.native(evidence.family())?;
    let rule = wording.rule(evidence.family(), TableName::Nat, Hook::Postrouting.as_str())?;
    let mut found = candidate(&evidence.own_table(), rule, because, dislike);
    if let Change::Rule(change) = &mut found.change {
        change.native = Some(native);
    }
    Some(found)
}

/// The words of the rule that translated the packet, as it is and with `! -o` its own bridge.
fn kept(evidence: &Evidence<'_>, rule: RuleId, seen: &Seen) -> Vec<(String, u32)> {
    let Some((_, known)) = evidence.rule(rule) else { return Vec::new() };
    let text = evidence.system.rules.text(known).to_owned();
    let names_exit = known.conditions.iter().any(|c| matches!(c, Condition::OutInterface(..)));
    let bridge =
        evidence.bridge_behind().filter(|bridge| Some(*bridge) != seen.out_interface.as_deref());
    let mut found = Vec::new();
    if let Some(bridge) = bridge.filter(|_| !names_exit) {
        let restored = reworded(&text, evidence.family(), TableName::Nat, |rule| {
            rule.out_interface = Some(Negatable { negated: true, value: bridge.to_owned().into() });
        });
        found.extend(restored.map(|text| (text, 0)));
    }
    found.push((text, 2));
    found
}

/// A rule in the place of the one that translated the packet.
fn in_place(
    evidence: &Evidence<'_>,
    rule: RuleId,
    text: &str,
    target: Option<&str>,
    because: &str,
    dislike: u32,
) -> Option<Candidate> {
    let anchor = evidence.instead(rule)?;
    let family = evidence.family();
    let bare = reworded(text, family, TableName::Nat, uncommented)?;
    let new = match target {
        Some(target) => retargeted(&bare, family, TableName::Nat, target)?,
        None => bare,
    };
    Some(candidate(&anchor, new, because, dislike))
}

/// A rule that somebody wrote for just this, where it never gets its packets: moved to where it
/// does.
fn moved(evidence: &Evidence<'_>, anchor: &Anchor, source: IpAddr, seen: &Seen) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (chain, known) in evidence
        .system
        .rules
        .chains
        .iter()
        .flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule)))
    {
        let here = chain.family == evidence.family()
            && chain.table == TableName::Nat
            && *chain.name == *anchor.place.chain;
        let Target::Snat(range, _) = &known.target else { continue };
        if !here || range.addresses != Some((source, source)) || !is_about(known, evidence, seen) {
            continue;
        }
        let text = evidence.system.rules.text(known);
        let because = format!("stands behind what takes its packets first ({text})");
        let plain = reworded(text, evidence.family(), TableName::Nat, uncommented);
        found.extend(plain.map(|rule| candidate(anchor, rule, &because, 6)));
    }
    found
}

/// Whether a rule names the packet, as far as addresses and interfaces tell.
fn is_about(rule: &Rule, evidence: &Evidence<'_>, seen: &Seen) -> bool {
    rule.conditions.iter().all(|condition| match condition {
        Condition::Source(sense, prefix) => {
            sense.apply(prefix.contains(evidence.answer.flow.source))
        }
        Condition::Destination(sense, prefix) => sense.apply(prefix.contains(seen.destination)),
        Condition::OutInterface(sense, pattern) => {
            sense.apply(pattern.matches(seen.out_interface.as_deref().unwrap_or("")))
        }
        _ => true,
    })
}

/// What keeps packets from being translated.
fn left_alone(evidence: &Evidence<'_>, seen: &Seen) -> Vec<Candidate> {
    let Some((rule, top)) = evidence.translator() else { return Vec::new() };
    let Some(anchor) = evidence.before_rule(top) else { return Vec::new() };
    let because =
        format!("{} makes {} of a source that has to stay", evidence.name(rule), seen.source);
    let mut found = Vec::new();
    for (wording, breadth) in evidence.leaving(seen) {
        let accept = wording.to("ACCEPT");
        found.extend(new_rule(evidence, &anchor, &accept, &because, 10 + breadth));
    }
    if !is_by_hand(evidence, rule) {
        return found;
    }
    let Some((_, known)) = evidence.rule(rule) else { return found };
    let text = evidence.system.rules.text(known).to_owned();
    let asks = |wanted: fn(&Condition) -> bool| known.conditions.iter().any(wanted);
    let family = evidence.family();
    let out = seen.out_interface.clone().filter(|out| evidence.is_bridge(out));
    // `! -o` of a bridge on which the network is not excepts the wrong packets.
    let mistaken = out.as_deref() == evidence.bridge_behind()
        && asks(|c| matches!(c, Condition::OutInterface(Sense::IsNot, _)));
    let names_none = !asks(|c| matches!(c, Condition::OutInterface(..)));
    if let Some(out) = out.filter(|_| mistaken || names_none) {
        let restored = reworded(&text, family, TableName::Nat, |rule| {
            rule.out_interface = Some(Negatable { negated: true, value: out.into() });
        });
        let dislike = if mistaken { 0 } else { 3 };
        found.extend(
            restored.and_then(|text| in_place(evidence, rule, &text, None, &because, dislike)),
        );
    }
    let excepted = evidence.receivers(seen).unwrap_or_else(|| single(seen.destination));
    if !asks(|c| matches!(c, Condition::Destination(Sense::Is | Sense::IsNot, p) if p.length() > 0))
    {
        let except = reworded(&text, family, TableName::Nat, |rule| {
            rule.destination = mask(&excepted).map(|value| Negatable { negated: true, value });
        });
        let dislike = if mistaken { 30 } else { 5 };
        found.extend(
            except.and_then(|text| in_place(evidence, rule, &text, None, &because, dislike)),
        );
    }
    if let Some(instead) = evidence.instead(rule) {
        found.extend(deletion(&instead, &because, 12));
    }
    found
}

/// A prefix as syntax has it.
pub(super) fn mask(
    prefix: &nattrace_model::address::Prefix,
) -> Option<nattrace_parser::syntax::AddressMask> {
    use nattrace_model::address::Prefix;
    use nattrace_parser::syntax::AddressMask;
    Some(match prefix {
        Prefix::V4(network, mask) => AddressMask::V4(*network, *mask),
        Prefix::V6(both) => AddressMask::V6(both.0, both.1),
    })
}

/// What masquerades packets whose answer would not find its way back, and those that a neighbour
/// would answer to directly.
pub(super) fn masquerade(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let answer = evidence.answer;
    let leaves = matches!(answer.verdict, Verdict::Forwarded | Verdict::Bridged);
    let unanswered = answer.outcome != Outcome::Connects
        && answer
            .reply
            .as_ref()
            .is_none_or(|reply| !matches!(reply.verdict, Verdict::Dropped | Verdict::Rejected));
    let seen = evidence.at_end();
    if !leaves || !unanswered || seen.out_interface.is_none() {
        return Vec::new();
    }
    let Some((anchor, by)) = anchor(evidence, &seen) else { return Vec::new() };
    let to = seen.destination;
    let because = no_way_back(evidence, &seen);
    if seen.redirected && seen.in_interface == seen.out_interface {
        return hairpin(evidence, &anchor, &seen);
    }
    let mut found = Vec::new();
    if evidence.placement != Placement::Nft {
        let masquerades = |target: &Target| matches!(target, Target::Masquerade(..));
        found.extend(meant::of(evidence, &seen, TableName::Nat, masquerades));
    }
    if let Some(rule) = by.filter(|rule| is_by_hand(evidence, *rule)) {
        let why = format!("makes {} of the source, to which {to} has no way back", seen.source);
        for (text, breadth) in kept(evidence, rule, &seen) {
            found.extend(in_place(evidence, rule, &text, Some("MASQUERADE"), &why, 5 + breadth));
        }
        if has_another_target(evidence, rule)
            && let Some(instead) = evidence.instead(rule)
        {
            found.extend(deletion(&instead, &why, 2));
        }
    }
    if seen.redirected {
        found.extend(led_there(evidence, &anchor, &seen, &because));
    }
    let dislike = if by.is_some() { 14 } else { 10 };
    // What is led to one port of one address needs nothing that rewrites all that goes there.
    let dislike = if seen.redirected { dislike + 100 } else { dislike };
    for (wording, breadth) in evidence.leaving(&seen) {
        // Who may go out by one port needs an address for all of them.
        let all = Wording { protocol: None, ports: None, ..wording.clone() };
        let narrow = (all != wording).then_some((wording, breadth + 30));
        for (wording, breadth) in [(all, breadth)].into_iter().chain(narrow) {
            let masquerade = wording.to("MASQUERADE");
            found.extend(placed(evidence, &anchor, masquerade, &because, dislike + breadth));
        }
    }
    found
}

/// Why the answer is lost, and that nobody knows it for certain where a machine on a wire may have
/// this host as its router.
fn no_way_back(evidence: &Evidence<'_>, seen: &Seen) -> String {
    let lost = format!("{} has no way back to {}", seen.destination, seen.source);
    let out = seen.out_interface.as_deref().unwrap_or("");
    let machine = !is_internet(seen.destination) && !evidence.is_bridge(out);
    match machine && evidence.answer.flow.in_interface.is_some() {
        true => format!(
            "{lost} that any part tells of; where this host is its router, `routes` of a zone says \
             so, and no rule is needed"
        ),
        false => lost,
    }
}

/// What was led to a port of one address, and nothing else that goes there.
fn led_there(
    evidence: &Evidence<'_>,
    anchor: &Anchor,
    seen: &Seen,
    because: &str,
) -> Option<Candidate> {
    let port = seen.port?;
    let wording = Wording {
        source: evidence.senders().and_then(is),
        destination: is(single(seen.destination)),
        protocol: Some(seen.protocol),
        ports: Some((port, port)),
        out_interface: seen.out_interface.clone().and_then(is),
        ..Wording::default()
    };
    placed(evidence, anchor, wording.to("MASQUERADE"), because, 10)
}

/// A connection from a network to itself by an address of the host: the answer has to come back
/// through the host.
fn hairpin(evidence: &Evidence<'_>, anchor: &Anchor, seen: &Seen) -> Vec<Candidate> {
    let because = "the answer has to come back through this host, which translates it";
    let ported = seen.port.is_some();
    let base = Wording {
        source: evidence.senders().or_else(|| Some(single(seen.source))).and_then(is),
        destination: is(single(seen.destination)),
        protocol: ported.then_some(seen.protocol),
        ports: seen.port.map(|port| (port, port)),
        out_interface: seen.out_interface.clone().and_then(is),
        ..Wording::default()
    };
    let variants: [Worded; 2] =
        [(base.clone(), 0), (Wording { protocol: None, ports: None, ..base }, 4)];
    variants
        .into_iter()
        .filter_map(|(wording, breadth)| {
            let wording = wording.to("MASQUERADE");
            new_rule(evidence, anchor, &wording, because, 10 + breadth)
        })
        .collect()
}
