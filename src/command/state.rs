//! What the commands around transactions have in common: where the state is, who may, and what
//! their failures mean.

use std::path::Path;

use nattrace_apply::{DecideError, Journal, Persist, STATE_FOLDER, State, install_unit};

use crate::args::{Format, Global};
use crate::exit::{Failure, Result, Status};
use crate::output::words::visible;

/// The folder of the state: the option, the environment, or the usual one.
pub(crate) fn folder(option: Option<&Path>) -> State {
    let named = std::env::var_os("NATTRACE_STATE_DIR").filter(|name| !name.is_empty());
    match (option, named) {
        (Some(path), _) => State::at(path),
        (None, Some(path)) => State::at(path),
        (None, None) => State::at(STATE_FOLDER),
    }
}

/// The format, where the command is about this host and prints it.
pub(crate) fn format(global: &Global, command: &str) -> Result<Format> {
    if global.snapshot.is_some() || !global.rules.is_empty() {
        return Err(Failure::input(format!("`nattrace {command}` is about this host"))
            .help("leave out `--snapshot` and `--rules`"));
    }
    let format = global.format().unwrap_or(Format::Pretty);
    if matches!(format, Format::Pretty | Format::Concise | Format::Json | Format::Jsonl) {
        return Ok(format);
    }
    Err(Failure::input(format!("`{command}` prints pretty, concise, json or jsonl")))
}

/// Fails where this process may not change rules.
pub(crate) fn require_root() -> Result<()> {
    if nattrace_apply::is_root() {
        return Ok(());
    }
    Err(Failure::Ended {
        message: "changing the rules needs root".to_owned(),
        help: Some("use sudo".to_owned()),
        status: Status::Refused,
    })
}

/// What a failure of a decision means.
pub(crate) fn failure(error: &DecideError) -> Failure {
    let (status, help) = match error {
        DecideError::Unknown(_) => (Status::Input, Some("`nattrace status` lists them".to_owned())),
        DecideError::RolledBack { .. } => (Status::RolledBack, None),
        DecideError::SameConnection => {
            let help = "open a new one, which proves that you can, and confirm there; \
                        `--force connection` confirms here";
            (Status::Refused, Some(help.to_owned()))
        }
        DecideError::Loading(_) => (Status::Refused, Some("try again in a moment".to_owned())),
        DecideError::State(_) | DecideError::Rollback(_) => (Status::Refused, None),
    };
    Failure::Ended { message: visible(&error.to_string()), help, status }
}

/// Writes the unit of a confirmed transaction where it was asked for; what there is to say.
pub(crate) fn persist(state: &State, journal: &Journal) -> Option<String> {
    match journal.persist {
        Persist::No => None,
        Persist::Unit => Some(match install_unit(state, journal) {
            Ok(path) => {
                format!("it is loaded again after Docker and after a reboot: {}", path.display())
            }
            Err(error) => format!("the unit that would load it again was not written: {error}"),
        }),
    }
}
