//! Where what is not understood is printed: so that it is read alike again.
//!
//! Options that nothing known takes belong to the match or target that is not known before them,
//! and such matches stand together. Nothing of it may come to stand behind a match that would take
//! it, or before the extension whose value it is.

use crate::syntax::{ExtensionUse, Rule, Target, Unsupported};

/// Options that are printed before all matches.
const BASIC: [&str; 3] = ["-s ", "-d ", "-p "];

/// What is not understood of a rule and printed among its matches, in order.
pub(super) struct Kept<'r, 'a> {
    rule: &'r Rule<'a>,
    /// Where each stands in the text, as far as it matters.
    pieces: std::vec::IntoIter<(u32, &'r Unsupported<'a>)>,
    /// Whether the target is among them.
    has_target: bool,
}

impl<'r, 'a> Kept<'r, 'a> {
    /// Of this rule.
    pub(super) fn of(rule: &'r Rule<'a>) -> Self {
        // A target that is not known takes what follows it, and has to stand before it.
        let target = match &rule.target {
            Target::Unsupported(target) if has_options(target) => Some(target),
            _ => None,
        };
        let behind = target.map_or(u32::MAX, |target| target.span.start);
        let matches = rule.unsupported.iter().filter(|one| is_match(one));
        let first = matches.map(|one| one.span.start).min().unwrap_or(u32::MAX);
        let place = |one: &Unsupported<'_>| match is_match(one) {
            true if one.span.start > behind => behind,
            true => first,
            false => one.span.start,
        };
        let basic = |one: &&Unsupported<'_>| BASIC.iter().any(|option| begins(one, option));
        let pieces = rule.unsupported.iter().filter(|one| one.of.is_none() && !basic(one));
        let mut pieces: Vec<_> = pieces.map(|one| (place(one), one)).collect();
        pieces.extend(target.map(|target| (behind, target)));
        pieces.sort_by_key(|(place, one)| (*place, one.span.start));
        Self { rule, pieces: pieces.into_iter(), has_target: target.is_some() }
    }

    /// Whether the target is among them.
    pub(super) fn has_target(&self) -> bool {
        self.has_target
    }

    /// The next of those that stand before this place.
    pub(super) fn before(&mut self, start: u32) -> Option<&'r Unsupported<'a>> {
        let (place, _) = self.pieces.as_slice().first()?;
        if *place < start { self.pieces.next().map(|(_, one)| one) } else { None }
    }

    /// The options of this use whose values are not known.
    pub(super) fn options(
        &self,
        used: &ExtensionUse<'_>,
    ) -> impl Iterator<Item = &'r Unsupported<'a>> + use<'r, 'a> {
        let start = Some(used.span.start);
        self.rule.unsupported.iter().filter(move |one| one.of == start)
    }
}

/// What is kept of a basic option: a host that is not looked up, a protocol that no packet has.
pub(super) fn kept_as<'r, 'a>(
    rule: &'r Rule<'a>,
    option: &'static str,
) -> impl Iterator<Item = &'r Unsupported<'a>> {
    rule.unsupported.iter().filter(move |one| begins(one, option))
}

/// Whether it begins with this option.
fn begins(one: &Unsupported<'_>, option: &str) -> bool {
    one.raw.strip_prefix("! ").unwrap_or(&one.raw).starts_with(option)
}

fn is_match(one: &Unsupported<'_>) -> bool {
    begins(one, "-m") || begins(one, "--m")
}

/// Whether more than the name of the target is kept.
fn has_options(target: &Unsupported<'_>) -> bool {
    target.raw.matches(' ').nth(1).is_some()
}
