//! Containers that can't reach a published port by the address that everybody else uses.

use std::net::IpAddr;

use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::host::inventory::Network;
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Member, Published, Scene, packet, protocol_name};

pub(super) const CODE: CodeOf = "hairpin-broken";

/// A container that gets no connection to a port.
struct Broken<'s> {
    port: u16,
    /// The port's own container: its networks, its address there, and its port.
    behind: Vec<(&'s Network, IpAddr, u16)>,
    who: Member<'s>,
    answer: Answer,
}

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    // docker-proxy answers datagrams from another address than they were sent to: that is so on
    // every host, and nobody's mistake.
    let published = scene.published().into_iter().filter(|port| port.protocol == protocol::TCP);
    let broken: Vec<Broken<'_>> = published.flat_map(|port| unreached(scene, &port)).collect();
    let (mut ports, mut commands) = (Vec::new(), Vec::new());
    for it in &broken {
        for command in mended(scene, it) {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        let port = it.port.to_string();
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    let Some(Broken { who, answer, .. }) = broken.into_iter().next() else { return Vec::new() };
    let finding = Finding::new(
        CODE,
        Severity::Warning,
        format!("published tcp {} can't be reached from containers by the host's address", some(&ports)),
    )
    .effect(format!(
        "what works from outside fails from inside: {} gets no connection",
        who.name()
    ))
    .fixed_by(
        commands,
        "or use the container's own address in a network that both are in; docker-proxy (userland-proxy) spares the translation",
    )
    .witness(answer);
    vec![finding]
}

/// The first few of many.
fn some(ports: &[String]) -> String {
    match ports {
        [first, second, third, _, ..] => {
            format!("{first}, {second}, {third} and {} more", ports.len() - 3)
        }
        few => few.join(", "),
    }
}

/// The commands that let a container's packets and the answers to them pass what stops them.
fn mended(scene: &Scene<'_>, broken: &Broken<'_>) -> Vec<String> {
    let Broken { port, who, answer, .. } = broken;
    let (bridge, of) = (&who.network.bridge, protocol_name(answer.flow.protocol));
    let last = answer.egress.as_ref().map(|egress| &egress.packet);
    // What stops the packet itself, or the answer to it.
    let lost = matches!(answer.verdict, Verdict::Dropped | Verdict::Rejected);
    let reply = answer.reply.as_ref().filter(|_| !lost);
    let decided = match reply {
        Some(reply) => reply.decided_by.and_then(|at| reply.steps.get(at)),
        None => answer.decided_by.and_then(|at| answer.steps.get(at)),
    };
    let hook = match decided {
        Some(Step::Rule { hook, .. } | Step::Policy { hook, .. }) => Some(*hook),
        _ => None,
    };
    let to = answer.steps.iter().find_map(|step| match step {
        Step::Route { out_interface, .. } => out_interface.clone(),
        _ => None,
    });
    match (hook, to) {
        (Some(Hook::Input), _) if lost => {
            let program = scene.program_at(Family::Ipv4, Hook::Input);
            let mut commands =
                vec![format!("{program} -I INPUT -i {bridge} -p {of} --dport {port} -j ACCEPT")];
            // docker-proxy asks the container, and has to hear its answer.
            commands.extend(unheard(scene, broken).map(|from| {
                let answers = "-m conntrack --ctstate RELATED,ESTABLISHED";
                format!("{program} -I INPUT -i {from} {answers} -j ACCEPT")
            }));
            commands
        }
        (Some(Hook::Forward), Some(to)) => {
            let place = scene.filtering_beside(Family::Ipv4, decided);
            let asked = format!("-m conntrack --ctorigdstport {port} --ctdir");
            vec![
                place.insert(&format!("-i {bridge} -o {to} -p {of} {asked} ORIGINAL -j ACCEPT")),
                place.insert(&format!("-i {to} -o {bridge} -p {of} {asked} REPLY -j ACCEPT")),
            ]
        }
        _ if !lost => match last {
            // The answer goes straight to the neighbour, who does not know its sender.
            Some(last) => vec![format!(
                "{} -t nat -A POSTROUTING -s {} -d {} -p {of} --dport {} -j MASQUERADE",
                scene.program_at(Family::Ipv4, Hook::Postrouting),
                who.address,
                last.destination,
                last.destination_port().unwrap_or(*port),
            )],
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The bridge from which answers of the port's container do not get to a process of the host.
fn unheard(scene: &Scene<'_>, broken: &Broken<'_>) -> Option<String> {
    broken.behind.iter().find_map(|(network, address, port)| {
        let bridge = scene.host().interface(&network.bridge)?;
        let own = Scene::addresses(bridge, Family::Ipv4).next()?;
        let answer = scene.why(&packet(own, *address, broken.answer.flow.protocol, *port));
        (answer.outcome == Outcome::Timeout).then(|| network.bridge.clone())
    })
}

/// Those who fail: a container of each network asks, and the one behind the port itself.
fn unreached<'s>(scene: &Scene<'s>, port: &Published<'_>) -> Vec<Broken<'s>> {
    let Some(outside) = scene.to_published(port, Family::Ipv4).into_iter().next() else {
        return Vec::new();
    };
    if scene.why(&outside).outcome != Outcome::Connects {
        return Vec::new();
    }
    let behind = scene.networks().flat_map(|network| {
        let of_port = scene.members(network, Family::Ipv4).into_iter().filter(|member| {
            member.container.is_some_and(|container| container.name == port.container.name)
        });
        of_port.map(move |member| (network, member.address, port.container_port))
    });
    let behind: Vec<_> = behind.collect();
    let asks = |who: Member<'s>| {
        let flow = who.packet(outside.destination, port.protocol, port.host_port);
        let answer = scene.why(&flow);
        let fails = !matches!(answer.outcome, Outcome::Connects | Outcome::Undetermined);
        fails.then(|| Broken { port: port.host_port, behind: behind.clone(), who, answer })
    };
    // An internal network has no way to the host's other addresses, on purpose.
    let networks = scene.networks().filter(|network| !network.internal);
    let (own, others): (Vec<_>, Vec<_>) = networks
        .partition(|network| port.container.endpoints.iter().any(|e| e.network == network.name));
    // All other networks are strangers alike: one stands for them.
    let asking = own.into_iter().chain(others.into_iter().take(1)).flat_map(|network| {
        let members = scene.members(network, Family::Ipv4);
        let is_itself = |member: &&Member<'_>| {
            member.container.is_some_and(|container| container.name == port.container.name)
        };
        let itself = members.iter().find(is_itself).copied();
        let first = members.iter().find(|it| it.container.is_some() && !is_itself(it)).copied();
        itself.into_iter().chain(first)
    });
    asking.filter_map(asks).collect()
}
