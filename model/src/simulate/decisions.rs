//! Routing decisions of a trip, with the steps that explain them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::answer::{RouteDecision, Step};
use crate::host::route::{NextHop, RouteKind, RuleAction};
use crate::host::{Host, Part};
use crate::simulate::path::{InputRoute, decision, forwarding};
use crate::simulate::routing::{
    self, Bound, Found, Lookup, LookupResult, SourceCheck, SourceSettings, User,
};
use crate::simulate::settings;
use crate::simulate::trip::{Leg, Maker, OutRoute, Run, Stop, Trip};

impl<'s> Run<'s, '_> {
    /// The interface in whose name a local packet is routed: `lo`, except for what answers a
    /// link-local address, which goes back by the link that the question came by.
    pub(crate) fn link_to(&self, leg: Leg, destination: IpAddr) -> &'s str {
        match (self.link, destination) {
            (Some(link), IpAddr::V6(to)) if leg == Leg::Back && to.is_unicast_link_local() => link,
            _ => "lo",
        }
    }

    /// A question about br_netfilter, asked once: the part of the snapshot that says is missing.
    pub(crate) fn bridge_filter(&mut self, name: &'static str) -> bool {
        if let Some(known) = self.bridge_filter {
            return known;
        }
        let on = self.oracle.decide(|| format!("{name} is 1"), true);
        self.bridge_filter = Some(on);
        on
    }
}

impl<'s> Trip<'_, 's, '_> {
    /// Routes a packet that came in, after PREROUTING (kernel-facts D1).
    pub(crate) fn route_input(&mut self) -> Result<InputRoute<'s>, Stop> {
        match (self.packet.source, self.packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.check_martians4(source, destination)?;
                if destination.is_broadcast() || destination.is_multicast() {
                    if !source.is_unspecified() {
                        // `ip_mc_validate_source`, and `brd_input` of `ip_route_input_slow`.
                        self.check_source("lo")?;
                    }
                    self.check_group_routes()?;
                    return self.group_delivery4(destination);
                }
            }
            (IpAddr::V6(_), IpAddr::V6(destination)) => {
                if destination.is_multicast() {
                    self.check_group_routes()?;
                    return self.group_delivery6(destination);
                }
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
        // What comes in by loopback seeks a link-local address there alone (`rt6_need_strict`; seen in
        // the lab, where un-NATing led an answer to one).
        let narrow =
            matches!(self.packet.destination, IpAddr::V6(to) if to.is_unicast_link_local());
        let bound =
            if narrow && self.in_interface == "lo" { Bound::To("lo") } else { Bound::ByPacket };
        // What comes in again by loopback is routed in nobody's name but root's.
        let key = Lookup { user: User::Root, ..Lookup::of(&self.packet, self.in_interface) };
        match self.lookup(key, bound) {
            LookupResult::Found(found) => self.found_input(found),
            LookupResult::None => self.no_route_input(None),
            LookupResult::Refused(rule) => {
                let error = match rule.action {
                    // kernel-facts D3: by a rule, unreachable is the network.
                    RuleAction::Unreachable => Some(routing::no_route_error(self.packet.family())),
                    RuleAction::Prohibit => {
                        routing::route_error(self.packet.family(), RouteKind::Prohibit)
                    }
                    _ => None,
                };
                self.refused_input(rule_decision(rule.action), error, None, Some(rule.text.clone()))
            }
            LookupResult::Unknown(rule) => {
                let why = format!("the policy rule `{}` is not modelled", rule.text);
                self.steps.push(decision(RouteDecision::Unknown, Some(why)));
                self.stop_unknown()
            }
        }
    }

    fn stop_unknown<T>(&mut self) -> Result<T, Stop> {
        self.decided_by = self.steps.len().checked_sub(1);
        Err(Stop::Unknown)
    }

