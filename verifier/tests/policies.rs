//! The policies of the corpus: what each says holds or not as `policy.expected` beside it tells.
//!
//! A line of `policy.expected` is a status, the families it is about, and the name of the entry,
//! in the order of the policy. `NATTRACE_CASE=05b` looks at the cases that are called so alone.

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::build::load;
use nattrace_parser::policy::{Families, Given, parse};
use nattrace_parser::syntax::Family;
use nattrace_verifier::check::{Status, check};
use nattrace_verifier::policy::unknown_names;

fn status(status: Status) -> &'static str {
    match status {
        Status::Holds => "holds",
        Status::Fails => "fails",
        Status::Unknown => "unknown",
    }
}

fn families(families: Families) -> &'static str {
    match families {
        Families::One(Family::Ipv4) => "ipv4",
        Families::One(Family::Ipv6) => "ipv6",
        Families::Both => "both",
    }
}

#[test]
fn the_policies_of_cases_come_out_as_expected() {
    let cases = Case::read_all(&cases_dir()).unwrap();
    let only = std::env::var("NATTRACE_CASE").ok();
    let (mut wrong, mut held) = (Vec::new(), 0);
    for case in &cases {
        if only.as_ref().is_some_and(|only| !case.name.starts_with(only.as_str())) {
            continue;
        }
        let folder = cases_dir().join(&case.name);
        if !folder.join("policy.toml").exists() {
            eprintln!("skipped: {} has no policy", case.name);
            continue;
        }
        held += 1;
        let read = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name));
            text.unwrap_or_else(|error| panic!("{}/{name}: {error}", case.name))
        };
        let (policy, diagnostics) = parse(&read("policy.toml"));
        assert!(diagnostics.is_empty(), "{}: {diagnostics:?}", case.name);
        let system = load(&case.texts(), &[]).system;
        let unknown = unknown_names(&policy, &system);
        assert!(unknown.is_empty(), "{}: {unknown:?}", case.name);
        let findings = check(&policy, &system, &Given::default())
            .unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
        let found: Vec<String> = findings
            .iter()
            .map(|one| format!("{} {} {}", status(one.status), families(one.families), one.name))
            .collect();
        let expected = read("policy.expected");
        let expected: Vec<&str> = expected.lines().collect();
        // A policy that only holds, or only fails, shows little.
        assert!(expected.iter().any(|line| line.starts_with("holds ")), "{}", case.name);
        if found != expected {
            wrong.push(format!("{}:\n{}", case.name, found.join("\n")));
        }
    }
    eprintln!("{held} policies");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(held >= 33 || only.is_some(), "{held}");
}
