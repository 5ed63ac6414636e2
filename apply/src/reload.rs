//! Edits that are loaded again behind a start of Docker or of the host: what is missing comes back,
//! what was overtaken goes in front again, and nothing is loaded twice.

use std::net::IpAddr;

use nattrace_parser::syntax::TableName;

use crate::change::{At, Step, TableChange, forms, gap, tagged};
use crate::command;
use crate::commit::{commit, finds};
use crate::decision::DecideError;
use crate::own::{self, OwnTable};
use crate::plan::Op;
use crate::saved::{Command, Forms, Saved, Table, count, removal};
use crate::state::State;

/// Loads again what is missing of a confirmed transaction, and nothing twice. What was done is
/// returned, one line a table.
///
/// # Errors
///
/// Where there is no such transaction, or the rules can't be loaded.
pub fn load_again(state: &State, id: &str) -> Result<Vec<String>, DecideError> {
    if !state.exists() {
        return Err(DecideError::Unknown(id.to_owned()));
    }
    let lock = state.lock()?;
    let journal = state.kept(id)?.ok_or_else(|| DecideError::Unknown(id.to_owned()))?;
    let mut done = Vec::new();
    for change in &journal.changes {
        let name = change.at.name();
        let loaded = lock.lend(|| load_table_again(id, change));
        match loaded.map_err(|cause| crate::RollbackError::Rules { at: name.clone(), cause })? {
            0 => done.push(format!("{name}: everything is there")),
            1 => done.push(format!("{name}: 1 change")),
            number => done.push(format!("{name}: {number} changes")),
        }
    }
    Ok(done)
}

fn load_table_again(id: &str, change: &TableChange) -> Result<usize, String> {
    let text = |error: command::CommandError| error.to_string();
    match change.at {
        At::Iptables(store, name) => {
            let mut table = Saved::read(&store.read().map_err(text)?).table(name);
            let forms = forms(store, name, finds);
            let commands = missing(id, &change.steps, &mut table, &forms)?;
            if !commands.is_empty() {
                commit(store, name, &commands)?;
            }
            Ok(commands.len())
        }
        At::Own(family) => {
            let now = OwnTable::read(family).map_err(text)?.unwrap_or_default();
            let is_missing = |step: &&Step| now.handle(id, step.number).is_none();
            let steps: Vec<Step> = change.steps.iter().filter(is_missing).cloned().collect();
            if !steps.is_empty() {
                let script = own::skeleton(family) + &own::rules(family, &steps);
                command::feed("nft", &["-f", "-"], &script).map_err(text)?;
            }
            Ok(steps.len())
        }
    }
}

/// One thing that is to be done about an edit.
type Look = fn(&str, &Step, &[String], &Forms) -> Vec<Command>;

/// The commands that bring back what is missing of the edits of a table.
fn missing(
    id: &str,
    steps: &[Step],
    table: &mut Table,
    forms: &Forms,
) -> Result<Vec<Command>, String> {
    let mut all = Vec::new();
    // What goes can't be in anybody's way: what was overtaken is looked at behind that.
    let looks: [Look; 2] = [next, forward];
    for (step, look) in looks.iter().flat_map(|look| steps.iter().map(move |step| (step, look))) {
        let no_chain = || format!("there is no chain `{}`", step.chain);
        loop {
            let rules = table.rules(&step.chain).ok_or_else(no_chain)?;
            let commands = look(id, step, rules, forms);
            for command in &commands {
                table.run(command, forms).map_err(|error| error.to_string())?;
            }
            if commands.is_empty() {
                break;
            }
            all.extend(commands);
        }
    }
    Ok(all)
}

/// One thing that an edit lacks; nothing where it is as it should be.
fn next(id: &str, step: &Step, rules: &[String], forms: &Forms) -> Vec<Command> {
    let chain = &step.chain;
    let ours = step.new.as_ref().and_then(|_| tagged(rules, id, step.number));
    let all: Vec<String> = rules.iter().map(|rule| forms.of(rule)).collect();
    let old = step.old.as_ref().map(|old| forms.of(old));
    let returned = step.old.as_ref().filter(|old| count(rules, forms, old) > step.alike);
    let returned = returned.and_then(|_| all.iter().position(|rule| Some(rule) == old.as_ref()));
    match (&step.new, ours, returned) {
        (Some(new), None, _) => {
            let listed: Vec<&str> = all.iter().map(String::as_str).collect();
            let index = match (step.op, returned) {
                (_, Some(index)) => index,
                (Op::Append, None) if step.behind.is_empty() => rules.len(),
                (_, None) => gap(&listed, &step.before, &step.behind),
            };
            let (chain, rule) = (chain.clone(), new.clone());
            vec![Command::Insert { chain, position: index + 1, rule }]
        }
        (_, _, Some(index)) => removal(rules, index, chain, forms),
        (_, _, None) => Vec::new(),
    }
}

/// What puts the rule of an edit in front of one that overtook it; nothing where none did.
fn forward(id: &str, step: &Step, rules: &[String], forms: &Forms) -> Vec<Command> {
    let Some(new) = &step.new else { return Vec::new() };
    let Some(index) = tagged(rules, id, step.number) else { return Vec::new() };
    let all: Vec<String> = rules.iter().map(|rule| forms.of(rule)).collect();
    let Some(front) = overtaker(forms.table, step, &all, index) else { return Vec::new() };
    let mut commands = removal(rules, index, &step.chain, forms);
    let (chain, position) = (step.chain.clone(), front + 1);
    commands.push(Command::Insert { chain, position, rule: new.clone() });
    commands
}

