//! A fresh random sample of packets in the kernel that the tests run on: the simulator must agree
//! with it about each of them.
//!
//! Needs root and the programs of docs/fidelity.md. Where something is missing the samples are
//! skipped, and counted as skipped in the output; with CI=true that is a failure.
//! NATTRACE_LAB_PACKETS sets the size of a sample.

use std::process::Command;

/// What the command line program exits with where the lab can't run.
const NOT_HERE: i32 = 3;

/// The seed of a sample: from NATTRACE_LAB_SEED, else another one on each day.
fn seed() -> u64 {
    let given = std::env::var("NATTRACE_LAB_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock is set");
        since.as_secs() / 86_400
    })
}

fn packets() -> u64 {
    let given = std::env::var("NATTRACE_LAB_PACKETS").ok().and_then(|packets| packets.parse().ok());
    given.unwrap_or(if in_ci() { 5000 } else { 300 })
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

#[track_caller]
fn check(backend: &str, family: &str) {
    let missing = nattrace_corpus::lab::missing();
    if !missing.is_empty() {
        let what = missing.join(", ");
        assert!(!in_ci(), "the kernel lab can't run: {what} missing");
        println!("skipped 1 sample ({backend}, family {family}): {what} missing");
        return;
    }
    let ran = Command::new(env!("CARGO_BIN_EXE_nattrace-lab"))
        .args(["--seed", &seed().to_string()])
        .args(["--packets", &packets().to_string()])
        .args(["--backend", backend, "--family", family, "--at-most", "3"])
        .output()
        .expect("the lab starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    let totals = said.lines().last().unwrap_or("");
    println!("{backend}, family {family}, seed {}: {totals}", seed());
    assert_ne!(ran.status.code(), Some(NOT_HERE), "the lab did not run: {complained}");
    assert!(ran.status.success(), "simulator and kernel disagree:\n{said}\n{complained}");
    assert!(totals.contains(" agree "), "no packet was compared: {said}\n{complained}");
}

#[test]
fn ipv4_through_nft() {
    check("nft", "4");
}

#[test]
fn ipv4_through_legacy() {
    check("legacy", "4");
}

#[test]
fn ipv6_through_nft() {
    check("nft", "6");
}

#[test]
fn ipv6_through_legacy() {
    check("legacy", "6");
}
