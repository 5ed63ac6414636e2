//! The words in which an answer is told to a person, wherever it is told.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use nattrace_model::answer::{
    Answer, Effect, Egress, Outcome, Reply, ReplyKind, Rewrite, RouteDecision, Step, Verdict,
};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_model::target::{RejectWith, Target};

use super::context::Context;
use super::names;

const UNKNOWN_ADDRESS: &str = "an unknown address";

/// An address that was rewritten, which may be one that nobody knows.
fn address_words(address: IpAddr) -> String {
    names::known_address(address).map_or_else(|| UNKNOWN_ADDRESS.to_owned(), |it| it.to_string())
}

/// An address with a port, as people write it.
pub(crate) fn socket(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

/// Both ends of a packet as it was asked for.
pub(crate) fn flow_ends(flow: &Flow) -> (String, String) {
    (socket(flow.source, flow.source_port), socket(flow.destination, flow.destination_port))
}

/// Source and destination of a packet that leaves.
pub(crate) fn egress_ends(egress: &Egress) -> (String, String) {
    let Egress { packet, .. } = egress;
    let port = packet.source_port();
    let source = match (egress.source_unknown, egress.source_port_random, port) {
        (true, _, _) => UNKNOWN_ADDRESS.to_owned(),
        (false, true, Some(_)) => format!("{}, a random port,", packet.source),
        (false, _, port) => socket(packet.source, port),
    };
    (source, socket(packet.destination, packet.destination_port()))
}

/// The command that asks about a packet again.
pub(crate) fn replay(flow: &Flow) -> String {
    let protocol = names::Protocol::new(flow.protocol, flow.source);
    let (_, destination) = flow_ends(flow);
    let mut text = match flow.any_source {
        true => format!("nattrace why host to {destination}/{protocol}"),
        false => format!("nattrace why {} to {destination}/{protocol}", flow.source),
    };
    // Writing into a string can't fail.
    if let Some(name) = &flow.in_interface {
        let _ = write!(text, " --in {}", visible(name));
    }
    if let Some(port) = flow.source_port.filter(|port| *port != 40000) {
        let _ = write!(text, " --sport {port}");
    }
    if flow.state != FlowState::New {
        let _ = write!(text, " --state {}", names::state(flow.state));
    }
    if flow.mark != 0 {
        let _ = write!(text, " --mark {:#x}", flow.mark);
    }
    if let Some(flags) = flow.tcp_flags {
        let _ = write!(text, " --tcp-flags {}", names::TcpFlags(flags));
    }
    if let Some((kind, code)) = flow.icmp {
        let _ = write!(text, " --icmp-type {kind}/{code}");
    }
    if let Some(ttl) = flow.ttl {
        let _ = write!(text, " --ttl {ttl}");
    }
    text
}

/// What is asked of the network: `tcp`, `icmp echo request`, `protocol 47`.
pub(crate) fn protocol_words(flow: &Flow) -> String {
    let name = names::Protocol::new(flow.protocol, flow.source);
    match (name.name(), flow.icmp) {
        (Some("icmp"), None | Some((8, 0) | (128, 0))) => "icmp echo".to_owned(),
        (Some("icmp"), Some((kind, code))) => format!("icmp type {kind} code {code}"),
        (Some(name), _) => name.to_owned(),
        (None, _) => format!("protocol {}", flow.protocol),
    }
}

/// `filter/FORWARD`.
pub(crate) fn chain_name(context: &Context<'_>, id: ChainId) -> String {
    let legacy = if context.is_legacy_beside_nft(id) { " (legacy)" } else { "" };
    match context.system.rules.chain(id) {
        Some(chain) => {
            format!("{}/{}{legacy}", visible(&chain.table.to_string()), visible(&chain.name))
        }
        None => "?".to_owned(),
    }
}

/// `filter/FORWARD/3`.
pub(crate) fn rule_name(context: &Context<'_>, id: RuleId) -> String {
    let legacy = if context.is_legacy_beside_nft(id.chain) { " (legacy)" } else { "" };
    match context.system.rules.chain(id.chain) {
        Some(chain) => {
            let (table, name) = (chain.table.to_string(), visible(&chain.name));
            format!("{}/{name}/{}{legacy}", visible(&table), id.number())
        }
        None => "?".to_owned(),
    }
}

/// `iptables-save:14`.
pub(crate) fn rule_place(context: &Context<'_>, id: RuleId) -> String {
    let rules = &context.system.rules;
    rules.rule(id).map_or_else(String::new, |rule| rules.place(rule))
}

/// What a rule does, in iptables' own words.
pub(crate) fn effect_words(context: &Context<'_>, id: RuleId, effect: &Effect) -> String {
    let target = context.system.rules.rule(id).map(|rule| &rule.target);
    match (effect, target) {
        (Effect::Jump, Some(Target::Jump(chain))) => {
            format!("jump to {}", bare_name(context, *chain))
        }
        (Effect::Goto, Some(Target::Goto(chain))) => format!("goto {}", bare_name(context, *chain)),
        (Effect::Reject, Some(Target::Reject(with))) => {
            format!("REJECT with {}", reject_words(*with))
        }
        (Effect::Continue, Some(Target::None)) => "counts, goes on".to_owned(),
        (Effect::Continue, _) => "goes on".to_owned(),
        (Effect::Log, _) => "LOG, goes on".to_owned(),
        _ => names::effect(effect).to_ascii_uppercase(),
    }
}

fn bare_name(context: &Context<'_>, id: ChainId) -> String {
    let chain = context.system.rules.chain(id);
    chain.map_or_else(|| "?".to_owned(), |chain| visible(&chain.name))
}

fn reject_words(with: RejectWith) -> String {
    match with {
        RejectWith::TcpReset => "a TCP reset".to_owned(),
        RejectWith::Icmp { kind, code } => format!("ICMP type {kind} code {code}"),
    }
}

/// What was rewritten: `src 172.18.0.3 → 173.208.194.202`.
pub(crate) fn rewrite_words(rewrites: &[Rewrite]) -> String {
    let words: Vec<String> = rewrites
        .iter()
        .map(|rewrite| {
            let field = names::rewritten_field(*rewrite);
            match rewrite {
                Rewrite::Source(from, to) | Rewrite::Destination(from, to) => {
                    format!("{field} {} → {}", address_words(*from), address_words(*to))
                }
                Rewrite::SourcePort(from, to) | Rewrite::DestinationPort(from, to) => {
                    format!("{field} {from} → {to}")
                }
                Rewrite::Mark(from, to) | Rewrite::ConnectionMark(from, to) => {
                    format!("{field} {from:#x} → {to:#x}")
                }
                Rewrite::Ttl(from, to) => format!("{field} {from} → {to}"),
                Rewrite::Tos(from, to) => format!("{field} {from:#04x} → {to:#04x}"),
            }
        })
        .collect();
    words.join(", ")
}

/// What routing decided, before the interface is named.
pub(crate) fn route_words(decision: RouteDecision) -> &'static str {
    match decision {
        RouteDecision::Local => "to this host itself",
        RouteDecision::Forward => "forward",
        RouteDecision::Output => "out",
        RouteDecision::Bridge => "bridged, without routing,",
        RouteDecision::Martian => "dropped: source or destination can't be (martian)",
        RouteDecision::ReversePath => {
            "dropped: the way back to the source is not where it came from (rp_filter)"
        }
        RouteDecision::ForwardingOff => "dropped: forwarding is off",
        RouteDecision::NoRoute => "no route",
        RouteDecision::Blackhole => "dropped: a blackhole",
        RouteDecision::Unreachable => "refused: an unreachable route",
        RouteDecision::Prohibit => "refused: a prohibit route",
        RouteDecision::TtlExpired => "dropped: its time to live ran out",
        RouteDecision::BridgePort => "dropped: this bridge port may not send it",
        RouteDecision::Unusable => "dropped: rewritten to what can't be used",
        RouteDecision::NoNeighbour => "nobody there: the neighbour does not answer",
        RouteDecision::Unknown => "not known",
    }
}

