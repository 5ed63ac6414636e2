//! What each command prints, on hosts of the corpus.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::io::Read;
use std::process::Stdio;

use program::{nattrace, root, run, run_with_input, show};

const HOST: &str = "-s corpus/cases/01-default-bridge";

/// Checks everything that there is to see of a run against its snapshot.
fn check(name: &str, arguments: &str) {
    let output = run(arguments);
    insta::assert_snapshot!(name, format!("$ nattrace {arguments}\n{}", show(&output)));
}

#[test]
fn why() {
    for (name, host, words) in [
        ("masquerade", "01-default-bridge", "web to internet:443"),
        ("published", "01-default-bridge", "internet to host:8080"),
        ("bridged", "01-default-bridge", "web to c2:80"),
        ("proxied", "01-default-bridge", "host to 127.0.0.1:8080"),
        ("refused", "01-default-bridge", "internet to host:8081"),
        ("echo", "01-default-bridge", "web to 1.1.1.1"),
        ("isolated", "04-networks", "f1 to b1:80"),
        ("dropped", "08b-ufw-deny-8080", "internet to host:22/udp"),
        ("no-masquerade", "15a-flushed-nat", "web to internet:443"),
        ("ipv6", "11a-ipv6-ip6tables", "web to internet:443 --family ipv6"),
        ("legacy", "13-legacy-backend", "web to internet:443"),
        ("branches", "17e-statistic-nth", "internet to host:9990"),
        ("established", "01-default-bridge", "internet to web:80 --state established"),
    ] {
        check(name, &format!("why -s corpus/cases/{host} {words}"));
    }
}

/// Where nobody knows the address that MASQUERADE takes, nothing stands in its place.
#[test]
fn rules_alone() {
    let rules = "--rules corpus/cases/01-default-bridge/iptables-save";
    check("rules-alone", &format!("why {rules} 172.17.0.2 to 1.1.1.1:443"));
    let output = run(&format!("why {rules} 172.17.0.2 to 1.1.1.1:443 --json"));
    assert!(!String::from_utf8(output.stdout).unwrap().contains("0.0.0.0"));
}

#[test]
fn formats() {
    for format in ["concise", "json", "jsonl"] {
        check(
            &format!("format-{format}"),
            &format!("why {HOST} web to internet:443 --format {format}"),
        );
    }
    assert_eq!(
        run(&format!("why {HOST} web to c2:80 --json")).stdout,
        run(&format!("why {HOST} web to c2:80 --format json")).stdout,
    );
}

#[test]
fn the_status_tells_the_outcome() {
    for (words, expected) in [
        ("web to internet:443", 0),
        ("internet to host:8081", 1),
        ("internet to host:8081 --exit-zero", 0),
        ("nobody to 1.1.1.1", 2),
        ("nobody to 1.1.1.1 --exit-zero", 2),
    ] {
        let output = run(&format!("why {HOST} {words}"));
        assert_eq!(output.status.code(), Some(expected), "{words}\n{}", show(&output));
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let question = format!("why {HOST} web to internet:443");
    let escapes = |arguments: &str, no_color: Option<&str>| {
        let mut command = nattrace();
        command.args(arguments.split_whitespace());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        command.output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!escapes(&question, None));
    assert!(escapes(&format!("{question} --color always"), None));
    assert!(escapes(&format!("{question} --color always"), Some("1")));
    assert!(!escapes(&format!("{question} --color never"), None));
    assert!(!escapes(&format!("{question} --json --color always"), None));
}

/// The colours are all that a terminal adds.
#[test]
fn colour_carries_no_meaning() {
    let question = format!("why {HOST} internet to host:8081");
    let plain = run(&question).stdout;
    let styled = run(&format!("{question} --color always")).stdout;
    let styled = String::from_utf8(styled).unwrap();
    let mut stripped = String::new();
    let mut rest = styled.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, String::from_utf8(plain).unwrap());
}

#[test]
fn graphs() {
    check("graph-dot", &format!("graph {HOST} --table nat"));
    check("graph-mermaid", &format!("graph {HOST} --table nat --format mermaid"));
    check("graph-path", &format!("graph {HOST} --table nat --why internet host:8080"));
}

