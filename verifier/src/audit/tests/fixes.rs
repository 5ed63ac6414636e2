//! The law of fixes: after the commands of a finding it is gone, and no other error is there.

use nattrace_model::answer::Outcome;
use nattrace_model::build::Text;

use super::*;

/// What is found on a host after commands were carried out on it.
pub(super) fn audited(parts: &[(String, String)], commands: &str) -> Result<Vec<Finding>, String> {
    let mut parts = parts.to_vec();
    let mut rules = String::new();
    for command in commands.lines() {
        if !carry_out(&mut parts, command) {
            rules.push_str(&format!("{command}\n"));
        }
    }
    let texts: Vec<Text<'_>> = parts.iter().map(|(name, text)| Text { name, text }).collect();
    let script = [Text { name: "fix.sh", text: &rules }];
    let loaded = build::load(&texts, if rules.is_empty() { &[] } else { &script });
    let failed = loaded
        .diagnostics
        .iter()
        .find(|found| found.diagnostic.severity == nattrace_parser::Severity::Error);
    match failed {
        Some(failed) => Err(format!("{}: {:?}", failed.part, failed.diagnostic)),
        None => Ok(audit(&loaded.system, Owners::Hand)),
    }
}

/// Does to the parts of a host what a command does to the host; false for a command of iptables.
fn carry_out(parts: &mut [(String, String)], command: &str) -> bool {
    let mut change = |name: &str, change: &dyn Fn(&str) -> String| {
        let found = parts.iter_mut().find(|(own, _)| own == name);
        let (_, text) = found.unwrap_or_else(|| panic!("{command}: no {name}"));
        *text = change(text);
    };
    let and = |entry: serde_json::Value| {
        move |list: &str| {
            let mut entries: Vec<serde_json::Value> = serde_json::from_str(list).unwrap();
            entries.push(entry.clone());
            serde_json::to_string(&entries).unwrap()
        }
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["sysctl", "-w", setting] => {
            let (key, value) = setting.split_once('=').unwrap();
            change("sysctl", &|text| {
                let was = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
                let changes = was.is_some_and(|was| was != value);
                let set = |line: &str| match line.split_once(" = ") {
                    Some((own, _)) if own == key => format!("{own} = {value}\n"),
                    // Switching it over switches it for every interface.
                    Some((own, _))
                        if changes
                            && key == "net.ipv4.ip_forward"
                            && own.starts_with("net.ipv4.conf.")
                            && own.ends_with(".forwarding") =>
                    {
                        format!("{own} = {value}\n")
                    }
                    _ => format!("{line}\n"),
                };
                text.lines().map(set).collect()
            });
        }
        ["ip", "route", "add", "default", "via", gateway, "dev", device, "table", table] => {
            let route = serde_json::json!({
                "dst": "default", "gateway": gateway, "dev": device, "table": table, "flags": []
            });
            change("ip-route.json", &and(route));
        }
        ["ip", "rule", "add", "fwmark", mark, "lookup", table, "priority", priority] => {
            let (value, mask) = mark.split_once('/').unwrap();
            let priority: u32 = priority.parse().unwrap();
            let rule = serde_json::json!({
                "priority": priority, "src": "all", "fwmark": value, "fwmask": mask, "table": table
            });
            change("ip-rule.json", &and(rule));
        }
        ["ip", "rule", "add", "to", network, "lookup", table, "priority", priority] => {
            let (network, length) = network.split_once('/').unwrap();
            let (priority, length): (u32, u8) =
                (priority.parse().unwrap(), length.parse().unwrap());
            let rule = serde_json::json!({
                "priority": priority, "src": "all", "dst": network, "dstlen": length, "table": table
            });
            change("ip-rule.json", &and(rule));
        }
        ["ip", ..] => panic!("{command}"),
        _ => return false,
    }
    true
}

/// Whether what a command does can be told without the program.
fn is_known(command: &str) -> bool {
    let others = ["docker ", "systemctl ", "tailscale ", "sed ", "ip addr "];
    !others.iter().any(|start| command.starts_with(start))
}

fn errors(found: &[Finding]) -> Vec<&'static str> {
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
    let mut codes: Vec<&str> = errors.map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes
}

/// Lints whose witness gets through, and those whose witness does not.
const GETS_THROUGH: [&str; 12] = [
    "published-port-bypasses-input",
    "sensitive-port-world-reachable",
    "docker-user-host-port-after-dnat",
    "docker-user-not-hooked",
    "masquerade-too-broad",
    "egress-source-ambiguous",
    "direct-route-exposure",
    "loopback-publish-reachable",
    "route-localnet-exposure",
    "ipv6-policy-mismatch",
    "ban-chain-ineffective",
    "nodeport-bypasses-host-firewall",
];
const IS_LOST: [&str; 7] = [
    "masquerade-missing",
    "reply-path-dropped",
    "forward-drop-blocks-other-bridge",
    "ip-forward-disabled",
    "hairpin-broken",
    "cgnat-drop-conflict",
    "raw-drop-overrides-docker-user",
];

/// Whether the witness shows what is said.
fn shows(finding: &Finding) -> bool {
    let (through, lost) = (GETS_THROUGH.contains(&finding.code), IS_LOST.contains(&finding.code));
    let Some(witness) = &finding.witness else { return !through && !lost };
    let connects = witness.outcome == Outcome::Connects;
    // What a rule should let in, it shows being lost.
    let through = through && !finding.message.contains("can't let in");
    !(through && !connects || lost && connects)
}

/// Carries out what each finding says, and looks again. Returns what is wrong with them.
pub(super) fn faults(
    host: &str,
    parts: &[(String, String)],
    found: &[Finding],
    tried: &mut usize,
) -> Vec<String> {
    let wrong = found.iter().filter(|finding| !shows(finding));
    let mut faults: Vec<String> = wrong
        .map(|finding| format!("{host}: {} shows {:?}", finding.code, finding.witness))
        .collect();
    for finding in found.iter().filter(|finding| !finding.fix.is_empty()) {
        if !finding.fix.iter().all(|command| is_known(command)) {
            continue;
        }
        *tried += 1;
        let commands = finding.fix.join("\n") + "\n";
        let told = format!("{host}: {} ({})\n{commands}", finding.code, finding.message);
        let after = match audited(parts, &commands) {
            Ok(after) => after,
            Err(error) => {
                faults.push(format!("{told}{error}"));
                continue;
            }
        };
        let same =
            |other: &&Finding| (other.code, &other.message) == (finding.code, &finding.message);
        let (before, left) = (found.iter().filter(same).count(), after.iter().filter(same).count());
        if left >= before {
            faults.push(format!("still there after {told}"));
        }
        let (known, now) = (errors(found), errors(&after));
        let count = |all: &[&str], code: &str| all.iter().filter(|own| **own == code).count();
        if let Some(code) = now.iter().find(|code| count(&now, code) > count(&known, code)) {
            faults.push(format!("{code} after {told}"));
        }
    }
    faults
}

/// On every recorded host.
#[test]
fn fixes_end_what_they_are_for() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for case in Case::read_all(&cases_dir()).unwrap() {
        let found = audited(&case.parts, "").unwrap();
        wrong.extend(faults(&case.name, &case.parts, &found, &mut tried));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried >= 55, "{tried}");
}
