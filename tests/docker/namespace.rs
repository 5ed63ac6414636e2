//! Sockets in other network namespaces: a thread enters one, and what it opens stays there.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Does something in a network namespace.
pub(crate) fn inside<T: Send>(namespace: &Path, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(namespace).expect("the namespace is there");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a thread may enter the namespace");
            what()
        });
        thread.join().expect("the thread in the namespace ends well")
    })
}

/// What a program said, and whether it succeeded.
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) text: String,
}

/// Runs a command.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().expect("the program is there");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        text += &String::from_utf8_lossy(&output.stderr);
    }
    Ran { succeeded: output.status.success(), text }
}

/// A command that runs in a network namespace and sees all else as we do: cgroups too, which
/// `ip netns exec` would hide.
pub(crate) fn command_in(namespace: &Path, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace.display())).arg("--").arg(program);
    command
}
