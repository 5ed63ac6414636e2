//! Programs and built-in commands of a shell, as far as they matter to rules.

use std::borrow::Cow;

use super::{Flow, Script, Status, Value};
use crate::diagnostic::Diagnostic;
use crate::recognize::{Program, Tool, program};
use crate::replay::{Field, changes_rules};
use crate::shell::{Command, Kind};
use crate::span::Span;
use crate::syntax::Family;
use crate::words::{Word, clip};

/// Programs that leave rules alone, and succeed.
const HARMLESS: [&str; 44] = [
    "echo",
    "printf",
    "modprobe",
    "sysctl",
    "sleep",
    ":",
    "true",
    "logger",
    "tc",
    "chmod",
    "chown",
    "mkdir",
    "touch",
    "rm",
    "cp",
    "mv",
    "cat",
    "date",
    "lsmod",
    "depmod",
    "insmod",
    "rmmod",
    "clear",
    "trap",
    "cd",
    "umask",
    "wait",
    "tee",
    "sync",
    "ls",
    "hostname",
    "set",
    "shopt",
    "ulimit",
    "id",
    "tput",
    "alias",
    "conntrack",
    "ip",
    "route",
    "ifconfig",
    "arp",
    "ebtables",
    "arptables",
];

/// Programs of whose status nothing is known, and that leave rules alone.
const UNCERTAIN: [&str; 20] = [
    "grep", "egrep", "fgrep", "awk", "sed", "cut", "sort", "head", "tail", "wc", "tr", "ping",
    "find", "pgrep", "pidof", "host", "dig", "getent", "uname", "curl",
];

/// Programs that change rules of their own.
const RULERS: [&str; 16] = [
    "nft",
    "ufw",
    "firewall-cmd",
    "docker",
    "docker-compose",
    "podman",
    "ipvsadm",
    "fail2ban-client",
    "csf",
    "shorewall",
    "ferm",
    "virsh",
    "wg-quick",
    "tailscale",
    "iptables-apply",
    "kubectl",
];

/// What runs the command behind it.
const WRAPPERS: [&str; 12] = [
    "sudo", "doas", "exec", "nice", "ionice", "time", "env", "command", "nohup", "builtin",
    "chronic", "run",
];

