//! How the program ends.

use std::io;
use std::process::ExitCode;

use nattrace_parser::Diagnostic;

/// The status that the program ends with: CLI.md, "Exit status".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It holds: the packet connects, the files are equal.
    Holds = 0,
    /// It does not.
    Fails = 1,
    /// The command line or an input can't be used.
    Input = 2,
    /// Something that is not known decides.
    Undetermined = 3,
    /// `apply` took back what it had loaded.
    RolledBack = 4,
    /// `apply` refused before it touched anything.
    Refused = 5,
    /// A fault of nattrace itself.
    Fault = 101,
}

impl Status {
    /// With `--exit-zero`, whatever the answer is, giving one is a success.
    pub(crate) fn with_exit_zero(self, exit_zero: bool) -> Self {
        match self {
            Self::Fails | Self::Undetermined if exit_zero => Self::Holds,
            other => other,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something about the command line or an input, in one line, with advice.
    #[error("{message}")]
    Input {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The command came to an end that has a status of its own.
    #[error("{message}")]
    Ended {
        /// What it is, in one line.
        message: String,
        /// What to do.
        help: Option<String>,
        /// The status.
        status: Status,
    },
    /// A word of the question that can't be used.
    #[error("{}", .diagnostic.message)]
    Question {
        /// What the command line calls the word.
        name: &'static str,
        /// The word.
        text: String,
        /// What is wrong with it, and where.
        diagnostic: Box<Diagnostic>,
    },
    /// The diagnostics of an input hold errors; they are printed already.
    #[error("the input holds errors")]
    Diagnosed,
    /// Something that can't be: nattrace contradicts itself.
    #[error("{0}")]
    Fault(String),
    /// The answer could not be written.
    #[error("can't write the answer: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A failure without advice.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input { message: message.into(), help: None }
    }

    /// The same with advice; keeps what a failure without room for it has.
    pub(crate) fn help(self, advice: impl Into<String>) -> Self {
        match self {
            Self::Input { message, .. } => Self::Input { message, help: Some(advice.into()) },
            Self::Ended { message, status, .. } => {
                Self::Ended { message, help: Some(advice.into()), status }
            }
            Self::Question { name, text, diagnostic } => {
                let diagnostic = Box::new(diagnostic.help(advice));
                Self::Question { name, text, diagnostic }
            }
            other => other,
        }
    }

    /// The status that the program ends with: a reader that has gone away is no failure.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::Holds,
            Self::Fault(_) => Status::Fault,
            Self::Ended { status, .. } => *status,
            Self::Input { .. } | Self::Question { .. } | Self::Diagnosed | Self::Output(_) => {
                Status::Input
            }
        }
    }
}

/// What a command comes to.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
