//! What two hosts do differently: for a person, in a line each, and to the letter of CLI.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Rewrite, Step};
use nattrace_model::flow::FlowState;
use nattrace_model::packet::Packet;
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_parser::policy::Families;
use nattrace_parser::syntax::Policy;
use nattrace_verifier::diff::{Aspect, Being, Change, Comparison, Rarity, Rewritten, Status};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use super::check::family_name;
use super::context::Context;
use super::json::{self, Layout};
use super::{concise, names, words};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const OPEN: Style = AnsiColor::Yellow.on_default().bold();

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/diff/1";

/// How many changes are told to a person.
const MOST_TOLD: usize = 20;

/// Two hosts, and what came of the comparison.
pub(crate) struct Compared<'a> {
    /// The earlier one.
    pub(crate) before: &'a System,
    /// The later one.
    pub(crate) after: &'a System,
    /// What they do differently.
    pub(crate) comparison: &'a Comparison,
}

/// The word for a status.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::Changed => "changed",
        Status::Undetermined => "undetermined",
    }
}

/// What something was, or is now.
fn being_words(all: &[Being]) -> String {
    let words: Vec<String> = all.iter().map(one_being).collect();
    words.join(" or ")
}

fn one_being(being: &Being) -> String {
    match being {
        Being::Outcome(outcome) => names::outcome(*outcome).to_owned(),
        Being::Verdict(verdict) => names::verdict(*verdict).to_owned(),
        Being::End { address: None, port: None } => "unchanged".to_owned(),
        Being::End { address: None, port: Some(port) } => format!("port {port}"),
        Being::End { address: Some(Rewritten::To(address)), port } => {
            words::socket(*address, *port)
        }
        Being::End { address: Some(Rewritten::Into(prefix)), port: None } => prefix.clone(),
        Being::End { address: Some(Rewritten::Into(prefix)), port: Some(port) } => {
            format!("{prefix} port {port}")
        }
        Being::End { address: Some(Rewritten::Exchanged), .. } => "the other end".to_owned(),
        Being::RandomPort => "a random port".to_owned(),
        Being::UnknownSource => "an unknown address".to_owned(),
        Being::Interface(Some(name)) => words::visible(name),
        Being::Interface(None) => "this host".to_owned(),
        Being::Mark(mark) => format!("{mark:#x}"),
        Being::Header(ttl, tos) => format!("ttl {ttl} tos {tos:#04x}"),
        Being::Nowhere => "nowhere".to_owned(),
    }
}

/// `was connects, now timeout`, or `source was 192.0.2.1, now 192.0.2.2`.
fn change_words(change: &Change) -> String {
    let (before, after) = (being_words(&change.before), being_words(&change.after));
    if change.status == Status::Undetermined && before == after {
        return format!("was {before}, and nobody knows whether it is the same now");
    }
    let what = match change.aspect {
        Aspect::Outcome => "",
        other => other.as_str(),
    };
    let gap = if what.is_empty() { "" } else { " " };
    format!("{what}{gap}was {before}, now {after}")
}

/// What is to be known of the packets besides.
fn remarks(change: &Change) -> String {
    let mut remarks: Vec<&str> = Vec::new();
    if change.families != Families::Both {
        remarks.push(family_name(change.families));
    }
    if change.state != FlowState::New {
        remarks.push(names::state(change.state));
    } else if change.rarity == Rarity::Odd {
        remarks.push("odd packets");
    }
    if remarks.is_empty() { String::new() } else { format!(" [{}]", remarks.join(", ")) }
}

