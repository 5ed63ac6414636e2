//! Which facts the sources cite.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nattrace_corpus::fact::facts_dir;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The numbers that a text cites: those that stand behind `kernel-facts`, with their separators.
fn cited(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // A comment may break a list of numbers.
    let joined: Vec<&str> =
        text.lines().map(|line| line.trim().trim_start_matches(['/', '!']).trim()).collect();
    for rest in joined.join(" ").split("kernel-facts").skip(1) {
        let mut last: Option<(String, u32)> = None;
        let mut range = false;
        for word in rest.split_whitespace() {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            match number(bare) {
                Some((section, number)) => {
                    let first = match &last {
                        Some((before, first)) if range && *before == section => first + 1,
                        _ => number,
                    };
                    found.extend((first..=number).map(|n| format!("{section}{n}")));
                    last = Some((section, number));
                    range = false;
                }
                None if ["and", "to"].contains(&bare) => range = bare == "to",
                // A whole section, such as `D and J`.
                None if bare.len() == 1 && bare.chars().all(|c| c.is_ascii_uppercase()) => {}
                None => break,
            }
            if word.len() > bare.len() && !word.ends_with([',', ';']) {
                break;
            }
        }
    }
    found
}

/// Section and number of a fact.
fn number(word: &str) -> Option<(String, u32)> {
    let (section, number) = word.split_at_checked(1)?;
    let capital = section.chars().all(|c| c.is_ascii_uppercase());
    Some((section.to_owned(), number.parse().ok().filter(|_| capital)?))
}

/// Every fact that the sources of the project cite, with a file that does.
pub(crate) fn cited_facts() -> BTreeMap<String, String> {
    let root = root();
    let mut facts = BTreeMap::new();
    let mut folders: Vec<_> = ["model/src", "parser/src", "verifier/src", "apply/src", "src"]
        .map(|f| root.join(f))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).unwrap().display().to_string();
                for fact in cited(&fs::read_to_string(&path).unwrap()) {
                    facts.entry(fact).or_insert_with(|| file.clone());
                }
            }
        }
    }
    facts
}

/// Facts about what is read, refused and printed: no packet shows them, other tests do.
pub(crate) fn held_elsewhere() -> BTreeMap<String, Vec<String>> {
    toml::from_str(&fs::read_to_string(facts_dir().join("elsewhere/tests.toml")).unwrap()).unwrap()
}

#[test]
fn citations_are_read() {
    let of = |text| cited(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(of("// kernel-facts B1"), "B1");
    assert_eq!(of("(kernel-facts B8, B11 and B19)"), "B11 B19 B8");
    assert_eq!(of("kernel-facts D5 to D7). More A1"), "D5 D6 D7");
    assert_eq!(of("(kernel-facts A4; J1: each family)"), "A4 J1");
    assert_eq!(of("/// (kernel-facts\n    /// J4, J6)"), "J4 J6");
    assert_eq!(of("(kernel-facts D and J)"), "");
    assert_eq!(of("`kernel-facts`, the measurements A1"), "");
}
