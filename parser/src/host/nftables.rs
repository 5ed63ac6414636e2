//! `nft -j list ruleset`: which base chains there are besides those of iptables.
//!
//! Only where a chain sits is read, not its rules.

use crate::diagnostic::Diagnostic;
use crate::span::Span;

use super::json::{self, Json, Object};

/// A chain that is hooked into the path of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// The family as nft names it: `ip`, `ip6`, `inet`, `bridge`, `netdev`, `arp`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook as nft names it: `prerouting`, `ingress`, …
    pub hook: String,
    /// Its priority, as a number.
    pub priority: i64,
    /// Whether its policy is drop.
    pub drops: bool,
    /// How many rules stand in it.
    pub rules: usize,
    /// Its place in the text.
    pub span: Span,
}

impl BaseChain {
    /// Whether it is one that iptables-nft shows: a built-in chain of one of its tables.
    #[must_use]
    pub fn is_of_iptables(&self) -> bool {
        use crate::syntax::TableName;
        matches!(self.family.as_str(), "ip" | "ip6")
            && TableName::ALL.into_iter().any(|table| {
                table.as_str() == self.table && table.builtin_chains().contains(&self.name.as_str())
            })
    }
}

/// What a text of another kind is told to be.
const EXPECTED: &str = "a ruleset, as `nft -j list ruleset` prints";

/// Reads the base chains.
#[must_use]
pub fn parse(text: &str) -> (Vec<BaseChain>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut chains: Vec<BaseChain> = Vec::new();
    if text.trim().is_empty() {
        return (chains, diagnostics);
    }
    let Some(start) = json::start(text) else {
        let span = Span::new(0, text.lines().next().map_or(0, str::len));
        diagnostics.push(Diagnostic::error("not-json", format!("expected {EXPECTED}"), span));
        return (chains, diagnostics);
    };
    for entry in json::entries(text, start, EXPECTED, &mut diagnostics) {
        if let Err(found) = read_ruleset(entry, &mut chains, &mut diagnostics) {
            diagnostics.push(found);
        }
    }
    (chains, diagnostics)
}

fn read_ruleset(
    entry: Json<'_>,
    chains: &mut Vec<BaseChain>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    let ruleset = entry.object(EXPECTED)?;
    for item in ruleset.required("nftables")?.list(EXPECTED)? {
        let item = item.object("an object of the ruleset")?;
        if let Some(chain) = item.get("chain") {
            match read_chain(&chain.object("a chain")?) {
                Ok(found) => chains.extend(found),
                Err(found) => diagnostics.push(found),
            }
        } else if let Some(rule) = item.get("rule") {
            count_rule(&rule.object("a rule")?, chains);
        }
    }
    Ok(())
}

/// A chain with a hook; the others are only reached from those.
fn read_chain(chain: &Object<'_>) -> Result<Option<BaseChain>, Diagnostic> {
    let Some(hook) = chain.get("hook") else { return Ok(None) };
    let word = |key: &str| -> Result<String, Diagnostic> {
        Ok(chain.required(key)?.string()?.into_owned())
    };
    let optional = |key: &str| chain.get(key).map(|value| value.string()).transpose();
    Ok(Some(BaseChain {
        family: word("family")?,
        table: word("table")?,
        name: word("name")?,
        kind: optional("type")?.map_or_else(|| "filter".to_owned(), Into::into),
        hook: hook.string()?.into_owned(),
        priority: chain.get("prio").map_or(Ok(0), |priority| priority.parse("a priority"))?,
        drops: optional("policy")?.is_some_and(|policy| policy == "drop"),
        rules: 0,
        span: chain.span,
    }))
}

fn count_rule(rule: &Object<'_>, chains: &mut [BaseChain]) {
    let is = |key: &str, value: &str| {
        rule.get(key).and_then(|given| given.string().ok()).is_some_and(|given| given == value)
    };
    let own = chains.iter_mut().find(|chain| {
        is("family", &chain.family) && is("table", &chain.table) && is("chain", &chain.name)
    });
    if let Some(chain) = own {
        chain.rules += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULESET: &str = r#"{"nftables": [{"metainfo": {"json_schema_version": 1}},
        {"table": {"family": "inet", "name": "fw", "handle": 1}},
        {"chain": {"family": "inet", "table": "fw", "name": "forward", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "fw", "name": "own", "handle": 2}},
        {"rule": {"family": "inet", "table": "fw", "chain": "forward", "handle": 3, "expr": [{"accept": null}]}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}}]}"#;

    #[test]
    fn only_hooked_chains_count_and_those_of_iptables_are_known() {
        let (chains, diagnostics) = parse(RULESET);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let told: Vec<_> = chains
            .iter()
            .map(|c| (c.table.as_str(), c.name.as_str(), c.drops, c.rules, c.is_of_iptables()))
            .collect();
        assert_eq!(
            told,
            [("fw", "forward", true, 1, false), ("filter", "FORWARD", false, 0, true)]
        );
    }

    #[test]
    fn another_text_is_one_error() {
        for text in ["table inet fw {", "[1, 2]", "{\"nftables\": 3}", "{\"nftables\": [{\"chain\""]
        {
            let (_, diagnostics) = parse(text);
            assert!(!diagnostics.is_empty(), "{text}");
        }
        assert_eq!(parse("").1, []);
    }
}
