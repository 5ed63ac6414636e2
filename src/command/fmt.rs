//! `nattrace fmt`: rules as iptables-save prints them.

mod dumps;
mod printed;
mod stats;

use std::collections::BTreeSet;
use std::io::Write;
use std::mem::ManuallyDrop;

use nattrace_model::build::part_of;
use nattrace_model::host::Part;
use nattrace_parser::syntax::{Backend, Family, Rules, RulesFormat, Table, TableName};
use nattrace_parser::{
    EmitOptions, Left, Origin, RuleCounters, Severity, check_chains, emit_rules, parse_sequence,
};

use self::printed::Printed;
use self::stats::{Lines, Stats};
use crate::args::{Fmt, Format, Global};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Text};
use crate::output::diagnostic::{Source, print_diagnostics, print_note};
use crate::output::screen::Screen;

/// Prints the rules, or compares them with how they are written.
pub(crate) fn run(global: &Global, arguments: &Fmt) -> Result<Status> {
    if global.format().is_some_and(|format| !format.is_usual()) {
        return Err(Failure::input("`fmt` prints pretty, concise, json or jsonl"));
    }
    let texts = texts(global, arguments)?;
    let views: Vec<(&str, Origin)> =
        texts.iter().map(|(text, origin)| (text.text.as_str(), *origin)).collect();
    let (left, mut diagnostics) = parse_sequence(&views);
    if !diagnostics.iter().any(|(_, one)| one.severity == Severity::Error) {
        for one in &left {
            let found = check_chains(&one.rules, one.backend);
            diagnostics.extend(found.into_iter().map(|found| (one.text, found)));
        }
    }
    // As with a system, the process ends before it would be worth while to free them.
    let left = ManuallyDrop::new(left);
    print_diagnostics(diagnostics.iter().filter_map(|(number, found)| {
        let (Text { name, text }, _) = texts.get(*number)?;
        Some((Source { name, text }, found))
    }))?;
    // What a script leaves is not known where a part of it is not.
    let open = ["undetermined-part", "shell-variable"];
    let mut status = match diagnostics.iter().any(|(_, found)| open.contains(&found.code)) {
        true => Status::Undetermined,
        false => Status::Holds,
    };
    let mut screen = Screen::stdout();
    if arguments.stats {
        let names: Vec<&str> = texts.iter().map(|(text, _)| text.name.as_str()).collect();
        let shown = (0..texts.len()).flat_map(|number| own(&left, number, global.family()));
        let stats = Stats::new(shown, &names);
        match global.format() {
            Some(Format::Json) => stats.print_json(&mut screen, Lines::Many)?,
            Some(Format::Jsonl) => stats.print_json(&mut screen, Lines::One)?,
            _ => stats.print(&mut screen)?,
        }
        screen.finish()?;
        return Ok(status);
    }
    // Parts of a snapshot are told apart, so that what is printed can be read again.
    let names: BTreeSet<&str> = texts.iter().map(|(text, _)| text.name.as_str()).collect();
    let snapshot = arguments.files.is_empty() && global.rules.is_empty();
    let named = snapshot || names.len() < texts.len();
    let filled = |(number, _): &(usize, _)| {
        left.iter().any(|one| one.text == *number && !one.rules.tables.is_empty())
    };
    let heading = match named && texts.iter().enumerate().filter(filled).count() > 1 {
        true => Heading::Always,
        false => Heading::WhereSeveral,
    };
    let printed: Vec<Printed<'_>> = texts
        .iter()
        .enumerate()
        .map(|(number, (text, origin))| {
            let rules = print(&left, (number, &text.text), *origin, heading);
            let differs = arguments.check.then(|| first_difference(&text.text, &rules)).flatten();
            Printed { text: &text.name, rules, differs }
        })
        .collect();
    if printed.iter().any(|one| one.differs.is_some()) {
        status = Status::Fails;
    }
    match global.format() {
        Some(Format::Json) => printed::write_json(screen.raw(), &printed, Lines::Many)?,
        Some(Format::Jsonl) => printed::write_json(screen.raw(), &printed, Lines::One)?,
        None | Some(Format::Pretty | Format::Concise) if arguments.check => {
            for Printed { text, differs, .. } in &printed {
                if let Some(line) = differs {
                    print_note(format_args!("`{text}` is not as iptables-save prints it: {line}"));
                }
            }
        }
        _ => {
            for one in &printed {
                screen.raw().write_all(one.rules.as_bytes())?;
            }
        }
    }
    screen.finish()?;
    Ok(status)
}

