//! `nattrace fmt --stats`: what rules there are, whose they are, and what of them is not understood.

use std::collections::BTreeMap;
use std::io::Write;

use nattrace_model::owner::Owner;
use nattrace_parser::extension::ExtensionKind;
use nattrace_parser::syntax::{Backend, ExtensionUse, Family, Rule, Target};
use nattrace_parser::{Left, emit_rule};
use serde::Serialize;

use crate::exit::Result;
use crate::output::screen::Screen;
use crate::output::words::visible;

/// What there is to tell of all texts.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    schema: &'static str,
    rulesets: Vec<RulesetStats>,
}

/// What there is to tell of the rules of one family and backend that a text leaves.
#[derive(Debug, Serialize)]
struct RulesetStats {
    text: String,
    family: &'static str,
    backend: &'static str,
    chains: usize,
    rules: usize,
    tables: Vec<TableStats>,
    owners: Vec<OwnerStats>,
    extensions: Vec<ExtensionStats>,
    unsupported: Vec<UnsupportedStats>,
}

#[derive(Debug, Serialize)]
struct TableStats {
    table: &'static str,
    chains: usize,
    rules: usize,
}

#[derive(Debug, Serialize)]
struct OwnerStats {
    owner: &'static str,
    chains: usize,
    rules: usize,
}

#[derive(Debug, Serialize)]
struct ExtensionStats {
    name: &'static str,
    kind: &'static str,
    uses: usize,
}

#[derive(Debug, Serialize)]
struct UnsupportedStats {
    at: String,
    text: String,
    rule: String,
}

impl Stats {
    /// Counts what texts of these names leave.
    pub(super) fn new<'l>(left: impl Iterator<Item = &'l Left<'l>>, names: &[&str]) -> Self {
        let rulesets = left.map(|one| RulesetStats::new(one, names)).collect();
        Self { schema: "nattrace/stats/1", rulesets }
    }

    /// Prints it as JSON, on one line or on many.
    pub(super) fn print_json(&self, screen: &mut Screen, lines: Lines) -> Result<()> {
        let text = match lines {
            Lines::One => serde_json::to_string(self),
            Lines::Many => serde_json::to_string_pretty(self),
        };
        let text = text.map_err(std::io::Error::from)?;
        writeln!(screen.raw(), "{text}")?;
        Ok(())
    }

    /// Prints it for people.
    pub(super) fn print(&self, screen: &mut Screen) -> Result<()> {
        for (index, ruleset) in self.rulesets.iter().enumerate() {
            if index > 0 {
                writeln!(screen.raw())?;
            }
            ruleset.print(screen)?;
        }
        Ok(())
    }
}

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// On one line.
    One,
    /// Indented.
    Many,
}

impl RulesetStats {
    fn new(left: &Left<'_>, names: &[&str]) -> Self {
        let mut owners: BTreeMap<Owner, (usize, usize)> = BTreeMap::new();
        let mut extensions: BTreeMap<(&'static str, &'static str), usize> = BTreeMap::new();
        let (mut tables, mut unsupported) = (Vec::new(), Vec::new());
        for table in &left.rules.tables {
            let builtin = table.name.builtin_chains();
            let declared = table.chains.iter().map(|chain| chain.name.as_ref());
            let used = table.rules.iter().map(|rule| rule.chain.as_ref());
            let mut chains: Vec<&str> =
                declared.chain(used).filter(|name| !builtin.contains(name)).collect();
            chains.sort_unstable();
            chains.dedup();
            for name in &chains {
                owners.entry(Owner::of_chain(name).unwrap_or(Owner::Hand)).or_default().0 += 1;
            }
            for rule in &table.rules {
                let mut text = String::new();
                emit_rule(rule, &mut text);
                owners.entry(Owner::of_rule(&rule.chain, &text)).or_default().1 += 1;
                count(rule, &mut extensions);
                let number = rule.stands_in.map_or(left.text, usize::from);
                let name = names.get(number).copied().unwrap_or_default();
                unsupported.extend(unknown(rule).map(|part| UnsupportedStats {
                    at: format!("{name}:{}", rule.line),
                    text: part.to_owned(),
                    rule: text.clone(),
                }));
            }
            tables.push(TableStats {
                table: table.name.as_str(),
                chains: builtin.len() + chains.len(),
                rules: table.rules.len(),
            });
        }
        let mut extensions: Vec<ExtensionStats> = extensions
            .into_iter()
            .map(|((name, kind), uses)| ExtensionStats { name, kind, uses })
            .collect();
        extensions.sort_by_key(|one| (std::cmp::Reverse(one.uses), one.name));
        let owners = owners.into_iter().map(|(owner, (chains, rules))| OwnerStats {
            owner: owner.as_str(),
            chains,
            rules,
        });
        Self {
            text: names.get(left.text).copied().unwrap_or_default().to_owned(),
            family: match left.family {
                Family::Ipv4 => "ipv4",
                Family::Ipv6 => "ipv6",
            },
            backend: match left.backend {
                Backend::Nft => "nft",
                Backend::Legacy => "legacy",
            },
            chains: tables.iter().map(|table| table.chains).sum(),
            rules: tables.iter().map(|table| table.rules).sum(),
            tables,
            owners: owners.collect(),
            extensions,
            unsupported,
        }
    }

