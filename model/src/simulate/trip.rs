//! One packet's trip through the hooks: base chains by priority, connection tracking and NAT in
//! between, and what each matching rule does.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nattrace_parser::syntax::{Backend, TableName};

use crate::System;
use crate::answer::{RouteDecision, Step};
use crate::condition::{Direction, LinkDelivery};
use crate::flow::FlowState;
use crate::hook::{self, Hook};
use crate::host::Assumption;
use crate::packet::{Packet, protocol};
use crate::ruleset::{ChainId, ChainKind};
use crate::simulate::chain::rewrites;
use crate::simulate::connection::{
    Connection, FirstPacket, Manip, TrackedState, Tracking, first_packet,
};
use crate::simulate::drawn::Drawn;
use crate::simulate::matching::PhysicalPort;
use crate::simulate::oracle::Oracle;
use crate::simulate::routing::Bound;
use crate::target::RejectWith;

/// What all packets of one question share.
pub(crate) struct Run<'s, 'o> {
    pub(crate) system: &'s System,
    pub(crate) oracle: &'o mut Oracle,
    pub(crate) connections: Vec<Connection>,
    pub(crate) assumptions: BTreeSet<Assumption>,
    /// Whether legacy chains run before nft chains of the same priority, once it was asked
    /// (kernel-facts A13).
    pub(crate) legacy_first: Option<bool>,
    /// Whether what is not simulated leaves packets alone, once it was asked.
    pub(crate) unseen_is_quiet: Option<bool>,
    /// Whether bridged frames pass the hooks, once it was asked.
    pub(crate) bridge_filter: Option<bool>,
    /// The interface by which the packet asked about came, if it did come in.
    pub(crate) link: Option<&'s str>,
    /// The address that it came from, if it did come in: somebody there has it.
    pub(crate) asker: Option<IpAddr>,
    /// The step of the first packet that is let pass although it refuses, to see what comes next.
    pub(crate) pardoned: Option<usize>,
    /// Whom the hosts outside answer by way of this one.
    pub(crate) answerers: Answerers,
    /// Whether the packet asked about is a later one of its connection.
    pub(crate) established: bool,
    /// Whether the kernel chooses the source of the packet asked about.
    pub(crate) any_source: bool,
    /// Whether it chooses its TTL, where a local process sends it.
    pub(crate) any_ttl: bool,
    /// The mark of the packet that opened the connection, where the packet asked about is a later
    /// one and has a socket here.
    pub(crate) opened_with: Option<u32>,
}

impl Run<'_, '_> {
    /// Notes something that the answer rests on.
    pub(crate) fn assume(&mut self, code: &'static str, text: impl Into<String>) {
        self.assumptions.insert(Assumption { code, text: text.into() });
    }
}

/// Which hosts outside send their answers back this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answerers {
    /// Those of which routes, zones and containers tell it.
    AsTold,
    /// All: tracking has seen the answer.
    AllThisWay,
}

/// Which packet of the exchange travels; it names decisions and chooses what may be pardoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// The packet that was asked about.
    Forth,
    /// The answer to it.
    Back,
    /// The first packet of the connection that the packet asked about belongs to.
    Earlier,
}

impl Leg {
    /// What a decision about the packet begins with.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Forth => "",
            Self::Back => "reply: ",
            Self::Earlier => "first packet: ",
        }
    }
}

/// Who makes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Who sends packets of his own: a process, a host outside.
    Sender,
    /// The kernel, as the answer to an ICMP query.
    IcmpAnswer,
    /// The kernel, as an ICMP error about another packet: nat chains are not asked.
    IcmpError,
    /// The kernel's TCP, as a reset.
    TcpReset,
    /// REJECT, as a TCP reset: it has no socket, and nat chains are asked for the end of the
    /// connection that is not settled yet (measured: a connection refused in FORWARD has its reset
    /// looked up in nat POSTROUTING, because `nf_nat_inet_fn` spares ICMP alone).
    RejectReset,
}

/// Room for the steps of an ordinary trip through a Docker host.
const USUAL_STEPS: usize = 16;

/// Why a packet does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It vanishes.
    Dropped,
    /// It is refused with an answer.
    Rejected(RejectWith),
    /// A program decides.
    Queued,
    /// Routing refuses; `error` is the ICMP error's type and code, if one is sent.
    Unroutable {
        /// Type and code.
        error: Option<(u8, u8)>,
    },
    /// Its source or destination can't be.
    Martian,
    /// Its time to live ran out.
    TtlExpired,
    /// Something unknown decides.
    Unknown,
}

