//! Targets that only native nft rules have.

use super::Target;
use crate::condition::Condition;
use crate::condition::value::{Interval, Operand};

/// One statement of a rule that does several things.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The rule ends here unless this holds: it then has not matched, but what it did stays done.
    If(Condition),
    /// Does something, and goes on unless it is final.
    Do(Target),
}

/// A map from values of the packet to targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetMap {
    /// What is looked up; several are a concatenation.
    pub operands: Box<[Operand]>,
    /// The entries, of which at most one fits.
    pub entries: Box<[MapEntry]>,
    /// What happens where none fits; without it the rule has not matched.
    pub otherwise: Option<Target>,
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MapEntry {
    /// One interval for each operand.
    pub key: Box<[Interval]>,
    /// What happens then.
    pub target: Target,
}
