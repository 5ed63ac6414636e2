//! Targets that rewrite a packet or its connection.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::hook::Hook;
use crate::host::{Part, SocketProtocol};
use crate::packet::protocol;
use crate::simulate::connection::{Manip, Tracking, Tuple};
use crate::simulate::nat::{self, Choice, Claims, Mapping, PortSpec};
use crate::simulate::trip::{Stop, Trip};
use crate::simulate::witness::{Mapped, MappedEnd};
use crate::target::{ConnmarkAction, MarkShift, PrefixTranslation, Target, TtlAction};

impl TtlAction {
    /// The TTL or hop limit afterwards.
    #[must_use]
    pub fn apply(self, ttl: u8) -> u8 {
        match self {
            Self::Set(value) => value,
            Self::Increase(by) => ttl.saturating_add(by),
            Self::Decrease(by) => ttl.saturating_sub(by),
        }
    }
}

impl Trip<'_, '_, '_> {
    // kernel-facts G14
    pub(crate) fn connmark(&mut self, action: ConnmarkAction, shift: MarkShift) {
        let packet_mark = self.packet.mark;
        let Some(connection) = self.connection_mut() else { return };
        match action {
            ConnmarkAction::Set { value, mask } => {
                connection.mark = shift.apply((connection.mark & !mask) ^ value);
            }
            ConnmarkAction::Save { nfmask, ctmask } => {
                connection.mark = (connection.mark & !ctmask) ^ shift.apply(packet_mark & nfmask);
            }
            ConnmarkAction::Restore { nfmask, ctmask } => {
                let saved = shift.apply(connection.mark & ctmask);
                let restored = (packet_mark & !nfmask) ^ saved;
                self.packet.mark = restored;
            }
        }
    }

    /// SNPT and DNPT: an address of the packet gets another prefix, whatever its connection is
    /// (kernel-facts J7).
    pub(crate) fn exchange_prefix(
        &mut self,
        hook: Hook,
        end: Manip,
        prefixes: &PrefixTranslation,
    ) -> Result<(), Stop> {
        if let Some(witness) = &mut self.run.oracle.witness {
            witness.unfollowed("prefixes exchanged without state are followed packet by packet");
        }
        // Over loopback the kernel keeps the route and loses the connection for what quotes the
        // packet, and what OUTPUT sends elsewhere or INPUT delivers does not always arrive; the lab
        // has shown that much, and not what else there is.
        let measured = matches!(hook, Hook::Prerouting | Hook::Postrouting);
        let routed = end == Manip::Source && self.route.is_some_and(|route| route.local);
        if !measured || routed || self.in_interface == "lo" {
            return self.stop_here(Stop::Unknown);
        }
        let address = match end {
            Manip::Source => &mut self.packet.source,
            Manip::Destination => &mut self.packet.destination,
        };
        let IpAddr::V6(own) = *address else { return Ok(()) };
        if !prefixes.is_from(own) {
            // The checksum is made up for the prefix that is not there, and holds no more.
            return self.stop_here(Stop::Unknown);
        }
        match prefixes.apply(own) {
            Some(exchanged) => *address = exchanged.into(),
            // Dropped with an ICMPv6 error that nothing here tells of.
            None => self.stop_here(Stop::Unknown)?,
        }
        Ok(())
    }

    /// Maps one end of the packet's connection as a NAT target says.
    pub(crate) fn map(&mut self, hook: Hook, target: &Target) -> Result<(), Stop> {
        let Tracking::Tracked { .. } = self.tracking else { return Ok(()) };
        let manip = Manip::of(hook);
        let zone = self.zone;
        let Some(current) = self.connection().map(|connection| connection.current()) else {
            return Ok(());
        };
        let single = |address: IpAddr| Some((address, address));
        let choice = match target {
            Target::Snat(range, options) | Target::Dnat(range, options) => {
                let ports = PortSpec { range: range.ports, base: range.base_port };
                Choice { addresses: range.addresses, ports, options: *options }
            }
            Target::Masquerade(ports, options) => {
                let Some(address) = self.masquerade_source()? else { return Ok(()) };
                let ports = PortSpec { range: *ports, base: None };
                Choice { addresses: single(address), ports, options: *options }
            }
            Target::Redirect(ports, options) => {
                let Some(address) = self.redirect_destination(hook)? else { return Ok(()) };
                let ports = PortSpec { range: *ports, base: None };
                Choice { addresses: single(address), ports, options: *options }
            }
            Target::Netmap(prefix) => {
                let own = match manip {
                    Manip::Source => current.source,
                    Manip::Destination => current.destination,
                };
                let addresses = single(nat::netmap(own, prefix));
                Choice { addresses, ..Choice::default() }
            }
            _ => return Ok(()),
        };
        if self.is_confirmed() {
            return Ok(());
        }
        let claims = self.claims();
        let mapping = nat::choose(manip, &current, choice, zone, &claims);
        if let Some(witness) = &mut self.run.oracle.witness {
            witness.mapped(&mapped(manip, &current, target, mapping));
        }
        self.tell_claims(manip, &current, (choice, mapping), &claims);
        self.settle(manip, mapping);
        if matches!(target, Target::Masquerade(..)) {
            let out = self.out_interface;
            if let Some(connection) = self.connection_mut() {
                connection.masqueraded_by = Some(out.into());
            }
        }
        Ok(())
    }

    /// Leaves an end as it is, for no rule maps it; where its answers would be taken for those of
    /// another connection, its source gets another port all the same (`nf_nat_alloc_null_binding`;
    /// kernel-facts K19). A datagram socket may answer from another address than it was asked at,
    /// and that be rewritten to the one that was asked.
    pub(crate) fn bind_to_itself(&mut self, manip: Manip) {
        if self.is_confirmed() {
            return;
        }
        let claims = self.claims();
        let Some(current) = self.connection().map(|connection| connection.current()) else {
            return;
        };
        let own = match manip {
            Manip::Source => current.source,
            Manip::Destination => current.destination,
        };
        let choice = Choice { addresses: Some((own, own)), ..Choice::default() };
        let mapping = nat::choose(manip, &current, choice, self.zone, &claims);
        self.tell_claims(manip, &current, (choice, mapping), &claims);
        self.settle(manip, mapping);
    }

    /// Whether the connection is in the table already: its tuples stay as they are then, whatever a
    /// nat chain says (`nf_nat_setup_info`; kernel-facts K29).
    fn is_confirmed(&self) -> bool {
        self.connection().is_some_and(|connection| connection.confirmed)
    }

    /// What other connections of the packet's zone have.
    pub(crate) fn claims(&self) -> Claims {
        let Tracking::Tracked { connection: own, .. } = self.tracking else {
            return Claims::default();
        };
        let connections = &self.run.connections;
        let zone = connections.get(own).map(|connection| connection.zone);
        let others = connections
            .iter()
            .enumerate()
            .filter(|(at, other)| *at != own && other.confirmed && Some(other.zone) == zone);
        Claims(others.flat_map(|(_, other)| [other.original, other.reply]).collect())
    }

    /// Tells the witness which ports have mattered because other connections have them.
    fn tell_claims(
        &mut self,
        manip: Manip,
        current: &Tuple,
        (choice, mapping): (Choice, Mapping),
        claims: &Claims,
    ) {
        let Some(witness) = &mut self.run.oracle.witness else { return };
        let tuple = current.with_address(manip, mapping.address);
        for port in claims.ports_beside(manip, &tuple) {
            witness.claimed(port, choice.ports.range);
        }
        if let (None, Some(_), Some((own, _))) =
            (choice.ports.range, mapping.drawn, current.ports())
        {
            witness.drawn(own);
        }
    }

    fn settle(&mut self, manip: Manip, mapping: Mapping) {
        let identifier = mapping.drawn.is_some() && mapping.port.is_none();
        if let (Some(_), Manip::Destination, Some(port)) = (mapping.drawn, manip, mapping.port) {
            self.run.assume(
                "destination-port-random",
                format!("--random draws the destination's port from a range: {port} is one of it"),
            );
        }
        if let Some(connection) = self.connection_mut() {
            connection.map(manip, mapping.address, mapping.port);
            match manip {
                Manip::Source if mapping.drawn.is_some() => {
                    connection.drawn.source = mapping.drawn;
                    // Whichever port is drawn, it is another one.
                    connection.source_translated = true;
                }
                // Whichever identifier is drawn, the end counts as translated.
                Manip::Destination if identifier => {
                    connection.drawn.destination = mapping.drawn;
                    connection.destination_translated = true;
                }
                Manip::Destination if mapping.drawn.is_some() => {
                    connection.drawn.destination = mapping.drawn;
                }
                // A port that is given is no drawn one any more.
                Manip::Source if mapping.port.is_some() => connection.drawn.source = None,
                Manip::Destination if mapping.port.is_some() => {
                    connection.drawn.destination = None;
                }
                Manip::Source | Manip::Destination => {}
            }
        }
    }

    /// The address that MASQUERADE gives; drops the packet where there is none (kernel-facts B3).
    fn masquerade_source(&mut self) -> Result<Option<IpAddr>, Stop> {
        let host = &self.run.system.host;
        let out = self.out_interface;
        let gateway = self.route.and_then(|route| route.gateway);
        let known = host.has(Part::Addresses)
            || host.interface(out).is_some_and(|interface| {
                let own = self.packet.destination.is_ipv4();
                interface
                    .addresses
                    .iter()
                    .any(|address| address.local.is_ipv4() == own && !address.secondary)
            });
        if !known {
            self.source_unknown = true;
            self.run.assume(
                "egress-address-unknown",
                format!("the addresses of `{out}` are not known (no ip-addr.json): MASQUERADE's choice can't be named"),
            );
            let unspecified: IpAddr = match self.packet.destination {
                IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            return Ok(Some(unspecified));
        }
        let address = nat::masquerade_address(host, out, gateway, self.packet.destination);
        if address.is_none() {
            self.unusable(format!("no interface has an address to masquerade as (out {out})"))?;
        }
        Ok(address)
    }

    fn redirect_destination(&mut self, hook: Hook) -> Result<Option<IpAddr>, Stop> {
        let host = &self.run.system.host;
        let came = self.in_interface;
        let asked = self.packet.destination;
        let address = nat::redirect_address(host, hook, came, asked);
        if address.is_none() {
            if let Some(stand_in) = host.stand_in(came, Family::of(asked)) {
                self.run.assume(
                    "redirect-address-unknown",
                    format!("the addresses of `{came}` are not known (no ip-addr.json): {stand_in} stands for the one that REDIRECT picks"),
                );
                return Ok(Some(stand_in));
            }
            self.unusable(format!("`{came}` has no address to redirect to"))?;
        }
        Ok(address)
    }

    /// TPROXY: the mark, and a local socket; without a socket the packet is dropped
    /// (kernel-facts G16).
    pub(crate) fn tproxy(
        &mut self,
        port: u16,
        address: Option<IpAddr>,
        value: u32,
        mask: u32,
    ) -> Result<(), Stop> {
        if let Some(witness) = &mut self.run.oracle.witness {
            witness.received(&self.packet);
        }
        let port = if port == 0 { self.packet.destination_port().unwrap_or(0) } else { port };
        let host = &self.run.system.host;
        let socket_protocol = match self.packet.protocol {
            protocol::TCP => SocketProtocol::Tcp,
            _ => SocketProtocol::Udp,
        };
        let listening = host.listeners.as_ref().map(|listeners| {
            listeners.iter().any(|l| l.protocol == socket_protocol && l.port == port)
        });
        match listening {
            Some(false) => {
                return self.unusable(format!("TPROXY finds no socket on port {port}"));
            }
            Some(true) => {}
            None => self.run.assume(
                "listeners-assumed",
                "no part says which sockets listen: the proxy of TPROXY is taken to".to_owned(),
            ),
        }
        self.packet.mark = (self.packet.mark & !mask) ^ value;
        self.proxy_socket = Some((address, port));
        Ok(())
    }
}

/// What a target picked from, for a witness.
fn mapped<'t>(manip: Manip, current: &Tuple, target: &'t Target, mapping: Mapping) -> Mapped<'t> {
    let end = match manip {
        Manip::Source => MappedEnd::Source,
        Manip::Destination => MappedEnd::Destination,
    };
    let plain = Mapped::of(end, current, mapping.address, mapping.port);
    match target {
        Target::Snat(range, options) | Target::Dnat(range, options) => Mapped {
            addresses: range.addresses,
            ports: range.ports,
            base_port: range.base_port,
            options: *options,
            ..plain
        },
        Target::Masquerade(ports, options) | Target::Redirect(ports, options) => {
            let addresses = Some((mapping.address, mapping.address));
            Mapped { addresses, ports: *ports, options: *options, ..plain }
        }
        Target::Netmap(prefix) => Mapped { prefix: Some(prefix), ..plain },
        _ => plain,
    }
}
