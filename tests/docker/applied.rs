//! Plans in the kernel beside a real daemon: connections behave as the plan says, also after the
//! daemon was started anew, and as before once it is rolled back.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nattrace_apply::{
    Analysed, Edit, Holder, OWN_CHAIN, Op, Plan, PolicyText, Store, backend_name, digest, read_plan,
};
use nattrace_corpus::case::{ProbeProtocol, Sender};
use nattrace_parser::syntax::{Backend, Family, TableName};

use crate::namespace::{command_in, run};
use crate::probe::{Place, Question};
use crate::socket::Sightings;
use crate::world::{HOST, HOST_SECOND, INTERNET, World};

/// A machine whose plans are tried.
struct Trial<'a> {
    world: &'a World,
    seen: &'a Sightings,
    port: std::cell::Cell<u16>,
}

const POLICY: &str = "version = 1\n[[egress]]\nname = \"front wears .11\"\nfrom = \"net:front\"\n\
    to = \"internet\"\nsource = \"203.0.113.11\"\n";

impl Trial<'_> {
    /// What a connection comes to, and which source its other end saw.
    fn ask(&self, from: Place, to: &str) -> (String, Option<String>) {
        self.port.set(self.port.get() + 1);
        let to = to.parse().unwrap();
        let question = Question { what: "applied".into(), from, to, protocol: ProbeProtocol::Tcp };
        let flow = question.flow(self.port.get()).unwrap();
        let probe = question.ask(self.world, self.seen, 0, flow, true);
        (probe.result, probe.seen_src.map(|source| source.to_string()))
    }

    /// A container of `front` asks the internet.
    fn egress(&self) -> Option<String> {
        let containers = self.world.containers();
        let container = containers.into_iter().find(|one| one.name == "f1").unwrap();
        let place = Place {
            name: "f1".into(),
            namespace: container.namespace.clone(),
            kind: Sender::Container,
            bound: Vec::new(),
            container: Some(container),
        };
        let (outcome, source) = self.ask(place, &format!("{}:80", INTERNET[0]));
        assert_eq!(outcome, "connects");
        source
    }

    /// The internet asks for the published port.
    fn published(&self) -> String {
        let place = Place {
            name: "internet".into(),
            namespace: self.world.namespace("gw"),
            kind: Sender::Outside,
            bound: vec![INTERNET[0].parse().unwrap()],
            container: None,
        };
        self.ask(place, &format!("{}:8090", HOST[0])).0
    }

    fn plan(&self, edits: Vec<Edit>) -> Plan {
        let analysed = |store: Store| {
            let Store { family, backend } = store;
            let name = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
            let saved = self.world.on_host(&format!("{name}-{}-save", backend_name(backend)));
            Analysed { family, backend, digest: digest(&saved, family, backend) }
        };
        let mut plan = Plan::new(edits, Store::ALL.into_iter().map(analysed).collect());
        plan.policy = Some(PolicyText { name: "policy.toml".into(), text: POLICY.into() });
        plan.repairs = vec!["front wears .11".into()];
        plan
    }

    fn command(&self, words: &str) -> Command {
        let host = self.world.namespace("host");
        let mut command = command_in(&host, env!("CARGO_BIN_EXE_nattrace"));
        command.args(words.split_whitespace()).env("SSH_CONNECTION", "");
        command.env("DOCKER_HOST", format!("unix://{}", self.world.path("docker.sock").display()));
        command.env("NATTRACE_STATE_DIR", self.world.path("state"));
        command.env("NATTRACE_UNIT_DIR", self.world.path("units"));
        command
    }

    #[track_caller]
    fn nattrace(&self, words: &str) -> String {
        let ran = run(&mut self.command(words));
        assert!(ran.succeeded, "nattrace {words}: {}", ran.text);
        ran.text
    }

    /// Starts `apply`, and waits until it can be confirmed.
    fn apply(&self, plan: &Plan, words: &str) -> Child {
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
                panic!("{}", String::from_utf8_lossy(&output.stdout));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Applies and confirms.
    fn keep(&self, plan: &Plan, words: &str) {
        let mut child = self.apply(plan, words);
        self.nattrace(&format!("confirm {}", plan.id));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }

    fn restart(&self) {
        self.world.stop();
        self.world.start();
        self.world.quieten();
    }
}

fn edit(holder: Holder, chain: &str, op: Op, position: Option<u32>, rule: &str) -> Edit {
    Edit {
        family: Family::Ipv4,
        holder,
        chain: chain.into(),
        op,
        position,
        rule: rule.into(),
        replaces: None,
        because: "the policy".into(),
    }
}