#[test]
fn what_iptables_save_printed_is_formatted() {
    let path = "corpus/cases/01-default-bridge/iptables-save";
    assert_eq!(run(&format!("fmt --check {path}")).status.code(), Some(0));
    let printed = run(&format!("fmt {path}"));
    let rules = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    assert_eq!(rules(&String::from_utf8(printed.stdout).unwrap()), rules(&text));
}

#[test]
fn what_people_write_is_not_formatted() {
    let rules = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                  -A INPUT -p tcp --dport 22 -s 10.0.0.1 -j ACCEPT\nCOMMIT\n";
    insta::assert_snapshot!("fmt", show(&run_with_input("fmt -", rules)));
    insta::assert_snapshot!("fmt-check", show(&run_with_input("fmt --check -", rules)));
}

#[test]
fn a_snapshot_may_be_one_file_on_standard_input() {
    let folder = root().join("corpus/cases/01-default-bridge");
    let part = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        format!("#@ nattrace {name}\n{text}")
    };
    let parts = ["iptables-save", "ip-addr.json", "ip-route.json", "listeners", "sysctl"];
    let file: String = parts.into_iter().map(part).collect();
    let question = "why -s - 172.17.0.2 to 1.1.1.1:443 --format concise";
    let output = run_with_input(question, file.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("172.17.0.2:40000 -> 1.1.1.1:443/tcp: connects"), "{}", show(&output));
}

/// A snapshot that can be used although something is wrong with it is used, and it is said.
#[test]
fn warnings_do_not_stop() {
    let question = "10.0.0.1 to 1.1.1.1 --in eth0 --format concise";
    check(
        "warning-unknown-part",
        &format!("why -s tests/bad-input/unknown-part.snapshot {question}"),
    );
}

/// An answer that could not be written is no answer.
#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let mut command = nattrace();
    command.args(format!("why {HOST} web to internet:443").split_whitespace());
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("error: can't write the answer: "), "{text}");
}

