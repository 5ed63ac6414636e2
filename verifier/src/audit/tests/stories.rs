//! What people do to hosts, and what is said of it: the rows of stories.txt.

use std::fmt::Write;

use nattrace_model::simulate;
use serde_json::{Value, json};

use super::*;

/// A host, and what was done to it.
struct Story<'t> {
    seen: bool,
    code: &'t str,
    host: &'t str,
    done: Vec<&'t str>,
}

fn stories(text: &str) -> Vec<Story<'_>> {
    let mut stories: Vec<Story<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [sign @ ("+" | "-"), code, host] => {
                stories.push(Story { seen: *sign == "+", code, host, done: Vec::new() });
            }
            _ => stories.last_mut().unwrap().done.push(line.trim()),
        }
    }
    stories
}

type Parts = Vec<(String, String)>;

fn part<'p>(parts: &'p mut Parts, name: &str) -> &'p mut String {
    if !parts.iter().any(|(own, _)| own == name) {
        parts.push((name.to_owned(), String::new()));
    }
    &mut parts.iter_mut().find(|(own, _)| own == name).unwrap().1
}

/// Does one thing to a host.
fn act(parts: &mut Parts, line: &str) {
    let mut add = |name: &str, entry: Value| {
        let list = part(parts, name);
        let mut entries: Vec<Value> = serde_json::from_str(list).unwrap();
        entries.push(entry);
        *list = serde_json::to_string(&entries).unwrap();
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["iptables", rest @ ..] => edit(part(parts, "iptables-save"), rest),
        ["ip6tables", rest @ ..] => edit(part(parts, "ip6tables-save"), rest),
        ["ipset", rest @ ..] => {
            writeln!(part(parts, "ipset-save"), "{}", rest.join(" ")).unwrap();
        }
        ["listen", protocol, socket, process] => writeln!(
            part(parts, "listeners"),
            "{protocol} LISTEN 0 64 {socket} *:* users:((\"{process}\",pid=1,fd=3))"
        )
        .unwrap(),
        ["sysctl", key, "=", value] => {
            let text = part(parts, "sysctl");
            let set = |line: &str| match line.split_once(" = ") {
                Some((own, _)) if own == *key => format!("{key} = {value}\n"),
                _ => format!("{line}\n"),
            };
            *text = text.lines().map(set).collect();
        }
        ["link", name, kind, address] => {
            let (local, length) = address.split_once('/').unwrap();
            let family = if local.contains(':') { "inet6" } else { "inet" };
            let length: u8 = length.parse().unwrap();
            let own = json!([{ "family": family, "local": local, "prefixlen": length, "scope": "global" }]);
            let mut link = json!({
                "ifindex": 90, "ifname": name, "flags": ["UP", "LOWER_UP"], "mtu": 1500,
                "operstate": "UP", "link_type": "ether", "addr_info": own,
            });
            if *kind != "-" {
                link["linkinfo"] = json!({ "info_kind": kind });
            }
            add("ip-addr.json", link);
        }
        ["route", destination, device] => {
            add("ip-route.json", json!({ "dst": destination, "dev": device, "flags": [] }));
        }
        ["route", destination, device, table] => add(
            "ip-route.json",
            json!({ "dst": destination, "dev": device, "table": table, "flags": [] }),
        ),
        ["rule", priority, table] => {
            let priority: u32 = priority.parse().unwrap();
            add("ip-rule.json", json!({ "priority": priority, "src": "all", "table": table }));
        }
        _ => panic!("{line}"),
    }
}

