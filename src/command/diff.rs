//! `nattrace diff`: which packets a host treats differently than before.

use std::mem::ManuallyDrop;
use std::path::Path;

use nattrace_model::System;
use nattrace_parser::policy::Families;
use nattrace_verifier::diff::{self, Comparison, Depth, Scope, Side, Status as Sureness};

use crate::args::{Diff, Format, Global};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Given, Input, system};
use crate::output::diagnostic::{print_failure, print_note};
use crate::output::diff::{self as shown, Compared};
use crate::output::json::Layout;
use crate::output::screen::Screen;

/// Compares two hosts, or two texts of rules on one host.
pub(crate) fn run(global: &Global, arguments: &Diff) -> Result<Status> {
    let format = global.format().unwrap_or(Format::Pretty);
    if format.is_drawing() || format.is_report() || format.is_change() {
        return Err(Failure::input("`diff` prints pretty, concise, json or jsonl"));
    }
    let (before, after) = systems(global, arguments)?;
    let scope = Scope {
        families: global.family().map_or(Families::Both, Families::One),
        depth: if arguments.all { Depth::Everything } else { Depth::Needed },
        ..Scope::default()
    };
    let comparison = diff::compare_each(&before, &after, scope);
    tell_faults(&comparison);
    tell_hosts(&comparison)?;
    let compared = Compared { before: &before, after: &after, comparison: &comparison };
    let mut screen = Screen::stdout();
    match format {
        Format::Json => shown::write_json(screen.raw(), &compared, Layout::Indented)?,
        Format::Jsonl => shown::write_json(screen.raw(), &compared, Layout::Line)?,
        Format::Concise => screen.write_styled(&shown::concise(&compared, arguments.all))?,
        _ => screen.write_styled(&shown::pretty(&compared, arguments.all))?,
    }
    screen.finish()?;
    Ok(status(&comparison))
}

/// Reads both sides. They are never freed: the process ends when the answer is given.
fn systems(
    global: &Global,
    arguments: &Diff,
) -> Result<(ManuallyDrop<System>, ManuallyDrop<System>)> {
    let stdin = |path: &&Path| *path == Path::new("-");
    let named = global.snapshot.iter().chain(&global.rules).map(std::path::PathBuf::as_path);
    let all = [arguments.old.as_path(), arguments.new.as_path()];
    if all.into_iter().chain(named).filter(stdin).count() > 1 {
        return Err(Failure::input("standard input can be read only once")
            .help("only one of OLD, NEW, `--snapshot` and `--rules` can be `-`"));
    }
    let (old, new) = (input::read_any(&arguments.old)?, input::read_any(&arguments.new)?);
    let common = input::read_named(global)?;
    if let (Given::Host(_), Given::Host(_)) = (&old, &new)
        && !(common.parts.is_empty() && common.rules.is_empty())
    {
        return Err(Failure::input("OLD and NEW are hosts already").help(
            "`--snapshot` and `--rules` go with rules: `nattrace diff -s HOST old.rules new.rules`",
        ));
    }
    // Rules without a host of their own are about that of the other side.
    let host = match (&old, &new) {
        _ if !common.parts.is_empty() => common.parts,
        (Given::Host(parts), _) | (_, Given::Host(parts)) => parts.clone(),
        (Given::Rules(_), Given::Rules(_)) => Vec::new(),
    };
    let input = |given: Given| match given {
        Given::Host(parts) => Input { parts, rules: Vec::new() },
        Given::Rules(text) => {
            let mut rules = common.rules.clone();
            rules.push(text);
            Input { parts: host.clone(), rules }
        }
    };
    system::of_both(global, (input(old), input(new)))
}

/// Says where the hosts differ besides their rules.
fn tell_hosts(comparison: &Comparison) -> Result<()> {
    if !comparison.hosts.is_empty() {
        let what = comparison.hosts.join(", ");
        print_note(format_args!("the hosts differ, not only the rules: {what}"));
    }
    for (side, name) in &comparison.lone_interfaces {
        let side = match side {
            Side::Before => "OLD",
            Side::After => "NEW",
        };
        print_note(format_args!(
            "only {side} has the interface `{name}`: what comes in there is not compared"
        ));
    }
    Ok(())
}

/// Says where nattrace contradicts itself; what it says of other packets stands.
pub(super) fn tell_faults(comparison: &Comparison) {
    for fault in &comparison.faults {
        print_failure(&Failure::Fault(fault.to_string()));
    }
}

fn status(comparison: &Comparison) -> Status {
    let changes = &comparison.changes;
    if changes.iter().any(|change| change.status == Sureness::Changed) {
        Status::Fails
    } else if changes.is_empty() && comparison.left.is_empty() {
        Status::Holds
    } else {
        Status::Undetermined
    }
}
