//! Rules back into text, byte for byte as iptables-save 1.8.9 prints them (kernel-facts H1 to H8).

mod kept;

use std::collections::HashMap;
use std::fmt::Write as _;

use foldhash::fast::RandomState;
use rayon::prelude::*;

use self::kept::{Kept, kept_as};
use crate::arguments::address;
use crate::protocols;
use crate::syntax::{
    AddressMask, Backend, Chain, Counters, ExtensionUse, Negatable, Placement, Policy, Rule, Rules,
    RulesFormat, Table, Target, Unsupported, Value,
};

/// How many rules a thread should print at least.
const RULES_A_THREAD: usize = 1_024;

/// Whether the counters of rules are printed, as by `iptables-save -c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleCounters {
    /// They are, where the rule has them.
    Shown,
    /// They are not.
    #[default]
    Hidden,
}

/// How [`emit_rules`] prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmitOptions {
    /// The counters before rules.
    pub rule_counters: RuleCounters,
}

/// Prints one rule as `-A CHAIN …`, without counters and without a newline.
pub fn emit_rule(rule: &Rule<'_>, out: &mut String) {
    emit_rule_of(rule, Backend::Nft, out);
}

/// The same as a backend prints it: iptables-legacy forgets `! -i +` (kernel-facts G8).
fn emit_rule_of(rule: &Rule<'_>, backend: Backend, out: &mut String) {
    out.push_str("-A ");
    out.push_str(&rule.chain);
    emit_address("-s", rule.source, out);
    kept_as(rule, "-s ").for_each(|one| emit_raw(one, out));
    emit_address("-d", rule.destination, out);
    kept_as(rule, "-d ").for_each(|one| emit_raw(one, out));
    for (option, name) in [("-i", &rule.in_interface), ("-o", &rule.out_interface)] {
        let shown = name.as_ref().filter(|name| backend == Backend::Nft || name.value != "+");
        emit_name(option, shown, out);
    }
    if let Some(Negatable { negated, value }) = rule.protocol {
        emit_option("-p", negated, out);
        match protocols::name(value) {
            Some(name) => out.push_str(name),
            None => {
                let _ = write!(out, "{value}");
            }
        }
    }
    kept_as(rule, "-p ").for_each(|one| emit_raw(one, out));
    if let Some(Negatable { negated, .. }) = rule.fragment {
        out.push_str(if negated { " ! -f" } else { " -f" });
    }
    let mut kept = Kept::of(rule);
    for used in &rule.matches {
        while let Some(one) = kept.before(used.span.start) {
            emit_raw(one, out);
        }
        out.push_str(" -m ");
        emit_use(used, out);
        kept.options(used).for_each(|one| emit_raw(one, out));
    }
    while let Some(one) = kept.before(u32::MAX) {
        emit_raw(one, out);
    }
    match &rule.target {
        Target::None => {}
        Target::Accept => out.push_str(" -j ACCEPT"),
        Target::Drop => out.push_str(" -j DROP"),
        Target::Return => out.push_str(" -j RETURN"),
        Target::Jump(name, _) => {
            out.push_str(" -j ");
            out.push_str(name);
        }
        Target::Goto(name, _) => {
            out.push_str(" -g ");
            out.push_str(name);
        }
        Target::Extension(used) => {
            out.push_str(" -j ");
            emit_use(used, out);
            kept.options(used).for_each(|one| emit_raw(one, out));
        }
        Target::Unsupported(_) if kept.has_target() => {}
        Target::Unsupported(unsupported) => emit_raw(unsupported, out),
    }
}

/// Prints what is not understood as it was written.
fn emit_raw(one: &Unsupported<'_>, out: &mut String) {
    out.push(' ');
    out.push_str(&one.raw);
}

/// Prints all tables as iptables-save does, without its comments, which hold the time.
///
/// Tables keep their order, since it differs by backend (kernel-facts A12); chains and rules are
/// put in the order of iptables-save.
#[must_use]
pub fn emit_rules(rules: &Rules<'_>, options: EmitOptions) -> String {
    let mut out = String::new();
    let backend = rules.backend.unwrap_or(Backend::Nft);
    for (index, table) in rules.tables.iter().enumerate() {
        let (before, behind) = rules.tables.split_at(index);
        let same = |other: &&Table<'_>| other.name == table.name;
        let more: Vec<&Table<'_>> = behind.iter().skip(1).filter(same).collect();
        match rules.format {
            // Of two blocks of a dump for one table the second replaces the first
            // (kernel-facts I4).
            RulesFormat::Save if !more.is_empty() => {}
            // Blocks of commands and listings add up.
            RulesFormat::Commands | RulesFormat::Listing { .. }
                if before.iter().any(|t| same(&t)) => {}
            RulesFormat::Commands | RulesFormat::Listing { .. } if !more.is_empty() => {
                let mut whole = table.clone();
                for other in more {
                    whole.chains.extend(other.chains.iter().cloned());
                    whole.rules.extend(other.rules.iter().cloned());
                }
                emit_table(&whole, backend, options, &mut out);
            }
            _ => emit_table(table, backend, options, &mut out),
        }
    }
    out
}

