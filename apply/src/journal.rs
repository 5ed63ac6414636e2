//! What has to be known to finish a transaction, whoever finishes it.

use serde::{Deserialize, Serialize};

use crate::change::TableChange;
use crate::clock;

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Its name, that of the plan.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// The run of the kernel that it belongs to.
    pub boot: String,
    /// The network namespace that it belongs to.
    pub namespace: String,
    /// When it is taken back, in milliseconds since the kernel started.
    pub deadline: u64,
    /// The `SSH_CONNECTION` of whoever applied it.
    pub ssh: Option<String>,
    /// Whether it is to be loaded again after Docker and after a reboot.
    pub persist: Persist,
    /// The entries of the policy that it repairs.
    pub repairs: Vec<String>,
    /// What is changed, in the order in which it is loaded.
    pub(crate) changes: Vec<TableChange>,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its edits are being loaded: whoever finds it so takes them back.
    Loading,
    /// It waits for somebody to confirm it.
    Waiting,
    /// It was confirmed.
    Kept,
}

/// Whether a transaction outlives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persist {
    /// It does, by a unit of systemd.
    Unit,
    /// It does not.
    No,
}

impl Journal {
    /// How many edits it has.
    #[must_use]
    pub fn edits(&self) -> usize {
        self.changes.iter().map(|change| change.steps.len()).sum()
    }

    /// How much time is left to confirm it, in milliseconds.
    #[must_use]
    pub fn left(&self) -> u64 {
        if self.is_of_this_boot() { self.deadline.saturating_sub(clock::now()) } else { 0 }
    }

    /// Whether the kernel was not started anew since.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        self.boot == clock::boot_id()
    }
}
