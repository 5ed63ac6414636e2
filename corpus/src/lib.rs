//! Cases that nattrace is tested on: host snapshots with what the kernel did to real packets, and
//! their loader. Engine-neutral: nothing here knows how an answer is computed.

pub mod case;
pub mod fact;
pub mod lab;

pub use case::{Case, Probe, Sender};
