//! `nattrace apply`: puts a plan into the kernel, safely.

mod flows;
mod interfaces;
pub(super) mod preflight;

use std::path::Path;

use nattrace_apply::{
    Conntrack, Decision, Loaded, Override, Persist, Plan, Preparation, Refusal, Session, State,
    Terms, TransactionError, Turn, prepare, read_plan, recover, take_turn,
};

use crate::args::{Apply, Force, Format, Global};
use crate::command::state;
use crate::exit::{Failure, Result, Status};
use crate::input;
use crate::output::diagnostic::{Source, print_diagnostics, print_note};
use crate::output::screen::Screen;
use crate::output::transaction::{Report, Standing};
use flows::Flows;
use preflight::{Judge, View};

/// Loads a plan and waits until it is decided.
pub(crate) fn run(global: &Global, arguments: &Apply) -> Result<Status> {
    let format = state::format(global, "apply")?;
    if arguments.force.contains(&Force::Connection) {
        return Err(Failure::input("`apply` has no `connection` to override")
            .help("`nattrace confirm ID --force connection`"));
    }
    let state = state::folder(arguments.state.state_dir.as_deref());
    if let Some(id) = &arguments.persisted {
        state::require_root()?;
        return load_again(&state, id, format);
    }
    let Some(path) = &arguments.plan else {
        return Err(Failure::input("expected a plan").help("`nattrace apply PLAN`"));
    };
    let plan = read(path)?;
    let judge = Judge::new(&plan)?;
    let mut report = Report::new(&plan.id);
    let transaction = Transaction { global, arguments, state, plan: &plan, judge };
    let status = match transaction.run(&mut report) {
        Ok(status) => status,
        Err(Stop::Refused(refusals)) => {
            report.refusals = refusals;
            report.standing = Standing::Refused;
            Status::Refused
        }
        Err(Stop::RolledBack(reason, notes)) => {
            report.standing = Standing::RolledBack;
            report.reason = Some(reason);
            report.notes.extend(notes);
            Status::RolledBack
        }
        Err(Stop::Failure(failure)) => return Err(failure),
    };
    print(&report, format)?;
    Ok(status)
}

fn print(report: &Report, format: Format) -> Result<()> {
    let mut screen = Screen::stdout();
    report.write(&mut screen, format)?;
    screen.finish()?;
    Ok(())
}

/// Reads a plan, or says everything that is wrong with it.
fn read(path: &Path) -> Result<Plan> {
    let text = input::read_text(path)?;
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    read_plan(&text).map_err(|faults| {
        let source = Source { name: &name, text: &text };
        let told = print_diagnostics(faults.iter().map(|fault| (source, fault)));
        told.err().unwrap_or(Failure::Diagnosed)
    })
}

/// After Docker or the host was started: what is missing of a confirmed transaction.
fn load_again(state: &State, id: &str, format: Format) -> Result<Status> {
    let done = nattrace_apply::load_again(state, id).map_err(|error| state::failure(&error))?;
    let mut report = Report::new(id);
    report.standing = Standing::LoadedAgain;
    report.notes = done;
    print(&report, format)?;
    Ok(Status::Holds)
}

/// Why a transaction ends early.
enum Stop {
    Refused(Vec<Refusal>),
    RolledBack(String, Vec<String>),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<TransactionError> for Stop {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Refused(refusal) => Self::Refused(vec![refusal]),
            TransactionError::RolledBack { reason, notes } => Self::RolledBack(reason, notes),
            error @ TransactionError::Stuck { .. } => {
                let note = "the watchdog goes on trying: `nattrace status`".to_owned();
                Self::RolledBack(error.to_string(), vec![note])
            }
        }
    }
}

struct Transaction<'a> {
    global: &'a Global,
    arguments: &'a Apply,
    state: State,
    plan: &'a Plan,
    judge: Judge,
}

