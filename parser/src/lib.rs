//! Text into syntax, and syntax back into text.
//!
//! Reads iptables rules in every form that people paste, and what describes the host around them
//! (addresses, routes, bridges, sysctls, sockets, sets, containers), into trees whose nodes keep
//! their byte span. Nothing here knows what a rule *means*, and nothing does I/O.
//!
//! Parsing never stops at the first fault and never drops a line: what is not understood is kept
//! as [`syntax::Unsupported`] and reported as a [`Diagnostic`].

mod arguments;
pub mod diagnostic;
pub mod emit;
pub mod extension;
pub mod host;
pub mod listing;
mod margin;
pub mod matches;
pub mod policy;
pub mod protocols;
mod reach;
pub mod recognize;
pub mod redact;
pub mod replay;
mod rule;
pub mod save;
mod script;
mod sequence;
pub mod services;
mod shared;
mod shell;
pub mod span;
pub mod syntax;
pub mod targets;
mod words;

pub use diagnostic::{Diagnostic, Severity};
pub use emit::{EmitOptions, RuleCounters, emit_rule, emit_rules};
pub use listing::parse_listing;
pub use margin::{Margin, without_margin};
pub use reach::check_chains;
pub use recognize::recognize;
pub use save::{Origin, parse_rules, parse_rules_of};
pub use sequence::{Left, parse_sequence};
pub use span::{Lines, Span};