impl Compared<'_> {
    fn changes(&self) -> &[Change] {
        &self.comparison.changes
    }

    fn is_equal(&self) -> bool {
        self.changes().is_empty() && self.comparison.left.is_empty()
    }

    /// Those that a person is told of, and how many others there are.
    fn told(&self, all: bool) -> (Vec<&Change>, usize) {
        let usual: Vec<&Change> =
            self.changes().iter().filter(|change| change.rarity == Rarity::Usual).collect();
        let told: Vec<&Change> = match all || usual.is_empty() {
            true => self.changes().iter().collect(),
            false => usual,
        };
        let others = self.changes().len() - told.len();
        (told, others)
    }

    fn summary(&self, all: bool) -> String {
        let count = |status| self.changes().iter().filter(|change| change.status == status).count();
        let (sure, open) = (count(Status::Changed), count(Status::Undetermined));
        let plural = |many: usize| if many == 1 { "" } else { "s" };
        let mut text = match (sure, open) {
            (0, 0) if self.comparison.left.is_empty() => {
                "no packet is treated differently".to_owned()
            }
            (0, 0) => "no packet is known to be treated differently".to_owned(),
            (sure, 0) => format!("{sure} change{}", plural(sure)),
            (sure, open) => format!("{sure} change{}, {open} undetermined", plural(sure)),
        };
        if !self.comparison.left.is_empty() {
            text.push_str(match sure == 0 || all {
                true => "; not all odd packets were compared",
                false => "; odd packets were not all compared (`nattrace diff --all` tells more)",
            });
        }
        text.push('\n');
        text
    }
}

/// A line for each change.
pub(crate) fn concise(compared: &Compared<'_>, all: bool) -> String {
    let (told, others) = compared.told(all);
    let mut text = String::new();
    for change in told {
        let open = match change.status {
            Status::Changed => String::new(),
            Status::Undetermined => format!("{OPEN}undetermined{OPEN:#} "),
        };
        let (from, to) = (words::visible(&change.from), words::visible(&change.to));
        let _ = writeln!(
            text,
            "{open}{BOLD}{from} -> {to}{BOLD:#}: {}{} [{}]",
            change_words(change),
            remarks(change),
            packet_words(compared, change)
        );
    }
    if others > 0 {
        let _ = writeln!(text, "and {others} more about odd packets (`nattrace diff --all`)");
    }
    text + &compared.summary(all)
}

/// What changes beside what was asked for: a line for what differs in where packets go only, so
/// many at most.
pub(crate) fn beside(compared: &Compared<'_>, most: usize) -> Vec<String> {
    let (told, others) = compared.told(false);
    let gathered = gathered(&told);
    let mut lines: Vec<String> = Vec::new();
    for (change, to) in gathered.iter().take(most) {
        let open = match change.status {
            Status::Changed => "",
            Status::Undetermined => "undetermined: ",
        };
        let (from, packet) = (words::visible(&change.from), packet_words(compared, change));
        let what = change_words(change);
        lines.push(format!("{open}{from} -> {to}: {what}{} [{packet}]", remarks(change)));
    }
    let more = gathered.len().saturating_sub(most);
    if more > 0 {
        lines.push(format!("and {more} more (`--format json` tells all)"));
    }
    if others > 0 {
        lines.push(format!("and {others} more about odd packets (`--format json` tells them)"));
    }
    lines
}

/// Changes that differ in where packets go only.
fn gathered<'c>(told: &[&'c Change]) -> Vec<(&'c Change, String)> {
    let mut all: Vec<(&Change, Vec<&str>)> = Vec::new();
    for change in told {
        let alike = all.iter_mut().find(|(first, _)| {
            (&first.from, first.aspect, first.status)
                == (&change.from, change.aspect, change.status)
                && (&first.before, &first.after) == (&change.before, &change.after)
                && (first.rarity, first.state, first.families)
                    == (change.rarity, change.state, change.families)
        });
        match alike {
            Some((_, to)) => to.push(&change.to),
            None => all.push((change, vec![&change.to])),
        }
    }
    let joined = |(change, to): (&'c Change, Vec<&str>)| (change, words::visible(&to.join(", ")));
    all.into_iter().map(joined).collect()
}

/// Each change with a packet that shows it, and the rules that decide about it.
pub(crate) fn pretty(compared: &Compared<'_>, all: bool) -> String {
    let (told, others) = compared.told(all);
    let gathered = gathered(&told);
    let mut text = String::new();
    for (change, to) in gathered.iter().take(MOST_TOLD) {
        if change.status == Status::Undetermined {
            let _ = write!(text, "{OPEN}undetermined{OPEN:#}  ");
        }
        let from = words::visible(&change.from);
        let _ = writeln!(
            text,
            "{BOLD}{from} -> {to}{BOLD:#}: {}{}",
            change_words(change),
            remarks(change)
        );
        let _ = writeln!(text, "    {}", packet_words(compared, change));
        let deciders = deciders(change);
        for ((name, system, answer), decider) in sides(compared, change).into_iter().zip(deciders) {
            let context = Context::new(system);
            let line = concise::render(&context, answer);
            let line = line.split_once(": ").map_or(line.as_str(), |(_, behind)| behind);
            let _ = writeln!(text, "    {DIM}{name}{DIM:#} {line}");
            if let Some(decider) = decider {
                let (place, own) = decider.words(&context);
                let (place, own) = (words::visible(&place), words::visible(&own));
                let _ = writeln!(text, "           {place}: {own}");
            }
        }
        text.push('\n');
    }
    let more = gathered.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        let _ = writeln!(text, "and {more} more (`--json` tells all)");
    }
    if others > 0 {
        let _ = writeln!(text, "and {others} more about odd packets (`nattrace diff --all`)");
    }
    text + &compared.summary(all)
}

