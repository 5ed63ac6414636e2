//! Decisions about a transaction: confirmed, taken back, or found unfinished.

use std::thread;
use std::time::Duration;

use crate::clock;
use crate::fault::point;
use crate::journal::{Journal, Phase};
use crate::rollback::{RollbackError, mark, take_back, unmark};
use crate::state::{Event, Lock, State, StateError};
use crate::watchdog;

/// How often, and in what time, a watchdog is given the chance to do what is due.
const LOOKS: usize = 40;
const LOOK: Duration = Duration::from_millis(50);

/// Why something can't be confirmed or taken back.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// No such transaction was ever begun.
    #[error("there is no transaction `{0}`")]
    Unknown(String),
    /// It was taken back before.
    #[error("transaction `{id}` was rolled back: {reason}")]
    RolledBack {
        /// The transaction.
        id: String,
        /// Why.
        reason: String,
    },
    /// It comes from the connection of the one who applied it.
    #[error("this is the connection that applied it")]
    SameConnection,
    /// It is still being loaded.
    #[error("transaction `{0}` is still being loaded")]
    Loading(String),
    /// The state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// It can't be taken back.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
}

/// What `confirm` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It was pending and is kept now.
    Now(Box<Journal>),
    /// It was confirmed before.
    Before,
}

/// Confirms the pending transaction.
///
/// # Errors
///
/// Where it is not pending, or the connection is that of the one who applied it.
pub fn confirm(
    state: &State,
    id: &str,
    ssh: Option<&str>,
    same: SameConnection,
) -> Result<Confirmed, DecideError> {
    if !state.exists() {
        return Err(DecideError::Unknown(id.to_owned()));
    }
    let lock = state.lock()?;
    let Some(journal) = state.pending()?.filter(|journal| journal.id == id) else {
        return match state.kept(id)? {
            Some(_) => Ok(Confirmed::Before),
            None => Err(ended(state, id)),
        };
    };
    if journal.left() == 0 {
        let reason = "nobody confirmed it in time";
        take_back(state, &lock, &journal, reason)?;
        return Err(DecideError::RolledBack { id: id.to_owned(), reason: reason.to_owned() });
    }
    if journal.phase == Phase::Loading {
        if state.is_watched() {
            return Err(DecideError::Loading(id.to_owned()));
        }
        let reason = "`nattrace apply` died while it was loading";
        take_back(state, &lock, &journal, reason)?;
        return Err(DecideError::RolledBack { id: id.to_owned(), reason: reason.to_owned() });
    }
    if same == SameConnection::Refused && ssh.is_some() && ssh == journal.ssh.as_deref() {
        return Err(DecideError::SameConnection);
    }
    keep(state, &lock, &journal, ssh.unwrap_or("on a console"))?;
    Ok(Confirmed::Now(Box::new(journal)))
}

/// Whether the connection that applied may confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameConnection {
    /// It may.
    Allowed,
    /// It may not: that it still lives tells nothing about new ones.
    Refused,
}

pub(crate) fn keep(
    state: &State,
    lock: &Lock,
    journal: &Journal,
    by: &str,
) -> Result<(), RollbackError> {
    if journal.phase == Phase::Waiting && state.pending()?.is_some() {
        state.keep_pending(&journal.id)?;
    }
    point("confirm-kept");
    // From here on it is kept, whatever fails: what marks it goes another time.
    drop(finish(state, lock, journal));
    point("confirm-cleaned");
    state.log(&journal.id, Event::Confirmed, by);
    Ok(())
}

/// Removes what marked a change while it was pending.
fn finish(state: &State, lock: &Lock, journal: &Journal) -> Result<(), RollbackError> {
    unmark(lock, journal)?;
    Ok(state.write_kept(&Journal { phase: Phase::Kept, ..journal.clone() })?)
}

/// The same for those whose confirmation was cut off behind the decision.
pub(crate) fn finish_kept(state: &State, lock: &Lock) -> Result<(), RollbackError> {
    for journal in state.all_kept()? {
        if journal.phase != Phase::Kept && journal.namespace == clock::namespace() {
            finish(state, lock, &journal)?;
        }
    }
    Ok(())
}

fn ended(state: &State, id: &str) -> DecideError {
    let mut entries = state.entries().into_iter().rev();
    match entries.find(|entry| entry.id == id && entry.event == Event::RolledBack) {
        Some(entry) => DecideError::RolledBack { id: id.to_owned(), reason: entry.reason },
        None => DecideError::Unknown(id.to_owned()),
    }
}

/// Takes a transaction back, pending or confirmed. What others did to its edits is returned.
///
/// # Errors
///
/// Where there is none, or it can't be taken back.
pub fn roll_back(state: &State, id: &str, reason: &str) -> Result<Vec<String>, DecideError> {
    if !state.exists() {
        return Err(DecideError::Unknown(id.to_owned()));
    }
    let lock = state.lock()?;
    if let Some(journal) = state.pending()?.filter(|journal| journal.id == id) {
        return Ok(take_back(state, &lock, &journal, reason)?);
    }
    let Some(journal) = state.kept(id)? else { return Err(ended(state, id)) };
    let journal = Journal { phase: Phase::Kept, ..journal };
    mark(&lock, &journal)?;
    Ok(take_back(state, &lock, &journal, reason)?)
}

/// Gives a watchdog the time to do what is due, or to be gone: one that was killed a moment ago may
/// still look alive.
fn leave_to_watchdog(state: &State) -> Result<(), StateError> {
    for _ in 0..LOOKS {
        let is_due = state.pending()?.is_some_and(|journal| journal.left() == 0);
        if !is_due || !state.is_watched() {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Finishes what a dead process left: takes back what is due, or watches over what is not.
///
/// # Errors
///
/// Where the state can't be used, or the transaction can't be taken back.
pub fn recover(state: &State) -> Result<Option<String>, DecideError> {
    if !state.exists() {
        return Ok(None);
    }
    leave_to_watchdog(state)?;
    // Somebody who holds the lock is at work, and needs no help.
    let lock = match state.try_lock() {
        Err(StateError::Busy(_)) => return Ok(None),
        other => other?,
    };
    finish_kept(state, &lock)?;
    let Some(journal) = state.pending()?.filter(|_| !state.is_watched()) else { return Ok(None) };
    let id = &journal.id;
    if journal.phase == Phase::Waiting && journal.left() > 0 {
        let armed = watchdog::arm(state).and_then(|mut armed| armed.tell_loaded());
        return Ok(armed.ok().map(|()| format!("transaction `{id}` has a watchdog again")));
    }
    take_back(state, &lock, &journal, "found unfinished")?;
    Ok(Some(format!("transaction `{id}` was unfinished, and was taken back")))
}