/// Which route a packet has where an ICMP error is made about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldRoute {
    /// That to its receiver.
    Own,
    /// One that a bridge lends to what it hands on as it came (`bridge_parent_rtable`).
    Lent,
    /// None yet: it gets that of the error (`nf_reject_fill_skb_dst`).
    None,
}

/// One packet under way.
pub(crate) struct Trip<'r, 's, 'o> {
    pub(crate) run: &'r mut Run<'s, 'o>,
    pub(crate) leg: Leg,
    pub(crate) packet: Packet,
    /// The interface of the hook by which the packet came; empty for a local packet.
    pub(crate) in_interface: &'s str,
    /// The interface that the kernel takes a packet of IPv6 to have come by when it makes an error
    /// about it; empty while a bridge has it (`IP6CB(skb)->iif`; kernel-facts K31).
    pub(crate) noted_interface: &'s str,
    /// The interface of the hook by which the packet leaves; empty before routing.
    pub(crate) out_interface: &'s str,
    /// Where routing sends the packet; OUTPUT's rules still see the first choice
    /// (kernel-facts D11, B21).
    pub(crate) route: Option<OutRoute<'s>>,
    pub(crate) physical_in: PhysicalPort<'s>,
    pub(crate) physical_out: PhysicalPort<'s>,
    pub(crate) bridged: bool,
    pub(crate) held_route: HeldRoute,
    pub(crate) tracking: Tracking,
    pub(crate) zone: u16,
    /// The state that the question demands, for the packet asked about.
    pub(crate) demanded: Option<FlowState>,
    pub(crate) maker: Maker,
    /// How the packet was addressed on the link when it came in; rewriting does not change it.
    pub(crate) delivery: LinkDelivery,
    /// The interfaces that its route may lead to.
    pub(crate) bound: Bound<'s>,
    /// The interface that its first route is asked to lead to, which policy rules with `oif` see
    /// (kernel-facts K28).
    pub(crate) asked_interface: Option<&'s str>,
    /// Whether its route is looked up with its source; without, the source is one that was chosen
    /// for the route.
    pub(crate) sourced: bool,
    /// What tracking finds by the packet that an ICMP error quotes.
    pub(crate) quoted: Option<Tracking>,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) local: bool,
    /// The socket that TPROXY assigned.
    pub(crate) proxy_socket: Option<(Option<IpAddr>, u16)>,
    /// The source is picked from addresses that the snapshot lacks.
    pub(crate) source_unknown: bool,
    /// Its ports that were drawn by chance.
    pub(crate) drawn: Drawn,
    pub(crate) steps: Vec<Step>,
    pub(crate) decided_by: Option<usize>,
}

/// Where routing sends a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutRoute<'s> {
    pub(crate) interface: &'s str,
    pub(crate) gateway: Option<IpAddr>,
    /// To one of the host's own addresses, over loopback.
    pub(crate) local: bool,
}

impl<'r, 's, 'o> Trip<'r, 's, 'o> {
    /// A packet about to start.
    pub(crate) fn new(run: &'r mut Run<'s, 'o>, leg: Leg, packet: Packet) -> Self {
        Self {
            run,
            leg,
            packet,
            in_interface: "",
            noted_interface: "",
            out_interface: "",
            route: None,
            physical_in: PhysicalPort::None,
            physical_out: PhysicalPort::None,
            bridged: false,
            held_route: HeldRoute::Own,
            tracking: Tracking::None,
            zone: 0,
            demanded: None,
            maker: Maker::Sender,
            delivery: LinkDelivery::Unicast,
            bound: Bound::ByPacket,
            asked_interface: None,
            sourced: true,
            quoted: None,
            mac: None,
            local: false,
            proxy_socket: None,
            source_unknown: false,
            drawn: Drawn::default(),
            steps: Vec::with_capacity(USUAL_STEPS),
            decided_by: None,
        }
    }

    /// Whether the packet passed before the one that was asked about: its connection is there.
    pub(crate) fn is_history(&self) -> bool {
        match self.leg {
            Leg::Earlier => true,
            Leg::Back => self.run.answerers == Answerers::AllThisWay,
            Leg::Forth => false,
        }
    }

    /// Records a step that stops the packet, unless this very step is pardoned.
    pub(crate) fn refuse(&mut self, step: Step, stop: Stop) -> Result<(), Stop> {
        self.steps.push(step);
        self.stop_here(stop)
    }

