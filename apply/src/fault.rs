//! Places at which a test can end this process, as a power cut or `kill -9` would.
//!
//! They exist in test builds alone: `NATTRACE_FAULT=NAME` ends the process at the place called so,
//! after it has made the file `NATTRACE_FAULT_REACHED`.

/// The places, in the order in which a transaction comes to them.
pub const FAULT_POINTS: [&str; 26] = [
    "checked",
    "watchdog-started",
    "watchdog-locked",
    "watchdog-armed",
    "armed",
    "journal-created",
    "journal-written",
    "journal-synced",
    "journal-renamed",
    "journaled",
    "load-started",
    "load-fed",
    "loaded-one",
    "loaded-all",
    "verified",
    "waiting",
    "told",
    "watchdog-told",
    "watchdog-due",
    "undo-started",
    "undo-committed",
    "undone-one",
    "undone-all",
    "undo-finished",
    "confirm-kept",
    "confirm-cleaned",
];

/// Ends the process if a test asked for it here.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    if std::env::var("NATTRACE_FAULT").is_ok_and(|wanted| wanted == name) {
        if let Some(path) = std::env::var_os("NATTRACE_FAULT_REACHED") {
            // A test that misses it fails.
            drop(std::fs::write(path, name));
        }
        // To be killed can't fail for a process that may signal itself.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &str) {}
