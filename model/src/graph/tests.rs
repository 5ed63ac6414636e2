use nattrace_parser::span::Span;
use nattrace_parser::syntax::{Backend, Family, Policy, TableName};

use super::*;
use crate::ruleset::{Origin, Rule, Table, base_of};
use crate::target::Target;

/// Chains of filter as `NAME: J>CHAIN G>CHAIN …`; a built-in name makes a base chain.
fn chains(text: &str) -> Vec<Chain> {
    let lines: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let id = |name: &str| {
        let index = lines.iter().position(|(known, _)| *known == name).expect(name);
        ChainId(u32::try_from(index).unwrap())
    };
    let rule = |word: &str| {
        let target = match word.split_once('>') {
            Some(("J", to)) => Target::Jump(id(to)),
            Some(("G", to)) => Target::Goto(id(to)),
            _ => Target::Accept,
        };
        let origin =
            Origin { source: 0, line: 1, handle: None, span: Span::default(), printed: None };
        Rule { conditions: Vec::new(), target, origin, counters: None }
    };
    lines
        .iter()
        .map(|(name, rules)| Chain {
            backend: Backend::Nft,
            family: Family::Ipv4,
            table: Table::Iptables(TableName::Filter),
            name: (*name).into(),
            base: base_of(Backend::Nft, TableName::Filter, name, Policy::Accept),
            rules: rules.split_whitespace().map(rule).collect(),
        })
        .collect()
}

const fn rule(chain: u32, index: u32) -> RuleId {
    RuleId { chain: ChainId(chain), index }
}

#[test]
fn hooks_spread_along_jumps_and_gotos() {
    let chains =
        chains("INPUT: A J>one\nFORWARD: G>two\none: J>two\ntwo:\nalone: J>alone2\nalone2:");
    let graph = ChainGraph::new(&chains);
    let hooks = |id| graph.reaching_hooks(ChainId(id)).iter().collect::<Vec<_>>();
    assert_eq!(hooks(0), [Hook::Input]);
    assert_eq!(hooks(2), [Hook::Input]);
    assert_eq!(hooks(3), [Hook::Input, Hook::Forward]);
    assert_eq!(hooks(4), []);
    assert_eq!(graph.unreachable().collect::<Vec<_>>(), [ChainId(4), ChainId(5)]);
    assert_eq!(graph.callers(ChainId(3)).len(), 2);
    assert_eq!(
        graph.links(ChainId(0)),
        [(Link { rule: rule(0, 1), kind: LinkKind::Jump }, ChainId(2))]
    );
    assert_eq!(graph.reachable_from([ChainId(1)]), [ChainId(1), ChainId(3)]);
}

#[test]
fn every_loop_is_found_and_named_by_the_rule_that_closes_it() {
    type Case<'a> = (&'a str, &'a [(&'a [u32], RuleId)]);
    let cases: [Case<'_>; 6] = [
        ("INPUT: J>a\na: J>b\nb: A", &[]),
        ("INPUT: J>a\na: A J>a", &[(&[1], rule(1, 1))]),
        ("INPUT: J>a\na: J>b\nb: A G>a", &[(&[1, 2], rule(2, 1))]),
        // Two loops through one chain, and a diamond that is none.
        (
            "INPUT: J>a J>b\na: J>b J>c\nb: J>d\nc: J>d J>a\nd: J>a",
            &[(&[1, 2, 4], rule(4, 0)), (&[1, 3], rule(3, 1))],
        ),
        // What nothing reaches comes last.
        ("x: J>y\ny: J>x\nINPUT: J>a\na: J>a", &[(&[3], rule(3, 0)), (&[0, 1], rule(1, 0))]),
        ("INPUT: J>a J>a J>b G>b\na: J>b J>b\nb:", &[]),
    ];
    for (text, expected) in cases {
        let graph = ChainGraph::new(&chains(text));
        let found = graph.loops();
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.chains.iter().map(|id| id.0).collect::<Vec<_>>(), found.closing))
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(chains, closing)| (chains.to_vec(), *closing)).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn depth_counts_levels_and_ends_in_a_loop() {
    let linear: String = (0..99)
        .map(|level| format!("c{level}: A J>c{}\n", level + 1))
        .chain(["c99:\nINPUT: J>c50 J>c0".to_owned()])
        .collect();
    let graph = ChainGraph::new(&chains(&linear));
    let heights = graph.heights();
    assert_eq!(graph.loops(), []);
    assert_eq!((heights[99], heights[0], heights[100]), (1, 100, 101));
    let path = graph.deepest_path(ChainId(100), &heights);
    assert_eq!((path.len(), path[0], path[1]), (100, rule(100, 1), rule(0, 1)));

    let round = ChainGraph::new(&chains("INPUT: J>a\na: J>b\nb: J>a J>c\nc:"));
    assert_eq!(round.heights(), [4, 3, 2, 1]);
}

/// A chain of 200,000 chains must not exhaust the stack.
#[test]
fn a_very_long_chain_of_chains_is_walked() {
    let mut long = chains("INPUT: J>c\nc: A");
    for index in 2..200_000u32 {
        let mut next = long[1].clone();
        next.rules[0].target = Target::Accept;
        if let Some(rule) = long.last_mut().and_then(|chain| chain.rules.first_mut()) {
            rule.target = Target::Jump(ChainId(index));
        }
        long.push(next);
    }
    let graph = ChainGraph::new(&long);
    assert_eq!(graph.heights().first(), Some(&200_000));
}

#[test]
fn hooks_spread_through_loops_too() {
    let graph =
        ChainGraph::new(&chains("FORWARD: J>a\na: J>b\nb: J>a J>c\nc:\nINPUT: J>c\nOUTPUT: J>b"));
    let hooks = |id| graph.reaching_hooks(ChainId(id)).iter().collect::<Vec<_>>();
    assert_eq!(hooks(1), [Hook::Forward, Hook::Output]);
    assert_eq!(hooks(2), [Hook::Forward, Hook::Output]);
    assert_eq!(hooks(3), [Hook::Input, Hook::Forward, Hook::Output]);
}
