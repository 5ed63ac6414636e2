//! `nattrace why --flows`: one answer a line, in order, whatever stands in the line.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};

use program::{nattrace, run, run_with_input, show};
use serde_json::Value;

const HOST: &str = "-s corpus/cases/01-default-bridge";

fn ask(lines: &str) -> Output {
    run_with_input(&format!("why {HOST} --flows -"), lines.as_bytes())
}

fn answers(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_is_answered_as_the_command_line_is() {
    let output = ask(r#"{"src": "172.17.0.2", "dst": "1.1.1.1", "dport": 443, "proto": "tcp"}"#);
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let alone = run(&format!("why {HOST} 172.17.0.2 to 1.1.1.1:443 --format jsonl"));
    assert_eq!(output.stdout, alone.stdout);
}

/// What an answer says of its flow asks the same question again.
#[test]
fn the_flow_of_an_answer_is_a_question() {
    let questions = [
        r#"{"src": "web", "dst": "internet", "dport": 53, "proto": "udp"}"#,
        r#"{"src": "198.51.100.7", "dst": "203.0.113.10", "dport": 8080}"#,
        r#"{"src": "host", "dst": "172.17.0.2"}"#,
        r#"{"src": "172.17.0.2", "dst": "1.1.1.1", "proto": "icmp", "icmp_type": "3/4", "state": "related"}"#,
        r#"{"src": "172.17.0.2", "dst": "1.1.1.1", "dport": 80, "tcp_flags": "ACK", "mark": 7}"#,
        r#"{"src": "172.17.0.2", "dst": "1.1.1.1", "proto": 47}"#,
    ];
    let first = answers(&ask(&questions.join("\n")));
    assert_eq!(first.len(), questions.len());
    let again: Vec<String> = first.iter().map(|answer| answer["flow"].to_string()).collect();
    let second = answers(&ask(&again.join("\n")));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first["flow"], second["flow"]);
        assert_eq!(first["steps"], second["steps"], "{}", first["flow"]);
    }
}

#[test]
fn answers_come_in_order() {
    let ports: Vec<u16> = (1..=5000).collect();
    let lines: String = ports
        .iter()
        .map(|port| format!("{{\"src\":\"172.17.0.2\",\"dst\":\"1.1.1.1\",\"dport\":{port}}}\n"))
        .collect();
    let output = ask(&lines);
    let seen: Vec<u64> =
        answers(&output).iter().map(|answer| answer["flow"]["dport"].as_u64().unwrap()).collect();
    assert_eq!(seen, ports.iter().map(|port| u64::from(*port)).collect::<Vec<_>>());
}

#[test]
fn what_can_not_be_read_gets_an_answer_too() {
    let long = format!("{{\"src\": \"{}\"}}", "x".repeat(3_000_000));
    let good = r#"{"src": "172.17.0.2", "dst": "1.1.1.1"}"#;
    let lines = [
        good,
        "not json",
        r#"{"src": "172.17.0.2"}"#,
        "",
        r#"{"src": "172.17.0.2", "dts": "1.1.1.1"}"#,
        r#"{"src": "172.17.0.2", "dst": "1.1.1.1", "dport": 70000}"#,
        r#"{"src": "wbe", "dst": "1.1.1.1"}"#,
        &long,
        r#"{"src": "172.17.0.2", "dst": "1.1.1.1", "state": 7}"#,
        good,
    ];
    let output = ask(&lines.join("\n"));
    assert_eq!(output.status.code(), Some(2));
    let answers = answers(&output);
    assert_eq!(answers.len(), lines.len());
    assert_eq!(answers.first(), answers.last());
    assert_eq!(answers[0]["verdict"], "forwarded");
    let errors: Vec<&str> =
        answers.iter().filter_map(|answer| answer.get("error")?.as_str()).collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn the_worst_line_gives_the_status() {
    let connects = r#"{"src": "web", "dst": "1.1.1.1", "dport": 80}"#;
    let fails = r#"{"src": "198.51.100.7", "dst": "203.0.113.10", "dport": 8081}"#;
    for (lines, expected) in [
        (vec![connects, connects], 0),
        (vec![connects, fails], 1),
        (vec![fails, "?"], 2),
        (vec![], 0),
    ] {
        let output = ask(&lines.join("\n"));
        assert_eq!(output.status.code(), Some(expected), "{}", show(&output));
    }
}

#[test]
fn windows_line_ends_do_not_matter() {
    let output = ask(
        "{\"src\": \"web\", \"dst\": \"1.1.1.1\"}\r\n{\"src\": \"c2\", \"dst\": \"1.1.1.1\"}\r\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    assert_eq!(answers(&output).len(), 2);
}

#[test]
fn concise_answers_are_lines_too() {
    let lines = "{\"src\": \"web\", \"dst\": \"1.1.1.1\"}\n?\n";
    let output =
        run_with_input(&format!("why {HOST} --flows - --format concise"), lines.as_bytes());
    insta::assert_snapshot!(show(&output));
    let output = run_with_input(&format!("why {HOST} --flows - --format pretty"), lines.as_bytes());
    assert_eq!(output.status.code(), Some(2));
}

/// Who asks one line at a time is answered one line at a time.
#[test]
fn a_conversation_does_not_wait_for_the_end() {
    let mut command = nattrace();
    command.args(format!("why {HOST} --flows -").split_whitespace());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for port in [80, 443, 22] {
        writeln!(stdin, "{{\"src\": \"web\", \"dst\": \"1.1.1.1\", \"dport\": {port}}}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["flow"]["dport"], port);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
