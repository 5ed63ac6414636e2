//! A machine with a real daemon on which plans are tried: who gets through, with which source, and
//! nattrace in it.

use std::cell::Cell;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nattrace_apply::Plan;
use nattrace_corpus::case::{ProbeProtocol, Sender};

use crate::namespace::run;
use crate::probe::{Place, Question};
use crate::socket::Sightings;
use crate::world::{Container, HOST, INTERNET, PEER, World};

/// The machine.
pub(crate) struct Trial<'a> {
    pub(crate) world: &'a World,
    seen: &'a Sightings,
    containers: Vec<Container>,
    port: Cell<u16>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(world: &'a World, seen: &'a Sightings) -> Self {
        Self { world, seen, containers: world.containers(), port: Cell::new(40_000) }
    }

    fn place(&self, name: &str) -> Place {
        let (machine, kind, bound) = match name {
            "internet" => ("gw", Sender::Outside, INTERNET.to_vec()),
            "peer" => ("peer", Sender::Outside, PEER.to_vec()),
            "host" => ("host", Sender::Host, HOST.to_vec()),
            _ => {
                let container = self.containers.iter().find(|one| one.name == name);
                let container = container.expect("such a container runs").clone();
                return Place {
                    name: name.into(),
                    namespace: container.namespace.clone(),
                    kind: Sender::Container,
                    bound: Vec::new(),
                    container: Some(container),
                };
            }
        };
        Place {
            name: name.into(),
            namespace: self.world.namespace(machine),
            kind,
            bound: bound.into_iter().map(|address| address.parse().unwrap()).collect(),
            container: None,
        }
    }

    /// What a connection comes to, and which source its other end saw: `connects as 203.0.113.11`;
    /// and who that is, where it is asked: `reaches web as 198.51.100.7`.
    /// One that should time out is waited for a shorter time.
    pub(crate) fn ask(&self, from: &str, to: &str, expected: &str) -> String {
        self.port.set(self.port.get() + 1);
        let (from, to) = (self.place(from), to.parse().unwrap());
        let question = Question { what: "applied".into(), from, to, protocol: ProbeProtocol::Tcp };
        let flow = question.flow(self.port.get()).unwrap();
        let answered = expected != "timeout";
        let probe = question.ask(self.world, self.seen, 0, flow, answered);
        match probe.seen_src {
            Some(source) if probe.result == "connects" => match probe.answered_by {
                Some(who) if expected.starts_with("reaches ") => {
                    format!("reaches {who} as {source}")
                }
                _ => format!("connects as {source}"),
            },
            _ => probe.result,
        }
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = self.world.command(env!("CARGO_BIN_EXE_nattrace"));
        command.args(words.split_whitespace()).env("SSH_CONNECTION", "");
        command.env("DOCKER_HOST", format!("unix://{}", self.world.path("docker.sock").display()));
        command.env("NATTRACE_STATE_DIR", self.world.path("state"));
        command.env("NATTRACE_UNIT_DIR", self.world.path("units"));
        command
    }

    #[track_caller]
    pub(crate) fn nattrace(&self, words: &str) -> String {
        let ran = run(&mut self.command(words));
        assert!(ran.succeeded, "nattrace {words}: {}", ran.text);
        ran.text
    }

    /// Starts `apply`, and waits until it can be confirmed.
    #[track_caller]
    pub(crate) fn apply(&self, plan: &Plan, words: &str) -> Child {
        let path = self.world.path(&format!("{}.json", plan.id));
        std::fs::write(&path, plan.to_json()).unwrap();
        let mut command = self.command(&format!("apply {} {words}", path.display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let start = Instant::now();
        loop {
            let journal = std::fs::read_to_string(self.world.path("state/pending.json"));
            if journal.is_ok_and(|journal| journal.contains("\"waiting\"")) {
                return child;
            }
            if child.try_wait().unwrap().is_some() || start.elapsed() > Duration::from_secs(90) {
                drop(child.kill());
                let output = child.wait_with_output().unwrap();
                let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                panic!("{}{}", said(&output.stdout), said(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Applies and confirms.
    #[track_caller]
    pub(crate) fn keep(&self, plan: &Plan, words: &str) {
        let mut child = self.apply(plan, words);
        self.nattrace(&format!("confirm {}", plan.id));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }

    pub(crate) fn restart(&self) {
        self.world.stop();
        self.world.start();
        self.world.quieten();
    }

    /// Runs what systemd would run behind the daemon.
    #[track_caller]
    pub(crate) fn run_unit(&self, id: &str) {
        let unit = self.world.path("units").join(format!("nattrace-{id}.service"));
        let unit = std::fs::read_to_string(unit).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let (program, words) = line.split_once(' ').unwrap();
        assert!(Path::new(program).is_file(), "{line}");
        self.nattrace(words);
    }

    /// All rules, in order, without counters and comments.
    pub(crate) fn rules(&self) -> String {
        let all = "iptables-save; ip6tables-save; nft list tables | grep nattrace || true";
        let all = self.world.on_host(all);
        let lines = all.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(" [").next().unwrap_or(line).to_owned() + "\n").collect()
    }
}