    /// Stops at the step that was recorded last, unless it is pardoned.
    pub(crate) fn stop_here(&mut self, stop: Stop) -> Result<(), Stop> {
        let at = self.steps.len().checked_sub(1);
        if self.leg == Leg::Forth && at.is_some() && at == self.run.pardoned {
            return Ok(());
        }
        self.decided_by = at;
        Err(stop)
    }

    /// Passes a hook: every base chain by priority, with tracking and NAT at their places.
    pub(crate) fn hook(&mut self, hook: Hook) -> Result<(), Stop> {
        let system = self.run.system;
        let family = self.packet.family();
        self.unseen(hook)?;
        let chains = system.rules.base_chains(family, hook);
        let swapped = self.swapped_order(chains);
        let chains = swapped.as_deref().unwrap_or(chains);
        self.note_ties(chains);
        let mut track_pending = matches!(hook, Hook::Prerouting | Hook::Output);
        let mut nat_pending = hook != Hook::Forward;
        let nat_priority = hook::priority(Backend::Nft, TableName::Nat, hook);
        for id in chains {
            let Some(base) = system.rules.chain(*id).and_then(|chain| chain.base) else {
                continue;
            };
            if base.kind == ChainKind::Nat {
                // Wherever its priority puts it, a nat chain is asked where NAT takes place.
                continue;
            }
            if track_pending && self.is_behind(*id, base, hook::CONNTRACK_PRIORITY, "tracking") {
                self.track();
                track_pending = false;
            }
            if nat_pending && self.is_behind(*id, base, nat_priority, "nat") {
                self.nat(hook, chains)?;
                nat_pending = false;
            }
            self.filter_chain(hook, *id, base.kind)?;
        }
        if track_pending {
            self.track();
        }
        if nat_pending {
            self.nat(hook, chains)?;
        }
        match hook {
            Hook::Postrouting | Hook::Input => self.confirm(),
            Hook::Prerouting | Hook::Forward | Hook::Output => Ok(()),
        }
    }

    /// Runs a chain that is no nat chain. What mangle OUTPUT changes is routed anew
    /// (kernel-facts D11).
    fn filter_chain(&mut self, hook: Hook, id: ChainId, kind: ChainKind) -> Result<(), Stop> {
        // Of IPv6 the hop limit counts too (`nf_route_table_hook6`, `ip6t_mangle_out`; measured).
        let key = |p: &Packet| {
            let hops = if p.source.is_ipv6() { p.ttl } else { 0 };
            (p.mark, p.source, p.destination, p.tos, hops)
        };
        let before = key(&self.packet);
        self.chain(hook, id)?;
        if hook == Hook::Output && kind == ChainKind::Route && key(&self.packet) != before {
            self.reroute()?;
        }
        Ok(())
    }

