//! iptables itself judges: what it accepts is printed as it saves it, and what it refuses is refused.
//!
//! Rules are made at random from the declarations of all extensions, for both families and both
//! backends, loaded by the real iptables-restore in a namespace, and compared. Needs root; without
//! it the test says that it was skipped, and fails where `CI` is set.
//!
//! `NATTRACE_JUDGE_RULES` is the number of rules for each family and backend,
//! `NATTRACE_JUDGE_SEED` repeats a run, `NATTRACE_JUDGE_ABOUT` picks extensions by name,
//! and one argument in `NATTRACE_JUDGE_BROKEN` is broken on purpose.

#[path = "judge/argument.rs"]
mod argument;
#[path = "judge/chains.rs"]
mod chains;
#[path = "judge/generate.rs"]
mod generate;
#[path = "judge/iptables.rs"]
mod iptables;
#[path = "iptables/tool.rs"]
mod tool;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fastrand::Rng;
use generate::{Case, LEAF, USER};
use iptables::Answer;
use nattrace_parser::extension::{EXTENSIONS, Extension};
use nattrace_parser::syntax::{Backend, Family, TableName};
use nattrace_parser::{EmitOptions, Origin, Severity, check_chains, emit_rules, parse_rules_of};

/// How many rules are loaded at once where all are likely to be taken.
const BATCH: usize = 40;

/// How often a difference must show.
const ATTEMPTS: usize = 3;

/// How many rules are tried for each family and backend.
const RULES: usize = 2_000;

/// How many sets of chains are tried for each family and backend.
const CHAINS: usize = 200;

/// What we say of one rule.
#[derive(Clone, Debug, PartialEq)]
enum Ours {
    Printed(Vec<String>),
    Refused(String),
    /// It depends on what only the host knows.
    Unsure,
}

/// A text with these rules of one table.
fn text(table: TableName, lines: &[&str]) -> String {
    let mut text = format!("*{}\n", table.as_str());
    for chain in table.builtin_chains() {
        let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
    }
    let _ = writeln!(text, ":{LEAF} - [0:0]\n:{USER} - [0:0]");
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text.push_str("COMMIT\n");
    text
}

fn ours(text: &str, family: Family, backend: Backend) -> Ours {
    let origin = Origin { family: Some(family), backend: Some(backend) };
    let (rules, mut diagnostics) = parse_rules_of(text, origin);
    diagnostics.extend(check_chains(&rules, backend));
    let of = |severity| diagnostics.iter().find(|one| one.severity == severity);
    if let Some(error) = of(Severity::Error) {
        return Ours::Refused(format!("{}: {}", error.code, error.message));
    }
    // What a name stands for, only the host knows.
    let unsure = ["host-name", "owner-name"];
    if diagnostics.iter().any(|one| unsure.contains(&one.code)) {
        return Ours::Unsure;
    }
    let printed = emit_rules(&rules, EmitOptions::default());
    Ours::Printed(printed.lines().filter(|l| l.starts_with("-A ")).map(str::to_owned).collect())
}

/// The tally of one family and backend.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    unsure: usize,
    missing: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

impl Tally {
    fn compare(&mut self, case: &Case, ours: &Ours, theirs: &Answer) {
        match (ours, theirs) {
            (_, Answer::Missing) => *self.missing.entry(case.about.name).or_default() += 1,
            (Ours::Unsure, _) => self.unsure += 1,
            (Ours::Printed(ours), Answer::Saved(theirs)) if ours == theirs => self.accepted += 1,
            (Ours::Refused(_), Answer::Refused(_)) => self.refused += 1,
            _ => {
                let theirs = match theirs {
                    Answer::Saved(lines) => format!("saved   {}", lines.join("\n          ")),
                    Answer::Refused(said) => format!("refused {}", said.trim()),
                    Answer::Missing => String::new(),
                };
                let ours = match ours {
                    Ours::Printed(lines) => format!("printed {}", lines.join("\n          ")),
                    Ours::Refused(said) => format!("refused {said}"),
                    Ours::Unsure => String::new(),
                };
                self.differences.push(format!(
                    "[{}] {} {}\n  we:     {ours}\n  kernel: {theirs}",
                    case.about.name,
                    case.table.as_str(),
                    case.line
                ));
            }
        }
    }
}

