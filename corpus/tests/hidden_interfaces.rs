//! Listings without `-v`: whatever the interfaces are that they hide, what the whole rules do must be
//! among the ways that are listed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use nattrace_corpus::case::Case;
use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::flow::FlowState;
use nattrace_model::simulate::why;

/// States of Docker hosts with their listings, which lie beside the repository.
fn states() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/docker");
    folder.is_dir().then_some(folder)
}

fn system(case: &Case, rules: &str) -> Option<System> {
    case.parts.iter().find(|(name, _)| name == rules)?;
    let given = |name: &str| name == rules || !name.starts_with("iptables-");
    let parts = case.parts.iter().filter(|(name, _)| given(name));
    let texts: Vec<Text<'_>> = parts.map(|(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{}/{rules}: {:?}", case.name, loaded.diagnostics);
    Some(loaded.system)
}

/// Verdict, outcome, and the packet that leaves.
type Gist = (Verdict, Outcome, Option<String>);

/// What an answer comes to.
fn gist(answer: &Answer) -> Gist {
    let egress = answer.egress.as_ref().map(|e| format!("{:?} {:?}", e.packet, e.out_interface));
    (answer.verdict, answer.outcome, egress)
}

#[test]
fn the_truth_is_among_the_ways() {
    let Some(folder) = states() else {
        nattrace_skips::skip_without_data("hidden interfaces");
        return;
    };
    let (mut asked, mut sure, mut ways, mut cuts, mut report) = (0, 0, 0, 0, String::new());
    for case in Case::read_all(&folder).unwrap() {
        let (Some(whole), Some(listed)) =
            (system(&case, "iptables-save"), system(&case, "iptables-L"))
        else {
            continue;
        };
        for probe in case.probes.iter().filter(|probe| probe.flow.src.is_ipv4()) {
            asked += 1;
            let flow = probe.question(FlowState::New);
            let (truth, answer) = (why(&whole, &flow), why(&listed, &flow));
            let cut = answer.assumptions.iter().any(|found| found.code == "too-many-branches");
            // Where the truth itself has several ways, each of them has to be there.
            let leaves = |answer: &Answer| match answer.branches.as_slice() {
                [] => vec![gist(answer)],
                branches => branches.iter().map(|branch| gist(&branch.answer)).collect(),
            };
            let found = leaves(&answer);
            sure += usize::from(answer.branches.is_empty());
            ways += found.len();
            // A way that is not decided either covers whatever comes of it.
            let covers = |way: &Gist, truth: &Gist| {
                let undecided = way.1 == Outcome::Undetermined;
                way.0 == truth.0 && way.2 == truth.2 && (undecided || way.1 == truth.1)
            };
            for one in leaves(&truth) {
                if !cut && !found.iter().any(|way| covers(way, &one)) {
                    writeln!(
                        report,
                        "{} {}: {one:?} is not among\n  {found:#?}",
                        case.name, probe.n
                    )
                    .unwrap();
                }
            }
            if cut {
                // Rules that change the packet are decided one by one.
                assert_eq!(answer.verdict, Verdict::Undetermined);
                println!("{} {}: too many ways", case.name, probe.n);
                cuts += 1;
            }
        }
    }
    println!("{asked} packets, {sure} without a doubt, {ways} ways, {cuts} times too many");
    assert!(asked > 0 && report.is_empty(), "{report}");
    assert!(cuts * 50 < asked && ways < asked * 10, "listings explode: {ways} ways, {cuts} cut");
}
