//! The law of fixes: after the commands of a finding it is gone, and no other error is there.

use nattrace_model::answer::Outcome;
use nattrace_model::build::Text;

use super::*;

/// What is found on a host after commands were carried out on it.
pub(super) fn audited(parts: &[(String, String)], commands: &str) -> Result<Vec<Finding>, String> {
    let texts: Vec<Text<'_>> = parts.iter().map(|(name, text)| Text { name, text }).collect();
    let script = [Text { name: "fix.sh", text: commands }];
    let loaded = build::load(&texts, if commands.is_empty() { &[] } else { &script });
    let failed = loaded
        .diagnostics
        .iter()
        .find(|found| found.diagnostic.severity == nattrace_parser::Severity::Error);
    match failed {
        Some(failed) => Err(format!("{}: {:?}", failed.part, failed.diagnostic)),
        None => Ok(audit(&loaded.system, Owners::Hand)),
    }
}

fn errors(found: &[Finding]) -> Vec<&'static str> {
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
    let mut codes: Vec<&str> = errors.map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes
}

/// Lints whose witness gets through, and those whose witness does not.
const GETS_THROUGH: [&str; 13] = [
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
    "killswitch-leak",
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
