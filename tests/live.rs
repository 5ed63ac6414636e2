//! A live host: a network namespace with rules of both backends.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of a test")]

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use program::show;

const HOST: &str = "
set -e
# Link-local addresses would come and go by themselves.
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
ip link set lo up
ip link add eth0 type bridge; ip addr add 203.0.113.10/24 dev eth0; ip link set eth0 up
ip route add default via 203.0.113.1
ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables-nft -t nat -A POSTROUTING -s 10.9.0.0/24 -o eth0 -j MASQUERADE
iptables-legacy -A FORWARD -i br0 -m comment --comment legacy -j ACCEPT
echo ready >&2
";

/// Runs a line of shell on that host; `None` where the machine does not let us have it.
fn on_host(folder: &Path, line: &str) -> Option<Output> {
    let line = line.replace("nattrace", env!("CARGO_BIN_EXE_nattrace"));
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &format!("{HOST}\nset +e\n{line}")]).current_dir(folder);
    let output = command.stdin(Stdio::null()).output().ok()?;
    if !String::from_utf8_lossy(&output.stderr).contains("ready\n") {
        nattrace_skips::skip("a live host", &format!("none of our own: {}", show(&output)));
        return None;
    }
    Some(output)
}

/// The parts of a snapshot that do not change while nobody changes the host.
fn steady(snapshot: &str) -> Vec<(String, String)> {
    let part = |text: &str| {
        let (name, text) = text.split_once('\n')?;
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            // Counters go on counting: `:INPUT ACCEPT [1:40]`, `[1:40] -A INPUT …`.
            .map(|line| match (line.split_once(" ["), line.split_once("] -A")) {
                (Some((chain, _)), _) if line.starts_with(':') => format!("{chain}\n"),
                (_, Some((_, rule))) => format!("{rule}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        Some((name.to_owned(), text))
    };
    let mut parts: Vec<(String, String)> = snapshot
        .split("#@ nattrace ")
        .skip(1)
        .filter_map(part)
        .filter(|(name, _)| name != "ip-addr.json" && name != "nft-ruleset.json" && name != "end`.")
        .collect();
    parts.sort();
    parts
}

#[test]
fn a_live_host_is_answered_for() {
    let folder = tempfile::tempdir().unwrap();
    let question = "10.9.0.2 to 1.1.1.1:443 --in br0 --json";
    let Some(live) = on_host(folder.path(), &format!("nattrace why {question}")) else { return };
    assert_eq!(live.status.code(), Some(0), "{}", show(&live));
    let answer: serde_json::Value = serde_json::from_slice(&live.stdout).unwrap();
    assert_eq!(answer["egress"]["src"], "203.0.113.10", "{answer}");
    let steps = answer["steps"].as_array().unwrap();
    let accepted = steps.iter().find(|step| step["effect"] == "accept").unwrap();
    assert_eq!(accepted["backend"], "legacy");
    assert_eq!(accepted["at"], "iptables-legacy-save:6");
    let rewritten = steps.iter().find(|step| step["effect"] == "masquerade").unwrap();
    assert_eq!(rewritten.get("backend"), None);
}

#[test]
fn program_and_script_collect_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let lines =
        "nattrace snapshot > one; nattrace snapshot --script > script; sh -s < script > two;
                 nattrace snapshot -o parts/; nattrace snapshot -o parts/; ls -l parts";
    let Some(output) = on_host(folder.path(), lines) else { return };
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (one, two) = (read("one"), read("two"));
    assert!(one.ends_with("#@ nattrace end\n"), "{one}");
    assert!(steady(&one).len() > 8, "{}", show(&output));
    assert_eq!(steady(&one), steady(&two));
    for (name, text) in steady(&one).iter().filter(|(name, _)| name != "end") {
        assert_eq!(
            &steady(&format!("#@ nattrace {name}\n{}", read(&format!("parts/{name}"))))[0].1,
            text
        );
    }
    // It tells much about a host, so that nobody else may read it.
    let listing = String::from_utf8_lossy(&output.stdout);
    assert!(listing.lines().skip(1).all(|line| line.starts_with("-rw-------")), "{listing}");
}

#[test]
fn without_root_it_says_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new("setpriv");
    if root {
        command.args(["--reuid", "65534", "--clear-groups"]);
        // A user of no rights may not be let into the folder of the program.
        fs::copy(env!("CARGO_BIN_EXE_nattrace"), folder.path().join("nattrace")).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open).unwrap();
    }
    let program =
        if root { folder.path().join("nattrace") } else { env!("CARGO_BIN_EXE_nattrace").into() };
    let output = command.arg(program).args(["why", "10.0.0.1", "1.1.1.1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    insta::assert_snapshot!(show(&output));
}
