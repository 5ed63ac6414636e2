//! Which part of a snapshot a command prints.

/// What a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Printed {
    /// A part, whole.
    Part {
        /// The name of the part.
        name: &'static str,
        /// Of which table, where it is of one alone.
        table: Table,
    },
    /// Some of a part.
    Some {
        /// What is missing.
        why: &'static str,
    },
    /// Nothing that is a part.
    Other,
}

/// How much of the rules a command prints, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Table {
    /// No rules, or all tables in the form of iptables-save.
    All,
    /// One table in the form of iptables-save.
    Saved(&'static str),
    /// One table as `-S` or `-L` print it.
    Listed(&'static str),
    /// No rules, but what may be asked for bit by bit.
    Repeatable,
}

impl Table {
    /// Whether the rules are in the form of iptables-save.
    pub(super) fn is_saved(self) -> bool {
        matches!(self, Self::All | Self::Saved(_))
    }

    /// Whether the rules are printed by `-S` or `-L`.
    pub(super) fn is_listed(self) -> bool {
        matches!(self, Self::Listed(_))
    }
}

const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

/// The programs that print a pipe's input as it is.
const WHOLE: [&str; 5] = ["cat", "less", "more", "tee", "jq"];

/// What a command at a prompt prints.
pub(super) fn printed(command: &str) -> Printed {
    let command = command.split(" #").next().unwrap_or_default();
    if command.contains("&&") || command.contains(';') && !command.contains("$(") {
        let mut all = command.split([';', '&']).filter(|one| !one.trim().is_empty());
        let known = all.any(|one| printed(one.trim()) != Printed::Other);
        return match known {
            true => {
                Printed::Some { why: "several commands printed it, and none can be told apart" }
            }
            false => Printed::Other,
        };
    }
    let (command, filters) = match (command.contains("$("), command.split_once('|')) {
        (false, Some((first, filters))) => (first, Some(filters)),
        _ => (command, None),
    };
    let printed = program(command);
    let passes = |filter: &str| {
        filter.split_whitespace().next().is_some_and(|program| WHOLE.contains(&program))
    };
    match filters {
        Some(filters) if printed != Printed::Other && !filters.split('|').all(passes) => {
            Printed::Some { why: "it went through a filter" }
        }
        _ => printed,
    }
}

fn program(command: &str) -> Printed {
    let mut words = command.split_whitespace().peekable();
    while words
        .peek()
        .is_some_and(|word| matches!(*word, "sudo" | "doas" | "command" | "LC_ALL=C" | "LANG=C"))
    {
        words.next();
    }
    let Some(path) = words.next() else { return Printed::Other };
    let arguments: Vec<&str> =
        words.filter(|word| !word.starts_with("2>") && *word != "/dev/null").collect();
    let name = path.rsplit('/').next().unwrap_or(path);
    if arguments.iter().any(|word| word.starts_with('>')) {
        return Printed::Other;
    }
    match name {
        "ip" => ip(&arguments),
        "sysctl" => sysctl(&arguments),
        "ipset" if matches!(arguments.first(), Some(&("save" | "-S" | "-save"))) => {
            whole_if(arguments.len() == 1, "ipset-save", "it shows one set")
        }
        "bridge" => bridge(&arguments),
        "ss" => sockets(&arguments),
        "docker" | "podman" => docker(command, &arguments),
        "nft" if arguments.contains(&"ruleset") && arguments.contains(&"list") => {
            let json = arguments.iter().any(|word| matches!(*word, "-j" | "--json"));
            part(if json { "nft-ruleset.json" } else { "nft-ruleset" })
        }
        "conntrack" if arguments.first().is_some_and(|word| matches!(*word, "-L" | "--dump")) => {
            part("conntrack")
        }
        _ => rules(name, &arguments),
    }
}

fn part(name: &'static str) -> Printed {
    Printed::Part { name, table: Table::All }
}

fn whole_if(whole: bool, name: &'static str, why: &'static str) -> Printed {
    if whole { part(name) } else { Printed::Some { why } }
}

/// `ip [OPTIONS] addr|route|rule [show] …`.
fn ip(arguments: &[&str]) -> Printed {
    let (mut json, mut ipv4, mut ipv6) = (false, false, false);
    let mut rest = arguments;
    while let Some((first, behind)) = rest.split_first() {
        match *first {
            "-j" | "-json" | "--json" => json = true,
            "-4" => ipv4 = true,
            "-6" => ipv6 = true,
            "-br" | "-brief" | "--brief" | "-d" | "-details" | "-o" | "-oneline" | "-s" | "-p"
            | "-pretty" | "-c" | "-color" | "-color=always" | "-c=never" => {}
            _ => break,
        }
        rest = behind;
    }
    let Some((object, rest)) = rest.split_first() else { return Printed::Other };
    let named = |full: &str, least: usize| object.len() >= least && full.starts_with(object);
    let rest = match rest.split_first() {
        Some((verb, behind))
            if !verb.is_empty()
                && ("show".starts_with(verb) || matches!(*verb, "list" | "ls" | "lst")) =>
        {
            behind
        }
        Some((_, _))
            if named("rule", 2)
                || rest.first().is_some_and(|word| {
                    matches!(*word, "get" | "add" | "del" | "replace" | "change" | "flush")
                }) =>
        {
            return Printed::Other;
        }
        _ => rest,
    };
    let name = |text: &'static str, full: &'static str| if json { full } else { text };
    if named("address", 1) {
        return match rest {
            [] if ipv4 || ipv6 => Printed::Some { why: "it shows addresses of one family" },
            [] => part(name("ip-addr", "ip-addr.json")),
            _ => Printed::Some { why: "it shows some interfaces" },
        };
    }
    if named("link", 1) {
        return Printed::Some { why: "it shows no addresses" };
    }
    if named("rule", 2) {
        return match (rest.is_empty(), ipv6) {
            (false, _) => Printed::Some { why: "it shows some rules" },
            (true, false) => part(name("ip-rule", "ip-rule.json")),
            (true, true) => part(name("ip6-rule", "ip6-rule.json")),
        };
    }
    if named("route", 1) {
        return match (rest, ipv6) {
            ([] | ["table", "all" | "main"], false) => part(name("ip-route", "ip-route.json")),
            ([] | ["table", "all" | "main"], true) => part(name("ip6-route", "ip6-route.json")),
            _ => Printed::Some { why: "it shows some routes" },
        };
    }
    Printed::Other
}

fn sysctl(arguments: &[&str]) -> Printed {
    let other = arguments
        .iter()
        .any(|word| matches!(*word, "-n" | "--values" | "-N" | "-w" | "-p") || word.contains('='));
    if arguments.is_empty() || other {
        return Printed::Other;
    }
    Printed::Part { name: "sysctl", table: Table::Repeatable }
}

fn bridge(arguments: &[&str]) -> Printed {
    let json = arguments.iter().any(|word| matches!(*word, "-j" | "-json"));
    let rest: Vec<&str> = arguments.iter().copied().filter(|word| !word.starts_with('-')).collect();
    match rest.as_slice() {
        ["link"] | ["link", "show" | "list"] => {
            part(if json { "bridge-link.json" } else { "bridge-link" })
        }
        _ => Printed::Other,
    }
}

/// `ss -lntup`, or with more options.
fn sockets(arguments: &[&str]) -> Printed {
    let letters: String = arguments
        .iter()
        .filter_map(|word| word.strip_prefix('-'))
        .filter(|word| !word.starts_with('-'))
        .collect();
    let known = arguments.iter().all(|word| word.starts_with('-') && !word.starts_with("--"));
    if !known || !letters.contains('l') {
        return Printed::Other;
    }
    whole_if(letters.contains('t') && letters.contains('u'), "listeners", "it shows one protocol")
}

fn docker(command: &str, arguments: &[&str]) -> Printed {
    let all = command.contains("$(") || command.contains('`');
    let why = "it shows some of them; `$(docker ps -q)` and `$(docker network ls -q)` name all";
    match arguments {
        ["network", "inspect", ..] => whole_if(all, "docker-network-inspect.json", why),
        ["inspect", ..] | ["container", "inspect", ..] => whole_if(all, "docker-inspect.json", why),
        _ => Printed::Other,
    }
}

/// iptables-save, `iptables -S` and `iptables -L`, of both families and backends.
fn rules(program: &str, arguments: &[&str]) -> Printed {
    let (stem, saves) = match program.strip_suffix("-save") {
        Some(stem) => (stem, true),
        None => (program, false),
    };
    let name = match stem {
        "iptables" | "iptables-nft" => "iptables-save",
        "ip6tables" | "ip6tables-nft" => "ip6tables-save",
        "iptables-legacy" => "iptables-legacy-save",
        "ip6tables-legacy" => "ip6tables-legacy-save",
        _ => return Printed::Other,
    };
    let mut words = arguments.iter();
    let (mut table, mut lists) = (None, saves);
    while let Some(word) = words.next() {
        let next = match *word {
            "-t" | "--table" => words.next().copied(),
            _ => word.strip_prefix("--table=").or_else(|| word.strip_prefix("-t")),
        };
        if let Some(next) = next {
            let Some(known) = TABLES.iter().find(|known| **known == next) else {
                return Printed::Other;
            };
            table = Some(*known);
        } else if matches!(*word, "--list" | "--list-rules" | "-S") {
            lists = true;
        } else if let Some(letters) = word.strip_prefix('-').filter(|word| !word.starts_with('-')) {
            lists |= letters.ends_with('L') || letters.starts_with('L');
            if !letters.bytes().all(|letter| b"Lnvxwc46".contains(&letter)) {
                return Printed::Other;
            }
        } else if !matches!(
            *word,
            "--numeric" | "--verbose" | "--exact" | "--line-numbers" | "--counters" | "--wait"
        ) {
            return if lists {
                Printed::Some { why: "it shows one chain" }
            } else {
                Printed::Other
            };
        }
    }
    let table = match (saves, table) {
        (true, None) => Table::All,
        (true, Some(table)) => Table::Saved(table),
        (false, table) => Table::Listed(table.unwrap_or("filter")),
    };
    if lists { Printed::Part { name, table } } else { Printed::Other }
}
