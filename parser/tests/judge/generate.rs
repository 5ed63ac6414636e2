//! Random rules from the declarations: every option of every extension, right and slightly wrong.

use std::fmt::Write as _;

use fastrand::Rng;
use nattrace_parser::extension::{Extension, ExtensionKind, OptionDecl, Requirement};
use nattrace_parser::syntax::{Family, TableName};

use super::argument::argument;

/// One rule of a table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) table: TableName,
    /// The extension that the rule was made for.
    pub(crate) about: &'static Extension,
    /// `-A CHAIN …`.
    pub(crate) line: String,
}

/// How often something is done that iptables is likely to refuse: one time in so many.
const SELDOM: usize = 20;

/// Options whose arguments name what a host must have.
const OF_THE_HOST: &[(&str, &str)] = &[
    ("CT", "helper"),
    ("CT", "timeout"),
    ("bpf", "object-pinned"),
    ("cgroup", "path"),
    ("nfacct", "nfacct-name"),
    ("SECMARK", "selctx"),
    ("rateest", "rateest1"),
    ("rateest", "rateest2"),
];

/// The chain that nothing leads to.
pub(crate) const USER: &str = "user";

/// The chain that rules jump to, and that has no rules.
pub(crate) const LEAF: &str = "leaf";

/// A rule for this extension, or `None` if it can't be tried here.
pub(crate) fn case(about: &'static Extension, family: Family, rng: &mut Rng) -> Case {
    let table = match about.tables {
        [] => pick(&TableName::ALL, rng),
        tables if !seldom(rng) => pick(tables, rng),
        _ => pick(&TableName::ALL, rng),
    };
    let chains = table.builtin_chains();
    let fitting: Vec<&str> =
        chains.iter().copied().filter(|chain| about.chains.contains(chain)).collect();
    let chain = match rng.usize(..10) {
        0 => USER,
        _ if seldom(rng) || about.chains.is_empty() || fitting.is_empty() => pick(chains, rng),
        _ => pick(&fitting, rng),
    };
    let mut line = format!("-A {chain}");
    basics(&mut line, chain, family, rng);
    protocol(&mut line, about, family, rng);
    match about.kind {
        ExtensionKind::Match => {
            used(&mut line, "-m", about, family, rng);
            if rng.usize(..8) == 0 {
                let other = another(ExtensionKind::Match, family, rng);
                used(&mut line, "-m", other, family, rng);
            }
            verdict(&mut line, table, rng);
        }
        ExtensionKind::Target => {
            if rng.usize(..4) == 0 {
                let other = another(ExtensionKind::Match, family, rng);
                used(&mut line, "-m", other, family, rng);
            }
            if about.name == "TCPMSS" && !seldom(rng) {
                line.push_str(" -m tcp --tcp-flags SYN,RST SYN");
            }
            used(&mut line, "-j", about, family, rng);
        }
    }
    Case { table, about, line }
}

fn seldom(rng: &mut Rng) -> bool {
    rng.usize(..SELDOM) == 0
}

fn pick<T: Copy>(from: &[T], rng: &mut Rng) -> T {
    from[rng.usize(..from.len())]
}

/// A simple extension to stand beside another one.
fn another(kind: ExtensionKind, family: Family, rng: &mut Rng) -> &'static Extension {
    let names: &[&str] = match family {
        Family::Ipv4 => &["comment", "mark", "conntrack", "limit", "length", "addrtype", "ttl"],
        Family::Ipv6 => &["comment", "mark", "conntrack", "limit", "length", "hl", "frag"],
    };
    nattrace_parser::extension::find(kind, pick(names, rng)).expect("a declared extension")
}

/// `-s`, `-d`, `-i`, `-o`, `-f`, each now and then.
fn basics(line: &mut String, chain: &str, family: Family, rng: &mut Rng) {
    for option in ["-s", "-d"] {
        if rng.usize(..6) == 0 {
            not(line, rng, true);
            let _ = write!(line, " {option} {}", super::argument::address(family, rng));
        }
    }
    let (input, output) = match chain {
        "INPUT" | "PREROUTING" => (6, SELDOM * 2),
        "OUTPUT" | "POSTROUTING" => (SELDOM * 2, 6),
        _ => (6, 6),
    };
    for (option, odds) in [("-i", input), ("-o", output)] {
        if rng.usize(..odds) == 0 {
            not(line, rng, true);
            let names = [
                "eth0",
                "eth+",
                "+",
                "lo",
                "wlan0.100",
                "-x",
                "br-0123456789ab",
                "a234567890123456",
            ];
            let name = if seldom(rng) { pick(&names, rng) } else { pick(&names[..5], rng) };
            let _ = write!(line, " {option} {name}");
        }
    }
    if family == Family::Ipv4 && rng.usize(..20) == 0 {
        not(line, rng, true);
        line.push_str(" -f");
    }
}

/// `!`, where it may stand often, elsewhere seldom.
fn not(line: &mut String, rng: &mut Rng, negatable: bool) {
    let odds = if negatable { 4 } else { SELDOM };
    if rng.usize(..odds) == 0 {
        line.push_str(" !");
    }
}

