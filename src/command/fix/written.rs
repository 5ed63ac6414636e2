//! The rules as texts, before and after a change.

use nattrace_model::build::part_of;
use nattrace_model::host::Part;
use nattrace_parser::syntax::{Backend, Family, Rules, RulesFormat, TableName};
use nattrace_parser::{Origin, parse_sequence};
use nattrace_verifier::repair::{Edit, Holder};
use similar::TextDiff;

use crate::args::Global;
use crate::command::fmt::print_rules;
use crate::exit::{Failure, Result};
use crate::input::{Input, Text};
use crate::output::fix::commands;

/// The rules of one family and backend, as iptables-save prints them.
pub(super) struct Written {
    pub(super) family: Family,
    pub(super) backend: Backend,
    pub(super) before: String,
    pub(super) after: String,
}

impl Written {
    /// The rules of every family and backend that holds any, or gets some.
    pub(super) fn of(input: &Input, global: &Global, edits: &[Edit]) -> Result<Vec<Self>> {
        let texts = texts(input, global);
        let views: Vec<(&str, Origin)> =
            texts.iter().map(|(text, origin)| (text.text.as_str(), *origin)).collect();
        let (left, _) = parse_sequence(&views);
        let mut known: Vec<(Family, Backend, Rules<'_>)> = Vec::new();
        for one in left {
            let place = (one.family, one.backend);
            let whole = one.is_whole();
            match known.iter_mut().find(|(family, backend, _)| (*family, *backend) == place) {
                Some((_, _, rules)) if whole => *rules = one.rules,
                Some((_, _, rules)) => lay_over(rules, one.rules),
                None => known.push((place.0, place.1, one.rules)),
            }
        }
        for edit in edits {
            let Holder::Iptables(backend, _) = edit.place.holder else { continue };
            let place = (edit.place.family, backend);
            if known.iter().all(|(family, backend, _)| (*family, *backend) != place) {
                let rules = Rules {
                    family: Some(place.0),
                    backend: Some(place.1),
                    format: RulesFormat::Save,
                    tables: Vec::new(),
                };
                known.push((place.0, place.1, rules));
            }
        }
        known.sort_by_key(|(family, backend, _)| (*family, *backend));
        known
            .into_iter()
            .map(|(family, backend, rules)| {
                let before = print_rules(&rules);
                let order: Vec<TableName> = rules.tables.iter().map(|table| table.name).collect();
                let after = edited(&before, &order, (family, backend), edits)?;
                Ok(Self { family, backend, before, after })
            })
            .collect()
    }

    /// The name of the part that holds such rules.
    pub(super) fn name(&self) -> &'static str {
        let part = match (self.family, self.backend) {
            (Family::Ipv4, Backend::Nft) => Part::Rules4,
            (Family::Ipv6, Backend::Nft) => Part::Rules6,
            (Family::Ipv4, Backend::Legacy) => Part::LegacyRules4,
            (Family::Ipv6, Backend::Legacy) => Part::LegacyRules6,
        };
        part.file_name()
    }

    /// The difference, as `diff -u` writes it.
    pub(super) fn diff(&self) -> String {
        if self.before == self.after {
            return String::new();
        }
        let (old, new) = (format!("a/{}", self.name()), format!("b/{}", self.name()));
        let diff = TextDiff::from_lines(&self.before, &self.after);
        diff.unified_diff().context_radius(3).header(&old, &new).to_string()
    }
}

/// The texts of rules, in the order in which they count.
fn texts<'i>(input: &'i Input, global: &Global) -> Vec<(&'i Text, Origin)> {
    let told = Origin { family: global.family(), backend: global.backend() };
    let of_part = |text: &Text| {
        let (family, backend) = match part_of(&text.name)?.0 {
            Part::Rules4 => (Family::Ipv4, None),
            Part::Rules6 => (Family::Ipv6, None),
            Part::LegacyRules4 => (Family::Ipv4, Some(Backend::Legacy)),
            Part::LegacyRules6 => (Family::Ipv6, Some(Backend::Legacy)),
            _ => return None,
        };
        Some(Origin { family: Some(family), backend })
    };
    // A snapshot may hold a part in several forms, of which the best counts.
    let best = |text: &Text| {
        let own = part_of(&text.name);
        let mut others = input.parts.iter().map(|other| part_of(&other.name));
        !others.any(|other| match (other, own) {
            (Some((part, better)), Some((of, than))) => part == of && better < than,
            _ => false,
        })
    };
    let parts = input.parts.iter().filter(|text| best(text) && !text.text.trim().is_empty());
    let parts = parts.filter_map(|text| Some((text, of_part(text)?)));
    parts.chain(input.rules.iter().map(|text| (text, told))).collect()
}

/// Tables that were given later, over those that were there.
fn lay_over<'a>(rules: &mut Rules<'a>, later: Rules<'a>) {
    rules.tables.retain(|table| later.tables.iter().all(|other| other.name != table.name));
    rules.tables.extend(later.tables);
}

/// The text with edits made, as iptables makes them, its tables in their order.
fn edited(
    text: &str,
    order: &[TableName],
    (family, backend): (Family, Backend),
    edits: &[Edit],
) -> Result<String> {
    let here = |edit: &&Edit| {
        edit.place.family == family
            && matches!(edit.place.holder, Holder::Iptables(own, _) if own == backend)
    };
    let lines: Vec<String> =
        edits.iter().filter(here).filter_map(|edit| commands::plain(edit, family)).collect();
    if lines.is_empty() {
        return Ok(text.to_owned());
    }
    let script = format!("#!/bin/sh\n{}\n", lines.join("\n"));
    let origin = Origin { family: Some(family), backend: Some(backend) };
    let views = [(text, origin), (script.as_str(), origin)];
    let views = if text.is_empty() { &views[1..] } else { &views[..] };
    let (left, found) = parse_sequence(views);
    if let Some((_, fault)) =
        found.iter().find(|(_, f)| f.severity == nattrace_parser::Severity::Error)
    {
        return Err(Failure::Fault(format!("an edit can't be made: {}", fault.message)));
    }
    let last = left.into_iter().rev().find(|one| (one.family, one.backend) == (family, backend));
    let last = last.filter(|one| one.is_whole());
    let missing = || Failure::Fault("the edits can't be carried out".to_owned());
    let mut rules = last.ok_or_else(missing)?.rules;
    let place = |name: TableName| order.iter().position(|known| *known == name);
    rules.tables.sort_by_key(|table| place(table.name).unwrap_or(order.len()));
    Ok(print_rules(&rules))
}

/// The rules that change, where those of one family and backend do: a file holds no others.
pub(super) fn only(written: &[Written], family: Option<Family>) -> Result<Option<&Written>> {
    let wanted = |one: &&Written| family.is_none_or(|family| one.family == family);
    let all: Vec<&Written> = written.iter().filter(wanted).collect();
    let changed: Vec<&Written> =
        all.iter().copied().filter(|one| one.before != one.after).collect();
    match (changed.as_slice(), all.as_slice()) {
        ([one], _) => Ok(Some(one)),
        ([], []) => Ok(None),
        ([], [first, ..]) => Ok(Some(first)),
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|one| one.name()).collect();
            Err(Failure::input(format!(
                "the rules of {} change, and a file holds one",
                names.join(" and ")
            ))
            .help("choose one with `--family`, or take `--format diff` or `commands`"))
        }
    }
}
