//! What the packet met: a heading for each hook and for routing, and under it what matched.

use std::fmt::Write;

use nattrace_model::answer::Step;
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::ChainId;
use nattrace_parser::syntax::Family;

use super::page::Page;
use super::{BOLD, FAINT};
use crate::output::context::Context;
use crate::output::{names, words};

/// How far the column of what happened may be pushed to the right by long chain names.
const WIDEST_PLACE: usize = 36;

/// The words behind the step that decided; the sign in the margin says the same.
const DECIDES: &str = "← decides";

/// Writes steps; `decided_by` is an index into them.
pub(super) fn write_steps(
    page: &mut Page,
    context: &Context<'_>,
    flow: &Flow,
    steps: &[Step],
    decided_by: Option<usize>,
) {
    let family = Family::of(flow.source);
    let rows: Vec<Row> = steps.iter().map(|step| Row::new(context, family, step)).collect();
    let column = rows
        .iter()
        .map(|row| row.place.chars().count())
        .filter(|size| *size <= WIDEST_PLACE)
        .max()
        .unwrap_or(0);
    let mut phase = None;
    for (index, row) in rows.iter().enumerate() {
        if phase != Some(row.phase) {
            page.line(&format!("{BOLD}{}{BOLD:#}", row.phase.heading()));
            phase = Some(row.phase);
        }
        row.write(page, column, decided_by == Some(index));
    }
}

/// Where in the kernel's path a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hook(Hook),
    Routing,
    Socket,
}

impl Phase {
    fn heading(self) -> &'static str {
        match self {
            Self::Hook(hook) => hook.as_str(),
            Self::Routing => "routing",
            Self::Socket => "socket",
        }
    }
}

/// A step in words.
struct Row {
    phase: Phase,
    /// The rule or chain.
    place: String,
    /// What happened.
    words: String,
    /// Where the rule was read.
    at: String,
    /// Lines below: the rule itself, the route, the reason.
    below: Vec<String>,
}

impl Row {
    fn new(context: &Context<'_>, family: Family, step: &Step) -> Self {
        match step {
            Step::Rule { hook, rule, effect, rewrites } => {
                let mut words = words::effect_words(context, *rule, effect);
                if !rewrites.is_empty() {
                    words.push_str(": ");
                    words.push_str(&words::rewrite_words(rewrites));
                }
                let rules = &context.system.rules;
                let text = rules.rule(*rule).map(|rule| words::visible(rules.text(rule)));
                Self {
                    phase: Phase::Hook(*hook),
                    place: words::rule_name(context, *rule),
                    words,
                    at: words::rule_place(context, *rule),
                    below: text.into_iter().collect(),
                }
            }
            Step::Return { hook, chain } => {
                Self::of_chain(context, *hook, *chain, "end of chain, returns".to_owned())
            }
            Step::Policy { hook, chain, policy } => {
                Self::of_chain(context, *hook, *chain, format!("policy {}", names::policy(*policy)))
            }
            Step::Conntrack { hook, rewrites } => Self {
                phase: Phase::Hook(*hook),
                place: "conntrack".to_owned(),
                words: format!("known connection: {}", words::rewrite_words(rewrites)),
                at: String::new(),
                below: Vec::new(),
            },
            Step::Route { .. } => Self::of_route(context, family, step),
            Step::Socket { listening, processes } => Self {
                phase: Phase::Socket,
                place: String::new(),
                words: words::socket_words(*listening, processes),
                at: String::new(),
                below: Vec::new(),
            },
        }
    }

    fn of_chain(context: &Context<'_>, hook: Hook, chain: ChainId, words: String) -> Self {
        let place = words::chain_name(context, chain);
        Self { phase: Phase::Hook(hook), place, words, at: String::new(), below: Vec::new() }
    }

    fn of_route(context: &Context<'_>, family: Family, step: &Step) -> Self {
        let mut row = Self {
            phase: Phase::Routing,
            place: String::new(),
            words: String::new(),
            at: String::new(),
            below: Vec::new(),
        };
        let Step::Route { decision, route, out_interface, gateway, because } = step else {
            return row;
        };
        row.words = words::route_words(*decision).to_owned();
        if let Some(interface) = out_interface {
            let _ = write!(row.words, " by {}", words::visible(interface));
        }
        if let Some(gateway) = gateway {
            let _ = write!(row.words, " via {gateway}");
        }
        if let Some((table, index)) = route {
            let routing = &context.system.host.routing;
            let _ = write!(row.words, ", table {}", names::TableName(routing, *table));
            let found = context.route(family, (*table, *index));
            row.below.extend(found.map(|route| words::visible(&route.text)));
        }
        if let Some(because) = because {
            row.below.insert(0, words::visible(because));
        }
        row
    }

    fn write(&self, page: &mut Page, column: usize, decides: bool) {
        let mut line = String::from(if decides { "▶ " } else { "  " });
        if !self.place.is_empty() {
            let padding = column.saturating_sub(self.place.chars().count()) + 2;
            let _ = write!(line, "{}{}", self.place, " ".repeat(padding));
        }
        let columns = line.chars().count();
        if decides {
            // The sign stands on the first line of what it decides, so the words may wrap alone.
            let words = format!("{} {DECIDES}", self.words);
            page.labelled(&format!("{BOLD}{line}{BOLD:#}"), columns, &words);
        } else {
            page.labelled(&line, columns, &self.words);
        }
        let Some((last, others)) = self.below.split_last() else {
            if !self.at.is_empty() {
                page.both_ends(6, "", &self.at, FAINT);
            }
            return;
        };
        for text in others {
            page.labelled(&" ".repeat(6), 6, text);
        }
        page.both_ends(6, last, &self.at, FAINT);
    }
}
