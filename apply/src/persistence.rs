//! Edits that come back after Docker was restarted and after a reboot, and the way out of all of
//! it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::change::{At, Step, TableChange, forms, tagged};
use crate::command;
use crate::commit::finds;
use crate::decision::{DecideError, roll_back};
use crate::journal::Journal;
use crate::own::OwnTable;
use crate::saved::{Forms, Saved, Table, count};
use crate::state::{State, StateError};

/// Where systemd looks for units of the administrator.
const UNITS: &str = "/etc/systemd/system";

/// What wants the unit: the start of the host, and that of Docker.
const WANTED_BY: [&str; 2] = ["multi-user.target.wants", "docker.service.wants"];

fn units() -> PathBuf {
    std::env::var_os("NATTRACE_UNIT_DIR").map_or_else(|| PathBuf::from(UNITS), PathBuf::from)
}

fn unit_name(id: &str) -> String {
    format!("nattrace-{id}.service")
}

/// Writes the unit that loads a confirmed transaction again, and has systemd read it.
///
/// # Errors
///
/// Where it can't be written.
pub fn install_unit(state: &State, journal: &Journal) -> io::Result<PathBuf> {
    let folder = units();
    let path = folder.join(unit_name(&journal.id));
    fs::create_dir_all(&folder)?;
    fs::write(&path, unit_text(state, &journal.id)?)?;
    for wanted in WANTED_BY {
        let wants = folder.join(wanted);
        fs::create_dir_all(&wants)?;
        let link = wants.join(unit_name(&journal.id));
        remove(&link)?;
        symlink(&path, &link)?;
    }
    reload();
    Ok(path)
}

/// Docker's own rules are there when `docker.service` is: `After` and `PartOf` make the unit run
/// behind every start and restart of it.
fn unit_text(state: &State, id: &str) -> io::Result<String> {
    let program = std::env::current_exe()?;
    let folder = fs::canonicalize(state.folder())?;
    let (program, folder) = (quoted(&program), quoted(&folder));
    Ok(format!(
        "[Unit]\nDescription=Rules of nattrace transaction {id}\nAfter=network.target \
         docker.service\nPartOf=docker.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart={program} apply --persisted {id} --state-dir {folder}\n\n[Install]\n\
         WantedBy=multi-user.target docker.service\n"
    ))
}

/// A path as a word of a unit.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    if text.contains([' ', '"', '\\', '\'']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text
    }
}

/// Lets systemd read its units again. Where it does not run, it will when it starts.
fn reload() {
    if units() == Path::new(UNITS) && command::find("systemctl").is_some() {
        drop(command::run("systemctl", &["daemon-reload"]));
    }
}

/// Removes the unit of a transaction. Whether there was one is returned.
pub(crate) fn remove_unit(id: &str) -> io::Result<bool> {
    let folder = units();
    for wanted in WANTED_BY {
        remove(&folder.join(wanted).join(unit_name(id)))?;
    }
    let removed = remove(&folder.join(unit_name(id)))?;
    if removed {
        reload();
    }
    Ok(removed)
}

fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

/// Whether a transaction has a unit.
#[must_use]
pub fn has_unit(id: &str) -> bool {
    units().join(unit_name(id)).exists()
}

/// Whether rules stay when everything else of nattrace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// They are taken back, and what they replaced is put back.
    TakeBack,
    /// They stay as they are.
    Keep,
}

/// Removes every trace of nattrace: rules, units and the state. What was done is returned, one line
/// each.
///
/// # Errors
///
/// Where something can't be removed; what is left can be removed by another try.
pub fn uninstall(state: &State, rules: Rules) -> Result<Vec<String>, DecideError> {
    let mut done = Vec::new();
    if state.exists() {
        let pending = state.pending()?.map(|journal| journal.id);
        for Journal { id, .. } in state.newest_first()? {
            let waits = pending.as_ref() == Some(&id);
            let io = |error| StateError::Io { does: "remove", path: units(), error };
            if remove_unit(&id).map_err(io)? {
                done.push(format!("removed the unit `{}`", unit_name(&id)));
            }
            if rules == Rules::Keep && !waits {
                state.remove_kept(&id)?;
                done.push(format!("left the rules of `{id}`"));
            } else {
                done.extend(roll_back(state, &id, "uninstalled")?);
                let what = if waits { "the pending transaction " } else { "" };
                done.push(format!("took back {what}`{id}`"));
            }
        }
        state.remove_all()?;
        done.push(format!("removed `{}`", state.folder().display()));
    }
    Ok(done)
}

/// How many edits of a transaction are in the kernel.
#[must_use]
pub fn in_place(journal: &Journal) -> usize {
    let there = |change: &TableChange| match change.at {
        At::Iptables(store, name) => {
            let Ok(text) = store.read() else { return 0 };
            let (table, forms) = (Saved::read(&text).table(name), forms(store, name, finds));
            let steps = change.steps.iter();
            steps.filter(|step| is_in_place(&journal.id, step, &table, &forms)).count()
        }
        At::Own(family) => {
            let now = OwnTable::read(family).ok().flatten().unwrap_or_default();
            let handle = |step: &&Step| now.handle(&journal.id, step.number).is_some();
            change.steps.iter().filter(handle).count()
        }
    };
    journal.changes.iter().map(there).sum()
}

fn is_in_place(id: &str, step: &Step, table: &Table, forms: &Forms) -> bool {
    let Some(rules) = table.rules(&step.chain) else { return false };
    let new = step.new.is_none() || tagged(rules, id, step.number).is_some();
    let old = step.old.as_ref().is_none_or(|old| count(rules, forms, old) <= step.alike);
    new && old
}
