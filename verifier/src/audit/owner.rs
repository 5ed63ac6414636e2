//! Who keeps a rule, as exactly as the lints need it: a rule that a person made about `docker0` is
//! that person's.

use nattrace_model::host::Host;
use nattrace_model::owner::Owner;
use nattrace_model::ruleset::{Rule, RuleId, Ruleset, Table};
use nattrace_model::target::Target;

/// Who keeps a rule: by its chain, by the chain that it calls, by its comment or set, or because it
/// is just what Docker writes.
pub(crate) fn of_rule(rules: &Ruleset, host: &Host, id: RuleId) -> Owner {
    let (Some(chain), Some(rule)) = (rules.chain(id.chain), rules.rule(id)) else {
        return Owner::Hand;
    };
    if let Table::Native(table) = &chain.table
        && let Some(owner) = Owner::of_table(&table.name)
    {
        return owner;
    }
    let text = rules.text(rule);
    let plain = text.split_once("-A ").map_or(text.to_owned(), |(_, rest)| format!("-A {rest}"));
    if *chain.name == *"DOCKER-USER" {
        // Docker ends the chain that it leaves to people with a RETURN.
        return Owner::of_rule(&chain.name, if rule.conditions.is_empty() { &plain } else { "" });
    }
    if let Some(owner) = Owner::of_chain(&chain.name) {
        return owner;
    }
    if let Target::Jump(called) | Target::Goto(called) = rule.target
        && let Some(owner) = rules.chain(called).and_then(|called| Owner::of_chain(&called.name))
    {
        return owner;
    }
    if plain.contains("--comment ") || plain.contains("--match-set ") {
        return Owner::of_rule(&chain.name, &plain);
    }
    let dockers = chain.base.is_some() && is_dockers(rules, host, rule);
    if dockers { Owner::Docker } else { Owner::Hand }
}

/// The rules that Docker puts into built-in chains: they name a bridge of one of its networks in
/// just the words that it uses.
fn is_dockers(rules: &Ruleset, host: &Host, rule: &Rule) -> bool {
    let text = rules.text(rule);
    let text = text.split_once("-A ").map_or(text, |(_, rest)| rest);
    if host.inventory.networks.is_empty() && bridge_in(text).is_some_and(|own| is_plain(text, own))
    {
        return true;
    }
    host.inventory.networks.iter().filter(|network| !network.bridge.is_empty()).any(|network| {
        let bridge = &network.bridge;
        // Docker 28 and later: nobody sends to a container past its network.
        let direct = text.starts_with("PREROUTING -d ")
            && text.contains(&format!(" ! -i {bridge} "))
            && text.ends_with("-j DROP");
        if direct || is_plain(text, bridge) {
            return true;
        }
        let subnet = network
            .subnets
            .iter()
            .any(|subnet| text == format!("POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"));
        subnet || is_hairpin(text)
    })
}

/// The rules that Docker puts into FORWARD for every bridge.
fn is_plain(text: &str, bridge: &str) -> bool {
    let known = [
        format!("FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        format!("FORWARD -o {bridge} -j DOCKER"),
        format!("FORWARD -i {bridge} ! -o {bridge} -j ACCEPT"),
        format!("FORWARD -i {bridge} -o {bridge} -j ACCEPT"),
        format!("FORWARD -i {bridge} -o {bridge} -j DROP"),
    ];
    known.iter().any(|known| text == known)
}

/// The bridge that a rule names, by the names that only Docker gives.
fn bridge_in(text: &str) -> Option<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let named = words.windows(2).find_map(|pair| match pair {
        ["-i" | "-o", name] => Some(*name),
        _ => None,
    })?;
    let id = named.strip_prefix("br-");
    let made = id.is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    (made || named == "docker0").then_some(named)
}

/// `-s A -d A -p tcp -m tcp --dport 80 -j MASQUERADE`: a container that reaches itself by its
/// published port.
fn is_hairpin(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some("POSTROUTING"), Some("-s"), Some(source), Some("-d"), Some(destination)) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    source == destination && words.next_back() == Some("MASQUERADE")
}
