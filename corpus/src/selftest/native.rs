//! The tables of nftables beside iptables, as nft reads them.

use std::collections::BTreeSet;
use std::io;

use nattrace_model::System;
use nattrace_model::ruleset::Table;
use serde_json::{Map, Value, json};

use super::SelftestError;
use crate::lab::command::run;

/// Whether the host has such tables.
pub(super) fn has_any(system: &System) -> bool {
    system.rules.chains.iter().any(|chain| chain.table.of_iptables().is_none())
}

/// Loads the tables that the simulator knows from what `nft -j list ruleset` printed, and returns
/// them as nft writes them.
pub(super) fn load(system: &System, listed: &str) -> Result<String, SelftestError> {
    let tables: BTreeSet<(String, String)> = system
        .rules
        .chains
        .iter()
        .filter_map(|chain| match &chain.table {
            Table::Native(table) => Some((table.family.to_string(), table.name.clone())),
            Table::Iptables(_) => None,
        })
        .collect();
    let listed: Value = serde_json::from_str(listed).map_err(io::Error::other)?;
    let wanted = commands(&listed, &tables);
    let ran = run("nft", &["-j", "-f", "-"], &wanted.to_string())?;
    if !ran.succeeded {
        let why = ran.stderr.lines().next().unwrap_or("no reason given");
        return Err(SelftestError::NotRebuilt(format!(
            "this host's nft refuses its tables: {why}"
        )));
    }
    let mut text = String::new();
    for (family, name) in &tables {
        text += &run("nft", &["list", "table", family, name], "")?.stdout;
    }
    Ok(text)
}

/// What makes the tables anew. A list names chains behind the maps that jump to them, and nft
/// takes one thing after the other, so elements come behind chains.
fn commands(listed: &Value, tables: &BTreeSet<(String, String)>) -> Value {
    const ORDER: [&str; 11] = [
        "table",
        "chain",
        "counter",
        "quota",
        "limit",
        "ct helper",
        "ct timeout",
        "ct expectation",
        "set",
        "map",
        "rule",
    ];
    let objects = || {
        let all = listed.get("nftables").and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|object| object.as_object()?.iter().next())
    };
    let is_wanted = |kind: &str, body: &Value| {
        let text = |key| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let table = if kind == "table" { text("name") } else { text("table") };
        tables.contains(&(text("family"), table))
    };
    let mut made = Vec::new();
    for kind in ORDER {
        if kind == "rule" {
            let named = objects().filter(|(kind, _)| matches!(kind.as_str(), "set" | "map"));
            for (_, body) in named.filter(|(kind, body)| is_wanted(kind, body)) {
                made.extend(elements(body));
            }
        }
        for (_, body) in objects().filter(|(own, body)| *own == kind && is_wanted(own, body)) {
            let mut body = body.as_object().cloned().unwrap_or_default();
            for known_here_only in ["handle", "elem"] {
                body.remove(known_here_only);
            }
            made.push(json!({ "add": { kind: body } }));
        }
    }
    json!({ "nftables": made })
}

/// The elements of a set or a map, if it has any.
fn elements(body: &Value) -> Option<Value> {
    let elements = body.get("elem")?;
    let mut element = Map::new();
    for key in ["family", "table", "name"] {
        element.insert(key.to_owned(), body.get(key)?.clone());
    }
    element.insert("elem".to_owned(), elements.clone());
    Some(json!({ "add": { "element": element } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_behind_chains_and_before_rules() {
        let listed = json!({ "nftables": [
            { "metainfo": {} },
            { "table": { "family": "ip", "name": "own", "handle": 1 } },
            { "table": { "family": "ip", "name": "filter", "handle": 2 } },
            { "map": { "family": "ip", "table": "own", "name": "m", "handle": 3, "elem": [["lan", { "jump": { "target": "c" } }]] } },
            { "chain": { "family": "ip", "table": "own", "name": "c", "handle": 4 } },
            { "rule": { "family": "ip", "table": "own", "chain": "c", "handle": 5, "expr": [] } },
            { "rule": { "family": "ip", "table": "filter", "chain": "c", "handle": 6, "expr": [] } },
        ] });
        let made = commands(&listed, &BTreeSet::from([("ip".to_owned(), "own".to_owned())]));
        let kinds: Vec<&str> = made["nftables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|made| made["add"].as_object().unwrap().keys().next().unwrap().as_str())
            .collect();
        assert_eq!(kinds, ["table", "chain", "map", "element", "rule"]);
        assert!(!made.to_string().contains("handle"));
    }
}