    /// Sources and destinations that can't be (kernel-facts B20, D7).
    fn check_martians4(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> Result<(), Stop> {
        let sysctls = &self.run.system.host.sysctls;
        let localnet = || {
            sysctls.interface_or_all(Family::Ipv4, self.in_interface, "route_localnet")
                == Some(true)
        };
        let limited = destination.is_broadcast();
        let why = if source.is_multicast() || source.is_broadcast() {
            Some("a group or broadcast address is no source")
        } else if source.is_unspecified() && !limited && !is_local_group(destination) {
            Some("0.0.0.0 is no source")
        } else if destination.is_unspecified() {
            Some("0.0.0.0 is no destination")
        } else if destination.is_loopback() && !localnet() {
            Some("a loopback destination does not come in without route_localnet")
        } else if source.is_loopback() && !limited && !localnet() {
            Some("a loopback source does not come in without route_localnet")
        } else {
            // kernel-facts D7: 0.1.2.3 and class E pass.
            None
        };
        match why {
            Some(why) => {
                let step = decision(RouteDecision::Martian, Some(why.to_owned()));
                self.refuse(step, Stop::Martian)
            }
            None => Ok(()),
        }
    }

    /// Limited broadcast and multicast go to local processes (kernel-facts D8).
    fn group_delivery4(&mut self, destination: Ipv4Addr) -> Result<InputRoute<'s>, Stop> {
        if destination.is_multicast() && destination != Ipv4Addr::new(224, 0, 0, 1) {
            self.check_joined(destination.into())?;
        }
        self.local_step(None, Some("broadcast or multicast"));
        Ok(InputRoute::Local)
    }