/// The first reader of a pipe may go away at any time.
#[test]
fn a_closed_pipe_is_quiet() {
    for arguments in [
        format!("why {HOST} web to internet:443 --json"),
        format!("graph {HOST}"),
        "man".to_owned(),
        "completions zsh".to_owned(),
        "explain".to_owned(),
        "snapshot --script".to_owned(),
    ] {
        let mut command = nattrace();
        command.args(arguments.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(errors, "", "{arguments}");
        assert!(child.wait().unwrap().code().is_some(), "{arguments}");
    }
}

#[test]
fn every_page_and_script_is_made() {
    let script = run("snapshot --script");
    assert!(script.stdout.starts_with(b"#!/bin/sh\n"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&format!("completions {shell}"));
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("snapshot"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = run(&format!("man -o {}", folder.path().display()));
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    insta::assert_snapshot!("man-pages", names.join("\n"));
    check("version", "--version");
    check("help-why", "why --help");
}

/// The same question gets the same bytes, however the threads run.
#[test]
fn output_is_deterministic() {
    for arguments in [
        format!("why {HOST} web to internet:443 --json"),
        format!("graph {HOST}"),
        "why -s corpus/cases/12-scale-30x10x2 internet to host:8080 --json".to_owned(),
    ] {
        let first = run(&arguments);
        for _ in 0..5 {
            assert_eq!(run(&arguments).stdout, first.stdout, "{arguments}");
        }
    }
}

#[test]
fn rules_are_counted_by_owner_and_extension() {
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                 :DOCKER-USER - [0:0]\n:f2b-sshd - [0:0]\n\
                 -A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd\n\
                 -A INPUT -m geoip --source-country XX -j DROP\n\
                 -A FORWARD -j DOCKER-USER\n-A DOCKER-USER -s 10.0.0.1/32 -j DROP\nCOMMIT\n";
    let output = run_with_input("fmt --stats -", rules.as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "stdin: IPv4, nft, 5 chains, 4 rules\n\n\
         \x20 table   chains  rules\n\
         \x20 filter       5      4\n\n\
         \x20 owner     chains  rules\n\
         \x20 docker         1      1\n\
         \x20 fail2ban       1      1\n\
         \x20 hand           0      2\n\n\
         \x20 extension  kind   uses\n\
         \x20 tcp        match     1\n\n\
         \x20 not understood\n\
         \x20   stdin:8  -m geoip --source-country XX\n"
    );
    let output = run_with_input("fmt --stats --json -", rules.as_bytes());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], "nattrace/stats/1");
    assert_eq!(json["rulesets"][0]["owners"][1]["owner"], "fail2ban");
    assert_eq!(json["rulesets"][0]["unsupported"][0]["at"], "stdin:8");
}

#[test]
fn a_script_builds_on_what_was_there_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let dump = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                -A INPUT -i lo -j ACCEPT\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n\
                :INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";
    std::fs::write(path("dump"), dump).unwrap();
    let script = "#!/bin/sh\niptables -A INPUT -p tcp --dport 22 -j ACCEPT\n\
                  iptables -D INPUT -i lo -j ACCEPT\nip6tables -P INPUT DROP\n";
    std::fs::write(path("script"), script).unwrap();
    let rules = format!("--rules {} --rules {}", path("dump").display(), path("script").display());
    let output = run(&format!("fmt {rules}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = dump.replace("-i lo -j ACCEPT", "-p tcp -m tcp --dport 22 -j ACCEPT");
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("# Generated by ip6tables-save"), "{text}");
    let output = run(&format!("why 1.2.3.4 host:22/tcp --in eth0 --json {rules}"));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = answer["steps"].as_array().unwrap();
    let accepted = steps.iter().find(|step| step["effect"] == "accept").unwrap();
    assert!(accepted["at"].as_str().unwrap().ends_with("script:2"), "{accepted}");
    // On its own, there is no such rule to delete.
    let output = run(&format!("fmt {}", path("script").display()));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-rule"));
}

/// JSON is JSON everywhere, and says which shape it has.
#[test]
fn every_command_prints_json() {
    let policy = "corpus/cases/01-default-bridge/policy.toml";
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().display();
    for (arguments, schema) in [
        (format!("why {HOST} web to internet:443"), "why"),
        (format!("check {HOST} {policy}"), "check"),
        (format!("audit {HOST}"), "audit"),
        (format!("diff {}/iptables-save {}/iptables-save {HOST}", &HOST[3..], &HOST[3..]), "diff"),
        (format!("matrix {HOST} --from internet --to host"), "matrix"),
        (format!("graph {HOST} --why web internet"), "graph"),
        (format!("fmt {HOST}"), "fmt"),
        (format!("fmt --check {HOST}"), "fmt"),
        (format!("fmt --stats {HOST}"), "stats"),
        ("explain no-rules".to_owned(), "explain"),
        ("explain MASQUERADE".to_owned(), "explain"),
        ("explain".to_owned(), "explain"),
        (format!("status --state-dir {state}"), "status"),
        ("snapshot --script".to_owned(), "script"),
        (format!("redact {HOST}"), "redact"),
        (format!("redact {HOST} -o {state}/public/"), "redact"),
        (format!("check --init {HOST}"), "init"),
        ("completions bash".to_owned(), "completions"),
        ("man".to_owned(), "man"),
        (format!("man -o {state}/man"), "man"),
    ] {
        let output = run(&format!("{arguments} --json"));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["schema"], format!("nattrace/{schema}/1"), "{arguments}");
        let output = run(&format!("{arguments} --format jsonl"));
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

#[test]
fn the_chains_are_listed_as_they_are_drawn() {
    let listed = |format: &str| {
        let why = "--why web internet";
        let output = run(&format!("graph {HOST} --table filter --format {format} {why}"));
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&listed("json")).unwrap();
    let chains = json["chains"].as_array().unwrap();
    let forward = chains.iter().find(|chain| chain["chain"] == "FORWARD").unwrap();
    assert_eq!(forward["policy"], "DROP");
    assert_eq!(forward["visited"], true);
    assert_eq!(forward["calls"][0]["chain"], "DOCKER-USER");
    assert_eq!(forward["calls"][0]["taken"], true);
    assert_eq!(listed("jsonl").lines().count(), chains.len());
    assert_eq!(listed("concise").lines().count(), chains.len());
    let pretty = listed("pretty");
    assert!(pretty.contains("▶ FORWARD  policy DROP, "), "{pretty}");
    assert!(pretty.contains("    ▶ 1 → DOCKER-USER\n"), "{pretty}");
    let drawn = listed("dot");
    for chain in chains {
        assert!(drawn.contains(chain["chain"].as_str().unwrap()), "{chain}");
    }
}

/// What an answer rests on is there in one line too.
#[test]
fn one_line_says_what_was_assumed_and_what_is_open() {
    let rules = "--rules corpus/cases/02-host-binding-ipv4/iptables-L";
    let output = run(&format!("why {rules} 172.18.0.3 to 1.1.1.1:443 --format concise"));
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.contains(": undetermined, undetermined: whether filter/"), "{line}");
    assert!(line.contains(" [assumed: ") && line.contains("interfaces-not-shown"), "{line}");
    assert_eq!(line.lines().count(), 1);
}

/// Parts that do not fit one another are used, and it is said where the answer rests on that.
#[test]
fn a_route_to_an_interface_that_is_not_listed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["iptables-save", "ip-addr.json", "ip-route.json", "ip-rule.json", "sysctl"] {
        let from = root().join("corpus/cases/01-default-bridge").join(part);
        std::fs::copy(from, folder.path().join(part)).unwrap();
    }
    let path = folder.path().join("ip-route.json");
    let routes = std::fs::read_to_string(&path).unwrap();
    let more = "[{\"dst\":\"198.18.0.0/24\",\"dev\":\"nosuch0\",\"flags\":[]},";
    std::fs::write(&path, routes.replacen('[', more, 1)).unwrap();
    let ask = |to: &str| {
        let host = folder.path().display();
        let output = run(&format!("why -s {host} 172.17.0.2 to {to}:80 --format concise"));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask("198.18.0.9").contains("interface-exists"), "{}", ask("198.18.0.9"));
    assert!(!ask("1.1.1.1").contains("interface-exists"), "{}", ask("1.1.1.1"));
}

