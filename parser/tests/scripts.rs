//! Scripts against the real thing: what a shell and iptables leave in a network namespace must be
//! what is read from the text of the script, byte for byte.
//!
//! Needs root, `unshare` and iptables. Where something is missing the comparisons are skipped, and
//! counted as skipped in the output; with CI=true that is a failure.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use nattrace_parser::replay::Replay;
use nattrace_parser::syntax::{Backend, Family};
use nattrace_parser::{Diagnostic, EmitOptions, Severity, emit_rules};

/// What a script leaves: the rules of IPv4 and of IPv6.
#[derive(Debug, PartialEq, Eq)]
struct Left([String; 2]);

/// What a text leaves as nattrace reads it.
fn read(text: &str, backend: Backend) -> (Left, Vec<Diagnostic>) {
    let (rules, diagnostics) = Replay::default().script(text, backend, 0);
    let of = |family: Family| {
        let found = rules.iter().find(|one| one.family == Some(family));
        found.map_or_else(String::new, |rules| emit_rules(rules, EmitOptions::default()))
    };
    (Left([of(Family::Ipv4), of(Family::Ipv6)]), diagnostics)
}

/// What a shell and iptables leave in a namespace of its own; `None` where that can't be had.
fn run(text: &str, backend: Backend) -> Option<Left> {
    let folder = tempfile::tempdir().unwrap();
    let name = match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    };
    for family in ["iptables", "ip6tables"] {
        for tool in ["", "-restore", "-save"] {
            let from = format!("/usr/sbin/{family}-{name}{tool}");
            std::os::unix::fs::symlink(from, folder.path().join(format!("{family}{tool}")))
                .unwrap();
        }
    }
    fs::write(folder.path().join("script"), text).unwrap();
    let shell = if text.starts_with("#!/bin/bash") { "bash" } else { "sh" };
    let line = format!(
        "PATH={0}:$PATH; export PATH; echo ready; {shell} {0}/script >{0}/out 2>{0}/err </dev/null; \
         iptables-save >{0}/4; ip6tables-save >{0}/6",
        folder.path().display()
    );
    let output = Command::new("unshare").args(["--net", "sh", "-c", &line]).output().ok()?;
    if !String::from_utf8_lossy(&output.stdout).contains("ready") {
        return None;
    }
    let saved = |name: &str| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |mut all, line| {
            writeln!(all, "{line}").unwrap();
            all
        })
    };
    Some(Left([saved("4"), saved("6")]))
}

/// Whether namespaces and iptables can be had here.
fn available(comparisons: usize) -> bool {
    let can = run("#!/bin/sh\niptables -A INPUT -j DROP\n", Backend::Nft)
        .is_some_and(|left| left.0[0].contains("-A INPUT -j DROP"));
    if !can {
        let what = format!("{comparisons} comparisons of scripts");
        nattrace_skips::skip(&what, "no network namespace with iptables");
    }
    can
}

fn errors(diagnostics: &[Diagnostic]) -> Vec<&str> {
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error);
    errors.map(|one| one.code).collect()
}

/// The scripts of the test data.
fn scripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scripts");
    let mut scripts: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 28);
    scripts
}

#[test]
fn what_is_said_of_scripts_is_what_they_expect() {
    for (name, text) in scripts() {
        let expected = text.lines().find_map(|line| line.strip_prefix("# errors: "));
        let expected: Vec<&str> = expected.unwrap_or_default().split_whitespace().collect();
        let (_, diagnostics) = read(&text, Backend::Nft);
        assert_eq!(errors(&diagnostics), expected, "{name}: {diagnostics:#?}");
        let doubts = diagnostics.iter().filter(|one| one.severity == Severity::Warning);
        assert_eq!(doubts.count(), 0, "{name}: {diagnostics:#?}");
    }
}

