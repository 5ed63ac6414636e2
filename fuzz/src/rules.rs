//! Rules in every form.

use nattrace_parser::syntax::{ExtensionUse, Rules, RulesFormat, Target};
use nattrace_parser::{
    Diagnostic, EmitOptions, RuleCounters, Severity, emit_rules, parse_listing, parse_rules,
};

use crate::{check_diagnostics, check_span};

/// `iptables-save`, `iptables -S`, and whatever else is taken for rules.
pub fn rules(text: &str) {
    let (rules, diagnostics) = parse_rules(text);
    check(text, &rules, &diagnostics);
    match rules.format {
        RulesFormat::Save => every_line_is_accounted_for(text, &rules, &diagnostics),
        RulesFormat::Commands => every_command_is_accounted_for(text, &rules, &diagnostics),
        RulesFormat::Listing { .. } => {}
    }
    printing_settles(&rules, &diagnostics);
}

/// `iptables -L`.
pub fn listing(text: &str) {
    let (rules, diagnostics) = parse_listing(text);
    check(text, &rules, &diagnostics);
    printing_settles(&rules, &diagnostics);
}

/// Every place lies in the text.
fn check(text: &str, rules: &Rules<'_>, diagnostics: &[Diagnostic]) {
    check_diagnostics(text, diagnostics);
    let check_use = |used: &ExtensionUse<'_>| {
        check_span(text, used.span, used.extension.name);
        for option in &used.options {
            check_span(text, option.span, option.option.name);
        }
    };
    for table in &rules.tables {
        check_span(text, table.span, "table");
        for chain in &table.chains {
            check_span(text, chain.span, "chain");
        }
        for rule in &table.rules {
            check_span(text, rule.span, "rule");
            assert!(rule.line > 0);
            rule.matches.iter().for_each(check_use);
            for unsupported in &rule.unsupported {
                check_span(text, unsupported.span, "unsupported");
            }
            match &rule.target {
                Target::Extension(used) => check_use(used),
                Target::Jump(_, span) | Target::Goto(_, span) => check_span(text, *span, "jump"),
                Target::Unsupported(one) => check_span(text, one.span, "unsupported target"),
                Target::None | Target::Accept | Target::Drop | Target::Return => {}
            }
        }
    }
}

/// What is free of errors is printed as rules that read back as the same, and print the same.
fn printing_settles(rules: &Rules<'_>, diagnostics: &[Diagnostic]) {
    // What a listing says in other words than options can't be printed as options.
    let mut all = rules.tables.iter().flat_map(|table| &table.rules);
    let listing = matches!(rules.format, RulesFormat::Listing { .. });
    let understood = !listing || all.all(|rule| rule.unsupported.is_empty());
    let errors = diagnostics.iter().any(|found| found.severity == Severity::Error);
    if errors || !understood || rules.tables.is_empty() || has_quoted_name(rules) {
        return;
    }
    let options = EmitOptions { rule_counters: RuleCounters::Shown };
    let once = emit_rules(rules, options);
    let (read, diagnostics) = parse_rules(&once);
    // What is only known of another backend or family need not be fine without its header.
    if rules.family.is_some() || rules.backend.is_some() {
        return;
    }
    // Only iptables-save declares every chain.
    let errors: Vec<_> = diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .filter(|found| rules.format == RulesFormat::Save || found.code != "unknown-chain")
        .collect();
    assert!(errors.is_empty(), "printed rules can't be read: {errors:?}\n{once}");
    let twice = emit_rules(&read, options);
    assert_eq!(once, twice, "printing twice differs");
}

/// Whether the name of a chain holds a quote, which iptables-save prints as it is and can't read.
fn has_quoted_name(rules: &Rules<'_>) -> bool {
    let mut names = rules.tables.iter().flat_map(|table| {
        let declared = table.chains.iter().map(|chain| chain.name.as_ref());
        let used = table.rules.iter().flat_map(|rule| {
            let jump = match &rule.target {
                Target::Jump(name, _) | Target::Goto(name, _) => name.as_ref(),
                _ => "",
            };
            [rule.chain.as_ref(), jump]
        });
        declared.chain(used)
    });
    names.any(|name| name.contains(['"', '\\']))
}

/// A line of a text with its bytes.
struct Line<'a> {
    number: usize,
    text: &'a str,
    start: usize,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split('\n').enumerate().map(move |(index, whole)| {
        let line = Line { number: index + 1, text: whole.trim(), start };
        start += whole.len() + 1;
        line
    })
}

/// The numbers of the lines that a rule, a chain, a table or a message is about.
fn accounted(text: &str, rules: &Rules<'_>, diagnostics: &[Diagnostic]) -> Vec<bool> {
    let starts: Vec<usize> = lines(text).map(|line| line.start).collect();
    let mut known = vec![false; starts.len() + 2];
    let mut mark = |start: u32, end: u32| {
        let line = |offset: u32| starts.partition_point(|start| *start <= offset as usize);
        for number in line(start)..=line(end) {
            known[number] = true;
        }
    };
    for found in diagnostics {
        mark(found.span.start, found.span.end);
    }
    for table in &rules.tables {
        mark(table.span.start, table.span.end);
        table.chains.iter().for_each(|chain| mark(chain.span.start, chain.span.end));
        table.rules.iter().for_each(|rule| mark(rule.span.start, rule.span.end));
    }
    known
}

/// In iptables-save, every line is a rule, a chain, a table, a comment, COMMIT, or something is
/// said of it; the lines of a table that does not exist are its header's.
fn every_line_is_accounted_for(text: &str, rules: &Rules<'_>, diagnostics: &[Diagnostic]) {
    let known = accounted(text, rules, diagnostics);
    let mut in_unknown = false;
    for line in lines(text) {
        if line.text.starts_with('*') {
            in_unknown = diagnostics.iter().any(|found| {
                found.code == "unknown-table"
                    && (line.start..=line.start + line.text.len() + 64)
                        .contains(&(found.span.start as usize))
            });
        }
        let nothing = line.text.is_empty() || line.text.starts_with('#') || line.text == "COMMIT";
        if line.text == "COMMIT" {
            in_unknown = false;
        }
        let binary = diagnostics.iter().any(|found| found.code == "binary");
        // `-F` and the like before any rule change nothing.
        let harmless = ["-F", "-X", "-Z"].iter().any(|option| line.text.starts_with(option));
        assert!(
            nothing || in_unknown || binary || harmless || known[line.number],
            "line {} is lost: {:?}",
            line.number,
            line.text
        );
    }
}

/// In a list of commands, every line that adds a rule has one, or something is said of it.
fn every_command_is_accounted_for(text: &str, rules: &Rules<'_>, diagnostics: &[Diagnostic]) {
    if diagnostics.iter().any(|found| found.code == "binary") {
        return;
    }
    let known = accounted(text, rules, diagnostics);
    let mut continues = false;
    for line in lines(text) {
        let adds = line.text.starts_with("-A ") || line.text.starts_with("-I ");
        assert!(
            continues || !adds || known[line.number],
            "line {} is lost: {:?}",
            line.number,
            line.text
        );
        continues = line.text.ends_with('\\') || continues && line.text.is_empty();
    }
}
