//! The ways of a packet through the host: in from a wire, out from a local process, over a bridge.
//!
//! ip_rcv, ip_route_input_slow, ip_forward, ip_output and br_netfilter, as far as they decide what
//! becomes of a packet. Nothing but the hooks and these checks stands between wire and wire.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::answer::{RouteDecision, Step};
use crate::condition::LinkDelivery;
use crate::hook::Hook;
use crate::host::{Host, InterfaceKind, Part};
use crate::simulate::address_type;
use crate::simulate::connection::Tracking;
use crate::simulate::matching::PhysicalPort;
use crate::simulate::settings;
use crate::simulate::trip::{HeldRoute, Leg, OutRoute, Stop, Trip};

/// Where a trip ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End<'s> {
    /// It left by an interface.
    Left { interface: &'s str },
    /// A bridge handed it from port to port.
    Bridged { bridge: &'s str },
    /// A local process gets it.
    Delivered,
}

/// Whom a frame addresses on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkTarget {
    /// The host: its hardware address, or a broadcast.
    Host,
    /// Another machine on the same bridge.
    Neighbour,
}

/// A packet as it comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'s> {
    pub(crate) interface: &'s str,
    pub(crate) link: LinkTarget,
    /// The identifier of the container that sent it, where one did.
    pub(crate) container: Option<&'s str>,
}

/// What routing makes of a packet that came in.
pub(crate) enum InputRoute<'s> {
    Local,
    Forward(OutRoute<'s>),
}

