//! What is wrong with a request, and where.

use std::net::IpAddr;

use nattrace_parser::span::Span;

/// The part of a request that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the request's fields")]
pub enum Argument {
    Source,
    Destination,
    InInterface,
    SourcePort,
    DestinationPort,
    Protocol,
    State,
    Mark,
    TcpFlags,
    IcmpType,
    Ttl,
}

impl Argument {
    /// What the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "SRC",
            Self::Destination => "DST",
            Self::InInterface => "--in",
            Self::SourcePort => "--sport",
            Self::DestinationPort => "dport",
            Self::Protocol => "--proto",
            Self::State => "--state",
            Self::Mark => "--mark",
            Self::TcpFlags => "--tcp-flags",
            Self::IcmpType => "--icmp-type",
            Self::Ttl => "--ttl",
        }
    }
}

/// Why a request means no packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    /// The argument that is wrong.
    pub argument: Argument,
    /// The place in the text of that argument.
    pub span: Span,
    /// What is wrong.
    pub problem: Problem,
    /// What to do about it.
    pub help: Option<String>,
}

impl std::fmt::Display for EndpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for EndpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("expected an endpoint such as `172.18.0.3` or `web:80`, found nothing")]
    Empty,
    #[error("expected an address, found `{0}`")]
    InvalidAddress(String),
    #[error("expected one address, found the network `{0}`")]
    Network(String),
    #[error("expected a port from 1 to 65535, found `{0}`")]
    InvalidPort(String),
    #[error("unknown container or network `{0}`")]
    UnknownName(String),
    #[error("unknown network `{0}`")]
    UnknownNetwork(String),
    #[error("unknown container `{0}`")]
    UnknownContainer(String),
    #[error("unknown interface `{0}`")]
    UnknownInterface(String),
    #[error("container `{0}` does not run")]
    NotRunning(String),
    #[error("container `{0}` has no address")]
    NoAddress(String),
    #[error("network `{0}` has no subnet")]
    NoSubnet(String),
    #[error("source and destination have no IP version in common")]
    MixedFamilies,
    #[error("the host has no address of IPv{0} that is known")]
    NoHostAddress(u8),
    #[error("no interface of the host leads to a LAN")]
    NoLan,
    #[error("the routes lead to `{0}` by no interface")]
    NotRoutable(IpAddr),
    #[error("nothing tells by which interface `{0}` comes in")]
    UnknownIngress(IpAddr),
    #[error("expected a protocol, found `{0}`")]
    InvalidProtocol(String),
    #[error("`{0}` contradicts `{1}`")]
    Contradiction(String, String),
    #[error("`{0}` has no ports")]
    NoPorts(String),
    #[error("expected a destination port: `{0}` needs one")]
    MissingPort(String),
    #[error("expected `new`, `established`, `related`, `invalid` or `untracked`, found `{0}`")]
    InvalidState(String),
    #[error("expected a mark such as `0x10` or `16`, found `{0}`")]
    InvalidMark(String),
    #[error("expected TCP flags such as `SYN,ACK`, found `{0}`")]
    InvalidFlags(String),
    #[error("expected an ICMP type such as `echo-request` or `3/4`, found `{0}`")]
    InvalidIcmpType(String),
    #[error("expected a TTL from 0 to 255, found `{0}`")]
    InvalidTtl(String),
    #[error("`{0}` packets have no {1}")]
    NotOfProtocol(String, &'static str),
}

impl Problem {
    /// A stable name in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "missing-endpoint",
            Self::InvalidAddress(_) | Self::Network(_) => "invalid-address",
            Self::InvalidPort(_) => "invalid-port",
            Self::UnknownName(_) | Self::UnknownNetwork(_) | Self::UnknownContainer(_) => {
                "unknown-name"
            }
            Self::UnknownInterface(_) => "unknown-interface",
            Self::NotRunning(_) => "container-stopped",
            Self::NoAddress(_) | Self::NoSubnet(_) | Self::NoHostAddress(_) => "no-address",
            Self::MixedFamilies => "mixed-families",
            Self::NoLan => "no-lan",
            Self::NotRoutable(_) | Self::UnknownIngress(_) => "unknown-ingress",
            Self::InvalidProtocol(_) => "invalid-protocol",
            Self::Contradiction(..) => "contradiction",
            Self::NoPorts(_) => "no-ports",
            Self::MissingPort(_) => "missing-port",
            Self::InvalidState(_) => "invalid-state",
            Self::InvalidMark(_) => "invalid-mark",
            Self::InvalidFlags(_) => "invalid-tcp-flags",
            Self::InvalidIcmpType(_) => "invalid-icmp-type",
            Self::InvalidTtl(_) => "invalid-number",
            Self::NotOfProtocol(..) => "not-of-protocol",
        }
    }
}

/// A problem with advice, before its place is known.
#[derive(Clone, Debug)]
pub(super) struct Advised {
    pub(super) problem: Problem,
    pub(super) help: Option<String>,
}

impl From<Problem> for Advised {
    fn from(problem: Problem) -> Self {
        Self { problem, help: None }
    }
}

impl Problem {
    /// The problem with advice.
    pub(super) fn help(self, help: impl Into<String>) -> Advised {
        Advised { problem: self, help: Some(help.into()) }
    }
}

/// An error about a whole argument.
pub(super) fn at(argument: Argument, text: &str, advised: impl Into<Advised>) -> EndpointError {
    within(argument, Span::new(0, text.len()), advised)
}

/// An error about a place in an argument.
pub(super) fn within(argument: Argument, span: Span, advised: impl Into<Advised>) -> EndpointError {
    let Advised { problem, help } = advised.into();
    EndpointError { argument, span, problem, help }
}
