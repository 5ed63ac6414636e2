//! What the third packet of a handshake meets, which the lab sends before it asks further.

use nattrace_model::System;
use nattrace_model::answer::{Answer, Verdict};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::simulate::why;

use super::{ExpectedSeen, Extent, leaves};
use crate::lab::trial::Trial;

/// The ways that the third packet of a handshake may go.
pub(super) fn acknowledgements(
    system: &System,
    trial: &Trial,
    first: &Answer,
) -> Vec<ExpectedSeen> {
    let flow = Flow { state: FlowState::Established, tcp_flags: None, ..trial.flow.clone() };
    let answer = why(system, &flow);
    if answer.branches.is_empty() {
        return vec![acknowledgement(system, &answer, first)];
    }
    let branches = answer.branches.iter();
    branches.map(|branch| acknowledgement(system, &branch.answer, first)).collect()
}

fn acknowledgement(system: &System, answer: &Answer, first: &Answer) -> ExpectedSeen {
    let mut seen = ExpectedSeen::new(system, &answer.steps);
    // The host itself answers what it rejects, and what ends here of a connection with another one.
    let stays = answer.verdict == Verdict::Delivered && leaves(first.verdict);
    if stays || answer.verdict == Verdict::Rejected {
        seen.extent = Extent::AtLeast;
    }
    if leaves(answer.verdict) {
        let mut egress = answer.egress.clone();
        if let (Some(egress), Some(first)) = (&mut egress, &first.egress) {
            // The handshake's first packet has drawn it, or got one that nobody knows.
            egress.source_port_random |= first.source_port_random;
            egress.source_unknown |= first.source_unknown;
        }
        seen.depart(egress.as_ref(), &answer.steps, None);
    }
    seen
}
