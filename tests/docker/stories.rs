//! The stories that nattrace began with and the states that people's hands leave, from a policy that
//! fails to connections that behave, and on through a restart of the daemon: `stories.toml`.

use std::cell::Cell;

use nattrace_apply::read_plan;
use nattrace_corpus::case::cases_dir;
use nattrace_parser::syntax::Backend;
use serde::Deserialize;
use serde_json::Value;

use crate::Saved;
use crate::namespace::run;
use crate::release::Release;
use crate::socket::Sightings;
use crate::trial::Trial;
use crate::world::World;

pub(crate) const NETWORKS: [&str; 4] = [
    "--subnet 172.28.1.0/24 -o com.docker.network.bridge.name=br-pub \
     -o com.docker.network.bridge.host_binding_ipv4=203.0.113.11 pub",
    "--subnet 172.28.2.0/24 -o com.docker.network.bridge.name=br-back back",
    "--subnet 172.28.5.0/24 --ipv6 --subnet fd00:5::/64 -o com.docker.network.bridge.name=br-six net6",
    "--subnet 172.28.6.0/24 -o com.docker.network.bridge.enable_ip_masquerade=false plain",
];

pub(crate) const CONTAINERS: [&str; 8] = [
    "web -p 8080:80",
    "c2",
    "app --network pub",
    "shop --network pub -p 8090:80",
    "db --network back",
    "six --network net6 -p 8200:80",
    "raw --network plain",
    "own --network pub -p 127.0.0.1:8082:80",
];

/// The second uplink, behind which the peer has a database. The peer leads to the internet too, and
/// drops what comes with a source that it did not give, as providers do.
const UPLINK: &str = "ip link add eth1 type veth peer name eth1 netns PEER
    ip addr add 10.20.0.5/24 dev eth1
    ip link set eth1 up
    ip -n PEER addr add 10.20.0.7/24 dev eth1
    ip -n PEER link set eth1 up
    ip -n PEER route add 172.28.2.0/24 via 10.20.0.5
    ip netns exec PEER sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth1.rp_filter=1
    ip -n GATEWAY route add 10.20.0.0/24 via 203.0.113.20";

#[derive(Deserialize)]
struct Stories {
    story: Vec<Story>,
}

/// One state of the host, and how it goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    about: String,
    #[serde(default = "nft")]
    backend: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    lines: String,
    /// The case of the corpus that has the rules of ufw.
    ufw: Option<String>,
    /// A release of Docker that is not here, whose rules are.
    release: Option<Release>,
    policy: String,
    /// Words for `nattrace fix`.
    #[serde(default)]
    fix: String,
    /// The commands that are found, where they are told.
    #[serde(default)]
    commands: Vec<String>,
    /// What is said about how long it lasts.
    promise: Option<String>,
    /// What stands in the way where no edit of rules mends it.
    obstacle: Option<String>,
    /// What a hand does about that.
    #[serde(default)]
    by_hand: String,
    #[serde(default)]
    before_restart: String,
    #[serde(default)]
    persists: bool,
    /// The arguments of docker that mend what a start of the daemon did.
    mended_by: Option<String>,
    /// What makes addresses and routes as they were before.
    #[serde(default)]
    undo: String,
    /// Who, whom, and what comes of it each time.
    ask: Vec<Vec<String>>,
    /// The plan that was applied.
    #[serde(skip)]
    kept: Cell<String>,
}

fn nft() -> String {
    "nft".to_owned()
}

/// When somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    Applied,
    Restarted,
    /// The unit of `--persist` ran, or what else mends it.
    Mended,
}

impl Story {
    /// The end of the line that a case of the corpus has about ufw.
    fn ufw_rules(&self) -> Option<String> {
        let path = cases_dir().join(self.ufw.as_ref()?).join("iptables-save");
        let saved = std::fs::read_to_string(path).unwrap();
        let filter = saved.split("*filter").nth(1).unwrap().split("COMMIT").next().unwrap();
        let lines = filter.lines().map(|line| line.split_once("] ").map_or(line, |(_, rule)| rule));
        let ufw: Vec<&str> = lines.filter(|line| line.contains("ufw-")).collect();
        Some(format!("*filter\n:INPUT DROP [0:0]\n{}\nCOMMIT\n", ufw.join("\n")))
    }