/// Whether a local socket got the packet.
pub(crate) fn socket_words(listening: bool, processes: &[String]) -> String {
    match (listening, processes) {
        (false, _) => "nobody listens".to_owned(),
        (true, []) => "a process listens".to_owned(),
        (true, processes) => format!("{} listens", visible(&processes.join(", "))),
    }
}

/// The step that decided, as the subject of "by".
pub(crate) fn decider(
    context: &Context<'_>,
    steps: &[Step],
    decided_by: Option<usize>,
) -> Option<String> {
    Some(match steps.get(decided_by?)? {
        Step::Rule { rule, .. } => {
            format!("{} ({})", rule_name(context, *rule), rule_place(context, *rule))
        }
        Step::Policy { chain, policy, .. } => {
            format!("the policy {} of {}", names::policy(*policy), chain_name(context, *chain))
        }
        Step::Return { chain, .. } => format!("the end of {}", chain_name(context, *chain)),
        Step::Conntrack { .. } => "connection tracking".to_owned(),
        Step::Route { decision, because: Some(because), .. } => {
            format!("routing: {} ({})", names::route_decision(*decision), visible(because))
        }
        Step::Route { decision, .. } => format!("routing: {}", names::route_decision(*decision)),
        Step::Socket { listening, processes } => {
            format!("the socket: {}", socket_words(*listening, processes))
        }
    })
}