/// Does to what iptables-save printed what a command would do to the rules.
fn edit(text: &mut String, command: &[&str]) {
    let (table, command) = match command {
        ["-t", table, rest @ ..] => (*table, rest),
        rest => ("filter", rest),
    };
    let start = format!("*{table}\n");
    if !text.contains(&start) {
        let chains = match table {
            "mangle" => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"][..],
            "raw" => &["PREROUTING", "OUTPUT"],
            _ => panic!("{table}"),
        };
        let chains: String = chains.iter().map(|own| format!(":{own} ACCEPT [0:0]\n")).collect();
        text.push_str(&format!("{start}{chains}COMMIT\n"));
    }
    let from = text.find(&start).unwrap() + start.len();
    let to = from + text[from..].find("COMMIT\n").unwrap();
    let bare = |line: &str| match line.split_once("] -A ") {
        Some((_, rule)) if line.starts_with('[') => format!("-A {rule}"),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = text[from..to].lines().map(bare).collect();
    let (option, chain) = (command[0], command[1]);
    let rule = format!("-A {}", command[1..].join(" "));
    let first = lines.iter().position(|line| line.starts_with(&format!("-A {chain} ")));
    match option {
        "-N" => lines.insert(0, format!(":{chain} - [0:0]")),
        "-P" => {
            let at = lines.iter().position(|line| line.starts_with(&format!(":{chain} ")));
            lines[at.unwrap()] = format!(":{chain} {} [0:0]", command[2]);
        }
        "-A" => lines.push(rule),
        "-I" => lines.insert(first.unwrap_or(lines.len()), rule),
        "-D" => {
            let at = lines.iter().position(|line| *line == rule);
            lines.remove(at.unwrap_or_else(|| panic!("no `{rule}`")));
        }
        _ => panic!("{option}"),
    }
    text.replace_range(from..to, &(lines.join("\n") + "\n"));
}

/// What pains say of each lint that has a row.
fn severity(code: &str) -> &'static [Severity] {
    match code {
        "volatile-match" => &[Severity::Info],
        "stale-container-rule"
        | "interface-never-matches"
        | "dnat-shadowed-duplicate"
        | "asymmetric-reply-route"
        | "mark-bit-collision"
        | "raw-drop-overrides-docker-user"
        | "bridge-nf-surprise" => &[Severity::Warning],
        // Of a translation that would be the same, of a VPN whose clients may want no internet, and of
        // a host that may want none.
        "snat-shadowed-by-masquerade" | "masquerade-missing" | "reply-path-dropped" => {
            &[Severity::Warning, Severity::Error]
        }
        _ => &[Severity::Error],
    }
}

#[test]
fn what_people_do_is_seen() {
    let (mut wrong, mut tried, mut seen) = (Vec::new(), 0, 0);
    for story in stories(include_str!("stories.txt")) {
        let mut parts = Case::read(&cases_dir().join(story.host)).unwrap().parts;
        story.done.iter().for_each(|line| act(&mut parts, line));
        let told = format!("{} {}:\n{}", story.code, story.host, story.done.join("\n"));
        let found = match fixes::audited(&parts, "") {
            Ok(found) => found,
            Err(error) => {
                wrong.push(format!("{told}\n{error}"));
                continue;
            }
        };
        let own: Vec<&Finding> =
            found.iter().filter(|finding| finding.code == story.code).collect();
        if own.is_empty() == story.seen {
            let codes: Vec<&str> = found.iter().map(|finding| finding.code).collect();
            wrong.push(format!("{told}\nfound {codes:?}"));
        }
        let texts: Vec<_> =
            parts.iter().map(|(name, text)| nattrace_model::build::Text { name, text }).collect();
        let system = build::load(&texts, &[]).system;
        for finding in own {
            seen += 1;
            if !severity(story.code).contains(&finding.severity) {
                wrong.push(format!("{told}\n{:?}", finding.severity));
            }
            let again = finding.witness.as_ref().map(|answer| simulate::why(&system, &answer.flow));
            let same = again.iter().zip(&finding.witness).all(|(again, said)| *again == **said);
            if !same {
                wrong.push(format!("{told}\nreplayed otherwise: {again:?}"));
            }
        }
        wrong.extend(fixes::faults(&told, &parts, &found, &mut tried));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen > 40 && tried > 60, "{seen} findings, {tried} fixes");
}
