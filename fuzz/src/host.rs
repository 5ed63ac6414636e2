//! The parts of a snapshot beside the rules.

use nattrace_parser::host;
use nattrace_parser::host::Read;

use crate::{check_diagnostics, check_span};

/// Reads a text twice: the same entries and the same messages, which point into the text.
fn check<'t, T: std::fmt::Debug>(text: &'t str, parse: impl Fn(&'t str) -> Read<T>) {
    let (entries, diagnostics) = parse(text);
    check_diagnostics(text, &diagnostics);
    let (again, same) = parse(text);
    assert_eq!(diagnostics, same, "the messages differ from one reading to the next");
    assert_eq!(format!("{entries:?}"), format!("{again:?}"));
}

/// `ip addr`.
pub fn ip_addr(text: &str) {
    check(text, host::address::parse);
}

/// `ip route`.
pub fn ip_route(text: &str) {
    check(text, |text| host::route::parse(text, None));
}

/// `ip rule`.
pub fn ip_rule(text: &str) {
    check(text, host::rule::parse);
}

/// `bridge link`.
pub fn bridge(text: &str) {
    check(text, host::bridge::parse);
}

/// `sysctl -a`.
pub fn sysctl(text: &str) {
    check(text, host::sysctl::parse);
}

/// `ss -lntup`.
pub fn ss(text: &str) {
    check(text, host::listener::parse);
}

/// `ipset save`.
pub fn ipset(text: &str) {
    check(text, host::ipset::parse);
}

/// `docker network inspect`.
pub fn docker_networks(text: &str) {
    check(text, host::docker::parse_networks);
}

/// `docker inspect`.
pub fn docker_containers(text: &str) {
    check(text, host::docker::parse_containers);
}

/// `zones.toml`.
pub fn zones(text: &str) {
    check(text, host::zones::parse);
}

/// A policy: places of entries and names lie in the text too; and each line of it as `--given`.
pub fn policy(text: &str) {
    check(text, nattrace_parser::policy::parse);
    let (policy, _) = nattrace_parser::policy::parse(text);
    for entry in &policy.entries {
        check_span(text, entry.span, "entry");
        if let Some(name) = &entry.name {
            check_span(text, name.span, "name");
        }
        let given = &entry.given;
        let switches = [&given.ip_forward, &given.ipv6_forward].into_iter().flatten();
        let mut places: Vec<_> = switches.map(|switch| switch.span).chain(given.ipv6).collect();
        places.extend(given.down.iter().map(|name| name.span));
        places.extend(given.gone.iter().map(|destination| destination.span));
        places.extend(given.restarted.iter().map(|daemon| daemon.span));
        places.extend(given.moved.iter().flat_map(|(name, to)| [name.span, to.span]));
        for place in places {
            check_span(text, place, "given");
        }
    }
    for suppression in &policy.suppressions {
        check_span(text, suppression.span, "suppression");
        check_span(text, suppression.reason.span, "reason");
    }
    for line in text.lines() {
        // Places are those of the text in full, which `down=wg0` is not.
        let (given, diagnostics) = nattrace_parser::policy::parse_given(line);
        assert_eq!((given, diagnostics), nattrace_parser::policy::parse_given(line));
    }
}

/// `nft -j list ruleset`: every rule prints, and prints the same twice.
pub fn nftables(text: &str) {
    let (ruleset, diagnostics) = host::nftables::parse(text);
    check_diagnostics(text, &diagnostics);
    let printed = |ruleset: &host::nftables::Ruleset| -> Vec<String> {
        ruleset.rules.iter().map(ToString::to_string).collect()
    };
    let (again, same) = host::nftables::parse(text);
    assert_eq!(diagnostics, same, "the messages differ from one reading to the next");
    assert_eq!(printed(&ruleset), printed(&again));
}

/// `conntrack -L`.
pub fn conntrack(text: &str) {
    check(text, host::conntrack::parse);
}

/// A snapshot in one file: its parts and their headers are the text, in order, and nothing of it
/// is lost without a word.
pub fn snapshot(text: &str) {
    check(text, host::snapshot::split);
    let (parts, diagnostics) = host::snapshot::split(text);
    let mut end = 0;
    for part in &parts {
        let (header, body) = (part.header.range(), part.span.range());
        assert!(end <= header.start && header.end <= body.start, "{part:?}");
        assert_eq!(text.get(body.clone()), Some(part.text));
        end = body.end;
    }
    let kept: usize = parts.iter().map(|part| part.text.trim().len()).sum();
    let said = !diagnostics.is_empty();
    let lines = text.lines().map(|line| line.trim().trim_start_matches('\u{feff}'));
    let rest: usize =
        lines.filter(|line| !line.starts_with('#')).map(|line| line.trim().len()).sum();
    assert!(said || kept >= rest.min(1), "text is lost in silence");
}
