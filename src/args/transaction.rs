//! The commands that change this host, and those that decide about it.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use nattrace_apply::Override;

/// `nattrace apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
A plan comes from `nattrace fix --format plan`. It is refused, and nothing is touched, where the \
rules are not those that were analysed, where your SSH session, a flow that must hold or the \
policy would break, where it belongs to the other backend, or where another plan is pending. A \
process of its own takes it back unless `nattrace confirm ID` comes from a new connection in time.

  nattrace apply plan.json --dry-run         # every command, and whether it would be refused
  nattrace apply plan.json --confirm 120
  nattrace apply plan.json --persist         # again after Docker and after a reboot, once confirmed

Exit status: 0 confirmed, 2 the plan can't be used, 4 rolled back, 5 refused.")]
pub(crate) struct Apply {
    /// The plan; `-` is standard input.
    #[arg(
        value_name = "PLAN",
        value_hint = ValueHint::FilePath,
        required_unless_present = "persisted",
        conflicts_with = "persisted"
    )]
    pub(crate) plan: Option<PathBuf>,
    /// How long it waits to be confirmed before the old rules come back; 0 keeps it at once.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    pub(crate) confirm: u64,
    /// Prints every command, and touches nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Goes on although: `drift`, `backend`, `ssh`, `must-hold`.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) force: Vec<Force>,
    /// Writes a unit of systemd that loads it again after docker.service, once it is confirmed.
    #[arg(long)]
    pub(crate) persist: bool,
    /// Ends open connections that would keep their old translation.
    #[arg(long)]
    pub(crate) flush_flows: bool,
    /// Loads what is missing of a confirmed plan; the unit of `--persist` does this.
    #[arg(long, value_name = "ID", conflicts_with_all = ["dry_run", "persist", "flush_flows"])]
    pub(crate) persisted: Option<String>,
    /// Where the state is.
    #[command(flatten)]
    pub(crate) state: StateOption,
}

/// `nattrace confirm`.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The plan that waits.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Goes on although: `connection`, this is the connection that applied it.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) force: Vec<Force>,
    /// Where the state is.
    #[command(flatten)]
    pub(crate) state: StateOption,
}

/// `nattrace rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The plan that waits, or that was confirmed.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Where the state is.
    #[command(flatten)]
    pub(crate) state: StateOption,
}

/// `nattrace status`.
#[derive(Debug, Args)]
pub(crate) struct StatusOf {
    /// Where the state is.
    #[command(flatten)]
    pub(crate) state: StateOption,
}

/// `nattrace uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Leaves the rules of confirmed plans as they are.
    #[arg(long)]
    pub(crate) keep_rules: bool,
    /// Goes on although: `ssh`, your session would not get through the rules that come back.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) force: Vec<Force>,
    /// Where the state is.
    #[command(flatten)]
    pub(crate) state: StateOption,
}

/// Where the state is.
#[derive(Debug, Args)]
pub(crate) struct StateOption {
    /// The folder of journals [default: `NATTRACE_STATE_DIR`, else /var/lib/nattrace].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
}

/// What is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Force {
    /// The rules are not those that were analysed.
    Drift,
    /// The plan belongs to the other backend.
    Backend,
    /// The operator's SSH session would break.
    Ssh,
    /// A flow that must hold, or the policy, would break.
    MustHold,
    /// The one who confirms uses the connection of the one who applied (`confirm`).
    Connection,
}

impl Force {
    /// What the apply crate calls it.
    pub(crate) fn meaning(self) -> Override {
        match self {
            Self::Drift => Override::Drift,
            Self::Backend => Override::Backend,
            Self::Ssh => Override::Ssh,
            Self::MustHold => Override::MustHold,
            Self::Connection => Override::Connection,
        }
    }

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        self.meaning().as_str()
    }
}
