//! Everything that may go wrong while a plan is on its way, each with its test.
//!
//! | what | where |
//! |---|---|
//! | `kill -9` at every named point, `kill -9` and HUP at random instants | `kills` |
//! | a writer beside the load, two `apply` at once | `kills` |
//! | dockerd inserts rules meanwhile, an owner puts its rule back | `others` |
//! | HUP, INT and TERM for the watchdog, its death, that of its parent | `watchdogs` |
//! | iptables fails half-way, or can not take back yet | `programs` |
//! | a full disk, a folder that can not be written | `disk` |
//! | a reboot: the journal is found at the start | `boot` |
//! | the wall clock jumps, the machine slept | `clock` |
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of a test")]

#[path = "../host/mod.rs"]
mod host;

mod boot;
mod clock;
mod disk;
mod kills;
mod others;
mod programs;
mod watchdogs;
