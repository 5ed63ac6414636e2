//! Clocks that jump: the wall clock while a plan waits, and a machine that slept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nattrace_apply::Plan;
use nattrace_parser::syntax::Backend;

use crate::host::{Host, text};

/// The library that tells programs another wall clock; a machine without it is told, and is a
/// failure in CI.
fn faketime() -> Option<PathBuf> {
    let folders =
        ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|name| Path::new("/usr/lib").join(name));
    let mut found = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).into_iter();
    let found = found.find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: no wall clock of our own: package faketime");
        assert!(std::env::var_os("CI").is_none(), "skipped in CI: package faketime is missing");
    }
    found
}

/// Starts `apply` with a wall clock that reads its offset anew from the file `jump` every time.
fn start(host: &Host, plan: &Plan, library: &Path, words: &str) -> Child {
    let path = host.write(plan);
    let mut command = host.nattrace(&format!("apply {} {words}", path.display()));
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", host.path("jump"));
    // Nobody can move the clock that counts since the start of the kernel.
    command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn is_waiting(host: &Host) -> bool {
    let journal = fs::read_to_string(host.state().join("pending.json"));
    journal.is_ok_and(|journal| journal.contains("\"waiting\""))
}

#[test]
fn a_jump_of_the_wall_clock_moves_no_deadline() {
    let Some(library) = faketime() else { return };
    for jump in ["-30d", "+30d"] {
        let Some(host) = Host::new(Backend::Nft) else { return };
        let (old, plan) = (host.rules(), host.plan());
        // Nobody confirms: neither at once nor in a month, but in two seconds.
        fs::write(host.path("jump"), "+0").unwrap();
        let applied = start(&host, &plan, &library, "--confirm 2");
        // The log is written behind the journal, with the time of before the jump.
        let logged =
            || fs::read_to_string(host.state().join("log")).is_ok_and(|log| !log.is_empty());
        assert!(host.wait(20, || is_waiting(&host) && logged()));
        let loaded = Instant::now();
        fs::write(host.path("jump"), jump).unwrap();
        let output = applied.wait_with_output().unwrap();
        let took = loaded.elapsed();
        assert_eq!(output.status.code(), Some(4), "{jump}: {}", text(&output.stderr));
        assert!(
            took > Duration::from_secs(1) && took < Duration::from_secs(15),
            "{jump}: {took:?}"
        );
        assert_eq!(host.rules(), old, "{jump}");
        let log = fs::read_to_string(host.state().join("log")).unwrap();
        let times = log.lines().map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            entry["time"].as_i64().unwrap()
        });
        let times: Vec<i64> = times.collect();
        assert!((times[1] - times[0]).abs() > 86_400 * 29, "{jump}: the clock did not jump: {log}");
        // Somebody confirms, long after it and before it by that clock.
        fs::write(host.path("jump"), "+0").unwrap();
        let applied = start(&host, &plan, &library, "--confirm 60");
        assert!(host.wait(20, || is_waiting(&host)));
        fs::write(host.path("jump"), jump).unwrap();
        host.run(&format!("confirm {}", plan.id), 0);
        let output = applied.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{jump}: {}", text(&output.stderr));
        host.run(&format!("rollback {}", plan.id), 0);
        assert_eq!(host.rules(), old, "{jump}");
    }
}

/// A machine that slept wakes up behind the deadline: time counts while it sleeps.
#[test]
fn a_machine_that_slept_too_long_confirms_nothing() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let awake = |words: &str| {
        let mut command = host.command("unshare");
        let program = env!("CARGO_BIN_EXE_nattrace");
        command.args(["--time", "--boottime", "3600", program]).args(words.split(' '));
        command.output().unwrap()
    };
    if !host.sh("unshare --time --boottime 3600 true").status.success() {
        println!("skipped: no clock of our own");
        assert!(std::env::var_os("CI").is_none(), "skipped in CI: no time namespace");
        return;
    }
    // The one who confirms finds that it is too late.
    let plan = host.plan();
    let applied = host.apply(&plan, "--confirm 600");
    let late = awake(&format!("confirm {}", plan.id));
    assert_eq!(late.status.code(), Some(4), "{}", text(&late.stderr));
    assert!(text(&late.stderr).contains("nobody confirmed it in time"), "{}", text(&late.stderr));
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!(host.rules(), old);
    // And so does whoever comes by after everybody else has died.
    let mut applied = host.apply(&plan, "--confirm 600");
    host.kill_watchdog();
    applied.kill().unwrap();
    applied.wait().unwrap();
    let status = awake("status");
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    assert!(text(&status.stderr).contains("was taken back"), "{}", text(&status.stderr));
    assert_eq!(host.rules(), old);
}