fn protocol(line: &mut String, about: &Extension, family: Family, rng: &mut Rng) {
    let nat = matches!(about.name, "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "REJECT");
    let of_family = if family == Family::Ipv4 { "icmp" } else { "icmpv6" };
    let some =
        ["tcp", "udp", "sctp", of_family, "47", "all", "esp", "dccp", "udplite", "132", "99"];
    let name = match about.protocols {
        [] if nat && !seldom(rng) => pick(&some[..3], rng).to_owned(),
        [] if about.name == "ah" && family == Family::Ipv4 => "ah".to_owned(),
        [] if rng.usize(..3) > 0 => return,
        [] => pick(&some, rng).to_owned(),
        _ if seldom(rng) => pick(&some, rng).to_owned(),
        _ if seldom(rng) => return,
        protocols => pick(protocols, rng).to_string(),
    };
    if seldom(rng) {
        line.push_str(" !");
    }
    let _ = write!(line, " -p {name}");
    if rng.usize(..SELDOM * 4) == 0 {
        line.push_str(" -p tcp");
    }
}

/// What a rule for a match ends with.
fn verdict(line: &mut String, table: TableName, rng: &mut Rng) {
    let nat = table == TableName::Nat;
    match rng.usize(..7) {
        0 | 1 => line.push_str(" -j ACCEPT"),
        2 if !nat || seldom(rng) => line.push_str(" -j DROP"),
        3 => line.push_str(" -j RETURN"),
        4 => {
            let _ = write!(line, " -j {LEAF}");
        }
        5 => {
            let _ = write!(line, " -g {LEAF}");
        }
        _ => {}
    }
}

/// One use of an extension with some of its options.
fn used(line: &mut String, flag: &str, about: &'static Extension, family: Family, rng: &mut Rng) {
    let implied = flag == "-m"
        && matches!(about.name, "tcp" | "udp" | "icmp" | "sctp" | "esp" | "dccp")
        && rng.usize(..3) == 0;
    if !implied {
        let _ = write!(line, " {flag} {}", about.name);
    }
    let mut chosen = choose(about, rng);
    if rng.usize(..4) == 0 {
        rng.shuffle(&mut chosen);
    }
    for option in chosen {
        write_option(line, about, option, family, rng);
        if rng.usize(..SELDOM * 2) == 0 {
            write_option(line, about, option, family, rng);
        }
    }
}

/// Some options, so that the requirements mostly hold.
fn choose(about: &'static Extension, rng: &mut Rng) -> Vec<&'static OptionDecl> {
    let mut names: Vec<&str> = Vec::new();
    let count = match rng.usize(..8) {
        0 => 0,
        1..=3 => 1,
        4 | 5 => 2,
        6 => 3,
        _ => about.options.len(),
    };
    for _ in 0..count {
        if !about.options.is_empty() {
            names.push(about.options[rng.usize(..about.options.len())].name);
        }
    }
    names.retain(|name| !OF_THE_HOST.contains(&(about.name, name)));
    for requirement in about.requirements {
        if seldom(rng) {
            continue;
        }
        match requirement {
            Requirement::AnyOption if names.is_empty() => {
                names.push(about.options[rng.usize(..about.options.len())].name);
            }
            Requirement::OneOf(some) if !some.iter().any(|name| names.contains(name)) => {
                let known = |name: &&&str| !OF_THE_HOST.contains(&(about.name, **name));
                names.extend(some.iter().find(known));
            }
            Requirement::AtMostOneOf(some) => {
                let kept = names.iter().copied().find(|name| some.contains(name));
                names.retain(|name| !some.contains(name) || Some(*name) == kept);
            }
            Requirement::Needs(one, other) if names.contains(one) => names.push(other),
            _ => {}
        }
    }
    about.options.iter().filter(|option| names.contains(&option.name)).collect()
}

fn write_option(
    line: &mut String,
    about: &Extension,
    option: &OptionDecl,
    family: Family,
    rng: &mut Rng,
) {
    not(line, rng, option.negatable);
    let spelling = rng.usize(..option.aliases.len() + 1);
    let (name, argument_of) = match spelling.checked_sub(1) {
        None => (option.name, option.argument),
        Some(index) => {
            let alias = &option.aliases[index];
            (alias.name, alias.argument.unwrap_or(option.argument))
        }
    };
    let words = argument(about, option, argument_of, family, rng);
    match rng.usize(..SELDOM * 6) {
        // Shortened, or with a letter too many.
        0..=2 => {
            let cut = name.len().saturating_sub(1 + rng.usize(..3)).max(2);
            // `--help` prints help.
            let short = if &name[..cut] == "help" { name } else { &name[..cut] };
            let _ = write!(line, " --{short}");
        }
        3 => {
            let _ = write!(line, " --{name}x");
        }
        4..=6 if words.len() == 1 => {
            let _ = write!(line, " --{name}={}", words[0].trim_matches('"'));
            return;
        }
        7 => {
            let _ = write!(line, " --{name}");
            return;
        }
        _ => {
            let _ = write!(line, " --{name}");
        }
    }
    for word in words {
        line.push(' ');
        line.push_str(&word);
    }
}
