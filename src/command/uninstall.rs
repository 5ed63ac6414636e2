//! `nattrace uninstall`: removes every trace, and the process that watches over a transaction.

use nattrace_apply::{Conntrack, Refusal, Rules, State, bare, uninstall, watch};

use crate::args::{Force, Global, StateOption, Uninstall};
use crate::command::apply::preflight::{Verdict, View, own_session, session};
use crate::command::state;
use crate::exit::{Failure, Result, Status};
use crate::output::screen::Screen;
use crate::output::transaction::Removed;

/// Takes back what was kept, and removes units and state.
pub(crate) fn run(global: &Global, arguments: &Uninstall) -> Result<Status> {
    let format = state::format(global, "uninstall")?;
    if let Some(other) = arguments.force.iter().find(|force| **force != Force::Ssh) {
        return Err(Failure::input(format!("`uninstall` has no `{}` to override", other.name()))
            .help("`--force ssh`"));
    }
    state::require_root()?;
    let state = state::folder(arguments.state.state_dir.as_deref());
    let rules = if arguments.keep_rules { Rules::Keep } else { Rules::TakeBack };
    let mut removed = Removed { done: Vec::new(), refusals: Vec::new() };
    if rules == Rules::TakeBack && arguments.force.is_empty() {
        removed.refusals = lockouts(global, &state)?;
    }
    let status = if removed.refusals.is_empty() {
        removed.done = uninstall(&state, rules).map_err(|error| state::failure(&error))?;
        Status::Holds
    } else {
        Status::Refused
    };
    let mut screen = Screen::stdout();
    removed.write(&mut screen, format)?;
    screen.finish()?;
    Ok(status)
}

/// Why the operator would be locked out by the rules that come back.
fn lockouts(global: &Global, folder: &State) -> Result<Vec<Refusal>> {
    let bare = bare(folder).map_err(|error| state::failure(&error))?;
    let (bare, session) = match (bare, session()) {
        (None, _) | (_, Ok(None)) => return Ok(Vec::new()),
        (Some(_), Err(refusal)) => return Ok(vec![refusal]),
        (Some(bare), Ok(Some(session))) => (bare, session),
    };
    let capture = nattrace_apply::capture(Conntrack::Omit);
    let now = View::new(global, bare.parts_now(&capture))?;
    let then = View::new(global, bare.parts_then(&capture))?;
    let mut verdict = Verdict::default();
    own_session(&session, &now, &then, &mut verdict);
    Ok(verdict.refusals)
}

/// Watches over the pending transaction; only `nattrace apply` starts it.
pub(crate) fn watchdog(arguments: &StateOption) -> Result<Status> {
    let state = state::folder(arguments.state_dir.as_deref());
    watch(&state).map_err(|error| Failure::input(error.to_string()))?;
    Ok(Status::Holds)
}