    /// The connection of the packet.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match self.tracking {
            Tracking::Tracked { connection, .. } => self.run.connections.get(connection),
            Tracking::None
            | Tracking::Attached
            | Tracking::Template
            | Tracking::Invalid
            | Tracking::Untracked => None,
        }
    }

    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self.tracking {
            Tracking::Tracked { connection, .. } => self.run.connections.get_mut(connection),
            Tracking::None
            | Tracking::Attached
            | Tracking::Template
            | Tracking::Invalid
            | Tracking::Untracked => None,
        }
    }

    /// Connection tracking looks at the packet, unless it already has or was told not to
    /// (`nf_conntrack_in`).
    fn track(&mut self) {
        let family = self.packet.family();
        let fresh =
            matches!(self.tracking, Tracking::None | Tracking::Attached | Tracking::Template);
        if !fresh || !self.run.system.rules.tracks_connections(family) {
            return;
        }
        let begin = |trip: &mut Self, state| {
            let begun = Connection::begin(&trip.packet, trip.zone).begun_with(trip.drawn);
            trip.run.connections.push(begun);
            let connection = trip.run.connections.len() - 1;
            Tracking::Tracked { connection, state, direction: Direction::Original }
        };
        let misjudged = self.is_misjudged();
        self.tracking = match self.demanded {
            Some(FlowState::Invalid) => Tracking::Invalid,
            Some(FlowState::Untracked) => Tracking::Untracked,
            Some(FlowState::Related) => begin(self, TrackedState::Related),
            Some(FlowState::New | FlowState::Established) | None if misjudged => Tracking::Invalid,
            Some(FlowState::New | FlowState::Established) | None => {
                match self.quoted_connection().or_else(|| self.known_connection()) {
                    Some(known) => known,
                    None => match self.first_packet() {
                        FirstPacket::New => begin(self, TrackedState::New),
                        // What is attached to nothing stays so (`nf_conntrack_in`; measured over
                        // loopback, where raw sees it again).
                        FirstPacket::Invalid if self.tracking == Tracking::Attached => return,
                        FirstPacket::Invalid => Tracking::Invalid,
                        FirstPacket::Untracked => Tracking::Untracked,
                    },
                }
            }
        };
    }

    /// How tracking classes the packet, which belongs to no known connection. What answers over SCTP
    /// begins none: only INIT does (`sctp_new`; kernel-facts K18).
    fn first_packet(&self) -> FirstPacket {
        match (self.packet.protocol, self.leg) {
            (protocol::SCTP, Leg::Back) => FirstPacket::Invalid,
            _ => first_packet(&self.packet, self.loose()),
        }
    }

    /// Whether tracking takes the packet's checksum for a wrong one: that of UDP-Lite from a wire is
    /// verified as if it were UDP's (`udplite_error`; kernel-facts K16).
    fn is_misjudged(&mut self) -> bool {
        let sysctls = &self.run.system.host.sysctls;
        let verified = sysctls.get("net.netfilter.nf_conntrack_checksum") != Some(0);
        let misjudged = self.packet.protocol == protocol::UDPLITE && !self.local && verified;
        if misjudged {
            self.run.assume(
                "udplite-invalid",
                "connection tracking verifies the checksum of UDP-Lite as if it were UDP's \
                 (nf_conntrack_checksum is on): the packet is INVALID",
            );
        }
        misjudged
    }

    /// What the packet that an ICMP error quotes belongs to, if that is in the error's own zone
    /// (`nf_conntrack_inet_error`; measured).
    fn quoted_connection(&self) -> Option<Tracking> {
        self.quoted.filter(|quoted| match quoted {
            Tracking::Tracked { connection, .. } => {
                self.run.connections.get(*connection).is_some_and(|c| c.zone == self.zone)
            }
            Tracking::None | Tracking::Attached | Tracking::Template => true,
            Tracking::Invalid | Tracking::Untracked => true,
        })
    }

    /// `nf_conntrack_tcp_loose` (kernel-facts F3).
    fn loose(&self) -> bool {
        self.run.system.host.sysctls.get("net.netfilter.nf_conntrack_tcp_loose") != Some(0)
    }

    /// The confirmed connection that the packet belongs to (kernel-facts A3, F1).
    fn known_connection(&mut self) -> Option<Tracking> {
        let (packet, zone) = (&self.packet, self.zone);
        let found = self.run.connections.iter().enumerate().find_map(|(index, connection)| {
            let direction = connection.direction_of(packet, zone)?;
            connection.confirmed.then_some((index, direction))
        });
        let (index, direction) = found?;
        let connection = self.run.connections.get_mut(index)?;
        let state = match direction {
            Direction::Reply => {
                connection.seen_reply = true;
                TrackedState::Established
            }
            Direction::Original if connection.seen_reply => TrackedState::Established,
            Direction::Original => TrackedState::New,
        };
        Some(Tracking::Tracked { connection: index, state, direction })
    }

    /// NAT at a hook: the nat chains for the first packet of a connection, then the translation
    /// of every packet of it (`nf_nat_inet_fn`).
    fn nat(&mut self, hook: Hook, chains: &[ChainId]) -> Result<(), Stop> {
        let Tracking::Tracked { connection: index, state, direction } = self.tracking else {
            return Ok(());
        };
        let manip = Manip::of(hook);
        let asks = self.run.connections.get(index).is_some_and(|c| !c.is_settled(manip))
            && match self.maker {
                // kernel-facts A2: what ICMP says about another connection has that one's mapping.
                _ if state == TrackedState::Related && self.is_icmp() => false,
                Maker::Sender | Maker::IcmpAnswer | Maker::TcpReset => {
                    direction == Direction::Original && state != TrackedState::Established
                }
                Maker::IcmpError => false,
                Maker::RejectReset => true,
            };
        let mut mapped_by = None;
        if asks {
            let rules = &self.run.system.rules;
            for id in chains {
                let base = rules.chain(*id).and_then(|chain| chain.base);
                if base.is_none_or(|base| base.kind != ChainKind::Nat) {
                    continue;
                }
                self.chain(hook, *id)?;
                // kernel-facts A13: the first backend that maps wins.
                let settled = self.connection().is_some_and(|c| c.is_settled(manip));
                if settled {
                    mapped_by = self.last_rule_step();
                    break;
                }
            }
            if self.connection().is_some_and(|connection| !connection.is_settled(manip)) {
                self.bind_to_itself(manip);
            }
        }
        if hook == Hook::Postrouting && direction == Direction::Original {
            self.keep_interface()?;
        }
        self.translate(hook, index, direction, mapped_by)
    }

    fn is_icmp(&self) -> bool {
        matches!(self.packet.protocol, protocol::ICMP | protocol::ICMPV6)
    }

    /// What MASQUERADE translated goes on leaving by the interface of the first packet, or not at
    /// all (`nf_nat_oif_changed`; kernel-facts K15). ICMP errors are spared.
    fn keep_interface(&mut self) -> Result<(), Stop> {
        let out = self.out_interface;
        let by = self.connection().and_then(|connection| connection.masqueraded_by.as_deref());
        match by {
            Some(by) if by != out && self.maker != Maker::IcmpError => {
                let because = format!(
                    "MASQUERADE had the connection leave by `{by}`: what would leave by `{out}` \
                     is dropped, and the connection forgotten"
                );
                self.unusable(because)
            }
            _ => Ok(()),
        }
    }

    /// Enters the connection that the packet begins into the table (`__nf_conntrack_confirm`): one
    /// whose answers would be taken for those of another is not entered, and its packet dropped
    /// (kernel-facts K19). What belongs to a connection but did not begin it does not confirm it: the
    /// refusal of its first packet, say.
    pub(crate) fn confirm(&mut self) -> Result<(), Stop> {
        if !matches!(self.tracking, Tracking::Tracked { direction: Direction::Original, .. }) {
            return Ok(());
        }
        let Some(own) = self.connection().filter(|connection| !connection.confirmed) else {
            return Ok(());
        };
        if self.claims().take(&own.current()) {
            let because = "NAT leaves the connection no port but one that another connection has: \
                           it is not confirmed, and the packet dropped";
            return self.unusable(because.to_owned());
        }
        if let Some(connection) = self.connection_mut() {
            connection.confirmed = true;
        }
        Ok(())
    }

    fn last_rule_step(&self) -> Option<usize> {
        let is_rule = |step: &Step| matches!(step, Step::Rule { .. });
        self.steps.iter().rposition(is_rule)
    }

    /// Rewrites the packet as its connection says, and records what changed with the rule that
    /// mapped it, or as a step of its own.
    fn translate(
        &mut self,
        hook: Hook,
        connection: usize,
        direction: Direction,
        mapped_by: Option<usize>,
    ) -> Result<(), Stop> {
        let before = self.packet.clone();
        if let Some(connection) = self.run.connections.get(connection) {
            connection.translate(&mut self.packet, hook, direction);
            let begun_with = connection.begun_with.of_answer();
            match (direction, Manip::of(hook)) {
                (Direction::Original, Manip::Source) => self.drawn.source = connection.drawn.source,
                (Direction::Original, Manip::Destination) => {
                    self.drawn.destination = connection.drawn.destination;
                }
                // The answer has the ports again that were asked.
                (Direction::Reply, Manip::Destination) => {
                    self.drawn.destination = begun_with.destination;
                }
                (Direction::Reply, Manip::Source) => self.drawn.source = begun_with.source,
            }
        }
        if self.packet == before {
            return Ok(());
        }
        let changes = rewrites(&before, &self.packet);
        match mapped_by.and_then(|at| self.steps.get_mut(at)) {
            Some(Step::Rule { rewrites, .. }) => *rewrites = changes,
            _ => self.steps.push(Step::Conntrack { hook, rewrites: changes }),
        }
        if hook == Hook::Output && before.destination != self.packet.destination {
            self.reroute()?;
        }
        Ok(())
    }

    /// Drops the packet because a rewrite has nothing to rewrite to.
    pub(crate) fn unusable(&mut self, because: String) -> Result<(), Stop> {
        let step = Step::Route {
            decision: RouteDecision::Unusable,
            route: None,
            out_interface: None,
            gateway: None,
            because: Some(because),
        };
        self.steps.push(step);
        // Nothing sensible could follow, so this is never pardoned.
        self.decided_by = self.steps.len().checked_sub(1);
        Err(Stop::Dropped)
    }
}
