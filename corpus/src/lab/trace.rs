//! Which rules a packet met, in order: the kernel's own trace.
//!
//! A chain before all others marks every packet for tracing. iptables-nft tells its rules by
//! nftables' trace, iptables-legacy by a log message for each, which goes to group 0.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;

use nattrace_parser::syntax::{Backend, Family};

use super::command::output;
use super::native::TRACE_TABLE;
use super::netlink::{Message, Netlink, Request, flag, subsystem};
use super::rules::{Counted, Counts, Loader, difference};

/// Marks packets before connection tracking and every table sees them.
const MARK_ALL: &str = "\
table inet lab-trace {
    chain prerouting { type filter hook prerouting priority -450; meta nftrace set 1; }
    chain output { type filter hook output priority -450; meta nftrace set 1; }
}
";

/// `NFNLGRP_NFTRACE`.
const TRACE_GROUP: u32 = 9;

/// `NFT_MSG_GETRULE` and `NFT_MSG_TRACE`.
const GET_RULE: u8 = 7;
const TRACE: u8 = 17;

/// `NFPROTO_INET`, and `NFTA_TRACE_NFPROTO`.
const INET: u8 = 1;
const NFPROTO: u16 = 15;

/// `NFULNL_MSG_PACKET`, `NFULNL_MSG_CONFIG` and what it sets.
const LOGGED: u8 = 0;
const CONFIGURE: u8 = 1;
const BIND: u8 = 1;
const PREFIX: u16 = 10;

/// What the kernel tells about rules that packets meet.
pub(crate) struct Trace {
    netlink: Netlink,
    family: Family,
    backend: Backend,
    /// Where a rule of nftables is, by its handle.
    places: RefCell<BTreeMap<(String, u64), Counted>>,
    /// How many rules each chain has.
    lengths: RefCell<BTreeMap<(String, String), u32>>,
}

impl Trace {
    /// Begins to trace packets of a family.
    pub(crate) fn open(family: Family, backend: Backend) -> io::Result<Self> {
        output("nft", &["-f", "-"], MARK_ALL)?;
        let netlink = match backend {
            Backend::Nft => Netlink::open(&[TRACE_GROUP])?,
            Backend::Legacy => {
                let netlink = Netlink::open(&[])?;
                log_to(&netlink, family)?;
                netlink
            }
        };
        Ok(Self {
            netlink,
            family,
            backend,
            places: RefCell::new(BTreeMap::new()),
            lengths: RefCell::new(BTreeMap::new()),
        })
    }

    /// Learns which rules there are from what iptables-save printed; for nftables by their
    /// handles too.
    pub(crate) fn learn(&self, saved: &str) -> io::Result<()> {
        let mut lengths = BTreeMap::new();
        let mut table = "";
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some((_, rule)) = line.split_once("-A ") {
                let chain = rule.split(' ').next().unwrap_or("");
                *lengths.entry((table.to_owned(), chain.to_owned())).or_insert(0) += 1;
            }
        }
        *self.lengths.borrow_mut() = lengths;
        if self.backend == Backend::Nft {
            *self.places.borrow_mut() = self.handles()?;
        }
        self.forget()
    }

    fn handles(&self) -> io::Result<BTreeMap<(String, u64), Counted>> {
        let family = protocol_family(self.family);
        // Not the way that hears traces: an answer must not get between them.
        let netlink = Netlink::open(&[])?;
        let mut rules = Vec::new();
        for family in [family, INET] {
            let request = Request::new((subsystem::NFTABLES, GET_RULE), flag::DUMP, (family, 0));
            rules.extend(netlink.ask(request)?);
        }
        let mut next: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut places = BTreeMap::new();
        for rule in rules {
            let (Some(table), Some(chain), Some(handle)) =
                (rule.text(1), rule.text(2), rule.long(3))
            else {
                continue;
            };
            let index = next.entry((table.to_owned(), chain.to_owned())).or_insert(0);
            let (table, chain) = (table.to_owned(), chain.to_owned());
            let place = Counted { table: table.clone(), chain, rule: Some(*index) };
            places.insert((table, handle), place);
            *index += 1;
        }
        Ok(places)
    }

    /// Forgets what was told so far.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.netlink.heard().map(drop)
    }

    /// Whether more was met than could be told.
    pub(crate) fn has_overrun(&self) -> bool {
        self.netlink.has_overrun()
    }

    /// The rules and policies that were met since it was asked last, in order.
    pub(crate) fn take(&self) -> io::Result<Vec<Counted>> {
        let heard = self.netlink.heard()?;
        let met = heard.iter().filter_map(|message| match self.backend {
            Backend::Nft => self.traced(message),
            Backend::Legacy => self.logged(message),
        });
        Ok(met.collect())
    }

    /// What nftables' trace says: a rule that matched has its handle; where a packet returns
    /// from the end of a chain there is none.
    fn traced(&self, message: &Message) -> Option<Counted> {
        if (message.subsystem, message.kind) != (subsystem::NFTABLES, TRACE) {
            return None;
        }
        let own = protocol_family(self.family);
        let ours = match message.family {
            // A table of both families sees the other one's packets too.
            INET => message.number(NFPROTO)? == u32::from(own),
            family => family == own,
        };
        let (table, chain) = (message.text(1)?, message.text(2)?);
        if !ours || table == TRACE_TABLE {
            return None;
        }
        const POLICY: u32 = 1;
        if message.number(4)? == POLICY {
            return Some(Counted { table: table.to_owned(), chain: chain.to_owned(), rule: None });
        }
        let handle = message.long(3)?;
        self.places.borrow().get(&(table.to_owned(), handle)).cloned()
    }

    /// What iptables-legacy logs: `TRACE: filter:INPUT:rule:2 `, with the number of the rule, or
    /// for policies and ends of chains one more than there are.
    fn logged(&self, message: &Message) -> Option<Counted> {
        if (message.subsystem, message.kind) != (subsystem::LOG, LOGGED) {
            return None;
        }
        let place = message.text(PREFIX)?.strip_prefix("TRACE: ")?;
        let mut words = place.trim_end().split(':');
        let (table, chain) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (what, number) = (words.next()?, words.next()?.parse::<u32>().ok()?);
        let lengths = self.lengths.borrow();
        let length = lengths.get(&(table.clone(), chain.clone())).copied().unwrap_or(0);
        match (what, number.checked_sub(1)?) {
            (_, index) if index < length => Some(Counted { table, chain, rule: Some(index) }),
            ("policy", _) => Some(Counted { table, chain, rule: None }),
            _ => None,
        }
    }
}

