//! How long `fix` searches, as a ratio to one proof of the same policy in the same run: `cargo bench
//! --bench repair`.
//!
//! A search proves the policy once as the host is and once with the change, and tries candidates on
//! single packets in between: it should cost little more than the two proofs. The last row is the
//! whole process, with the comparison of everything else that changes, on a host with 50 networks
//! of 20 containers, against `check` of a policy of 20 entries there. That host needs `../shared`
//! (the generator of rulesets) and python3; without them the row is left out, and that is said.

#[path = "proofs/scene.rs"]
#[expect(dead_code, reason = "the other hosts are for the other benchmark")]
mod scene;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nattrace_model::System;
use nattrace_model::build::{Text, load, part_of};
use nattrace_parser::policy::{Given, Policy, parse};
use nattrace_verifier::check::check;
use nattrace_verifier::repair::{Placement, Repair, Request, repair};

/// How often each thing is measured; the fastest run counts, as the least disturbed one.
const ROUNDS: usize = 3;

/// How many proofs a search may cost.
const MOST_PROOFS: f64 = 4.0;

/// Hosts of the corpus, and a policy of one entry that fails there.
const HOSTS: [(&str, &str); 3] = [
    (
        "02-host-binding-ipv4",
        "[[egress]]\nfrom = \"net:pub\"\nto = \"internet\"\nsource = \"173.208.194.205\"\n",
    ),
    (
        "05a-lan-before-forward-accept",
        "[[egress]]\nfrom = \"container:web\"\nto = \"lan:eth0\"\nsource = \"unchanged\"\n",
    ),
    ("14a-docker-user-wrong-port", "[[deny]]\nfrom = \"internet\"\nlands = \"container:web:80\"\n"),
];

fn main() -> ExitCode {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/cases");
    let mut missed = 0;
    for (name, entry) in HOSTS {
        let system = host(&cases.join(name));
        let (policy, faults) = parse(&format!("version = 1\n{entry}"));
        assert!(faults.is_empty(), "{faults:?}");
        missed += measure(name, &system, &policy);
    }
    missed += large();
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many times as long as `check` of twenty entries `fix` of one may take on a large host.
const MOST_CHECKS: f64 = 4.0;

/// One failing egress on a host with 50 networks of 20 containers that publish two ports each.
fn large() -> usize {
    let name = "one egress of 50 networks";
    let Some(scene) = scene::docker() else {
        println!("skipped: {name} needs ../shared/gen_rulesets.py and python3");
        return 0;
    };
    let folder = scene.folder();
    let policy = Path::new(&folder).join("egress.toml");
    let text =
        "version = 1\n[[egress]]\nfrom = \"net:net7\"\nto = \"internet\"\nsource = \"192.0.2.3\"\n";
    std::fs::write(&policy, text).expect("the temporary folder can be written");
    let process = |command: &str, policy: &str, statuses: &[i32]| {
        fastest(|| {
            let status = Command::new(env!("CARGO_BIN_EXE_nattrace"))
                .args([command, policy, "-s", &folder])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            let status = status.expect("nattrace runs").code();
            assert!(status.is_some_and(|code| statuses.contains(&code)), "{command}: {status:?}");
        })
    };
    let check = process("check", &scene.policy(), &[0, 1]);
    let fix = process("fix", &policy.display().to_string(), &[0]);
    let ratio = fix.as_secs_f64() / check.as_secs_f64().max(f64::EPSILON);
    let met = ratio <= MOST_CHECKS;
    println!(
        "{name:<34} 20 entries {:>5.0} ms, the fix {ratio:>5.1} of it, goal {MOST_CHECKS:.1}: {}",
        check.as_secs_f64() * 1000.0,
        if met { "met" } else { "MISSED" }
    );
    usize::from(!met)
}

fn host(folder: &Path) -> System {
    let mut texts: Vec<(String, String)> = Vec::new();
    for file in std::fs::read_dir(folder).expect("a case of the corpus") {
        let file = file.expect("a file of the case");
        let name = file.file_name().to_string_lossy().into_owned();
        if part_of(&name).is_some() {
            texts.push((name, std::fs::read_to_string(file.path()).expect("a text")));
        }
    }
    texts.sort();
    let texts: Vec<Text<'_>> = texts.iter().map(|(name, text)| Text { name, text }).collect();
    load(&texts, &[]).system
}

fn fastest(work: impl Fn()) -> Duration {
    let run = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..ROUNDS).map(run).min().unwrap_or_default()
}

/// Prints how many proofs a search costs; counts as missed where it is more than it may.
fn measure(name: &str, system: &System, policy: &Policy) -> usize {
    let given = Given::default();
    let request = Request {
        policy,
        system,
        given: &given,
        placement: Placement::Lasting,
        most_edits: 8,
        until: None,
    };
    let proof = fastest(|| {
        check(policy, system, &given).expect("classes and simulator agree");
    });
    let search = fastest(|| {
        let found = repair(&request);
        assert!(matches!(found, Repair::Found(_)), "{name}: no change was found");
    });
    let ratio = search.as_secs_f64() / proof.as_secs_f64().max(f64::EPSILON);
    let met = ratio <= MOST_PROOFS;
    println!(
        "{name:<34} a proof {:>8.1} ms, a search {ratio:>5.1} proofs, goal {MOST_PROOFS:.1}: {}",
        proof.as_secs_f64() * 1000.0,
        if met { "met" } else { "MISSED" }
    );
    usize::from(!met)
}
