//! What the lab draws: each match and target, in which tables, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use nattrace_parser::syntax::{Backend, Family};

use super::generate::Generator;

/// Where something was drawn, and how often.
#[derive(Default)]
struct Use {
    tables: BTreeSet<String>,
    rules: u64,
}

type Uses = BTreeMap<String, Use>;

/// Everything that was drawn.
#[derive(Default)]
struct Drawn {
    chains: Uses,
    matches: Uses,
    targets: Uses,
}

impl Drawn {
    fn add(&mut self, rules: &str) {
        let mut table = "";
        for line in rules.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(rule) = line.strip_prefix("-A ") {
                self.add_rule(table, rule);
            }
        }
    }

    fn add_rule(&mut self, table: &str, rule: &str) {
        let words: Vec<&str> = rule.split(' ').collect();
        let chain = words.first().copied().unwrap_or("");
        note(&mut self.chains, table, if is_user(chain) { "user chains" } else { chain });
        for pair in words.windows(2) {
            match *pair {
                ["-m", name] => note(&mut self.matches, table, name),
                ["-j", name] if is_user(name) => note(&mut self.targets, table, "-j CHAIN"),
                ["-j", name] => note(&mut self.targets, table, name),
                ["-g", _] => note(&mut self.targets, table, "-g CHAIN"),
                [plain @ ("-s" | "-d" | "-i" | "-o" | "-p" | "-f"), _] => {
                    note(&mut self.matches, table, plain);
                }
                _ => {}
            }
        }
    }
}

fn note(uses: &mut Uses, table: &str, name: &str) {
    let drawn = uses.entry(name.to_owned()).or_default();
    drawn.tables.insert(table.to_owned());
    drawn.rules += 1;
}

/// Whether a chain is one that the generator made: `U0`, `U1`, ….
fn is_user(chain: &str) -> bool {
    chain.starts_with('U')
}

/// Tables in Markdown of the chains, matches and targets that are drawn with a seed.
#[must_use]
pub fn coverage(seed: u64, rulesets: u64) -> String {
    let mut all = Drawn::default();
    for family in [Family::Ipv4, Family::Ipv6] {
        for backend in [Backend::Nft, Backend::Legacy] {
            for number in 0..rulesets {
                let mut generator = Generator::new(seed, number, family, backend, None);
                let _of_the_host = generator.variation();
                all.add(&generator.ruleset());
            }
        }
    }
    let Drawn { chains, matches, targets } = all;
    let mut text = String::new();
    for (what, uses) in [("chain", chains), ("match", matches), ("target", targets)] {
        let _infallible = writeln!(text, "| {what} | tables | rules |\n|---|---|---|");
        for (name, drawn) in uses {
            let tables = drawn.tables.into_iter().collect::<Vec<_>>().join(" ");
            let _infallible = writeln!(text, "| `{name}` | {tables} | {} |", drawn.rules);
        }
        text.push('\n');
    }
    text
}
