//! README and the pages of `docs/`: every link leads somewhere, and every command of nattrace that
//! they show runs as it stands there and prints what stands below it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of a test"
)]

mod program;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use program::root;

/// The pages that people read first, and those of `docs/`.
fn pages() -> Vec<PathBuf> {
    let names = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut pages: Vec<PathBuf> = names.into_iter().map(|name| root().join(name)).collect();
    for folder in ["docs", "docs/codes"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    pages
}

#[test]
fn every_link_leads_somewhere() {
    let (mut links, mut broken) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            if !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
    assert!(links > 20, "{links} links");
}

/// A command with the lines that are shown below it.
struct Shown {
    page: String,
    command: String,
    output: Vec<String>,
}

/// The commands of all transcripts that a person without rights types.
fn shown() -> Vec<Shown> {
    let mut found = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```console\n").skip(1);
        for block in blocks.map(|rest| rest.split("\n```").next().unwrap()) {
            let mut open: Option<Shown> = None;
            for line in block.lines() {
                if let Some(command) = line.strip_prefix("$ ") {
                    found.extend(open.take());
                    let command = command.split("   #").next().unwrap().trim().to_owned();
                    let page = page.file_name().unwrap().display().to_string();
                    open = Some(Shown { page, command, output: Vec::new() });
                } else if line.starts_with("# ") {
                    found.extend(open.take());
                } else if let Some(open) = open.as_mut().filter(|_| !line.trim().is_empty()) {
                    open.output.push(line.to_owned());
                }
            }
            found.extend(open);
        }
    }
    found
}

/// A folder in which all files are that the pages speak of.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let link = |target: &str, name: &str| {
        symlink(root().join(target), folder.path().join(name)).unwrap();
    };
    link("corpus", "corpus");
    link("corpus/cases/02-host-binding-ipv4", "host.snapshot");
    link("corpus/cases/02-host-binding-ipv4", "before.snapshot");
    link("corpus/cases/03-snat-hand-edit", "after.snapshot");
    link("corpus/cases/02-host-binding-ipv4/iptables-save", "old.rules");
    link("corpus/cases/03-snat-hand-edit/iptables-save", "new.rules");
    link("corpus/seeds/4-two-bridges/posted.txt", "pasted.txt");
    link(env!("CARGO_BIN_EXE_nattrace"), "nattrace");
    // The policy of the README, of which the first entry is spoken of everywhere.
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let policy = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let first = policy.split("[[deny]]").next().unwrap();
    fs::write(folder.path().join("policy.toml"), first).unwrap();
    folder
}

/// Whether it asks about nothing but what is at hand: a host of its own, not this one, and files
/// that are there.
fn can_run(command: &str, folder: &Path) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let of_solver = has("--emit-smt2") || has("--engine");
    let host = has("-s") || has("--rules") || words.get(1) == Some(&"diff");
    let is_ours = words.first() == Some(&"nattrace") && (host || words.get(1) == Some(&"explain"));
    let named = words.windows(2).filter(|pair| ["-s", "--rules"].contains(&pair[0]));
    let all_there = named
        .map(|pair| pair[1])
        .all(|name| folder.join(name).exists() || command.contains("fix.sh"));
    command == "cat fix.sh"
        || is_ours && all_there && !has("live") && (!of_solver || cfg!(feature = "z3"))
}

/// Whether a line is printed as it is shown, `[…]` standing for anything.
fn is_shown(line: &str, shown: &str) -> bool {
    let mut rest = line;
    shown.trim_end().split("[…]").all(|piece| match rest.find(piece.trim()) {
        Some(at) => {
            rest = rest.get(at + piece.trim().len()..).unwrap_or("");
            true
        }
        None => false,
    })
}

fn run(folder: &Path, shown: &Shown) -> Result<(), String> {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", &shown.command]).current_dir(folder).env("PATH", path);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let told = |what: &str| format!("{}: `{}` {what}\n{text}", shown.page, shown.command);
    if !matches!(output.status.code(), Some(0 | 1 | 3)) {
        return Err(told("ends with a wrong status"));
    }
    let mut lines = text.lines();
    for expected in &shown.output {
        if !lines.any(|line| is_shown(line, expected)) {
            return Err(told(&format!("does not print `{expected}`")));
        }
    }
    Ok(())
}

#[test]
fn every_transcript_is_true() {
    let folder = folder();
    let (mut ran, mut left, mut faults) = (0, 0, Vec::new());
    for mut shown in shown() {
        shown.command = shown.command.replace("cargo run --release -- ", "nattrace ");
        if !can_run(&shown.command, folder.path()) {
            println!("not run: {}: {}", shown.page, shown.command);
            left += 1;
            continue;
        }
        ran += 1;
        faults.extend(run(folder.path(), &shown).err());
    }
    println!("{ran} commands ran, {left} are about this host, or other programs");
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(ran > 10, "{ran} commands");
}

/// The transcript of `apply` in README, in a namespace with the host that it speaks of.
#[test]
fn the_story_of_the_readme_is_printed_as_it_stands_there() {
    let folder = tempfile::TempDir::new().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh"])
        .arg(root().join("tests/fix/story.sh"))
        .arg(folder.path())
        .arg(root().join("corpus/cases/02-host-binding-ipv4"))
        .env("NATTRACE", env!("CARGO_BIN_EXE_nattrace"))
        .output()
        .unwrap();
    let told = program::show(&output);
    let printed = String::from_utf8(output.stdout).unwrap();
    if printed.is_empty() && !output.status.success() {
        nattrace_skips::skip("the story of README", &format!("no namespace of our own: {told}"));
        return;
    }
    assert!(output.status.success(), "{told}");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("```console\n{printed}```\n")),
        "README does not say\n{printed}"
    );
}
