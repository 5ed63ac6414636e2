//! What a renderer needs to turn identities into names.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::host::route::{Route, TableId};
use nattrace_model::ruleset::ChainId;
use nattrace_parser::syntax::{Backend, Family};

use super::json::Fragments;
use super::words;

/// A system, and what is asked of it again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The system.
    pub(crate) system: &'a System,
    /// Whether rules of both backends are loaded, so that a chain's name alone is ambiguous.
    both_backends: bool,
    /// Steps that are kept in JSON, where many answers are written on a line each.
    fragments: Option<&'a Fragments>,
}

impl<'a> Context<'a> {
    /// Looks through the system once.
    pub(crate) fn new(system: &'a System) -> Self {
        let chains = &system.rules.chains;
        let has = |backend| chains.iter().any(|chain| chain.backend == backend);
        Self { system, both_backends: has(Backend::Nft) && has(Backend::Legacy), fragments: None }
    }

    /// The same with steps that are kept, or without.
    pub(crate) fn keeping(self, fragments: Option<&'a Fragments>) -> Self {
        Self { fragments, ..self }
    }

    /// The steps that are kept.
    pub(crate) fn fragments(&self) -> Option<&'a Fragments> {
        self.fragments
    }

    /// Whether a chain is one of the legacy backend on a host that has rules of both.
    pub(crate) fn is_legacy_beside_nft(&self, id: ChainId) -> bool {
        self.both_backends
            && self.system.rules.chain(id).is_some_and(|chain| chain.backend == Backend::Legacy)
    }

    /// A route by its table and its place in it.
    pub(crate) fn route(
        &self,
        family: Family,
        (table, index): (TableId, u32),
    ) -> Option<&'a Route> {
        let table = self.system.host.routing.tables(family).get(&table)?;
        table.routes().get(index as usize)
    }

    /// One end of a packet with what people call its address: a container's name, or that it is
    /// the host's own.
    pub(crate) fn named(&self, end: String, address: IpAddr) -> String {
        let host = &self.system.host;
        if let Some((container, _)) = host.inventory.owner(address) {
            return format!("{end} ({})", words::visible(&container.name));
        }
        match host.owner(address) {
            Some(_) => format!("{end} (this host)"),
            None => end,
        }
    }
}