    fn print(&self, screen: &mut Screen) -> Result<()> {
        let out = screen.raw();
        let family = if self.family == "ipv4" { "IPv4" } else { "IPv6" };
        writeln!(
            out,
            "{}: {family}, {}, {}, {}",
            visible(&self.text),
            self.backend,
            counted(self.chains, "chain"),
            counted(self.rules, "rule")
        )?;
        let mut rows = vec![["table", "chains", "rules"].map(str::to_owned)];
        let numbers = |name: &str, chains: usize, rules: usize| {
            [name.to_owned(), chains.to_string(), rules.to_string()]
        };
        rows.extend(self.tables.iter().map(|one| numbers(one.table, one.chains, one.rules)));
        write_rows(out, &rows)?;
        let mut rows = vec![["owner", "chains", "rules"].map(str::to_owned)];
        rows.extend(self.owners.iter().map(|one| numbers(one.owner, one.chains, one.rules)));
        write_rows(out, &rows)?;
        let mut rows = vec![["extension", "kind", "uses"].map(str::to_owned)];
        rows.extend(
            self.extensions
                .iter()
                .map(|one| [one.name.to_owned(), one.kind.to_owned(), one.uses.to_string()]),
        );
        write_rows(out, &rows)?;
        if self.unsupported.is_empty() {
            writeln!(out, "\n  everything is understood")?;
            return Ok(());
        }
        writeln!(out, "\n  not understood")?;
        for one in &self.unsupported {
            writeln!(out, "    {}  {}", visible(&one.at), visible(&one.text))?;
        }
        Ok(())
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Writes rows below their heading, in columns; nothing where there is only a heading.
fn write_rows(out: &mut impl Write, rows: &[[String; 3]]) -> Result<()> {
    if rows.len() < 2 {
        return Ok(());
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths = [width(0), width(1), width(2)].map(Option::unwrap_or_default);
    let [first, second, third] = widths;
    writeln!(out)?;
    for [name, one, other] in rows {
        // Words to the left, numbers to the right.
        if rows
            .iter()
            .skip(1)
            .any(|row| row.get(1).is_some_and(|cell| cell.parse::<usize>().is_err()))
        {
            writeln!(out, "  {name:<first$}  {one:<second$}  {other:>third$}")?;
        } else {
            writeln!(out, "  {name:<first$}  {one:>second$}  {other:>third$}")?;
        }
    }
    Ok(())
}

fn count(rule: &Rule<'_>, extensions: &mut BTreeMap<(&'static str, &'static str), usize>) {
    let mut add = |used: &ExtensionUse<'_>| {
        let kind = match used.extension.kind {
            ExtensionKind::Match => "match",
            ExtensionKind::Target => "target",
        };
        *extensions.entry((used.extension.name, kind)).or_default() += 1;
    };
    rule.matches.iter().for_each(&mut add);
    if let Target::Extension(used) = &rule.target {
        add(used);
    }
}

/// What of a rule is not understood.
fn unknown<'r>(rule: &'r Rule<'_>) -> impl Iterator<Item = &'r str> {
    let target = match &rule.target {
        Target::Unsupported(unknown) => Some(unknown),
        _ => None,
    };
    rule.unsupported.iter().chain(target).map(|unknown| unknown.raw.as_ref())
}