impl Transaction<'_> {
    fn run(&self, report: &mut Report) -> std::result::Result<Status, Stop> {
        if !nattrace_apply::is_root() {
            let refusal = Refusal::new("changing the rules needs root");
            return Err(Stop::Refused(vec![refusal.help("use sudo")]));
        }
        let forced: Vec<Override> =
            self.arguments.force.iter().copied().map(Force::meaning).collect();
        let turn = if self.arguments.dry_run { None } else { Some(self.turn()?) };
        let preparation = prepare(self.plan, &forced).map_err(Stop::Refused)?;
        let capture = nattrace_apply::capture(Conntrack::Omit);
        let now = View::new(self.global, preparation.parts_now(&capture))?;
        let then = View::with_edits(self.global, preparation.parts_then(&capture))
            .map_err(|refusal| Stop::Refused(vec![refusal]))?;
        let session = self.session(report, &forced).map_err(Stop::Refused)?;
        let mut verdict = self.judge.judge(&now, &then, session.as_ref());
        verdict.refusals.extend(interfaces::missing(self.plan, &now.system));
        report.notes.extend(self.plan.notes.iter().cloned());
        report.notes.extend(verdict.notes);
        let (overridden, refusals): (Vec<Refusal>, Vec<Refusal>) = verdict
            .refusals
            .into_iter()
            .partition(|refusal| refusal.force.is_some_and(|force| forced.contains(&force)));
        if !refusals.is_empty() {
            return Err(Stop::Refused(refusals));
        }
        report.notes.extend(overridden.iter().map(|refusal| format!("overridden: {refusal}")));
        let flows = Flows::affected(&now, &then, session.as_ref());
        report.commands = preparation.commands();
        report.flows = flows.lines();
        report.notes.extend(flows.notes());
        let Some(turn) = turn else {
            report.standing = Standing::DryRun;
            return Ok(Status::Holds);
        };
        let loaded = self.load(turn, &preparation, session.as_ref())?;
        report.notes.extend(loaded.notes.iter().cloned());
        let loaded = self.verify(loaded, &now, session.as_ref(), &forced)?;
        if self.arguments.flush_flows {
            report.notes.extend(flows.flush());
        }
        self.finish(loaded, report)
    }

    fn turn(&self) -> std::result::Result<Turn, Stop> {
        // What hinders this hinders the turn too, which says so.
        if let Ok(Some(recovered)) = recover(&self.state) {
            print_note(recovered);
        }
        let turn = take_turn(&self.state)?;
        for recovered in &turn.recovered {
            print_note(recovered);
        }
        Ok(turn)
    }

    /// The operator's own connection.
    fn session(
        &self,
        report: &mut Report,
        forced: &[Override],
    ) -> std::result::Result<Option<Session>, Vec<Refusal>> {
        match preflight::session() {
            Ok(None) => {
                report.notes.push("no SSH session: this is a console".to_owned());
                Ok(None)
            }
            Err(_) if forced.contains(&Override::Ssh) => Ok(None),
            other => other.map_err(|refusal| vec![refusal]),
        }
    }

    fn load(
        &self,
        turn: Turn,
        preparation: &Preparation,
        session: Option<&Session>,
    ) -> std::result::Result<Loaded, Stop> {
        let terms = Terms {
            confirm: self.arguments.confirm,
            ssh: session.map(|session| session.text.clone()),
            persist: if self.arguments.persist { Persist::Unit } else { Persist::No },
        };
        Ok(turn.load(preparation, &terms)?)
    }

    /// Looks at the host as it is now: what held in the prediction must hold in truth.
    fn verify(
        &self,
        loaded: Loaded,
        before: &View,
        session: Option<&Session>,
        forced: &[Override],
    ) -> std::result::Result<Loaded, Stop> {
        let capture = nattrace_apply::capture(Conntrack::Omit);
        let parts = capture.parts;
        let after = match View::new(self.global, parts) {
            Ok(after) => after,
            Err(_) => return Err(loaded.take_back("the rules can't be read any more").into()),
        };
        let mut refusals = self.judge.judge(before, &after, session).refusals;
        refusals.retain(|refusal| refusal.force.is_none_or(|force| !forced.contains(&force)));
        match refusals.first() {
            Some(refusal) => Err(loaded.take_back(&refusal.message).into()),
            None => Ok(loaded),
        }
    }

    fn finish(&self, loaded: Loaded, report: &mut Report) -> std::result::Result<Status, Stop> {
        let id = &self.plan.id;
        let seconds = self.arguments.confirm;
        if seconds == 0 {
            let journal = loaded.keep()?;
            report.notes.extend(state::persist(&self.state, &journal));
            report.standing = Standing::Confirmed;
            return Ok(Status::Holds);
        }
        let waiting = loaded.wait_for_confirmation(seconds)?;
        print_note(format_args!(
            "loaded; from a new connection, within {seconds} seconds: nattrace confirm {id}"
        ));
        match waiting.decide() {
            Decision::Confirmed => {
                report.standing = Standing::Confirmed;
                Ok(Status::Holds)
            }
            Decision::RolledBack { reason, notes } => Err(Stop::RolledBack(reason, notes)),
        }
    }
}
