//! A plan on its way into the kernel: journal, watchdog, load, verification, confirmation.

use std::thread;
use std::time::Duration;

use crate::change::{At, forms, marker};
use crate::clock;
use crate::command;
use crate::commit::{commit, finds};
use crate::decision::{finish_kept, keep};
use crate::fault::point;
use crate::journal::{Journal, Persist, Phase};
use crate::own::{self, OwnTable};
use crate::preparation::{Preparation, Refusal};
use crate::rollback::{RollbackError, take_back, take_back_pending};
use crate::saved::{Command, Saved};
use crate::state::{Event, Lock, State, StateError};
use crate::verification::{same_rules, stands};
use crate::watchdog::{self, Armed};

/// How long loading may take, in milliseconds, before a watchdog takes it for hung.
const LOAD_TIME: u64 = 120_000;

/// How often a decision is looked for.
const TICK: Duration = Duration::from_millis(50);

/// How much longer than a watchdog this process waits before it takes over, in milliseconds.
const GRACE: u64 = 2_000;

/// Who applies, and how long confirmation is waited for.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How many seconds.
    pub confirm: u64,
    /// The `SSH_CONNECTION` of the operator.
    pub ssh: Option<String>,
    /// Whether it is to be loaded again after Docker and after a reboot.
    pub persist: Persist,
}

/// How a transaction came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Somebody confirmed it.
    Confirmed,
    /// It was taken back.
    RolledBack {
        /// Why.
        reason: String,
        /// What others did to its edits meanwhile.
        notes: Vec<String>,
    },
}

/// Why a transaction can't go on.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Nothing was touched.
    #[error("{0}")]
    Refused(Refusal),
    /// It was taken back.
    #[error("{reason}")]
    RolledBack {
        /// Why.
        reason: String,
        /// What others did to its edits meanwhile.
        notes: Vec<String>,
    },
    /// It should be taken back, and could not yet; the watchdog goes on trying.
    #[error("{reason}; taking it back failed: {cause}")]
    Stuck {
        /// Why it has to be taken back.
        reason: String,
        /// What hinders that.
        cause: RollbackError,
    },
}

impl From<StateError> for TransactionError {
    fn from(error: StateError) -> Self {
        Self::Refused(refused(&error))
    }
}

/// A fault of the state as a reason not to begin.
fn refused(error: &StateError) -> Refusal {
    let help = match error {
        StateError::Io { .. } => "nothing is loaded where it could not be taken back; \
             `--state-dir` names another folder"
            .to_owned(),
        StateError::NoJournal { path, .. } => {
            format!("a transaction may be pending: look at it, and remove `{}`", path.display())
        }
        StateError::Busy(_) => "wait until it is done: `nattrace status`".to_owned(),
    };
    Refusal::new(error.to_string()).help(help)
}

/// The right to begin a transaction: no other one is pending, and none begins meanwhile.
#[derive(Debug)]
pub struct Turn {
    state: State,
    lock: Lock,
    /// What was found unfinished, and taken back, for a person.
    pub recovered: Vec<String>,
}

/// Takes the turn, after what a dead process left is taken back.
///
/// # Errors
///
/// Where another transaction is pending, or the folder can't be written.
pub fn take_turn(state: &State) -> Result<Turn, TransactionError> {
    state.create()?;
    let lock = state.try_lock()?;
    let mut recovered = Vec::new();
    if let Some(journal) = state.pending()? {
        if is_alive(state, &journal) {
            let refusal = Refusal::new(format!("transaction `{}` is pending", journal.id));
            let help = format!("`nattrace confirm {0}` or `nattrace rollback {0}`", journal.id);
            return Err(TransactionError::Refused(refusal.help(help)));
        }
        take_back(state, &lock, &journal, "found unfinished").map_err(|error| {
            let text = format!("transaction `{}` is unfinished: {error}", journal.id);
            TransactionError::Refused(Refusal::new(text))
        })?;
        recovered.push(format!("transaction `{}` was unfinished, and was taken back", journal.id));
    }
    // Marks that stay are no reason not to begin.
    drop(finish_kept(state, &lock));
    let state = state.clone();
    let turn = Turn { state, lock, recovered };
    // Whatever can't be written now could not be written later.
    turn.state.probe()?;
    Ok(turn)
}

