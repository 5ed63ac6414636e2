//! Speed of proofs, as ratios measured in one run: `cargo bench --bench proofs`.
//!
//! Absolute times depend on the machine: what is held is how `nattrace check` and `nattrace audit`,
//! each as a whole process, compare with `iptables-legacy-restore --test` of the same rules and
//! with a pairwise search for shadowed rules in the same run, how the cost grows with the rules,
//! and the peak of memory. Needs `../shared` (the generator of rulesets), python3 and iptables;
//! without one of them it says so and ends. Words behind `--` choose scenes by their names.

mod edits;
mod pairwise;
mod scene;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use scene::Scene;

/// How often each thing is measured; the fastest run counts, as the least disturbed one.
const ROUNDS: usize = 3;
/// The sizes of firewalls whose cost is compared.
const SIZES: [usize; 5] = [1000, 2000, 5500, 10_000, 20_000];

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| all.is_empty() || all.iter().any(|one| name.contains(one.as_str()));
    let mut missed = 0;
    if wanted("docker") {
        missed += measure(scene::docker(), "20 properties of 50 networks with 2,000 ports", 20.0);
    }
    if wanted("kube") {
        missed += measure(scene::kube(), "5 properties of 10,000 services", 3.0);
    }
    if wanted("diff") {
        missed += edits::measure();
    }
    if wanted("flat") {
        missed += grow();
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures the check of one scene; it may take so many times as long as iptables reads the rules.
fn measure(scene: Option<Scene>, what: &str, most: f64) -> usize {
    let Some(scene) = scene else {
        println!("skipped: {what}: ../shared/gen_rulesets.py and python3 are needed");
        return 0;
    };
    let Some(restore) = restore(&scene) else {
        println!("skipped: {what}: iptables-legacy-restore is needed");
        return 0;
    };
    let check = fastest(|| run(&["check", &scene.policy(), "-s", &scene.folder()]));
    let memory = peak(&["check", &scene.policy(), "-s", &scene.folder()]);
    println!("{what}: check {check:?}, restore --test {restore:?}, {}", in_words(memory));
    goal(what, check.as_secs_f64() / restore.as_secs_f64(), most)
}

/// Measures firewalls of several sizes: the cost of a rule must stay about the same.
fn grow() -> usize {
    let mut each: Vec<(usize, f64)> = Vec::new();
    let mut missed = 0;
    println!(
        "{:>7} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "rules", "check", "audit", "pairwise", "restore", "a rule"
    );
    for rules in SIZES {
        let Some(scene) = scene::firewall(rules) else {
            println!("skipped: firewalls: ../shared/gen_rulesets.py and python3 are needed");
            return missed;
        };
        let check = fastest(|| run(&["check", &scene.policy(), "-s", &scene.folder()]));
        let audit = fastest(|| run(&["audit", "-s", &scene.folder()]));
        let shadows = fastest(|| {
            std::hint::black_box(pairwise::shadowed(&scene.rules));
        });
        let restore = restore(&scene);
        let both = check + audit;
        let one = both.as_secs_f64() * 1e6 / rules as f64;
        println!(
            "{rules:>7} {check:>10.1?} {audit:>10.1?} {shadows:>10.1?} {:>10} {one:>9.1} us",
            restore.map_or_else(|| "-".to_owned(), |time| format!("{time:.1?}"))
        );
        if rules == 5500 {
            let memory = peak(&["audit", "-s", &scene.folder()]);
            println!("        peak memory of the audit: {}", in_words(memory));
            missed += usize::from(memory.is_some_and(|kilobytes| kilobytes > 256 * 1024));
        }
        each.push((rules, one));
    }
    if let (Some((_, small)), Some((_, large))) = (each.first(), each.last()) {
        plot(&each);
        missed += goal("a rule of the largest against one of the smallest", large / small, 3.0);
    }
    missed
}

/// Draws what a rule costs in each size.
fn plot(each: &[(usize, f64)]) {
    let most = each.iter().map(|(_, cost)| *cost).fold(f64::MIN, f64::max);
    for (rules, cost) in each {
        let width = (cost / most * 50.0).round() as usize;
        println!("{rules:>7} | {:<50} {cost:.1} us a rule", "#".repeat(width));
    }
}

/// Prints a ratio beside the most that it may be; counts as missed where it is more.
fn goal(name: &str, ratio: f64, most: f64) -> usize {
    let met = ratio <= most;
    let verdict = if met { "met" } else { "MISSED" };
    println!("{name:<60} {ratio:>8.2} x goal <= {most:.1}: {verdict}");
    usize::from(!met)
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn run(arguments: &[&str]) {
    let status = Command::new(env!("CARGO_BIN_EXE_nattrace"))
        .args(arguments)
        .args(["--format", "concise", "--exit-zero"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "nattrace {arguments:?}");
}

/// How long iptables takes to read the rules.
fn restore(scene: &Scene) -> Option<Duration> {
    let once = || {
        let input = std::fs::File::open(scene.rules_file()).ok()?;
        let status = Command::new("iptables-legacy-restore")
            .arg("--test")
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(())
    };
    once()?;
    Some(fastest(|| {
        once();
    }))
}

/// The peak of memory in kilobytes, as GNU time reports it.
fn peak(arguments: &[&str]) -> Option<u64> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", env!("CARGO_BIN_EXE_nattrace")])
        .args(arguments)
        .args(["--format", "concise", "--exit-zero"])
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stderr).lines().last()?.trim().parse().ok()
}

fn in_words(memory: Option<u64>) -> String {
    match memory {
        Some(kilobytes) => format!("{} MiB", kilobytes / 1024),
        None => "peak memory unknown: /usr/bin/time is needed".to_owned(),
    }
}
