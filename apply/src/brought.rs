//! Tables and chains of nf_tables that a load brings along, and that go again with it.
//!
//! iptables makes a table with the first rule that is loaded into it, and leaves it there, empty. A
//! table of legacy cannot be removed at all.

use std::collections::BTreeSet;

use nattrace_parser::syntax::{Backend, TableName};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::live::Store;
use crate::netlink::{Kernel, Whole};
use crate::own::nft_family;
use crate::saved::Saved;

/// What was not there before a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Brought {
    /// Whether the table was missing.
    table: bool,
    /// The built-in chains that were missing.
    chains: Vec<String>,
}

/// How often somebody else may change rules while they are looked at.
const LOOKS: usize = 8;

impl Brought {
    /// What a change of a table would bring along now. Where this cannot be known, nothing: what
    /// is not known to be ours stays.
    pub(crate) fn by(store: Store, table: TableName) -> Self {
        let Some(there) = Listed::read(store, table) else { return Self::default() };
        let builtin = table.builtin_chains().iter().map(|chain| (*chain).to_owned());
        let chains = builtin.filter(|chain| !there.chains.contains(chain)).collect();
        Self { table: !there.table, chains }
    }

    /// Removes it, as far as nobody put anything into it. That something empty stays does no harm,
    /// so that nothing here is an error.
    pub(crate) fn remove(&self, store: Store, table: TableName) {
        if self.chains.is_empty() {
            return;
        }
        let Ok(kernel) = Kernel::open() else { return };
        for _ in 0..LOOKS {
            let Ok(generation) = kernel.generation() else { return };
            let Some(there) = Listed::read(store, table).filter(|there| there.table) else {
                return;
            };
            let Ok(saved) = store.read() else { return };
            let saved = Saved::read(&saved).table(table);
            let chains = self.chains.iter();
            let chains =
                chains.filter(|chain| there.chains.contains(*chain) && saved.is_idle(chain));
            let chains: Vec<String> = chains.cloned().collect();
            let whole = if self.table && chains.len() == there.chains.len() {
                Whole::Table
            } else {
                Whole::Chains
            };
            if chains.is_empty() && whole == Whole::Chains {
                return;
            }
            if kernel.remove(store.family, table.as_str(), &chains, whole, generation).is_ok() {
                return;
            }
        }
    }
}

/// What nf_tables lists of a table.
struct Listed {
    table: bool,
    chains: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    table: Option<Named>,
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Chain {
    table: String,
    name: String,
}

impl Listed {
    /// `None` where it cannot be known.
    fn read(store: Store, table: TableName) -> Option<Self> {
        if store.backend == Backend::Legacy {
            return None;
        }
        let list = |what: &str| {
            let text = command::run("nft", &["-j", "list", what, nft_family(store.family)]).ok()?;
            Some(serde_json::from_str::<Listing>(&text.text).ok()?.nftables)
        };
        let name = table.as_str();
        let tables = list("tables")?.into_iter().filter_map(|object| object.table);
        let chains = list("chains")?.into_iter().filter_map(|object| object.chain);
        Some(Self {
            table: tables.into_iter().any(|table| table.name == name),
            chains: chains.filter(|chain| chain.table == name).map(|chain| chain.name).collect(),
        })
    }
}