    /// The kernel itself joins the group of all nodes, that of all routers where it forwards, and
    /// those that its addresses are solicited by (kernel-facts J4).
    fn group_delivery6(&mut self, destination: Ipv6Addr) -> Result<InputRoute<'s>, Stop> {
        let host = &self.run.system.host;
        let solicited = |own: IpAddr| match own {
            IpAddr::V6(own) => {
                let last = own.to_bits() & 0xff_ffff;
                destination.to_bits() == 0xff02_0000_0000_0000_0000_0001_ff00_0000 | last
            }
            IpAddr::V4(_) => false,
        };
        let by_address = host
            .interface(self.in_interface)
            .is_some_and(|own| own.addresses.iter().any(|address| solicited(address.local)));
        let by_itself = match destination.segments() {
            [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1] => true,
            [0xff01 | 0xff02 | 0xff05, 0, 0, 0, 0, 0, 0, 2] => {
                forwarding(host, Family::Ipv6, self.in_interface) == Some(true)
            }
            _ => by_address,
        };
        if !by_itself {
            self.check_joined(destination.into())?;
        }
        self.local_step(None, Some("multicast"));
        Ok(InputRoute::Local)
    }

    /// Where the kernel routes groups, its multicast routes decide about what came in, and no part
    /// lists them (`ip_route_input_mc`, `ip6_mc_input`).
    fn check_group_routes(&mut self) -> Result<(), Stop> {
        let group = self.packet.destination;
        let Some(setting) =
            settings::routes_groups(&self.run.system.host, group, self.in_interface)
        else {
            return Ok(());
        };
        let why = format!("{setting} is on, and no part lists the multicast routes");
        self.steps.push(decision(RouteDecision::Unknown, Some(why)));
        self.stop_unknown()
    }

    /// Drops what is sent to a group that nobody here has joined; whether somebody has, no part
    /// tells.
    fn check_joined(&mut self, group: IpAddr) -> Result<(), Stop> {
        if self.run.oracle.decide(|| format!("a process has joined {group}"), false) {
            return Ok(());
        }
        let why = format!("nobody here has joined {group}");
        self.refuse(decision(RouteDecision::NoRoute, Some(why)), Stop::Dropped)
    }

    fn local_step(&mut self, found: Option<Found<'_>>, because: Option<&str>) {
        self.steps.push(Step::Route {
            decision: RouteDecision::Local,
            route: found.map(|found| (found.table, found.index)),
            out_interface: None,
            gateway: None,
            because: because.map(str::to_owned),
        });
    }

    fn found_input(&mut self, found: Found<'s>) -> Result<InputRoute<'s>, Stop> {
        let family = self.packet.family();
        match found.route.kind {
            RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast => {
                self.check_source("lo")?;
                self.local_step(Some(found), None);
                Ok(InputRoute::Local)
            }
            RouteKind::Multicast => {
                self.local_step(Some(found), None);
                Ok(InputRoute::Local)
            }
            // kernel-facts J6: loopback routes of `lo` do not catch ::1 from a wire; the header
            // check has dropped those, and a DNAT to ::1 is forwarded like any other.
            RouteKind::Unicast => self.forward_route(found),
            RouteKind::Throw => self.no_route_input(Some(found)),
            kind @ (RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit) => {
                let error = routing::route_error(family, kind);
                self.refused_input(kind_decision(kind), error, Some(found), None)
            }
        }
    }

    fn forward_route(&mut self, found: Found<'s>) -> Result<InputRoute<'s>, Stop> {
        let family = self.packet.family();
        self.check_forwarding()?;
        let Some(hop) = self.choose_hop(found) else { return self.no_route_input(Some(found)) };
        if family == Family::Ipv4 {
            self.check_source(&hop.interface)?;
        }
        self.steps.push(Step::Route {
            decision: RouteDecision::Forward,
            route: Some((found.table, found.index)),
            out_interface: Some(hop.interface.clone()),
            gateway: hop.gateway,
            because: None,
        });
        Ok(InputRoute::Forward(out_route(hop)))
    }

    /// Neither a link-local source nor the unspecified one is forwarded to another link
    /// (`ip6_forward`, kernel-facts J4).
    pub(crate) fn check_scope6(&mut self, out_interface: &str) -> Result<(), Stop> {
        let IpAddr::V6(source) = self.packet.source else { return Ok(()) };
        if out_interface == self.in_interface {
            return Ok(());
        }
        if source.is_unspecified() {
            let why = "the unspecified address is no source".to_owned();
            return self.refuse(decision(RouteDecision::Martian, Some(why)), Stop::Martian);
        }
        if source.is_unicast_link_local() {
            let why = "a link-local source does not leave its link".to_owned();
            let step = decision(RouteDecision::Unreachable, Some(why));
            return self.refuse(step, Stop::Unroutable { error: Some((1, 2)) });
        }
        Ok(())
    }

    /// One of the next hops; which one of several, a hash over the flow decides.
    fn choose_hop(&mut self, found: Found<'s>) -> Option<&'s NextHop> {
        let bound = match self.bound {
            Bound::To(name) => Some(name),
            Bound::ByPacket | Bound::Free => None,
        };
        let usable = |hop: &&NextHop| bound.is_none_or(|name| hop.interface == name);
        let hops: Vec<&NextHop> = found.next_hops().filter(usable).collect();
        let (last, others) = hops.split_last()?;
        for hop in others {
            let question = || match hop.gateway {
                Some(gateway) => format!("the route leads via {gateway} dev {}", hop.interface),
                None => format!("the route leads by {}", hop.interface),
            };
            if self.run.oracle.decide(question, true) {
                return Some(hop);
            }
        }
        Some(last)
    }

    /// kernel-facts D2, J5: the setting of the interface by which the packet came counts.
    fn check_forwarding(&mut self) -> Result<(), Stop> {
        let host = &self.run.system.host;
        let family = self.packet.family();
        match forwarding(host, family, self.in_interface) {
            Some(true) => Ok(()),
            Some(false) => {
                let why = match family {
                    Family::Ipv4 if host.sysctls.get("net.ipv4.ip_forward") == Some(0) => {
                        "net.ipv4.ip_forward is 0".to_owned()
                    }
                    Family::Ipv4 => format!("net.ipv4.conf.{}.forwarding is 0", self.in_interface),
                    Family::Ipv6 => "net.ipv6.conf.all.forwarding is 0".to_owned(),
                };
                let step = decision(RouteDecision::ForwardingOff, Some(why));
                self.refuse(step, Stop::Dropped)
            }
            None => {
                self.run.assume(
                    "forwarding-assumed",
                    "no part says whether forwarding is on (sysctl): it is taken to be",
                );
                Ok(())
            }
        }
    }

    /// rp_filter and own addresses as sources (kernel-facts D5 to D7). The way back is looked up
    /// as of a packet that comes in by `onward`, by which this one would go on: policy rules with
    /// `iif` see it so (`fib_validate_source`; measured: `iif br0 lookup 100` decides about the
    /// source of what is forwarded to br0).
    fn check_source(&mut self, onward: &str) -> Result<(), Stop> {
        if self.packet.family() == Family::Ipv6 {
            return Ok(());
        }
        let host = &self.run.system.host;
        let name = self.in_interface;
        let known = host.sysctls.interface_max(Family::Ipv4, name, "rp_filter");
        let flag = |setting: &str| {
            host.sysctls.interface_or_all(Family::Ipv4, name, setting).unwrap_or(false)
        };
        let settings = SourceSettings {
            rp_filter: known.unwrap_or(0),
            accept_local: flag("accept_local"),
            valid_mark: flag("src_valid_mark"),
        };
        if !host.has(Part::Addresses) && !host.has(Part::Routes4) {
            // What was inferred does not tell where a source may come from.
            return Ok(());
        }
        let check = |rp_filter| {
            let settings = SourceSettings { rp_filter, ..settings };
            routing::validate_source(host, &self.packet, (name, onward), settings)
        };
        match check(settings.rp_filter) {
            SourceCheck::Pass => {
                if known.is_none() && check(1) != SourceCheck::Pass {
                    self.run.assume(
                        "rp-filter-assumed",
                        format!("no part says whether rp_filter is on (sysctl): it is taken to be off for `{name}`; strict, it would drop this packet"),
                    );
                }
                Ok(())
            }
            SourceCheck::Martian => {
                let why =
                    format!("{} is an own or impossible source on `{name}`", self.packet.source);
                let step = decision(RouteDecision::Martian, Some(why));
                self.refuse(step, Stop::Martian)
            }
            SourceCheck::ReversePath => {
                let why = format!(
                    "rp_filter is {} on `{name}`, and the way back to {} is not by `{name}`",
                    settings.rp_filter, self.packet.source
                );
                let step = decision(RouteDecision::ReversePath, Some(why));
                self.refuse(step, Stop::Dropped)
            }
        }
    }

    /// No route: an ICMP error where forwarding is on, silence where it is off.
    fn no_route_input(&mut self, found: Option<Found<'s>>) -> Result<InputRoute<'s>, Stop> {
        let family = self.packet.family();
        if !routes_known(&self.run.system.host, family) {
            let why = no_part_says_routes(family);
            self.steps.push(decision(RouteDecision::Unknown, Some(why)));
            return self.stop_unknown();
        }
        let error = Some(routing::no_route_error(family));
        self.refused_input(RouteDecision::NoRoute, error, found, None)
    }

    fn refused_input<T>(
        &mut self,
        refusal: RouteDecision,
        error: Option<(u8, u8)>,
        found: Option<Found<'s>>,
        because: Option<String>,
    ) -> Result<T, Stop> {
        self.check_forwarding()?;
        self.steps.push(Step::Route {
            decision: refusal,
            route: found.map(|found| (found.table, found.index)),
            out_interface: None,
            gateway: None,
            because,
        });
        // There is nowhere to go on to, so this is never pardoned.
        self.decided_by = self.steps.len().checked_sub(1);
        Err(Stop::Unroutable { error })
    }

    /// Routes a packet of a local process, or of the kernel's own.
    pub(crate) fn route_output(&mut self) -> Result<OutRoute<'s>, Stop> {
        let link = self.run.link_to(self.leg, self.packet.destination);
        let key = match self.maker {
            Maker::IcmpAnswer => Lookup::of_echo_answer(&self.packet, "lo"),
            _ => Lookup::made(&self.packet, "lo"),
        };
        let key = if self.bound == Bound::Free { key } else { key.by_link(link) };
        // The traffic class of IPv6 comes into the packet after its route.
        let tos = if self.packet.source.is_ipv6() { 0 } else { key.tos };
        let source = key.source.filter(|_| self.sourced);
        let out_interface = self.asked_interface.or(key.out_interface);
        self.route_output_by(Lookup { source, tos, out_interface, ..key })
    }

    /// Looks a route up; of ports that NAT draws chance says whether a policy rule is for them.
    fn lookup(&mut self, key: Lookup<'_>, bound: Bound<'_>) -> LookupResult<'s> {
        let key = Lookup { drawn: self.drawn, ..key };
        let (host, leg) = (&self.run.system.host, self.leg.words());
        let oracle = &mut *self.run.oracle;
        routing::lookup_by(host, &key, bound, &mut |rule, likely| {
            oracle.decide(
                || format!("{leg}the policy rule `{}` is for the port drawn", rule.text),
                likely,
            )
        })
    }

    /// Routes a packet that is sent from here by a lookup.
    fn route_output_by(&mut self, key: Lookup<'s>) -> Result<OutRoute<'s>, Stop> {
        let user = match self.maker {
            Maker::Sender => User::OfProcess,
            Maker::IcmpAnswer | Maker::IcmpError | Maker::TcpReset | Maker::RejectReset => {
                User::Root
            }
        };
        let key = Lookup { user, ..key };
        let found = match self.lookup(key, self.bound) {
            LookupResult::Found(found) => found,
            LookupResult::None => return self.no_route_output(None, None),
            LookupResult::Refused(rule) => {
                let why = Some(rule.text.clone());
                return self.refused_output(rule_decision(rule.action), None, why);
            }
            LookupResult::Unknown(rule) => {
                let why = format!(
                    "the policy rule `{}` is not modelled or depends on the user",
                    rule.text
                );
                self.steps.push(decision(RouteDecision::Unknown, Some(why)));
                return self.stop_unknown();
            }
        };
        match found.route.kind {
            RouteKind::Local | RouteKind::Anycast => {
                self.output_step(found, "lo", None);
                Ok(OutRoute { interface: "lo", gateway: None, local: true })
            }
            RouteKind::Unicast | RouteKind::Broadcast | RouteKind::Multicast => {
                let Some(hop) = self.choose_hop(found) else {
                    return self.no_route_output(Some(found), None);
                };
                self.check_loopback_source(&hop.interface)?;
                self.output_step(found, &hop.interface, hop.gateway);
                Ok(out_route(hop))
            }
            RouteKind::Throw => self.no_route_output(Some(found), None),
            kind @ (RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit) => {
                self.refused_output(kind_decision(kind), Some(found), None)
            }
        }
    }

    fn output_step(&mut self, found: Found<'_>, interface: &str, gateway: Option<IpAddr>) {
        self.steps.push(Step::Route {
            decision: RouteDecision::Output,
            route: Some((found.table, found.index)),
            out_interface: Some(interface.to_owned()),
            gateway,
            because: None,
        });
    }

    /// A loopback source leaves by no other interface without route_localnet (kernel-facts B22).
    fn check_loopback_source(&mut self, interface: &str) -> Result<(), Stop> {
        let IpAddr::V4(source) = self.packet.source else { return Ok(()) };
        let sysctls = &self.run.system.host.sysctls;
        let localnet = sysctls.interface_or_all(Family::Ipv4, interface, "route_localnet");
        if source.is_loopback() && interface != "lo" && localnet != Some(true) {
            let why = format!("{source} leaves by `{interface}` only with route_localnet");
            self.steps.push(decision(RouteDecision::Unusable, Some(why)));
            self.decided_by = self.steps.len().checked_sub(1);
            return Err(Stop::Unroutable { error: None });
        }
        Ok(())
    }

    fn no_route_output<T>(
        &mut self,
        found: Option<Found<'s>>,
        because: Option<String>,
    ) -> Result<T, Stop> {
        let family = self.packet.family();
        if !routes_known(&self.run.system.host, family) {
            let why = no_part_says_routes(family);
            self.steps.push(decision(RouteDecision::Unknown, Some(why)));
            return self.stop_unknown();
        }
        self.refused_output(RouteDecision::NoRoute, found, because)
    }

    fn refused_output<T>(
        &mut self,
        refusal: RouteDecision,
        found: Option<Found<'s>>,
        because: Option<String>,
    ) -> Result<T, Stop> {
        self.steps.push(Step::Route {
            decision: refusal,
            route: found.map(|found| (found.table, found.index)),
            out_interface: None,
            gateway: None,
            because,
        });
        self.decided_by = self.steps.len().checked_sub(1);
        Err(Stop::Unroutable { error: None })
    }

    /// Routes a local packet again after OUTPUT changed it (`ip_route_me_harder`): its source is
    /// not selected anew (kernel-facts B21, D11). A link-local destination or a group is sought by
    /// the interface that the first route led to, which is `lo` where that was an own address
    /// (`ip6_route_me_harder`; measured with an answer that goes back through nat OUTPUT).
    pub(crate) fn reroute(&mut self) -> Result<(), Stop> {
        let before = self.route.map(|route| (route.interface, route.gateway));
        let steps = self.steps.len();
        self.sourced = true;
        let narrow = match self.packet.destination {
            IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        self.bound = match self.route {
            Some(first) if narrow => Bound::To(first.interface),
            Some(_) | None => Bound::Free,
        };
        let link = self.run.link_to(self.leg, self.packet.destination);
        let route = self.route_output_by(Lookup::of(&self.packet, "lo").by_link(link))?;
        if before == Some((route.interface, route.gateway)) {
            // Nothing new to tell.
            self.steps.truncate(steps);
        }
        self.route = Some(route);
        Ok(())
    }
}

/// Whether a group stays on its link (224.0.0.0/24, `ipv4_is_local_multicast`).
fn is_local_group(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [224, 0, 0, _])
}

fn out_route(hop: &NextHop) -> OutRoute<'_> {
    OutRoute { interface: &hop.interface, gateway: hop.gateway, local: false }
}

fn rule_decision(action: RuleAction) -> RouteDecision {
    match action {
        RuleAction::Blackhole => RouteDecision::Blackhole,
        RuleAction::Unreachable => RouteDecision::Unreachable,
        RuleAction::Prohibit => RouteDecision::Prohibit,
        RuleAction::Lookup { .. }
        | RuleAction::Goto(_)
        | RuleAction::Nop
        | RuleAction::Unsupported => RouteDecision::NoRoute,
    }
}

fn kind_decision(kind: RouteKind) -> RouteDecision {
    match kind {
        RouteKind::Blackhole => RouteDecision::Blackhole,
        RouteKind::Unreachable => RouteDecision::Unreachable,
        RouteKind::Prohibit => RouteDecision::Prohibit,
        RouteKind::Unicast
        | RouteKind::Local
        | RouteKind::Broadcast
        | RouteKind::Anycast
        | RouteKind::Multicast
        | RouteKind::Throw => RouteDecision::NoRoute,
    }
}

/// Whether the routes of a family are known well enough to say that there is none.
fn routes_known(host: &Host, family: Family) -> bool {
    host.has(Part::routes(family))
}

fn no_part_says_routes(family: Family) -> String {
    format!("no part says the routes ({})", Part::routes(family).file_name())
}
