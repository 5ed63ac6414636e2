//! Rules in both backends of iptables at once.

use nattrace_model::ruleset::{Chain, Rule};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Backend, Policy};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "mixed-iptables-backends";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let chains = &scene.system.rules.chains;
    let of = |backend: Backend| {
        chains
            .iter()
            .filter(move |chain| chain.backend == backend && chain.table.of_iptables().is_some())
    };
    let decides = |backend: Backend| of(backend).any(decides);
    if !decides(Backend::Nft) || !decides(Backend::Legacy) {
        return Vec::new();
    }
    let tables = |backend: Backend| {
        let mut tables: Vec<&str> = of(backend)
            .filter(|chain| self::decides(chain))
            .map(|chain| chain.table.as_str())
            .collect();
        tables.sort_unstable();
        tables.dedup();
        tables.join(", ")
    };
    let finding = Finding::new(CODE, Severity::Error, "iptables-nft and iptables-legacy both hold rules")
        .effect(format!(
            "a packet must pass both (nft: {}; legacy: {}), and `iptables -L` shows one of them",
            tables(Backend::Nft),
            tables(Backend::Legacy),
        ))
        .help("keep one: update-alternatives --set iptables /usr/sbin/iptables-nft (or -legacy), restart what made the rules, then flush the other with iptables-legacy -F (or -nft)");
    vec![finding]
}

/// Whether a chain can change what becomes of a packet.
fn decides(chain: &Chain) -> bool {
    let policy = chain.base.is_some_and(|base| base.policy == Policy::Drop);
    let harmless = |rule: &Rule| {
        matches!(
            rule.target,
            Target::Accept
                | Target::Return
                | Target::None
                | Target::Log
                | Target::Jump(_)
                | Target::Goto(_)
        )
    };
    policy || chain.rules.iter().any(|rule| !harmless(rule))
}
