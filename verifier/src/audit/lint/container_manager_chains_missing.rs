//! Docker's networks are there, Docker's rules are not: they were flushed, or never made.

use nattrace_model::answer::{Effect, Outcome, Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::host::Part;
use nattrace_model::host::inventory::Network;
use nattrace_model::ruleset::Ruleset;
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;
use nattrace_model::owner::Owner;

pub(super) const CODE: CodeOf = "container-manager-chains-missing";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let listed = scene.host().has(Part::DockerNetworks) || scene.host().has(Part::DockerContainers);
    let family = |network: &Network| network.subnets.iter().any(|net| net.family() == Family::Ipv4);
    if !listed || !scene.networks().any(family) {
        return found;
    }
    let running =
        scene.host().inventory.containers.iter().any(|c| c.running && !c.endpoints.is_empty());
    if !running || has_native_tables(scene) {
        return found;
    }
    let rules = &scene.system.rules;
    let missing: Vec<&str> = [
        (TableName::Nat, Hook::Prerouting, "nat/PREROUTING → DOCKER"),
        (TableName::Filter, Hook::Forward, "filter/FORWARD → DOCKER…"),
    ]
    .into_iter()
    .filter(|(table, hook, _)| !calls_docker(rules, *table, *hook))
    .map(|(_, _, what)| what)
    .collect();
    if missing.is_empty() {
        return found;
    }
    // What it does to somebody: a published port that is answered by docker-proxy, or not at all.
    let witness = scene.published().into_iter().find_map(|port| {
        let answers =
            scene.to_published(&port, Family::Ipv4).into_iter().map(|flow| scene.why(&flow));
        answers.into_iter().find(|answer| {
            let dnat = answer
                .steps
                .iter()
                .any(|step| matches!(step, Step::Rule { effect: Effect::Dnat, .. }));
            !dnat && (answer.verdict == Verdict::Proxied || answer.outcome != Outcome::Connects)
        })
    });
    let mut finding = Finding::new(
        CODE,
        Severity::Error,
        format!("Docker's rules are missing: {}", missing.join(", ")),
    )
    .effect(
        "published ports depend on docker-proxy alone (the container sees the bridge's address, not \
         the client's), containers are not isolated, and may have no way out",
    )
    .fixed_by(
        match keeps_chains(rules) {
            true => vec!["systemctl restart docker".to_owned()],
            false => Vec::new(),
        },
        match keeps_chains(rules) {
            true => "Docker makes them again when it starts",
            false => "no chain of Docker's is left: where it runs with \"iptables\": false in daemon.json the rules are yours to \
                      keep; else restart it (systemctl restart docker), and it makes them again",
        },
    );
    finding.owner = Some(Owner::Docker);
    if let Some(answer) = witness {
        finding = finding.witness(answer);
    }
    found.push(finding);
    found
}

/// Docker 29 can keep its rules in tables of nftables.
fn has_native_tables(scene: &Scene<'_>) -> bool {
    scene.system.rules.chains.iter().any(|chain| {
        chain.table.of_iptables().is_none() && chain.table.as_str().starts_with("docker")
    }) || scene.host().foreign_chains.iter().any(|chain| chain.table.contains("docker"))
}

/// Whether some chain of Docker's is left, so that Docker surely keeps rules here.
fn keeps_chains(rules: &Ruleset) -> bool {
    let dockers = |name: &str| name.starts_with("DOCKER") && name != "DOCKER-USER";
    rules.chains.iter().any(|chain| chain.family == Family::Ipv4 && dockers(&chain.name))
}

/// Whether a built-in chain calls a chain of Docker.
fn calls_docker(rules: &Ruleset, table: TableName, hook: Hook) -> bool {
    let bases = rules.base_chains(Family::Ipv4, hook).iter().filter_map(|id| rules.chain(*id));
    bases.filter(|chain| chain.table == table).flat_map(|chain| &chain.rules).any(|rule| {
        let (Target::Jump(called) | Target::Goto(called)) = rule.target else { return false };
        rules
            .chain(called)
            .is_some_and(|chain| chain.name.starts_with("DOCKER") && *chain.name != *"DOCKER-USER")
    })
}