/// Tries all cases: those that we accept in batches, then what remains one by one.
fn run(cases: &[Case], family: Family, backend: Backend) -> Tally {
    let alone = |case: &Case| text(case.table, &[&case.line]);
    let ours: Vec<Ours> = cases.iter().map(|case| ours(&alone(case), family, backend)).collect();
    let mut tally = Tally::default();
    let mut single: Vec<usize> = Vec::new();
    let mut batches: Vec<(TableName, Vec<usize>)> = Vec::new();
    let mut open: BTreeMap<TableName, Vec<usize>> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        if !matches!(ours[index], Ours::Printed(_)) {
            single.push(index);
            continue;
        }
        let batch = open.entry(case.table).or_default();
        batch.push(index);
        if batch.len() == BATCH {
            batches.push((case.table, std::mem::take(batch)));
        }
    }
    batches.extend(open);
    // Chains print in their order, so only a batch of one chain after the other compares as a whole.
    let order = |table: TableName, index: &usize| {
        let chain = cases[*index].line.split(' ').nth(1).unwrap_or_default();
        let builtin = table.builtin_chains();
        (builtin.iter().position(|name| *name == chain).unwrap_or(builtin.len()), *index)
    };
    for (table, batch) in &mut batches {
        batch.sort_by_key(|index| order(*table, index));
    }
    let texts: Vec<String> = batches
        .iter()
        .map(|(table, batch)| {
            let lines: Vec<&str> = batch.iter().map(|index| cases[*index].line.as_str()).collect();
            text(*table, &lines)
        })
        .collect();
    for ((_, batch), answer) in batches.iter().zip(iptables::judge(family, backend, &texts)) {
        let expected: Vec<&String> = batch
            .iter()
            .flat_map(|index| match &ours[*index] {
                Ours::Printed(lines) => lines.as_slice(),
                _ => &[],
            })
            .collect();
        match answer {
            Answer::Saved(lines) if lines.iter().eq(expected) => tally.accepted += batch.len(),
            _ => single.extend(batch),
        }
    }
    let mut rest = single;
    for attempt in 1.. {
        let texts: Vec<String> = rest.iter().map(|index| alone(&cases[*index])).collect();
        let mut differing = Vec::new();
        for (index, answer) in rest.iter().zip(iptables::judge(family, backend, &texts)) {
            // What rules share in the kernel (the tables of hashlimit, say) goes some time after
            // them, so a difference must show again in a namespace of its own.
            if attempt < ATTEMPTS && differ(&ours[*index], &answer) {
                differing.push(*index);
            } else {
                tally.compare(&cases[*index], &ours[*index], &answer);
            }
        }
        rest = differing;
        if rest.is_empty() {
            break;
        }
    }
    tally
}

/// Whether iptables did something else than we say.
fn differ(ours: &Ours, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Ours::Unsure, _) | (_, Answer::Missing) => false,
        (Ours::Printed(ours), Answer::Saved(theirs)) => ours != theirs,
        (Ours::Refused(_), Answer::Refused(_)) => false,
        (Ours::Printed(_), Answer::Refused(_)) | (Ours::Refused(_), Answer::Saved(_)) => true,
    }
}

#[test]
fn generated_rules_print_as_iptables_saves_them() {
    if !tool::available() {
        return;
    }
    let seed = tool::seed();
    let count = tool::number_from("NATTRACE_JUDGE_RULES").map_or(RULES, |count| count as usize);
    let about = std::env::var("NATTRACE_JUDGE_ABOUT").ok();
    let tallies = tool::for_each(|family, backend| {
        run(&cases(seed, count, about.as_deref(), family), family, backend)
    });
    let mut differences = 0;
    for ((family, backend), tally) in &tallies {
        println!(
            "{family:?} {backend:?}: {} accepted alike, {} refused alike, {} unsure, \
             not in this kernel: {:?}, {} differences",
            tally.accepted,
            tally.refused,
            tally.unsure,
            tally.missing,
            tally.differences.len()
        );
        for difference in &tally.differences {
            println!("{difference}");
        }
        differences += tally.differences.len();
    }
    assert_eq!(differences, 0, "NATTRACE_JUDGE_SEED={seed} repeats this");
}

/// Chains that call each other, with rules that are allowed in some of them.
#[test]
fn generated_chains_are_loaded_as_the_kernel_loads_them() {
    if !tool::available() {
        return;
    }
    let seed = tool::seed();
    let differences = tool::for_each(|family, backend| {
        let mut differences = 0;
        let mut rng = Rng::with_seed(seed);
        let texts: Vec<String> = (0..CHAINS).map(|_| chains::text(family, &mut rng)).collect();
        let answers = iptables::judge(family, backend, &texts);
        let (mut loaded, mut refused) = (0, 0);
        for (text, theirs) in texts.iter().zip(answers) {
            match (ours(text, family, backend), theirs) {
                (Ours::Printed(ours), Answer::Saved(theirs))
                    if sorted(&ours) == sorted(&theirs) =>
                {
                    loaded += 1;
                }
                (Ours::Refused(_), Answer::Refused(_)) => refused += 1,
                (ours, theirs) => {
                    println!(
                        "{family:?} {backend:?}\n{text}\n  we: {ours:?}\n  kernel: {theirs:?}"
                    );
                    differences += 1;
                }
            }
        }
        println!("{family:?} {backend:?}: {loaded} loaded alike, {refused} refused alike");
        differences
    });
    let differences: usize = differences.iter().map(|(_, found)| found).sum();
    assert_eq!(differences, 0, "NATTRACE_JUDGE_SEED={seed} repeats this");
}

fn sorted(lines: &[String]) -> Vec<&String> {
    let mut sorted: Vec<&String> = lines.iter().collect();
    sorted.sort();
    sorted
}

/// The same rules for both backends of a family.
fn cases(seed: u64, count: usize, about: Option<&str>, family: Family) -> Vec<Case> {
    let wanted = |extension: &&&'static Extension| {
        about.is_none_or(|names| names.split(',').any(|name| name == extension.name))
    };
    let extensions: Vec<&'static Extension> =
        EXTENSIONS.iter().copied().flatten().filter(wanted).copied().collect();
    let mut rng = Rng::with_seed(seed);
    let mut cases = Vec::with_capacity(count);
    while cases.len() < count {
        for extension in &extensions {
            let foreign = extension.family.is_some_and(|only| only != family);
            if !foreign || rng.usize(..20) == 0 {
                cases.push(generate::case(extension, family, &mut rng));
            }
        }
    }
    cases
}