/// The texts, and what is known of each beside what it says itself.
fn texts(global: &Global, arguments: &Fmt) -> Result<Vec<(Text, Origin)>> {
    let given = Origin { family: global.family(), backend: global.backend() };
    if !arguments.files.is_empty() {
        if arguments.files.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            return Err(Failure::input("standard input can be read only once"));
        }
        let mut texts = Vec::new();
        for path in &arguments.files {
            let read = dumps::apart(input::read_rules(path)?);
            texts.extend(read.into_iter().map(|text| (text, given)));
        }
        return Ok(texts);
    }
    let input = input::read(global)?;
    if !input.rules.is_empty() {
        let texts = input.rules.into_iter().flat_map(dumps::apart);
        return Ok(texts.map(|text| (text, given)).collect());
    }
    // A snapshot may hold a part in several forms, of which the best counts.
    let rank = |text: &Text| part_of(&text.name);
    let best = |text: &Text| {
        let own = rank(text);
        let mut others = input.parts.iter().map(rank);
        !others.any(|other| match (other, own) {
            (Some((part, better)), Some((of, than))) => part == of && better < than,
            _ => false,
        })
    };
    let parts = input.parts.iter().filter(|text| best(text));
    let wanted = |origin: &Origin| given.family.is_none() || origin.family == given.family;
    let rules: Vec<(Text, Origin)> = parts
        .filter_map(|text| of_part(&text.name).filter(wanted).map(|o| (text.clone(), o)))
        .collect();
    if rules.is_empty() {
        return Err(Failure::input(match given.family {
            None => "the snapshot holds no rules",
            Some(Family::Ipv4) => "the snapshot holds no rules of IPv4",
            Some(Family::Ipv6) => "the snapshot holds no rules of IPv6",
        }));
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

/// What a text leaves, but for what a later one leaves too.
fn own<'l, 'a>(left: &'l [Left<'a>], text: usize, family: Option<Family>) -> Vec<&'l Left<'a>> {
    let superseded = |index: usize, one: &Left<'a>| {
        left.iter().skip(index + 1).any(|later| {
            later.is_whole() && (later.family, later.backend) == (one.family, one.backend)
        })
    };
    let mut own: Vec<&Left<'a>> = left
        .iter()
        .enumerate()
        .filter(|(index, one)| one.text == text && !superseded(*index, one))
        .map(|(_, one)| one)
        .collect();
    if own.len() > 1 && family.is_some() {
        own.retain(|one| Some(one.family) == family);
    }
    own
}

/// Whether a line tells the family and the backend of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading {
    Always,
    /// Only where one text leaves rules of several.
    WhereSeveral,
}

/// Prints what a text of this number leaves.
fn print(
    left: &[Left<'_>],
    (number, text): (usize, &str),
    known: Origin,
    heading: Heading,
) -> String {
    let own = own(left, number, known.family);
    let several = own.len() > 1;
    let mut printed = String::new();
    for one in own {
        if several || (heading == Heading::Always && !one.rules.tables.is_empty()) {
            let heading = match (one.family, one.backend) {
                (Family::Ipv4, Backend::Nft) => "# Generated by iptables-save v1.8.9 (nf_tables)\n",
                (Family::Ipv6, Backend::Nft) => {
                    "# Generated by ip6tables-save v1.8.9 (nf_tables)\n"
                }
                (Family::Ipv4, Backend::Legacy) => "# Generated by iptables-save v1.8.9\n",
                (Family::Ipv6, Backend::Legacy) => "# Generated by ip6tables-save v1.8.9\n",
            };
            printed.push_str(heading);
        }
        // What iptables-save printed is in order as it is.
        let as_is = print_rules(&one.rules);
        let told = one.rules.backend.is_some() && known.backend.is_none();
        let saved = || told || known.backend.is_none() && first_difference(text, &as_is).is_none();
        match in_order(&one.rules).filter(|_| one.backend == Backend::Nft && !saved()) {
            Some(ordered) => printed.push_str(&print_rules(&ordered)),
            None => printed.push_str(&as_is),
        }
    }
    printed
}

/// The rules with their tables as iptables-nft saves them (kernel-facts A12); `None` where they
/// are already.
fn in_order<'a>(rules: &Rules<'a>) -> Option<Rules<'a>> {
    let place = |table: &Table<'_>| match table.name {
        TableName::Mangle => 0,
        TableName::Security => 1,
        TableName::Raw => 2,
        TableName::Filter => 3,
        TableName::Nat => 4,
    };
    if rules.tables.is_sorted_by_key(place) {
        return None;
    }
    let mut ordered = rules.clone();
    ordered.tables.sort_by_key(place);
    Some(ordered)
}

