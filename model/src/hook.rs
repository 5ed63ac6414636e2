//! Netfilter's hooks and the priorities at which base chains sit on them.

use nattrace_parser::syntax::{Backend, TableName};

/// A hook of the IP layer (`enum nf_inet_hooks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To a local process.
    Input,
    /// Through the host.
    Forward,
    /// From a local process.
    Output,
    /// After routing.
    Postrouting,
}

impl Hook {
    /// All hooks, in the order of their numbers in the kernel.
    pub const ALL: [Self; 5] =
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    /// The name of the built-in chain that sits here.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }

    /// The hook of a built-in chain's name.
    #[must_use]
    pub fn of_chain(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.as_str() == name)
    }
}

/// The priority of a table's chain at a hook; lower runs first (`enum nf_ip_hook_priorities`).
///
/// The security table is at 50 in legacy and at 150 in nft (kernel-facts A5).
#[must_use]
pub fn priority(backend: Backend, table: TableName, hook: Hook) -> i32 {
    match (table, hook) {
        (TableName::Raw, _) => -300,
        (TableName::Mangle, _) => -150,
        (TableName::Nat, Hook::Prerouting | Hook::Output) => -100,
        (TableName::Nat, Hook::Input | Hook::Forward | Hook::Postrouting) => 100,
        (TableName::Filter, _) => 0,
        (TableName::Security, _) => match backend {
            Backend::Legacy => 50,
            Backend::Nft => 150,
        },
    }
}

/// The priority at which connection tracking looks at a packet (`NF_IP_PRI_CONNTRACK`).
pub const CONNTRACK_PRIORITY: i32 = -200;
