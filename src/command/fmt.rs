//! `nattrace fmt`: rules as iptables-save prints them.

use std::io::Write;

use nattrace_model::build::part_of;
use nattrace_model::host::Part;
use nattrace_parser::syntax::{Backend, Family, RulesFormat};
use nattrace_parser::{EmitOptions, Origin, RuleCounters, emit_rules, parse_rules_of};

use crate::args::{Fmt, Global};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Text};
use crate::output::diagnostic::{Source, print_diagnostics, print_note};
use crate::output::screen::Screen;

/// Prints the rules, or compares them with how they are written.
pub(crate) fn run(global: &Global, arguments: &Fmt) -> Result<Status> {
    let texts = texts(global, arguments)?;
    let mut status = Status::Holds;
    let mut screen = Screen::stdout();
    for (text, origin) in &texts {
        let printed = print(text, *origin)?;
        if !arguments.check {
            screen.raw().write_all(printed.as_bytes())?;
        } else if let Some(line) = first_difference(&text.text, &printed) {
            print_note(format_args!("`{}` is not as iptables-save prints it: {line}", text.name));
            status = Status::Fails;
        }
    }
    screen.finish()?;
    Ok(status)
}

/// The texts, and what is known of each beside what it says itself.
fn texts(global: &Global, arguments: &Fmt) -> Result<Vec<(Text, Origin)>> {
    let given = Origin { family: global.family(), backend: global.backend() };
    if let Some(file) = &arguments.file {
        return Ok(vec![(input::read_rules(file)?, given)]);
    }
    let input = input::read(global)?;
    if !input.rules.is_empty() {
        return Ok(input.rules.into_iter().map(|text| (text, given)).collect());
    }
    let rules: Vec<(Text, Origin)> =
        input.parts.into_iter().filter_map(|text| of_part(&text.name).map(|o| (text, o))).collect();
    if rules.is_empty() {
        return Err(Failure::input("the snapshot holds no rules"));
    }
    Ok(rules)
}

/// What the name of a part tells of its rules; `None` if it holds none.
fn of_part(name: &str) -> Option<Origin> {
    let (family, backend) = match part_of(name)?.0 {
        Part::Rules4 => (Family::Ipv4, None),
        Part::Rules6 => (Family::Ipv6, None),
        Part::LegacyRules4 => (Family::Ipv4, Some(Backend::Legacy)),
        Part::LegacyRules6 => (Family::Ipv6, Some(Backend::Legacy)),
        _ => return None,
    };
    Some(Origin { family: Some(family), backend })
}

fn print(text: &Text, origin: Origin) -> Result<String> {
    let (rules, diagnostics) = parse_rules_of(&text.text, origin);
    let source = Source { name: &text.name, text: &text.text };
    print_diagnostics(diagnostics.iter().map(|diagnostic| (source, diagnostic)))?;
    let counted = rules.tables.iter().flat_map(|table| &table.rules).any(|r| r.counters.is_some());
    // The counters of a listing are rounded: `12M` is no count.
    let exact = !matches!(rules.format, RulesFormat::Listing { .. });
    let rule_counters = if counted && exact { RuleCounters::Shown } else { RuleCounters::Hidden };
    Ok(emit_rules(&rules, EmitOptions { rule_counters }))
}

/// Where a text differs from how it would be printed; comments and empty lines are no rules.
fn first_difference(written: &str, printed: &str) -> Option<String> {
    let lines = |text| -> Vec<(usize, &str)> {
        let numbered = str::split_terminator(text, '\n').enumerate();
        numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect()
    };
    let (written, printed) = (lines(written), lines(printed));
    for (index, (number, line)) in written.iter().enumerate() {
        match printed.get(index) {
            Some((_, expected)) if expected == line => {}
            Some((_, expected)) => {
                return Some(format!("line {} should be `{expected}`", number + 1));
            }
            None => return Some(format!("line {} should not be there", number + 1)),
        }
    }
    let (_, missing) = printed.get(written.len())?;
    Some(format!("`{missing}` is missing at the end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told_with_its_line() {
        let printed = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        assert_eq!(
            first_difference("# made\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", printed),
            None
        );
        assert_eq!(
            first_difference("# made\n*filter\n:INPUT  ACCEPT [0:0]\nCOMMIT\n", printed).unwrap(),
            "line 3 should be `:INPUT ACCEPT [0:0]`",
        );
        assert_eq!(
            first_difference("*filter\n:INPUT ACCEPT [0:0]\n", printed).unwrap(),
            "`COMMIT` is missing at the end",
        );
    }
}
