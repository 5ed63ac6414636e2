//! Several texts of rules that build on one another.

use crate::diagnostic::Diagnostic;
use crate::recognize::recognize;
use crate::replay::Replay;
use crate::save::{Origin, Outline};
use crate::syntax::{Backend, Family, Rules, RulesFormat};

/// What one text of a sequence leaves of one family and backend.
#[derive(Clone, Debug)]
pub struct Left<'a> {
    /// The number of the text, counted from 0.
    pub text: usize,
    /// The rules.
    pub rules: Rules<'a>,
    /// Their family.
    pub family: Family,
    /// Their backend.
    pub backend: Backend,
}

impl Left<'_> {
    /// Whether it holds what the texts before it left, too.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rules.format == RulesFormat::Script
    }
}

/// Reads texts in their order. A script, or a rules file of ufw, begins with what those before it
/// left; any other text says itself what the tables in it hold. Each message comes with the number
/// of its text.
#[must_use]
pub fn parse_sequence<'a>(
    texts: &[(&'a str, Origin)],
) -> (Vec<Left<'a>>, Vec<(usize, Diagnostic)>) {
    let (mut all, mut diagnostics) = (Vec::new(), Vec::new());
    let mut replay = Replay::default();
    let mut used = None;
    let formats: Vec<RulesFormat> = texts.iter().map(|(text, _)| recognize(text)).collect();
    let last = formats.iter().rposition(|format| *format == RulesFormat::Script);
    for (index, (&(text, known), format)) in texts.iter().zip(formats).enumerate() {
        let number = u16::try_from(index).unwrap_or(u16::MAX);
        let (left, found) = if format == RulesFormat::Script {
            let backend = known.backend.or(used).unwrap_or(Backend::Nft);
            replay.script_of(text, Origin { backend: Some(backend), ..known }, number)
        } else {
            let (rules, found) = Outline::in_format(format, text, known).read(|| |rule| rule);
            (vec![rules], found)
        };
        diagnostics.extend(found.into_iter().map(|diagnostic| (index, diagnostic)));
        for rules in left {
            let family = rules.family.unwrap_or(Family::Ipv4);
            let backend = rules.backend.or(known.backend).or(used).unwrap_or(Backend::Nft);
            used.get_or_insert(backend);
            if rules.format != RulesFormat::Script && last.is_some_and(|last| index < last) {
                replay.start_from(&rules, family, backend, number);
            }
            all.push(Left { text: index, rules, family, backend });
        }
    }
    (all, diagnostics)
}
