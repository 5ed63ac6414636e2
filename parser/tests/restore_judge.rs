//! iptables-restore itself judges how its input may be written: blanks, quotes, `!`, shortened
//! options, values in all their spellings, chains and tables in odd places.
//!
//! Texts are made at random, mostly a little wrong, loaded by the real iptables-restore in a
//! namespace, and what iptables-save then prints is compared with what we print. Needs root;
//! without it the test says that it was skipped, and fails where `CI` is set.
//!
//! `NATTRACE_JUDGE_TEXTS` is the number of texts for each family and backend,
//! `NATTRACE_JUDGE_SEED` repeats a run.

#[path = "restore_judge/family.rs"]
mod family;
#[path = "restore_judge/iptables.rs"]
mod iptables;
#[path = "restore_judge/piece.rs"]
mod piece;
#[path = "restore_judge/text.rs"]
mod text;
#[path = "iptables/tool.rs"]
mod tool;

use std::collections::BTreeMap;

use fastrand::Rng;
use iptables::Answer;
use nattrace_parser::syntax::{Backend, Family};
use nattrace_parser::{
    EmitOptions, Origin, RuleCounters, Severity, check_chains, emit_rules, parse_sequence,
};

/// How many texts are tried for each family and backend.
const TEXTS: usize = 300;

/// What we say of one text.
#[derive(Clone, Debug, PartialEq)]
enum Ours {
    Printed(String),
    Refused(String),
    /// It depends on what only the host knows.
    Unsure,
}

/// What depends on what only the host knows.
const UNSURE: &[&str] = &["host-name", "owner-name", "unknown-match", "unknown-target"];

/// What is taken from people although iptables-restore does not take it; each is said.
const TOLERATED: &[&str] = &["ignored-text", "repaired-text", "unclosed-quote"];

fn ours(text: &str, family: Family, backend: Backend) -> (Ours, Vec<&'static str>) {
    let origin = Origin { family: Some(family), backend: Some(backend) };
    let (left, diagnostics) = parse_sequence(&[(text, origin)]);
    let mut diagnostics: Vec<_> = diagnostics.into_iter().map(|(_, one)| one).collect();
    for one in &left {
        diagnostics.extend(check_chains(&one.rules, one.backend));
    }
    // What a line for the other family says is said by iptables-restore, too.
    let other = |message: &str| message.contains("for the other family");
    let said = diagnostics.iter().filter(|one| !other(&one.message));
    let codes: Vec<&'static str> = said.map(|one| one.code).collect();
    if let Some(error) = diagnostics.iter().find(|one| one.severity == Severity::Error) {
        return (Ours::Refused(format!("{}: {}", error.code, error.message)), codes);
    }
    if codes.iter().any(|code| UNSURE.contains(code)) {
        return (Ours::Unsure, codes);
    }
    let options = EmitOptions { rule_counters: RuleCounters::Shown };
    let printed: String = left.iter().map(|one| emit_rules(&one.rules, options)).collect();
    (Ours::Printed(settled(&printed)), codes)
}

/// What tables hold: without chains and tables that are as they always are, in one order.
fn settled(printed: &str) -> String {
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    let mut table = "";
    for line in printed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
            continue;
        }
        let builtin = ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"];
        let plain = line.strip_prefix(':').and_then(|rest| rest.strip_suffix(" ACCEPT [0:0]"));
        if line == "COMMIT" || plain.is_some_and(|name| builtin.contains(&name)) {
            continue;
        }
        let lines = tables.entry(table).or_default();
        lines.push_str(line.strip_prefix("[0:0] ").unwrap_or(line));
        lines.push('\n');
    }
    tables.into_iter().map(|(name, lines)| format!("*{name}\n{lines}")).collect()
}

/// The same without the counters of rules.
fn uncounted(settled: &str) -> Vec<&str> {
    let rule = |line: &str| line.starts_with('[').then(|| line.find("] ")).flatten();
    settled.lines().map(|line| rule(line).map_or(line, |end| &line[end + 2..])).collect()
}

/// Whether a rule is refused for its place, which a later command may have taken away.
fn undone(text: &str, said: &str) -> bool {
    let undoes =
        |line: &str| ["-R ", "-D ", "-F", "--flush"].iter().any(|one| line.starts_with(one));
    let of_place = ["wrong-table", "wrong-chain", "missing-protocol", "refused-by-kernel"];
    text.lines().any(undoes) && of_place.iter().any(|code| said.starts_with(code))
}

/// Whether a rule is refused for its place that the kernel of iptables-legacy does not look at: it
/// stands behind one that stops every packet (`mark_source_chains`).
fn unreached(text: &str, said: &str) -> bool {
    let stops = |line: &str| {
        let words = line.split_whitespace().skip_while(|word| !word.starts_with("-A")).skip(2);
        let words: Vec<&str> = words.collect();
        let verdict = |word: &&str| ["ACCEPT", "DROP", "RETURN", "QUEUE"].contains(word);
        words.len() <= 2 && words.last().is_some_and(verdict)
    };
    let of_place = ["wrong-chain", "refused-by-kernel", "chain-loop"];
    text.lines().any(stops) && of_place.iter().any(|code| said.starts_with(code))
}

