//! `nattrace matrix` from outside.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use program::{run, show};
use serde_json::Value;

const HOST: &str = "-s corpus/cases/02-host-binding-ipv4 --family ipv4";

fn stdout(arguments: &str) -> String {
    let output = run(&format!("matrix {HOST} {arguments}"));
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_person_sees_what_the_internet_gets() {
    insta::assert_snapshot!(stdout("--from internet --to host --open"));
}

#[test]
fn one_line_a_cell() {
    insta::assert_snapshot!(stdout("--from internet --to host --format concise"));
}

/// Every form is about the same cells, and comes out the same twice.
#[test]
fn all_forms_say_the_same() {
    let asked = "--from internet --from host --to host --to net:bridge --service 22 --service 80";
    let json: Value = serde_json::from_str(&stdout(&format!("{asked} --json"))).unwrap();
    assert_eq!(json["schema"], "nattrace/matrix/1");
    let cells = json["cells"].as_array().unwrap();
    assert!(!cells.is_empty());
    let lines = stdout(&format!("{asked} --format jsonl"));
    assert_eq!(lines.lines().count(), cells.len());
    for (line, cell) in lines.lines().zip(cells) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), *cell);
    }
    assert_eq!(stdout(&format!("{asked} --format concise")).lines().count(), cells.len());
    let parts = |cell: &Value| {
        let services = cell["services"].as_array().unwrap().len();
        services * cell["parts"].as_array().unwrap().len()
    };
    let csv = stdout(&format!("{asked} --format csv"));
    assert_eq!(csv.lines().count(), 1 + cells.iter().map(parts).sum::<usize>());
    assert!(csv.starts_with("family,from,to,service,reach,outcome,"));
    for format in ["dot", "svg", "html", "pretty"] {
        let text = stdout(&format!("{asked} --format {format}"));
        assert_eq!(text, stdout(&format!("{asked} --format {format}")), "{format}");
        assert!(text.contains("internet") && text.contains("host"), "{text}");
    }
    let html = stdout(&format!("{asked} --format html"));
    // Nothing from elsewhere, and nothing that runs.
    for sign in ["http:", "https:", "<script", "<link", "<img", "@import", "url("] {
        assert!(!html.contains(sign), "{sign}");
    }
    // A witness, asked about again, says the same.
    for cell in cells {
        for part in cell["parts"].as_array().unwrap() {
            let replay = part["replay"].as_str().unwrap().strip_prefix("nattrace why ").unwrap();
            let again = run(&format!("why {HOST} --json {replay}"));
            let answer: Value = serde_json::from_slice(&again.stdout).unwrap();
            assert_eq!(answer["outcome"], part["outcome"], "{replay}");
            assert_eq!(answer["verdict"], part["verdict"], "{replay}");
        }
    }
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    for arguments in [
        "--from net:brigde",
        "--from lan:eth7",
        "--to intranet",
        "--to host:22",
        "--service 70000",
        "--service 53/upd",
        "--service 5/icmp",
        "--format sarif",
    ] {
        let output = run(&format!("matrix {HOST} {arguments}"));
        assert_eq!(output.status.code(), Some(2), "{arguments}\n{}", show(&output));
        assert!(output.stdout.is_empty(), "{arguments}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let near = run(&format!("matrix {HOST} --from net:brigde"));
    assert!(String::from_utf8_lossy(&near.stderr).contains("did you mean `net:bridge`?"));
}
