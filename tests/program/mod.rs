//! Runs nattrace and shows what it did: status, standard output, standard error.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses a part of it")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The root of the repository, which is where tests run.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command that sees nothing of the environment that could change its output.
pub(crate) fn nattrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nattrace"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").current_dir(root());
    command
}

/// Runs it with arguments that are written as on a command line, without quoting.
pub(crate) fn run(arguments: &str) -> Output {
    let mut command = nattrace();
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

/// Runs it with a text on standard input.
pub(crate) fn run_with_input(arguments: &str, input: &[u8]) -> Output {
    let mut command = nattrace();
    command.args(arguments.split_whitespace());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // It may end before it has read everything.
        drop(stdin.write_all(&input));
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// All that there is to see of a run.
pub(crate) fn show(output: &Output) -> String {
    let mut text = format!("status {}\n", output.status.code().unwrap_or(-1));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            write!(text, "--- {name}\n{}", String::from_utf8_lossy(bytes)).unwrap();
        }
    }
    text
}
