//! What a terminal showed, pasted into a message, as a snapshot.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::fs;
use std::path::PathBuf;

use program::{nattrace, root, run, show};

const POST: &str = "tests/transcript/gateway.txt";

/// A file with the post, changed.
fn changed(folder: &tempfile::TempDir, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(root().join(POST)).unwrap();
    assert!(text.contains(from), "{from}");
    let path = folder.path().join("post.txt");
    fs::write(&path, text.replace(from, to)).unwrap();
    path
}

fn line(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_post_is_answered_with_addresses_routes_and_settings() {
    let output = run(&format!("why -s {POST} 10.8.0.2 to 1.1.1.1:443"));
    insta::assert_snapshot!(show(&output));
}

#[test]
fn ipv6_is_answered_from_its_own_routes() {
    let output =
        run(&format!("why -s {POST} 2001:db8:8::2 to 2606:4700:4700::1111 --format concise"));
    let text = line(&output);
    assert!(text.contains("forwarded by eth0 as 2001:db8:8::2"), "{}", show(&output));
}

#[test]
fn rules_alone_are_read_and_the_rest_is_named_once() {
    let output = run(&format!("why --rules {POST} 10.8.0.2 to 1.1.1.1:443"));
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.matches("ignored-text").count(), 2, "{errors}");
    assert!(errors.contains("`--snapshot` instead of `--rules` reads what stands"), "{errors}");
}

#[test]
fn two_posts_are_compared_as_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = changed(&folder, "-A FORWARD -i wg0 -j ACCEPT\n", "-A FORWARD -j ACCEPT\n");
    let output = nattrace().arg("diff").arg(POST).arg(&fixed).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(line(&output).contains("was timeout, now connects"), "{}", show(&output));
    let output = nattrace().arg("diff").arg(POST).arg(POST).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
}

#[test]
fn pseudonyms_keep_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redacted");
    let output = nattrace().args(["redact", "-s", POST, "-o"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("10.8.0.1/24") && !text.contains("\n\n\n"), "{text}");
    let output = nattrace().arg("audit").arg("-s").arg(&path).output().unwrap();
    let original = run(&format!("audit -s {POST}"));
    assert_eq!(output.status.code(), original.status.code(), "{}", show(&output));
}

#[test]
fn what_would_mislead_is_refused_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |path: &PathBuf| {
        let mut command = nattrace();
        command.arg("why").arg("-s").arg(path).args(["10.8.0.2", "to", "1.1.1.1"]);
        command.output().unwrap()
    };
    let output = ask(&changed(&folder, "root@vpn:~# ip route", "root@other:~# ip route"));
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert!(show(&output).contains("prompts of two hosts: `vpn` and `other`"), "{}", show(&output));
    let output = ask(&changed(&folder, "# ip route", "# ip route | grep wg0"));
    assert!(show(&output).contains("it went through a filter"), "{}", show(&output));
    let output = ask(&changed(&folder, "root@vpn:~# ", "% "));
    assert_ne!(output.status.code(), Some(2), "{}", show(&output));
    let output = ask(&changed(&folder, "root@vpn:~# ", ""));
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert!(show(&output).contains("is not a snapshot"), "{}", show(&output));
}
