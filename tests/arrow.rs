//! `nattrace why SRC -> DST` as a shell passes it on.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use program::{root, show};

const HOST: &str = "corpus/cases/01-default-bridge";

/// Runs a line in a shell, in a folder of its own, without a terminal.
fn shell(folder: &Path, line: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_nattrace");
    let host = root().join(HOST);
    let line = line.replace("nattrace why", &format!("'{program}' why -s '{}'", host.display()));
    // Without a session of its own the answer would go to the terminal of whoever runs the tests.
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", &line]).current_dir(folder).stdin(Stdio::null());
    command.env_remove("NO_COLOR").output().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_answer_is_told_and_the_file_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "nattrace why web -> 1.1.1.1:443");
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn options_may_stand_anywhere_and_blanks_do_not_matter() {
    for line in [
        "nattrace why web -> 1.1.1.1:443 --format concise",
        "nattrace why --format concise web -> 1.1.1.1:443",
        "nattrace why web --format concise -> 1.1.1.1:443",
        "nattrace why web ->1.1.1.1:443 --format concise",
        "nattrace why web->1.1.1.1:443 --format concise",
        "nattrace why web -> 1.1.1.1 --proto tcp --format concise",
        "nattrace why web -> c2:80 --format concise",
        "nattrace why c2 -> host:8080 --format concise",
        "nattrace why web -> internet --format concise",
        "nattrace why 172.17.0.2 -> 1.1.1.1 --format concise | cat",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = shell(folder.path(), line);
        let text = String::from_utf8_lossy(&output.stderr);
        if line.contains("--proto") {
            assert!(text.contains("needs one"), "{line}\n{text}");
        } else {
            assert!(text.contains(": connects, "), "{line}\n{text}");
        }
        assert!(text.starts_with("note: the shell took `->` for a redirection"), "{line}\n{text}");
        assert!(output.stdout.is_empty(), "{line}");
        assert_eq!(files(folder.path()), [""; 0], "{line}");
    }
}

#[test]
fn quoted_arrows_are_answered_on_standard_output() {
    for line in [
        "nattrace why 'web -> 1.1.1.1:443/tcp' --format concise",
        "nattrace why web '->' 1.1.1.1:443/tcp --format concise",
        "nattrace why web '->1.1.1.1:443/tcp' --format concise",
        "nattrace why web to 1.1.1.1:443/tcp --format concise",
        "nattrace why web 1.1.1.1:443/tcp --format concise",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = shell(folder.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", show(&output));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("172.17.0.2:40000 -> 1.1.1.1:443/tcp: connects"), "{text}");
        assert!(output.stderr.is_empty(), "{line}\n{}", show(&output));
    }
}

/// A file whose name is no endpoint was meant as a file.
#[test]
fn what_may_be_wanted_stays() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "nattrace why web - > result.txt");
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert_eq!(files(folder.path()), ["result.txt"]);

    // The answer to a whole question goes where it was sent, whatever the file is called.
    let output = shell(folder.path(), "nattrace why web 1.1.1.1:443 > 1.1.1.1");
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    assert!(fs::metadata(folder.path().join("1.1.1.1")).unwrap().len() > 100);

    // A file with something in it is never touched.
    fs::write(folder.path().join("9.9.9.9"), "mine").unwrap();
    let output = shell(folder.path(), "nattrace why web - >> 9.9.9.9");
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert_eq!(fs::read_to_string(folder.path().join("9.9.9.9")).unwrap(), "mine");

    // One that has a second name belongs to somebody.
    fs::write(folder.path().join("8.8.8.8"), "").unwrap();
    fs::hard_link(folder.path().join("8.8.8.8"), folder.path().join("twin")).unwrap();
    let output = shell(folder.path(), "nattrace why web -> 8.8.8.8");
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert!(folder.path().join("8.8.8.8").exists());

    // Another folder is none of our business.
    fs::create_dir(folder.path().join("sub")).unwrap();
    let output = shell(folder.path(), "nattrace why web - > sub/7.7.7.7");
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert!(folder.path().join("sub/7.7.7.7").exists());
}

/// Redirected once more, the first file is out of sight: it is said what to do.
#[test]
fn a_second_redirection_hides_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "nattrace why web -> 1.1.1.1 > out");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("write `SRC to DST`"), "{text}");
    assert_eq!(files(folder.path()), ["1.1.1.1", "out"]);
}

/// With `2>&1` there is no other place for an answer than the file.
#[test]
fn the_only_output_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "nattrace why web -> 1.1.1.1:443 2>&1");
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let text = fs::read_to_string(folder.path().join("1.1.1.1:443")).unwrap();
    assert!(text.contains("result   connects"), "{text}");
}

/// The input is unusable, but an empty file called like an address is wanted by nobody.
#[test]
fn the_file_is_gone_even_if_there_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "nattrace why wbe -> 1.1.1.1");
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert_eq!(files(folder.path()), [""; 0]);
}
