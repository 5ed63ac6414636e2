//! Settings of the kernel that change what the host itself sends.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::host::Host;
use crate::packet::{Packet, Transport, protocol};
use crate::simulate::address_type;
use crate::simulate::trip::Run;

/// The TTL of packets where no setting says otherwise.
const USUAL_TTL: u8 = 64;

impl Run<'_, '_> {
    /// The mark of what the kernel sends on its own account about a packet: none, or the packet's
    /// (`IP4_REPLY_MARK`; kernel-facts K21).
    pub(crate) fn reflected_mark(&self, about: &Packet) -> u32 {
        let setting = match about.family() {
            Family::Ipv4 => "net.ipv4.fwmark_reflect",
            Family::Ipv6 => "net.ipv6.fwmark_reflect",
        };
        if is_on(&self.system.host, setting) { about.mark } else { 0 }
    }

    /// The mark of what a process answers: that of the packet that opened its TCP connection, where
    /// the kernel hands it on to the socket (`inet_request_mark`; kernel-facts K21).
    pub(crate) fn accepted_mark(&self, packet: &Packet) -> u32 {
        let accepts = packet.protocol == protocol::TCP
            && is_on(&self.system.host, "net.ipv4.tcp_fwmark_accept");
        if accepts { self.opened_with.unwrap_or(packet.mark) } else { 0 }
    }
}

/// Whether the kernel keeps silent about an echo (`icmp_echo`, `icmpv6_rcv`; kernel-facts K22).
pub(crate) fn ignores_echo(host: &Host, packet: &Packet) -> bool {
    match (packet.protocol, packet.transport, packet.destination) {
        (protocol::ICMP, Transport::Icmp { kind: 8, .. }, _) => {
            is_on(host, "net.ipv4.icmp_echo_ignore_all")
        }
        (protocol::ICMPV6, Transport::Icmp { kind: 128, .. }, IpAddr::V6(to)) => {
            is_on(host, "net.ipv6.icmp.echo_ignore_all")
                || (to.is_multicast() && is_on(host, "net.ipv6.icmp.echo_ignore_multicast"))
                || (address_type::is_anycast(host, to.into())
                    && is_on(host, "net.ipv6.icmp.echo_ignore_anycast"))
        }
        _ => false,
    }
}

/// The TTL or hop limit of a packet that the host sends by an interface: what is sent to a group
/// stays on the link (`ip4_dst_hoplimit`, `ip6_dst_hoplimit`; kernel-facts K23).
pub(crate) fn default_ttl(host: &Host, to: IpAddr, interface: &str) -> u8 {
    if to.is_multicast() {
        return 1;
    }
    let setting = match to {
        IpAddr::V4(_) => host.sysctls.get("net.ipv4.ip_default_ttl"),
        IpAddr::V6(_) => host.sysctls.interface(Family::Ipv6, interface, "hop_limit"),
    };
    setting.and_then(|value| u8::try_from(value).ok()).unwrap_or(USUAL_TTL)
}

/// Whether IPv6 is off on an interface: what comes in by it is dropped before any rule
/// (`ip6_rcv_core`; kernel-facts K25).
pub(crate) fn refuses_ipv6(host: &Host, interface: &str) -> bool {
    host.sysctls.interface(Family::Ipv6, interface, "disable_ipv6").is_some_and(|off| off != 0)
}

/// The setting by which the kernel looks up multicast routes for what comes in by an interface to
/// a group: IPv4 asks that of the interface as well as that of all, IPv6 that of all alone, and
/// what stays on its link is not routed (`IN_DEV_MFORWARD`, `ip6_mc_input`).
pub(crate) fn routes_groups(host: &Host, group: IpAddr, interface: &str) -> Option<String> {
    if !group.is_multicast() {
        return None;
    }
    let (family, name) = match group {
        IpAddr::V4(to) => {
            let on = |name| host.sysctls.interface(Family::Ipv4, name, "mc_forwarding");
            let (own, all) = (on(interface), on("all"));
            let near = matches!(to.octets(), [224, 0, 0, _]);
            // Of one that no part says, the other tells enough: a routing daemon sets both.
            let both = own != Some(0) && all != Some(0) && (own.is_some() || all.is_some());
            (!near && both).then_some(("ipv4", if own.is_some() { interface } else { "all" }))
        }
        IpAddr::V6(to) => {
            let on = |name| host.sysctls.interface(Family::Ipv6, name, "mc_forwarding");
            let [first, ..] = to.segments();
            let far = first & 0xf > 2;
            (far && on("all").is_some_and(|all| all != 0)).then_some(("ipv6", "all"))
        }
    }?;
    Some(format!("net.{family}.conf.{name}.mc_forwarding"))
}

/// Whether ICMP errors carry an address of the interface by which the packet came
/// (kernel-facts K24).
pub(crate) fn errors_by_interface(host: &Host) -> bool {
    is_on(host, "net.ipv4.icmp_errors_use_inbound_ifaddr")
}

fn is_on(host: &Host, setting: &str) -> bool {
    host.sysctls.get(setting).is_some_and(|value| value != 0)
}
