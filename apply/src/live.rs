//! The rules that the kernel holds now, by family and backend.

use std::fs;

use nattrace_parser::syntax::{Backend, Family};

use crate::command::{self, CommandError};
use crate::plan::{backend_name, family_name};

/// One of the four places where iptables keeps rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Store {
    /// The family.
    pub family: Family,
    /// The backend.
    pub backend: Backend,
}

impl Store {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self { family: Family::Ipv4, backend: Backend::Nft },
        Self { family: Family::Ipv6, backend: Backend::Nft },
        Self { family: Family::Ipv4, backend: Backend::Legacy },
        Self { family: Family::Ipv6, backend: Backend::Legacy },
    ];

    /// What it is called in messages: `ipv4 (nft)`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{} ({})", family_name(self.family), backend_name(self.backend))
    }

    fn prefix(self) -> &'static str {
        match self.family {
            Family::Ipv4 => "iptables",
            Family::Ipv6 => "ip6tables",
        }
    }

    /// The program that reads or writes it: by the name of its backend, or the plain one where
    /// that belongs to the backend.
    pub(crate) fn program(self, does: &str) -> Result<String, CommandError> {
        let named = format!("{}-{}-{does}", self.prefix(), backend_name(self.backend));
        if command::find(&named).is_some() {
            return Ok(named);
        }
        let plain = format!("{}-{does}", self.prefix());
        match command::run(&plain, &["--version"]) {
            Ok(said) if said.text.contains("nf_tables") == (self.backend == Backend::Nft) => {
                Ok(plain)
            }
            Ok(_) | Err(_) => Err(CommandError::Missing(named)),
        }
    }

    /// Whether the kernel holds tables of this legacy backend. To ask its program would make one.
    fn legacy_in_use(self) -> bool {
        let names = match self.family {
            Family::Ipv4 => "/proc/net/ip_tables_names",
            Family::Ipv6 => "/proc/net/ip6_tables_names",
        };
        fs::read_to_string(names).is_ok_and(|names| !names.trim().is_empty())
    }

    /// Its rules, as iptables-save prints them; nothing where it holds none.
    pub(crate) fn read(self) -> Result<String, CommandError> {
        if self.backend == Backend::Legacy && !self.legacy_in_use() {
            return Ok(String::new());
        }
        match self.program("save") {
            // Where the program for nft is missing, no rules can have been loaded through it.
            Err(CommandError::Missing(_)) if self.backend == Backend::Nft => Ok(String::new()),
            Err(error) => Err(error),
            Ok(program) => command::run(&program, &[]).map(|printed| printed.text),
        }
    }
}
