//! Every fact about the kernel that the simulator relies on, held to the simulator.
//!
//! `FACT=B1 cargo test -p nattrace-corpus --test facts` looks at one fact, or one section.

#[cfg(test)]
#[path = "facts/citations.rs"]
mod citations;
#[cfg(test)]
#[path = "facts/examination.rs"]
mod examination;
#[cfg(test)]
#[path = "facts/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::fs;

use citations::{cited_facts, held_elsewhere, root};
use examination::{examine, system};
use nattrace_corpus::fact::{Case, Fact, facts_dir};
use words::word;

#[test]
fn the_simulator_does_what_the_kernel_does() {
    let only = std::env::var("FACT").ok();
    let facts = Fact::read_all(&facts_dir()).unwrap();
    let (mut held, mut total, mut report) = (0, 0, Vec::new());
    let wanted =
        |fact: &&Fact| only.as_ref().is_none_or(|only| fact.fact.starts_with(only.as_str()));
    for fact in facts.iter().filter(wanted) {
        for scene in &fact.scenes {
            for (backend, case) in
                scene.backends().iter().flat_map(|b| scene.cases.iter().map(move |c| (*b, c)))
            {
                total += 1;
                match examine(scene, backend, case) {
                    Ok(()) => held += 1,
                    Err(why) => {
                        report.push(format!(
                            "  {} [{}] {} ({})\n{why}",
                            fact.fact,
                            word(backend),
                            case.ask,
                            scene.about
                        ));
                    }
                }
            }
        }
    }
    println!("{held}/{total} cases of {} facts hold", facts.len());
    assert!(total > 0 && held == total, "{held}/{total} cases hold\n{}", report.concat());
}

#[test]
fn what_is_refused_is_refused() {
    let mut wrong = Vec::new();
    for fact in Fact::read_all(&facts_dir()).unwrap() {
        for scene in &fact.scenes {
            let refused = scene.refused.iter().map(|rule| (rule, true));
            for (rule, expected) in refused.chain(scene.accepted.iter().map(|rule| (rule, false))) {
                for backend in scene.backends() {
                    let complaint = system(&scene.with_rule(rule), backend).err();
                    if complaint.is_some() != expected {
                        let complaint = complaint.unwrap_or_else(|| "      accepted\n".to_owned());
                        wrong.push(format!(
                            "  {} [{}] {rule}\n{complaint}",
                            fact.fact,
                            word(backend)
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.concat());
}

/// A case that names nothing to compare would always hold.
#[test]
fn every_case_says_something() {
    for fact in Fact::read_all(&facts_dir()).unwrap() {
        for case in fact.scenes.iter().flat_map(|scene| &scene.cases) {
            let blank = Case { ask: case.ask.clone(), ttl: case.ttl, ..Case::default() };
            assert_ne!(format!("{case:?}"), format!("{blank:?}"), "{}: {}", fact.fact, case.ask);
        }
    }
}

#[test]
fn every_fact_that_is_cited_is_held_by_a_test() {
    let mut held: BTreeSet<String> =
        Fact::read_all(&facts_dir()).unwrap().into_iter().map(|fact| fact.fact).collect();
    held.extend(held_elsewhere().into_keys());
    let missing: Vec<String> = cited_facts()
        .into_iter()
        .filter(|(fact, _)| !held.contains(fact))
        .map(|(fact, file)| format!("{fact} ({file})"))
        .collect();
    assert!(missing.is_empty(), "without a case: {}", missing.join(", "));
}

#[test]
fn the_tests_elsewhere_exist() {
    let root = root();
    for (fact, tests) in held_elsewhere() {
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let text = fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{fact}: {file}: {error}"));
            let defined = text.contains(&format!("fn {name}("));
            assert!(defined, "{fact}: {file} has no test `{name}`");
        }
    }
}

/// The page where a citation can be looked up.
#[test]
fn every_fact_that_is_cited_is_told() {
    let root = root();
    let page = fs::read_to_string(root.join("docs/semantics.md")).unwrap();
    let told = |fact: &str| page.contains(&format!("**{fact}**"));
    let cited = cited_facts();
    let missing: Vec<&str> = cited.keys().map(String::as_str).filter(|fact| !told(fact)).collect();
    assert!(missing.is_empty(), "not told in docs/semantics.md: {}", missing.join(", "));
    let of_files: Vec<String> = Fact::read_all(&facts_dir())
        .unwrap()
        .into_iter()
        .map(|fact| fact.fact)
        .filter(|fact| !told(fact))
        .collect();
    assert!(of_files.is_empty(), "not told in docs/semantics.md: {}", of_files.join(", "));
}
