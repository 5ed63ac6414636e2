//! What `check --init` writes is read again, and holds: of every host of the corpus, whole and in
//! parts, of rulesets from the wild with a host and without, and of hosts with odd names.
//!
//! `NATTRACE_LAW_SEED` draws the parts and the rulesets that are asked about, `NATTRACE_DRAFT_ALL`
//! asks about everything.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of a test"
)]

use std::path::{Path, PathBuf};

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::System;
use nattrace_model::build::{Text, load};
use nattrace_parser::policy::{Given, parse};
use nattrace_verifier::check::{Engine, Status, check_each};
use nattrace_verifier::draft::draft;
use nattrace_verifier::policy::unknown_names;
use rayon::prelude::*;

/// How many entries are written for a host, and how many are left out because nobody knows.
fn hold(about: &str, system: &System) -> (usize, usize) {
    let text = draft(system);
    let (policy, complaints) = parse(&text);
    assert_eq!(complaints, [], "{about}: {text}");
    assert_eq!(unknown_names(&policy, system), [], "{about}: {text}");
    for finding in check_each(&policy, system, &Given::default(), Engine::Classes) {
        let reason = &finding.reason;
        assert_eq!(finding.status, Status::Holds, "{about}: {}: {reason:?}", finding.name);
    }
    assert!(!text.contains("contradicts itself"), "{about}: {text}");
    let unknown = text.split_once("# Not known").map_or(0, |(_, rest)| rest.lines().count() - 1);
    (policy.entries.len(), unknown)
}

fn system(texts: &[(String, String)]) -> Option<System> {
    let texts: Vec<Text<'_>> = texts.iter().map(|(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    (!loaded.has_errors()).then_some(loaded.system)
}

fn parts(case: &Case) -> Vec<(String, String)> {
    case.texts().iter().map(|text| (text.name.to_owned(), text.text.to_owned())).collect()
}

/// Hosts whose drafts take long: of hundreds of ports, of ranges that sources are drawn from, and of
/// networks that are exchanged.
const SLOW: [&str; 2] = ["12-", "17"];
/// How many hosts or parts of hosts are asked about.
const MOST_HOSTS: usize = 12;
/// How many names are.
const MOST_NAMES: usize = 3;

fn is_everything_wanted() -> bool {
    std::env::var_os("NATTRACE_DRAFT_ALL").is_some()
}

fn drawing() -> fastrand::Rng {
    let seed = std::env::var("NATTRACE_LAW_SEED").ok().and_then(|seed| seed.parse().ok());
    fastrand::Rng::with_seed(seed.unwrap_or(7))
}