    fn prepare(&self, trial: &Trial<'_>) {
        if let Some(rules) = self.ufw_rules() {
            let path = trial.world.path("ufw");
            std::fs::write(&path, rules).unwrap();
            trial.world.on_host(&format!("iptables-restore --noflush {}", path.display()));
        }
        if let Some(release) = &self.release {
            release.prepare(trial.world);
        }
        trial.world.on_host(&self.lines);
    }

    fn asked(&self, trial: &Trial<'_>, moment: Moment) -> Result<usize, String> {
        for line in &self.ask {
            let (from, to) = (&line[0], &line[1]);
            let mut words = line[2..].iter().take(moment as usize + 1);
            let expected = words.rfind(|word| !word.is_empty()).unwrap();
            let found = trial.ask(from, to, expected);
            let agrees = match expected.strip_suffix('*') {
                Some(start) => found.starts_with(start),
                None => found == *expected,
            };
            if !agrees {
                let rules = trial.world.on_host("iptables-save");
                let what = format!("{from} to {to}: {found}, expected {expected}");
                return Err(format!("{} ({moment:?}): {what}\n{rules}", self.about));
            }
        }
        Ok(self.ask.len())
    }

    fn ensure(&self, holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
        if holds { Ok(()) } else { Err(format!("{}: {}", self.about, otherwise())) }
    }

    /// What `fix` finds, which is told in the output too.
    fn found(&self, trial: &Trial<'_>, policy: &str) -> Result<Value, String> {
        let Self { fix, about, .. } = self;
        let found = run(&mut trial.command(&format!("fix {policy} {fix} --json"))).text;
        let found: Value = serde_json::from_str(&found).map_err(|_| found)?;
        println!("{about}");
        for edit in entries(&found, "edits") {
            println!("  {} {} {}", edit["table"], edit["op"], edit["rule"]);
        }
        for setting in entries(&found, "settings") {
            println!("  {}", setting["command"]);
        }
        let said = |key: &str, start: &str| {
            let mut lines = entries(&found, key).filter_map(Value::as_str);
            lines.any(|line| line.starts_with(start))
        };
        if let Some(promise) = &self.promise {
            self.ensure(said("lasting", promise), || format!("{:#}", found["lasting"]))?;
        }
        let verified = self.obstacle.is_none();
        self.ensure(found["verified"] == verified, || {
            format!("found {:#}, {:#}", found["edits"], found["nearest"])
        })?;
        if !self.commands.is_empty() {
            let commands = trial.nattrace(&format!("fix {policy} {fix} --format commands"));
            self.ensure(commands.lines().eq(&self.commands), || format!("found {commands}"))?;
        }
        Ok(found)
    }

    /// Where no edit mends it: what stands in the way is said, and a hand does what it takes.
    fn by_hand(&self, trial: &Trial<'_>, found: &Value, obstacle: &str) -> Result<(), String> {
        let said = entries(found, "obstacles").any(|one| one.to_string().contains(obstacle));
        self.ensure(said, || format!("obstacles {:#}", found["obstacles"]))?;
        trial.world.on_host(&self.by_hand);
        Ok(())
    }

    /// The plan is applied, rolled back, after which everything is as it was, and applied for good;
    /// how many connections were made.
    fn applied(&self, trial: &Trial<'_>, policy: &str) -> Result<usize, String> {
        let plan = trial.nattrace(&format!("fix {policy} {} --format plan", self.fix));
        let plan = read_plan(&plan).map_err(|faults| format!("{}: {faults:?}", self.about))?;
        let before = trial.rules();
        let applied = trial.apply(&plan, "--confirm 120");
        let with_plan = self.asked(trial, Moment::Applied);
        trial.nattrace(&format!("rollback {}", plan.id));
        let status = applied.wait_with_output().unwrap().status.code();
        let mut asked = with_plan?;
        self.ensure(status == Some(4), || format!("rolled back with {status:?}"))?;
        let after = trial.rules();
        self.ensure(after == before, || format!("rolled back to {after}"))?;
        asked += self.asked(trial, Moment::Before)?;
        trial.keep(&plan, if self.persists { "--persist" } else { "" });
        self.kept.set(plan.id);
        Ok(asked)
    }

