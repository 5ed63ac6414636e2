//! A random sample of native nft tables, beside rules of iptables-nft, in the kernel that the
//! tests run on: the simulator reads `nft -j list ruleset` and must agree about each packet, rule by
//! rule as nftables' own trace tells them.
//!
//! Needs what the lab needs. NATTRACE_NATIVE_PACKETS sets the size of the sample,
//! NATTRACE_NATIVE_SEED what it is drawn from: the clock, if it is not given. The seed is printed.

use std::process::Command;

use nattrace_corpus::lab;

#[test]
fn a_sample_of_native_tables_agrees() {
    let missing = lab::missing();
    let has_nft = Command::new("nft").arg("--version").output().is_ok();
    if !missing.is_empty() || !has_nft {
        let missing = if has_nft { missing.join(", ") } else { "nft".to_owned() };
        nattrace_skips::skip("1 sample of native tables", &format!("{missing} missing"));
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("NATTRACE_NATIVE_SEED").unwrap_or_else(|| {
        std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock is set").as_secs()
    });
    let packets = number("NATTRACE_NATIVE_PACKETS").unwrap_or(if nattrace_skips::in_ci() {
        2000
    } else {
        400
    });
    let ran = Command::new(env!("CARGO_BIN_EXE_nattrace-lab"))
        .args(["--native", "--seed", &seed.to_string(), "--packets", &packets.to_string()])
        .args(["--at-most", "3"])
        .output()
        .expect("the lab starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    println!("{}", said.lines().last().unwrap_or(""));
    assert!(
        ran.status.success(),
        "simulator and kernel disagree (NATTRACE_NATIVE_SEED={seed} repeats it):\n{said}\n{complained}"
    );
    assert!(said.contains(" agree "), "no packet was compared: {said}\n{complained}");
}
