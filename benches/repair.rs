//! How long `fix` searches, as a ratio to one proof of the same policy in the same run: `cargo bench
//! --bench repair`.
//!
//! A search proves the policy once as the host is and once with the change, and tries candidates on
//! single packets in between: it should cost little more than the two proofs.

use std::path::Path;
use std::process::ExitCode;
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
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    let request =
        Request { policy, system, given: &given, placement: Placement::Lasting, most_edits: 8 };
    let proof = fastest(|| {
        check(policy, system, &given).expect("classes and simulator agree");
    });
    let search = fastest(|| {
        let found = repair(&request).expect("classes and simulator agree");
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
