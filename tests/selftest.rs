//! `nattrace selftest`: hosts of the corpus rebuilt on the kernel that the tests run on.
//!
//! Needs root and the programs that rebuild a host. Where something is missing the tests are
//! skipped, and counted as skipped in the output; with CI=true that is a failure.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of a test")]

mod program;

use std::path::Path;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::selftest::{Description, Job, Report, Sample, missing};
use nattrace_model::build::load;
use program::{nattrace, run, show};

/// Recorded hosts of every kind.
const CASES: [&str; 8] = [
    "03-snat-hand-edit",
    "04-networks",
    "07e-two-uplinks-connmark-rpfilter1",
    "08a-ufw-docker",
    "09-no-userland-proxy",
    "11a-ipv6-ip6tables",
    "13-legacy-backend",
    "17k-snat-ranges",
];

/// Whether a host can be rebuilt here; a skip is printed, and is a failure where CI=true.
fn can_run() -> bool {
    // This host has rules of both families and of one backend; the legacy one needs its own tools.
    let both: Vec<String> = ["11a-ipv6-ip6tables", "13-legacy-backend"]
        .into_iter()
        .flat_map(|name| missing(&load(&read(name).texts(), &[]).system))
        .collect();
    if both.is_empty() {
        return true;
    }
    let what = both.join(", ");
    nattrace_skips::skip("1 test of selftest", &what);
    false
}

fn read(name: &str) -> Case {
    Case::read(&cases_dir().join(name)).unwrap()
}

fn described(name: &str) -> Description {
    Description { parts: read(name).parts, ..Description::default() }
}

fn compare(host: &str, claimed: Option<&str>) -> Report {
    let job = Job {
        host: described(host),
        claimed: claimed.map(described),
        sample: Sample::Drawn { packets: 60, seed: 1 },
    };
    job.run(Path::new(env!("CARGO_BIN_EXE_nattrace")), &["selftest", "--inside"]).unwrap()
}

#[test]
fn the_kernel_agrees_on_recorded_hosts() {
    if !can_run() {
        return;
    }
    std::thread::scope(|scope| {
        for name in CASES {
            scope.spawn(move || {
                let said = run(&format!("selftest -s corpus/cases/{name} --packets 60 --seed 1"));
                assert_eq!(said.status.code(), Some(0), "{name}: {}", show(&said));
                let page = String::from_utf8(said.stdout).unwrap();
                assert!(page.starts_with("your kernel agrees on 60 packets\n"), "{name}: {page}");
                assert!(!page.contains("not rebuilt"), "{name}: {page}");
            });
        }
    });
}

#[test]
fn a_wrong_claim_is_found() {
    if !can_run() {
        return;
    }
    // The kernel has the rules as the hand left them; the claim is what it was meant to do.
    let report = compare("03-snat-hand-edit", Some("03c-snat-hand-edit-correct"));
    let difference = report.difference.unwrap();
    assert!(!difference.differences.is_empty() && !difference.kernel.is_empty());
    assert!(difference.rules.contains("-j SNAT --to-source 173.208.194.205"), "{difference:?}");
    // The same packets with the right claim.
    let report = compare("03-snat-hand-edit", Some("03-snat-hand-edit"));
    assert_eq!((report.difference, report.agreed), (None, 60));
}

/// Packets that the simulator or the rebuilt host once had wrong, and plain ones.
const PACKETS: [&str; 5] = [
    "04-networks f1 to internet:443",
    // The host masquerades to itself, with the address of its first interface.
    "02-host-binding-ipv4 host to 172.17.0.1:5300/udp",
    // Rewritten to an address on its own bridge that nobody has.
    "17a-hand-forwards 172.17.0.2 to 10.99.0.77:443",
    // docker-proxy takes the connection, and has no way to its container.
    "07b-two-uplinks-rule-from host to 127.0.0.1:8081",
    "11a-ipv6-ip6tables internet to [2001:db8:1::10]:8080",
];

#[test]
fn one_packet_is_compared_as_json() {
    if !can_run() {
        return;
    }
    std::thread::scope(|scope| {
        for packet in PACKETS {
            scope.spawn(move || {
                let said = run(&format!("selftest --json -s corpus/cases/{packet}"));
                assert_eq!(said.status.code(), Some(0), "{}", show(&said));
                let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
                assert_eq!(json["schema"], "nattrace/selftest/1");
                assert_eq!((&json["agreed"], &json["seed"]), (&1.into(), &serde_json::Value::Null));
                assert_eq!(json["difference"], serde_json::Value::Null);
            });
        }
    });
}

#[test]
fn where_nothing_can_be_compared_it_says_why() {
    let mut command = nattrace();
    command.args(["selftest", "-s", "corpus/cases/04-networks", "--packets", "5"]);
    let said = command.env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(said.status.code(), Some(3), "{}", show(&said));
    let page = String::from_utf8(said.stdout).unwrap();
    assert!(page.starts_with("nothing could be compared: `unshare` is not installed"), "{page}");
    if can_run() {
        let said = run("selftest --rules corpus/cases/01-default-bridge/iptables-L --json");
        assert_eq!(said.status.code(), Some(3), "{}", show(&said));
        let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(json["because"].as_str().unwrap().contains("does not show interfaces"), "{json}");
    }
}

#[test]
fn bad_input_is_refused() {
    for (arguments, what) in [
        ("selftest -s corpus/cases/04-networks f1 to intrnet", "unknown container or network"),
        ("selftest -s corpus/cases/04-networks --packets 0", "compares nothing"),
        ("selftest -s corpus/cases/04-networks --packets few", "invalid value 'few'"),
        ("selftest -s corpus/cases/04-networks f1 to f2 --seed 3", "cannot be used with"),
        ("selftest -s corpus/cases/04-networks --sport 5", "expected `SRC -> DST`"),
        ("selftest -s corpus/cases/04-networks --format dot", "prints pretty, concise"),
        ("selftest -s corpus/cases/no-such-case", "can't read"),
    ] {
        let said = run(arguments);
        assert_eq!(said.status.code(), Some(2), "{arguments}: {}", show(&said));
        assert!(String::from_utf8_lossy(&said.stderr).contains(what), "{}", show(&said));
    }
}
