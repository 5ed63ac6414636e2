//! The chain graph as a list, for people and for programs.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anstyle::Style;
use nattrace_model::System;
use nattrace_model::graph::{ChainGraph, GraphOptions, LinkKind};
use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_parser::syntax::{Backend, Family};
use serde::Serialize;

use super::json::Layout;
use super::{names, words};

const BOLD: Style = Style::new().bold();

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/graph/1";

/// What a line begins with where the marked packet went.
const MARK: &str = "▶ ";

/// A chain with what it calls.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    family: &'static str,
    backend: &'static str,
    table: &'a str,
    chain: &'a str,
    /// The hook, the priority and the policy of a base chain.
    hook: Option<&'static str>,
    priority: Option<i32>,
    policy: Option<&'static str>,
    /// How many rules it has.
    rules: usize,
    /// The hooks from which a packet may get here.
    reached_from: Vec<&'static str>,
    /// Whether the packet of `--why` went through it.
    visited: bool,
    calls: Vec<Call<'a>>,
}

/// A rule that leads into another chain.
#[derive(Debug, Serialize)]
struct Call<'a> {
    rule: u32,
    kind: &'static str,
    chain: &'a str,
    at: String,
    text: &'a str,
    /// Whether the packet of `--why` went this way.
    taken: bool,
}

/// The chains that are shown, in order.
pub(crate) struct Listing<'a>(Vec<Entry<'a>>);

impl<'a> Listing<'a> {
    /// Lists what the options show.
    pub(crate) fn new(system: &'a System, options: &GraphOptions<'_>) -> Self {
        let rules = &system.rules;
        let graph = ChainGraph::new(&rules.chains);
        let path: BTreeSet<RuleId> = options.path.iter().copied().collect();
        let mut visited: BTreeSet<ChainId> = options.visited.iter().copied().collect();
        visited.extend(path.iter().map(|rule| rule.chain));
        let entry = |id| entry(rules, &graph, id, &path, visited.contains(&id));
        Self(options.chains(rules, &graph).into_iter().filter_map(entry).collect())
    }

    /// Writes one document, or a line for each chain.
    pub(crate) fn write_json(&self, out: &mut impl Write, layout: Layout) -> io::Result<()> {
        #[derive(Serialize)]
        struct Document<'e, 'a> {
            schema: &'static str,
            chains: &'e [Entry<'a>],
        }
        #[derive(Serialize)]
        struct Line<'e, 'a> {
            schema: &'static str,
            #[serde(flatten)]
            entry: &'e Entry<'a>,
        }
        match layout {
            Layout::Indented => {
                let document = Document { schema: SCHEMA, chains: &self.0 };
                serde_json::to_writer_pretty(&mut *out, &document)?;
                out.write_all(b"\n")
            }
            Layout::Line => self.0.iter().try_for_each(|entry| {
                serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, entry })?;
                out.write_all(b"\n")
            }),
        }
    }

    /// A line for each chain.
    pub(crate) fn concise(&self) -> String {
        self.0.iter().map(|entry| format!("{} {}\n", entry.family, entry.in_one_line())).collect()
    }

    /// Table by table, with the rules that call.
    pub(crate) fn pretty(&self) -> String {
        let mut page = String::new();
        let mut of = None;
        for entry in &self.0 {
            let table = (entry.family, entry.backend, entry.table);
            if of != Some(table) {
                let space = if of.is_some() { "\n" } else { "" };
                let title = words::visible(entry.table);
                let legacy = entry.legacy();
                page.push_str(&format!("{space}{BOLD}{} {title}{legacy}{BOLD:#}\n", entry.family));
                of = Some(table);
            }
            page.push_str(&entry.in_lines());
        }
        page
    }
}

fn entry<'a>(
    rules: &'a Ruleset,
    graph: &ChainGraph,
    id: ChainId,
    path: &BTreeSet<RuleId>,
    visited: bool,
) -> Option<Entry<'a>> {
    let chain = rules.chain(id)?;
    let calls = graph.links(id).into_iter().filter_map(|(link, to)| {
        let rule = rules.rule(link.rule)?;
        Some(Call {
            rule: link.rule.number(),
            kind: match link.kind {
                LinkKind::Jump => "jump",
                LinkKind::Goto => "goto",
            },
            chain: &rules.chain(to)?.name,
            at: rules.place(rule),
            text: rules.text(rule),
            taken: path.contains(&link.rule),
        })
    });
    Some(Entry {
        family: match chain.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        },
        backend: match chain.backend {
            Backend::Nft => "nft",
            Backend::Legacy => "legacy",
        },
        table: chain.table.as_str(),
        chain: &chain.name,
        hook: chain.base.map(|base| base.hook.as_str()),
        priority: chain.base.map(|base| base.priority),
        policy: chain.base.map(|base| names::policy(base.policy)),
        rules: chain.rules.len(),
        reached_from: graph.reaching_hooks(id).iter().map(|hook| hook.as_str()).collect(),
        visited,
        calls: calls.collect(),
    })
}

impl Entry<'_> {
    fn legacy(&self) -> &'static str {
        if self.backend == "legacy" { " (legacy)" } else { "" }
    }

    /// What there is to say about it: its policy, how many rules, and whether it is ever met.
    fn about(&self) -> String {
        let policy = self.policy.map(|policy| format!("policy {policy}, ")).unwrap_or_default();
        let rules = match self.rules {
            0 => "empty".to_owned(),
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        let lost = if self.reached_from.is_empty() { ", nothing leads here" } else { "" };
        format!("{policy}{rules}{lost}")
    }

    fn in_one_line(&self) -> String {
        let (table, chain) = (words::visible(self.table), words::visible(self.chain));
        let mark = if self.visited { MARK } else { "" };
        let calls: Vec<String> = self.calls.iter().map(Call::in_one_line).collect();
        let calls =
            if calls.is_empty() { String::new() } else { format!(": {}", calls.join(", ")) };
        format!("{mark}{table}/{chain}{}, {}{calls}", self.legacy(), self.about())
    }

    fn in_lines(&self) -> String {
        let mark = if self.visited { MARK } else { "  " };
        let mut lines = format!("{mark}{}  {}\n", words::visible(self.chain), self.about());
        for call in &self.calls {
            let mark = if call.taken { MARK } else { "  " };
            let text = words::visible(call.text);
            lines.push_str(&format!("    {mark}{}\n        {text}\n", call.in_one_line()));
        }
        lines
    }
}

impl Call<'_> {
    fn in_one_line(&self) -> String {
        let goto = if self.kind == "goto" { "goto " } else { "" };
        format!("{} → {goto}{}", self.rule, words::visible(self.chain))
    }
}