/// Prints one table from `*NAME` to `COMMIT`.
fn emit_table(table: &Table<'_>, backend: Backend, options: EmitOptions, out: &mut String) {
    let _ = writeln!(out, "*{}", table.name.as_str());
    let builtin = table.name.builtin_chains();
    for name in builtin {
        let declared = table.chains.iter().rev().find(|chain| chain.name == *name);
        let policy = match declared.and_then(|chain| chain.policy) {
            Some(Policy::Drop) => "DROP",
            Some(Policy::Accept) | None => "ACCEPT",
        };
        let counters = declared.and_then(|chain| chain.counters).unwrap_or_default();
        let _ = writeln!(out, ":{name} {policy} [{}:{}]", counters.packets, counters.bytes);
    }
    let names = user_chains(table);
    for name in &names {
        let _ = writeln!(out, ":{name} - [0:0]");
    }
    let order = builtin.iter().copied().chain(names.iter().copied());
    let by_chain = placed(table);
    let ordered: Vec<&Rule<'_>> =
        order.filter_map(|name| by_chain.get(name)).flatten().copied().collect();
    let printed: Vec<String> = ordered
        .par_chunks(RULES_A_THREAD)
        .map(|rules| {
            let mut text = String::new();
            rules.iter().for_each(|rule| emit_line(rule, backend, options, &mut text));
            text
        })
        .collect();
    out.reserve(printed.iter().map(String::len).sum());
    printed.iter().for_each(|text| out.push_str(text));
    out.push_str("COMMIT\n");
}

/// Prints one rule on a line of its own.
fn emit_line(rule: &Rule<'_>, backend: Backend, options: EmitOptions, out: &mut String) {
    if options.rule_counters == RuleCounters::Shown {
        let Counters { packets, bytes } = rule.counters.unwrap_or_default();
        let _ = write!(out, "[{packets}:{bytes}] ");
    }
    emit_rule_of(rule, backend, out);
    out.push('\n');
}

/// The user chains of a table in byte order (kernel-facts H8).
fn user_chains<'t>(table: &'t Table<'_>) -> Vec<&'t str> {
    let builtin = table.name.builtin_chains();
    let declared = table.chains.iter().map(|chain: &Chain<'_>| chain.name.as_ref());
    let used = runs(table).filter_map(|run| Some(run.first()?.chain.as_ref()));
    let mut names: Vec<&str> =
        declared.chain(used).filter(|name| !builtin.contains(name)).collect();
    // Both lists are in order already in what iptables-save printed, which this sort makes use of.
    names.sort();
    names.dedup();
    names
}

/// The rules of one chain that stand together, as nearly all do.
fn runs<'t, 'a>(table: &'t Table<'a>) -> impl Iterator<Item = &'t [Rule<'a>]> {
    table.rules.chunk_by(|one, next| one.chain == next.chain)
}

/// The rules of each chain in the order that their placements make.
fn placed<'t, 'a>(table: &'t Table<'a>) -> HashMap<&'t str, Vec<&'t Rule<'a>>, RandomState> {
    let mut chains: HashMap<&str, Vec<&Rule<'_>>, RandomState> = HashMap::default();
    for run in runs(table) {
        let Some(first) = run.first() else { continue };
        let chain = chains.entry(first.chain.as_ref()).or_default();
        for rule in run {
            match rule.placement {
                Placement::Append => chain.push(rule),
                Placement::Insert(position) => {
                    let index = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
                    chain.insert(index.min(chain.len()), rule);
                }
            }
        }
    }
    chains
}

/// Prints the name of an extension and its options.
fn emit_use(used: &ExtensionUse<'_>, out: &mut String) {
    out.push_str(used.extension.name);
    for option in &used.options {
        let omitted = option.option.omitted.is_some_and(|value| same(value, &option.value));
        let hidden = option.option.hidden.is_some_and(|value| same(value, &option.value));
        if hidden || omitted && !option.negated {
            continue;
        }
        out.push_str(if option.negated { " ! --" } else { " --" });
        out.push_str(option.option.name);
        option.option.argument.print(&option.value, out);
    }
}

/// Whether a value is the one that is not printed; of flags only the mask counts.
fn same(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (Value::TcpFlags { mask: one, .. }, Value::TcpFlags { mask: other, .. }) => one == other,
        _ => one == other,
    }
}

fn emit_option(option: &str, negated: bool, out: &mut String) {
    out.push_str(if negated { " ! " } else { " " });
    out.push_str(option);
    out.push(' ');
}

fn emit_address(option: &str, address: Option<Negatable<AddressMask>>, out: &mut String) {
    if let Some(Negatable { negated, value }) = address {
        emit_option(option, negated, out);
        address::print_network(value, out);
    }
}

fn emit_name(option: &str, name: Option<&Negatable<std::borrow::Cow<'_, str>>>, out: &mut String) {
    if let Some(Negatable { negated, value }) = name {
        emit_option(option, *negated, out);
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests;
