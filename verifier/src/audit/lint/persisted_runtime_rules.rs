//! Rules that a program makes anew at each start, kept in a file that is loaded at boot.

use nattrace_model::owner::Owner;
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_model::target::Target;

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
        let file =
            first.rules.first().and_then(|rule| rules.sources.get(usize::from(rule.origin.source)));
        let file = file.map(|source| source.name.clone()).unwrap_or_default();
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
            .fixed_by(
                without(scene, maker, &file).into_iter().collect(),
                "load it with iptables-restore --noflush from now on; FILE.bak is what it was",
            ),
        );
    }
    found
}

/// The command that takes out of a file the chains of a program, what stands in them, what calls
/// them, and its rules in other chains.
fn without(scene: &Scene<'_>, maker: Owner, file: &str) -> Option<String> {
    let rules = &scene.system.rules;
    let source = rules.sources.iter().find(|source| source.name == file)?;
    let is_makers = |name: &str| name != "DOCKER-USER" && Owner::of_chain(name) == Some(maker);
    let mut gone: Vec<usize> = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let declared = line.strip_prefix(':').and_then(|rest| rest.split_whitespace().next());
        if declared.is_some_and(is_makers) {
            gone.push(number);
        }
    }
    for (id, _, rule) in scene.rules() {
        let here = rules.sources.get(usize::from(rule.origin.source));
        // Whoever finds the chain of people there may not call it any more.
        let called = match rule.target {
            Target::Jump(called) => rules.chain(called).map_or("", |called| &called.name),
            _ => "",
        };
        let kept = called == "DOCKER-USER";
        if here.is_some_and(|own| own.name == file) && !kept && scene.owner(id) == maker {
            gone.push(usize::try_from(rule.origin.line).ok()?);
        }
    }
    gone.sort_unstable();
    gone.dedup();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in gone {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => ranges.push((line, line)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => format!("{first}d"),
        false => format!("{first},{last}d"),
    });
    Some(format!("sed -i.bak '{}' {file}", words.collect::<Vec<_>>().join(";")))
}
