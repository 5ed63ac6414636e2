//! The edits of a plan as changes of tables: what is loaded, and what takes it back.
//!
//! Every change of a table is one commit of iptables-restore, which is atomic (kernel-facts I1),
//! and makes an empty chain `nattrace-ID` in the same commit. So the chain is there exactly while
//! the change is: loading twice fails, and so does taking back twice, whoever dies at whatever
//! instant. Nothing is ever flushed, and no rule is deleted by its number.

#[cfg(test)]
mod law;
mod load;
mod place;
#[cfg(test)]
mod tests;
mod undo;

use nattrace_parser::syntax::{Backend, Family, TableName};
use serde::{Deserialize, Serialize};

use crate::brought::Brought;
use crate::live::Store;
use crate::plan::Op;
use crate::saved::{Command, Finds, Forms};

pub(crate) use load::{LoadError, Prepared, changes};
pub(crate) use place::gap;
pub(crate) use undo::{settle, undo};

/// How many neighbours on either side are remembered, to find a rule's place again.
pub(crate) const NEIGHBOURS: usize = 32;

/// What is changed in one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableChange {
    /// The table.
    pub(crate) at: At,
    /// The edits, in order.
    pub(crate) steps: Vec<Step>,
    /// What was not there before.
    #[serde(default)]
    pub(crate) brought: Brought,
}

/// A table of a family, and what holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "AtWords", try_from = "AtWords")]
pub(crate) enum At {
    /// A table of iptables.
    Iptables(Store, TableName),
    /// The table of our own.
    Own(Family),
}

impl At {
    /// What it is called in messages: `ipv4 nat (nft)`.
    pub(crate) fn name(self) -> String {
        let AtWords { family, backend, table } = self.into();
        format!("{family} {table} ({backend})")
    }
}

#[derive(Serialize, Deserialize)]
struct AtWords {
    family: String,
    backend: String,
    table: String,
}

impl From<At> for AtWords {
    fn from(at: At) -> Self {
        let (family, backend, table) = match at {
            At::Iptables(store, table) => {
                (store.family, crate::plan::backend_name(store.backend), table.as_str())
            }
            At::Own(family) => (family, "native", crate::plan::OWN_TABLE),
        };
        let family = crate::plan::family_name(family).to_owned();
        Self { family, backend: backend.to_owned(), table: table.to_owned() }
    }
}

impl TryFrom<AtWords> for At {
    type Error = String;

    fn try_from(words: AtWords) -> Result<Self, String> {
        let family = match words.family.as_str() {
            "ipv4" => Family::Ipv4,
            "ipv6" => Family::Ipv6,
            other => return Err(format!("unknown family `{other}`")),
        };
        let backend = match words.backend.as_str() {
            "nft" => Backend::Nft,
            "legacy" => Backend::Legacy,
            "native" => return Ok(Self::Own(family)),
            other => return Err(format!("unknown backend `{other}`")),
        };
        let table = TableName::ALL.into_iter().find(|table| table.as_str() == words.table);
        let table = table.ok_or_else(|| format!("unknown table `{}`", words.table))?;
        Ok(Self::Iptables(Store { family, backend }, table))
    }
}

/// One edit, with what is needed to take it back among rules that others changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Its number in the plan, from 1.
    pub(crate) number: usize,
    /// The chain.
    pub(crate) chain: String,
    /// What is done.
    pub(crate) op: Op,
    /// The new rule with our comment, as iptables-save prints it.
    pub(crate) new: Option<String>,
    /// The rule that goes, as it was printed.
    pub(crate) old: Option<String>,
    /// How many rules like the old one are left.
    pub(crate) alike: usize,
    /// The rules before the place, the nearest one first.
    pub(crate) before: Vec<String>,
    /// The rules behind it, the nearest one first.
    pub(crate) behind: Vec<String>,
}

/// The comment that marks the rule of an edit.
pub(crate) fn tag(id: &str, number: usize) -> String {
    format!("nattrace:{id}/{number}")
}

/// The chain that is there while a change is.
pub(crate) fn marker(id: &str) -> String {
    format!("nattrace-{id}")
}

/// Where the rule of an edit stands among others.
pub(crate) fn tagged(rules: &[String], id: &str, number: usize) -> Option<usize> {
    let comment = format!("--comment \"{}\"", tag(id, number));
    rules.iter().position(|rule| rule.contains(&comment))
}

/// The text that iptables-restore gets for one table.
pub(crate) fn script(table: TableName, commands: &[Command]) -> String {
    let mut text = format!("*{}\n", table.as_str());
    for command in commands {
        text.push_str(&command.line());
        text.push('\n');
    }
    text.push_str("COMMIT\n");
    text
}

/// The forms of the rules of a table.
pub(crate) fn forms(store: Store, table: TableName, finds: Finds) -> Forms {
    let Store { family, backend } = store;
    Forms { family, backend, table, finds }
}
