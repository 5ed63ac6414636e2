//! Rules in one number, so that a plan can tell whether they are still those it was made for.

use std::fmt::Write as _;

use nattrace_parser::syntax::{Backend, Counters, Family, Policy, Rules, Table};
use nattrace_parser::{EmitOptions, Origin, emit_rules, parse_rules_of};
use sha2::{Digest as _, Sha256};

/// The digest of the rules of one family and backend: `sha256:` and 64 digits.
///
/// It is that of the text of iptables-save in its normal form, without counters, comments and
/// tables in which nothing stands, in the order of the tables' names. A table that some listing
/// made, but nobody filled, is no change.
#[must_use]
pub fn digest(text: &str, family: Family, backend: Backend) -> String {
    let origin = Origin { family: Some(family), backend: Some(backend) };
    let (rules, _) = parse_rules_of(text, origin);
    let mut out = "sha256:".to_owned();
    for byte in Sha256::digest(normal_form(rules)) {
        // Writing into a string can't fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The text that the digest is made of.
fn normal_form(mut rules: Rules<'_>) -> String {
    rules.tables.retain(holds_something);
    rules.tables.sort_by_key(|table| table.name.as_str());
    for chain in rules.tables.iter_mut().flat_map(|table| &mut table.chains) {
        chain.counters = Some(Counters::default());
    }
    emit_rules(&rules, EmitOptions::default())
}

fn holds_something(table: &Table<'_>) -> bool {
    let builtin = table.name.builtin_chains();
    !table.rules.is_empty()
        || table.chains.iter().any(|chain| {
            chain.policy == Some(Policy::Drop) || !builtin.contains(&chain.name.as_ref())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n\
        :OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE\nCOMMIT\n";

    fn of(text: &str) -> String {
        digest(text, Family::Ipv4, Backend::Nft)
    }

    #[test]
    fn what_means_the_same_has_the_same_digest() {
        let counted = RULES
            .replace("ACCEPT [0:0]", "ACCEPT [7:420]")
            .replace("-A POSTROUTING", "[3:180] -A POSTROUTING");
        let empty = "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
            COMMIT\n";
        assert_eq!(of(RULES), of(&format!("# Generated on a day\n{counted}# Completed\n")));
        assert_eq!(of(RULES), of(&format!("{empty}{RULES}")));
        assert_eq!(of(&format!("{empty}{RULES}")), of(&format!("{RULES}{empty}")));
    }

    #[test]
    fn any_other_rule_chain_or_policy_has_another_digest() {
        let others = [
            RULES.replace("172.18", "172.19"),
            RULES.replace("COMMIT", "-A POSTROUTING -j ACCEPT\nCOMMIT"),
            RULES.replace(":POSTROUTING", ":DOCKER - [0:0]\n:POSTROUTING"),
            format!("{RULES}*filter\n:INPUT DROP [0:0]\nCOMMIT\n"),
            String::new(),
        ];
        for other in others {
            assert_ne!(of(RULES), of(&other), "{other}");
        }
    }
}
