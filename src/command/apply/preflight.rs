//! What a plan would do to those who must not be hurt: the operator's own session, flows that must
//! hold, the policy.

use std::sync::Arc;

use nattrace_apply::{Override, Plan, Refusal, Session};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Step};
use nattrace_model::build::{self, Loaded, Untold};
use nattrace_model::endpoint::{self, FlowRequest};
use nattrace_model::simulate;
use nattrace_parser::Severity;
use nattrace_parser::policy::{self, Given, Policy};
use nattrace_verifier::check::{Status, check};

use crate::args::Global;
use crate::command::why::flows::read_line;
use crate::exit::{Failure, Result};
use crate::input::Text;
use crate::output::names;

/// A host, as it is or as it would be.
pub(in crate::command) struct View {
    pub(super) system: System,
}

impl View {
    /// Builds it from the parts of a snapshot.
    pub(in crate::command) fn new(
        global: &Global,
        parts: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let told = |fault| Failure::input(format!("this host can't be read: {fault}"));
        Self::read(global, parts).map_err(told)
    }

    /// The same of a host as it would be: rules that can't be are no fault of the host.
    pub(super) fn with_edits(
        global: &Global,
        parts: Vec<(&'static str, String)>,
    ) -> std::result::Result<Self, Refusal> {
        let told = |fault| Refusal::new(format!("the edits do not fit: {fault}"));
        Self::read(global, parts).map_err(told)
    }

    fn read(
        global: &Global,
        parts: Vec<(&'static str, String)>,
    ) -> std::result::Result<Self, String> {
        let text =
            |(name, text): (&str, String)| Text { name: name.to_owned(), text: Arc::new(text) };
        let parts: Vec<Text> = parts.into_iter().map(text).collect();
        let untold = Untold { family: global.family(), backend: global.backend() };
        let Loaded { system, diagnostics } = build::load_shared(&parts, &[], untold);
        let mut errors =
            diagnostics.iter().filter(|found| found.diagnostic.severity == Severity::Error);
        match errors.next() {
            Some(found) => {
                let message = &found.diagnostic.message;
                Err(format!("{}: {message}", found.part))
            }
            None => Ok(Self { system }),
        }
    }

    fn ask(&self, request: &FlowRequest) -> std::result::Result<Seen, String> {
        let question =
            endpoint::resolve(&self.system, request).map_err(|error| error.problem.to_string())?;
        let system = question.system(&self.system);
        let answer = simulate::why(&system, &question.flow);
        Ok(Seen { outcome: answer.outcome, trace: trace(&system, &answer) })
    }
}

/// What becomes of a packet, and by which rules.
#[derive(PartialEq, Eq)]
struct Seen {
    outcome: Outcome,
    trace: Vec<String>,
}

/// The way of a packet in words that do not depend on where rules stand.
fn trace(system: &System, answer: &Answer) -> Vec<String> {
    let step = |step: &Step| match step {
        Step::Rule { rule, effect, .. } => {
            let text = system.rules.rule(*rule).map_or("", |rule| system.rules.text(rule));
            format!("{} {text}", names::effect(effect))
        }
        Step::Return { chain, .. } | Step::Policy { chain, .. } => {
            system.rules.chain(*chain).map_or_else(String::new, |chain| chain.name.to_string())
        }
        other => format!("{other:?}"),
    };
    let reply = answer.reply.iter().flat_map(|reply| &reply.steps);
    let mut lines: Vec<String> = answer.steps.iter().chain(reply).map(step).collect();
    for branch in &answer.branches {
        lines.push(format!("{:?}", branch.answer.outcome));
        lines.extend(trace(system, &branch.answer));
    }
    lines
}

/// What must not change for the worse.
pub(super) struct Judge {
    flows: Vec<MustHold>,
    policy: Option<(String, Policy)>,
}

struct MustHold {
    name: String,
    request: FlowRequest,
    outcome: String,
}

/// What was found.
#[derive(Default)]
pub(in crate::command) struct Verdict {
    /// What is in the way.
    pub(in crate::command) refusals: Vec<Refusal>,
    /// What a person should know.
    pub(in crate::command) notes: Vec<String>,
}

impl Judge {
    /// Reads what a plan says of it.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let mut flows = Vec::new();
        for (index, held) in plan.must_hold.iter().enumerate() {
            let text = serde_json::Value::Object(held.flow.clone()).to_string();
            let request = read_line(text.as_bytes(), None).map_err(|fault| {
                Failure::input(format!("`must_hold` {} of the plan: {fault}", index + 1))
            })?;
            let ends = format!("{} -> {}", request.source, request.destination);
            let name = if held.name.is_empty() { ends } else { held.name.clone() };
            flows.push(MustHold { name, request, outcome: held.outcome.clone() });
        }
        let policy = plan.policy.as_ref().map(|written| {
            let (policy, faults) = policy::parse(&written.text);
            match faults.iter().find(|fault| fault.severity == Severity::Error) {
                Some(fault) => Err(Failure::input(format!(
                    "the policy `{}` in the plan: {}",
                    written.name, fault.message
                ))),
                None => Ok((written.name.clone(), policy)),
            }
        });
        Ok(Self { flows, policy: policy.transpose()? })
    }

    /// Compares a host as it is with what it will be.
    pub(super) fn judge(&self, now: &View, then: &View, session: Option<&Session>) -> Verdict {
        let mut verdict = Verdict::default();
        if let Some(session) = session {
            own_session(session, now, then, &mut verdict);
        }
        for flow in &self.flows {
            let found = match then.ask(&flow.request) {
                Ok(seen) => names::outcome(seen.outcome).to_owned(),
                Err(fault) => fault,
            };
            if found != flow.outcome {
                let message = format!(
                    "`{}` must hold as `{}`, and would be: {found}",
                    flow.name, flow.outcome
                );
                verdict.refusals.push(Refusal::new(message).force(Override::MustHold));
            }
        }
        if let Some((name, policy)) = &self.policy {
            self.policy(name, policy, then, &mut verdict);
        }
        verdict
    }

    fn policy(&self, name: &str, policy: &Policy, then: &View, verdict: &mut Verdict) {
        let findings = match check(policy, &then.system, &Given::default()) {
            Ok(findings) => findings,
            Err(fault) => {
                let message = format!("the policy `{name}` can't be checked: {fault}");
                verdict.refusals.push(Refusal::new(message).force(Override::MustHold));
                return;
            }
        };
        for finding in findings {
            match finding.status {
                Status::Holds => {}
                Status::Fails => {
                    let message = format!("`{}` of `{name}` would not hold", finding.name);
                    let help = "make the plan anew: `nattrace fix`";
                    let refusal = Refusal::new(message).help(help).force(Override::MustHold);
                    verdict.refusals.push(refusal);
                }
                Status::Unknown => {
                    let note = format!("whether `{}` of `{name}` holds is unknown", finding.name);
                    verdict.notes.push(note);
                }
            }
        }
    }
}

/// The operator's own connection, or why it is not known; `None` on a console.
pub(in crate::command) fn session() -> std::result::Result<Option<Session>, Refusal> {
    let Some(text) = nattrace_apply::ssh_connection() else { return Ok(None) };
    Session::read(&text).map(Some).ok_or_else(|| {
        let message = format!("your session is not known: `SSH_CONNECTION` is `{text}`");
        let help = "expected `CLIENT PORT SERVER PORT`, as sshd sets it; empty on a console";
        Refusal::new(message).help(help).force(Override::Ssh)
    })
}

/// The packets of the operator's session, in both directions, and of a new one like it.
pub(in crate::command) fn own_session(
    session: &Session,
    now: &View,
    then: &View,
    verdict: &mut Verdict,
) {
    let packets = [
        ("a new connection like yours", false, "new"),
        ("your SSH session", false, "established"),
        ("the answers of your SSH session", true, "established"),
    ];
    for (what, back, connection) in packets {
        let request = packet(session, back, connection);
        let told = match (now.ask(&request), then.ask(&request)) {
            // The same rules decide alike.
            (Ok(now), Ok(then)) if now == then => continue,
            (Ok(_), Ok(then)) if then.outcome == Outcome::Connects => continue,
            // A host that does not know sshd says the same before and after.
            (Ok(now), Ok(then)) if now.outcome == then.outcome && is_known(now.outcome) => continue,
            (Ok(_), Ok(then)) => format!("would be: {}", names::outcome(then.outcome)),
            (_, Err(fault)) | (Err(fault), _) => format!("can't be foreseen: {fault}"),
        };
        let message = format!("{what} ({}) {told}", session.text);
        let help = "the session that applies a plan must outlive it";
        verdict.refusals.push(Refusal::new(message).help(help).force(Override::Ssh));
    }
}

fn is_known(outcome: Outcome) -> bool {
    outcome != Outcome::Undetermined
}

fn packet(session: &Session, back: bool, state: &str) -> FlowRequest {
    let client = (session.client.to_string(), session.client_port);
    let server = (session.server.to_string(), session.server_port);
    let (from, to) = if back { (server, client) } else { (client, server) };
    FlowRequest {
        source: from.0,
        destination: to.0,
        source_port: Some(from.1.to_string()),
        destination_port: Some(to.1.to_string()),
        protocol: Some("tcp".to_owned()),
        state: Some(state.to_owned()),
        in_interface: session.interface.clone().filter(|_| !back),
        ..FlowRequest::default()
    }
}
