//! Answers as JSON, to the letter of CLI.md.
//!
//! Everything is written straight from the answer: no tree of values is built, because
//! `why --flows` writes hundreds of thousands of answers.

mod fragments;

use std::fmt;
use std::io::{self, Write};

use nattrace_model::answer::{Answer, Branch, Egress, Reply, ReplyKind, Rewrite, Step};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::host::Assumption;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_parser::syntax::Family;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::context::Context;
use super::names;

pub(crate) use fragments::Fragments;

/// The name and version of the shape of an answer.
const SCHEMA: &str = "nattrace/why/1";

/// Whether an answer gets a line of its own or is laid out for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Indented.
    Indented,
    /// One line.
    Line,
}

/// Writes an answer and a newline.
pub(crate) fn write_answer(
    out: &mut impl Write,
    context: &Context<'_>,
    answer: &Answer,
    layout: Layout,
) -> io::Result<()> {
    let view = View { context, family: Family::of(answer.flow.source), item: answer };
    match layout {
        Layout::Indented => serde_json::to_writer_pretty(&mut *out, &view)?,
        Layout::Line => serde_json::to_writer(&mut *out, &view)?,
    }
    out.write_all(b"\n")
}

/// An answer within another document.
pub(crate) fn answer_value<'a>(
    context: &'a Context<'a>,
    answer: &'a Answer,
) -> impl Serialize + 'a {
    View { context, family: Family::of(answer.flow.source), item: answer }
}

/// A packet as it was asked for, within another document.
pub(crate) fn flow_value(flow: &Flow) -> impl Serialize + '_ {
    FlowEntry(flow)
}

/// A part of an answer with what its identities belong to.
struct View<'a, T> {
    context: &'a Context<'a>,
    family: Family,
    item: &'a T,
}

impl<'a, T> View<'a, T> {
    fn with<U>(&self, item: &'a U) -> View<'a, U> {
        View { context: self.context, family: self.family, item }
    }

    fn list<U>(&self, items: &'a [U]) -> Views<'a, U> {
        Views { context: self.context, family: self.family, items }
    }
}

/// Several of them.
struct Views<'a, T> {
    context: &'a Context<'a>,
    family: Family,
    items: &'a [T],
}

impl<'a, T> Serialize for Views<'a, T>
where
    View<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { context, family, items } = *self;
        serializer.collect_seq(items.iter().map(|item| View { context, family, item }))
    }
}

/// A value that is written as text without being built first.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for View<'_, Answer> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", SCHEMA)?;
        self.write_entries(&mut map)?;
        map.end()
    }
}

impl View<'_, Answer> {
    fn write_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let answer = self.item;
        map.serialize_entry("flow", &FlowEntry(&answer.flow))?;
        map.serialize_entry("verdict", names::verdict(answer.verdict))?;
        map.serialize_entry("outcome", names::outcome(answer.outcome))?;
        map.serialize_entry("egress", &answer.egress.as_ref().map(EgressEntry))?;
        map.serialize_entry("steps", &self.list(&answer.steps))?;
        map.serialize_entry("decided_by", &answer.decided_by)?;
        map.serialize_entry("reply", &answer.reply.as_ref().map(|reply| self.with(reply)))?;
        if let Some(because) = &answer.because {
            map.serialize_entry("because", because)?;
        }
        if !answer.next.is_empty() {
            map.serialize_entry("next", &self.list(&answer.next))?;
        }
        if let Some(proxy) = &answer.proxy {
            // docker-proxy may speak IPv4 to the container although it was asked in IPv6.
            let family = Family::of(proxy.flow.source);
            map.serialize_entry("proxy", &View { context: self.context, family, item: &**proxy })?;
        }
        map.serialize_entry("branches", &self.list(&answer.branches))?;
        map.serialize_entry("assumptions", &self.list(&answer.assumptions))
    }
}

/// The packet as it was asked for.
struct FlowEntry<'a>(&'a Flow);