/// Where a rule that its owner inserted anew stands in front of ours: the one before which ours was
/// put, or one of Docker's own for packets that ours is about.
fn overtaker(table: TableName, step: &Step, rules: &[String], ours: usize) -> Option<usize> {
    let before = rules.iter().take(ours);
    let mut new = before.enumerate().filter(|(_, rule)| !step.before.contains(rule));
    let behind = step.behind.first().filter(|_| step.op == Op::Insert);
    let source = step.new.as_deref().map(source_of);
    let is_dockers = |rule: &str| {
        let masqueraded = translated_by_docker(rule).filter(|_| table == TableName::Nat);
        masqueraded.is_some_and(|net| source.flatten().is_none_or(|own| overlap(net, own)))
    };
    new.find(|(_, rule)| Some(*rule) == behind || is_dockers(rule)).map(|(place, _)| place)
}

/// An address and how many bits of it count.
type Net = (IpAddr, u32);

/// The network of which a rule of Docker's translates the sources:
/// `-s NET ! -o BRIDGE -j MASQUERADE`, or SNAT where the network has an address of its own.
fn translated_by_docker(rule: &str) -> Option<Net> {
    let words: Vec<&str> = rule.split(' ').collect();
    let ["-A", "POSTROUTING", "-s", net, "!", "-o", _, "-j", "MASQUERADE" | "SNAT", ..] =
        words.as_slice()
    else {
        return None;
    };
    read_net(net)
}

/// The sources that a rule is about; `None` where it is about any.
fn source_of(rule: &str) -> Option<Net> {
    let (before, rest) = rule.split_once(" -s ")?;
    let net = rest.split(' ').next().unwrap_or(rest);
    read_net(net).filter(|_| !before.ends_with(" !"))
}

fn read_net(text: &str) -> Option<Net> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse().ok()?, bits.parse().ok()?),
        None => (text.parse().ok()?, 128),
    };
    Some((address, bits))
}

/// Whether two networks have an address in common.
fn overlap(one: Net, other: Net) -> bool {
    let bits = one.1.min(other.1);
    match (one.0, other.0) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32_u32.saturating_sub(bits);
            a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let shift = 128_u32.saturating_sub(bits);
            a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERS: &str = "-A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE";
    const OTHERS: &str = "-A POSTROUTING -s 172.19.0.0/16 ! -o br1 -j MASQUERADE";
    const HAND: &str = "-A POSTROUTING -s 172.18.0.0/16 -d 10.0.0.0/8 -j ACCEPT";

    fn step(op: Op, rule: &str, before: &[&str], behind: &[&str]) -> Step {
        let owned = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect();
        Step {
            number: 1,
            chain: "POSTROUTING".into(),
            op,
            new: Some(rule.to_owned()),
            old: None,
            alike: 0,
            before: owned(before),
            behind: owned(behind),
        }
    }

    #[track_caller]
    fn check(step: &Step, rules: &[&str], expected: Option<usize>) {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        let ours = rules.iter().position(|rule| Some(rule) == step.new.as_ref()).unwrap();
        assert_eq!(overtaker(TableName::Nat, step, &rules, ours), expected, "{rules:?}");
    }

    #[test]
    fn a_rule_of_dockers_for_the_same_packets_goes_behind_ours() {
        let ours = "-A POSTROUTING -s 172.18.0.2/32 -o eth0 -j SNAT --to-source 203.0.113.11";
        let replaced = step(Op::Replace, ours, &[], &[OTHERS]);
        check(&replaced, &[DOCKERS, ours, OTHERS], Some(0));
        check(&replaced, &[ours, DOCKERS, OTHERS], None);
        // Of other packets, of a hand, or where it stood in front before: it stays.
        check(&replaced, &[OTHERS, ours], None);
        check(&replaced, &[HAND, ours], None);
        check(&replaced, &[HAND, DOCKERS, ours], Some(1));
        check(&step(Op::Append, ours, &[DOCKERS], &[]), &[DOCKERS, ours], None);
        let any = "-A POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.11";
        check(&step(Op::Append, any, &[], &[]), &[OTHERS, any], Some(0));
        let not = "-A POSTROUTING ! -s 10.0.0.0/8 -o eth0 -j SNAT --to-source 203.0.113.11";
        check(&step(Op::Append, not, &[], &[]), &[OTHERS, not], Some(0));
    }

    #[test]
    fn networks_overlap_or_not() {
        let net = |text: &str| read_net(text).unwrap();
        for (one, other, expected) in [
            ("172.18.0.0/16", "172.18.3.4", true),
            ("172.18.0.0/16", "172.19.0.0/16", false),
            ("0.0.0.0/0", "172.19.0.0/16", true),
            ("fd00:1::/64", "fd00:1::2/128", true),
            ("fd00:1::/64", "fd00:2::/64", false),
            ("::/0", "10.0.0.0/8", false),
        ] {
            assert_eq!(overlap(net(one), net(other)), expected, "{one} {other}");
            assert_eq!(overlap(net(other), net(one)), expected, "{other} {one}");
        }
    }
}
