//! `nattrace fix` from outside: the change that is found, that it is enough, that no part of it is,
//! and that real iptables makes of it what was predicted.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    reason = "helpers of a test"
)]

mod program;
#[path = "fix/saved.rs"]
#[expect(dead_code, reason = "the law needs more of it")]
mod saved;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use program::{nattrace, root, show};
use saved::{set, sorted, steady};
use serde_json::Value;
use tempfile::TempDir;

/// A policy that fails on a host, and what mends it.
struct Case {
    about: String,
    folder: TempDir,
    /// The arguments that name the host.
    host: Vec<String>,
    place: Option<String>,
    /// The commands that mend it; none where it holds, or where nothing of the kind does.
    commands: Vec<String>,
    /// What is in the way, where nothing mends it.
    obstacles: Vec<String>,
}

impl Case {
    fn read(table: &toml::Table) -> Self {
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("policy.toml"), text("policy").unwrap()).unwrap();
        let mut host = Vec::new();
        if let Some(snapshot) = text("snapshot") {
            host.extend(["-s".to_owned(), format!("corpus/cases/{snapshot}")]);
        }
        let seed = |name: &toml::Value| root().join("corpus/seeds").join(name.as_str().unwrap());
        if let Some(parts) = table.get("parts").and_then(toml::Value::as_table) {
            let own = folder.path().join("host");
            fs::create_dir(&own).unwrap();
            for (name, file) in parts {
                fs::copy(seed(file), own.join(name)).unwrap();
            }
            host.extend(["-s".to_owned(), own.display().to_string()]);
        }
        for rules in table.get("rules").and_then(toml::Value::as_array).into_iter().flatten() {
            host.extend(["--rules".to_owned(), seed(rules).display().to_string()]);
        }
        if let Some(script) = text("script") {
            let path = folder.path().join("script.sh");
            fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
            host.extend(["--rules".to_owned(), path.display().to_string()]);
        }
        let lines = |key: &str| -> Vec<String> {
            let lines = table.get(key).and_then(toml::Value::as_array).into_iter().flatten();
            lines.map(|line| line.as_str().unwrap().to_owned()).collect()
        };
        let (commands, obstacles) = (lines("commands"), lines("obstacles"));
        let about = text("about").unwrap();
        assert!(table.contains_key("commands") || !obstacles.is_empty(), "{about}");
        Self { about, folder, host, place: text("place"), commands, obstacles }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, command: &str, more: &[&str]) -> Output {
        let mut program = nattrace();
        program.arg(command).arg(self.path("policy.toml")).args(&self.host).args(more);
        if let Some(place) = self.place.as_ref().filter(|_| command == "fix") {
            program.args(["--place", place]);
        }
        program.output().unwrap()
    }

    /// Whether the policy holds on the host with settings made.
    fn holds_with_settings(&self, settings: &[&str]) -> bool {
        let folder = self.path("set");
        fs::create_dir(&folder).unwrap();
        for file in fs::read_dir(root().join(&self.host[1])).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
        let path = folder.join("sysctl");
        let mut text = fs::read_to_string(&path).unwrap();
        for setting in settings {
            let (name, value) = setting["sysctl -w ".len()..].split_once('=').unwrap();
            text = set(&text, name, value);
        }
        fs::write(path, text).unwrap();
        let mut program = nattrace();
        program.arg("check").arg(self.path("policy.toml")).arg("-s").arg(folder);
        program.output().unwrap().status.code() == Some(0)
    }

    /// Says what stands in the way, and nothing that would help.
    fn has_obstacles(&self) -> Result<(), String> {
        let output = self.run("fix", &["--json"]);
        let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let told = answer["obstacles"].as_array().unwrap();
        let told: Vec<&str> = told.iter().map(|line| line.as_str().unwrap()).collect();
        let missing = |line: &&String| !told.iter().any(|told| told.contains(line.as_str()));
        match self.obstacles.iter().find(missing) {
            None if output.status.code() == Some(1) => Ok(()),
            _ => Err(show(&output)),
        }
    }

    /// Whether the policy holds with rules of its own beside those of the host.
    fn holds_with(&self, name: &str, rules: &str) -> bool {
        let path = self.path(name);
        fs::write(&path, rules).unwrap();
        let output = self.run("check", &["--rules", path.to_str().unwrap(), "--format", "concise"]);
        assert!(output.status.code().unwrap() < 2, "{}: {}", self.about, show(&output));
        output.status.code() == Some(0)
    }
}

