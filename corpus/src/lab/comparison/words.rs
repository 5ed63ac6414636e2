//! What the simulator says, for people.

use nattrace_model::System;
use nattrace_model::answer::{Egress, Step};
use nattrace_model::packet::{Packet, Transport};

use crate::lab::trial::Seen;
use crate::lab::wire::Departed;

pub(super) fn egress_text(egress: &Egress) -> String {
    let out = egress.out_interface.as_deref().unwrap_or("a local process");
    let chance = if egress.source_port_random { " (source port by chance)" } else { "" };
    format!("{} by {out}{chance}", packet_text(&egress.packet))
}

fn packet_text(packet: &Packet) -> String {
    let Packet { source, destination, protocol, ttl, tos, tcp_flags, mark, .. } = packet;
    let transport = match packet.transport {
        Transport::Ports { source, destination } => {
            format!("ports {source} > {destination} flags {tcp_flags:#04x}")
        }
        Transport::Icmp { kind, code, .. } => format!("icmp {kind}/{code}"),
        Transport::Opaque => "opaque".to_owned(),
    };
    format!(
        "{source} > {destination} ttl {ttl} tos {tos:#x} protocol {protocol} {transport} mark {mark:#x}"
    )
}

pub(super) fn steps_text(system: &System, steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Rule { hook, rule, effect, rewrites } => {
                let found = system.rules.rule(*rule).map_or("", |rule| system.rules.text(rule));
                text += &format!("    {hook:?} {effect:?} {rewrites:?} {found}\n");
            }
            Step::Policy { hook, chain, policy } => {
                let name = system.rules.chain(*chain);
                let (table, name) =
                    name.map_or(("", ""), |chain| (chain.table.as_str(), &*chain.name));
                text += &format!("    {hook:?} policy {table}/{name} {policy:?}\n");
            }
            Step::Return { .. } => {}
            other => text += &format!("    {other:?}\n"),
        }
    }
    text
}

/// What is seen of a packet of which a fragment is missing: no rule should see it, and nothing of
/// it should leave (kernel-facts G9).
pub(super) fn swallowed(seen: &Seen) -> Vec<String> {
    let counted = seen.counts.iter().map(|(place, packets)| {
        format!("forth: {place} counts {packets}, although a fragment is missing")
    });
    let departed = seen.departed.iter().map(|departed| {
        let Departed { packet, wire, .. } = departed;
        format!("forth: {packet} leaves by {wire}, although a fragment is missing")
    });
    counted.chain(departed).collect()
}
