//! Jumps to the chains of Docker that are there, and that nothing calls any more.

use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Chain, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::super::Placement;
use super::super::anchor::{Anchor, DOCKER_USER, place_of};
use super::super::change::{At, Candidate};
use super::super::evidence::Evidence;
use super::candidate;

/// A jump that Docker makes.
struct Jump {
    table: TableName,
    /// The chain that it is a rule of.
    hook: Hook,
    /// The chain that it calls.
    called: &'static str,
    /// What it asks of packets.
    asks: &'static str,
}

const fn filtering(called: &'static str) -> Jump {
    Jump { table: TableName::Filter, hook: Hook::Forward, called, asks: "" }
}

const fn translating(hook: Hook, asks: &'static str) -> Jump {
    Jump { table: TableName::Nat, hook, called: "DOCKER", asks }
}

/// The jumps of all versions, in the order in which their rules stand.
fn jumps(family: Family) -> [Jump; 5] {
    let from_here = match family {
        Family::Ipv4 => " ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL",
        Family::Ipv6 => " ! -d ::1/128 -m addrtype --dst-type LOCAL",
    };
    [
        filtering(DOCKER_USER),
        filtering("DOCKER-ISOLATION-STAGE-1"),
        filtering("DOCKER-FORWARD"),
        translating(Hook::Prerouting, " -m addrtype --dst-type LOCAL"),
        translating(Hook::Output, from_here),
    ]
}

/// The jumps that are missing: what the chains hold was made for packets that never meet it.
pub(super) fn of(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for jump in jumps(evidence.family()) {
        let elsewhere = evidence.placement == Placement::DockerUser && jump.called != DOCKER_USER;
        if elsewhere && jump.table == TableName::Filter {
            continue;
        }
        for chain in &evidence.system.rules.chains {
            if is(chain, evidence.family(), &jump) && !chain.rules.is_empty() {
                found.extend(missing(evidence, chain, &jump));
            }
        }
    }
    found
}

fn is(chain: &Chain, family: Family, jump: &Jump) -> bool {
    chain.base.is_none()
        && chain.family == family
        && chain.table == jump.table
        && *chain.name == *jump.called
}

/// A jump to a chain, where there is none.
fn missing(evidence: &Evidence<'_>, chain: &Chain, jump: &Jump) -> Option<Candidate> {
    let rules = &evidence.system.rules;
    let hook = jump.hook.as_str();
    let caller = (0u32..).zip(&rules.chains).find(|(_, own)| {
        (own.backend, own.family) == (chain.backend, chain.family)
            && own.table == chain.table
            && *own.name == *hook
    });
    let (id, caller) = caller?;
    let calls = |name: &str| {
        let to_it = |target: &Target| match target {
            Target::Jump(id) | Target::Goto(id) => {
                rules.chain(*id).is_some_and(|called| &*called.name == name)
            }
            _ => false,
        };
        caller.rules.iter().position(|rule| to_it(&rule.target))
    };
    if calls(jump.called).is_some() {
        return None;
    }
    let at = match jump.table {
        // Behind the one to DOCKER-USER, which Docker keeps in front.
        TableName::Filter => {
            let behind = calls(DOCKER_USER).map_or(0, |index| index + 1);
            let index = u32::try_from(behind).ok()?;
            let id = nattrace_model::ruleset::ChainId(id);
            match behind < caller.rules.len() {
                true => evidence.edited.before(RuleId { chain: id, index }),
                false => At::End,
            }
        }
        _ => At::End,
    };
    let anchor = Anchor { place: place_of(caller)?, at };
    let rule = format!("-A {hook}{} -j {}", jump.asks, jump.called);
    let because = format!("Docker's chain {} is there, and nothing calls it", jump.called);
    Some(candidate(&anchor, rule, &because, 2))
}
