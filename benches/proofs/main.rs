//! Speed of proofs, as ratios measured in one run: `cargo bench --bench proofs`.
//!
//! Absolute times depend on the machine: what is held is how `nattrace check`, `nattrace audit` and
//! `nattrace matrix`, each as a whole process, compare with `iptables-legacy-restore --test` of the
//! same rules and with a pairwise search for shadowed rules in the same run, how the cost grows with
//! the rules, and the peak of memory; with `--features z3` the solver answers the same policy, too.
//! Needs `../shared` (the generator of rulesets), python3 and iptables; without one of them it says
//! so and ends. Words behind `--` choose scenes by their names (`docker`, `kube`, `diff`,
//! `flat`, `firewall`, `real`); `svg=FILE` draws how the cost of `flat` grows.

mod edits;
mod pairwise;
mod plot;
mod scene;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use scene::Scene;

/// How often each thing is measured; the fastest run counts, as the least disturbed one.
const ROUNDS: usize = 3;
/// Nothing is measured again after so long.
const ENOUGH: Duration = Duration::from_secs(20);
/// How long one run may take.
const LONGEST: Duration = Duration::from_secs(180);
/// The sizes of firewalls whose cost is compared.
const SIZES: [usize; 5] = [1000, 2000, 5000, 10_000, 20_000];
/// How much memory the audit and the matrix of a large firewall may take, in kilobytes.
const MOST_MEMORY: u64 = 256 * 1024;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let drawn = words.iter().find_map(|word| word.strip_prefix("svg="));
    let all: Vec<&String> = words.iter().filter(|word| !word.starts_with("svg=")).collect();
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
    if wanted("firewall") {
        missed += firewall(scene::firewall(5500), "audit and matrix of 5,500 random rules");
    }
    if wanted("real") {
        missed += firewall(scene::real(), "audit and matrix of a real firewall");
    }
    if wanted("flat") {
        missed += grow(drawn);
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures the audit and the whole matrix of one firewall, and what memory they take.
fn firewall(scene: Option<Scene>, what: &str) -> usize {
    let Some(scene) = scene else {
        println!("skipped: {what}: ../shared and python3 are needed");
        return 0;
    };
    let folder = scene.folder();
    let audit = fastest(|| run(&["audit", "-s", &folder]));
    let matrix = fastest(|| run(&["matrix", "-s", &folder]));
    let restore = restore(&scene);
    let times = [audit, matrix, restore];
    let [of_audit, of_matrix, of_restore] = times.map(shown);
    println!("{what}: audit {of_audit}, matrix {of_matrix}, restore --test {of_restore}");
    if let [Some(audit), Some(matrix), Some(restore)] = times.map(|time| Some(time?.as_secs_f64()))
    {
        let (of_audit, of_matrix) = (audit / restore, matrix / restore);
        println!("        restore --test = 1: audit {of_audit:.1}, matrix {of_matrix:.1}");
    }
    let memory = [peak(&["audit", "-s", &folder]), peak(&["matrix", "-s", &folder])];
    let [of_audit, of_matrix] = memory.map(in_words);
    println!("        peak memory: audit {of_audit}, matrix {of_matrix}");
    memory.iter().flatten().filter(|kilobytes| **kilobytes > MOST_MEMORY).count()
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
    println!("{what}: check {}, restore --test {restore:?}, {}", shown(check), in_words(memory));
    goal(what, ratio(check, restore), most)
}

/// Measures firewalls of several sizes: the cost of a rule must stay about the same.
fn grow(drawn: Option<&str>) -> usize {
    let mut rows: Vec<Row> = Vec::new();
    let names = ["check", "audit", "matrix", "pairwise", "restore"];
    println!("{:>7} {}", "rules", names.map(|name| format!("{name:>10}")).concat());
    for rules in SIZES {
        let Some(scene) = scene::firewall(rules) else {
            println!("skipped: firewalls: ../shared/gen_rulesets.py and python3 are needed");
            return 0;
        };
        let folder = scene.folder();
        let row = Row {
            rules,
            times: [
                fastest(|| run(&["check", &scene.policy(), "-s", &folder])),
                fastest(|| run(&["audit", "-s", &folder])),
                fastest(|| run(&["matrix", "-s", &folder])),
                fastest(|| {
                    std::hint::black_box(pairwise::shadowed(&scene.rules));
                    true
                }),
                restore(&scene),
            ],
        };
        println!("{rules:>7} {}", row.times.map(|time| format!("{:>10}", shown(time))).concat());
        if rules == SIZES[0] {
            solver(&scene, &row);
        }
        rows.push(row);
    }
    if let Some(path) = drawn {
        std::fs::write(path, plot::svg(&names, &rows)).expect("the picture can be written");
    }
    let one = |row: &Row| {
        let own = row.times.iter().take(3).flatten().map(Duration::as_secs_f64).sum::<f64>();
        own / row.rules as f64
    };
    let (Some(small), Some(large)) = (rows.first(), rows.last()) else { return 0 };
    goal("a rule of the largest against one of the smallest", one(large) / one(small), 3.0)
}

/// What firewalls of one size cost; `None` where it can't be measured.
struct Row {
    rules: usize,
    times: [Option<Duration>; 5],
}

/// The same policy by the solver alone, which gets ten seconds for each entry.
fn solver(scene: &Scene, row: &Row) {
    if !cfg!(feature = "z3") {
        println!("        skipped: the solver alone: `--features z3` is needed");
        return;
    }
    let start = Instant::now();
    let folder = scene.folder();
    let alone = ["check", &scene.policy(), "-s", &folder, "--engine", "z3", "--z3-timeout", "10"];
    let whole = run(&alone);
    let (solver, classes) = (start.elapsed(), row.times[0].unwrap_or_default());
    let ratio = solver.as_secs_f64() / classes.as_secs_f64();
    let cut = if whole { "" } else { ", and it was not done" };
    println!("        check by the solver alone: {solver:.1?}, {ratio:.0} times as long{cut}");
}

/// Prints a ratio beside the most that it may be; counts as missed where it is more.
fn goal(name: &str, ratio: f64, most: f64) -> usize {
    let met = ratio <= most;
    let verdict = if met { "met" } else { "MISSED" };
    println!("{name:<60} {ratio:>8.2} x goal <= {most:.1}: {verdict}");
    usize::from(!met)
}

/// The shortest time that some work takes; `None` where it was cut off.
fn fastest(mut work: impl FnMut() -> bool) -> Option<Duration> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < ROUNDS && (times.is_empty() || begin.elapsed() < ENOUGH) {
        let start = Instant::now();
        if !work() {
            return None;
        }
        times.push(start.elapsed());
    }
    times.into_iter().min()
}

fn shown(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1?}"))
}

/// How many times as long one thing takes; without end, where it was cut off.
fn ratio(time: Option<Duration>, other: Duration) -> f64 {
    time.map_or(f64::INFINITY, |time| time.as_secs_f64() / other.as_secs_f64())
}

/// Runs the program; whether it came to its end in time.
fn run(arguments: &[&str]) -> bool {
    let child = Command::new(env!("CARGO_BIN_EXE_nattrace"))
        .args(arguments)
        .args(["--format", "concise", "--exit-zero"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("the program starts");
    let end = Instant::now() + LONGEST;
    loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => {
                assert!(status.success(), "nattrace {arguments:?}");
                return true;
            }
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            None => {
                child.kill().expect("a child can be ended");
                child.wait().expect("a child can be waited for");
                return false;
            }
        }
    }
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
    fastest(|| once().is_some())
}

/// The peak of memory in kilobytes, as GNU time reports it.
fn peak(arguments: &[&str]) -> Option<u64> {
    let longest = LONGEST.as_secs().to_string();
    let output = Command::new("timeout")
        .args([&longest, "/usr/bin/time", "-f", "%M", env!("CARGO_BIN_EXE_nattrace")])
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
