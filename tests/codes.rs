//! Every code that a message can carry has a page.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use program::{root, run, show};

/// What stands before a code in the sources.
const BEFORE: [&str; 4] =
    ["Diagnostic::error(", "Diagnostic::warning(", "Diagnostic::note(", "code: "];

/// The codes that the sources of a folder give to messages; tests are left out.
fn codes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
        {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for before in BEFORE {
                for after in text.split(before).skip(1) {
                    let literal = after.trim_start().strip_prefix('"');
                    found.extend(literal.and_then(|rest| Some(rest.split_once('"')?.0.to_owned())));
                }
            }
        }
    }
}

#[test]
fn every_code_of_the_sources_is_explained() {
    let mut found = BTreeSet::new();
    for folder in ["parser/src", "model/src", "verifier/src"] {
        codes(&root().join(folder), &mut found);
    }
    assert!(found.len() > 60, "{found:?}");
    let missing: Vec<&String> = found
        .iter()
        .filter(|code| !root().join(format!("docs/codes/{code}.md")).is_file())
        .collect();
    assert!(missing.is_empty(), "no page in docs/codes, or not in src/codes.rs: {missing:?}");
}

/// The list in src/codes.rs is the folder docs/codes.
#[test]
fn every_page_is_in_the_program() {
    let list = String::from_utf8(run("explain").stdout).unwrap();
    let listed: Vec<&str> =
        list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let mut files: Vec<String> = fs::read_dir(root().join("docs/codes"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(listed, files);
    for code in listed {
        let page = String::from_utf8(run(&format!("explain {code}")).stdout).unwrap();
        for part in [code, "What it means", "What to do"] {
            assert!(page.contains(part), "{page}");
        }
    }
}

#[test]
fn a_page_is_found_as_people_paste_its_code() {
    let page = run("explain unknown-option");
    insta::assert_snapshot!(show(&page));
    assert_eq!(run("explain [Unknown-Option]").stdout, page.stdout);
}

/// docs/extensions.md is what the program makes of the declarations.
#[test]
fn the_table_of_extensions_is_up_to_date() {
    let made = String::from_utf8(run("explain extensions").stdout).unwrap();
    let written = fs::read_to_string(root().join("docs/extensions.md")).unwrap();
    assert_eq!(made, written, "`nattrace explain extensions > docs/extensions.md` makes it");
    for name in ["| `conntrack` |", "| `MASQUERADE` |", "| `srh` |", "| `TPROXY` |"] {
        assert!(written.contains(name), "{name}");
    }
}

#[test]
fn the_page_of_an_extension_shows_its_options_and_places() {
    for (name, parts) in [
        ("conntrack", ["[!] --ctstate", "tables: all", "simulated as the kernel"]),
        ("MASQUERADE", ["--to-ports PORT[-PORT]", "tables: nat", "chains: POSTROUTING"]),
        ("mark", ["[!] --mark VALUE[/MASK]", "-m mark", "Where it is allowed"]),
        ("string", ["--algo bm|kmp", "not modelled", "iptables-extensions(8)"]),
        ("masquerade", ["-j MASQUERADE", "--random-fully", "Example"]),
    ] {
        let page = String::from_utf8(run(&format!("explain {name}")).stdout).unwrap();
        for part in parts {
            assert!(page.contains(part), "{name}: {part}\n{page}");
        }
    }
}
