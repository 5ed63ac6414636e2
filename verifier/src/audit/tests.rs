use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::build;

use super::*;

fn findings(case: &str) -> Vec<Finding> {
    let case = Case::read(&cases_dir().join(case)).unwrap();
    audit(&build::load(&case.texts(), &[]).system, Owners::Hand)
}

/// Hosts that somebody edited: the finding that their story is about.
#[test]
fn the_hand_edits_are_found() {
    for (case, code) in [
        ("03-snat-hand-edit", "masquerade-too-broad"),
        ("03d-snat-appended", "snat-shadowed-by-masquerade"),
        ("05b-lan-no-masquerade", "masquerade-missing"),
        ("05b-lan-no-masquerade-forward-accept", "direct-route-exposure"),
        ("06a-iptables-false", "container-manager-chains-missing"),
        ("06b-iptables-false-snat", "masquerade-too-broad"),
        ("07b-two-uplinks-rule-from", "asymmetric-reply-route"),
        ("07e-two-uplinks-connmark-rpfilter1", "asymmetric-reply-route"),
        ("08a-ufw-docker", "published-port-bypasses-input"),
        ("08b-ufw-deny-8080", "published-port-bypasses-input"),
        ("09-no-userland-proxy", "loopback-publish-reachable"),
        ("10-masquerade-off-host-ipv4", "masquerade-missing"),
        ("14a-docker-user-wrong-port", "docker-user-host-port-after-dnat"),
        ("14a-docker-user-wrong-port", "sensitive-port-world-reachable"),
        ("15a-flushed-nat", "container-manager-chains-missing"),
        ("15a-flushed-nat", "masquerade-missing"),
        ("17a-hand-forwards", "dnat-captures-transit"),
        ("02-host-binding-ipv4", "egress-source-ambiguous"),
    ] {
        let codes: Vec<&str> = findings(case).iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&code), "{case}: {code} not in {codes:?}");
    }
}

/// Hosts as Docker leaves them: no error, but for what is really open.
#[test]
fn clean_hosts_raise_no_alarm() {
    for (case, really_open) in [
        ("01-default-bridge", &[][..]),
        ("02-host-binding-ipv4", &[]),
        ("03c-snat-hand-edit-correct", &[]),
        ("04-networks", &[]),
        // Observed: a neighbour gets to the container behind 127.0.0.1:8090 by its own address.
        ("09-no-userland-proxy", &["loopback-publish-reachable"]),
        ("11a-ipv6-ip6tables", &[]),
        ("13-legacy-backend", &[]),
        ("19a-docker29-portmap", &[]),
    ] {
        let found = findings(case);
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<&str> = errors.map(|finding| finding.code).collect();
        assert_eq!(errors, really_open, "{case}");
    }
}

/// Nothing is said to break without a packet that shows it, or a rule or network to look at.
#[test]
fn every_finding_says_what_and_why() {
    for case in
        Case::read_all(&cases_dir()).unwrap().iter().filter(|case| !case.name.starts_with("12-"))
    {
        for finding in findings(&case.name) {
            assert!(codes().contains(&finding.code));
            for text in [&finding.message, &finding.effect, &finding.help] {
                assert!(!text.is_empty() && !text.contains("  "), "{finding:?}");
            }
            let structural = [
                "subnet-overlap",
                "dnat-dead-target",
                "snat-address-not-local",
                "container-manager-chains-missing",
                "mixed-iptables-backends",
            ];
            assert!(
                finding.severity < Severity::Error
                    || finding.witness.is_some()
                    || structural.contains(&finding.code),
                "{} {}",
                case.name,
                finding.code,
            );
        }
    }
}