#[test]
fn a_packet_may_be_near_its_end() {
    let ask = |ttl: &str| {
        let output = run(&format!("why {HOST} web to internet:443 --json --ttl {ttl}"));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(ask("1")["verdict"], "ttl-expired");
    let answer = ask("2");
    assert_eq!(answer["verdict"], "forwarded");
    // The question of an answer can be asked again.
    let host = HOST.replace("-s ", "--snapshot=");
    let line = format!("{}\n", answer["flow"]);
    let again = run_with_input(&format!("why {host} --flows -"), line.as_bytes());
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again, answer);
}

#[test]
fn the_rules_of_one_family_are_printed_alone() {
    let host = "-s corpus/cases/11a-ipv6-ip6tables";
    let text = |arguments: &str| String::from_utf8(run(arguments).stdout).unwrap();
    let both = text(&format!("fmt {host}"));
    let headings = both.lines().filter(|line| line.starts_with("# Generated by ")).count();
    assert_eq!(headings, 2);
    let (four, six) =
        (text(&format!("fmt {host} --family 4")), text(&format!("fmt {host} --family 6")));
    assert!(!four.contains('#') && !six.contains('#'));
    let bare: Vec<&str> = both.lines().filter(|line| !line.starts_with('#')).collect();
    let parts: Vec<&str> = six.lines().chain(four.lines()).collect();
    assert_eq!(bare, parts);
}

/// What names containers and networks have is Docker's business; a policy says what it can.
#[test]
fn a_policy_is_drafted_whatever_things_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let case = root().join("corpus/cases/02-host-binding-ipv4");
    for entry in std::fs::read_dir(case).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace("\"pub\"", "\"my net:x\"")
            .replace("\"/web\"", "\"\"")
            .replace("\"/app\"", "\"/a\\nb\"");
        std::fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let host = folder.path().display();
    let output = run(&format!("check --init -s {host}"));
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("# Not looked at, because no zone can be called like that:\n"), "{text}");
    assert!(text.contains("#   \"bridge and my net:x are apart\"\n"), "{text}");
    let policy = folder.path().join("policy");
    std::fs::write(&policy, text).unwrap();
    let output = run(&format!("check -s {host} {}", policy.display()));
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
}

#[test]
fn many_packets_say_themselves_what_they_are() {
    for option in ["--in eth0", "--sport 1", "--state new", "--mark 1", "--ttl 3"] {
        let output = run(&format!("why {HOST} --flows - {option}"));
        assert_eq!(output.status.code(), Some(2), "{option}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("cannot be used with"), "{text}");
    }
    let output = run(&format!("why {HOST} --flows tests"));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: can't read `tests`: is a directory\n"
    );
}