fn sides<'a>(
    compared: &Compared<'a>,
    change: &'a Change,
) -> [(&'static str, &'a System, &'a Answer); 2] {
    [
        ("before:", compared.before, &change.witness.before),
        ("after: ", compared.after, &change.witness.after),
    ]
}

/// The packet that shows a change, in one line.
fn packet_words(compared: &Compared<'_>, change: &Change) -> String {
    let context = Context::new(compared.after);
    let flow = &change.witness.after.flow;
    let (source, destination) = words::flow_ends(flow);
    let source = context.named(source, flow.source);
    let destination = context.named(destination, flow.destination);
    let by = match &flow.in_interface {
        Some(interface) => format!("in by {}", words::visible(interface)),
        None => "from a local process".to_owned(),
    };
    format!("{source} -> {destination}, {}, {by}", words::protocol_words(flow))
}

/// What made an aspect what it is on one host.
#[derive(Clone, Copy)]
enum Decider {
    Rule(RuleId),
    Policy(ChainId, Policy),
}

impl Decider {
    fn of(step: &Step) -> Option<Self> {
        match step {
            Step::Rule { rule, .. } => Some(Self::Rule(*rule)),
            Step::Policy { chain, policy, .. } => Some(Self::Policy(*chain, *policy)),
            _ => None,
        }
    }

    /// Where it stands, and what it says.
    fn words(self, context: &Context<'_>) -> (String, String) {
        let rules = &context.system.rules;
        match self {
            Self::Rule(id) => {
                let text = rules.rule(id).map_or("", |rule| rules.text(rule));
                (words::rule_place(context, id), text.trim().to_owned())
            }
            Self::Policy(id, policy) => {
                let chain = rules.chain(id);
                let place =
                    chain.map_or_else(String::new, |own| format!("{}/{}", own.table, own.name));
                let word = if policy == Policy::Accept { "ACCEPT" } else { "DROP" };
                (place, format!("policy {word}"))
            }
        }
    }
}

/// What made the difference on both hosts.
fn deciders(change: &Change) -> [Option<Decider>; 2] {
    let (before, after) = (&change.witness.before, &change.witness.after);
    let mut aspect = change.aspect;
    // Where as much becomes of the packet, it is what it looks like then.
    if aspect == Aspect::Outcome && before.verdict == after.verdict {
        let differ = |of: fn(&Packet) -> (IpAddr, Option<u16>)| {
            // docker-proxy opens a connection of its own.
            let end = |answer: &Answer| {
                let last = answer.proxy.as_deref().unwrap_or(answer);
                last.egress.as_ref().map(|egress| of(&egress.packet))
            };
            end(before) != end(after)
        };
        if differ(|packet| (packet.destination, packet.destination_port())) {
            aspect = Aspect::Destination;
        } else if differ(|packet| (packet.source, packet.source_port())) {
            aspect = Aspect::Source;
        } else {
            aspect = Aspect::Answer;
        }
    }
    [deciding(before, aspect), deciding(after, aspect)]
}

fn deciding(answer: &Answer, aspect: Aspect) -> Option<Decider> {
    let rewriting = |wanted: fn(&Rewrite) -> bool| {
        answer.steps.iter().rev().find_map(|step| match step {
            Step::Rule { rule, rewrites, .. } if rewrites.iter().any(wanted) => {
                Some(Decider::Rule(*rule))
            }
            _ => None,
        })
    };
    let decided = || answer.decided_by.and_then(|at| answer.steps.get(at)).and_then(Decider::of);
    let found = match aspect {
        Aspect::Source => {
            rewriting(|one| matches!(one, Rewrite::Source(..) | Rewrite::SourcePort(..)))
        }
        Aspect::Destination => {
            rewriting(|one| matches!(one, Rewrite::Destination(..) | Rewrite::DestinationPort(..)))
        }
        Aspect::Mark => rewriting(|one| matches!(one, Rewrite::Mark(..))),
        Aspect::Header => rewriting(|one| matches!(one, Rewrite::Ttl(..) | Rewrite::Tos(..))),
        Aspect::Answer => {
            let reply = answer.reply.as_ref();
            let last = reply.and_then(|reply| reply.steps.get(reply.decided_by?));
            last.and_then(Decider::of).or_else(decided)
        }
        Aspect::Outcome | Aspect::Verdict | Aspect::Interface => decided(),
    };
    found.or_else(|| deciding(answer.proxy.as_deref()?, aspect))
}

/// Writes the JSON; a line for each change where `layout` says so.
pub(crate) fn write_json(
    out: &mut impl Write,
    compared: &Compared<'_>,
    layout: Layout,
) -> io::Result<()> {
    match layout {
        Layout::Indented => {
            serde_json::to_writer_pretty(&mut *out, &Whole(compared))?;
            out.write_all(b"\n")
        }
        Layout::Line => compared.changes().iter().try_for_each(|change| {
            serde_json::to_writer(&mut *out, &Entry { compared, change, schema: Some(SCHEMA) })?;
            out.write_all(b"\n")
        }),
    }
}

/// Everything.
struct Whole<'a>(&'a Compared<'a>);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let compared = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", SCHEMA)?;
        map.serialize_entry("equal", &compared.is_equal())?;
        map.serialize_entry("changes", &Changes(compared))?;
        map.serialize_entry("hosts_differ_in", &compared.comparison.hosts)?;
        map.serialize_entry("complete", &compared.comparison.left.is_empty())?;
        map.end()
    }
}

