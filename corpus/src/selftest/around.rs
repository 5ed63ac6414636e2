//! Who is around a rebuilt host: containers at the ports of bridges, and everybody else behind
//! the other wires.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::host::{Host, InterfaceKind};

use super::SelftestError;
use crate::lab::command::output;
use crate::lab::frame::Mac;
use crate::lab::surroundings::{Surroundings, WireName};
use crate::lab::topology;

/// Somebody at a port of a bridge.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) mac: Mac,
    /// The addresses with the prefixes that are on-link for the guest.
    pub(super) addresses: Vec<(IpAddr, Prefix)>,
}

/// A TAP device.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) name: WireName,
    pub(super) bridge: Option<String>,
    pub(super) guest: Option<Guest>,
}

/// Everybody around.
#[derive(Debug)]
pub(super) struct Around {
    names: Vec<WireName>,
    pub(super) wires: Vec<Wire>,
    /// The hardware address of each interface of the host.
    pub(super) own_macs: BTreeMap<String, Mac>,
    own: Vec<IpAddr>,
}

/// The longest name of an interface (`IFNAMSIZ` less the zero).
const LONGEST_NAME: usize = 15;

/// How many interfaces are rebuilt at most.
const MOST_INTERFACES: usize = 4000;

impl Around {
    /// Plans the wires: a TAP device for every interface that is no bridge, and one for every
    /// container that the snapshot shows no port for.
    pub(super) fn of(system: &System) -> Result<Self, SelftestError> {
        let host = &system.host;
        let mut around = Self {
            names: Vec::new(),
            wires: Vec::new(),
            own_macs: BTreeMap::new(),
            own: host.interfaces.iter().flat_map(|i| &i.addresses).map(|a| a.local).collect(),
        };
        let devices = || host.interfaces.iter().filter(|i| i.kind != InterfaceKind::Loopback);
        if devices().next().is_none() {
            let why = "nothing is known of the host's interfaces (ip-addr.json)";
            return Err(SelftestError::NotRebuilt(why.to_owned()));
        }
        if devices().count() > MOST_INTERFACES {
            let why = format!("more than {MOST_INTERFACES} interfaces are too many to rebuild");
            return Err(SelftestError::NotRebuilt(why));
        }
        for (number, interface) in (0u16..).zip(devices()) {
            if !is_device_name(&interface.name) {
                let why = format!("no interface can be called `{}`", interface.name);
                return Err(SelftestError::NotRebuilt(why));
            }
            let [high, low] = number.to_be_bytes();
            let made = [0x02, 0xff, 0, 0, high, low];
            // A group's address, or the same as somebody else's, is none for an interface.
            let usable =
                |mac: &Mac| mac.first().is_some_and(|first| first & 1 == 0 && mac != &[0; 6]);
            let taken = |mac: &Mac| around.own_macs.values().any(|other| other == mac);
            let mac = interface.mac.filter(|mac| usable(mac) && !taken(mac)).unwrap_or(made);
            around.own_macs.insert(interface.name.clone(), mac);
            if interface.kind != InterfaceKind::Bridge {
                let bridge = interface.port.as_ref().map(|port| port.bridge.clone());
                around.add_wire(&interface.name, bridge);
            }
        }
        around.seat_containers(host);
        Ok(around)
    }

    fn add_wire(&mut self, name: &str, bridge: Option<String>) {
        // Names live as long as the process, which ends with the self-test.
        let name: WireName = name.to_owned().leak();
        self.names.push(name);
        self.wires.push(Wire { name, bridge, guest: None });
    }

    /// Puts each running container at a port of its network's bridge.
    fn seat_containers(&mut self, host: &Host) {
        for container in host.inventory.containers.iter().filter(|container| container.running) {
            for endpoint in &container.endpoints {
                let network = host.inventory.network(&endpoint.network);
                let Some(bridge) = network.map(|network| network.bridge.clone()) else { continue };
                if endpoint.addresses.is_empty() || host.interface(&bridge).is_none() {
                    continue;
                }
                let on_link =
                    |(address, length): &(IpAddr, u8)| (*address, Prefix::new(*address, *length));
                let first = endpoint.addresses.first().map(|(address, _)| *address);
                let mac = endpoint.mac.or_else(|| first.map(topology::mac_of)).unwrap_or_default();
                let guest =
                    Guest { mac, addresses: endpoint.addresses.iter().map(on_link).collect() };
                self.seat(&bridge, guest);
            }
        }
    }

    fn seat(&mut self, bridge: &str, guest: Guest) {
        let free =
            |wire: &&mut Wire| wire.bridge.as_deref() == Some(bridge) && wire.guest.is_none();
        if let Some(wire) = self.wires.iter_mut().find(free) {
            wire.guest = Some(guest);
            return;
        }
        let name = (0..).map(|number| format!("guest{number}"));
        let fresh = name
            .into_iter()
            .find(|name| !self.own_macs.contains_key(name) && !self.names.contains(&name.as_str()));
        if let Some(name) = fresh {
            self.add_wire(&name, Some(bridge.to_owned()));
            if let Some(wire) = self.wires.last_mut() {
                wire.guest = Some(guest);
            }
        }
    }