#[test]
fn scripts_leave_what_iptables_leaves() {
    let scripts = scripts();
    if !available(2 * scripts.len()) {
        return;
    }
    let mut wrong = String::new();
    for (name, text) in &scripts {
        for backend in [Backend::Nft, Backend::Legacy] {
            if backend == Backend::Legacy && text.contains("-nft") {
                continue;
            }
            let text = text.replace("=/usr/sbin/", "=");
            let expected = run(&text, backend).unwrap();
            let (found, _) = read(&text, backend);
            if found != expected {
                let [real4, real6] = &expected.0;
                let [read4, read6] = &found.0;
                writeln!(
                    wrong,
                    "{name}, {backend:?}\n--- iptables\n{real4}{real6}--- nattrace\n{read4}{read6}"
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Random commands on few chains and rules, so that they meet.
fn generated(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = String::from("#!/bin/sh\n");
    let tool = if random.bool() { "iptables" } else { "ip6tables" };
    let user = ["A", "B", "C"];
    let builtin = ["INPUT", "FORWARD"];
    let targets = ["-j ACCEPT", "-j DROP", "-j A", "-j B", "-g C", "", "-j RETURN", "-j LOG"];
    let matches = [
        "",
        "-p tcp",
        "-p tcp --dport 80",
        "-p udp --sport 53",
        "-i eth0",
        "-m mark --mark 1",
        "-m comment --comment x",
        "-p tcp -m multiport --dports 1,2",
    ];
    for number in 0..random.usize(10..50) {
        let chain = |random: &mut fastrand::Rng| match random.bool() {
            true => random.choice(user).unwrap(),
            false => random.choice(builtin).unwrap(),
        };
        let rule = |random: &mut fastrand::Rng| {
            let (one, two) = (random.choice(matches).unwrap(), random.choice(targets).unwrap());
            format!("{one} {two}")
        };
        let at = chain(&mut random);
        let index = random.usize(1..4);
        let command = match random.usize(0..22) {
            0..=6 => format!("-A {at} {}", rule(&mut random)),
            7..=8 => format!("-I {at} {}", rule(&mut random)),
            9 => format!("-I {at} {index} {}", rule(&mut random)),
            10 => format!("-D {at} {}", rule(&mut random)),
            11 => format!("-D {at} {index}"),
            12 => format!("-R {at} {index} {}", rule(&mut random)),
            13 => format!("-C {at} {}", rule(&mut random)),
            14..=15 => format!("-N {}", random.choice(user).unwrap()),
            16 => format!("-X {}", random.choice(user).unwrap()),
            17 => format!("-E {} {}", random.choice(user).unwrap(), random.choice(user).unwrap()),
            18 => format!("-F {at}"),
            19 => format!("-P {at} {}", random.choice(["ACCEPT", "DROP"]).unwrap()),
            20 => random.choice(["-X", "-F", "-Z"]).unwrap().to_owned(),
            _ => format!("-L {at} -n >/dev/null"),
        };
        // Whether it succeeded is written down in the rules themselves.
        writeln!(text, "{tool} {command} && {tool} -t raw -A OUTPUT -m comment --comment {number}")
            .unwrap();
    }
    text
}

#[test]
fn random_commands_leave_what_iptables_leaves() {
    let given = std::env::var("NATTRACE_SCRIPTS").ok().and_then(|count| count.parse().ok());
    let count: u64 = given.unwrap_or(if nattrace_skips::in_ci() { 300 } else { 40 });
    if !available(usize::try_from(count).unwrap()) {
        return;
    }
    let mut left_out = 0;
    for seed in 0..count {
        let text = generated(seed);
        let backend = if seed % 2 == 0 { Backend::Nft } else { Backend::Legacy };
        let expected = run(&text, backend).unwrap();
        let (found, diagnostics) = read(&text, backend);
        // iptables-legacy lets loops be where no packet gets to, which are refused here.
        if backend == Backend::Legacy && errors(&diagnostics).contains(&"chain-loop") {
            left_out += 1;
            continue;
        }
        for (found, expected) in found.0.iter().zip(&expected.0) {
            assert_eq!(
                found,
                expected,
                "seed {seed}, {backend:?}\n{text}\n{:?}",
                errors(&diagnostics)
            );
        }
    }
    assert!(left_out * 4 <= count, "{left_out} of {count} are left out");
    println!("{} scripts of random commands agree, {left_out} are left out", count - left_out);
}
