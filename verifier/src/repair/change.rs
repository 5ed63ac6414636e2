//! Changes: of one rule, or of a setting of the kernel.

use std::fmt;

use nattrace_parser::syntax::{Backend, Family, TableName};

/// The table of nf_tables that is our own.
pub const OWN_TABLE: &str = "nattrace";

/// The one chain of [`OWN_TABLE`]: type nat, hook postrouting.
pub const OWN_CHAIN: &str = "postrouting";

/// The priority of [`OWN_CHAIN`]: before iptables' own 100, whatever is inserted there.
pub const OWN_PRIORITY: i32 = 99;

/// What holds a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A table of iptables, in one of its backends.
    Iptables(Backend, TableName),
    /// [`OWN_TABLE`].
    Own,
}

impl Holder {
    /// The name of the table.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Iptables(_, table) => table.as_str(),
            Self::Own => OWN_TABLE,
        }
    }
}

/// A chain that is edited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The family.
    pub family: Family,
    /// The table.
    pub holder: Holder,
    /// The name of the chain.
    pub chain: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.holder.table(), self.chain)
    }
}

/// What is done with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A new rule gets the position.
    Insert,
    /// A new rule takes the place of the one at the position.
    Replace,
    /// The rule at the position goes.
    Delete,
    /// A new rule goes behind all others.
    Append,
}

/// One change of one rule, as it is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The chain.
    pub place: Place,
    /// What is done.
    pub op: Op,
    /// The number of the rule, from 1, as the edits before this one leave the chain.
    pub position: u32,
    /// The new rule, or the one that goes, as iptables-save prints it; as nft prints it in the
    /// table of our own.
    pub rule: String,
    /// The rule that goes, where one takes its place.
    pub replaces: Option<String>,
    /// Why, in one line.
    pub because: String,
}

impl Edit {
    /// Whether it calls a chain of Docker again, which nothing called any more.
    #[must_use]
    pub fn calls_docker(&self) -> bool {
        self.op != Op::Delete && calls_docker(&self.rule)
    }
}

/// Whether a rule jumps to a chain of Docker.
fn calls_docker(rule: &str) -> bool {
    rule.rsplit_once(" -j ").is_some_and(|(_, target)| target.starts_with("DOCKER"))
}

/// A setting of the kernel that has to change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    /// Its name, as sysctl prints it: a dot in the name of an interface is a slash.
    pub name: String,
    /// Its value then.
    pub value: i64,
    /// Why, in one line.
    pub because: String,
}

impl Setting {
    /// The setting of an interface, or of `all` of them.
    pub(super) fn of_interface(family: Family, interface: &str, parameter: &str) -> String {
        let version = match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        format!("net.{version}.conf.{}.{parameter}", interface.replace('.', "/"))
    }

    /// The family that it is about.
    #[must_use]
    pub fn family(&self) -> Family {
        let name = self.name.as_str();
        match name.starts_with("net.ipv6.") || name == "net.bridge.bridge-nf-call-ip6tables" {
            true => Family::Ipv6,
            false => Family::Ipv4,
        }
    }

    /// Its name among the settings of a host.
    #[must_use]
    pub fn key(&self) -> String {
        self.name.replace('/', ".")
    }

    /// The command that makes it.
    #[must_use]
    pub fn command(&self) -> String {
        format!("sysctl -w {}={}", self.name, self.value)
    }
}

/// Where in a chain something is done: in the chain as it was before any change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum At {
    /// Before the rule of this index, and before what was put there earlier.
    Before(u32),
    /// In place of the rule of this index.
    Instead(u32),
    /// The rule of this index goes.
    Gone(u32),
    /// Behind all others.
    End,
}

/// A change of one rule, before it is known which others are made with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleChange {
    pub(super) place: Place,
    pub(super) at: At,
    /// The new rule as iptables-save prints it; empty where one goes.
    pub(super) rule: String,
    /// The same as nft prints it, for the table of our own.
    pub(super) native: Option<String>,
    pub(super) because: String,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A rule is edited.
    Rule(RuleChange),
    /// A setting is made.
    Setting(Setting),
}

impl Change {
    /// Whether it calls a chain again that a program has made.
    pub(super) fn restores(&self) -> bool {
        match self {
            Self::Rule(change) => calls_docker(&change.rule),
            Self::Setting(_) => false,
        }
    }

    /// What tells it from others: not why it is made.
    pub(super) fn key(&self) -> (Option<(&Place, At)>, &str, i64) {
        match self {
            Self::Rule(change) => (Some((&change.place, change.at)), &change.rule, 0),
            Self::Setting(setting) => (None, &setting.name, setting.value),
        }
    }
}

/// A change that may help, and how much it is disliked: among equally many, the least disliked
/// are taken.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) change: Change,
    pub(super) dislike: u32,
}
