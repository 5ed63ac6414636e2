//! A fresh random sample of packets in the kernel that the tests run on: the simulator must agree
//! with it about each of them, rule by rule.
//!
//! Needs root and the programs of docs/fidelity.md. Where something is missing the sample is
//! skipped, and counted as skipped in the output; with CI=true that is a failure.
//! NATTRACE_LAB_PACKETS sets the size of the sample, NATTRACE_LAB_SEED what it is drawn from: the
//! clock, if it is not given. The seed is printed.

use std::process::Command;

use nattrace_corpus::lab;

/// What the command line program exits with where the lab can't run.
const NOT_HERE: i32 = 3;

fn seed() -> u64 {
    let given = std::env::var("NATTRACE_LAB_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock is set").as_secs()
    })
}

fn packets() -> u64 {
    let given = std::env::var("NATTRACE_LAB_PACKETS").ok().and_then(|packets| packets.parse().ok());
    given.unwrap_or(if nattrace_skips::in_ci() { 5000 } else { 600 })
}

/// Whether the lab can run here; says what is missing if not.
fn can_run(what: &str) -> bool {
    let missing = lab::missing();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    nattrace_skips::skip(&format!("1 {what} of the kernel lab"), &format!("{missing} missing"));
    false
}

#[test]
fn a_fresh_sample_agrees() {
    if !can_run("sample") {
        return;
    }
    let seed = seed();
    let ran = Command::new(env!("CARGO_BIN_EXE_nattrace-lab"))
        .args(["--seed", &seed.to_string(), "--packets", &packets().to_string()])
        .args(["--at-most", "3"])
        .output()
        .expect("the lab starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    let totals = said.lines().last().unwrap_or("");
    println!("{totals}");
    assert_ne!(ran.status.code(), Some(NOT_HERE), "the lab did not run: {complained}");
    assert!(
        ran.status.success(),
        "simulator and kernel disagree (NATTRACE_LAB_SEED={seed} repeats it):\n{said}\n{complained}"
    );
    assert!(totals.contains(" agree "), "no packet was compared: {said}\n{complained}");
}

// What simulator and kernel once disagreed about, beside what the kernel did then.
#[test]
fn kept_cases_agree_with_the_record() {
    let kept = lab::Kept::read_all(&lab::kept_dir()).expect("the kept cases are in order");
    assert!(!kept.is_empty(), "no case is kept");
    let mut wrong = Vec::new();
    for (name, case) in &kept {
        let differences = case.ask().expect("the recorded host is there");
        if !differences.is_empty() {
            wrong.push(format!("{name}: {}", differences.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), kept.len(), wrong.join("\n"));
}

#[test]
fn kept_cases_agree_with_this_kernel() {
    if !can_run("replay of the kept cases") {
        return;
    }
    let ran = Command::new(env!("CARGO_BIN_EXE_nattrace-lab"))
        .arg("--kept")
        .output()
        .expect("the lab starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    println!("kept cases: {}", said.lines().last().unwrap_or(""));
    assert!(ran.status.success(), "simulator and kernel disagree:\n{said}\n{complained}");
}