/// Whether somebody still takes care of a pending transaction.
fn is_alive(state: &State, journal: &Journal) -> bool {
    journal.phase == Phase::Waiting && journal.left() > 0 && journal.is_of_this_boot()
        || state.is_watched()
}

/// A transaction whose edits are in the kernel, and which is not yet to be confirmed.
#[derive(Debug)]
pub struct Loaded {
    state: State,
    lock: Lock,
    armed: Armed,
    journal: Journal,
    /// What others did while it was loaded, for a person.
    pub notes: Vec<String>,
}

impl Turn {
    /// Loads a plan: watchdog, journal, every table in its own commit, and a look at the result.
    ///
    /// # Errors
    ///
    /// Where it was refused, or was taken back.
    pub fn load(self, plan: &Preparation, terms: &Terms) -> Result<Loaded, TransactionError> {
        let Self { state, lock, .. } = self;
        point("checked");
        let armed = watchdog::arm(&state).map_err(|error| {
            TransactionError::Refused(Refusal::new(format!("can't start a watchdog: {error}")))
        })?;
        point("armed");
        let journal = Journal {
            id: plan.plan.id.clone(),
            phase: Phase::Loading,
            boot: clock::boot_id(),
            namespace: clock::namespace(),
            deadline: clock::now() + LOAD_TIME + terms.confirm * 1_000,
            ssh: terms.ssh.clone(),
            persist: terms.persist,
            repairs: plan.plan.repairs.clone(),
            changes: plan.prepared.iter().map(|(change, _)| change.clone()).collect(),
        };
        state.write_pending(&journal)?;
        point("journaled");
        let mut loaded = Loaded { state, lock, armed, journal, notes: Vec::new() };
        if let Some(refusal) = loaded.changed_meanwhile(plan) {
            loaded.state.remove_pending()?;
            return Err(TransactionError::Refused(refusal));
        }
        match loaded.load(plan).and_then(|()| loaded.verify(plan)) {
            Ok(()) => {
                point("verified");
                Ok(loaded)
            }
            Err(reason) => Err(loaded.take_back(&reason)),
        }
    }
}

impl Loaded {
    /// The last look before anything is touched.
    fn changed_meanwhile(&self, plan: &Preparation) -> Option<Refusal> {
        for (store, text) in &plan.now {
            let now = store.read().map(|now| crate::digest(&now, store.family, store.backend));
            if now.ok() != Some(crate::digest(text, store.family, store.backend)) {
                let text = format!("the rules of {} changed while they were read", store.name());
                return Some(Refusal::new(text).help("try again, or make the plan anew"));
            }
        }
        None
    }

    fn load(&self, plan: &Preparation) -> Result<(), String> {
        let id = &self.journal.id;
        for (change, commands) in &plan.prepared {
            point("load-started");
            let loaded = self.lock.lend(|| match change.at {
                At::Iptables(store, table) => commit(store, table, commands),
                At::Own(family) => {
                    let text = own::load(family, id, &change.steps);
                    let fed = command::feed("nft", &["-f", "-"], &text);
                    fed.map(drop).map_err(|error| error.to_string())
                }
            });
            point("load-fed");
            loaded.map_err(|error| format!("{} was not loaded: {error}", change.at.name()))?;
            point("loaded-one");
        }
        point("loaded-all");
        Ok(())
    }