/// What parts are called together, and which they are.
type Share = (&'static str, fn(&str) -> bool);

/// Of a name, the parts of both families or of one; and the rules alone.
const SHARES: [Share; 5] = [
    ("whole", |_| true),
    ("IPv4 alone", |name| !name.starts_with("ip6")),
    ("IPv6 alone", |name| !["iptables-save", "ip-route.json", "ip-rule.json"].contains(&name)),
    ("rules alone", |name| name.ends_with("-save")),
    ("no containers", |name| !name.starts_with("docker")),
];

#[test]
fn what_is_written_of_a_host_holds() {
    let cases = Case::read_all(&cases_dir()).unwrap();
    let mut random = drawing();
    let mut asked: Vec<(&Case, usize)> =
        cases.iter().flat_map(|case| (0..SHARES.len()).map(move |share| (case, share))).collect();
    if !is_everything_wanted() {
        asked.retain(|(case, _)| !SLOW.iter().any(|begin| case.name.starts_with(begin)));
        random.shuffle(&mut asked);
        asked.truncate(MOST_HOSTS);
    }
    let counts: Vec<(usize, usize)> = asked
        .par_iter()
        .filter_map(|(case, share)| {
            let (what, is_wanted) = SHARES[*share];
            let wanted: Vec<_> =
                parts(case).into_iter().filter(|(name, _)| is_wanted(name)).collect();
            Some(hold(&format!("{}, {what}", case.name), &system(&wanted)?))
        })
        .collect();
    assert!(counts.len() * 4 > asked.len() * 3, "{} of {}", counts.len(), asked.len());
    let entries: usize = counts.iter().map(|(entries, _)| entries).sum();
    let unknown: usize = counts.iter().map(|(_, unknown)| unknown).sum();
    println!("{} hosts, {entries} entries, {unknown} unknown", counts.len());
    assert!(entries > 2 * counts.len(), "{entries} entries of {} hosts", counts.len());
}

/// Replaces the names of a host of the corpus by odd ones.
fn renamed(texts: &[(String, String)], names: &[(&str, &str)]) -> Vec<(String, String)> {
    let change = |text: &String| {
        names.iter().fold(text.clone(), |text, (name, odd)| {
            let quoted = serde_json::Value::from(*odd).to_string();
            let inside = &quoted[1..quoted.len() - 1];
            let text = text.replace(&format!("\"/{name}\""), &format!("\"/{inside}\""));
            text.replace(&format!("\"{name}\""), &quoted)
        })
    };
    texts
        .iter()
        .map(|(part, text)| match part.starts_with("docker") {
            true => (part.clone(), change(text)),
            false => (part.clone(), text.clone()),
        })
        .collect()
}

#[test]
fn names_may_be_odd() {
    let case = Case::read(&cases_dir().join("04-networks")).unwrap();
    let plain = parts(&case);
    let mut odd = vec![
        "a b",
        "a.b",
        "ünï-код",
        "\"quoted\"",
        "it's",
        "a\\b",
        "host",
        "internet",
        "lan",
        "*",
        "net:front",
        "a:80",
        "a:80/tcp",
        "[[deny]]",
        "# no",
        "1.2.3.4",
        "fe80::1",
        "10.0.0.0/8",
        "a\nb",
        "a\tb",
        "",
        " ",
        "\u{7f}",
        "\u{1f600}",
        "-",
        "a,b",
        "container:x",
        "😀/tcp",
    ];
    let (whole, _) = hold("plain names", &system(&plain).unwrap());
    if !is_everything_wanted() {
        drawing().shuffle(&mut odd);
        odd.truncate(MOST_NAMES);
    }
    odd.par_iter().for_each(|name| {
        // A network and a container.
        let texts = renamed(&plain, &[("front", name), ("f1", name)]);
        let Some(system) = system(&texts) else { return };
        let (entries, _) = hold(&format!("called {name:?}"), &system);
        // What can be said of the others is said.
        assert!(entries * 3 > whole, "called {name:?}: {entries} of {whole}");
    });
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.sort();
    all
}

/// How long a ruleset may be here; the longest are those of `benches`.
const MOST_BYTES: u64 = 50_000;
/// How many rulesets of each project are asked about.
const MOST_FILES: usize = 1;

/// Whether a file is rules, and not too many of them.
fn has_rules(path: &Path) -> bool {
    let short = path.metadata().unwrap().len() <= MOST_BYTES;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    short && ["*filter\n", "*nat\n", "Chain INPUT"].iter().any(|begin| text.contains(begin))
}

#[test]
fn what_is_written_of_rules_from_the_wild_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/public");
    if !folder.is_dir() {
        return nattrace_skips::skip("drafts of public rulesets", "no ../shared/data/public here");
    }
    let host = parts(&Case::read(&cases_dir().join("11a-ipv6-ip6tables")).unwrap());
    let mut projects: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    for path in files(&folder).into_iter().filter(|path| has_rules(path)) {
        let project: PathBuf = path.strip_prefix(&folder).unwrap().iter().take(1).collect();
        match projects.iter_mut().find(|(name, _)| *name == project) {
            Some((_, all)) => all.push(path),
            None => projects.push((project, vec![path])),
        }
    }
    let mut random = drawing();
    for (_, all) in &mut projects {
        random.shuffle(all);
        if !is_everything_wanted() {
            all.truncate(MOST_FILES);
        }
    }
    let asked: Vec<&PathBuf> = projects.iter().flat_map(|(_, all)| all).collect();
    let counts: Vec<[Option<(usize, usize)>; 2]> = asked
        .par_iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let about = path.strip_prefix(&folder).unwrap().display().to_string();
            let is_ipv6 = about.contains("v6") || about.contains("ip6");
            let part = if is_ipv6 { "ip6tables-save" } else { "iptables-save" };
            let alone = vec![(part.to_owned(), text.clone())];
            let mut on_host: Vec<_> =
                host.iter().filter(|(name, _)| name != part).cloned().collect();
            on_host.push((part.to_owned(), text));
            [alone, on_host].map(|texts| Some(hold(&about, &system(&texts)?)))
        })
        .collect();
    let read = counts.iter().flatten().flatten();
    let (hosts, entries, unknown) = read.fold((0, 0, 0), |(hosts, entries, unknown), found| {
        (hosts + 1, entries + found.0, unknown + found.1)
    });
    println!("{hosts} hosts, {entries} entries, {unknown} unknown");
    assert!(hosts > counts.len() / 2 && entries > hosts, "{hosts} hosts, {entries} entries");
}