    /// The whole story; how many connections were made.
    fn tell(&self, trial: &Trial<'_>) -> Result<usize, String> {
        self.prepare(trial);
        let path = trial.world.path("policy.toml");
        std::fs::write(&path, &self.policy).unwrap();
        let policy = path.display().to_string();
        let mut asked = self.asked(trial, Moment::Before)?;
        let holds =
            |trial: &Trial<'_>| run(&mut trial.command(&format!("check {policy}"))).succeeded;
        self.ensure(!holds(trial), || "the policy holds already".into())?;
        let found = self.found(trial, &policy)?;
        if let Some(obstacle) = &self.obstacle {
            self.by_hand(trial, &found, obstacle)?;
        }
        for setting in entries(&found, "settings") {
            trial.world.on_host(setting["command"].as_str().unwrap());
        }
        if entries(&found, "edits").next().is_some() {
            asked += self.applied(trial, &policy)?;
        }
        asked += self.asked(trial, Moment::Applied)?;
        self.ensure(holds(trial), || "the policy does not hold with the plan".into())?;
        trial.world.on_host(&self.before_restart);
        trial.restart();
        if let Some(release) = &self.release {
            release.starts(trial.world);
        }
        asked += self.asked(trial, Moment::Restarted)?;
        if self.persists || self.mended_by.is_some() {
            self.ensure(!holds(trial), || "the daemon was to undo it".into())?;
            match &self.mended_by {
                Some(arguments) => drop(trial.world.docker_run(arguments)),
                None => trial.run_unit(&self.kept.take()),
            }
            asked += self.asked(trial, Moment::Mended)?;
        }
        self.ensure(holds(trial), || "the policy does not hold any more".into())?;
        trial.nattrace("uninstall");
        self.ensure(!trial.rules().contains("nattrace"), || "something stays behind".into())?;
        Ok(asked)
    }
}

/// The entries of a list in JSON.
fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Every so many stories, from a number on.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) number: usize,
    pub(crate) of: usize,
}

/// Tells stories of a backend on one host, each from what Docker made.
pub(crate) fn are_told(world: &World, seen: &Sightings, backend: Backend, part: Part) {
    let name = |machine| world.namespace(machine).file_name().unwrap().display().to_string();
    world.on_host(&UPLINK.replace("PEER", &name("peer")).replace("GATEWAY", &name("gw")));
    let trial = Trial::new(world, seen);
    let text = std::fs::read_to_string("tests/docker/stories.toml").unwrap();
    let stories: Stories = toml::from_str(&text).unwrap();
    let saved = Saved::of(world);
    let options = world.options();
    let (mut asked, mut faults) = (0, Vec::new());
    let backend = nattrace_apply::backend_name(backend);
    let only = std::env::var("NATTRACE_STORY").unwrap_or_default();
    let mut stories = stories.story;
    stories.retain(|story| story.backend == backend && story.about.contains(&only));
    let stories: Vec<Story> = stories.into_iter().skip(part.number).step_by(part.of).collect();
    for story in &stories {
        let started = std::time::Instant::now();
        if !story.options.is_empty() {
            world.restart_with(story.options.clone());
        }
        match story.tell(&trial) {
            Ok(number) => asked += number,
            Err(fault) => faults.push(fault),
        }
        drop(run(&mut trial.command("uninstall")));
        drop(run(world.command("sh").args(["-c", &story.undo])));
        if !story.options.is_empty() {
            world.restart_with(options.clone());
        }
        saved.restore(world);
        println!("  {:.1} s", started.elapsed().as_secs_f32());
    }
    println!("{backend}: {} stories, {asked} real connections", stories.len());
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}
