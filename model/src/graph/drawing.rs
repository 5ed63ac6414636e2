//! What a drawing of the chain graph shows, whatever it is written in.

use std::collections::{BTreeMap, BTreeSet};

use nattrace_parser::syntax::{Backend, Family, Policy, TableName};

use super::{ChainGraph, LinkKind};
use crate::hook::Hook;
use crate::ruleset::{Chain, ChainId, RuleId, Ruleset, Table};
use crate::target::Target;

/// How many characters of a rule's conditions a label shows.
const CONDITION_WIDTH: usize = 48;

/// How many rules a label names before it says how many more there are.
const RULES_SHOWN: usize = 4;

/// What of a ruleset is drawn.
#[derive(Clone, Debug, Default)]
pub struct GraphOptions<'a> {
    /// Only this family.
    pub family: Option<Family>,
    /// Only these tables; empty for all.
    pub tables: &'a [TableName],
    /// Only what these hooks reach; empty for everything, unreachable chains included.
    pub hooks: &'a [Hook],
    /// The rules that a packet matched: they, and the chains they stand in, are marked.
    pub path: &'a [RuleId],
    /// Chains that a packet went through without a match.
    pub visited: &'a [ChainId],
}

impl GraphOptions<'_> {
    /// The chains that are shown, table by table: base chains by hook, then the others.
    #[must_use]
    pub fn chains(&self, ruleset: &Ruleset, graph: &ChainGraph) -> Vec<ChainId> {
        let shown = |id: ChainId, chain: &Chain| {
            let reached = graph.reaching_hooks(id);
            self.family.is_none_or(|family| family == chain.family)
                && (self.tables.is_empty() || self.tables.iter().any(|table| chain.table == *table))
                && (self.hooks.is_empty() || self.hooks.iter().any(|hook| reached.contains(*hook)))
                && chain
                    .base
                    .is_none_or(|base| self.hooks.is_empty() || self.hooks.contains(&base.hook))
        };
        let numbered = (0u32..).map(ChainId).zip(&ruleset.chains);
        let mut chains: Vec<(ChainId, &Chain)> =
            numbered.filter(|(id, chain)| shown(*id, chain)).collect();
        chains.sort_by_key(|(id, chain)| {
            (table_key(chain), chain.base.is_none(), chain.base.map(|base| base.hook), *id)
        });
        chains.into_iter().map(|(id, _)| id).collect()
    }
}

/// What the table of a chain is told from others by, and sorted.
fn table_key(chain: &Chain) -> (Family, &Table, Backend) {
    (chain.family, &chain.table, chain.backend)
}

/// What is drawn: the tables in order.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    /// The tables that have a chain to show.
    pub(super) clusters: Vec<Cluster>,
    /// The calls among the chains shown.
    pub(super) edges: Vec<Edge>,
}

/// One table.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Its name with family and backend.
    pub(super) title: String,
    /// Its chains: base chains by hook, then the others.
    pub(super) nodes: Vec<Node>,
}

/// One chain.
#[derive(Debug)]
pub(super) struct Node {
    /// The chain.
    pub(super) chain: ChainId,
    /// Its name, and what there is to say about it: one entry a line.
    pub(super) lines: Vec<String>,
    /// Whether it is a base chain.
    pub(super) base: bool,
    /// Whether the marked packet went through.
    pub(super) marked: bool,
}

/// All rules of one chain that lead into another in one way.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: ChainId,
    pub(super) to: ChainId,
    pub(super) kind: LinkKind,
    /// Rule numbers, and the conditions of a single rule.
    pub(super) label: String,
    /// Whether the marked packet went this way.
    pub(super) marked: bool,
}

/// What a line begins with where the marked packet went: colour is never the only carrier.
const MARK: &str = "\u{25b6} ";

impl Drawing {
    pub(super) fn new(ruleset: &Ruleset, options: &GraphOptions<'_>) -> Self {
        let graph = ChainGraph::new(&ruleset.chains);
        let path: BTreeSet<RuleId> = options.path.iter().copied().collect();
        let mut visited: BTreeSet<ChainId> = options.visited.iter().copied().collect();
        visited.extend(path.iter().map(|rule| rule.chain));
        let mut drawing = Self::default();
        let table_of = |id: &ChainId| ruleset.chain(*id).map(table_key);
        for chains in options.chains(ruleset, &graph).chunk_by(|a, b| table_of(a) == table_of(b)) {
            let Some((family, table, backend)) = chains.first().and_then(table_of) else {
                continue;
            };
            for &id in chains {
                drawing.add_edges(ruleset, &graph, id, &path);
            }
            let nodes = chains.iter().filter_map(|&id| {
                let marked = visited.contains(&id);
                Node::new(ruleset, id, graph.reaching_hooks(id).is_empty(), marked, &path)
            });
            let title = title(family, table, backend);
            drawing.clusters.push(Cluster { title, nodes: nodes.collect() });
        }
        drawing
    }

    fn add_edges(
        &mut self,
        ruleset: &Ruleset,
        graph: &ChainGraph,
        from: ChainId,
        path: &BTreeSet<RuleId>,
    ) {
        let mut calls: Vec<((ChainId, LinkKind), Vec<RuleId>)> = Vec::new();
        let mut known: BTreeMap<(ChainId, LinkKind), usize> = BTreeMap::new();
        for (link, to) in graph.links(from) {
            let at = *known.entry((to, link.kind)).or_insert_with(|| {
                calls.push(((to, link.kind), Vec::new()));
                calls.len() - 1
            });
            if let Some((_, rules)) = calls.get_mut(at) {
                rules.push(link.rule);
            }
        }
        for ((to, kind), rules) in calls {
            let marked = rules.iter().any(|rule| path.contains(rule));
            let mark = if marked { MARK } else { "" };
            let label = format!("{mark}{}", edge_label(ruleset, kind, &rules));
            self.edges.push(Edge { from, to, kind, label, marked });
        }
    }
}