/// All changes.
pub(crate) struct Changes<'a>(pub(crate) &'a Compared<'a>);

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.changes().len()))?;
        for change in self.0.changes() {
            list.serialize_element(&Entry { compared: self.0, change, schema: None })?;
        }
        list.end()
    }
}

/// One change.
struct Entry<'a> {
    compared: &'a Compared<'a>,
    change: &'a Change,
    /// The shape's name, where the change stands alone.
    schema: Option<&'static str>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let change = self.change;
        let mut map = serializer.serialize_map(None)?;
        if let Some(schema) = self.schema {
            map.serialize_entry("schema", schema)?;
        }
        map.serialize_entry("from", &change.from)?;
        map.serialize_entry("to", &change.to)?;
        map.serialize_entry("what", change.aspect.as_str())?;
        map.serialize_entry("before", &being_words(&change.before))?;
        map.serialize_entry("after", &being_words(&change.after))?;
        map.serialize_entry("status", status_name(change.status))?;
        map.serialize_entry("family", family_name(change.families))?;
        map.serialize_entry("state", names::state(change.state))?;
        map.serialize_entry("usual", &(change.rarity == Rarity::Usual))?;
        map.serialize_entry("decided_by", &DecidedBy(self.compared, deciders(change)))?;
        map.serialize_entry("witness", &Pair(self.compared, change))?;
        map.end()
    }
}

/// The rules or policies that make the difference; null where none does on that host.
struct DecidedBy<'a>(&'a Compared<'a>, [Option<Decider>; 2]);

impl Serialize for DecidedBy<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let systems = [("before", self.0.before), ("after", self.0.after)];
        let mut map = serializer.serialize_map(Some(2))?;
        for ((side, system), decider) in systems.into_iter().zip(self.1) {
            let words = decider.map(|decider| decider.words(&Context::new(system)));
            let own = words.map(|(at, text)| BTreeMap::from([("at", at), ("text", text)]));
            map.serialize_entry(side, &own)?;
        }
        map.end()
    }
}

/// The packet on both hosts.
struct Pair<'a>(&'a Compared<'a>, &'a Change);

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        let (before, after) = (Context::new(self.0.before), Context::new(self.0.after));
        let witness = &self.1.witness;
        map.serialize_entry("before", &json::answer_value(&before, &witness.before))?;
        map.serialize_entry("after", &json::answer_value(&after, &witness.after))?;
        map.end()
    }
}
