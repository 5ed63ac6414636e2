//! The kernel lab: random rules and packets in a real kernel, and the simulator beside it.
//!
//! Everything takes place in a network namespace of its own, made by unshare(1), which is gone with
//! the process. See docs/fidelity.md.

pub(crate) mod command;
pub(crate) mod comparison;
pub(crate) mod conntrack;
mod coverage;
mod drawing;
pub(crate) mod fragment;
pub(crate) mod frame;
mod generate;
mod jobs;
mod kept;
mod kinds;
mod native;
mod netlink;
mod report;
pub(crate) mod rules;
mod session;
mod shrink;
pub(crate) mod socket;
pub(crate) mod surroundings;
pub(crate) mod topology;
pub(crate) mod trace;
pub(crate) mod trial;
pub(crate) mod wire;

use std::path::PathBuf;

use nattrace_parser::syntax::{Backend, Family};

pub use coverage::coverage;
pub use drawing::{Drawing, draw};
pub use jobs::Plan;
pub use kept::{Kept, kept_dir};
pub use session::{Totals, record_host, replay, run};

/// What the lab shall do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What rulesets and packets are drawn from.
    pub seed: u64,
    /// How many packets are sent, over all rulesets.
    pub packets: u64,
    /// How many rulesets are loaded.
    pub rulesets: u64,
    /// The number of the first ruleset; with one ruleset this repeats a disagreement.
    pub first: u64,
    /// Through which backend.
    pub backend: Backend,
    /// Of which family.
    pub family: Family,
    /// Whether bridged frames pass the hooks; by chance if not given.
    pub bridge_nf: Option<bool>,
    /// Whether native nft tables are loaded besides.
    pub native: bool,
    /// Where disagreements are written as cases.
    pub cases: Option<PathBuf>,
    /// How many disagreements are enough.
    pub at_most: u64,
    /// Whether disagreements are made as small as they can be.
    pub shrink: bool,
}

/// What is missing to run the lab here: root, or programs.
#[must_use]
pub fn missing() -> Vec<String> {
    let programs = [
        "unshare",
        "ip",
        "bridge",
        "ss",
        "ipset",
        "iptables-nft-restore",
        "iptables-legacy-restore",
        "ip6tables-nft-restore",
        "ip6tables-legacy-restore",
    ];
    let mut missing: Vec<String> = programs
        .into_iter()
        .filter(|program| !command::exists(program))
        .map(str::to_owned)
        .collect();
    if !std::path::Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun".to_owned());
    }
    let namespace = command::run("unshare", &["--net", "true"], "");
    if namespace.is_ok_and(|ran| !ran.succeeded) {
        missing.push("the right to make a network namespace (root)".to_owned());
    }
    missing
}
