//! `apply` is killed: at every named point, and at random instants. Whatever dies, the rules are the
//! old ones or the new ones, or a watchdog brings the old ones back in time, and no rule of others
//! is lost or doubled.
//!
//! `NATTRACE_FAULT_KILLS` is the number of random instants (90 by default), `NATTRACE_FAULT_SEED`
//! what they are drawn from.

use std::fs;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nattrace_apply::{FAULT_POINTS, Plan};
use nattrace_parser::syntax::Backend;

use crate::host::{Host, kill, text};

/// How long the last process may take to bring back the old rules.
const IN_TIME: u64 = 15;

/// How many processes were killed, over all tests.
static KILLS: AtomicU64 = AtomicU64::new(0);

/// A host with a plan, used again and again: every time it has to come back to where it was.
struct Range {
    host: Host,
    plan: Plan,
    old: String,
    new: String,
    draw: fastrand::Rng,
}

impl Range {
    fn new(backend: Backend, seed: u64) -> Option<Self> {
        let host = Host::new(backend)?;
        let plan = host.plan();
        let old = host.rules();
        let path = host.write(&plan);
        host.run(&format!("apply {} --confirm 0", path.display()), 0);
        let new = host.rules();
        assert_ne!(new, old);
        host.run(&format!("rollback {}", plan.id), 0);
        assert_eq!(host.rules(), old);
        Some(Self { host, plan, old, new, draw: fastrand::Rng::with_seed(seed) })
    }

