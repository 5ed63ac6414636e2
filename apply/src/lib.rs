//! Everything of nattrace that touches a live host.
//!
//! [`capture()`] collects the parts of a snapshot by running the tools that every host has, and
//! [`SCRIPT`] does the same with nothing but a POSIX shell, for hosts without nattrace. No command
//! of a capture changes the host, and none loads a kernel module or creates a table.
//!
//! A [`Plan`] is changed rules. [`prepare`] tries it on the rules of this host without touching
//! them, [`take_turn`] and [`Turn::load`] put it into the kernel behind a journal and a watchdog,
//! and [`confirm()`] keeps it. Whoever dies at whatever instant, the rules are the old ones or the new
//! ones, or somebody is left who brings the old ones back; no rule of others is lost or doubled.
//! Whether a plan is a good one is not decided here: the command line asks the simulator.

mod brought;
mod capture;
mod change;
mod clock;
mod command;
mod commit;
mod connections;
mod decision;
mod digest;
mod fault;
mod foresight;
mod journal;
mod kernel;
mod live;
mod netlink;
mod own;
mod persistence;
mod plan;
mod preparation;
mod reload;
mod rollback;
mod rules;
mod saved;
mod script;
mod session;
mod state;
mod transaction;
mod verification;
mod watchdog;

pub use capture::{Capture, Conntrack, Note, NoteKind, capture};
pub use connections::{connections, forget};
pub use decision::{Confirmed, DecideError, SameConnection, confirm, recover, roll_back};
pub use digest::digest;
pub use fault::FAULT_POINTS;
pub use foresight::{Bare, bare};
pub use journal::{Journal, Persist, Phase};
pub use kernel::{SYSCTLS, is_root};
pub use live::Store;
pub use persistence::{Rules, has_unit, in_place, install_unit, uninstall};
pub use plan::{
    Analysed, Edit, Holder, MustHold, OWN_CHAIN, OWN_PRIORITY, OWN_TABLE, Op, PLAN_SCHEMA, Plan,
    PolicyText, backend_name, family_name, read_plan,
};
pub use preparation::{Override, Preparation, Refusal, prepare};
pub use reload::load_again;
pub use rollback::RollbackError;
pub use script::SCRIPT;
pub use session::{Session, ssh_connection};
pub use state::{Entry, Event, STATE_FOLDER, State, StateError};
pub use transaction::{Decision, Loaded, Terms, TransactionError, Turn, Waiting, take_turn};
pub use watchdog::watch;
