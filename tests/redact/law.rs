//! The law of `redact`: every command answers for the redacted host as for the original, up to the
//! pseudonyms; over all states of the corpus.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::program::{nattrace, root, show};

/// A state with its redacted twin.
struct Twins {
    case: PathBuf,
    public: PathBuf,
    /// What stands for what, whatever kind of thing it is.
    words: BTreeMap<String, String>,
    /// The containers by their own names.
    containers: Vec<String>,
    _scratch: tempfile::TempDir,
}

/// Between so many containers packets are asked about.
const MOST_CONTAINERS: usize = 6;

/// What was printed as JSON; `None` where there is no answer.
fn json(words: &[&str]) -> Option<Value> {
    let output = nattrace().args(words).arg("--json").output().unwrap();
    let read = serde_json::from_slice(&output.stdout);
    assert!(read.is_ok() || output.status.code() == Some(2), "{words:?}: {}", show(&output));
    read.ok()
}

impl Twins {
    fn new(case: &Path) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (public, map) = (scratch.path().join("public"), scratch.path().join("map"));
        let mut command = nattrace();
        command.arg("redact").arg("-s").arg(case).arg("-o").arg(format!("{}/", public.display()));
        let policy = case.join("policy.toml");
        if policy.is_file() {
            command.arg("--policy").arg(policy);
        }
        let output = command.arg("--map").arg(&map).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}: {}", case.display(), show(&output));
        let map: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(&fs::read_to_string(map).unwrap()).unwrap();
        let known = map.get("container").into_iter().flat_map(BTreeMap::keys);
        let containers = known.take(MOST_CONTAINERS).cloned().collect();
        let words = map.into_values().flatten().collect();
        Self { case: case.to_owned(), public, words, containers, _scratch: scratch }
    }

    /// A text in which every word is what stands for it: `net:NAME`, `ADDRESS:PORT/tcp`, a name.
    fn renamed(&self, text: &str) -> String {
        if let Some(whole) = self.words.get(text) {
            return whole.clone();
        }
        let ends = |char: char| char.is_whitespace() || matches!(char, '(' | ')' | '[' | ']' | '/');
        let pieces = text.split_inclusive(ends).map(|piece| {
            let word = piece.trim_end_matches(ends);
            let new = self.words.get(word).cloned().unwrap_or_else(|| {
                let parts =
                    word.split(':').map(|part| self.words.get(part).map_or(part, |new| new));
                parts.collect::<Vec<_>>().join(":")
            });
            new + &piece[word.len()..]
        });
        pieces.collect()
    }

    /// Compares what both answer, each made into a sorted list of what cannot depend on names but
    /// by their pseudonyms.
    fn compare(
        &self,
        words: &[&str],
        essence: impl Fn(&Value, &dyn Fn(&str) -> String) -> Vec<String>,
    ) -> Result<usize, String> {
        let ask = |snapshot: &Path| {
            let snapshot = snapshot.display().to_string();
            let words: Vec<String> =
                words.iter().map(|word| word.replace("HOST", &snapshot)).collect();
            json(&words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (before, after) = match (ask(&self.case), ask(&self.public)) {
            (Some(before), Some(after)) => (before, after),
            (None, None) => return Ok(0),
            _ => return Err(format!("{} {words:?}: only one answers", self.case.display())),
        };
        let mut before = essence(&before, &|word| self.renamed(word));
        let mut after = essence(&after, &str::to_owned);
        before.sort();
        after.sort();
        if before == after {
            return Ok(before.len());
        }
        let only = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).take(4).cloned().collect()
        };
        Err(format!(
            "{} {words:?}: {} and {} answers\n- {:#?}\n+ {:#?}",
            self.case.display(),
            before.len(),
            after.len(),
            only(&before, &after),
            only(&after, &before)
        ))
    }
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("")
}

fn checked(answer: &Value, rename: &dyn Fn(&str) -> String) -> Vec<String> {
    let result = |result: &Value| {
        let whys: Vec<&Value> =
            list(result, "counterexamples").iter().map(|one| &one["why"]).collect();
        let outcomes: Vec<&str> = whys.iter().map(|why| text(why, "outcome")).collect();
        let [kind, status, family] = ["kind", "status", "family"].map(|key| text(result, key));
        format!("{} {kind} {status} {family} {outcomes:?}", rename(text(result, "name")))
    };
    list(answer, "results").iter().map(result).collect()
}