    fn start(&self, fault: &str) -> Child {
        let path = self.host.path(&format!("{}.json", self.plan.id));
        let mut command = self.host.nattrace(&format!("apply {} --confirm 1", path.display()));
        command.env("NATTRACE_FAULT_REACHED", self.host.path("reached"));
        command.env("NATTRACE_FAULT", fault).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// What is there once nobody is at work any more.
    #[track_caller]
    fn settle(&self, what: &str) {
        let is_quiet = || !self.host.is_pending() && self.host.watchdogs().is_empty();
        let waits = || is_quiet() || self.host.watchdogs().is_empty();
        assert!(self.host.wait(IN_TIME, waits), "{what}: the watchdog does not end");
        if self.host.is_pending() {
            // Both died. The next command finishes it, or starts a watchdog that does.
            let finished = || {
                self.host.run("status", 0);
                is_quiet()
            };
            assert!(self.host.wait(IN_TIME, finished), "{what}: nobody finished it");
        }
    }

    /// The law for a transaction that nobody confirmed.
    #[track_caller]
    fn is_as_before(&self, what: &str) {
        self.settle(what);
        let now = self.host.rules();
        assert_eq!(now, self.old, "{what}");
    }
}

fn seed() -> u64 {
    std::env::var("NATTRACE_FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn was_killed(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

fn count(kills: u64) {
    KILLS.fetch_add(kills, Ordering::Relaxed);
}

#[test]
fn killed_at_every_point() {
    let kinds = [Backend::Nft, Backend::Legacy];
    thread::scope(|scope| {
        for backend in kinds {
            scope.spawn(move || every_point(backend));
        }
    });
    println!("{} processes were killed so far", KILLS.load(Ordering::Relaxed));
}

fn every_point(backend: Backend) {
    let Some(range) = Range::new(backend, seed()) else { return };
    let mut reached = 0;
    for point in FAULT_POINTS.iter().filter(|point| !point.starts_with("confirm")) {
        let what = format!("{backend:?}, killed at `{point}`");
        let reached_file = range.host.path("reached");
        drop(fs::remove_file(&reached_file));
        range.start(point).wait().unwrap();
        range.is_as_before(&what);
        assert!(reached_file.exists(), "{what}: nobody came there");
        reached += 1;
        count(1);
    }
    // The one who confirms dies: it is confirmed or not, and not in between.
    for point in FAULT_POINTS.iter().filter(|point| point.starts_with("confirm")) {
        let applied = range.host.apply(&range.plan, "--confirm 3");
        let mut confirm = range.host.nattrace(&format!("confirm {}", range.plan.id));
        let status = confirm.env("NATTRACE_FAULT", point).output().unwrap().status;
        let what = format!("{backend:?}, the confirmation killed at `{point}`");
        assert!(was_killed(status), "{what}: it was not");
        assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0), "{what}");
        range.host.run("status", 0);
        assert_eq!(range.host.rules(), range.new, "{what}");
        // Taking it back dies too, and the next try finishes.
        let mut rollback = range.host.nattrace(&format!("rollback {}", range.plan.id));
        let undo = if *point == "confirm-kept" { "undone-one" } else { "undone-all" };
        let status = rollback.env("NATTRACE_FAULT", undo).output().unwrap().status;
        assert!(was_killed(status), "{what}");
        range.host.run(&format!("rollback {}", range.plan.id), 0);
        range.is_as_before(&what);
        reached += 2;
        count(2);
    }
    println!("{backend:?}: killed at {reached} points");
}

#[test]
fn killed_at_random_instants() {
    let kills: u64 = std::env::var("NATTRACE_FAULT_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(90);
    let workers = 3;
    thread::scope(|scope| {
        for worker in 0..workers {
            let backend = if worker % 2 == 0 { Backend::Nft } else { Backend::Legacy };
            let rounds = kills / workers + u64::from(worker < kills % workers);
            scope.spawn(move || random_instants(backend, seed() * 1_000 + worker, rounds));
        }
    });
    println!("{} processes were killed so far", KILLS.load(Ordering::Relaxed));
}

fn random_instants(backend: Backend, seed: u64, rounds: u64) {
    let Some(mut range) = Range::new(backend, seed) else { return };
    let (mut killed, mut round) = (0, 0);
    while killed < rounds {
        round += 1;
        let mut child = range.start("");
        let instant = Duration::from_micros(range.draw.u64(0..2_200_000));
        let who = range.draw.u32(0..4);
        let signal = if range.draw.u32(0..8) == 0 { "HUP" } else { "KILL" };
        let writer = range.draw.u32(0..3) == 0;
        let what = format!(
            "seed {seed}, round {round}, {backend:?}: {signal} for {} after {instant:?}, {} writer",
            ["apply", "apply", "the watchdog", "both"][who as usize],
            if writer { "with a" } else { "no" },
        );
        let foreign = thread::scope(|scope| {
            let writing = writer.then(|| scope.spawn(|| write_meanwhile(&range.host, instant)));
            thread::sleep(instant);
            if who != 2 && child.try_wait().unwrap().is_none() {
                kill(child.id(), signal);
                killed += 1;
            }
            if who >= 2 {
                for watchdog in range.host.watchdogs() {
                    kill(watchdog, "KILL");
                    killed += 1;
                }
            }
            writing.map(|writing| writing.join().unwrap()).unwrap_or_default()
        });
        child.wait().unwrap();
        range.settle(&what);
        let now = range.host.rules();
        let without = remove_foreign(&range.host, &now, &foreign, &what);
        assert_eq!(without, range.old, "{what}");
    }
    count(killed);
    println!("{backend:?}: {killed} processes killed at random instants, in {round} rounds");
}

/// Somebody else inserts rules at the same time; what was inserted, in order.
fn write_meanwhile(host: &Host, time: Duration) -> Vec<String> {
    let mut rules = Vec::new();
    let pause = time / 12;
    for number in 0..12 {
        let (table, chain) = [("nat", "POSTROUTING"), ("filter", "FORWARD")][number % 2];
        let rule = format!("-s 10.66.0.{number}/32 -j ACCEPT");
        let done = host.sh(&format!("iptables -w -t {table} -I {chain} {rule}"));
        assert!(done.status.success(), "{}", text(&done.stderr));
        rules.push(format!("-A {chain} {rule}"));
        thread::sleep(pause);
    }
    rules
}

/// Every foreign rule is there once, in the order of `-I`; then they go.
fn remove_foreign(host: &Host, now: &str, foreign: &[String], what: &str) -> String {
    let mut order = Vec::new();
    let mut rest = String::new();
    for line in now.lines() {
        if foreign.iter().any(|rule| rule == line) {
            order.push(line.to_owned());
        } else {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    for chain in ["-A FORWARD", "-A POSTROUTING"] {
        let of = |rules: &mut dyn Iterator<Item = &String>| -> Vec<String> {
            rules.filter(|rule| rule.starts_with(chain)).cloned().collect()
        };
        let found = of(&mut order.iter());
        assert_eq!(found, of(&mut foreign.iter().rev()), "{what}");
    }
    for rule in foreign {
        let table = if rule.contains("POSTROUTING") { "nat" } else { "filter" };
        let done = host.sh(&format!("iptables -w -t {table} {}", rule.replacen("-A", "-D", 1)));
        assert!(done.status.success(), "{what}: {}", text(&done.stderr));
    }
    rest
}

#[test]
fn two_at_once() {
    for backend in [Backend::Nft, Backend::Legacy] {
        let Some(range) = Range::new(backend, seed()) else { return };
        let mut other = range.plan.clone();
        other.id = "other".into();
        fs::write(range.host.path("other.json"), other.to_json()).unwrap();
        for _ in 0..4 {
            let first = range.start("");
            let mut second = range.host.nattrace("apply other.json --confirm 1");
            let second = second.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let statuses: Vec<Option<i32>> =
                [first, second].map(|mut one| one.wait().unwrap().code()).to_vec();
            // One is refused, the other one waits until nobody confirmed it.
            let mut sorted = statuses.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [Some(4), Some(5)], "{statuses:?}");
            range.is_as_before("two at once");
        }
    }
}
