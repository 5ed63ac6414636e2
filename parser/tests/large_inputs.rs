//! Reading takes time in proportion to the text, whatever it repeats. What took the square of that
//! would take minutes here.

use nattrace_parser::host;
use nattrace_parser::{Diagnostic, parse_rules};

const MANY: usize = 100_000;

const TABLE: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";

fn numbered(line: impl Fn(usize) -> String) -> String {
    (0..MANY).map(line).collect()
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<&'static str> {
    diagnostics.iter().map(|found| found.code).collect()
}

/// How many tables and chains of them a text has.
fn sizes(text: String) -> (usize, usize) {
    let (rules, _) = parse_rules(&text);
    (rules.tables.len(), rules.tables.iter().map(|table| table.chains.len()).sum())
}

#[test]
fn many_policies_and_listings_in_one_text() {
    let text = numbered(|number| format!("-P C{number} ACCEPT\n"));
    assert_eq!(codes(&parse_rules(&text).1).len(), MANY);
    assert_eq!(sizes("-P INPUT ACCEPT\n".repeat(MANY)), (MANY, MANY));
    assert_eq!(sizes("# iptables -S\n-A INPUT -j DROP\n".repeat(MANY)), (MANY, 0));
    assert_eq!(sizes(numbered(|number| format!("-N C{number}\n"))), (1, MANY));
}

#[test]
fn many_tables_and_chains() {
    let chains = numbered(|number| format!(":C{number} - [0:0]\n"));
    assert_eq!(sizes(format!("{TABLE}{chains}COMMIT\n")), (1, MANY + 3));
    assert_eq!(sizes(format!("{TABLE}COMMIT\n").repeat(MANY / 10)), (MANY / 10, 3 * MANY / 10));
}

#[test]
fn many_chains_of_a_listing() {
    let chain =
        |number| format!("Chain C{number} (0 references)\ntarget prot opt source destination\n");
    assert_eq!(sizes(numbered(chain)), (1, MANY));
    assert_eq!(sizes("Chain INPUT (policy ACCEPT)\n".repeat(MANY)), (MANY, MANY));
}

#[test]
fn a_line_of_any_length() {
    for words in ["x ", "! ", "--foo 1 ", "-m tcp ", "-s 10.0.0.1 ", "\"a\" ", "-j ", "– "] {
        let text = format!("{TABLE}-A INPUT {}\nCOMMIT\n", words.repeat(MANY));
        let (rules, diagnostics) = parse_rules(&text);
        assert_eq!(rules.tables[0].rules.len(), 1, "{words}");
        assert!(diagnostics.iter().any(|found| found.code == "too-long"), "{words}");
    }
    let list = "10.0.0.1,".repeat(MANY);
    let text = format!("{TABLE}-A INPUT -s {list}1.1.1.1 -d {list}1.1.1.1 -j DROP\nCOMMIT\n");
    assert_eq!(codes(&parse_rules(&text).1), ["too-many-rules"]);
}

#[test]
fn many_parts() {
    let parts = numbered(|number| format!("#@ nattrace part-of-the-host-{number}\n"));
    assert_eq!(host::snapshot::split(&parts).0.len(), MANY);
}

#[test]
fn deep_nesting() {
    let nested = "[".repeat(MANY);
    assert_eq!(codes(&host::address::parse(&nested).1), ["invalid-json"]);
    let nested = format!("[{{\"Config\":{nested}1{}}}]", "]".repeat(MANY));
    assert!(!host::docker::parse_containers(&nested).1.is_empty());
    let nested = format!("a = {}", "[".repeat(MANY));
    assert!(!host::zones::parse(&nested).1.is_empty());
}

#[test]
fn many_entries_of_a_part() {
    let keys = numbered(|number| format!("\"k{number}\":0,"));
    assert!(!host::docker::parse_networks(&format!("[{{{keys}\"Name\":1}}]")).1.is_empty());
    let links = numbered(|number| format!("{number}: eth{number}: <UP> mtu 1500\n"));
    assert_eq!(host::address::parse(&links).0.len(), MANY);
    let sysctl = numbered(|number| format!("net.ipv4.conf.eth{number}.rp_filter = 1\n"));
    assert_eq!(host::sysctl::parse(&sysctl).0.entries.len(), MANY);
}

#[test]
fn many_sets_and_zones() {
    let sets = numbered(|number| format!("create s{number} hash:ip\nadd s{number} 10.0.0.1\n"));
    assert_eq!(host::ipset::parse(&sets).0.len(), MANY);
    let zones = numbered(|number| format!("[zones.z{number}]\nvia = [\"eth0\"]\n"));
    assert_eq!(host::zones::parse(&zones).0.len(), MANY);
}