impl Node {
    fn new(
        ruleset: &Ruleset,
        id: ChainId,
        unreachable: bool,
        marked: bool,
        path: &BTreeSet<RuleId>,
    ) -> Option<Self> {
        let chain = ruleset.chain(id)?;
        let mark = if marked { MARK } else { "" };
        let mut lines = vec![format!("{mark}{}", chain.name)];
        if let Some(base) = chain.base {
            let policy = match base.policy {
                Policy::Accept => "ACCEPT",
                Policy::Drop => "DROP",
            };
            lines.push(format!("policy {policy}"));
        }
        lines.push(match chain.rules.len() {
            0 => "empty".to_owned(),
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        });
        if unreachable {
            lines.push("nothing leads here".to_owned());
        }
        let first = RuleId { chain: id, index: 0 };
        let last = RuleId { chain: id, index: u32::MAX };
        let ends = path.range(first..=last).filter(|rule| {
            let target = ruleset.rule(**rule).map(|rule| &rule.target);
            !matches!(target, Some(Target::Jump(_) | Target::Goto(_)) | None)
        });
        let matched: Vec<RuleId> = ends.copied().collect();
        if !matched.is_empty() {
            lines.push(format!("matched: {}", numbers(&matched)));
        }
        Some(Self { chain: id, lines, base: chain.base.is_some(), marked })
    }
}

fn title(family: Family, table: &Table, backend: Backend) -> String {
    let family = match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    };
    let backend = match backend {
        Backend::Nft => "",
        Backend::Legacy => ", legacy",
    };
    format!("{table} ({family}{backend})")
}

fn numbers(rules: &[RuleId]) -> String {
    let shown: Vec<String> =
        rules.iter().take(RULES_SHOWN).map(|rule| rule.number().to_string()).collect();
    let more = match rules.len().saturating_sub(RULES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

fn edge_label(ruleset: &Ruleset, kind: LinkKind, rules: &[RuleId]) -> String {
    let numbers = numbers(rules);
    let goto = match kind {
        LinkKind::Jump => "",
        LinkKind::Goto => "goto ",
    };
    let [only] = rules else { return format!("{goto}{numbers}") };
    let rule = ruleset.rule(*only);
    let conditions = rule.map(|rule| conditions(ruleset.text(rule))).unwrap_or_default();
    if conditions.is_empty() {
        return format!("{goto}{numbers}");
    }
    format!("{goto}{numbers}: {conditions}")
}

/// The part of a rule's text that says what it asks, without comments and `-m` words, shortened.
fn conditions(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut words = Words(text);
    while let Some(word) = words.next() {
        match word {
            "-A" | "-I" | "--append" | "--insert" | "-m" | "--match" | "--comment" => {
                words.next();
            }
            "-j" | "-g" | "--jump" | "--goto" => break,
            _ if kept.is_empty() && word.starts_with('[') => {}
            _ => kept.push(word),
        }
    }
    let joined = kept.join(" ");
    if joined.chars().count() <= CONDITION_WIDTH {
        return joined;
    }
    let cut: String = joined.chars().take(CONDITION_WIDTH - 1).collect();
    format!("{}\u{2026}", cut.trim_end())
}

/// The words of a rule as they are written, quotes included.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start();
        if self.0.is_empty() {
            return None;
        }
        let mut quoted = false;
        let mut escaped = false;
        let end = self.0.char_indices().find(|(_, character)| {
            if escaped {
                escaped = false;
                return false;
            }
            match character {
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            character.is_whitespace() && !quoted
        });
        let (word, rest) = self.0.split_at(end.map_or(self.0.len(), |(at, _)| at));
        self.0 = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_keeps_what_the_rule_asks() {
        let cases = [
            ("-A FORWARD -o docker0 -j DOCKER", "-o docker0"),
            ("-A X -m comment --comment \"a -j b\" -m mark --mark 0x1 -j Y", "--mark 0x1"),
            ("[3:180] -A X ! -i br0 -g Y", "! -i br0"),
            ("-A FORWARD -j DOCKER-USER", ""),
            (
                "-A F -d 10.96.0.1/32 -p tcp -m comment --comment \"x \\\" y\" -m tcp --dport 443 -j S",
                "-d 10.96.0.1/32 -p tcp --dport 443",
            ),
            (
                "-A F -s 2001:db8:1:2:3:4:5:6/128 -d 2001:db8:1:2:3:4:5:6/128 -j S",
                "-s 2001:db8:1:2:3:4:5:6/128 -d 2001:db8:1:2:3:4\u{2026}",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(conditions(text), expected, "{text}");
        }
    }

    #[test]
    fn many_rules_are_counted() {
        let rules: Vec<RuleId> = (0..7).map(|index| RuleId { chain: ChainId(0), index }).collect();
        assert_eq!(numbers(&rules), "1, 2, 3, 4 and 3 more");
        assert_eq!(numbers(&rules[..2]), "1, 2");
    }
}