fn found(answer: &Value, _: &dyn Fn(&str) -> String) -> Vec<String> {
    let finding = |finding: &Value| {
        let words = ["code", "severity", "owner", "at"].map(|key| text(finding, key));
        format!("{words:?} {}", finding["witness"]["outcome"])
    };
    list(answer, "findings").iter().map(finding).collect()
}

fn reached(answer: &Value, rename: &dyn Fn(&str) -> String) -> Vec<String> {
    let cell = |cell: &Value| {
        let ends = ["from", "to"].map(|key| rename(text(cell, key)));
        let mut parts: Vec<String> = list(cell, "parts")
            .iter()
            .map(|part| {
                let sources: Vec<String> = list(part, "sources")
                    .iter()
                    .map(|source| rename(source.as_str().unwrap_or("")))
                    .collect();
                format!("{} {} {sources:?}", part["outcome"], part["verdict"])
            })
            .collect();
        parts.sort();
        let words = ["family", "breadth", "reach"].map(|key| text(cell, key));
        format!("{ends:?} {words:?} {} {parts:?}", cell["services"])
    };
    list(answer, "cells").iter().map(cell).collect()
}

fn changed(answer: &Value, rename: &dyn Fn(&str) -> String) -> Vec<String> {
    let change = |change: &Value| {
        let ends = ["from", "to"].map(|key| rename(text(change, key)));
        let outcomes = ["before", "after"].map(|key| text(&change["witness"][key], "outcome"));
        format!("{ends:?} {outcomes:?}")
    };
    let mut lines: Vec<String> = list(answer, "changes").iter().map(change).collect();
    lines.push(answer["equal"].to_string());
    lines
}

/// Takes the same line out of the rules of both: where the pseudonyms are right, the same changes.
fn without_a_rule(twins: &Twins) -> Option<(PathBuf, PathBuf)> {
    let name = ["iptables-save", "iptables-legacy-save"]
        .into_iter()
        .find(|name| twins.case.join(name).is_file())?;
    let rules = fs::read_to_string(twins.case.join(name)).unwrap();
    let is_rule =
        |line: &str| line.contains("-A POSTROUTING") || line.contains("-A DOCKER-USER -i");
    let gone = rules.lines().position(is_rule)?;
    let edited = |from: &Path, to: &str| {
        let folder = twins.public.with_file_name(to);
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        let text = fs::read_to_string(from.join(name)).unwrap();
        let left = text.lines().enumerate().filter(|(line, _)| *line != gone);
        let left: String = left.map(|(_, line)| format!("{line}\n")).collect();
        fs::write(folder.join(name), left).unwrap();
        folder
    };
    Some((edited(&twins.case, "edited"), edited(&twins.public, "public-edited")))
}

/// Packets between containers, the host and the internet, and what `why` says of each.
fn asked(twins: &Twins) -> Result<usize, String> {
    let flows = |name: &dyn Fn(&str) -> String| {
        let places: Vec<String> = twins.containers.iter().map(|one| name(one)).collect();
        let places = places.iter().map(String::as_str).chain(["host", "internet"]);
        let places: Vec<&str> = places.collect();
        let to = |from: &str| {
            let others = places.iter().filter(|to| **to != from);
            let line =
                |to: &&str| format!("{{\"src\":\"{from}\",\"dst\":\"{to}\",\"dport\":80}}\n");
            others.map(line).collect::<String>()
        };
        places.iter().map(|from| to(from)).collect::<String>()
    };
    let answers = |host: &Path, flows: String, rename: &dyn Fn(&str) -> String| {
        let file = twins.public.with_file_name("flows");
        fs::write(&file, flows).unwrap();
        let output = nattrace().args(["why", "--flows"]).arg(file).arg("-s").arg(host).output();
        let lines = String::from_utf8(output.unwrap().stdout).unwrap();
        let answers = lines.lines().map(|line| {
            let answer: Value = serde_json::from_str(line).unwrap();
            let met = list(&answer, "steps").iter().map(|step| {
                let words = ["step", "table", "effect"].map(|key| text(step, key));
                format!("{words:?} {}", step["rule"])
            });
            let source = rename(text(&answer["egress"], "src"));
            let words = ["verdict", "outcome"].map(|key| text(&answer, key));
            format!("{words:?} {source} {:?}", met.collect::<Vec<_>>())
        });
        answers.collect::<Vec<_>>()
    };
    let before = answers(&twins.case, flows(&str::to_owned), &|word| twins.renamed(word));
    let after = answers(&twins.public, flows(&|word| twins.renamed(word)), &str::to_owned);
    let differs = before.iter().zip(&after).find(|(before, after)| before != after);
    match differs {
        Some((before, after)) => {
            Err(format!("{} why:\n- {before}\n+ {after}", twins.case.display()))
        }
        None => Ok(before.len()),
    }
}