impl Serialize for FlowEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flow = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("src", &flow.source)?;
        map.serialize_entry("sport", &flow.source_port)?;
        map.serialize_entry("dst", &flow.destination)?;
        map.serialize_entry("dport", &flow.destination_port)?;
        map.serialize_entry("proto", &Text(names::Protocol::new(flow.protocol, flow.source)))?;
        map.serialize_entry("iif", &flow.in_interface)?;
        map.serialize_entry("state", names::state(flow.state))?;
        map.serialize_entry("mark", &flow.mark)?;
        if let (protocol::TCP, Some(flags)) = (flow.protocol, flow.tcp_flags) {
            map.serialize_entry("tcp_flags", &Text(names::TcpFlags(flags)))?;
        }
        if let Some((kind, code)) = flow.icmp {
            map.serialize_entry("icmp_type", &Text(format_args!("{kind}/{code}")))?;
        }
        if let Some(ttl) = flow.ttl {
            map.serialize_entry("ttl", &ttl)?;
        }
        map.end()
    }
}

/// The packet as it leaves; what is not known of it is null.
struct EgressEntry<'a>(&'a Egress);

impl Serialize for EgressEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Egress { packet, out_interface, source_unknown, source_port_random } = self.0;
        let source = (!source_unknown).then_some(packet.source);
        let source_port = packet.source_port().filter(|_| !source_port_random);
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("src", &source)?;
        map.serialize_entry("sport", &source_port)?;
        map.serialize_entry("dst", &packet.destination)?;
        map.serialize_entry("dport", &packet.destination_port())?;
        map.serialize_entry("oif", out_interface)?;
        map.serialize_entry("mark", &packet.mark)?;
        map.end()
    }
}

impl Serialize for View<'_, Step> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = self.context.fragments().and_then(|fragments| {
            let context = self.context.keeping(None);
            let anew = View { context: &context, family: self.family, item: self.item };
            fragments.of(self.item, self.family, || serde_json::value::to_raw_value(&anew).ok())
        });
        match kept {
            Some(text) => text.serialize(serializer),
            None => self.write(serializer),
        }
    }
}

impl View<'_, Step> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.item {
            Step::Rule { hook, rule, effect, rewrites } => {
                map.serialize_entry("step", "rule")?;
                self.write_rule(&mut map, *hook, *rule)?;
                map.serialize_entry("effect", names::effect(effect))?;
                write_rewrites(&mut map, rewrites)?;
                self.write_backend(&mut map, rule.chain)?;
            }
            Step::Return { hook, chain } => {
                map.serialize_entry("step", "return")?;
                self.write_chain(&mut map, *hook, *chain)?;
                self.write_backend(&mut map, *chain)?;
            }
            Step::Policy { hook, chain, policy } => {
                map.serialize_entry("step", "policy")?;
                self.write_chain(&mut map, *hook, *chain)?;
                map.serialize_entry("policy", names::policy(*policy))?;
                self.write_backend(&mut map, *chain)?;
            }
            Step::Conntrack { hook, rewrites } => {
                map.serialize_entry("step", "conntrack")?;
                map.serialize_entry("hook", hook.as_str())?;
                write_rewrites(&mut map, rewrites)?;
            }
            Step::Route { decision, route, out_interface, gateway, because } => {
                map.serialize_entry("step", "route")?;
                map.serialize_entry("kind", names::route_decision(*decision))?;
                let routing = &self.context.system.host.routing;
                let table = route.map(|(table, _)| Text(names::TableName(routing, table)));
                map.serialize_entry("table", &table)?;
                let found = route.and_then(|id| self.context.route(self.family, id));
                map.serialize_entry("route", &found.map(|route| route.text.as_str()))?;
                map.serialize_entry("oif", out_interface)?;
                write_present(&mut map, "gateway", gateway.as_ref())?;
                write_present(&mut map, "because", because.as_ref())?;
            }
            Step::Socket { listening, processes } => {
                map.serialize_entry("step", "socket")?;
                map.serialize_entry("listening", listening)?;
                map.serialize_entry("processes", processes)?;
            }
        }
        map.end()
    }

    fn rules(&self) -> &Ruleset {
        &self.context.system.rules
    }

    fn write_chain<M: SerializeMap>(
        &self,
        map: &mut M,
        hook: Hook,
        id: ChainId,
    ) -> Result<(), M::Error> {
        map.serialize_entry("hook", hook.as_str())?;
        let chain = self.rules().chain(id);
        map.serialize_entry("table", &chain.map(|chain| chain.table.as_str()))?;
        map.serialize_entry("chain", &chain.map(|chain| &*chain.name))
    }

    fn write_rule<M: SerializeMap>(
        &self,
        map: &mut M,
        hook: Hook,
        id: RuleId,
    ) -> Result<(), M::Error> {
        self.write_chain(map, hook, id.chain)?;
        map.serialize_entry("rule", &id.number())?;
        let Some(rule) = self.rules().rule(id) else { return Ok(()) };
        map.serialize_entry("at", &self.rules().place(rule))?;
        map.serialize_entry("text", self.rules().text(rule))
    }

    /// Says which backend a chain is of where that is not the usual one.
    fn write_backend<M: SerializeMap>(&self, map: &mut M, id: ChainId) -> Result<(), M::Error> {
        if self.context.is_legacy_beside_nft(id) {
            map.serialize_entry("backend", "legacy")?;
        }
        Ok(())
    }
}

