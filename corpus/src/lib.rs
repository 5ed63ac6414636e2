//! Cases that nattrace is tested on: host snapshots with what the kernel did to real packets, and
//! their loader; facts and seeds likewise; and the lab that makes new truth on the running kernel.

pub mod agreement;
pub mod case;
pub mod fact;
pub mod lab;
pub mod seed;
pub mod selftest;

pub use case::{Case, Probe, Sender};
