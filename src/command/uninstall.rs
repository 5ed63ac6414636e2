//! `nattrace uninstall`: removes every trace, and the process that watches over a transaction.

use nattrace_apply::{Rules, uninstall, watch};

use crate::args::{Global, StateOption, Uninstall};
use crate::command::state;
use crate::exit::{Failure, Result, Status};
use crate::output::screen::Screen;
use crate::output::transaction::Removed;

/// Takes back what was kept, and removes units and state.
pub(crate) fn run(global: &Global, arguments: &Uninstall) -> Result<Status> {
    let format = state::format(global, "uninstall")?;
    state::require_root()?;
    let state = state::folder(arguments.state.state_dir.as_deref());
    let rules = if arguments.keep_rules { Rules::Keep } else { Rules::TakeBack };
    let done = uninstall(&state, rules).map_err(|error| state::failure(&error))?;
    let mut screen = Screen::stdout();
    Removed { done }.write(&mut screen, format)?;
    screen.finish()?;
    Ok(Status::Holds)
}

/// Watches over the pending transaction; only `nattrace apply` starts it.
pub(crate) fn watchdog(arguments: &StateOption) -> Result<Status> {
    let state = state::folder(arguments.state_dir.as_deref());
    watch(&state).map_err(|error| Failure::input(error.to_string()))?;
    Ok(Status::Holds)
}
