//! Chains that call chains several times, level by level, neither hang nor fill the memory.

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::simulate::why;

/// The verdict for a packet that each of some levels takes to the next so many times.
#[expect(clippy::expect_used, reason = "a test asks a question that is fine")]
fn verdict(levels: usize, calls: usize) -> (Verdict, Outcome, bool) {
    let mut text = String::from("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n");
    text += ":OUTPUT ACCEPT [0:0]\n";
    text.extend((0..=levels).map(|level| format!(":C{level} - [0:0]\n")));
    text += "-A FORWARD -j C0\n";
    for level in 0..levels {
        text += &format!("-A C{level} -j C{}\n", level + 1).repeat(calls);
    }
    text += "COMMIT\n";
    let loaded = load(&[], &[Text { name: "rules", text: &text }]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let request = FlowRequest {
        source: "10.0.0.2".into(),
        destination: "1.1.1.1:80".into(),
        in_interface: Some("eth0".into()),
        ..FlowRequest::default()
    };
    let question = resolve(&loaded.system, &request);
    let question = question.expect("the question is fine");
    let answer = why(&question.system(&loaded.system), &question.flow);
    let told = answer.assumptions.iter().any(|assumption| assumption.code == "too-many-steps");
    (answer.verdict, answer.outcome, told)
}

#[test]
fn a_packet_that_meets_too_many_rules_is_undetermined() {
    assert_eq!(verdict(12, 10), (Verdict::Undetermined, Outcome::Undetermined, true));
}

#[test]
fn a_packet_that_meets_many_rules_is_answered() {
    let (verdict, _, told) = verdict(3, 10);
    assert_eq!((verdict, told), (Verdict::Forwarded, false));
}
