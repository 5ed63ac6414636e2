//! Random input of iptables-restore, mostly a little wrong.

use std::fmt::Write as _;

use fastrand::Rng;
use nattrace_parser::syntax::{Family, TableName};

use super::{family, piece};

/// How often something is written oddly: one time in so many.
const SELDOM: usize = 12;

const TABLES: &[TableName] = &[
    TableName::Filter,
    TableName::Filter,
    TableName::Nat,
    TableName::Mangle,
    TableName::Raw,
    TableName::Security,
];

fn pick<'a>(from: &[&'a str], rng: &mut Rng) -> &'a str {
    from[rng.usize(..from.len())]
}

fn seldom(rng: &mut Rng) -> bool {
    rng.usize(..SELDOM) == 0
}

/// One text.
pub(crate) fn text(family: Family, rng: &mut Rng) -> String {
    let mut text = String::new();
    // Most texts have one oddity, so that what follows it is compared as well.
    let tables = if seldom(rng) { 1 + rng.usize(..3) } else { 1 };
    if rng.usize(..SELDOM * 4) == 0 {
        odd_line(&mut text, rng);
    }
    let mut named = Vec::new();
    for _ in 0..tables {
        let table = TABLES[rng.usize(..TABLES.len())];
        // iptables-legacy keeps policies of an earlier block for the same table.
        if named.contains(&table) {
            continue;
        }
        named.push(table);
        one_table(&mut text, table, family, rng);
        if rng.usize(..SELDOM * 4) == 0 {
            odd_line(&mut text, rng);
        }
    }
    if rng.usize(..SELDOM * 3) == 0 {
        text.pop();
    }
    text
}

/// What stands between tables, or where it should not.
fn odd_line(text: &mut String, rng: &mut Rng) {
    let line = pick(
        &[
            "",
            "# a comment",
            "#",
            " # indented",
            "COMMIT",
            "commit",
            "COMMIT # done",
            "COMMIT ",
            " COMMIT",
            "-A INPUT -j ACCEPT",
            ":INPUT ACCEPT [0:0]",
            ":u1 - [0:0]",
            "*filter",
            "hello",
            "iptables -A INPUT -j ACCEPT",
            "[1:2] -A INPUT",
            "[1:2]",
            "-",
            ":",
            "*",
            "!",
        ],
        rng,
    );
    text.push_str(line);
    text.push('\n');
}

fn one_table(text: &mut String, table: TableName, family: Family, rng: &mut Rng) {
    let name = table.as_str();
    let header = match rng.usize(..SELDOM * 20) {
        0 => format!("* {name}"),
        1 => format!("*{name} "),
        2 => format!(" *{name}"),
        3 => format!("*{name} x"),
        4 => format!("*{}", name.to_uppercase()),
        5 => format!("*{name}\t"),
        6 => "*nosuch".to_owned(),
        7 => format!("**{name}"),
        8 => "*".to_owned(),
        9 => format!("*\t{name}"),
        _ => format!("*{name}"),
    };
    text.push_str(&header);
    text.push('\n');
    let builtin = table.builtin_chains();
    for chain in builtin {
        if rng.usize(..4) > 0 {
            chain_line(text, chain, rng);
        }
    }
    chain_line(text, "u1", rng);
    if rng.usize(..3) > 0 {
        chain_line(text, "u2", rng);
    }
    if rng.usize(..SELDOM * 3) == 0 {
        let chain = pick(
            &[
                "u1",
                "INPUT",
                "OUTPUT",
                "DROP",
                "nosuch",
                "abcdefghijklmnopqrstuvwxyz12",
                "abcdefghijklmnopqrstuvwxyz123",
                "-x",
                "!x",
                "a!b",
                "a:b",
                "a\"b",
                "\"ab\"",
                "ä",
                "a,b",
                "0",
                "FORWARD",
                "PREROUTING",
            ],
            rng,
        );
        chain_line(text, chain, rng);
    }
    let rules = if rng.usize(..4) == 0 { 2 } else { 1 };
    for _ in 0..rules {
        let mut line = rule(builtin, family, rng);
        if rng.usize(..6) == 0 {
            line = spoiled(&line, rng);
        }
        text.push_str(&line);
        text.push('\n');
        if rng.usize(..SELDOM * 10) == 0 {
            odd_line(text, rng);
        }
    }
    let end = match rng.usize(..SELDOM * 10) {
        0 => "commit",
        1 => "COMMIT ",
        2 => " COMMIT",
        3 => "COMMIT x",
        4 => "COMMIT\nCOMMIT",
        5 => "COMMIT\t",
        6 => return,
        _ => "COMMIT",
    };
    text.push_str(end);
    text.push('\n');
}

