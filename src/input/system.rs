//! From texts to a system, with whatever there is to say about them.

use std::mem::ManuallyDrop;

use nattrace_model::System;
use nattrace_model::build::{self, Loaded, PartDiagnostic, Untold};

use super::Input;
use crate::args::Global;
use crate::exit::Result;
use crate::output::diagnostic::{Source, print_diagnostics};

/// A snapshot may hold a part in several forms; that only the best of them is read is no news.
const NO_NEWS: &str = "not-read";

/// Reads what the options name, prints what there is to say about it, and fails if it can't be
/// used.
///
/// The system is never freed: the process ends when the answer is given, and to take a hundred
/// thousand rules apart takes longer than to ask them.
pub(crate) fn load(global: &Global) -> Result<ManuallyDrop<System>> {
    of_input(global, &mut super::read(global)?).map(ManuallyDrop::new)
}

/// The same from texts that were read before.
pub(crate) fn of_input(global: &Global, input: &mut Input) -> Result<System> {
    let loaded = loaded(untold(global), input);
    told(loaded, input)
}

/// Two systems side by side, both never freed. What there is to say of the first comes first.
pub(crate) fn of_both(
    global: &Global,
    (mut one, mut other): (Input, Input),
) -> Result<(ManuallyDrop<System>, ManuallyDrop<System>)> {
    let untold = untold(global);
    let (first, second) = rayon::join(|| loaded(untold, &mut one), || loaded(untold, &mut other));
    let first = told(first, &one)?;
    Ok((ManuallyDrop::new(first), ManuallyDrop::new(told(second, &other)?)))
}

fn untold(global: &Global) -> Untold {
    Untold { family: global.family(), backend: global.backend() }
}

fn loaded(untold: Untold, input: &mut Input) -> Loaded {
    tell_apart(input);
    build::load_shared(&input.parts, &input.rules, untold)
}

/// Prints what there is to say about a system.
fn told(Loaded { system, diagnostics }: Loaded, input: &Input) -> Result<System> {
    let text_of = |found: &PartDiagnostic| {
        let mut given = input.parts.iter().chain(&input.rules);
        given.find(|text| text.name == found.part).map_or("", |text| text.text.as_str())
    };
    let news = diagnostics.iter().filter(|found| found.diagnostic.code != NO_NEWS);
    print_diagnostics(
        news.map(|found| (Source { name: &found.part, text: text_of(found) }, &found.diagnostic)),
    )?;
    Ok(system)
}

/// Gives rules that are called like a part of the snapshot another name, so that
/// `iptables-save:14` is one place.
fn tell_apart(input: &mut Input) {
    for rules in &mut input.rules {
        if input.parts.iter().any(|part| part.name == rules.name) {
            rules.name.insert_str(0, "./");
        }
    }
}