/// Makes log messages about packets of a family come this way, each at once.
fn log_to(netlink: &Netlink, family: Family) -> io::Result<()> {
    let number = protocol_family(family);
    fs::write(format!("/proc/sys/net/netfilter/nf_log/{number}"), "nfnetlink_log")?;
    let ask = |kind: u16, payload: &[u8]| {
        let request = Request::new((subsystem::LOG, CONFIGURE), flag::ACK, (0, 0));
        netlink.ask(request.with(kind, payload)).map(drop)
    };
    const COMMAND: u16 = 1;
    const MODE: u16 = 2;
    const THRESHOLD: u16 = 5;
    ask(COMMAND, &[BIND])?;
    // struct nfulnl_msg_config_mode: nothing but what is known about the packet is copied.
    ask(MODE, &[0, 0, 0, 0, 1, 0])?;
    ask(THRESHOLD, &1u32.to_be_bytes())
}

fn protocol_family(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

/// How often each rule and policy was met.
pub(crate) fn counts(met: &[Counted]) -> Counts {
    let mut counts = Counts::new();
    for place in met {
        *counts.entry(place.clone()).or_default() += 1;
    }
    counts
}

/// What the counters of all backends say; rules at the same place count together.
fn counted_by(loaders: &[Loader]) -> io::Result<Counts> {
    let mut all = Counts::new();
    for loader in loaders {
        for (counted, packets) in loader.counts()? {
            *all.entry(counted).or_default() += packets;
        }
    }
    Ok(all)
}

/// How it is told which rules packets meet.
pub(crate) enum Meter {
    /// By the kernel's trace, in order.
    Trace(Trace),
    /// By the counters of rules, where there is no trace.
    Counters(Vec<Loader>, RefCell<Counts>),
}

impl Meter {
    /// A meter that needs nothing but the tools that loaded the rules.
    pub(crate) fn by_counters(loaders: Vec<Loader>) -> Self {
        Self::Counters(loaders, RefCell::default())
    }

    /// Whether more was met than could be told.
    pub(crate) fn has_overrun(&self) -> bool {
        match self {
            Self::Trace(trace) => trace.has_overrun(),
            Self::Counters(..) => false,
        }
    }

    /// Learns which rules there are from what iptables-save printed.
    pub(crate) fn learn(&self, saved: &str) -> io::Result<()> {
        match self {
            Self::Trace(trace) => trace.learn(saved),
            Self::Counters(..) => Ok(()),
        }
    }

    /// Forgets what was told so far.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match self {
            Self::Trace(trace) => trace.forget(),
            Self::Counters(loaders, before) => {
                before.replace(counted_by(loaders)?);
                Ok(())
            }
        }
    }

    /// How often each rule and policy was met since it was asked last, and in which order where
    /// that is known.
    pub(crate) fn take(&self) -> io::Result<(Counts, Option<Vec<Counted>>)> {
        match self {
            Self::Trace(trace) => {
                let met = trace.take()?;
                Ok((counts(&met), Some(met)))
            }
            Self::Counters(loaders, before) => {
                let after = counted_by(loaders)?;
                let new = difference(&before.borrow(), &after);
                before.replace(after);
                Ok((new, None))
            }
        }
    }
}
