//! The process that takes a transaction back where nobody confirms it.
//!
//! It is armed before anything is loaded, belongs to a session of its own, ignores the signals that
//! a dying terminal sends, and needs nobody. It learns by a pipe that its parent has died.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::fault::point;
use crate::journal::{Journal, Phase};
use crate::rollback::take_back_pending;
use crate::state::{State, StateError};

/// How long a watchdog may take to start.
const START: Duration = Duration::from_secs(10);

/// How often it looks.
const TICK: Duration = Duration::from_millis(50);

/// How long it waits after a failure, at first and at most.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What a parent says when everything is loaded and verified.
const LOADED: &str = "loaded";

/// The other end of a watchdog: as long as it lives and has not told, a death of this process makes
/// the watchdog take everything back at once.
#[derive(Debug)]
pub(crate) struct Armed(PipeWriter);

impl Armed {
    /// Tells that from now on only the deadline counts.
    pub(crate) fn tell_loaded(&mut self) -> io::Result<()> {
        writeln!(self.0, "{LOADED}")
    }
}

/// Starts a watchdog and waits until it watches.
pub(crate) fn arm(state: &State) -> io::Result<Armed> {
    let (input, armed) = io::pipe()?;
    let (answer, output) = io::pipe()?;
    // Ignored signals stay ignored across exec.
    let script = "trap '' HUP INT QUIT TERM PIPE; exec \"$0\" \"$@\"";
    let child = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(program()?)
        .args(["watchdog", "--state-dir"])
        .arg(absolute(state.folder()))
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()?;
    // Nobody waits for it: it outlives this process.
    drop(child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        drop(BufReader::new(answer.take(64)).read_line(&mut line));
        drop(sender.send(line));
    });
    match receiver.recv_timeout(START) {
        Ok(line) if line.trim() == "armed" => Ok(Armed(armed)),
        Ok(_) | Err(_) => Err(io::Error::other("it did not start")),
    }
}

/// This program, also where its file was replaced meanwhile.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    if path.is_file() {
        return Ok(path);
    }
    Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())))
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What a watchdog heard of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    /// It is at work.
    Working,
    /// It has loaded everything.
    Loaded,
    /// It died before.
    Died,
}

/// Watches over the pending transaction until it is decided. Only `nattrace apply` starts it.
///
/// # Errors
///
/// Where the folder can't be used.
pub fn watch(state: &State) -> Result<(), StateError> {
    // It may lead a group already, where somebody started it by hand.
    let _ = rustix::process::setsid();
    point("watchdog-started");
    let Some(_held) = hold(state)? else { return Ok(()) };
    point("watchdog-locked");
    let heard = listen();
    let mut stdout = io::stdout();
    drop(stdout.write_all(b"armed\n").and_then(|()| stdout.flush()));
    point("watchdog-armed");
    let mut parent = Parent::Working;
    loop {
        match heard.recv_timeout(TICK) {
            Ok(now) => parent = now,
            Err(RecvTimeoutError::Timeout) => {}
            // What it said last stands.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
        }
        if parent == Parent::Loaded {
            point("watchdog-told");
        }
        let reason = match (parent, state.pending()) {
            (Parent::Working, Ok(None)) => continue,
            (_, Ok(None)) => return Ok(()),
            (_, Ok(Some(journal))) => due(parent, &journal),
            // A journal that can't be read now is tried again.
            (_, Err(_)) => None,
        };
        if let Some(reason) = reason {
            point("watchdog-due");
            insist(state, reason);
            return Ok(());
        }
    }
}

/// Becomes the one watchdog. Somebody who only looks whether there is one holds the file for an
/// instant.
fn hold(state: &State) -> Result<Option<File>, StateError> {
    for _ in 0..20 {
        if let Some(held) = state.watch()? {
            return Ok(Some(held));
        }
        thread::sleep(TICK);
    }
    Ok(None)
}

/// Why a transaction has to be taken back now.
fn due(parent: Parent, journal: &Journal) -> Option<&'static str> {
    if clock::now() >= journal.deadline {
        return Some("nobody confirmed it in time");
    }
    let died = parent == Parent::Died && journal.phase == Phase::Loading;
    died.then_some("`nattrace apply` died while it was loading")
}

/// Takes back until it succeeds: what hinders it may pass.
fn insist(state: &State, reason: &str) {
    let mut pause = PAUSE;
    while take_back_pending(state, reason).is_err() {
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn listen() -> mpsc::Receiver<Parent> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let loaded = read.is_ok() && line.trim() == LOADED;
        let _ = sender.send(if loaded { Parent::Loaded } else { Parent::Died });
    });
    receiver
}
