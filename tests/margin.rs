//! Rules behind what mail, forums and pagers put before their lines.

mod program;

use program::{run_with_input, show};

const RULES: &str =
    "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n";

/// The lines, each behind something.
fn behind(text: &str, front: impl Fn(usize) -> String) -> String {
    text.lines().enumerate().map(|(at, line)| format!("{}{line}\n", front(at + 1))).collect()
}

#[test]
fn quoted_and_numbered_rules_are_rules() {
    let plain = run_with_input("fmt -", RULES.as_bytes());
    for text in [
        behind(RULES, |_| "> ".to_owned()),
        behind(RULES, |_| "> > ".to_owned()),
        behind(RULES, |number| format!("{number:6}\t")),
        behind(RULES, |number| format!("{number}:")),
        format!(
            "On Monday somebody wrote:\n{}Can you see it?\n",
            behind(RULES, |_| "> ".to_owned())
        ),
    ] {
        let said = run_with_input("fmt -", text.as_bytes());
        assert_eq!(said.status.code(), Some(0), "{text}{}", show(&said));
        assert_eq!(said.stdout, plain.stdout, "{text}");
        let noted = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(noted.contains("before the lines are left out"), "{noted}");
        let why = run_with_input("why --rules - 192.0.2.7 -> host:22 --json", text.as_bytes());
        assert_eq!(why.status.code(), Some(0), "{text}{}", show(&why));
    }
}

#[test]
fn places_are_those_of_the_text_as_it_was_given() {
    let text = behind(&RULES.replace("--dport", "--dprot"), |_| "> ".to_owned());
    let said = run_with_input("fmt -", text.as_bytes());
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(2));
    assert!(complaint.contains("[stdin:3:26]"), "{complaint}");
}