impl<'a> Script<'_, 'a> {
    /// Carries out a program with its arguments.
    pub(super) fn program(&mut self, command: &Command<'a>, fields: &[Field<'a>]) -> Status {
        let Some((first, arguments)) = fields.split_first() else { return Status::Yes };
        let written = first.word.text.clone();
        if !first.known {
            return self.nameless(command, first, arguments);
        }
        if let Some(body) = self.functions.get(written.as_ref()).cloned() {
            return self.call(&body, arguments);
        }
        let name = written.rsplit('/').next().unwrap_or(&written);
        if let Some(program) = program(&written) {
            return self.tool(command, program, first, arguments);
        }
        match name {
            "false" => Status::No,
            "test" | "[" | "[[" => self.test(name, arguments),
            "exit" => self.leave(command.span, Flow::Exit),
            "return" => {
                let status = arguments.first().map(|field| field.word.text.as_ref());
                let status = status.map_or(Status::Yes, |code| Status::of(code == "0"));
                self.leave(command.span, Flow::Return);
                status
            }
            "break" => self.leave(command.span, Flow::Break),
            "continue" => self.leave(command.span, Flow::Continue),
            "export" | "readonly" | "local" | "declare" | "typeset" => self.declare(arguments),
            "unset" => {
                for field in arguments {
                    self.variables.remove(field.word.text.as_ref());
                }
                Status::Yes
            }
            "shift" => self.shift(arguments),
            "set" if arguments.first().is_some_and(|field| field.word.text == "--") => {
                let words = arguments.iter().skip(1);
                let words: Vec<String> =
                    words.map(|field| field.word.text.clone().into()).collect();
                match self.parameters.last_mut() {
                    Some(parameters) => *parameters = words,
                    None => self.parameters.push(words),
                }
                Status::Yes
            }
            "read" => self.read(arguments),
            "eval" => self.eval(command, arguments),
            "source" | "." => self.unread(command.span, arguments),
            "which" | "type" | "hash" => self.known_program(arguments),
            "command" if arguments.first().is_some_and(|field| field.word.text == "-v") => {
                self.known_program(arguments.get(1..).unwrap_or_default())
            }
            _ if WRAPPERS.contains(&name) => self.wrapper(command, arguments),
            _ => self.other(command, name, arguments),
        }
    }

    /// A program whose name is not known: `$IPT -A …` of a pasted part of a script.
    fn nameless(
        &mut self,
        command: &Command<'a>,
        first: &Field<'a>,
        arguments: &[Field<'a>],
    ) -> Status {
        let name = first.word.text.to_ascii_lowercase();
        let name = name.trim_matches(['$', '{', '}', '"']);
        let looks = name.contains("ipt") || name.contains("ip6t") || name.contains("tables");
        let gives = arguments.iter().any(|field| changes_rules(&field.word.text));
        if looks && gives {
            let family = if name.contains('6') { Family::Ipv6 } else { Family::Ipv4 };
            let tool = match family {
                Family::Ipv4 => "iptables",
                Family::Ipv6 => "ip6tables",
            };
            if self.told.insert(Span::new(0, 0)) {
                let message = format!("`{}` is taken for {tool}", clip(&first.word.text));
                self.diagnostics.push(Diagnostic::note(
                    "program-assumed",
                    message,
                    first.word.span,
                ));
            }
            let program = Program { family, backend: None, tool: Tool::Rules };
            return self.tool(command, program, first, arguments);
        }
        let message = format!("which program `{}` is can't be known", clip(&first.word.text));
        let diagnostic = match gives {
            true => Diagnostic::error("undetermined-command", message, first.word.span),
            false => Diagnostic::warning("unknown-command", message, first.word.span),
        };
        self.diagnostics.push(diagnostic);
        Status::Unknown
    }

    fn tool(
        &mut self,
        command: &Command<'a>,
        program: Program,
        first: &Field<'a>,
        arguments: &[Field<'a>],
    ) -> Status {
        match program.tool {
            Tool::Save => Status::Yes,
            Tool::Restore => self.restore(command, program, arguments),
            Tool::Rules => {
                let (family, backend) = self.kernel(program);
                // From the program on, so that `sudo` and tests before it are no part of a rule.
                let start = first.word.span.range().start;
                let end = command.span.range().end.max(start);
                let at = self.at(Span::new(start, end));
                let mut found = Vec::new();
                let outcome = self.replay.set(family, backend).run(arguments, &at, &mut found);
                self.outcome(outcome, found)
            }
        }
    }

    /// Leaves a loop, a function or the script; where nobody knows whether it does, it goes on.
    fn leave(&mut self, span: Span, flow: Flow) -> Status {
        if self.doubts.is_empty() {
            self.flow = flow;
        } else if self.told.insert(span) {
            let message = "the script is taken to go on here";
            let help = "whether it ends depends on what can't be known";
            self.diagnostics.push(Diagnostic::note("taken-to-go-on", message, span).help(help));
        }
        Status::Yes
    }

    fn declare(&mut self, arguments: &[Field<'a>]) -> Status {
        for field in arguments {
            let Some((name, value)) = field.word.text.split_once('=') else { continue };
            let value = match field.known {
                true => Value::Text(value.to_owned()),
                false => Value::Unknown,
            };
            self.variables.insert(name.to_owned(), value);
        }
        Status::Yes
    }

    fn shift(&mut self, arguments: &[Field<'a>]) -> Status {
        let count = arguments.first().and_then(|field| field.word.text.parse().ok()).unwrap_or(1);
        let Some(parameters) = self.parameters.last_mut() else { return Status::No };
        if count > parameters.len() {
            return Status::No;
        }
        parameters.drain(..count);
        Status::Yes
    }

    /// `read NAMES`.
    fn read(&mut self, arguments: &[Field<'a>]) -> Status {
        let names: Vec<String> = arguments
            .iter()
            .map(|field| field.word.text.clone().into_owned())
            .filter(|name| !name.starts_with('-'))
            .collect();
        let Some(lines) = self.feed.last_mut() else {
            for name in names {
                self.variables.insert(name, Value::Unknown);
            }
            return Status::Unknown;
        };
        let line = lines.pop();
        let status = Status::of(line.is_some());
        let line = line.unwrap_or_default();
        let unknown = line.contains(crate::replay::UNKNOWN);
        let mut rest = line.trim();
        let count = names.len();
        for (index, name) in names.into_iter().enumerate() {
            let (word, behind) = match rest.split_once(|char: char| char.is_ascii_whitespace()) {
                Some((word, behind)) if index + 1 < count => (word, behind.trim_start()),
                _ => (rest, ""),
            };
            let value = if unknown { Value::Unknown } else { Value::Text(word.to_owned()) };
            self.variables.insert(name, value);
            rest = behind;
        }
        status
    }

    /// `eval` of plain words.
    fn eval(&mut self, command: &Command<'a>, arguments: &[Field<'a>]) -> Status {
        let plain =
            |text: &str| !text.contains(['\'', '"', '$', '`', ';', '|', '&', '<', '>', '\\']);
        if arguments.iter().all(|field| field.known && plain(&field.word.text)) {
            let words = arguments.iter().flat_map(|field| {
                field.word.text.split_ascii_whitespace().map(|text| Field {
                    word: Word { text: Cow::Owned(text.to_owned()), ..field.word.clone() },
                    known: true,
                })
            });
            let words: Vec<Field<'a>> = words.collect();
            return self.program(command, &words);
        }
        let message = "what `eval` carries out can't be known";
        let rules = arguments.iter().any(|field| field.word.text.contains("tables"));
        self.diagnostics.push(match rules {
            true => Diagnostic::error("undetermined-command", message, command.span),
            false => Diagnostic::warning("unknown-command", message, command.span),
        });
        Status::Unknown
    }

    /// A file that is read into the script.
    fn unread(&mut self, span: Span, arguments: &[Field<'a>]) -> Status {
        let name = arguments.first().map_or("", |field| field.word.text.as_ref());
        let message = format!("the file `{}` is not read", clip(name));
        self.diagnostics.push(
            Diagnostic::warning("unread-file", message, span)
                .help("what it defines or changes is not known"),
        );
        Status::Unknown
    }

    /// Whether a program is there; iptables is.
    fn known_program(&mut self, arguments: &[Field<'a>]) -> Status {
        match arguments.first() {
            Some(field) if program(&field.word.text).is_some() => Status::Yes,
            _ => Status::Unknown,
        }
    }

    /// `sudo COMMAND` and its like.
    fn wrapper(&mut self, command: &Command<'a>, arguments: &[Field<'a>]) -> Status {
        let mut at = 0;
        while let Some(field) = arguments.get(at) {
            let text = field.word.text.as_ref();
            let takes = matches!(text, "-u" | "-g" | "-n" | "-c" | "-p") && program(text).is_none();
            if text.starts_with('-') && text != "-" {
                let next = arguments.get(at + 1).map(|field| field.word.text.as_ref());
                // `sudo -n iptables`: the option takes nothing.
                let skips = takes && next.is_some_and(|next| program(next).is_none());
                at += if skips { 2 } else { 1 };
            } else if text.contains('=') && !text.starts_with('/') {
                at += 1;
            } else {
                break;
            }
        }
        self.program(command, arguments.get(at..).unwrap_or_default())
    }

    /// A program that is none of the known.
    fn other(&mut self, command: &Command<'a>, name: &str, arguments: &[Field<'a>]) -> Status {
        let text = |index: usize| arguments.get(index).map_or("", |field| field.word.text.as_ref());
        let tool = arguments.iter().position(|field| {
            program(&field.word.text).is_some_and(|program| program.tool == Tool::Rules)
        });
        let behind = tool.and_then(|at| arguments.get(at + 1..)).unwrap_or_default();
        let rules = behind.iter().any(|field| changes_rules(&field.word.text));
        let elsewhere = matches!(
            name,
            "nsenter"
                | "docker"
                | "podman"
                | "ssh"
                | "chroot"
                | "lxc-attach"
                | "kubectl"
                | "unshare"
                | "machinectl"
                | "vagrant"
        ) || name == "ip" && matches!(text(0), "netns" | "-n" | "-netns" | "vrf");
        if elsewhere && rules {
            let message =
                format!("`{}` runs this elsewhere, and its rules are left out", clip(name));
            self.diagnostics.push(Diagnostic::warning("runs-elsewhere", message, command.span));
            return Status::Unknown;
        }
        if let (Some(at), true) = (tool, rules) {
            // Whatever it is, it carries out what stands behind it; or it is prose.
            return self.program(command, arguments.get(at..).unwrap_or_default());
        }
        if HARMLESS.contains(&name) {
            return Status::Yes;
        }
        if UNCERTAIN.contains(&name) {
            return Status::Unknown;
        }
        let service = matches!(name, "systemctl" | "service" | "rc-service" | "invoke-rc.d");
        let ruler = RULERS.contains(&name)
            || service
                && arguments.iter().any(|field| {
                    let text = field.word.text.as_ref();
                    [
                        "docker", "firewall", "ufw", "fail2ban", "nftables", "iptables", "kube",
                        "libvirt",
                    ]
                    .iter()
                    .any(|owner| text.contains(owner))
                })
                && !arguments.iter().any(|field| {
                    matches!(field.word.text.as_ref(), "save" | "status" | "is-active" | "enable")
                });
        if name == "ipset"
            || matches!(name, "netfilter-persistent" | "invoke-rc.d")
            || service && !ruler
        {
            return Status::Yes;
        }
        if ruler {
            let message = format!("what `{}` does to rules is not followed", clip(name));
            self.diagnostics.push(
                Diagnostic::warning("unknown-command", message, command.span)
                    .help("give the rules as the kernel has them: `iptables-save`"),
            );
            return Status::Unknown;
        }
        self.foreign(command, name);
        Status::Unknown
    }

    /// Says of a word that no program is known for how it was taken.
    fn foreign(&mut self, command: &Command<'a>, name: &str) {
        let line = command.span.slice(self.text).lines().next().unwrap_or_default();
        let simple = matches!(command.kind, Kind::Simple { .. });
        let speaks = name.starts_with(|char: char| char.is_uppercase() || !char.is_ascii())
            || line.trim_end().ends_with(['.', ',', ':', '?', '!'])
            || name.ends_with([',', ':', '.']);
        let end = command.span.range().start + line.len();
        let span = Span::new(command.span.range().start, end);
        if simple && speaks && !self.text.starts_with("#!") {
            let message = format!("`{}` is taken for prose", clip(line));
            self.diagnostics.push(Diagnostic::note("ignored-text", message, span));
        } else {
            let message =
                format!("`{}` is not followed: it is taken to leave rules as they are", clip(name));
            self.diagnostics.push(Diagnostic::note("unknown-command", message, span));
        }
    }
}