/// Why the outcome is what it is, where the words about the verdict do not say it.
pub(crate) fn reason(answer: &Answer, verdict: &str) -> Option<String> {
    let because = visible(answer.because.as_deref()?);
    (!verdict.contains(&*because)).then_some(because)
}

/// What became of the packet, and by whose doing.
pub(crate) fn verdict_words(context: &Context<'_>, answer: &Answer) -> String {
    let mut words = names::verdict(answer.verdict).to_owned();
    if let Some(egress) = &answer.egress {
        words.push_str(&leaving_words(context, answer.verdict, egress));
    }
    let blame = match answer.verdict {
        Verdict::Dropped
        | Verdict::Rejected
        | Verdict::Unroutable
        | Verdict::Martian
        | Verdict::TtlExpired
        | Verdict::Queued
        | Verdict::Undetermined => decider(context, &answer.steps, answer.decided_by),
        Verdict::Forwarded | Verdict::Delivered | Verdict::Proxied | Verdict::Bridged => None,
    };
    if let Some(blame) = blame {
        let by = if answer.verdict == Verdict::Undetermined { "because of" } else { "by" };
        // Writing into a string can't fail.
        let _ = write!(words, " {by} {blame}");
    }
    words
}

fn leaving_words(context: &Context<'_>, verdict: Verdict, egress: &Egress) -> String {
    let (source, destination) = egress_ends(egress);
    let destination = context.named(destination, egress.packet.destination);
    match (&egress.out_interface, verdict) {
        (Some(interface), Verdict::Undetermined) => {
            let interface = visible(interface);
            format!(", leaving by {interface} as {source} → {destination},")
        }
        (Some(interface), _) => {
            format!(" by {} as {source} → {destination}", visible(interface))
        }
        (None, Verdict::Proxied) => format!(" to docker-proxy as {source} → {destination}"),
        (None, _) => format!(" to this host as {source} → {destination}"),
    }
}

/// What nobody can know, in the order in which it matters.
pub(crate) fn open_questions(answer: &Answer) -> Vec<&str> {
    let mut open: Vec<&str> = Vec::new();
    for (what, _) in answer.branches.iter().flat_map(|branch| &branch.when) {
        if !open.contains(&what.as_str()) {
            open.push(what);
        }
    }
    open
}

/// What the sender experiences.
pub(crate) fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connects => "an answer arrives",
        Outcome::Refused => "the sender is told that nobody listens",
        Outcome::Unreachable => "the sender gets an error",
        Outcome::Timeout => "the sender hears nothing",
        Outcome::Undetermined => "something that is not known decides",
    }
}

/// What becomes of the answer, in one sentence.
pub(crate) fn reply_words(context: &Context<'_>, reply: &Reply) -> String {
    let mut words = match reply.kind {
        ReplyKind::Answer => String::new(),
        ReplyKind::Reset => "a TCP reset, ".to_owned(),
        ReplyKind::Error { kind, code } => format!("an ICMP error (type {kind} code {code}), "),
    };
    words.push_str(names::verdict(reply.verdict));
    if let Some(egress) = &reply.egress {
        words.push_str(&leaving_words(context, reply.verdict, egress));
    }
    let stopped = !matches!(
        reply.verdict,
        Verdict::Forwarded | Verdict::Delivered | Verdict::Bridged | Verdict::Proxied
    );
    if let Some(blame) = decider(context, &reply.steps, reply.decided_by).filter(|_| stopped) {
        let _ = write!(words, " by {blame}");
    }
    words
}

/// The rules that the answer met on its way back, in order.
pub(crate) fn reply_rules(context: &Context<'_>, reply: &Reply) -> Vec<String> {
    let rule = |step: &Step| match step {
        Step::Rule { rule, .. } => Some(rule_name(context, *rule)),
        Step::Return { .. }
        | Step::Policy { .. }
        | Step::Conntrack { .. }
        | Step::Route { .. }
        | Step::Socket { .. } => None,
    };
    reply.steps.iter().filter_map(rule).collect()
}

/// Text of an input made safe for a terminal: control characters are written out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}
