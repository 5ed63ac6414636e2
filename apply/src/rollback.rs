//! Taking a transaction back.

use nattrace_parser::syntax::TableName;

use crate::change::{At, Step, TableChange, forms, marker, script, settle, undo};
use crate::clock;
use crate::command::{self, CommandError};
use crate::commit::{commit, finds, restore};
use crate::fault::point;
use crate::journal::{Journal, Phase};
use crate::live::Store;
use crate::own::{self, OwnTable};
use crate::saved::{Command, Saved};
use crate::state::{Event, Lock, State, StateError};

/// Why a transaction is not taken back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The state can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A program failed.
    #[error("{at}: {cause}")]
    Rules {
        /// The table.
        at: String,
        /// What failed.
        cause: String,
    },
    /// It belongs to another network namespace.
    #[error("transaction `{0}` belongs to another network namespace")]
    Elsewhere(String),
}

impl RollbackError {
    fn of(at: At, error: impl ToString) -> Self {
        Self::Rules { at: at.name(), cause: error.to_string() }
    }
}

/// How often the places of returned rules are looked at.
const LOOKS: usize = 8;

/// Takes the pending transaction back, if there is one. What others did to its edits meanwhile is
/// returned.
pub(crate) fn take_back_pending(state: &State, reason: &str) -> Result<Vec<String>, RollbackError> {
    let lock = state.lock()?;
    match state.pending()? {
        Some(journal) => take_back(state, &lock, &journal, reason),
        None => Ok(Vec::new()),
    }
}

/// Takes a transaction back: table by table, each at once, each only if it is there.
pub(crate) fn take_back(
    state: &State,
    lock: &Lock,
    journal: &Journal,
    reason: &str,
) -> Result<Vec<String>, RollbackError> {
    if journal.is_of_this_boot() && journal.namespace != clock::namespace() {
        return Err(RollbackError::Elsewhere(journal.id.clone()));
    }
    point("undo-started");
    let mut notes = Vec::new();
    for change in journal.changes.iter().rev() {
        notes.extend(lock.lend(|| take_back_table(&journal.id, change))?);
        point("undone-one");
    }
    point("undone-all");
    // Whoever sees that the journal is gone looks into the log for the reason.
    state.log(&journal.id, Event::RolledBack, reason);
    match journal.phase {
        Phase::Loading | Phase::Waiting => state.remove_pending()?,
        Phase::Kept => state.remove_kept(&journal.id)?,
    }
    point("undo-finished");
    Ok(notes)
}

fn take_back_table(id: &str, change: &TableChange) -> Result<Vec<String>, RollbackError> {
    let at = change.at;
    let failed = |error: CommandError| RollbackError::of(at, error);
    match at {
        At::Iptables(store, table) => {
            let mut saved = Saved::read(&store.read().map_err(failed)?);
            let undone = undo(id, store, table, &change.steps, &mut saved, finds)
                .map_err(|error| RollbackError::of(at, error))?;
            if !undone.commands.is_empty() {
                commit(store, table, &undone.commands)
                    .map_err(|error| RollbackError::of(at, error))?;
                point("undo-committed");
                settle_down(store, table, &change.steps, &undone.returned);
            }
            // Also where another one was cut off before this.
            change.brought.remove(store, table);
            Ok(undone.notes)
        }
        At::Own(family) => {
            let now = OwnTable::read(family).map_err(failed)?;
            if let Some(now) = now.filter(|now| now.holds(id)) {
                let text = own::undo(family, id, &change.steps, &now);
                command::feed("nft", &["-f", "-"], &text).map_err(failed)?;
            }
            Ok(Vec::new())
        }
    }
}

/// Looks whether what returned stands where it should: positions are counted before a commit, and
/// somebody may insert rules in between.
fn settle_down(store: Store, table: TableName, steps: &[Step], returned: &[usize]) {
    for _ in 0..LOOKS {
        let Ok(text) = store.read() else { return };
        let now = Saved::read(&text).table(table);
        let commands = settle(returned, steps, &now, &forms(store, table, finds));
        // The edits are taken back; a place that can't be mended is no reason to begin again.
        if commands.is_empty() || commit(store, table, &commands).is_err() {
            return;
        }
    }
}

/// Removes the chains that mark a change, which then is like any other rules.
pub(crate) fn unmark(lock: &Lock, journal: &Journal) -> Result<(), RollbackError> {
    let id = &journal.id;
    for change in &journal.changes {
        let failed = |error: CommandError| RollbackError::of(change.at, error);
        match change.at {
            At::Iptables(store, table) => {
                let saved = Saved::read(&store.read().map_err(failed)?);
                if saved.table(table).has(&marker(id)) {
                    let text = script(table, &[Command::DropChain(marker(id))]);
                    lock.lend(|| restore(store, &text)).map_err(failed)?;
                }
            }
            At::Own(family) => {
                let now = OwnTable::read(family).map_err(failed)?;
                if now.is_some_and(|now| now.holds(id)) {
                    let (family, chain) = (own::nft_family(family), marker(id));
                    let text = format!("delete chain {family} {} {chain}\n", crate::OWN_TABLE);
                    lock.lend(|| command::feed("nft", &["-f", "-"], &text)).map_err(failed)?;
                }
            }
        }
    }
    Ok(())
}

/// Marks a change that was confirmed, so that it can be taken back exactly once.
pub(crate) fn mark(lock: &Lock, journal: &Journal) -> Result<(), RollbackError> {
    let id = &journal.id;
    for change in &journal.changes {
        let failed = |error: CommandError| RollbackError::of(change.at, error);
        match change.at {
            At::Iptables(store, table) => {
                let saved = Saved::read(&store.read().map_err(failed)?);
                let known = saved.tables().any(|(name, _)| name == table);
                if known && !saved.table(table).has(&marker(id)) {
                    let text = script(table, &[Command::NewChain(marker(id))]);
                    lock.lend(|| restore(store, &text)).map_err(failed)?;
                }
            }
            At::Own(family) => {
                let now = OwnTable::read(family).map_err(failed)?;
                if now.is_some_and(|now| !now.holds(id)) {
                    let (family, chain) = (own::nft_family(family), marker(id));
                    let text = format!("create chain {family} {} {chain}\n", crate::OWN_TABLE);
                    lock.lend(|| command::feed("nft", &["-f", "-"], &text)).map_err(failed)?;
                }
            }
        }
    }
    Ok(())
}
