//! Everything of nattrace that touches a live host.
//!
//! [`capture()`] collects the parts of a snapshot by running the tools that every host has, and
//! [`SCRIPT`] does the same with nothing but a POSIX shell, for hosts without nattrace. Reading is
//! all that happens here: no command of a capture changes the host, and none loads a kernel
//! module or creates a table.

mod capture;
mod command;
mod digest;
mod kernel;
mod plan;
mod rules;
mod script;

pub use capture::{Capture, Conntrack, Note, NoteKind, capture};
pub use digest::digest;
pub use kernel::{SYSCTLS, is_root};
pub use plan::{
    Analysed, Edit, Holder, MustHold, OWN_CHAIN, OWN_PRIORITY, OWN_TABLE, Op, PLAN_SCHEMA, Plan,
    PolicyText, backend_name, family_name, read_plan,
};
pub use script::SCRIPT;
