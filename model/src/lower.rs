//! From parsed rules to the model: names become chains, words become conditions and targets.
//!
//! Nothing is dropped. A match that is not modelled becomes [`Condition::Undecided`], a target that
//! is not modelled [`Target::Unsupported`]; both keep their rule and its place. What can't be used
//! at all (a jump to a chain that does not exist, a loop that packets can reach) is an error, and
//! the ruleset that comes with it must not be used.
//!
//! [`Condition::Undecided`]: crate::condition::Condition::Undecided
//! [`Target::Unsupported`]: crate::target::Target::Unsupported

mod chain;
mod conditions;
mod draft;
mod link;
mod matches;
mod native;
mod placement;
mod rule;
mod selection;
mod targets;
mod tracking;
mod value;

use std::sync::Arc;

use nattrace_parser::diagnostic::Diagnostic;
use nattrace_parser::syntax::{Backend, Family, Rules};

use crate::ruleset::{Ruleset, Source};
pub(crate) use draft::{Draft, Drafter};
pub(crate) use native::NativeInput;

/// One text of rules, and what they were loaded with.
#[derive(Clone, Copy, Debug)]
pub struct RulesInput<'a> {
    /// The name of the snapshot's part or of the file, as in `iptables-save:14`.
    pub name: &'a str,
    /// The text that the rules were parsed from.
    pub text: &'a Arc<String>,
    /// The rules.
    pub rules: &'a Rules<'a>,
    /// Their family.
    pub family: Family,
    /// The backend they are loaded through.
    pub backend: Backend,
}

/// One text of rules whose rules are drafts.
#[derive(Debug)]
pub(crate) struct Drafted<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a Arc<String>,
    pub(crate) rules: Rules<'a, Draft<'a>>,
    pub(crate) family: Family,
    pub(crate) backend: Backend,
}

/// Lowers the rules of a host.
///
/// Where two inputs hold the same table of the same family and backend, the later one counts.
/// Each diagnostic comes with the index of the input that it is about. If one of them is an error,
/// the ruleset is incomplete and must not be used.
#[must_use]
pub fn lower(inputs: &[RulesInput<'_>]) -> (Ruleset, Vec<(usize, Diagnostic)>) {
    let mut drafted = Vec::with_capacity(inputs.len());
    for (index, &RulesInput { name, text, rules, family, backend }) in inputs.iter().enumerate() {
        let mut drafter = Drafter::new(index, family);
        let rules = rules.clone().map(|rule| drafter.draft(&rule));
        drafted.push(Drafted { name, text, rules, family, backend });
    }
    lower_drafts(drafted, None)
}

/// Lowers rules that are drafts already, and native nft tables, which count as the input behind
/// them.
pub(crate) fn lower_drafts(
    mut inputs: Vec<Drafted<'_>>,
    native: Option<NativeInput<'_>>,
) -> (Ruleset, Vec<(usize, Diagnostic)>) {
    let mut diagnostics = Vec::new();
    let native_input = inputs.len();
    let native_source =
        native.map(|native| Source { name: native.name.to_owned(), text: Arc::clone(native.text) });
    let sources = inputs
        .iter()
        .map(|input| Source { name: input.name.to_owned(), text: Arc::clone(input.text) })
        .chain(native_source)
        .collect();
    let sections = selection::select(&mut inputs);
    let tables = chain::tables(sections, &mut diagnostics);
    let mut lowered = rule::lower_rules(tables, &mut diagnostics);
    if let Some(native) = native {
        native::add(&native, native_input, &mut lowered, &mut diagnostics);
    }
    link::check(&mut lowered, &mut diagnostics);
    // Chains are lowered side by side, so the order of findings is not that of the text yet.
    diagnostics.sort_by(|(a, left), (b, right)| {
        let key = |input: usize, found: &Diagnostic| (input, found.span, found.code);
        key(*a, left).cmp(&key(*b, right)).then_with(|| left.message.cmp(&right.message))
    });
    (Ruleset::new(sources, lowered.chains, lowered.tracking), diagnostics)
}
