//! A snapshot of the host that this process runs on.

use nattrace_model::host::Part;
use nattrace_parser::syntax::Family;

use crate::command::{self, CommandError, Printed};
use crate::{kernel, rules};

/// Whether the open connections are collected: they may be many, and they are nobody's business
/// where no answer needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conntrack {
    /// They are left out.
    Omit,
    /// They become the part `conntrack`.
    Include,
}

/// Why a part is missing or may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// The program is not installed, which is usual for some.
    NotInstalled,
    /// Something went wrong.
    Failed,
}

/// A remark about a part of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The part.
    pub part: Part,
    /// How bad it is.
    pub kind: NoteKind,
    /// One line for a person.
    pub text: String,
}

/// What a host told.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// The parts by the names of their files, in the order of the contract.
    pub parts: Vec<(&'static str, String)>,
    /// What is missing, and why.
    pub notes: Vec<Note>,
}

impl Capture {
    /// Adds what a program printed.
    pub(crate) fn add(&mut self, part: Part, printed: Printed) {
        if printed.replaced {
            let text = "bytes that are no UTF-8 were replaced by `\u{fffd}`".to_owned();
            self.complain(part, text);
        }
        self.parts.push((part.file_name(), printed.text));
    }

    /// Runs a program whose output is a part.
    pub(crate) fn add_command(&mut self, part: Part, program: &str, arguments: &[&str]) {
        match command::run(program, arguments) {
            Ok(printed) => self.add(part, printed),
            Err(error) => self.leave_out(part, &error),
        }
    }

    /// Notes that a part is missing.
    pub(crate) fn leave_out(&mut self, part: Part, error: &CommandError) {
        let kind = match error {
            CommandError::Missing(_) => NoteKind::NotInstalled,
            CommandError::Start { .. }
            | CommandError::Failed { .. }
            | CommandError::Timeout { .. } => NoteKind::Failed,
        };
        let text = format!("{} is left out: {error}", part.file_name());
        self.notes.push(Note { part, kind, text });
    }

    /// Notes that something about a part went wrong.
    pub(crate) fn complain(&mut self, part: Part, text: String) {
        let text = format!("{}: {text}", part.file_name());
        self.notes.push(Note { part, kind: NoteKind::Failed, text });
    }
}

/// The programs whose output is a part as it stands.
const COMMANDS: [(Part, &str, &[&str]); 9] = [
    (Part::Nft, "nft", &["-j", "list", "ruleset"]),
    (Part::Ipset, "ipset", &["save"]),
    (Part::Addresses, "ip", &["-j", "-d", "addr"]),
    (Part::Routes4, "ip", &["-j", "route", "show", "table", "all"]),
    (Part::Routes6, "ip", &["-6", "-j", "route", "show", "table", "all"]),
    (Part::PolicyRules4, "ip", &["-j", "rule"]),
    (Part::PolicyRules6, "ip", &["-6", "-j", "rule"]),
    (Part::BridgeLinks, "bridge", &["-j", "-d", "link"]),
    (Part::Listeners, "ss", &["-Hlntup"]),
];

/// What of `docker inspect` is collected: an inspection in full holds the environment of every
/// container, and with it its passwords. The script of [`crate::SCRIPT`] uses the same words.
pub(crate) const CONTAINER_FORMAT: &str = concat!(
    r#"{"Id":{{json .Id}},"Name":{{json .Name}},"State":{"Running":{{json .State.Running}} },"#,
    r#""Config":{"Hostname":{{json .Config.Hostname}} },"#,
    r#""HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}},"#,
    r#""PortBindings":{{json .HostConfig.PortBindings}} },"#,
    r#""NetworkSettings":{{json .NetworkSettings}} }"#,
);

/// Collects what this host tells. A program that is missing, fails or hangs leaves its part out,
/// with a note.
#[must_use]
pub fn capture(conntrack: Conntrack) -> Capture {
    let mut capture = Capture::default();
    rules::capture_rules(Family::Ipv4, &mut capture);
    rules::capture_rules(Family::Ipv6, &mut capture);
    for (part, program, arguments) in COMMANDS {
        capture.add_command(part, program, arguments);
    }
    capture.parts.push((Part::Sysctl.file_name(), kernel::sysctls()));
    capture_docker(&mut capture);
    if conntrack == Conntrack::Include {
        capture.add_command(Part::Conntrack, "conntrack", &["-L", "-o", "extended"]);
    }
    let order = |name: &str| Part::ALL.iter().position(|part| part.file_name() == name);
    capture.parts.sort_by_key(|(name, _)| order(name));
    capture
}

fn capture_docker(capture: &mut Capture) {
    // One word about a missing program or a daemon that does not run is enough for both parts.
    if let Err(error) = command::run("docker", &["ps", "-q"]) {
        capture.leave_out(Part::DockerContainers, &error);
        return;
    }
    inspect_all(capture, Part::DockerNetworks, &["network", "ls", "-q"], &["network", "inspect"]);
    let inspect = ["inspect", "--type", "container", "--format", CONTAINER_FORMAT];
    inspect_all(capture, Part::DockerContainers, &["ps", "-aq", "--no-trunc"], &inspect);
}

/// Inspects everything that a list names, once more where one of them vanished in between.
fn inspect_all(capture: &mut Capture, part: Part, list: &[&str], inspect: &[&str]) {
    let once = || -> Result<Printed, CommandError> {
        let names = command::run("docker", list)?.text;
        let arguments: Vec<&str> = inspect.iter().copied().chain(names.lines()).collect();
        if arguments.len() == inspect.len() {
            return Ok(Printed { text: "[]\n".to_owned(), replaced: false });
        }
        let printed = command::run("docker", &arguments)?;
        Ok(Printed { text: as_array(&printed.text), ..printed })
    };
    let answer = match once() {
        Err(CommandError::Failed { .. }) => once(),
        answer => answer,
    };
    match answer {
        Ok(printed) => capture.add(part, printed),
        Err(error) => capture.leave_out(part, &error),
    }
}

/// A list of objects, one a line, as one JSON array; an array stays as it is.
fn as_array(printed: &str) -> String {
    if printed.trim_start().starts_with('[') {
        return printed.to_owned();
    }
    let objects: Vec<&str> = printed.lines().filter(|line| !line.trim().is_empty()).collect();
    format!("[{}]\n", objects.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_objects_become_an_array() {
        assert_eq!(as_array("{\"a\":1}\n{\"a\":2}\n"), "[{\"a\":1},\n{\"a\":2}]\n");
        assert_eq!(as_array("[]\n"), "[]\n");
    }

    #[test]
    fn a_missing_program_is_no_failure() {
        let mut capture = Capture::default();
        capture.add_command(Part::Ipset, "no-such-program-of-this-name", &[]);
        assert!(capture.parts.is_empty());
        let [note] = capture.notes.as_slice() else { panic!("{:?}", capture.notes) };
        assert_eq!(note.kind, NoteKind::NotInstalled);
        assert_eq!(
            note.text,
            "ipset-save is left out: `no-such-program-of-this-name` is not installed"
        );
    }
}
