//! What a bridge hands to its other ports before the host gets its own copy.

use crate::hook::Hook;
use crate::simulate::matching::PhysicalPort;
use crate::simulate::path::Arrival;
use crate::simulate::trip::{Stop, Trip};

/// More copies than these do nothing new to a connection.
pub const MOST_COPIES: usize = 4;

impl<'s> Trip<'_, 's, '_> {
    /// A frame for everybody with br_netfilter: first the copies for the other ports, then the host's
    /// own, of which the bridge confirms the connection before the IP layer sees it, so that nat INPUT
    /// comes too late (`br_nf_local_in`; kernel-facts K29).
    pub(crate) fn receive_from_flood(&mut self, arrival: Arrival<'s>) -> Result<(), Stop> {
        self.flood(arrival)?;
        self.confirm()
    }

    /// The copies of a frame for everybody: no answer tells of them, but their connection is that of
    /// the host's copy too, and NAT in POSTROUTING is done with it before INPUT (`br_flood`;
    /// kernel-facts K17).
    fn flood(&mut self, arrival: Arrival<'s>) -> Result<(), Stop> {
        let host = &self.run.system.host;
        let bridge = arrival.interface;
        let ports: Vec<_> = host
            .interfaces
            .iter()
            .filter_map(|interface| interface.port.as_ref())
            .filter(|port| port.bridge == bridge)
            .collect();
        if ports.is_empty() {
            let question = || format!("`{bridge}` has another port");
            if self.run.oracle.decide(question, true) {
                self.copy(bridge)?;
            }
            return Ok(());
        }
        let isolated = || format!("the ports of `{bridge}` are isolated");
        let apart = ports.iter().any(|port| port.isolated == Some(true));
        if apart && self.port_flag(ports.iter().map(|port| port.isolated), isolated) {
            return Ok(());
        }
        let hairpin = || format!("hairpin_mode is on for the port of `{bridge}`");
        let back = ports.iter().any(|port| port.hairpin == Some(true));
        let back = back && self.port_flag(ports.iter().map(|port| port.hairpin), hairpin);
        let copies = ports.len() - 1 + usize::from(back);
        (0..copies.min(MOST_COPIES)).try_for_each(|_| self.copy(bridge))
    }

    /// One copy, of which nothing is left but what it did to the connection.
    fn copy(&mut self, bridge: &'s str) -> Result<(), Stop> {
        let (packet, steps) = (self.packet.clone(), self.steps.len());
        let before = (self.in_interface, self.decided_by, self.run.pardoned.take());
        self.out_interface = bridge;
        self.physical_out = PhysicalPort::Of(bridge);
        self.bridged = true;
        let mut result = self.hook(Hook::Forward);
        if result.is_ok() {
            self.in_interface = "";
            result = self.hook(Hook::Postrouting);
        }
        self.packet = packet;
        self.steps.truncate(steps);
        (self.in_interface, self.decided_by, self.run.pardoned) = before;
        self.out_interface = "";
        self.physical_out = PhysicalPort::None;
        self.bridged = false;
        match result {
            Err(Stop::Unknown | Stop::Queued) => self.stop_here(Stop::Unknown),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
