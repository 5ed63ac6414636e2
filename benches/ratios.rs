//! Speed, as ratios and rates measured in one run: `cargo bench --bench ratios`.
//!
//! Absolute times depend on the machine; what is held is how nattrace compares with
//! `iptables-legacy-restore --test` on the same dump in the same run. Needs `../shared` (the
//! generator of rulesets), python3 and iptables; without one of them it says so and ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nattrace_model::build::{SharedText, Untold, load, load_shared};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::simulate::why;
use nattrace_parser::save::parse_rules;

/// How often each thing is measured; the fastest run counts, as the least disturbed one.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missed = 0;
    match kube_dump(root) {
        Some(dump) => missed += bench_dump(&dump),
        None => println!("skipped: the kube dump needs ../shared/gen_rulesets.py and python3"),
    }
    missed += bench_flows(root);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a figure beside its goal; counts as missed where it falls short.
fn goal(name: &str, figure: f64, unit: &str, at_least: f64) -> usize {
    let met = figure >= at_least;
    let verdict = if met { "met" } else { "MISSED" };
    println!("{name:<58} {figure:>12.1} {unit:<10} goal {at_least:.1}: {verdict}");
    usize::from(!met)
}

fn fastest(mut work: impl FnMut()) -> Duration {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

/// The dump of a node with 10,000 services, made once.
fn kube_dump(root: &Path) -> Option<PathBuf> {
    let generator = root.join("../shared/gen_rulesets.py");
    let dump = std::env::temp_dir().join("nattrace-bench-kube-10000.save");
    if !dump.exists() {
        let made = Command::new("python3")
            .arg(generator)
            .args(["kube", "--services", "10000", "-o"])
            .arg(&dump)
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    Some(dump)
}

fn bench_dump(dump: &Path) -> usize {
    let restore = fastest(|| {
        let input = fs::File::open(dump).expect("the dump is there");
        let status = Command::new("iptables-legacy-restore")
            .arg("--test")
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "iptables-legacy-restore --test");
    });
    let text = Arc::new(fs::read_to_string(dump).expect("the dump is text"));
    let parse = fastest(|| {
        let (rules, diagnostics) = parse_rules(&text);
        assert!(diagnostics.is_empty() && !rules.tables.is_empty());
    });
    let whole = fastest(|| {
        let dump = SharedText { name: "iptables-save".to_owned(), text: Arc::clone(&text) };
        let loaded = load_shared(&[dump], &[], Untold::default());
        assert!(!loaded.has_errors());
    });
    let size = text.len();
    println!(
        "kube dump of {size} bytes: restore --test {restore:?}, parse {parse:?}, parse + lower + build {whole:?}"
    );
    let ratio = |time: Duration| restore.as_secs_f64() / time.as_secs_f64();
    let mut missed = goal("parse + lower against restore --test", ratio(whole), "x", 10.0);

    let binary = env!("CARGO_BIN_EXE_nattrace");
    let process = |arguments: &[&str]| {
        fastest(|| {
            let status = Command::new(binary)
                .args(arguments)
                .arg(dump)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            assert!(status.is_ok_and(|status| status.success()), "nattrace {arguments:?}");
        })
    };
    let why = ["why", "10.244.0.5", "10.96.0.9:80", "--in", "cni0", "--exit-zero", "--rules"];
    missed += goal("why as a whole process against restore --test", ratio(process(&why)), "x", 4.0);
    let fmt = process(&["fmt"]);
    missed += goal("fmt as a whole process against restore --test", ratio(fmt), "x", 4.0);
    missed + bench_memory(binary, dump, size)
}

/// Peak memory of the whole process, as GNU time reports it, in sizes of the dump.
fn bench_memory(binary: &str, dump: &Path, size: usize) -> usize {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", binary, "why", "10.244.0.5", "10.96.0.9:80", "--exit-zero"])
        .args(["--in", "cni0", "--format", "concise", "--rules"])
        .arg(dump)
        .output();
    let Ok(output) = output else {
        println!("skipped: peak memory needs /usr/bin/time (Debian's package `time`)");
        return 0;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    let Some(kilobytes) = stderr.lines().last().and_then(|line| line.trim().parse::<f64>().ok())
    else {
        println!("skipped: no peak memory in {stderr:?}");
        return 0;
    };
    let sizes = kilobytes * 1024.0 / size as f64;
    let met = sizes < 12.0;
    println!(
        "{:<58} {sizes:>12.1} {:<10} goal < 12: {}",
        "peak memory in sizes of the dump",
        "x",
        if met { "met" } else { "MISSED" }
    );
    usize::from(!met)
}

/// Packets a second on one core, through the library and through `why --flows`.
fn bench_flows(root: &Path) -> usize {
    let folder = root.join("corpus/cases/01-default-bridge");
    let case = nattrace_corpus::Case::read(&folder).expect("the case is part of the project");
    let system = load(&case.texts(), &[]).system;
    let flows: Vec<Flow> = case.probes.iter().map(|probe| probe.question(FlowState::New)).collect();
    let repeats = 2_000;
    let time = fastest(|| {
        for flow in std::iter::repeat_n(&flows, repeats).flatten() {
            std::hint::black_box(why(&system, flow));
        }
    });
    let count = (flows.len() * repeats) as f64;
    println!("library: {:.0} packets/s on one core", count / time.as_secs_f64());

    let lines = fs::read_to_string(folder.join("observed.jsonl")).expect("the case has probes");
    let input: String = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|probe| format!("{}\n", probe["flow"]))
        .collect();
    let path = std::env::temp_dir().join("nattrace-bench-flows.jsonl");
    fs::write(&path, input.repeat(repeats)).expect("the temporary folder can be written");
    let process = fastest(|| {
        let status = Command::new(env!("CARGO_BIN_EXE_nattrace"))
            .env("RAYON_NUM_THREADS", "1")
            .args(["why", "--exit-zero", "-s"])
            .arg(&folder)
            .arg("--flows")
            .arg(&path)
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "why --flows");
    });
    let rate = count / process.as_secs_f64();
    goal("why --flows, whole process, one core", rate, "packets/s", 200_000.0)
}
