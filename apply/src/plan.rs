//! A plan: edits of rules, what they were computed from, and what must hold with them.
//!
//! `nattrace fix --format plan` writes it, `nattrace apply` takes it. The words of an edit are
//! those of `fix --json`.

mod read;
#[cfg(test)]
mod tests;

use nattrace_parser::syntax::{Backend, Family, TableName};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use read::read_plan;

/// The name and version of the shape of a plan.
pub const PLAN_SCHEMA: &str = "nattrace/plan/1";

/// The table of nf_tables that is our own.
pub const OWN_TABLE: &str = "nattrace";

/// The chain of [`OWN_TABLE`]: type nat, hook postrouting, before iptables' own priority 100.
pub const OWN_CHAIN: &str = "postrouting";

/// The priority of [`OWN_CHAIN`] (pains.md 0.2: it wins over whatever Docker inserts).
pub const OWN_PRIORITY: i32 = 99;

/// Edits of rules, to be carried out as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Always [`PLAN_SCHEMA`].
    pub schema: &'static str,
    /// Its name: up to 16 letters, digits and `-`. [`Plan::new`] computes it from the rest.
    pub id: String,
    /// The policy that holds with the edits, as it was read.
    pub policy: Option<PolicyText>,
    /// The entries of the policy that fail without the edits.
    pub repairs: Vec<String>,
    /// The rules that the edits were computed from: all of them, of every family and backend that
    /// holds any.
    pub analysed: Vec<Analysed>,
    /// The edits, in order: positions of one are counted after those before it.
    pub edits: Vec<Edit>,
    /// Packets whose fate must be the one named here once the edits are made.
    pub must_hold: Vec<MustHold>,
    /// What is to be known before the plan is applied, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Plan {
    /// A plan whose name follows from what it does: the same edits to the same rules have the same
    /// name.
    #[must_use]
    pub fn new(edits: Vec<Edit>, analysed: Vec<Analysed>) -> Self {
        let id = name_of(&edits, &analysed);
        Self {
            schema: PLAN_SCHEMA,
            id,
            policy: None,
            repairs: Vec::new(),
            analysed,
            edits,
            must_hold: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The plan as JSON, indented, with a newline at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // No map with other keys than strings, and nothing else that could fail, is in it.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// A policy as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyText {
    /// The name of the file.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The rules of one family and backend at the time of the analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Analysed {
    /// The family.
    #[serde(serialize_with = "family_word")]
    pub family: Family,
    /// The backend.
    #[serde(serialize_with = "backend_word")]
    pub backend: Backend,
    /// What [`crate::digest()`] gives for them.
    pub digest: String,
}

/// What holds the rule of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A table of iptables, in one of its backends.
    Iptables(Backend, TableName),
    /// [`OWN_TABLE`], whose one chain is [`OWN_CHAIN`].
    Own,
}

impl Holder {
    /// The word for the backend: `nft`, `legacy`, or `native` for the table of our own.
    #[must_use]
    pub fn backend(self) -> &'static str {
        match self {
            Self::Iptables(backend, _) => backend_name(backend),
            Self::Own => "native",
        }
    }

    /// The name of the table.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Iptables(_, table) => table.as_str(),
            Self::Own => OWN_TABLE,
        }
    }
}

/// What is done with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// A new rule gets the position; the rule there and those behind it move on.
    Insert,
    /// A new rule takes the place of the one at the position.
    Replace,
    /// The rule at the position goes.
    Delete,
    /// A new rule goes behind all others of the chain.
    Append,
}

impl Op {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Append => "append",
        }
    }
}

/// One change of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The family.
    pub family: Family,
    /// The table, and what holds it. The table of our own knows only [`Op::Append`] and
    /// [`Op::Insert`].
    pub holder: Holder,
    /// The chain.
    pub chain: String,
    /// What is done.
    pub op: Op,
    /// The number of the rule, from 1, as the edits before this one leave the chain: where the new
    /// rule will stand, or which one goes. Without meaning for [`Op::Append`].
    pub position: Option<u32>,
    /// The new rule, or for [`Op::Delete`] the one that goes, as iptables-save prints it:
    /// `-A CHAIN …`. In the table of our own, as nft prints it, without a comment.
    pub rule: String,
    /// The rule that goes, for [`Op::Replace`], as iptables-save prints it.
    pub replaces: Option<String>,
    /// Why, in one line.
    pub because: String,
}

impl Serialize for Edit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            family: &'static str,
            backend: &'static str,
            table: &'static str,
            chain: &'a str,
            op: Op,
            position: Option<u32>,
            rule: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            replaces: Option<&'a str>,
            because: &'a str,
        }
        let written = Written {
            family: family_name(self.family),
            backend: self.holder.backend(),
            table: self.holder.table(),
            chain: &self.chain,
            op: self.op,
            position: self.position,
            rule: &self.rule,
            replaces: self.replaces.as_deref(),
            because: &self.because,
        };
        written.serialize(serializer)
    }
}

/// A packet and what must become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MustHold {
    /// What it stands for.
    pub name: String,
    /// The keys of `flow` in the output of `why --json`, as in a line of `why --flows`.
    pub flow: serde_json::Map<String, Value>,
    /// One of the outcomes of `why`.
    pub outcome: String,
}

/// The word for a family: `ipv4` or `ipv6`.
#[must_use]
pub fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// The word for a backend: `nft` or `legacy`.
#[must_use]
pub fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn family_word<S: Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(family_name(*family))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn backend_word<S: Serializer>(backend: &Backend, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(backend_name(*backend))
}

fn name_of(edits: &[Edit], analysed: &[Analysed]) -> String {
    let text = serde_json::to_string(&(edits, analysed)).unwrap_or_default();
    let digest = Sha256::digest(text);
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
