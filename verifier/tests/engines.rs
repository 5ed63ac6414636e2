//! Both engines say the same of every policy: on the cases of the corpus, and on random rules.
#![cfg(feature = "z3")]

use nattrace_corpus::case::Case;
use nattrace_model::System;
use nattrace_model::build::load;
use nattrace_parser::policy::{Given, parse};
use nattrace_verifier::check::{Engine, check_with};
use nattrace_verifier::draft;
use nattrace_verifier::smt::Z3;

const SOLVER: Z3 = Z3 { seconds: 60 };

fn cases() -> Vec<(String, System)> {
    let mut folders: Vec<_> = std::fs::read_dir("../corpus/cases")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
        .into_iter()
        .map(|folder| {
            let case = Case::read(&folder).unwrap();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            (name, load(&case.texts(), &[]).system)
        })
        .collect()
}

#[test]
fn both_engines_say_the_same_of_what_holds_today() {
    let only = std::env::var("NATTRACE_CASE").ok();
    let (mut agreed, mut alone) = (0, Vec::new());
    let mut at_odds = Vec::new();
    for (name, system) in cases() {
        if only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
            continue;
        }
        let text = draft::draft(&system).unwrap();
        let (policy, complaints) = parse(&text);
        assert_eq!(complaints, [], "{name}");
        let started = std::time::Instant::now();
        for entry in &policy.entries {
            let mut one = policy.clone();
            one.entries.retain(|other| {
                other.span == entry.span
                    || other.claim.kind() == nattrace_parser::policy::Kind::Allow
            });
            one.entries.retain(|other| other.span == entry.span);
            match check_with(&one, &system, &Given::default(), Engine::Both(&SOLVER)) {
                Ok(findings) => {
                    for finding in findings {
                        if finding.proved_by.len() == 2 {
                            agreed += 1;
                        } else {
                            alone.push(format!(
                                "{name}: {} by {:?}",
                                finding.name, finding.proved_by
                            ));
                        }
                    }
                }
                Err(fault) => at_odds.push(format!("{name}: {fault}")),
            }
        }
        println!("{name}: {} entries, {:?}", policy.entries.len(), started.elapsed());
    }
    println!("{agreed} agree, {} by one engine alone", alone.len());
    for line in &alone {
        println!("alone: {line}");
    }
    assert!(at_odds.is_empty(), "{}:\n{}", at_odds.len(), at_odds.join("\n"));
}

#[test]
fn sizes() {
    let only = std::env::var("NATTRACE_CASE").unwrap();
    for (name, system) in cases().into_iter().filter(|(name, _)| name.starts_with(&only)) {
        let text = "version = 1\n[[deny]]\nfrom = \"internet\"\nlands = \"host:9999\"\nfamily = \"ipv4\"\n[[egress]]\nfrom = \"net:*\"\nto = \"internet\"\nsource=\"1.2.3.4\"\nfamily=\"ipv4\"";
        let text2 =
            "version = 1\n[[allow]]\nfrom = \"internet\"\nto = \"host:22\"\nfamily = \"ipv4\"\n";
        for text in [text, text2] {
            let (policy, _) = parse(text);
            let started = std::time::Instant::now();
            for script in nattrace_verifier::smt::scripts(&policy, &system, &Given::default()) {
                println!(
                    "{name} {} {} bytes {} lines {:?}",
                    script.file_name,
                    script.text.len(),
                    script.text.lines().count(),
                    started.elapsed()
                );
                std::fs::write(format!("/tmp/z3-read/{name}-{}", script.file_name), script.text)
                    .unwrap();
            }
        }
    }
}