fn chain_line(text: &mut String, name: &str, rng: &mut Rng) {
    let user = name.starts_with(['u', 'a', '0']);
    let policy = match (user, rng.usize(..SELDOM * 6)) {
        (true, 0) => pick(&["ACCEPT", "DROP", "", "x", "- -", "RETURN"], rng),
        (true, _) => "-",
        (false, 0) => pick(&["-", "accept", "QUEUE", "RETURN", "REJECT", "", "u1"], rng),
        (false, 1..=8) => "DROP",
        (false, _) => "ACCEPT",
    };
    let counters = match rng.usize(..SELDOM * 8) {
        0 if user => "",
        1 => pick(
            &[
                " [1:2]",
                " [1:]",
                " [:2]",
                " [a:b]",
                " [1:2",
                " 1:2",
                " [1:2]x",
                " [1:2] x",
                " [-1:5]",
                " [99999999999999999999:1]",
                " [18446744073709551615:1]",
                " [0x10:010]",
                " [ 1:2 ]",
                " [1: 2]",
                " [1,2]",
                " []",
                " [+1:2]",
            ],
            rng,
        ),
        2 => "\t[3:4]",
        3 => "  [5:6]",
        4 => " [7:8] ",
        _ => " [0:0]",
    };
    let (front, between) = match rng.usize(..SELDOM * 12) {
        0 => (": ", " "),
        1 => (" :", " "),
        2 => (":", "  "),
        3 => (":", "\t"),
        4 => ("::", " "),
        _ => (":", " "),
    };
    let _ = writeln!(text, "{front}{name}{between}{policy}{counters}");
}

fn rule(builtin: &[&str], family: Family, rng: &mut Rng) -> String {
    let chain = match rng.usize(..8) {
        0 => "u1",
        1 => "u2",
        2 if seldom(rng) => "nosuch",
        _ => pick(builtin, rng),
    };
    let mut line = String::new();
    if rng.usize(..SELDOM) == 0 {
        line.push_str(pick(
            &[
                "[1:2] ",
                "[1:2]",
                "[0:0] ",
                "[1:2]\t",
                "[1:] ",
                "[1:2 ",
                "[a:b] ",
                "[] ",
                "[-1:2] ",
                "[0x1:02] ",
                "[1:2] [3:4] ",
                "[1:2]  ",
                " [1:2] ",
                "[99999999999999999999:1] ",
            ],
            rng,
        ));
    }
    match rng.usize(..SELDOM * 4) {
        0 => line.push_str("--append "),
        1 => line.push_str("--app "),
        2 => line.push_str("-I "),
        3 => line.push_str("--insert "),
        4 => {
            let _ = write!(line, "-A{chain}");
        }
        5 => {
            let _ = write!(line, "--append={chain}");
        }
        6 => {
            let position = pick(&["1", "2", "0", "-1", "01", "0x1", "99", "x", "+1"], rng);
            let _ = write!(line, "-I {chain} {position}");
            pieces(&mut line, family, rng);
            return line;
        }
        7 => return command(builtin, chain, rng),
        8 => {
            pieces(&mut line, family, rng);
            let _ = write!(line, " -A {chain}");
            return line.trim_start().to_owned();
        }
        9 => line.push_str(pick(&["-v -A ", "-vA ", "-4A ", "-v6A ", "! -4 -A "], rng)),
        10 => line.push_str("-t filter -A "),
        11 => {
            let _ = write!(line, "-R {chain} 1");
            pieces(&mut line, family, rng);
            return line;
        }
        _ => line.push_str("-A "),
    }
    if line.ends_with(' ') || line.is_empty() {
        line.push_str(chain);
    }
    pieces(&mut line, family, rng);
    line
}