/// The tally of one family and backend.
#[derive(Debug, Default)]
struct Tally {
    /// Whether the kernel looks only at rules that packets get to, as that of iptables-legacy does.
    follows: bool,
    /// Whether the tool forgets the counters of rules, as ip6tables-nft 1.8.9 does.
    forgets: bool,
    accepted: usize,
    refused: usize,
    unsure: usize,
    skipped: usize,
    tolerated: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

impl Tally {
    fn same(&self, ours: &str, theirs: &str) -> bool {
        let theirs = settled(theirs);
        if self.forgets { uncounted(ours) == uncounted(&theirs) } else { ours == theirs }
    }

    fn compare(&mut self, text: &str, (ours, codes): (Ours, Vec<&'static str>), theirs: &Answer) {
        match (&ours, theirs) {
            (_, Answer::Other) => self.skipped += 1,
            // Without `-c`, the one before the rule would not count.
            (_, Answer::Refused(said)) if said.contains("multiple -c flags") => self.skipped += 1,
            // `-R` of a rule of the same load.
            (_, Answer::Refused(said)) if said.contains("Segmentation fault") => self.skipped += 1,
            // An extension that this kernel has not.
            (_, Answer::Refused(said)) if said.contains("missing kernel module") => {
                self.skipped += 1;
            }
            // The end of the line belongs to the text, which iptables-save can't write.
            (Ours::Printed(_), Answer::Saved(_)) if codes.contains(&"unclosed-quote") => {
                self.skipped += 1;
            }
            // The kernel looks only at what is left of the rules at COMMIT.
            (Ours::Refused(said), Answer::Saved(_)) if undone(text, said) => self.skipped += 1,
            (Ours::Refused(said), Answer::Saved(_)) if self.follows && unreached(text, said) => {
                self.skipped += 1;
            }
            (Ours::Unsure, _) => self.unsure += 1,
            (Ours::Printed(ours), Answer::Saved(theirs)) if self.same(ours, theirs) => {
                self.accepted += 1;
            }
            (Ours::Refused(_), Answer::Refused(_)) => self.refused += 1,
            (Ours::Printed(_), Answer::Refused(_))
                if codes.iter().any(|code| TOLERATED.contains(code)) =>
            {
                for code in codes.iter().filter(|code| TOLERATED.contains(code)) {
                    *self.tolerated.entry(code).or_default() += 1;
                }
            }
            _ => {
                let theirs = match theirs {
                    Answer::Saved(saved) => format!("saved\n{}", settled(saved)),
                    Answer::Refused(said) => format!("refused {}", said.trim()),
                    Answer::Other => String::new(),
                };
                let ours = match ours {
                    Ours::Printed(printed) => format!("printed\n{printed}"),
                    Ours::Refused(said) => format!("refused {said}"),
                    Ours::Unsure => String::new(),
                };
                let difference = format!("{text:?}\n{text}\n--- we {ours}\n--- iptables {theirs}");
                self.differences.push(difference);
            }
        }
    }
}

fn run(seed: u64, count: usize, family: Family, backend: Backend) -> Tally {
    let mut rng = Rng::with_seed(seed);
    let texts: Vec<String> = (0..count).map(|_| text::text(family, &mut rng)).collect();
    let forgets = (family, backend) == (Family::Ipv6, Backend::Nft);
    let follows = backend == Backend::Legacy;
    let mut tally = Tally { follows, forgets, ..Tally::default() };
    for (text, theirs) in texts.iter().zip(iptables::judge(family, backend, &texts)) {
        tally.compare(text, ours(text, family, backend), &theirs);
    }
    tally
}

#[test]
fn texts_are_read_as_iptables_restore_reads_them() {
    if !tool::available() {
        return;
    }
    let seed = tool::seed();
    let count = tool::number_from("NATTRACE_JUDGE_TEXTS").map_or(TEXTS, |count| count as usize);
    let tallies = tool::for_each(|family, backend| run(seed, count, family, backend));
    let mut differences = 0;
    for ((family, backend), tally) in &tallies {
        for difference in &tally.differences {
            println!("=== {family:?} {backend:?}\n{difference}");
        }
        differences += tally.differences.len();
    }
    for ((family, backend), tally) in &tallies {
        println!(
            "{family:?} {backend:?}: {} accepted alike, {} refused alike, {} unsure, {} skipped, \
             tolerated {:?}, {} differences",
            tally.accepted,
            tally.refused,
            tally.unsure,
            tally.skipped,
            tally.tolerated,
            tally.differences.len()
        );
    }
    assert_eq!(differences, 0, "NATTRACE_JUDGE_SEED={seed} repeats this");
}
