//! Answers for every packet at once.
//!
//! [`walk`](fn@walk) divides a set of packets into [classes](Class): sets of packets that have the
//! same fate, which the simulator says of one of them. What the fate of that one has depended on,
//! rule by rule and translation by translation, restricts the class; what the host alone decides
//! (routes, own addresses, sockets, containers) does so by cells of values that the host
//! treats alike.
//!
//! No I/O happens here.

pub mod audit;
mod cells;
pub mod check;
mod class;
pub mod diff;
pub mod draft;
pub mod given;
mod header;
pub mod matrix;
mod packets;
pub mod policy;
mod program;
pub mod repair;
pub mod smt;
mod space;
mod walk;

pub use class::{AddressAfter, Class, EgressAfter, PortAfter, Way};
pub use header::Header;
pub use packets::{PacketSet, plain};
pub use space::Space;
pub use walk::{Classes, Entry, Question, walk};
