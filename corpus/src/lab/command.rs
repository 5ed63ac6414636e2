//! Programs that the lab runs inside its network namespace.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// What a program said, and whether it succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program with a text on its standard input.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<Ran> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("can't run `{program}`: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may have closed it.
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let output = child.wait_with_output()?;
    Ok(Ran {
        succeeded: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program that must succeed, and gives what it printed.
pub(crate) fn output(program: &str, arguments: &[&str], input: &str) -> io::Result<String> {
    let ran = run(program, arguments, input)?;
    if ran.succeeded {
        Ok(ran.stdout)
    } else {
        let call = arguments.join(" ");
        Err(io::Error::other(format!("`{program} {call}` failed: {}", ran.stderr.trim())))
    }
}

/// Whether a program can be found.
pub(crate) fn exists(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
