//! Which chains of a paste make up a table, and which table that is.

use std::collections::HashSet;

use super::Block;
use crate::extension::{ExtensionKind, find};
use crate::span::Span;
use crate::syntax::{Backend, Family, TableName};

/// The built-in chains in the order in which a table lists them.
const BUILTIN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// The chains of nat before Linux 2.6.34, in their order.
const OLD_NAT: &[&str] = &["PREROUTING", "POSTROUTING", "OUTPUT"];

/// What a line before the chains says of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    pub(super) table: TableName,
    pub(super) family: Option<Family>,
    pub(super) backend: Option<Backend>,
    pub(super) span: Span,
}

/// The chains of one table.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) hint: Option<Hint>,
    pub(super) blocks: Vec<Block<'a>>,
}

/// How a table was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A command names it, or only this table has these chains.
    Surely,
    /// Another table may have these chains as well.
    Probably,
}

/// Divides the chains into tables.
pub(super) fn segments<'a>(blocks: Vec<Block<'a>>, hints: &[Hint]) -> Vec<Segment<'a>> {
    let mut segments: Vec<Segment<'a>> = Vec::new();
    let mut last_hint = None;
    let mut listed = Listed::default();
    for block in blocks {
        let fresh = block.hint != last_hint;
        let name = block.header.name.text;
        let same = segments.last_mut().filter(|_| !fresh && !listed.starts_table(name));
        match same {
            Some(segment) => segment.blocks.push(block),
            None => {
                let hint =
                    block.hint.filter(|_| fresh).and_then(|number| hints.get(number)).copied();
                last_hint = block.hint;
                listed = Listed::default();
                segments.push(Segment { hint, blocks: vec![block] });
            }
        }
        listed.add(name);
    }
    segments
}

/// The chains of a table so far.
#[derive(Debug, Default)]
struct Listed<'a> {
    names: HashSet<&'a str>,
    /// The place of the last built-in chain in the order of hooks.
    builtin: Option<usize>,
    /// Whether the last chain is a user chain.
    user_chain_last: bool,
    /// Whether a chain is none of the old nat table's.
    other_than_old_nat: bool,
}

impl<'a> Listed<'a> {
    fn add(&mut self, name: &'a str) {
        let place = place(name);
        self.names.insert(name);
        self.builtin = place.or(self.builtin);
        self.user_chain_last = place.is_none();
        self.other_than_old_nat |= !OLD_NAT.contains(&name);
    }

    /// Whether this chain can't stand in the table of the chains before it: a table lists its
    /// built-in chains first, in the order of their hooks, and each chain once.
    fn starts_table(&self, name: &str) -> bool {
        if self.names.contains(name) {
            return true;
        }
        // With only user chains so far, it is a part of a listing in its own order.
        let (Some(here), Some(last)) = (place(name), self.builtin) else { return false };
        let old_nat = name == "OUTPUT" && !self.other_than_old_nat;
        self.user_chain_last || here < last && !old_nat
    }
}

/// The place of a built-in chain in the order of hooks.
fn place(name: &str) -> Option<usize> {
    BUILTIN.iter().position(|builtin| *builtin == name)
}

impl Segment<'_> {
    /// Where it begins.
    pub(super) fn span(&self) -> Span {
        let header = self.blocks.first().map(|block| block.header.span);
        self.hint.map(|hint| hint.span).or(header).unwrap_or_default()
    }

    /// Which table this is.
    pub(super) fn table(&self) -> (TableName, Told) {
        let builtin: Vec<&str> = self
            .blocks
            .iter()
            .map(|block| block.header.name.text)
            .filter(|name| BUILTIN.contains(name))
            .collect();
        let holds =
            |table: TableName| builtin.iter().all(|name| table.builtin_chains().contains(name));
        if let Some(hint) = self.hint.filter(|hint| holds(hint.table)) {
            return (hint.table, Told::Surely);
        }
        let may_be = |table: &TableName| holds(*table) && self.allows(*table);
        // Without targets of its own kind a paste is of the tables that people paste most.
        let tables = [
            TableName::Filter,
            TableName::Nat,
            TableName::Mangle,
            TableName::Raw,
            TableName::Security,
        ];
        let whole = tables.into_iter().filter(may_be).find(|table| {
            let chains = table.builtin_chains();
            chains.iter().all(|name| builtin.contains(name))
                || *table == TableName::Nat && OLD_NAT.iter().all(|name| builtin.contains(name))
        });
        if let Some(table) = whole {
            return (table, Told::Surely);
        }
        let mut candidates =
            tables.into_iter().filter(may_be).filter(|table| *table != TableName::Security);
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => (only, Told::Surely),
            (Some(first), Some(_)) => (first, Told::Probably),
            (None, _) => (
                tables.into_iter().find(|table| holds(*table)).unwrap_or(TableName::Filter),
                Told::Probably,
            ),
        }
    }

    /// Whether all targets of its rows may stand in this table.
    fn allows(&self, table: TableName) -> bool {
        let mut targets =
            self.blocks.iter().flat_map(|block| &block.rows).filter_map(|(row, _)| row.target);
        targets.all(|target| match target.text {
            "DROP" => table != TableName::Nat,
            name => find(ExtensionKind::Target, name)
                .is_none_or(|target| target.tables.is_empty() || target.tables.contains(&table)),
        })
    }

    /// The family that the command or the addresses of its rows tell.
    pub(super) fn family(&self) -> Option<Family> {
        let rows = || self.blocks.iter().flat_map(|block| &block.rows).map(|(row, _)| row);
        self.hint
            .and_then(|hint| hint.family)
            .or_else(|| rows().find_map(|row| row.address_family))
            // Only ip6tables leaves the `opt` column empty.
            .or_else(|| {
                rows().any(|row| row.fragment_piece.text.is_empty()).then_some(Family::Ipv6)
            })
    }
}
