//! Who connects to whom, in the words that all forms of a matrix share.

pub(crate) mod csv;
pub(crate) mod dot;
mod grid;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod picture;
pub(crate) mod table;

use std::fmt::Write;
use std::net::IpAddr;

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_parser::syntax::Family;
use nattrace_verifier::matrix::{
    Breadth, Cell, Landing, Matrix, Part, Reach, Scope, Service, Share, Source, Target, Which,
};
use nattrace_verifier::policy::Where;

use super::context::Context;
use super::{names, words};

/// A matrix with what its words need.
pub(crate) struct View<'a> {
    /// The host.
    pub(crate) context: &'a Context<'a>,
    /// The matrix.
    pub(crate) matrix: &'a Matrix,
    /// What was asked for.
    pub(crate) scope: &'a Scope,
}

/// The families that have cells, each with its name.
fn families(matrix: &Matrix) -> Vec<(Family, &'static str)> {
    let has = |family: Family| matrix.cells.iter().any(|cell| cell.family == family);
    let all = [(Family::Ipv4, "IPv4"), (Family::Ipv6, "IPv6")];
    all.into_iter().filter(|(family, _)| has(*family)).collect()
}

/// The key of a family in formats for programs.
fn family_key(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

impl View<'_> {
    /// The name of a sending zone.
    fn from(&self, index: usize) -> String {
        self.matrix.from.get(index).map_or_else(String::new, |zone| words::visible(&zone.name))
    }

    /// The name of an addressed zone.
    fn to(&self, index: usize) -> String {
        self.matrix.to.get(index).map_or_else(String::new, |zone| words::visible(&zone.name))
    }

    /// The services of a cell, so many at most.
    fn services(&self, cell: &Cell, most: usize) -> String {
        let whole = self.scope.services.is_empty();
        match cell.breadth {
            Breadth::Everything if whole => "everything".to_owned(),
            Breadth::Rest if whole => "everything else".to_owned(),
            Breadth::Everything | Breadth::Rest | Breadth::Some => listed(&cell.services, most),
        }
    }

    /// What becomes of a part: `connects as 192.0.2.2 at web (172.17.0.2:80)`.
    fn fate(&self, part: &Part) -> String {
        let mut text = names::outcome(part.outcome).to_owned();
        let plain = |source: &Source| *source == Source::Unchanged;
        let arrives = !part.landings.is_empty();
        if !arrives {
            let _ = write!(text, " ({})", names::verdict(part.verdict));
        }
        // Which port of which address it is about is a matter of the witness.
        let closed = part.verdict == Verdict::Delivered
            && matches!(part.outcome, Outcome::Refused | Outcome::Unreachable);
        if closed {
            return format!("{text} (nothing listens)");
        }
        let gets_there = matches!(part.outcome, Outcome::Connects | Outcome::Undetermined);
        if arrives && gets_there && !part.sources.iter().all(plain) {
            let each: Vec<String> = part.sources.iter().map(source_words).collect();
            let _ = write!(text, " as {}", each.join(" or "));
        }
        let told: Vec<String> = part
            .landings
            .iter()
            .filter_map(|landing| self.landing(landing, part.verdict))
            .collect();
        if !told.is_empty() {
            let _ = write!(text, " at {}", told.join(" or "));
        }
        if let Some(because) = &part.because {
            let _ = write!(text, ": {}", words::visible(because));
        }
        text
    }

    /// Where packets arrive, if it is not where they are addressed.
    fn landing(&self, landing: &Landing, verdict: Verdict) -> Option<String> {
        let address = match &landing.address {
            Target::Address(address) => self.named(*address, landing.port),
            Target::Network(network) => network.to_string(),
            Target::AsAddressed => format!("port {}", landing.port?),
        };
        let proxied = landing.proxied || verdict == Verdict::Proxied;
        Some(if proxied { format!("{address} through docker-proxy") } else { address })
    }

    /// `web (172.17.0.2:80)`.
    fn named(&self, address: IpAddr, port: Option<u16>) -> String {
        let socket = words::socket(address, port);
        let host = &self.context.system.host;
        match host.inventory.owner(address) {
            Some((container, _)) => format!("{} ({socket})", words::visible(&container.name)),
            None if host.owner(address).is_some() => format!("this host ({socket})"),
            None => socket,
        }
    }

    /// What the matrix says at the end: how many cells there are of each kind.
    fn count(&self, reach: Reach) -> usize {
        self.matrix.cells.iter().filter(|cell| cell.reach == reach).count()
    }
}

/// `22/tcp, 80/tcp, 3 more`.
fn listed(services: &[Service], most: usize) -> String {
    let named = if services.len() > most { most.saturating_sub(1) } else { services.len() };
    let mut words: Vec<String> = services.iter().take(named).map(ToString::to_string).collect();
    if services.len() > named {
        words.push(format!("{} more", services.len() - named));
    }
    words.join(", ")
}

/// A source as packets wear it.
fn source_words(source: &Source) -> String {
    match source {
        Source::Unchanged => "itself".to_owned(),
        Source::Address(address) => address.to_string(),
        Source::Network(network) => network.to_string(),
        Source::Unknown => "an unknown address".to_owned(),
    }
}

/// Which packets a part is: `from 10.0.0.0/8 to 172.17.0.2`.
fn which_words(which: &Which) -> String {
    let mut words = Vec::new();
    if let Some(starts) = &which.starts {
        let start = |at: &Where| match at {
            Where::Unbound => "from a process that is not bound".to_owned(),
            Where::Bound => "from a bound process".to_owned(),
            Where::Behind(interface) => format!("in by {}", words::visible(interface)),
        };
        words.push(starts.iter().map(start).collect::<Vec<_>>().join(" or "));
    }
    let mut share = |what: &str, share: Option<String>| {
        words.extend(share.map(|values| format!("{what} {values}")));
    };
    share("from", which.sources.as_ref().map(|own| shares(own, prefix_words)));
    share("to", which.destinations.as_ref().map(|own| shares(own, prefix_words)));
    share("from port", which.source_ports.as_ref().map(|own| shares(own, range_words)));
    share("to port", which.ports.as_ref().map(|own| shares(own, range_words)));
    words.join(", ")
}

fn shares<T>(share: &Share<T>, word: impl Fn(&T) -> String) -> String {
    let named: Vec<String> = share.named.iter().map(word).collect();
    format!("{}{}", named.join(" "), if share.more { " …" } else { "" })
}

fn prefix_words(prefix: &nattrace_model::address::Prefix) -> String {
    let text = prefix.to_string();
    let whole = text.strip_suffix("/32").or_else(|| text.strip_suffix("/128"));
    whole.map(str::to_owned).unwrap_or(text)
}

fn range_words((first, last): &(u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