fn mended(answer: &Value, _: &dyn Fn(&str) -> String) -> Vec<String> {
    let edit = |edit: &Value| {
        let words = ["family", "backend", "table", "op"].map(|key| text(edit, key));
        format!("{words:?} {}", edit["position"])
    };
    let mut lines: Vec<String> = list(answer, "edits").iter().map(edit).collect();
    let settings = list(answer, "settings").iter().map(|setting| setting["name"].to_string());
    lines.extend(settings);
    lines.push(answer["verified"].to_string());
    lines
}

fn holds(case: &Path) -> Result<[usize; 6], String> {
    let twins = Twins::new(case);
    let mut counts = [0; 6];
    counts[4] = asked(&twins)?;
    if case.join("policy.toml").is_file() {
        counts[0] = twins.compare(&["check", "-s", "HOST", "HOST/policy.toml"], checked)?;
        // Without optimization one of them is enough.
        if !cfg!(debug_assertions) || case.ends_with("03-snat-hand-edit") {
            counts[5] = twins.compare(&["fix", "-s", "HOST", "HOST/policy.toml"], mended)?;
        }
    }
    counts[1] = twins.compare(&["audit", "-s", "HOST"], found)?;
    counts[2] = twins.compare(&["matrix", "-s", "HOST"], reached)?;
    if let Some((edited, public)) = without_a_rule(&twins) {
        let [edited, public] = [edited, public].map(|path| path.display().to_string());
        let old = twins.public.display().to_string();
        let before = json(&["diff", &case.display().to_string(), &edited]);
        let after = json(&["diff", &old, &public]);
        let lines = |answer: Option<Value>, rename: &dyn Fn(&str) -> String| {
            let mut lines = answer.map_or_else(Vec::new, |answer| changed(&answer, rename));
            lines.sort();
            lines
        };
        let before = lines(before, &|word| twins.renamed(word));
        let after = lines(after, &str::to_owned);
        if before != after {
            return Err(format!("{} diff:\n- {before:#?}\n+ {after:#?}", case.display()));
        }
        counts[3] = before.len();
    }
    Ok(counts)
}

/// One state of each kind, for a program without optimization.
const QUICK: [&str; 7] = [
    "03-snat-hand-edit",
    "05c-lan-masquerade-except-lan",
    "08a-ufw-docker",
    "11a-ipv6-ip6tables",
    "13-legacy-backend",
    "14a-docker-user-wrong-port",
    "17a-hand-forwards",
];

#[test]
fn every_command_answers_alike() {
    let mut cases: Vec<PathBuf> = fs::read_dir(root().join("corpus/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let only = std::env::var("NATTRACE_REDACT_CASE").unwrap_or_default();
    cases.retain(|case| case.display().to_string().contains(&only));
    if cfg!(debug_assertions) && only.is_empty() {
        let all = cases.len();
        cases.retain(|case| QUICK.iter().any(|quick| case.ends_with(quick)));
        println!("skipped without --release: {} states", all - cases.len());
    }
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let totals = Mutex::new([0; 6]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match holds(case) {
                        Ok(counts) => {
                            let mut totals = totals.lock().unwrap();
                            for (total, count) in totals.iter_mut().zip(counts) {
                                *total += count;
                            }
                        }
                        Err(fault) => faults.lock().unwrap().push(fault),
                    }
                }
            });
        }
    });
    let [checked, found, reached, changed, asked, mended] = totals.into_inner().unwrap();
    println!(
        "{} states: {asked} packets, {checked} results of check, {found} findings, {reached} cells, \
         {changed} changes, {mended} lines of fix",
        cases.len()
    );
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(!only.is_empty() || checked > 20 && found > 10 && reached > 100 && changed > 20);
    assert!(!only.is_empty() || asked > 50 && mended > 0);
}
