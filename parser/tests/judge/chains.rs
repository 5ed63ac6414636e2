//! Random chains that call each other.

use std::fmt::Write as _;

use fastrand::Rng;
use nattrace_parser::syntax::{Family, TableName};

/// What is allowed in some built-in chains only, by table.
const PLACED: &[(TableName, &str)] = &[
    (TableName::Nat, "-j MASQUERADE"),
    (TableName::Nat, "-j REDIRECT"),
    (TableName::Nat, "-p tcp -j REDIRECT --to-ports 80"),
    (TableName::Mangle, "-p tcp -j TPROXY --on-port 80"),
    (TableName::Mangle, "-m rpfilter"),
    (TableName::Mangle, "-j CLASSIFY --set-class 1:1"),
    (TableName::Mangle, "-m owner --uid-owner 5"),
    (TableName::Mangle, "-m mac --mac-source 2:0:0:0:0:1"),
    (TableName::Mangle, "-m socket"),
    (TableName::Mangle, "-m addrtype --dst-type LOCAL --limit-iface-in"),
    (TableName::Mangle, "-m addrtype --dst-type LOCAL --limit-iface-out"),
    (TableName::Mangle, "-m devgroup --src-group 1"),
    (TableName::Mangle, "-m policy --dir in --pol ipsec"),
    (TableName::Mangle, "-m policy --dir out --pol none"),
    (TableName::Mangle, "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"),
    (TableName::Mangle, "-m cgroup --cgroup 5"),
    (TableName::Mangle, "-j SET --map-set s4 src --map-prio"),
    (TableName::Filter, "-p tcp -j SYNPROXY"),
    (TableName::Filter, "-m owner --gid-owner 5"),
    (TableName::Filter, "-j REJECT"),
    (TableName::Filter, "-m physdev --physdev-out eth0"),
    (TableName::Raw, "-m rpfilter --invert"),
    (TableName::Raw, "-j CT --notrack"),
];

/// A table with some user chains, calls among them, and one rule that is not allowed everywhere.
pub(crate) fn text(family: Family, rng: &mut Rng) -> String {
    let (table, mut placed) = PLACED[rng.usize(..PLACED.len())];
    if family == Family::Ipv6 && placed.contains("s4") {
        placed = "-j SET --map-set s6 src --map-prio";
    }
    let mut text = format!("*{}\n", table.as_str());
    for chain in table.builtin_chains() {
        let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
    }
    let deep = rng.usize(..6) == 0;
    let count = if deep { 13 + rng.usize(..6) } else { 2 + rng.usize(..4) };
    let names: Vec<String> = (0..count).map(|number| format!("c{number:02}")).collect();
    for name in &names {
        let _ = writeln!(text, ":{name} - [0:0]");
    }
    let call = |text: &mut String, from: &str, to: &str, rng: &mut Rng| {
        let option = if rng.usize(..4) == 0 { "-g" } else { "-j" };
        let _ = writeln!(text, "-A {from} {option} {to}");
    };
    let builtin = table.builtin_chains();
    for _ in 0..1 + rng.usize(..2) {
        let from = builtin[rng.usize(..builtin.len())];
        let to = if deep { 0 } else { rng.usize(..count) };
        call(&mut text, from, &names[to], rng);
    }
    if deep {
        for pair in names.windows(2) {
            call(&mut text, &pair[0], &pair[1], rng);
        }
    } else {
        for _ in 0..rng.usize(..5) {
            let (one, other) = (rng.usize(..count), rng.usize(..count));
            let (from, to) = match rng.usize(..8) {
                0 => (one, other),
                _ => (one.min(other), one.max(other)),
            };
            if from != to || rng.usize(..8) == 0 {
                call(&mut text, &names[from], &names[to], rng);
            }
        }
    }
    if rng.usize(..4) > 0 {
        let _ = writeln!(text, "-A {} {placed}", names[rng.usize(..count)]);
    }
    text.push_str("COMMIT\n");
    text
}
