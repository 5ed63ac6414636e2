//! `nattrace status`: what is pending, and what was kept.

use nattrace_apply::{DecideError, has_unit, in_place, recover};

use crate::args::{Global, StatusOf};
use crate::command::state;
use crate::exit::{Failure, Result, Status};
use crate::input;
use crate::output::diagnostic::print_note;
use crate::output::screen::Screen;
use crate::output::transaction::{Kept, Overview, Pending};
use crate::output::words::visible;

/// Finishes what a dead process left, and shows the rest.
pub(crate) fn run(global: &Global, arguments: &StatusOf) -> Result<Status> {
    let format = state::format(global, "status")?;
    input::require_root()?;
    let state = state::folder(arguments.state.state_dir.as_deref());
    match recover(&state) {
        Ok(recovered) => recovered.into_iter().for_each(print_note),
        // What is shown then tells how things stand.
        Err(error @ DecideError::Rollback(_)) => print_note(error),
        Err(error) => return Err(Failure::input(visible(&error.to_string()))),
    }
    let unreadable = |error: nattrace_apply::StateError| Failure::input(error.to_string());
    let pending = state.pending().map_err(unreadable)?.map(|journal| Pending {
        seconds_left: journal.left().div_ceil(1_000),
        watched: state.is_watched(),
        edits: journal.edits(),
        in_place: in_place(&journal),
        phase: journal.phase,
        id: journal.id,
    });
    let kept = state.all_kept().map_err(unreadable)?;
    let kept = kept.into_iter().map(|journal| Kept {
        edits: journal.edits(),
        in_place: in_place(&journal),
        persists: has_unit(&journal.id),
        id: journal.id,
    });
    let overview = Overview { pending, kept: kept.collect(), log: state.entries() };
    let mut screen = Screen::stdout();
    overview.write(&mut screen, format)?;
    screen.finish()?;
    Ok(Status::Holds)
}