/// Rules as iptables-save prints them, with counters where there are exact ones.
pub(super) fn print_rules(rules: &Rules<'_>) -> String {
    let counted = rules.tables.iter().flat_map(|table| &table.rules).any(|r| r.counters.is_some());
    // The counters of a listing are rounded: `12M` is no count.
    let exact = !matches!(rules.format, RulesFormat::Listing { .. });
    let rule_counters = if counted && exact { RuleCounters::Shown } else { RuleCounters::Hidden };
    emit_rules(rules, EmitOptions { rule_counters })
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
    use std::sync::Arc;

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

    /// What `fmt` prints of a text; `None` where it refuses it.
    fn formatted(text: &str) -> Option<String> {
        let whole = Text { name: String::new(), text: Arc::new(text.to_owned()) };
        let texts = dumps::apart(whole);
        let views: Vec<_> =
            texts.iter().map(|one| (one.text.as_str(), Origin::default())).collect();
        let (left, found) = parse_sequence(&views);
        let refused = |one: &nattrace_parser::Diagnostic| one.severity == Severity::Error;
        let checked = left
            .iter()
            .flat_map(|one| check_chains(&one.rules, one.backend))
            .any(|one| refused(&one));
        let refused = checked || found.iter().any(|(_, one)| refused(one));
        let heading = if views.len() > 1 { Heading::Always } else { Heading::WhereSeveral };
        let print = |(number, text): (usize, &Text)| {
            print(&left, (number, &text.text), Origin::default(), heading)
        };
        (!refused).then(|| texts.iter().enumerate().map(print).collect())
    }

    #[test]
    fn the_order_of_tables_that_iptables_saved_stays() {
        let (nat, filter) = (
            "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
             :POSTROUTING ACCEPT [0:0]\nCOMMIT\n",
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
        );
        let (backwards, forwards) = (format!("{nat}{filter}"), format!("{filter}{nat}"));
        let header = "# Generated by iptables-save v1.8.9 on Sat\n";
        assert_eq!(formatted(&format!("{header}{backwards}")).unwrap(), backwards);
        assert_eq!(formatted(&backwards).unwrap(), backwards);
        // Nobody saved this.
        let written = backwards.replace(" [0:0]", "");
        assert_eq!(formatted(&written).unwrap(), forwards);
        let nft = Origin { family: None, backend: Some(Backend::Nft) };
        let (left, _) = parse_sequence(&[(backwards.as_str(), nft)]);
        assert_eq!(print(&left, (0, &backwards), nft, Heading::WhereSeveral), forwards);
    }

    #[test]
    fn what_is_printed_prints_the_same() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let public = root.join("../shared/data/public");
        if !public.exists() {
            nattrace_skips::skip("rules from the wild", "they are not here");
        }
        let mut folders = vec![public, root.join("parser/tests/data"), root.join("corpus/cases")];
        let mut printed = 0;
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                let Some(once) = formatted(&text).filter(|once| !once.is_empty()) else { continue };
                printed += 1;
                assert_eq!(formatted(&once).as_deref(), Some(&*once), "{}", path.display());
            }
        }
        assert!(printed > 100, "{printed}");
    }
}
