//! Ports that docker-proxy serves, several of them in one rule.

use std::net::IpAddr;

use super::super::evidence::{Evidence, Seen};
use super::super::probes::number;
use super::super::wording::Wording;
use crate::check::Reason;
use crate::policy::Demand;

/// How many ports a match multiport takes.
const MOST_PORTS: usize = 15;

impl Evidence<'_> {
    /// The ports by which docker-proxy leads to where the entry is about, where they are several,
    /// in one rule.
    pub(super) fn proxied_ports(&self, seen: &Seen, base: &Wording) -> Option<Wording> {
        let Some(Reason::Proxied { .. }) = self.reason else { return None };
        let Demand::NeverLands(landings) = &self.case.question.demand else { return None };
        let meant = |address: IpAddr, port: u16| {
            landings.iter().any(|landing| {
                let ports = &landing.service.ports;
                let named = |(first, last): &(u16, u16)| (*first..=*last).contains(&port);
                (ports.is_empty() || ports.iter().any(named))
                    && landing.spots.iter().any(|spot| spot.addresses().contains(address))
            })
        };
        let containers = self.system.host.inventory.containers.iter().filter(|own| own.running);
        let mut ports: Vec<u16> = Vec::new();
        for container in containers {
            let addresses = || container.endpoints.iter().flat_map(|own| &own.addresses);
            let published = container.published.iter().filter(|port| {
                number(port.protocol) == seen.protocol
                    && addresses().any(|(address, _)| meant(*address, port.container_port))
            });
            ports.extend(published.map(|port| port.host_port));
        }
        ports.sort_unstable();
        ports.dedup();
        if ports.len() < 2 || !ports.contains(&seen.port?) {
            return None;
        }
        let all = Wording { protocol: Some(seen.protocol), ..base.clone() };
        match listed(&ports) {
            Some(listed) => {
                Some(Wording { matches: vec![format!("multiport --dports {listed}")], ..all })
            }
            None => Some(Wording { ports: Some(self.between(&ports, seen)?), ..all }),
        }
    }

    /// The range of ports that are too many to be listed, where nothing else listens on one of it.
    fn between(&self, ports: &[u16], seen: &Seen) -> Option<(u16, u16)> {
        let (first, last) = (*ports.first()?, *ports.last()?);
        let listeners = self.system.host.listeners.as_ref()?;
        let other = listeners.iter().any(|own| {
            number(own.protocol) == seen.protocol
                && (first..=last).contains(&own.port)
                && ports.binary_search(&own.port).is_err()
        });
        (!other).then_some((first, last))
    }
}

/// Ports as multiport lists them, of which it takes fifteen, a range as two.
fn listed(ports: &[u16]) -> Option<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    let slots: usize = ranges.iter().map(|(first, last)| if first == last { 1 } else { 2 }).sum();
    let words: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}:{last}"),
        })
        .collect();
    (slots <= MOST_PORTS).then(|| words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_takes_two_of_fifteen_places() {
        assert_eq!(listed(&[80, 443]).as_deref(), Some("80,443"));
        assert_eq!(listed(&[80, 81, 82, 443]).as_deref(), Some("80:82,443"));
        let odd: Vec<u16> = (0..16).map(|port| port * 2 + 1).collect();
        assert!(listed(&odd[..15]).is_some());
        assert_eq!(listed(&odd), None);
        let ranges: Vec<u16> = (1..=8).flat_map(|port| [port * 3, port * 3 + 1]).collect();
        assert_eq!(listed(&ranges), None);
        assert!(listed(&ranges[..14]).is_some());
        assert_eq!(listed(&[65534, 65535]).as_deref(), Some("65534:65535"));
    }
}
