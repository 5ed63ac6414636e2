//! What sees a packet and is not simulated: rules that no part holds, and chains of nftables that are
//! not of the IP layer.

use std::collections::BTreeSet;

use nattrace_parser::syntax::Family;

use crate::answer::RouteDecision;
use crate::hook::Hook;
use crate::host::{ForeignChain, ForeignLayer, InterfaceKind, Part};
use crate::simulate::path::decision;
use crate::simulate::trip::{Stop, Trip};

impl Trip<'_, '_, '_> {
    /// What sees the packet here and is not simulated may do anything: rules that no part holds,
    /// tables of nftables that iptables does not show. Whether they do is asked once; where they
    /// do, nothing more can be said.
    pub(crate) fn unseen(&mut self, hook: Hook) -> Result<(), Stop> {
        let host = &self.run.system.host;
        let family = self.packet.family();
        let (nft, legacy) = match family {
            Family::Ipv4 => (Part::Rules4, Part::LegacyRules4),
            Family::Ipv6 => (Part::Rules6, Part::LegacyRules6),
        };
        if !host.has(nft) && !host.has(legacy) && !host.has(Part::Nft) {
            let name = nft.file_name();
            return self.doubt(
                format!("rules that no part shows ({name}) leave the packet alone"),
                format!("no part holds the rules ({name})"),
            );
        }
        let is_bridge = |name: &str| {
            host.interface(name).is_some_and(|interface| interface.kind == InterfaceKind::Bridge)
        };
        let interface =
            if hook == Hook::Postrouting { self.out_interface } else { self.in_interface };
        let concerned = |chain: &&ForeignChain| {
            chain.hook == hook
                && chain.family.is_none_or(|own| own == family)
                && match chain.layer {
                    // Ports of a bridge have devices of their own.
                    ForeignLayer::Device => {
                        chain.devices.is_empty()
                            || is_bridge(interface)
                            || chain.devices.iter().any(|device| device == interface)
                    }
                    ForeignLayer::Bridge if hook == Hook::Forward => self.bridged,
                    ForeignLayer::Bridge => is_bridge(interface),
                }
                && !interface.is_empty()
        };
        let tables: BTreeSet<&str> =
            host.foreign_chains.iter().filter(concerned).map(|chain| &*chain.table).collect();
        self.doubt_tables(&tables, &format!("in {}", hook.as_str()))
    }

    /// The same for a frame that a bridge hands on without asking the hooks.
    pub(crate) fn unseen_on_bridge(&mut self) -> Result<(), Stop> {
        let host = &self.run.system.host;
        let tables: BTreeSet<&str> =
            host.foreign_chains.iter().map(|chain| &*chain.table).collect();
        self.doubt_tables(&tables, "on the bridge")
    }

    fn doubt_tables(&mut self, tables: &BTreeSet<&str>, place: &str) -> Result<(), Stop> {
        let Some(first) = tables.first() else { return Ok(()) };
        let all = tables.iter().copied().collect::<Vec<_>>().join("`, `");
        self.doubt(
            format!("the nft table `{first}` leaves the packet alone"),
            format!("`{all}` of nftables sees the packet {place} and is not modelled"),
        )
    }

    fn doubt(&mut self, question: String, why: String) -> Result<(), Stop> {
        let oracle = &mut *self.run.oracle;
        let quiet =
            *self.run.unseen_is_quiet.get_or_insert_with(|| oracle.decide(|| question, true));
        if quiet {
            return Ok(());
        }
        self.refuse(decision(RouteDecision::Unknown, Some(why)), Stop::Unknown)
    }
}