fn write_present<M: SerializeMap>(
    map: &mut M,
    key: &'static str,
    value: Option<&(impl Serialize + ?Sized)>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

fn write_rewrites<M: SerializeMap>(map: &mut M, rewrites: &[Rewrite]) -> Result<(), M::Error> {
    if rewrites.is_empty() {
        return Ok(());
    }
    struct List<'a>(&'a [Rewrite]);
    impl Serialize for List<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(|rewrite| RewriteEntry(*rewrite)))
        }
    }
    map.serialize_entry("rewrite", &List(rewrites))
}

/// One field before and after.
struct RewriteEntry(Rewrite);

impl Serialize for RewriteEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("field", names::rewritten_field(self.0))?;
        match self.0 {
            Rewrite::Source(from, to) | Rewrite::Destination(from, to) => {
                map.serialize_entry("from", &names::known_address(from))?;
                map.serialize_entry("to", &names::known_address(to))?;
            }
            Rewrite::SourcePort(from, to) | Rewrite::DestinationPort(from, to) => {
                map.serialize_entry("from", &from)?;
                map.serialize_entry("to", &to)?;
            }
            Rewrite::Mark(from, to) | Rewrite::ConnectionMark(from, to) => {
                map.serialize_entry("from", &from)?;
                map.serialize_entry("to", &to)?;
            }
            Rewrite::Ttl(from, to) | Rewrite::Tos(from, to) => {
                map.serialize_entry("from", &from)?;
                map.serialize_entry("to", &to)?;
            }
        }
        map.end()
    }
}

impl Serialize for View<'_, Reply> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reply = self.item;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("verdict", names::verdict(reply.verdict))?;
        map.serialize_entry("egress", &reply.egress.as_ref().map(EgressEntry))?;
        map.serialize_entry("steps", &self.list(&reply.steps))?;
        map.serialize_entry("decided_by", &reply.decided_by)?;
        match reply.kind {
            ReplyKind::Answer => map.serialize_entry("kind", "answer")?,
            ReplyKind::Reset => map.serialize_entry("kind", "tcp-reset")?,
            ReplyKind::Error { kind, code } => {
                map.serialize_entry("kind", "icmp-error")?;
                map.serialize_entry("icmp_type", &Text(format_args!("{kind}/{code}")))?;
            }
        }
        map.end()
    }
}

/// A branch is an answer that says under which conditions it is one.
impl Serialize for View<'_, Branch> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct When<'a>(&'a [(String, bool)]);
        impl Serialize for When<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("when", &When(&self.item.when))?;
        self.with(&self.item.answer).write_entries(&mut map)?;
        map.end()
    }
}

impl Serialize for View<'_, Assumption> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("code", self.item.code)?;
        map.serialize_entry("text", &self.item.text)?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
