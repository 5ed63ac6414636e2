//! Every probe of every case: what the simulator says against what the kernel did.

use nattrace_corpus::agreement::check;
use nattrace_corpus::case::{Case, Sender, cases_dir};
use nattrace_model::System;
use nattrace_model::build::load;

fn system(case: &Case) -> System {
    let loaded = load(&case.texts(), &[]);
    assert!(!loaded.has_errors(), "{}: {:?}", case.name, loaded.diagnostics);
    loaded.system
}

#[test]
fn every_observed_probe_is_predicted() {
    let cases = Case::read_all(&cases_dir()).unwrap();
    let (mut total, mut agreed, mut report) = (0, 0, String::new());
    for case in cases.iter().filter(|case| !case.probes.is_empty()) {
        let system = system(case);
        for probe in &case.probes {
            total += 1;
            assert!(probe.kind != Sender::Host || probe.flow.iif.is_none());
            let (answer, differences) = check(&system, probe);
            if differences.is_empty() {
                agreed += 1;
                continue;
            }
            report += &format!(
                "{} {} {} ({} -> {}): {:?} {}\n",
                case.name,
                probe.n,
                probe.probe,
                probe.flow.src,
                probe.flow.dst,
                answer.verdict,
                answer.branches.len()
            );
            for step in &answer.steps {
                report += &format!("      {step:?}\n");
            }
            for line in differences {
                report += &format!("    {line}\n");
            }
        }
    }
    println!("{agreed}/{total} observed probes predicted");
    assert!(total > 0 && agreed == total, "{agreed}/{total}\n{report}");
}
