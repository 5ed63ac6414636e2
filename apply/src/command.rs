//! Runs a program of the host, with an end to its time.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long one program may take. A hung Docker daemon must not hang a capture.
const TIME: Duration = Duration::from_secs(30);

/// Folders that hold the tools, and that the `PATH` of a user or of a non-login shell often lacks.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// Why a program gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// It is not installed.
    #[error("`{0}` is not installed")]
    Missing(String),
    /// It could not be started or read.
    #[error("can't run `{program}`: {cause}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        cause: String,
    },
    /// It said no.
    #[error("`{command}` failed: {message}")]
    Failed {
        /// The whole command.
        command: String,
        /// Its first line on standard error, or its status.
        message: String,
    },
    /// It did not come to an end.
    #[error("`{command}` did not answer within {} seconds", TIME.as_secs())]
    Timeout {
        /// The whole command.
        command: String,
    },
}

/// What a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    /// Its standard output.
    pub(crate) text: String,
    /// Whether bytes that are no UTF-8 were replaced.
    pub(crate) replaced: bool,
}

/// Where a program is, looked for in `PATH` and in the system's own folders.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| is_executable(candidate))
}

fn is_executable(candidate: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    candidate.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Runs a program and returns what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Printed, CommandError> {
    run_within(program, arguments, "", &[], TIME)
}

/// Runs a program with a text on its standard input.
pub(crate) fn feed(
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<Printed, CommandError> {
    run_within(program, arguments, input, &[], TIME)
}

/// The same with variables of the environment.
pub(crate) fn feed_with(
    program: &str,
    arguments: &[&str],
    input: &str,
    variables: &[(&str, &str)],
) -> Result<Printed, CommandError> {
    run_within(program, arguments, input, variables, TIME)
}

fn run_within(
    program: &str,
    arguments: &[&str],
    input: &str,
    variables: &[(&str, &str)],
    time: Duration,
) -> Result<Printed, CommandError> {
    let file = find(program).ok_or_else(|| CommandError::Missing(program.to_owned()))?;
    let command = || [&[program], arguments].concat().join(" ");
    let start = |error: io::Error| CommandError::Start {
        program: program.to_owned(),
        cause: error.to_string(),
    };
    let mut child = Command::new(file)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", search_path())
        .envs(variables.iter().copied())
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.as_bytes().to_vec();
        // A program that reads nothing must not hold up this one; its status tells what it did.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }

    let deadline = Instant::now() + time;
    // The threads end with the pipes; a grandchild may keep one open, so nobody joins them.
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let receive = |from: Option<mpsc::Receiver<Vec<u8>>>| {
        let left = deadline.saturating_duration_since(Instant::now());
        from.map_or(Some(Vec::new()), |from| from.recv_timeout(left).ok())
    };
    let (Some(out), Some(err)) = (receive(stdout), receive(stderr)) else {
        // It may have ended by itself a moment ago; then there is nothing left to stop.
        drop(child.kill());
        drop(child.wait());
        return Err(CommandError::Timeout { command: command() });
    };
    let status = child.wait().map_err(start)?;
    if !status.success() {
        return Err(CommandError::Failed { command: command(), message: complaint(&err, status) });
    }
    Ok(match String::from_utf8(out) {
        Ok(text) => Printed { text, replaced: false },
        Err(error) => {
            Printed { text: String::from_utf8_lossy(error.as_bytes()).into_owned(), replaced: true }
        }
    })
}

/// The `PATH` that the programs get: some of them start others.
fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or(path)
}

fn read_aside(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all there is; the status tells the rest.
        drop(pipe.read_to_end(&mut bytes));
        drop(sender.send(bytes));
    });
    receiver
}

fn complaint(stderr: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    first.map_or_else(|| status.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_the_program_prints() {
        let printed = run("sh", &["-c", "printf 'a\\nb'"]).unwrap();
        assert_eq!(printed, Printed { text: "a\nb".into(), replaced: false });
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_told() {
        let printed = run("sh", &["-c", "printf 'a\\377'"]).unwrap();
        assert_eq!(printed, Printed { text: "a\u{fffd}".into(), replaced: true });
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = run("sh", &["-c", "echo out; echo why >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().ends_with("failed: why"), "{error}");
        let error = run("sh", &["-c", "exit 3"]).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_missing() {
        let name = "no-such-program-of-this-name";
        assert_eq!(run(name, &[]), Err(CommandError::Missing(name.into())));
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let before = Instant::now();
        let error = run_within("sleep", &["60"], "", &[], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, CommandError::Timeout { .. }), "{error}");
        assert!(before.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn more_than_a_pipe_holds_is_read_whole() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done";
        assert_eq!(run("sh", &["-c", script]).unwrap().text.len(), 220_000);
    }
}
