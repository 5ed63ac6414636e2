//! Tailscale drops all of 100.64.0.0/10, of which the host also uses a part.

use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::address::Prefix;
use nattrace_model::answer::{Step, Verdict};
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::InterfaceKind;
use nattrace_model::host::route::RouteKind;
use nattrace_model::owner::Owner;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet_by};

pub(super) const CODE: CodeOf = "cgnat-drop-conflict";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let shared = Prefix::new(Ipv4Addr::new(100, 64, 0, 0).into(), 10);
    let mut found = Vec::new();
    for (id, ..) in scene.rules().filter(|(_, _, rule)| drops_all_of(rule, &shared)) {
        let witness = senders(scene, &shared).into_iter().find_map(|(interface, sender)| {
            let own = scene.host().interface(&interface)?;
            let to = Scene::addresses(own, Family::Ipv4).next()?;
            let answer = scene.why(&packet_by(&interface, sender, to, protocol::UDP, 53));
            let decided = answer.decided_by.and_then(|at| answer.steps.get(at));
            let by_it = matches!(decided, Some(Step::Rule { rule, .. }) if *rule == id);
            let lost = matches!(answer.verdict, Verdict::Dropped | Verdict::Rejected);
            (by_it && lost).then_some((interface, sender, answer))
        });
        let Some((interface, sender, answer)) = witness else { continue };
        found.push(
            Finding::new(
                CODE,
                Severity::Error,
                format!("this rule drops what {sender} sends by {interface}"),
            )
            .at(id, scene.owner(id))
            .marked(shared.to_string())
            .effect(format!(
                "the host's own network at {interface} lies in {shared}: its resolver, DHCP server and neighbours are cut off"
            ))
            .fixed_by(
                undiverted(scene, id),
                "or give that network other addresses; keep both jumps with your own rules",
            )
            .witness(answer),
        );
    }
    found
}

/// The commands that have tailscale look only at what its tunnel carries.
fn undiverted(scene: &Scene<'_>, id: RuleId) -> Vec<String> {
    if scene.owner(id) != Owner::Tailscale {
        return Vec::new();
    }
    let program = scene.program_at(Family::Ipv4, Hook::Input);
    vec![
        "tailscale set --netfilter-mode=nodivert".to_owned(),
        format!("{program} -I INPUT -i tailscale0 -j ts-input"),
        format!("{program} -I FORWARD -j ts-forward"),
    ]
}

/// Whether a rule drops all packets from the shared range, but for those by some interface.
fn drops_all_of(rule: &Rule, shared: &Prefix) -> bool {
    let drops = matches!(rule.target, Target::Drop | Target::Reject(_));
    let whole = |condition: &Condition| {
        matches!(condition, Condition::Source(Sense::Is, prefix)
            if prefix.length() > 0 && prefix.length() <= shared.length() && prefix.contains(shared.network()))
    };
    drops && rule.conditions.iter().any(whole)
}

/// Who of the shared range is behind interfaces that are no tunnels.
fn senders(scene: &Scene<'_>, shared: &Prefix) -> Vec<(String, IpAddr)> {
    let plain = |name: &str| {
        scene.host().interface(name).is_some_and(|own| {
            own.kind != InterfaceKind::Tunnel && !scene.host().is_container_bridge(name)
        })
    };
    let mut senders = Vec::new();
    for table in scene.host().routing.tables(Family::Ipv4).values() {
        let routes = table.routes().iter().filter(|route| {
            route.kind == RouteKind::Unicast
                && route.destination.length() >= shared.length()
                && shared.contains(route.destination.network())
        });
        for route in routes {
            for hop in route.next_hops.iter().filter(|hop| plain(&hop.interface)) {
                let gateway = hop.gateway.filter(|gateway| shared.contains(*gateway));
                let somebody = match route.destination.is_single() {
                    true => Some(route.destination.network()),
                    false => scene.free_address(&route.destination),
                };
                let sender = gateway.or(somebody);
                senders.extend(sender.map(|sender| (hop.interface.clone(), sender)));
            }
        }
    }
    senders
}
