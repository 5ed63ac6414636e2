//! Rules that a program makes anew at each start, kept in a file that is loaded at boot.

use nattrace_model::owner::Owner;
use nattrace_model::ruleset::{ChainId, RuleId};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "persisted-runtime-rules";

/// Files that are loaded when a host starts, by the ends of their names.
const FILES: [&str; 6] = [
    "rules.v4",
    "rules.v6",
    "sysconfig/iptables",
    "sysconfig/ip6tables",
    "iptables/iptables.rules",
    "iptables/ip6tables.rules",
];

/// Programs that make their rules themselves when they start.
const MAKERS: [Owner; 8] = [
    Owner::Docker,
    Owner::Netavark,
    Owner::Kubernetes,
    Owner::Cni,
    Owner::Calico,
    Owner::Fail2ban,
    Owner::Libvirt,
    Owner::Tailscale,
];

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let rules = &scene.system.rules;
    let mut found: Vec<Finding> = Vec::new();
    for maker in MAKERS {
        let of_maker = (0u32..).map(ChainId).zip(&rules.chains).filter(|(_, chain)| {
            *chain.name != *"DOCKER-USER" && Owner::of_chain(&chain.name) == Some(maker)
        });
        let kept: Vec<_> = of_maker
            .filter(|(_, chain)| {
                chain
                    .rules
                    .first()
                    .and_then(|rule| rules.sources.get(usize::from(rule.origin.source)))
                    .is_some_and(|source| FILES.iter().any(|file| source.name.ends_with(file)))
            })
            .collect();
        let Some((chain, first)) = kept.first() else { continue };
        let others = match kept.len() {
            1 => String::new(),
            many => format!(" and {} more chains", many - 1),
        };
        found.push(
            Finding::new(
                CODE,
                Severity::Warning,
                format!("this file keeps rules that {} makes at each start: {}{others}", maker.as_str(), first.name),
            )
            .at(RuleId { chain: *chain, index: 0 }, maker)
            .effect(
                "after a reboot these are ghosts of containers and bans that are gone, and stand before the rules \
                 that are made anew",
            )
            .help(format!(
                "leave out of the file all chains of {} and what jumps to them, keep rules of your own only, and load it with \
                 iptables-restore --noflush",
                maker.as_str()
            )),
        );
    }
    found
}
