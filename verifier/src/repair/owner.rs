//! Who keeps a rule: what a program keeps is not replaced, since it would put its own back.

use nattrace_model::owner::Owner;
use nattrace_model::ruleset::RuleId;

use super::evidence::Evidence;
use crate::audit::owner;

/// Whether a rule was made by hand, as far as anything tells.
pub(super) fn is_by_hand(evidence: &Evidence<'_>, rule: RuleId) -> bool {
    let system = evidence.system;
    let text = system.rules.rule(rule).map_or("", |rule| system.rules.text(rule));
    owner::of_rule(&system.rules, &system.host, rule) == Owner::Hand && !looks_like_dockers(text)
}

/// Whether a rule is worded as Docker words its own, where no inventory tells of its networks.
fn looks_like_dockers(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_bridge = |name: &str| {
        name == "docker0"
            || name.strip_prefix("br-").is_some_and(|id| {
                id.len() == 12 && id.chars().all(|letter| letter.is_ascii_hexdigit())
            })
    };
    match words.as_slice() {
        ["-A", "POSTROUTING", "-s", _, "!", "-o", bridge, "-j", "MASQUERADE"]
        | ["-A", "FORWARD", "-i", bridge, "!", "-o", _, "-j", "ACCEPT"]
        | ["-A", "FORWARD", "-i", bridge, "-o", _, "-j", "ACCEPT" | "DROP"]
        | ["-A", "FORWARD", "-o", bridge, "-m", "conntrack", "--ctstate", _, "-j", "ACCEPT"] => {
            is_bridge(bridge)
        }
        [
            "-A",
            "POSTROUTING",
            "-s",
            source,
            "-d",
            destination,
            "-p",
            _,
            "-m",
            _,
            "--dport",
            _,
            "-j",
            "MASQUERADE",
        ] => source == destination,
        _ => false,
    }
}