/// The cases.
fn cases() -> Vec<Case> {
    let text = fs::read_to_string(root().join("tests/fix/cases.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let cases = table["case"].as_array().unwrap();
    cases.iter().map(|case| Case::read(case.as_table().unwrap())).collect()
}

/// Does something with each case, on several cores.
fn each(work: impl Fn(&Case) -> Result<(), String> + Sync) {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = work(case) {
                        faults.lock().unwrap().push(format!("{}: {fault}", case.about));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The command of an edit, with another position.
fn command(edit: &Value, position: i64) -> String {
    let text = |key: &str| edit[key].as_str().unwrap().to_owned();
    let program = match (&*text("family"), &*text("backend")) {
        ("ipv4", "nft") => "iptables",
        ("ipv6", "nft") => "ip6tables",
        ("ipv4", _) => "iptables-legacy",
        _ => "ip6tables-legacy",
    };
    let (table, chain, rule) = (text("table"), text("chain"), text("rule"));
    let spec = rule.splitn(3, ' ').nth(2).unwrap_or("");
    match &*text("op") {
        "insert" => format!("{program} -t {table} -I {chain} {position} {spec}"),
        "replace" => format!("{program} -t {table} -R {chain} {position} {spec}"),
        "delete" => format!("{program} -t {table} -D {chain} {position}"),
        "append" => format!("{program} -t {table} -A {chain} {spec}"),
        other => panic!("unknown op {other}"),
    }
}

/// Edits without one of them, as a script.
fn without(edits: &[Value], gone: usize) -> String {
    let mut lines = vec!["#!/bin/sh".to_owned()];
    for (index, edit) in edits.iter().enumerate().filter(|(index, _)| *index != gone) {
        let same = |key: &str| edits[gone][key] == edit[key];
        let moved = index > gone && ["family", "backend", "table", "chain"].into_iter().all(same);
        let by = match edits[gone]["op"].as_str().unwrap() {
            "insert" | "append" if moved => -1,
            "delete" if moved => 1,
            _ => 0,
        };
        lines.push(command(edit, edit["position"].as_i64().unwrap() + by));
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_change_is_the_one_that_a_person_would_make_enough_and_no_part_of_it_is() {
    each(|case| {
        if !case.obstacles.is_empty() {
            return case.has_obstacles();
        }
        let settings = case.commands.iter().filter(|line| line.starts_with("sysctl "));
        let settings: Vec<&str> = settings.map(String::as_str).collect();
        if !settings.is_empty() {
            let output = case.run("fix", &["--format", "commands"]);
            let same = stdout(&output).lines().eq(settings.iter().copied());
            let holds = same && case.holds_with_settings(&settings);
            return if holds { Ok(()) } else { Err(show(&output)) };
        }
        let output = case.run("fix", &["--format", "plan"]);
        if case.commands.is_empty() {
            let holds = output.status.code() == Some(0) && output.stdout.is_empty();
            return if holds { Ok(()) } else { Err(show(&output)) };
        }
        let fault = |error: serde_json::Error| format!("{error}: {}", show(&output));
        let plan: Value = serde_json::from_str(&stdout(&output)).map_err(fault)?;
        let edits = plan["edits"].as_array().unwrap();
        let position = |edit: &Value| edit["position"].as_i64().unwrap();
        let found: Vec<String> = match case.place.as_deref() {
            Some("nft") => edits.iter().map(|edit| edit["rule"].to_string()).collect(),
            _ => edits.iter().map(|edit| command(edit, position(edit))).collect(),
        };
        let expected: Vec<String> = match case.place.as_deref() {
            Some("nft") => {
                let printed = stdout(&case.run("fix", &["--format", "commands"]));
                if printed.lines().ne(&case.commands) {
                    return Err(format!("expected {:#?}, found {printed}", case.commands));
                }
                found.clone()
            }
            _ => case.commands.iter().map(|line| line.replacen(" -w", "", 1)).collect(),
        };
        if output.status.code() != Some(0) || found != expected {
            return Err(format!("expected {expected:#?}, found {}", show(&output)));
        }
        let holds = match case.place.as_deref() {
            Some("nft") => {
                let script = format!("{}\nnft -j list ruleset\n", case.commands.join("\n"));
                match in_namespace(case, &script) {
                    Some(output) => case.holds_with("own.json", &stdout(&output)),
                    None => {
                        println!("{}: not proved, there is no namespace of our own", case.about);
                        true
                    }
                }
            }
            _ => case.holds_with("fix.sh", &format!("#!/bin/sh\n{}\n", found.join("\n"))),
        };
        if !holds {
            return Err("the policy does not hold with it".to_owned());
        }
        for gone in 0..edits.len() {
            let script = without(edits, gone);
            if edits.len() > 1 && case.holds_with("part.sh", &script) {
                return Err(format!("this is enough: {script}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_change_is_printed_in_every_form() {
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy.toml");
    let text = "version = 1\n[[deny]]\nname = \"8080 is closed\"\nfrom = \"internet\"\n\
                lands = \"container:web:80\"\n";
    fs::write(&policy, text).unwrap();
    for format in ["commands", "restore", "diff", "plan", "ansible"] {
        let mut program = nattrace();
        let host = "corpus/cases/14a-docker-user-wrong-port";
        let program = program.arg("fix").arg(&policy).args(["-s", host, "--format", format]);
        let shown = show(&program.output().unwrap());
        let shown = shown.replace(&policy.display().to_string(), "policy.toml");
        insta::with_settings!({snapshot_suffix => format}, { insta::assert_snapshot!(shown) });
    }
}

/// Runs a script in a network namespace with rules of its own; `None` where there can't be one.
fn in_namespace(case: &Case, script: &str) -> Option<Output> {
    let script = format!("set -e\necho ready >&2\n{script}");
    let mut command = Command::new("unshare");
    let command = command.args(["--net", "sh", "-c", &script]).current_dir(case.folder.path());
    let output = command.output().ok()?;
    String::from_utf8_lossy(&output.stderr).contains("ready\n").then_some(output)
}

#[test]
fn iptables_makes_of_it_what_was_predicted() {
    let skipped = AtomicUsize::new(0);
    let compared = AtomicUsize::new(0);
    each(|case| {
        let settings = case.commands.iter().any(|line| line.starts_with("sysctl "));
        let none = case.commands.is_empty() || settings;
        if none || case.place.is_some() || case.commands.len() > 3 {
            return Ok(());
        }
        for (family, prefix) in [("ipv4", "iptables"), ("ipv6", "ip6tables")] {
            let here: Vec<&String> = case
                .commands
                .iter()
                .filter(|line| line.split([' ', '-']).next() == Some(prefix))
                .collect();
            let Some(first) = here.first() else { continue };
            let program = first.split(' ').next().unwrap();
            if case.commands.len() != here.len() {
                // Both families change: one of them alone is another question.
                continue;
            }
            let _ = family;
            let today = today(case, prefix);
            fs::write(case.path("today"), today).unwrap();
            fs::write(case.path("delta"), case.run("fix", &["--format", "restore"]).stdout)
                .unwrap();
            let predicted = steady(&stdout(&case.run("fix", &["--format", "file"])));
            let load = format!("{program}-restore < today");
            for change in [
                here.iter().map(|line| format!("{line}\n")).collect::<String>(),
                format!("{program}-restore --noflush -w < delta\n"),
            ] {
                let script = format!("{load}\n{change}{program}-save\n");
                let Some(output) = in_namespace(case, &script) else {
                    nattrace_skips::skip("a fix in the kernel", "no namespace of our own");
                    skipped.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                };
                if !output.status.success() {
                    return Err(show(&output));
                }
                let real = steady(&stdout(&output));
                let (real_tables, mut predicted_tables) = (sorted(&real), sorted(&predicted));
                // Of rules given beside a snapshot, only those are loaded here.
                let loaded = |table: &Vec<String>| real.contains(&table[0]);
                predicted_tables.retain(|table| case.host.len() == 2 || loaded(table));
                if real_tables != predicted_tables {
                    return Err(format!("{change}\nexpected {predicted:#?}\nfound {real:#?}"));
                }
                compared.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    });
    let (skipped, compared) = (skipped.into_inner(), compared.into_inner());
    println!("{compared} rulesets compared, {skipped} cases skipped: no namespace of our own");
    assert!(compared > 0 || skipped > 0);
}

/// The rules of a family as the host has them.
fn today(case: &Case, prefix: &str) -> String {
    if let [_, folder] = case.host.as_slice() {
        for name in [format!("{prefix}-save"), format!("{prefix}-legacy-save")] {
            if let Ok(text) = fs::read_to_string(root().join(folder).join(name))
                && !text.trim().is_empty()
            {
                return text;
            }
        }
    }
    let family = if prefix == "iptables" { "ipv4" } else { "ipv6" };
    let mut program = nattrace();
    program.args(["fmt", "--family", family]);
    match case.host.as_slice() {
        // A script begins with the rules before it.
        [_, folder, option, script] if script.ends_with(".sh") => {
            let saved = format!("{folder}/{prefix}-save");
            program.args([option, &saved, option, script])
        }
        host => program.args(host),
    };
    stdout(&program.output().unwrap())
}

/// A run on a host of the corpus, with a policy of its own.
fn asked(policy: &str, more: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.toml");
    fs::write(&path, format!("version = 1\n{policy}")).unwrap();
    nattrace().arg("fix").arg(path).args(more).output().unwrap()
}

const CLOSED: &str =
    "[[deny]]\nname = \"closed\"\nfrom = \"internet\"\nlands = \"172.17.0.2:80\"\n";
const OPEN: &str =
    "[[allow]]\nname = \"open\"\nfrom = \"internet\"\nto = \"203.0.113.10:8080/tcp\"\n";
const HOST: [&str; 2] = ["-s", "corpus/cases/01-default-bridge"];

#[test]
fn what_cannot_be_mended_is_said_with_what_is_in_the_way() {
    let both = asked(&format!("{CLOSED}{OPEN}"), &HOST);
    assert_eq!(both.status.code(), Some(1), "{}", show(&both));
    let text = stdout(&both);
    assert!(text.contains("the two may contradict each other"), "{text}");
    assert!(text.contains("The nearest\n  iptables -w "), "{text}");
    let unknown = asked(&OPEN.replace("internet", "net:bridg"), &HOST);
    let text = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{text}");
    assert!(text.contains("did you mean `net:bridge`?"), "{text}");
    let none = asked(CLOSED, &["--rules", "corpus/cases/01-default-bridge/iptables-L"]);
    assert_eq!(none.status.code(), Some(3), "{}", show(&none));
    assert!(String::from_utf8_lossy(&none.stderr).contains("iptables -nvL"));
}

/// What leaves by an uplink whose provider drops it is told, although the policy holds then.
#[test]
fn a_fix_that_loses_packets_on_their_way_says_so() {
    let policy = "[[egress]]\nfrom = \"net:vpnnet\"\nto = \"internet\"\nsource = \"192.0.2.10\"\n";
    let host = ["-s", "corpus/cases/07a-two-uplinks-main-only"];
    for format in ["concise", "commands", "plan", "json"] {
        let output = asked(policy, &[&host[..], &["--format", format]].concat());
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
        assert!(text.contains("providers drop such packets (BCP 38)"), "{format}: {text}");
        assert!(text.contains("`ip rule add priority 32765 from 172.18.0.0/16 lookup 100`"));
    }
}

/// How long a change lasts on a host some of whose rules somebody keeps.
fn lasting(rules: &str, policy: &str) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rules");
    let heads = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
    fs::write(&path, format!("*filter\n{heads}{rules}COMMIT\n")).unwrap();
    let rules = ["--format", "json", "--rules", path.to_str().unwrap()];
    let output = asked(policy, &[&HOST[..], &rules].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Some(lines) = json["lasting"].as_array() else { panic!("{}", show(&output)) };
    lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
}

/// Settings and routes as they are printed make real packets pass, and the policy hold.
#[test]
fn settings_and_routes_work_as_they_are_printed() {
    let folder = TempDir::new().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh"])
        .arg(root().join("tests/fix/settings.sh"))
        .arg(folder.path())
        .env("NATTRACE", env!("CARGO_BIN_EXE_nattrace"))
        .output()
        .unwrap();
    let text = stdout(&output);
    if text.is_empty() && !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        nattrace_skips::skip("settings and routes", &format!("no namespace of our own ({why})"));
        return;
    }
    assert!(output.status.success(), "{}", show(&output));
    assert!(text.lines().filter(|line| line.contains(": ")).count() >= 9, "{text}");
}

/// What was carried out with ufw 0.36 and firewalld 1.3, and outlived a reload of theirs.
#[test]
fn ufw_and_firewalld_are_told_in_their_own_words() {
    let closed = "[[deny]]\nfamily = \"ipv4\"\nfrom = \"internet\"\nlands = \"host:22/tcp\"\n\
                  [[deny]]\nfamily = \"ipv4\"\nfrom = \"internet\"\nlands = \"host:9090/tcp\"\n";
    let told = lasting(":ufw-user-input - [0:0]\n-A INPUT -j ufw-user-input\n", closed);
    let words = "ufw keeps the same as a rule of its own: \
                 `ufw prepend deny in on eth0 from 0.0.0.0/0 to any port 9090 proto tcp`, \
                 `ufw prepend deny in on eth0 from 0.0.0.0/0 to any port 22 proto tcp`\n";
    assert!(told.contains(words), "{told}");
    let told = lasting(":INPUT_direct - [0:0]\n-A INPUT -j INPUT_direct\n", closed);
    let words = "`firewall-cmd --permanent --direct --add-rule ipv4 filter INPUT 0 -i eth0 -p tcp -m \
                 tcp --dport 22 -j DROP`, \
                 `firewall-cmd --permanent --direct --add-rule ipv4 filter INPUT 1 ";
    assert!(told.contains(words) && !told.contains("--add-chain"), "{told}");
    let rules = ":INPUT_direct - [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n";
    let told = lasting(rules, CLOSED);
    let words = "`firewall-cmd --permanent --direct --add-chain ipv4 filter DOCKER-USER`, \
                 `firewall-cmd --permanent --direct --add-rule ipv4 filter DOCKER-USER 0 ";
    assert!(told.contains(words), "{told}");
}

#[test]
fn more_edits_are_offered_where_their_number_is_in_the_way() {
    let policy = "[[isolate]]\nzones = [\"172.17.0.0/16\", \"172.18.0.0/16\"]\n";
    let host = ["-s", "corpus/cases/04-networks", "--format", "concise", "--max-edits"];
    let text = stdout(&asked(policy, &[&host[..], &["1"]].concat()));
    assert!(text.starts_with("no fix within 1 edit ("), "{text}");
    assert!(text.contains(" tried, and `--max-edits 2` allows more); "), "{text}");
}

#[test]
fn a_policy_that_holds_leaves_no_plan() {
    let folder = TempDir::new().unwrap();
    let plan = folder.path().join("plan.json");
    let to = [&HOST[..], &["--format", "plan", "-o", plan.to_str().unwrap()]].concat();
    let holds = asked(OPEN, &to);
    assert_eq!(holds.status.code(), Some(0), "{}", show(&holds));
    let text = String::from_utf8(holds.stderr).unwrap();
    assert_eq!(text, "note: the policy holds: nothing has to change\n");
    assert!(!plan.exists());
    let nowhere = asked(CLOSED, &[&HOST[..], &["--format", "plan", "-o", "/no/plan"]].concat());
    assert_eq!(nowhere.status.code(), Some(2));
    let text = String::from_utf8(nowhere.stderr).unwrap();
    assert!(text.starts_with("error: can't write `/no/plan`: "), "{text}");
}

#[test]
fn rules_alone_name_no_interface_that_is_not_theirs_without_saying_so() {
    let rules = ["--rules", "corpus/cases/01-default-bridge/iptables-save"];
    let text = stdout(&asked(CLOSED, &rules));
    assert!(text.contains("-i uplink "), "{text}");
    assert!(text.contains("`uplink` stands for the interface to the outside"), "{text}");
    for format in ["concise", "commands", "restore", "file", "diff", "plan", "ansible", "json"] {
        let text = stdout(&asked(CLOSED, &[&rules[..], &["--format", format]].concat()));
        assert!(text.contains("`uplink` stands for the interface"), "{format}: {text}");
        if let Ok(json) = serde_json::from_str::<Value>(&text) {
            assert_eq!(json["notes"].as_array().map(Vec::len), Some(1), "{json}");
        }
    }
    // The commands that make the plan ask of the same rules.
    let again = format!("--rules {} --format plan -o plan.json\n", rules[1]);
    assert!(text.contains(&again), "{text}");
}