impl<'s> Trip<'_, 's, '_> {
    /// A packet comes in.
    pub(crate) fn arrive(&mut self, arrival: Arrival<'s>) -> Result<End<'s>, Stop> {
        let host = &self.run.system.host;
        self.in_interface = arrival.interface;
        self.held_route = HeldRoute::None;
        self.delivery = link_delivery(host, self.packet.destination, arrival.interface);
        let on_bridge = host
            .interface(arrival.interface)
            .is_some_and(|interface| interface.kind == InterfaceKind::Bridge);
        let neighbour = on_bridge && arrival.link == LinkTarget::Neighbour;
        // For what is addressed to the host, br_netfilter matters only to rules that ask for ports,
        // and to what is rewritten back to its own bridge: it is not asked about before.
        let matters = neighbour || self.run.system.rules.asks_physdev();
        let filtered = on_bridge
            && match self.bridge_filters_known(arrival.interface) {
                Some(known) => known,
                None => matters && self.bridge_filters(arrival.interface),
            };
        if neighbour && !filtered {
            self.unseen_on_bridge()?;
            // kernel-facts E1
            self.bridge_step(arrival.interface, Some("no chain sees bridged frames here".into()));
            self.check_ports(arrival)?;
            return Ok(End::Bridged { bridge: arrival.interface });
        }
        if filtered {
            self.physical_in = PhysicalPort::Of(arrival.interface);
        } else {
            self.noted_interface = arrival.interface;
        }
        if !filtered {
            self.check_header()?;
        }
        let addressed = self.packet.destination;
        self.hook(Hook::Prerouting)?;
        let rewritten = self.packet.destination != addressed;
        if neighbour && !rewritten {
            self.held_route = HeldRoute::Lent;
            return self.bridge(arrival);
        }
        if filtered && !rewritten && self.delivery != LinkDelivery::Unicast {
            self.receive_from_flood(arrival)?;
        }
        if filtered {
            // The bridge has its own look before PREROUTING, which lets these pass (measured).
            self.check_header()?;
        }
        let silent = filtered && rewritten && self.packet.family() == Family::Ipv6;
        let delivery = self.delivery;
        if filtered && rewritten {
            // The bridge hands on what it has rewritten as a frame for the host
            // (`br_nf_pre_routing_finish`; kernel-facts K6).
            self.delivery = LinkDelivery::Unicast;
        }
        self.held_route = HeldRoute::Own;
        self.noted_interface = arrival.interface;
        let route = match self.route_input() {
            // `br_nf_pre_routing_finish_ipv6` frees what it can't route (measured).
            Err(Stop::Unroutable { .. }) if silent => Err(Stop::Unroutable { error: None }),
            other => other,
        };
        match route? {
            InputRoute::Local => {
                self.hook(Hook::Input)?;
                Ok(End::Delivered)
            }
            // kernel-facts B24, E3: rewritten to a host on the same bridge, it stays on the bridge.
            InputRoute::Forward(route)
                if on_bridge
                    && rewritten
                    && route.interface == arrival.interface
                    && self.bridge_filters(arrival.interface) =>
            {
                self.delivery = delivery;
                self.noted_interface = "";
                // The frame waits for its neighbour before FORWARD
                // (`br_nf_pre_routing_finish_bridge`, measured).
                if self.run.nobody_has(self.packet.destination, arrival.interface) {
                    self.bridge_step(arrival.interface, Some("nobody answers for it".into()));
                    return Ok(End::Bridged { bridge: arrival.interface });
                }
                self.bridge(arrival)
            }
            InputRoute::Forward(route) => {
                if silent {
                    // The bridge has routed it before IPv6 sees it, which then notes the interface
                    // of the route (`ip6_rcv_core`; measured by the source of an error).
                    self.noted_interface = route.interface;
                }
                self.forward(route)
            }
        }
    }

    /// Packets that are dropped before any hook (`ip6_rcv_core`, kernel-facts J4).
    fn check_header(&mut self) -> Result<(), Stop> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) =
            (self.packet.source, self.packet.destination)
        else {
            return Ok(());
        };
        if settings::refuses_ipv6(&self.run.system.host, self.in_interface) {
            let why = format!("IPv6 is off on `{}` (disable_ipv6)", self.in_interface);
            return self.refuse(decision(RouteDecision::Martian, Some(why)), Stop::Martian);
        }
        if source.is_loopback() || destination.is_loopback() || source.is_multicast() {
            let why = "loopback and multicast sources and loopback destinations never come in";
            return self.refuse(decision(RouteDecision::Martian, Some(why.into())), Stop::Martian);
        }
        // RFC 4291 errata 3480; measured with ff01::1.
        let [first, ..] = destination.segments();
        if destination.is_multicast() && first & 0xf <= 1 {
            let why = "a group of the interface's own scope does not come in from a link";
            return self.refuse(decision(RouteDecision::Martian, Some(why.into())), Stop::Martian);
        }
        Ok(())
    }

    /// Hands a frame from port to port with br_netfilter on: FORWARD and POSTROUTING see it, TTL
    /// and routing do not matter (kernel-facts E2).
    fn bridge(&mut self, arrival: Arrival<'s>) -> Result<End<'s>, Stop> {
        self.bridge_step(arrival.interface, None);
        self.check_ports(arrival)?;
        self.out_interface = arrival.interface;
        self.physical_out = PhysicalPort::Of(arrival.interface);
        self.bridged = true;
        self.hook(Hook::Forward)?;
        self.in_interface = "";
        self.hook(Hook::Postrouting)?;
        Ok(End::Bridged { bridge: arrival.interface })
    }

    fn bridge_step(&mut self, bridge: &str, because: Option<String>) {
        self.steps.push(Step::Route {
            decision: RouteDecision::Bridge,
            route: None,
            out_interface: Some(bridge.to_owned()),
            gateway: None,
            because,
        });
    }

    /// A bridge sends no frame back out of the port that it came from unless hairpin_mode is on
    /// (kernel-facts B24), and none between isolated ports (kernel-facts E7).
    fn check_ports(&mut self, arrival: Arrival<'s>) -> Result<(), Stop> {
        let host = &self.run.system.host;
        let receiver = host.inventory.owner(self.packet.destination);
        let same_port = match (receiver, arrival.container) {
            (Some((receiver, _)), Some(sender)) => receiver.id == sender,
            _ => self.packet.destination == self.packet.source,
        };
        let ports = || {
            host.interfaces
                .iter()
                .filter_map(|interface| interface.port.as_ref())
                .filter(|port| port.bridge == arrival.interface)
        };
        if same_port {
            let question = || format!("hairpin_mode is on for the port of `{}`", arrival.interface);
            let hairpin = self.port_flag(ports().map(|port| port.hairpin), question);
            if !hairpin {
                let why = format!(
                    "hairpin_mode is off: `{}` does not send a frame back out of the port it came from",
                    arrival.interface
                );
                let step = decision(RouteDecision::BridgePort, Some(why));
                return self.refuse(step, Stop::Dropped);
            }
        }
        // A port that is isolated does not talk to itself either (`should_deliver`).
        let question = || format!("the ports of `{}` are isolated", arrival.interface);
        let isolation: Vec<_> = ports().map(|port| port.isolated).collect();
        let known_free = isolation.iter().all(|isolated| isolated.is_none_or(|on| !on));
        if !known_free && self.port_flag(isolation.into_iter(), question) {
            let why = format!("the ports of `{}` are isolated from one another", arrival.interface);
            let step = decision(RouteDecision::BridgePort, Some(why));
            return self.refuse(step, Stop::Dropped);
        }
        Ok(())
    }

    /// A flag that is the same on every port of a bridge, or a question where ports differ or
    /// nothing is known: which port belongs to whom, no part says.
    pub(crate) fn port_flag(
        &mut self,
        flags: impl Iterator<Item = Option<bool>>,
        question: impl FnOnce() -> String,
    ) -> bool {
        let flags: Vec<Option<bool>> = flags.collect();
        match flags.first() {
            Some(Some(first)) if flags.iter().all(|flag| *flag == Some(*first)) => *first,
            _ => self.run.oracle.decide(question, false),
        }
    }

    /// Routed on to another interface.
    fn forward(&mut self, route: OutRoute<'s>) -> Result<End<'s>, Stop> {
        if self.delivery != LinkDelivery::Unicast {
            // kernel-facts D8, for what was rewritten too (`ip_forward`).
            let why = "what came in a broadcast or multicast frame is not forwarded".to_owned();
            let step = decision(RouteDecision::NoRoute, Some(why));
            self.refuse(step, Stop::Dropped)?;
        }
        // kernel-facts D4
        if self.packet.ttl <= 1 {
            let step = decision(RouteDecision::TtlExpired, None);
            self.refuse(step, Stop::TtlExpired)?;
        }
        self.check_scope6(route.interface)?;
        self.packet.ttl = self.packet.ttl.saturating_sub(1);
        self.route = Some(route);
        self.out_interface = route.interface;
        self.hook(Hook::Forward)?;
        // kernel-facts A1: POSTROUTING still knows the interface by which the packet came.
        self.hook(Hook::Postrouting)?;
        Ok(End::Left { interface: route.interface })
    }

    /// A local process sends the packet, or the kernel on its own behalf.
    pub(crate) fn send(&mut self) -> Result<End<'s>, Stop> {
        self.local = true;
        let route = self.route_output()?;
        if self.leg == Leg::Back || self.run.any_ttl {
            let host = &self.run.system.host;
            self.packet.ttl = settings::default_ttl(host, self.packet.destination, route.interface);
        }
        self.route = Some(route);
        self.out_interface = route.interface;
        self.hook(Hook::Output)?;
        let route = self.route.unwrap_or(route);
        self.out_interface = route.interface;
        self.hook(Hook::Postrouting)?;
        if !route.local {
            return Ok(End::Left { interface: route.interface });
        }
        // kernel-facts A7: the same packet comes in again by loopback, already routed.
        self.in_interface = "lo";
        self.noted_interface = "lo";
        self.out_interface = "";
        if matches!(self.packet.source, IpAddr::V6(source) if source.is_multicast()) {
            // `ip6_rcv_core`; seen in the lab with the reset about what DNAT led here from a group.
            let why = "a group is no source";
            return self
                .refuse(decision(RouteDecision::Martian, Some(why.into())), Stop::Martian)
                .map(|()| End::Delivered);
        }
        let addressed = self.packet.destination;
        if self.tracking == Tracking::Invalid {
            // What could not be placed is looked at once more, perhaps in another zone.
            self.tracking = Tracking::None;
            self.zone = 0;
        }
        self.hook(Hook::Prerouting)?;
        if self.packet.destination != addressed {
            // What is rewritten here all the same is routed again (`nf_nat_ipv4_pre_routing`).
            if let InputRoute::Forward(route) = self.route_input()? {
                return self.forward(route);
            }
        }
        self.hook(Hook::Input)?;
        Ok(End::Delivered)
    }

    /// The sysctl that says whether bridged frames pass the hooks of the IP layer.
    fn bridge_setting(&self) -> &'static str {
        match self.packet.family() {
            Family::Ipv4 => "net.bridge.bridge-nf-call-iptables",
            Family::Ipv6 => "net.bridge.bridge-nf-call-ip6tables",
        }
    }

    /// Whether bridged frames pass the hooks of the IP layer, where a part says it: on every bridge,
    /// or on this one (`br_nf_pre_routing`; kernel-facts K26); without br_netfilter there is no
    /// sysctl.
    fn bridge_filters_known(&self, bridge: &str) -> Option<bool> {
        let host = &self.run.system.host;
        let own = host.interface(bridge).map(|own| own.bridge_filter).unwrap_or_default();
        if own.of(self.packet.family()) {
            return Some(true);
        }
        match host.sysctls.get(self.bridge_setting()) {
            Some(value) => Some(value != 0),
            None => host.has(Part::Sysctl).then_some(false),
        }
    }

    /// Whether bridged frames pass the hooks of the IP layer; where no part says it, both are
    /// looked at.
    pub(crate) fn bridge_filters(&mut self, bridge: &str) -> bool {
        let name = self.bridge_setting();
        match self.bridge_filters_known(bridge) {
            Some(known) => known,
            None => {
                self.run.assume(
                    "bridge-nf-unknown",
                    format!(
                        "no part says whether bridged packets pass the rules ({name}), as they do \
                         on most hosts with Docker (sysctl settles it)"
                    ),
                );
                self.run.bridge_filter(name)
            }
        }
    }
}

