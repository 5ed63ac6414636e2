//! Obligations as files, for any other solver.

use nattrace_model::System;
use nattrace_parser::policy::{Given, Policy};
use nattrace_parser::syntax::Family;

use super::MOST_TERMS;
use super::encode::Encoder;
use super::encode::demand;
use super::script;
use crate::given;
use crate::policy::{self, Property};

/// An obligation of one entry in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The name of the entry.
    pub name: String,
    /// The family.
    pub family: Family,
    /// A name for a file, made of letters, digits and dashes.
    pub file_name: String,
    /// The text in SMT-LIB 2.
    pub text: String,
}

/// The obligations of a policy: what must not be satisfiable if it holds.
#[must_use]
pub fn scripts(policy: &Policy, system: &System, given: &Given) -> Vec<Script> {
    let base = policy::with_zones(system, policy);
    let mut scripts: Vec<Script> = Vec::new();
    for entry in &policy.entries {
        let mut all = given.clone();
        all.extend(entry.given.clone());
        let system = given::apply(&base, &all);
        for property in policy::resolve(policy, entry, &system) {
            let name = policy::title(entry);
            let text = obligation(&system, &name, &property);
            let family = property.family;
            let taken = scripts.iter().filter(|known| known.name == name && known.family == family);
            let number = taken.count() + 1;
            let mut file_name = safe(&name, family, number);
            // Names that differ in other letters only come to the same.
            let mut more = number;
            while scripts.iter().any(|known| known.file_name == file_name) {
                more += 1;
                file_name = safe(&name, family, more);
            }
            scripts.push(Script { name, family, file_name, text });
        }
    }
    scripts
}

/// How long the part of a file's name may be that comes from an entry.
const LONGEST: usize = 80;

fn safe(name: &str, family: Family, number: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    let words: String = name.chars().take(LONGEST).map(plain).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    let name = if words.is_empty() { "entry".to_owned() } else { words.join("-") };
    let family = family_name(family);
    if number == 1 {
        format!("{name}.{family}.smt2")
    } else {
        format!("{name}-{number}.{family}.smt2")
    }
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// The text of one obligation: some packet of some question breaks the entry, or nobody knows.
fn obligation(system: &System, name: &str, property: &Property) -> String {
    let encoder = Encoder::new(system, property.family, MOST_TERMS);
    let mut denied = encoder.t.no;
    for (number, question) in (1..).zip(&property.questions) {
        let found = demand::encoded(&encoder, question, number);
        let missing = found.missing.iter().map(|(when, _)| *when);
        let wrong = encoder.t.any([found.broken, found.open].into_iter().chain(missing));
        denied = encoder.t.or(denied, wrong);
    }
    let about = vec![
        format!("nattrace obligation: {} ({})", one_line(name), family_name(property.family)),
        "unsat: no packet breaks the entry, whatever chance decides.".to_owned(),
        "sat: some packet does, or nobody knows what becomes of it; the values tell which packet."
            .to_owned(),
        "The source, destination, protocol and ports are those of the packet as it is sent; each"
            .to_owned(),
        "`decided` is something that neither rules nor packet say.".to_owned(),
    ];
    let script = script::Script { terms: &encoder.t, about, asserted: vec![denied] };
    format!("{}(check-sat)\n", script.text())
}

/// A name without what would break a comment.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
