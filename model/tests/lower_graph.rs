//! The drawings of the chain graph.

use std::sync::Arc;

use nattrace_model::graph::{GraphOptions, to_dot, to_mermaid};
use nattrace_model::hook::Hook;
use nattrace_model::lower::{RulesInput, lower};
use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_parser::parse_rules;
use nattrace_parser::syntax::{Backend, Family, TableName};

const RULES: &str = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
:it's<\"odd\"> - [0:0]
:lonely - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -s 10.0.0.0/8 -m comment --comment \"a \\\"-j\\\" b\" -g \"it's<\\\"odd\\\">\"
-A FORWARD -s 10.0.0.1/32 -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
";

fn ruleset() -> Ruleset {
    let (rules, _) = parse_rules(RULES);
    let text = Arc::new(RULES.to_owned());
    let input = RulesInput {
        name: "x",
        text: &text,
        rules: &rules,
        family: Family::Ipv4,
        backend: Backend::Nft,
    };
    lower(&[input]).0
}

fn find(ruleset: &Ruleset, table: TableName, name: &str) -> ChainId {
    ruleset.find_chain(Backend::Nft, Family::Ipv4, table, name).unwrap_or(ChainId(u32::MAX))
}

/// What a forwarded packet to 8080 matched.
fn path(ruleset: &Ruleset) -> Vec<RuleId> {
    let rule = |table, name, index| RuleId { chain: find(ruleset, table, name), index };
    vec![
        rule(TableName::Nat, "PREROUTING", 0),
        rule(TableName::Nat, "DOCKER", 1),
        rule(TableName::Filter, "FORWARD", 0),
        rule(TableName::Filter, "DOCKER-USER", 0),
    ]
}

#[test]
fn the_whole_graph_in_dot() {
    let ruleset = ruleset();
    let dot = to_dot(&ruleset, &GraphOptions::default());
    insta::with_settings!({ snapshot_path => "lower" }, { insta::assert_snapshot!(dot) });
}

#[test]
fn a_path_in_mermaid() {
    let ruleset = ruleset();
    let path = path(&ruleset);
    let visited = [find(&ruleset, TableName::Nat, "POSTROUTING")];
    let options = GraphOptions { path: &path, visited: &visited, ..GraphOptions::default() };
    let mermaid = to_mermaid(&ruleset, &options);
    insta::with_settings!({ snapshot_path => "lower" }, { insta::assert_snapshot!(mermaid) });
}

/// Colour is never the only carrier: what is marked is so in the text too, and nothing else is.
#[test]
fn a_path_is_marked_in_the_text() {
    let ruleset = ruleset();
    let path = path(&ruleset);
    let marked = GraphOptions { path: &path, ..GraphOptions::default() };
    for draw in [to_dot, to_mermaid] {
        assert_eq!(draw(&ruleset, &GraphOptions::default()).matches('\u{25b6}').count(), 0);
        // Four chains and two calls.
        assert_eq!(draw(&ruleset, &marked).matches('\u{25b6}').count(), 6);
    }
}

#[test]
fn a_drawing_is_restricted_to_tables_and_hooks() {
    let ruleset = ruleset();
    let nat = GraphOptions { tables: &[TableName::Nat], ..GraphOptions::default() };
    let drawn = to_dot(&ruleset, &nat);
    assert!(drawn.contains("POSTROUTING") && !drawn.contains("FORWARD"), "{drawn}");
    let forward = GraphOptions { hooks: &[Hook::Forward], ..GraphOptions::default() };
    let drawn = to_mermaid(&ruleset, &forward);
    assert!(drawn.contains("DOCKER-USER") && drawn.contains("FORWARD"), "{drawn}");
    for absent in ["PREROUTING", "OUTPUT", "lonely", "DNAT", "nat "] {
        assert!(!drawn.contains(absent), "{absent}: {drawn}");
    }
    let six = GraphOptions { family: Some(Family::Ipv6), ..GraphOptions::default() };
    assert_eq!(to_mermaid(&ruleset, &six), "flowchart LR\n");
}
