//! Open connections that a plan concerns: they keep the translation that they have (kernel-facts
//! F10) until somebody makes the kernel forget them.

use nattrace_apply::{Session, connections, forget};
use nattrace_model::System;
use nattrace_model::endpoint::{self, FlowRequest};
use nattrace_model::simulate;
use nattrace_parser::host::conntrack::{Connection, TupleDetail};

use super::preflight::View;

/// How many connections are looked at.
const MOST: usize = 20_000;

/// The connections that a new rule would treat in another way.
pub(super) struct Flows {
    affected: Vec<Connection>,
    note: Option<String>,
}

impl Flows {
    /// Asks what becomes of the first packet of each, before and after.
    pub(super) fn affected(now: &View, then: &View, session: Option<&Session>) -> Self {
        let all = match connections() {
            Ok(all) => all,
            Err(fault) => {
                let note = Some(format!("open connections can't be listed: {fault}"));
                return Self { affected: Vec::new(), note };
            }
        };
        let note = (all.len() > MOST)
            .then(|| format!("of {} open connections only {MOST} were looked at", all.len()));
        let differs = |connection: &Connection| {
            let request = first_packet(connection);
            fate(&now.system, &request) != fate(&then.system, &request)
        };
        let affected = all
            .into_iter()
            .take(MOST)
            // Its sender chose the interface, whatever the routes say.
            .filter(|connection| !connection.original.destination.is_multicast())
            .filter(|connection| !session.is_some_and(|session| is_own(connection, session)))
            .filter(differs)
            .collect();
        Self { affected, note }
    }

    /// One line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.affected.iter().map(line).collect()
    }

    /// What could not be found out.
    pub(super) fn notes(&self) -> Option<String> {
        self.note.clone()
    }

    /// Makes the kernel forget them; what could not be forgotten is told.
    pub(super) fn flush(&self) -> Vec<String> {
        let forgotten = self.affected.iter().map(|connection| (connection, forget(connection)));
        let failed = forgotten.filter_map(|(connection, forgotten)| {
            // One that ended by itself is gone as well.
            let fault = forgotten.err().filter(|fault| !fault.contains("0 flow entries"))?;
            Some(format!("{} was not forgotten: {fault}", line(connection)))
        });
        failed.collect()
    }
}

fn line(connection: &Connection) -> String {
    let tuple = connection.original;
    let protocol = nattrace_parser::protocols::name(connection.protocol)
        .map_or_else(|| connection.protocol.to_string(), str::to_owned);
    match tuple.detail {
        TupleDetail::Ports { source, destination } => {
            format!("{protocol} {}:{source} -> {}:{destination}", tuple.source, tuple.destination)
        }
        TupleDetail::None | TupleDetail::Keys { .. } | TupleDetail::Icmp { .. } => {
            format!("{protocol} {} -> {}", tuple.source, tuple.destination)
        }
    }
}

/// Nobody's own session is cut.
fn is_own(connection: &Connection, session: &Session) -> bool {
    let tuple = connection.original;
    let ports =
        TupleDetail::Ports { source: session.client_port, destination: session.server_port };
    tuple.source == session.client && tuple.detail == ports
}

fn first_packet(connection: &Connection) -> FlowRequest {
    let tuple = connection.original;
    let mut request = FlowRequest {
        source: tuple.source.to_string(),
        destination: tuple.destination.to_string(),
        protocol: Some(connection.protocol.to_string()),
        ..FlowRequest::default()
    };
    if let TupleDetail::Ports { source, destination } = tuple.detail {
        request.source_port = Some(source.to_string());
        request.destination_port = Some(destination.to_string());
    }
    request
}

/// What the first packet of a connection leaves as, and what its sender experiences.
fn fate(system: &System, request: &FlowRequest) -> Option<String> {
    let question = endpoint::resolve(system, request).ok()?;
    let answer = simulate::why(&question.system(system), &question.flow);
    let egress = answer.egress.map(|egress| {
        let packet = egress.packet;
        (packet.source, packet.destination, egress.out_interface)
    });
    Some(format!("{:?} {egress:?}", answer.outcome))
}
