use super::*;
use crate::Severity;

const RULESET: &str = r#"{"nftables": [{"metainfo": {"json_schema_version": 1}},
    {"table": {"family": "inet", "name": "fw", "handle": 1}},
    {"chain": {"family": "inet", "table": "fw", "name": "forward", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
    {"chain": {"family": "inet", "table": "fw", "name": "own", "handle": 2}},
    {"set": {"family": "inet", "table": "fw", "name": "s", "type": ["ipv4_addr", "inet_service"], "handle": 4, "flags": ["interval"], "elem": [{"concat": [{"prefix": {"addr": "10.0.0.0", "len": 24}}, {"range": [1, 5]}]}]}},
    {"rule": {"family": "inet", "table": "fw", "chain": "forward", "handle": 3, "comment": "yes", "expr": [{"accept": null}]}},
    {"chain": {"family": "ip", "table": "filter", "name": "post", "handle": 1, "type": "nat", "hook": "postrouting", "prio": "srcnat - 1"}}]}"#;

#[test]
fn tables_chains_sets_and_rules_are_read() {
    let (ruleset, diagnostics) = parse(RULESET);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let bases: Vec<_> = ruleset
        .chains
        .iter()
        .map(|c| (c.name.as_str(), c.base.as_ref().map(|base| (base.priority, base.drops))))
        .collect();
    assert_eq!(bases, [("forward", Some((0, true))), ("own", None), ("post", Some((99, false)))]);
    assert_eq!(ruleset.rules_of(&ruleset.chains[0]).count(), 1);
    assert_eq!(ruleset.rules[0].to_string(), "accept comment \"yes\"");
    assert_eq!(ruleset.sets[0].types, ["ipv4_addr", "inet_service"]);
    assert_eq!(ruleset.sets[0].elements[0].key.to_string(), "10.0.0.0/24 . 1-5");
}

// What nft itself prints of the same rules.
#[test]
fn rules_are_printed_as_nft_prints_them() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("rules.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (json, printed) = line.split_once('\t').unwrap();
        let (ruleset, diagnostics) = parse(&format!("{{\"nftables\": [{{\"rule\": {json}}}]}}"));
        assert!(diagnostics.is_empty(), "{json} {diagnostics:?}");
        let own = ruleset.rules[0].to_string();
        if own != printed {
            wrong.push(format!("nft:  {printed}\nours: {own}\n"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 130, "{count}");
}

#[test]
fn another_text_is_one_error() {
    for text in [
        "table inet fw {",
        "table inet fw {\n\tchain c {\n\t}\n}\n",
        "[1, 2]",
        "{\"nftables\": 3}",
        "{\"nftables\": [{\"chain\"",
        "{\"nftables\": [{\"chian\": {}}]}",
        "{\"nftables\": [{\"table\": {\"family\": \"inte\", \"name\": \"x\"}}]}",
        "{\"nftables\": [{\"rule\": {\"family\": \"inet\", \"table\": \"x\", \"expr\": []}}]}",
        "{\"nftables\": [{\"rule\": {\"family\": \"inet\", \"table\": \"x\", \"chain\": \"c\", \"expr\": [7]}}]}",
    ] {
        let (_, diagnostics) = parse(text);
        let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
        assert_eq!(errors.count(), 1, "{text} {diagnostics:?}");
    }
    assert_eq!(parse("").1, []);
}

#[test]
fn what_was_probably_meant_is_said() {
    let help = |text: &str| parse(text).1.into_iter().next().and_then(|found| found.help);
    let of = |kind: &str| format!("{{\"nftables\": [{{\"{kind}\": {{}}}}]}}");
    assert_eq!(help(&of("chian")).as_deref(), Some("did you mean `chain`?"));
    let listing = "table inet fw {\n}\n";
    assert_eq!(help(listing).as_deref(), Some("`nft -j list ruleset` prints it as JSON"));
    let key = r#"{"nftables": [{"table": {"family": "ip", "name": "x", "hnadle": 3}}]}"#;
    assert_eq!(help(key).as_deref(), Some("did you mean `handle`?"));
}

#[test]
fn unknown_statements_are_kept_and_named() {
    let text = r#"{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"frob": {"a": 1}}]}}]}"#;
    let (ruleset, diagnostics) = parse(text);
    assert_eq!(ruleset.rules[0].to_string(), "frob {\"a\": 1}");
    assert_eq!(diagnostics[0].code, "unknown-statement");
    assert_eq!(diagnostics[0].span.slice(text), "{\"frob\": {\"a\": 1}}");
}

#[test]
fn what_nests_without_end_is_refused() {
    let text = format!("{{\"nftables\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let (_, diagnostics) = parse(&text);
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].code, "too-deep");
}

// Cut anywhere, a listing is one error, not a shorter ruleset.
#[test]
fn a_cut_listing_is_refused() {
    let text = include_str!("../../../tests/data/listings/nft-ruleset.json");
    let (whole, diagnostics) = parse(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(whole.rules.len() > 130, "{}", whole.rules.len());
    for end in (1..text.trim_end().len() - 1).step_by(997) {
        let (_, diagnostics) = parse(&text[..end]);
        let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
        assert_eq!(errors.count(), 1, "{end} {diagnostics:?}");
    }
}
