//! Faults of nattrace that it notices: two of its programs say different things.

use std::fmt;
use std::net::IpAddr;

use nattrace_model::flow::Flow;
use nattrace_parser::protocols;

use super::finding::Counterexample;

/// Two of the engines, or one and the simulator, say different things: a fault of nattrace.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The entry.
    pub name: String,
    /// A packet that it is about, where there is one.
    pub flow: Option<Box<Flow>>,
    /// Who disagree.
    pub between: Between,
    /// What the first of them says.
    pub one: String,
    /// What the second of them says.
    pub other: String,
    /// The packet with what the simulator says of it, where it breaks the entry.
    pub shown: Option<Box<Counterexample>>,
}

/// Who disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The classes and the simulator.
    ClassesAndSimulator,
    /// A solver and the simulator.
    SolverAndSimulator,
    /// The classes and a solver.
    Engines,
}

impl Between {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ClassesAndSimulator => ("the classes say", "the simulator says"),
            Self::SolverAndSimulator => ("the solver says", "the simulator says"),
            Self::Engines => ("the classes say", "the solver says"),
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.name)?;
        if let Some(flow) = &self.flow {
            write!(f, "of the packet `{}`, ", packet(flow))?;
        }
        let (one, other) = self.between.words();
        write!(f, "{one} that {}, and {other} that {}", self.one, self.other)
    }
}

impl std::error::Error for Disagreement {}

/// A packet as `why` is asked about it.
fn packet(flow: &Flow) -> String {
    let end = |address: IpAddr, port: Option<u16>| match (address, port) {
        (IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
        (IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (_, None) => address.to_string(),
    };
    let source = end(flow.source, flow.source_port);
    let to = end(flow.destination, flow.destination_port);
    let protocol = protocols::name(flow.protocol);
    let protocol = protocol.map_or_else(|| flow.protocol.to_string(), ToOwned::to_owned);
    let by = flow.in_interface.as_ref().map_or_else(String::new, |by| format!(" --in {by}"));
    format!("{source} -> {to}/{protocol}{by}")
}
