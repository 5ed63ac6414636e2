//! Targets that write marks and header fields.

use nattrace_parser::syntax::ExtensionUse;

use crate::lower::value::{masked, number};
use crate::target::{ConnmarkAction, MarkShift, Target, TtlAction};

/// `MARK`: every form is `--set-xmark` by now (kernel-facts G14).
pub(super) fn mark(given: &ExtensionUse<'_>) -> Option<Target> {
    let (value, mask) = masked(&given.option("set-xmark")?.value, u32::MAX)?;
    Some(Target::Mark { value, mask })
}

/// `CONNMARK` (kernel-facts G14).
pub(super) fn connmark(given: &ExtensionUse<'_>) -> Option<Target> {
    let shift = |name| given.option(name).map(|option| number(&option.value));
    let shift = match (shift("left-shift-mark"), shift("right-shift-mark")) {
        (None, None) => MarkShift::None,
        (Some(bits), None) => MarkShift::Left(bits?),
        (None, Some(bits)) => MarkShift::Right(bits?),
        (Some(_), Some(_)) => return None,
    };
    if let Some(set) = given.option("set-xmark") {
        let (value, mask) = masked(&set.value, u32::MAX)?;
        return Some(Target::Connmark(ConnmarkAction::Set { value, mask }, shift));
    }
    let mask = |name| match given.option(name).or_else(|| given.option("mask")) {
        Some(option) => number(&option.value),
        None => Some(u32::MAX),
    };
    let (nfmask, ctmask) = (mask("nfmask")?, mask("ctmask")?);
    if given.option("save-mark").is_some() {
        return Some(Target::Connmark(ConnmarkAction::Save { nfmask, ctmask }, shift));
    }
    given.option("restore-mark")?;
    Some(Target::Connmark(ConnmarkAction::Restore { nfmask, ctmask }, shift))
}

/// `TTL` and `HL`.
pub(super) fn ttl(given: &ExtensionUse<'_>) -> Option<Target> {
    let action = given.options.iter().find_map(|option| {
        let action = match option.option.name {
            "ttl-set" | "hl-set" => TtlAction::Set,
            "ttl-inc" | "hl-inc" => TtlAction::Increase,
            "ttl-dec" | "hl-dec" => TtlAction::Decrease,
            _ => return None,
        };
        Some(action(number(&option.value)?))
    });
    action.map(Target::Ttl)
}

/// `TOS`.
pub(super) fn tos(given: &ExtensionUse<'_>) -> Option<Target> {
    let (value, mask) = masked(&given.option("set-tos")?.value, 0xff)?;
    Some(Target::Tos { value, mask })
}

/// `DSCP`: the upper six bits of the type of service.
pub(super) fn dscp(given: &ExtensionUse<'_>) -> Option<Target> {
    let value: u8 = number(&given.option("set-dscp")?.value).filter(|value| *value < 64)?;
    Some(Target::Tos { value: value << 2, mask: 0xfc })
}
