//! `nattrace confirm` and `nattrace rollback`: decide about a transaction.

use nattrace_apply::{
    Confirmed, DecideError, Override, Refusal, SameConnection, roll_back, ssh_connection,
};

use crate::args::{Confirm, Force, Format, Global, Rollback};
use crate::command::state;
use crate::exit::{Failure, Result, Status};
use crate::output::screen::Screen;
use crate::output::transaction::{Report, Standing};

/// Keeps what was loaded.
pub(crate) fn run(global: &Global, arguments: &Confirm) -> Result<Status> {
    let format = state::format(global, "confirm")?;
    if let Some(other) = arguments.force.iter().find(|force| **force != Force::Connection) {
        return Err(Failure::input(format!("`confirm` has no `{}` to override", other.name()))
            .help("`--force connection`"));
    }
    state::require_root()?;
    let state = state::folder(arguments.state.state_dir.as_deref());
    let same = match arguments.force.as_slice() {
        [] => SameConnection::Refused,
        _ => SameConnection::Allowed,
    };
    let ssh = ssh_connection();
    let mut report = Report::new(&arguments.id);
    report.standing = Standing::Confirmed;
    let confirmed = nattrace_apply::confirm(&state, &arguments.id, ssh.as_deref(), same);
    let confirmed = match confirmed {
        Ok(confirmed) => confirmed,
        Err(error) => return refused(&error, report, format),
    };
    match confirmed {
        Confirmed::Now(journal) => {
            if ssh.is_none() && journal.ssh.is_some() {
                report
                    .notes
                    .push("confirmed on a console: no new SSH connection proved".to_owned());
            }
            report.notes.extend(state::persist(&state, &journal));
        }
        Confirmed::Before => report.notes.push("it was confirmed before".to_owned()),
    }
    let mut screen = Screen::stdout();
    report.write(&mut screen, format)?;
    screen.finish()?;
    Ok(Status::Holds)
}

/// Takes back what was loaded, confirmed or not.
pub(crate) fn roll(global: &Global, arguments: &Rollback) -> Result<Status> {
    let format = state::format(global, "rollback")?;
    state::require_root()?;
    let state = state::folder(arguments.state.state_dir.as_deref());
    let notes = roll_back(&state, &arguments.id, "`nattrace rollback`");
    let mut report = Report::new(&arguments.id);
    report.standing = Standing::RolledBack;
    match notes {
        Ok(notes) => report.notes = notes,
        Err(error) => return refused(&error, report, format),
    }
    let mut screen = Screen::stdout();
    report.write(&mut screen, format)?;
    screen.finish()?;
    Ok(Status::Holds)
}

/// Says why a decision can't be carried out: programs get a report as of any other end.
fn refused(error: &DecideError, mut report: Report, format: Format) -> Result<Status> {
    let (status, help) = match state::failure(error) {
        Failure::Ended { status, help, .. } if status != Status::Input => (status, help),
        failure => return Err(failure),
    };
    if !matches!(format, Format::Json | Format::Jsonl) {
        return Err(state::failure(error));
    }
    if let DecideError::RolledBack { reason, .. } = error {
        report.standing = Standing::RolledBack;
        report.reason = Some(reason.clone());
    } else {
        let force = matches!(error, DecideError::SameConnection).then_some(Override::Connection);
        report.standing = Standing::Refused;
        report.refusals = vec![Refusal { message: error.to_string(), help, force }];
    }
    let mut screen = Screen::stdout();
    report.write(&mut screen, format)?;
    screen.finish()?;
    Ok(status)
}
