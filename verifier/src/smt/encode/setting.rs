//! Settings of the kernel that change what the host itself sends.

use nattrace_parser::syntax::Family;

use super::Encoder;
use super::state::{Packet, Trip, end};
use crate::smt::term::{B, V};

impl Encoder<'_> {
    /// Whether the kernel keeps silent about an echo (kernel-facts K22).
    pub(super) fn ignores_echo(&self, packet: &Packet) -> B {
        let t = &self.t;
        let to = packet.tuple.destination;
        let kind = t.extract(packet.tuple.to_port, 15, 8);
        if self.is_ipv4() {
            let on = t.is(self.is_on("net.ipv4.icmp_echo_ignore_all"));
            return t.and(on, t.is_number(kind, 8u8));
        }
        let on = |name: &str| t.is(self.is_on(&format!("net.ipv6.icmp.echo_ignore_{name}")));
        t.any([
            on("all"),
            t.and(on("multicast"), self.is_multicast(to)),
            t.and(on("anycast"), self.is_anycast(to)),
        ])
    }

    /// The mark of what the kernel sends on its own account about a packet (kernel-facts K21).
    pub(super) fn reflected_mark(&self, about: &Packet) -> V {
        let setting = match self.family() {
            Family::Ipv4 => "net.ipv4.fwmark_reflect",
            Family::Ipv6 => "net.ipv6.fwmark_reflect",
        };
        if self.is_on(setting) { about.mark } else { self.t.number(32, 0u8) }
    }

    /// Whether a setting is on.
    pub(super) fn is_on(&self, setting: &str) -> bool {
        self.host.sysctls.get(setting).is_some_and(|value| value != 0)
    }

    /// The TTL or hop limit of what the host sends (kernel-facts K23).
    pub(super) fn default_ttl(&self, trip: &Trip) -> V {
        let t = &self.t;
        let number = |value: Option<i64>| {
            t.number(8, value.and_then(|value| u8::try_from(value).ok()).unwrap_or(64))
        };
        let sysctls = &self.host.sysctls;
        let alone = match self.family() {
            Family::Ipv4 => number(sysctls.get("net.ipv4.ip_default_ttl")),
            Family::Ipv6 => {
                let mut limit = number(None);
                for name in self.ways_out(trip.route.interface) {
                    let own = sysctls.interface(Family::Ipv6, name, "hop_limit");
                    if own.is_some_and(|own| own != 64) {
                        let here = self.interface_named(trip.route.interface, name);
                        limit = t.choice(here, number(own), limit);
                    }
                }
                limit
            }
        };
        t.choice(self.is_multicast(trip.packet.tuple.destination), t.number(8, 1u8), alone)
    }

    /// Where the kernel routes groups, its multicast routes decide, which no part lists: what comes
    /// in to a group that does not stay on its link may go anywhere.
    pub(super) fn check_group_routes(&self, trip: &mut Trip, group: B) {
        let t = &self.t;
        let to = trip.packet.tuple.destination;
        let family = self.family();
        let set = |name: &str| self.host.sysctls.interface(family, name, "mc_forwarding");
        let all = set("all");
        let (routed, near) = if self.is_ipv4() {
            let on = |name: &str| match (set(name), all) {
                (Some(0), _) | (_, Some(0)) | (None, None) => false,
                (Some(_), _) | (None, Some(_)) => true,
            };
            (self.interface_is(trip.in_interface, on), self.is_local_group(to))
        } else {
            let scope = t.masked(self.first_segment(to), 0xfu8);
            (t.is(all.is_some_and(|all| all != 0)), t.within(scope, 0u8, 2u8))
        };
        let open = t.all([group, trip.alive, self.is_multicast(to), routed, t.not(near)]);
        self.miss(open, "multicast routes");
        self.stop(trip, open, end::UNKNOWN);
    }

    /// The interfaces on which IPv6 is off (kernel-facts K25).
    pub(super) fn refuses_ipv6(&self, interface: V) -> B {
        let off = |name: &str| self.host.sysctls.interface(Family::Ipv6, name, "disable_ipv6");
        self.interface_is(interface, |name| off(name).is_some_and(|value| value != 0))
    }
}