/// How a frame for an address is addressed on a link: only who is in the subnet knows that an
/// address is its broadcast address.
fn link_delivery(host: &Host, to: IpAddr, interface: &str) -> LinkDelivery {
    match to {
        IpAddr::V4(to) if to.is_multicast() => LinkDelivery::Multicast,
        IpAddr::V6(to) if to.is_multicast() => LinkDelivery::Multicast,
        IpAddr::V4(to) if address_type::is_broadcast_at(host, to, interface) => {
            LinkDelivery::Broadcast
        }
        IpAddr::V4(_) | IpAddr::V6(_) => LinkDelivery::Unicast,
    }
}

/// A step of routing that names no route.
pub(crate) fn decision(decision: RouteDecision, because: Option<String>) -> Step {
    Step::Route { decision, route: None, out_interface: None, gateway: None, because }
}

/// Whether forwarding is on for packets that come in by an interface (kernel-facts D2, J5), where
/// the settings say.
pub(crate) fn forwarding(host: &Host, family: Family, interface: &str) -> Option<bool> {
    let sysctls = &host.sysctls;
    match family {
        Family::Ipv4 => sysctls
            .interface(family, interface, "forwarding")
            .or_else(|| sysctls.get("net.ipv4.ip_forward"))
            .or_else(|| sysctls.interface(family, "all", "forwarding"))
            .map(|value| value != 0),
        Family::Ipv6 => {
            let forced = sysctls.interface(family, interface, "force_forwarding") == Some(1);
            let all = sysctls.interface(family, "all", "forwarding").map(|value| value != 0);
            if forced { Some(true) } else { all }
        }
    }
}