    /// Reads the rules again: every edit must be there, and stand where it should.
    fn verify(&mut self, plan: &Preparation) -> Result<(), String> {
        let id = self.journal.id.clone();
        for (change, _) in &plan.prepared {
            let name = change.at.name();
            match change.at {
                At::Own(family) => {
                    let now = OwnTable::read(family).map_err(|error| error.to_string())?;
                    let now = now.unwrap_or_default();
                    let lost = |number: usize| now.handle(&id, number).is_none();
                    if !now.holds(&id) || change.steps.iter().any(|step| lost(step.number)) {
                        return Err(format!("{name} is not as it was loaded"));
                    }
                }
                At::Iptables(store, table) => {
                    let text = store.read().map_err(|error| error.to_string())?;
                    let mut now = Saved::read(&text).table(table);
                    let forms = forms(store, table, finds);
                    let unmarked = now.run(&Command::DropChain(marker(&id)), &forms);
                    unmarked.map_err(|_| format!("{name} is not as it was loaded"))?;
                    let then = plan.then.get(&store).map(|then| then.table(table));
                    let same = then.as_ref().is_some_and(|then| same_rules(then, &now, &forms));
                    if same {
                        continue;
                    }
                    for step in &change.steps {
                        let rules = now.rules(&step.chain).unwrap_or_default();
                        let then = then.as_ref().and_then(|then| then.rules(&step.chain));
                        stands(&id, step, rules, then.unwrap_or_default(), &forms)
                            .map_err(|fault| format!("{name}: {fault}"))?;
                    }
                    self.notes.push(format!("somebody else changed {name} at the same time"));
                }
            }
        }
        Ok(())
    }

    /// Takes it back at once.
    #[must_use]
    pub fn take_back(self, reason: &str) -> TransactionError {
        let reason = reason.to_owned();
        match take_back(&self.state, &self.lock, &self.journal, &reason) {
            Ok(notes) => TransactionError::RolledBack { reason, notes },
            // The lock goes with this process's value, and the watchdog goes on.
            Err(cause) => TransactionError::Stuck { reason, cause },
        }
    }

    /// Lets the time for confirmation begin.
    ///
    /// # Errors
    ///
    /// Where this can't be written down; then it was taken back.
    pub fn wait_for_confirmation(mut self, seconds: u64) -> Result<Waiting, TransactionError> {
        self.journal.phase = Phase::Waiting;
        self.journal.deadline = clock::now() + seconds * 1_000;
        let written = self.state.write_pending(&self.journal);
        point("waiting");
        let written = written.map_err(|error| error.to_string());
        let told = self.armed.tell_loaded().map_err(|error| format!("no watchdog: {error}"));
        if let Err(fault) = written.and(told) {
            return Err(self.take_back(&fault));
        }
        point("told");
        self.state.log(&self.journal.id, Event::Loaded, "");
        let Self { state, journal, armed, lock, .. } = self;
        drop(lock);
        Ok(Waiting { state, journal, _armed: armed })
    }

    /// Keeps it without confirmation.
    ///
    /// # Errors
    ///
    /// Where it can't be kept; then it was taken back.
    pub fn keep(mut self) -> Result<Journal, TransactionError> {
        self.journal.phase = Phase::Waiting;
        match keep(&self.state, &self.lock, &self.journal, "at once") {
            Ok(()) => Ok(self.journal),
            Err(error) => Err(self.take_back(&error.to_string())),
        }
    }
}

/// A transaction that waits for somebody to confirm it.
#[derive(Debug)]
pub struct Waiting {
    state: State,
    journal: Journal,
    /// Kept open, so that the watchdog is not told that this process died.
    _armed: Armed,
}

impl Waiting {
    /// Waits until it is decided. Where the watchdog died, this process takes its place.
    #[must_use]
    pub fn decide(&self) -> Decision {
        let id = &self.journal.id;
        loop {
            match self.state.pending() {
                Ok(Some(pending)) if pending.id == *id => {}
                Ok(_) => return decision(&self.state, id),
                // What can't be read now may be read at the next look.
                Err(_) => {}
            }
            if clock::now() > self.journal.deadline + GRACE {
                // Where this fails too, the next look tries again.
                drop(take_back_pending(&self.state, "nobody confirmed it in time"));
            }
            thread::sleep(TICK);
        }
    }
}

/// How a transaction came out that is no longer pending.
fn decision(state: &State, id: &str) -> Decision {
    if let Ok(Some(_)) = state.kept(id) {
        return Decision::Confirmed;
    }
    let mut entries = state.entries().into_iter().rev();
    let last = entries.find(|entry| entry.id == *id && entry.event == Event::RolledBack);
    let reason = last.map_or_else(|| "it was taken back".to_owned(), |entry| entry.reason);
    Decision::RolledBack { reason, notes: Vec::new() }
}