/// The number of a rule in its chain, and the backend that holds it.
fn find(world: &World, chain: &str, rule: &str) -> (Backend, u32) {
    let version = world.on_host("iptables --version");
    let legacy = version.contains("legacy");
    let listed = world.on_host(&format!("iptables -t nat -S {chain}"));
    let rules = listed.lines().filter(|line| line.starts_with("-A"));
    let place = rules.into_iter().position(|line| line == rule).expect("docker made the rule");
    let backend = if legacy { Backend::Legacy } else { Backend::Nft };
    (backend, u32::try_from(place).unwrap() + 1)
}

/// What an own table and DOCKER-USER hold survives a restart of the daemon; a replaced rule of its
/// own comes back, and the unit of `--persist` replaces it again.
pub(crate) fn survives_the_daemon(world: &World, seen: &Sightings) {
    let trial = Trial { world, seen, port: std::cell::Cell::new(40_000) };
    let (first, second) = (Some(HOST[0].to_owned()), Some(HOST_SECOND.to_owned()));
    assert_eq!((trial.egress(), trial.published().as_str()), (first.clone(), "connects"));
    let masquerade = "-A POSTROUTING -s 172.28.1.0/24 ! -o br-front -j MASQUERADE";
    let (backend, number) = find(world, "POSTROUTING", masquerade);
    let before = rules(world);

    let snat = format!("ip saddr 172.28.1.0/24 oifname \"eth0\" counter snat to {HOST_SECOND}");
    let filter = Holder::Iptables(backend, TableName::Filter);
    let drop = "-A DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 8090 -j DROP";
    let plan = trial.plan(vec![
        edit(Holder::Own, OWN_CHAIN, Op::Append, None, &snat),
        edit(filter, "DOCKER-USER", Op::Insert, Some(1), drop),
    ]);
    let applied = trial.apply(&plan, "--confirm 120");
    assert_eq!((trial.egress(), trial.published().as_str()), (second.clone(), "timeout"));
    // Undone, everything is as it was; and once more, for good.
    trial.nattrace(&format!("rollback {}", plan.id));
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!(rules(world), before);
    assert_eq!((trial.egress(), trial.published().as_str()), (first.clone(), "connects"));
    trial.keep(&plan, "--confirm 120");
    trial.restart();
    assert_eq!((trial.egress(), trial.published().as_str()), (second.clone(), "timeout"));
    trial.nattrace(&format!("rollback {}", plan.id));
    assert_eq!((trial.egress(), trial.published().as_str()), (first.clone(), "connects"));

    // The same, found by nattrace itself.
    let folder = world.path("policy.toml");
    std::fs::write(&folder, POLICY).unwrap();
    let policy = folder.display();
    assert!(!run(&mut trial.command(&format!("check {policy}"))).succeeded);
    let path = world.path("found.json");
    trial.nattrace(&format!("fix {policy} --place nft --format plan -o {}", path.display()));
    let plan = read_plan(&std::fs::read_to_string(&path).unwrap()).unwrap();
    trial.keep(&plan, "--confirm 120");
    assert_eq!(trial.egress(), second);
    trial.restart();
    assert_eq!(trial.egress(), second);
    trial.nattrace(&format!("check {policy}"));
    trial.nattrace(&format!("rollback {}", plan.id));
    assert_eq!(trial.egress(), first);

    let nat = Holder::Iptables(backend, TableName::Nat);
    let rule =
        format!("-A POSTROUTING -s 172.28.1.0/24 ! -o br-front -j SNAT --to-source {HOST_SECOND}");
    let (_, number_now) = find(world, "POSTROUTING", masquerade);
    assert!(number_now > 0 && number > 0);
    let mut replace = edit(nat, "POSTROUTING", Op::Replace, Some(number_now), &rule);
    replace.replaces = Some(masquerade.into());
    let plan = trial.plan(vec![replace]);
    trial.keep(&plan, "--confirm 120 --persist");
    assert_eq!(trial.egress(), second);
    trial.restart();
    // The daemon misses its rule, and makes it again; then the unit runs behind it.
    assert!(world.on_host("iptables -t nat -S POSTROUTING").contains(masquerade));
    let unit = world.path("units").join(format!("nattrace-{}.service", plan.id));
    run_unit(&trial, unit);
    assert!(!world.on_host("iptables -t nat -S POSTROUTING").contains(masquerade));
    assert_eq!(trial.egress(), second);
    trial.nattrace("uninstall");
    assert_eq!(trial.egress(), first);
    assert!(!rules(world).contains("nattrace"));
}

/// Runs what systemd would run.
fn run_unit(trial: &Trial<'_>, unit: PathBuf) {
    let unit = std::fs::read_to_string(unit).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let (_, words) = line.split_once(' ').unwrap();
    trial.nattrace(words);
}

/// All rules, in order, without counters and comments.
fn rules(world: &World) -> String {
    let all =
        world.on_host("iptables-save; ip6tables-save; nft list tables | grep nattrace || true");
    let lines = all.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap_or(line).to_owned() + "\n").collect()
}