    fn wire(&self, name: &str) -> Option<&Wire> {
        self.wires.iter().find(|wire| wire.name == name)
    }

    fn guest_with(&self, address: IpAddr) -> Option<(&Wire, &Guest)> {
        self.wires.iter().find_map(|wire| {
            let guest = wire.guest.as_ref()?;
            guest.addresses.iter().any(|(own, _)| *own == address).then_some((wire, guest))
        })
    }

    /// Whether an address is the host's own.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// The wire by which a packet with this source comes in by an interface: of a bridge the port
    /// of the sender, or one at which nobody sits.
    pub(super) fn wire_of(&self, system: &System, interface: &str, source: IpAddr) -> WireName {
        if let Some((wire, _)) = self.guest_with(source)
            && wire.bridge.as_deref() == Some(interface)
        {
            return wire.name;
        }
        let at = |wire: &&Wire| wire.bridge.as_deref().unwrap_or(wire.name) == interface;
        let mut wires = self.wires.iter().filter(at);
        let free = wires.clone().find(|wire| wire.guest.is_none());
        // A port asked for by its own name.
        let named = self.wire(interface).filter(|_| system.host.interface(interface).is_some());
        free.or_else(|| wires.next()).or(named).map_or("", |wire| wire.name)
    }

    /// Whether whoever sits at a wire takes an address for a neighbour's, and it is nobody's.
    pub(super) fn asks_in_vain(&self, wire: WireName, to: IpAddr) -> bool {
        let guest = self.wire(wire).and_then(|wire| wire.guest.as_ref());
        let near = guest.is_some_and(|guest| guest.addresses.iter().any(|(_, p)| p.contains(to)));
        near && !self.is_own(to) && self.guest_with(to).is_none()
    }

    /// Tells the kernel the hardware address of a neighbour.
    pub(super) fn introduce(&self, interface: &str, address: IpAddr) -> io::Result<()> {
        let mac = mac_text(self.mac_of(address));
        let (address, version) = (address.to_string(), if address.is_ipv4() { "-4" } else { "-6" });
        let words = [
            version,
            "neigh",
            "replace",
            &address,
            "lladdr",
            &mac,
            "dev",
            interface,
            "nud",
            "permanent",
        ];
        output("ip", &words, "").map(drop)
    }
}

fn is_device_name(name: &str) -> bool {
    let usable = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(usable)
        && !matches!(name, "." | "..")
}

/// A hardware address as ip(8) reads it.
pub(super) fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl Surroundings for Around {
    fn wires(&self) -> &[WireName] {
        &self.names
    }

    fn interface_of(&self, wire: WireName) -> &str {
        self.wire(wire).and_then(|wire| wire.bridge.as_deref()).unwrap_or(wire)
    }

    fn mac_of(&self, address: IpAddr) -> Mac {
        self.guest_with(address).map_or_else(|| topology::mac_of(address), |(_, guest)| guest.mac)
    }

    fn sender_mac(&self, wire: WireName, source: IpAddr) -> Mac {
        let guest = self.wire(wire).and_then(|wire| wire.guest.as_ref());
        guest.map_or_else(|| self.mac_of(source), |guest| guest.mac)
    }

    fn next_mac(&self, wire: WireName, to: IpAddr) -> Mac {
        let own = |interface: &str| self.own_macs.get(interface).copied().unwrap_or_default();
        let guest = self.wire(wire).and_then(|wire| wire.guest.as_ref());
        let on_link = |guest: &Guest| guest.addresses.iter().any(|(_, near)| near.contains(to));
        match guest {
            Some(guest) if on_link(guest) && !self.is_own(to) => self.mac_of(to),
            Some(_) | None => own(self.interface_of(wire)),
        }
    }

    /// At a port with a guest only the guest answers; at another wire somebody does for every
    /// address, unless the address belongs to a guest.
    fn answers(&self, wire: WireName, asked: Ipv4Addr) -> bool {
        let asked = IpAddr::V4(asked);
        match self.wire(wire) {
            Some(Wire { guest: Some(guest), .. }) => {
                guest.addresses.iter().any(|(a, _)| *a == asked)
            }
            Some(Wire { bridge: Some(_), .. }) => {
                let free = self.first_free_port(self.interface_of(wire));
                free == Some(wire) && self.guest_with(asked).is_none()
            }
            Some(_) => true,
            None => false,
        }
    }

    fn sees(&self, interface: &str, hop: Option<IpAddr>) -> bool {
        if !self.wires.iter().any(|wire| wire.bridge.as_deref() == Some(interface)) {
            return self.wire(interface).is_some();
        }
        self.first_free_port(interface).is_some()
            || hop.is_some_and(|hop| self.guest_with(hop).is_some())
    }
}

impl Around {
    /// The port of a bridge behind which everybody is who sits at no other.
    fn first_free_port(&self, bridge: &str) -> Option<WireName> {
        let at = |wire: &&Wire| wire.bridge.as_deref() == Some(bridge) && wire.guest.is_none();
        self.wires.iter().find(at).map(|wire| wire.name)
    }
}
