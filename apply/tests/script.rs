//! What the shell script tells of a host of known state.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of a test")]

use std::process::{Command, Stdio};

use nattrace_apply::{SCRIPT, is_root};

/// A host of its own: rules of both backends, a bridge, a set, a vlan name with a dot.
const HOST: &str = "
ip link set lo up
ip link add br0 type bridge && ip addr add 10.9.0.1/24 dev br0 && ip link set br0 up
ip link add eth0.100 type bridge
ipset create blocked hash:net && ipset add blocked 192.0.2.0/24
iptables-nft -A FORWARD -i br0 -m comment --comment nft -j DROP
iptables-legacy -A INPUT -m comment --comment legacy -j DROP
";

/// Runs a shell's reading of the script inside a network namespace; `None` where the machine does
/// not let us have one.
fn run(shell: &[&str]) -> Option<String> {
    if !is_root() {
        return None;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SCRIPT).unwrap();
    let command = format!("set -e\n{HOST}\nexec {} < {}", shell.join(" "), file.path().display());
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "sh", "-c", &command]).stdin(Stdio::null());
    let output = unshare.output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !text.starts_with("# A snapshot") {
        println!("skipped: {errors}");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(text)
}

fn part<'a>(snapshot: &'a str, name: &str) -> &'a str {
    let header = format!("#@ nattrace {name}\n");
    let (_, rest) = snapshot.split_once(&header).unwrap_or_else(|| {
        panic!("no part {name}:\n{snapshot}");
    });
    rest.split_once("#@ nattrace ").map_or(rest, |(part, _)| part)
}

#[test]
fn every_shell_prints_a_whole_snapshot() {
    for shell in [&["dash", "-s"][..], &["busybox", "ash", "-s"], &["bash", "--posix", "-s"]] {
        if Command::new(shell[0]).arg("--help").output().is_err() {
            println!("skipped: {} is not installed", shell[0]);
            continue;
        }
        let Some(snapshot) = run(shell) else {
            println!("skipped: no network namespace of our own");
            return;
        };
        assert!(snapshot.ends_with("#@ nattrace end\n"), "{snapshot}");
        assert!(part(&snapshot, "iptables-save").contains("--comment nft"), "{snapshot}");
        assert!(part(&snapshot, "iptables-legacy-save").contains("--comment legacy"), "{snapshot}");
        assert!(part(&snapshot, "ipset-save").contains("add blocked 192.0.2.0/24"), "{snapshot}");
        let addresses = part(&snapshot, "ip-addr.json");
        assert!(addresses.contains("10.9.0.1"), "{snapshot}");
        // busybox brings an `ip` of its own, which knows only text.
        if !shell.contains(&"busybox") {
            assert!(addresses.contains("\"info_kind\":\"bridge\""), "{snapshot}");
        }
        assert!(part(&snapshot, "ip-route.json").contains("10.9.0.0/24"), "{snapshot}");
        let sysctl = part(&snapshot, "sysctl");
        assert!(sysctl.contains("\nnet.ipv4.conf.eth0/100.rp_filter = "), "{sysctl}");
        assert!(sysctl.contains("\nnet.ipv4.ip_forward = "), "{sysctl}");
        assert!(part(&snapshot, "listeners").is_empty());
    }
}