fn pieces(line: &mut String, family: Family, rng: &mut Rng) {
    let own = match family {
        Family::Ipv4 => family::V4,
        Family::Ipv6 => family::V6,
    };
    let count = [1, 1, 1, 1, 1, 1, 2, 2, 3][rng.usize(..9)];
    for _ in 0..count {
        let from = if rng.usize(..3) == 0 { own } else { piece::COMMON };
        line.push(' ');
        line.push_str(pick(from, rng));
    }
}

/// A command that adds no rule.
fn command(builtin: &[&str], chain: &str, rng: &mut Rng) -> String {
    let first = builtin.first().copied().unwrap_or_default();
    match rng.usize(..20) {
        0 => format!("-D {chain} 1"),
        1 => format!("-D {chain}"),
        2 => format!("-F {chain}"),
        3 => "-F".to_owned(),
        4 => "-X".to_owned(),
        5 => format!("-X {chain}"),
        6 => "-N u3".to_owned(),
        7 => "-N u1".to_owned(),
        8 => "--new u3".to_owned(),
        9 => format!("-P {first} DROP"),
        10 => format!("-P {chain} ACCEPT"),
        11 => format!("--policy {first} ACCEPT"),
        12 => "-Z".to_owned(),
        13 => format!("-Z {chain} 1"),
        14 => "-E u1 u9".to_owned(),
        15 => "-E u1 u2".to_owned(),
        16 => "-N".to_owned(),
        17 => format!("-P {first}"),
        18 => "-F u1 u2".to_owned(),
        _ => "--flush u1".to_owned(),
    }
}

/// The line with one or two small things changed.
fn spoiled(line: &str, rng: &mut Rng) -> String {
    let mut line = line.to_owned();
    for _ in 0..1 + rng.usize(..2) {
        line = changed(&line, rng);
    }
    line
}

fn changed(line: &str, rng: &mut Rng) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let at = rng.usize(..words.len());
    let other = rng.usize(..words.len());
    match rng.usize(..21) {
        0 => words.swap(at, other),
        1 => {
            let word = words[at].clone();
            words.insert(other, word);
        }
        2 => {
            words.remove(at);
        }
        3 => words.insert(at, "!".to_owned()),
        4 => words[at] = format!("\"{}\"", words[at]),
        5 => {
            let half = middle(&words[at]);
            words[at].insert(half, '"');
        }
        6 => {
            let half = middle(&words[at]);
            words[at].insert(half, '\\');
        }
        7 => words[at] = words[at].to_uppercase(),
        8 => words[at] = words[at].to_lowercase(),
        9 => words[at].push('x'),
        10 => {
            words[at].pop();
        }
        11 => words.insert(at, String::new()),
        12 => words[at].insert(0, '\t'),
        13 => words[at].push('\t'),
        14 => {
            if at + 1 < words.len() {
                let next = words.remove(at + 1);
                words[at] = format!("{}={next}", words[at]);
            }
        }
        15 => {
            if at + 1 < words.len() {
                let next = words.remove(at + 1);
                words[at].push_str(&next);
            }
        }
        16 => words.push("# a comment".to_owned()),
        17 => words.push("#comment".to_owned()),
        18 => {
            let half = middle(&words[at]);
            let tail = words[at].split_off(half);
            let _ = write!(words[at], "\"{tail}\"");
        }
        19 => words[at] = format!("'{}'", words[at]),
        _ => words[at].insert(0, '-'),
    }
    words.join(" ")
}

/// A place in the middle of a word.
fn middle(word: &str) -> usize {
    let half = word.len() / 2;
    (0..=half).rev().find(|at| word.is_char_boundary(*at)).unwrap_or(0)
}
