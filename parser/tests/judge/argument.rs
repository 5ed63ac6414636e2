//! Random arguments of options, right and slightly wrong.

use std::sync::OnceLock;

use fastrand::Rng;
use nattrace_parser::extension::{Argument, Extension, OptionDecl};
use nattrace_parser::syntax::Family;

/// One argument in so many is broken on purpose, unless `NATTRACE_JUDGE_BROKEN` says another number.
fn broken() -> usize {
    static ODDS: OnceLock<usize> = OnceLock::new();
    let given = || std::env::var("NATTRACE_JUDGE_BROKEN").ok()?.parse().ok();
    *ODDS.get_or_init(|| given().filter(|odds| *odds > 0).unwrap_or(15))
}

/// What no option takes, or only some do.
const ODD: &[&str] = &[
    "\"\"",
    "-1",
    "08",
    "0x",
    "x",
    "1x",
    "1:2",
    "1-2",
    "99999999999999999999",
    "1,",
    ",1",
    "1/",
    "/1",
    "0x1g",
    "+1",
    "\" 1\"",
    "1/2/3",
    "4294967296",
    "65536",
    "256",
    "1:2:3",
    "2:1",
    "1.5",
    "all",
];

fn pick<'a>(from: &[&'a str], rng: &mut Rng) -> &'a str {
    from[rng.usize(..from.len())]
}

/// The words of an argument, quoted as iptables-restore wants it.
pub(crate) fn argument(
    about: &Extension,
    option: &OptionDecl,
    argument: Argument,
    family: Family,
    rng: &mut Rng,
) -> Vec<String> {
    let count = argument.words();
    if count > 0 && rng.usize(..broken()) == 0 {
        return (0..count).map(|_| pick(ODD, rng).to_owned()).collect();
    }
    // Labels are known to the whole kernel with the kind of their timer, estimators with their times.
    let named = [("IDLETIMER", "label"), ("RATEEST", "rateest-name")];
    if named.contains(&(about.name, option.name)) {
        return vec![format!("t{:x}", rng.u32(..))];
    }
    if let Some(samples) = samples(about.name, option.name, family) {
        return vec![pick(samples, rng).to_owned()];
    }
    let one = match argument {
        Argument::Flag => return Vec::new(),
        Argument::Number(max) | Argument::Hex(max) => number(0, max, rng),
        Argument::Between(low, high) => number(low, high, rng),
        Argument::WideHex(max, _) => number(0, max, rng),
        Argument::Range(max) => range(':', max, rng),
        Argument::DashRange(max) => range('-', max, rng),
        Argument::Port | Argument::DecimalPort => port(rng),
        Argument::PortRange | Argument::DecimalPortRange => port_range(':', rng),
        Argument::PortList => {
            let count = if rng.usize(..10) == 0 { 14 } else { 3 };
            let items: Vec<String> = (0..1 + rng.usize(..count))
                .map(|_| if rng.usize(..4) == 0 { port_range(':', rng) } else { port(rng) })
                .collect();
            items.join(",")
        }
        Argument::Mark | Argument::MaskedMark | Argument::MarkOperand(_) => {
            let value = number(0, u64::from(u32::MAX), rng);
            match rng.bool() {
                true => value,
                false => format!("{value}/{}", number(0, u64::from(u32::MAX), rng)),
            }
        }
        Argument::Text(max) => text(max, rng),
        Argument::Bare(max) | Argument::Cut(max) => bare(max, rng),
        Argument::Keyword(rows) | Argument::ExactKeyword(rows) => {
            let row = rows[rng.usize(..rows.len())];
            cased(row[rng.usize(..row.len())], rng)
        }
        Argument::Bits(table)
        | Argument::ExactBits(table)
        | Argument::LooseBits(table)
        | Argument::ShortBits(table) => {
            let items: Vec<String> = (0..1 + rng.usize(..3))
                .map(|_| cased(table[rng.usize(..table.len())].0, rng))
                .collect();
            items.join(",")
        }
        Argument::Host => host(family, rng),
        Argument::Address | Argument::Network => address(family, rng),
        Argument::AddressRange => match rng.usize(..3) {
            0 => host(family, rng),
            _ => format!("{}-{}", host(family, rng), host(family, rng)),
        },
        Argument::Mac => pick(
            &[
                "02:00:00:00:00:01",
                "aA:Bb:0c:d:e:F",
                "00:00:00:00:00:00",
                "1:2:3:4:5",
                "1:2:3:4:5:6:7",
                "00:11:22:33:44:gg",
                "00-11-22-33-44-55",
            ][..if rng.usize(..6) == 0 { 7 } else { 3 }],
            rng,
        )
        .to_owned(),
        Argument::Rate => rate(rng),
        Argument::Set => {
            let name = match family {
                Family::Ipv4 => pick(&["s4", "n4"], rng),
                Family::Ipv6 => pick(&["s6", "n6"], rng),
            };
            let directions = pick(
                &[
                    "src",
                    "dst",
                    "src,dst",
                    "dst,src,src",
                    "src,src,src,src,src,src",
                    "src,src,src,src,src,src,src",
                    "foo",
                    "src,",
                    "SRC",
                ][..if rng.usize(..8) == 0 { 9 } else { 4 }],
                rng,
            );
            return vec![name.to_owned(), directions.to_owned()];
        }
        Argument::Probability => {
            pick(&["0.5", "0", "1", "0.33333", "0.0001", "1.0", ".5", "1e-3", "1.1", "-0.1"], rng)
                .to_owned()
        }
        Argument::Nat => nat(family, rng),
        Argument::NatPorts => port_range('-', rng),
        Argument::TcpFlags => {
            let flags = |rng: &mut Rng| {
                let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ALL", "NONE", "syn", "X"];
                let most = if rng.usize(..broken()) == 0 { 10 } else { 9 };
                let items: Vec<&str> =
                    (0..1 + rng.usize(..3)).map(|_| pick(&names[..most], rng)).collect();
                items.join(",")
            };
            return vec![flags(rng), flags(rng)];
        }
        Argument::Icmp(names) => match rng.usize(..3) {
            0 => {
                let name = names[rng.usize(..names.len())].name;
                let cut =
                    if rng.usize(..6) == 0 { 1 + rng.usize(..name.len()) } else { name.len() };
                cased(&name[..cut], rng)
            }
            1 => number(0, 255, rng),
            _ => format!("{}/{}", number(0, 255, rng), number(0, 255, rng)),
        },
        Argument::Optional(custom) => pick(custom.samples, rng).to_owned(),
        Argument::Custom(custom) => {
            let sample = pick(custom.samples, rng);
            if count == 2 {
                let mut words: Vec<String> = sample.split(' ').map(str::to_owned).collect();
                let at = rng.usize(..words.len());
                if rng.usize(..broken()) == 0 {
                    words[at] = quoted(&mutated(&words[at], rng));
                }
                return words;
            }
            if count == 0 {
                return Vec::new();
            }
            match rng.usize(..broken()) {
                // What the kernel says of a broken program, only the kernel knows.
                0 if option.name != "bytecode" => quoted(&mutated(sample, rng)),
                _ => quoted(sample),
            }
        }
    };
    vec![one]
}

/// What options take that only the host knows, or that have a form of their own.
fn samples(about: &str, option: &str, family: Family) -> Option<&'static [&'static str]> {
    let v4 = family == Family::Ipv4;
    Some(match (about, option) {
        ("osf", "genre") => &["Linux", "Windows", "\"a b\""],
        ("policy", "tunnel-dst" | "tunnel-src") if v4 => &["10.0.0.0/8", "10.0.0.1"],
        ("policy", "tunnel-dst" | "tunnel-src") => &["2001:db8::/32", "::1"],
        ("recent", "mask") if v4 => &["255.255.255.255", "255.255.0.0"],
        ("recent", "mask") => &["ffff:ffff:ffff:ffff::", "ffff::"],
        ("SECMARK", "selctx") => &["system_u:object_r:x:s0"],
        ("HMARK", "hmark-tuple") => {
            &["src", "src,dst", "sport,dport", "ct", "ct,src,dst,proto", "spi"]
        }
        ("TPROXY", "on-ip") if v4 => &["127.0.0.1", "0.0.0.0", "10.0.0.1"],
        ("cgroup", "path") => &["/"],
        _ => return None,
    })
}

fn number(low: u64, high: u64, rng: &mut Rng) -> String {
    let number = match rng.usize(..12) {
        0 => low,
        1 => high,
        2 => low.saturating_add(1).min(high),
        3 if rng.bool() => high.saturating_add(1),
        4 if rng.bool() => low.saturating_sub(1),
        5 | 6 => low + rng.u64(..) % (high - low).max(1),
        _ => low + rng.u64(..) % (high - low).clamp(1, 200),
    };
    match rng.usize(..16) {
        0 => format!("{number:#x}"),
        1 => format!("0{number:o}"),
        2 => format!("{number:#X}").replace("0X", "0x"),
        _ => number.to_string(),
    }
}

fn range(separator: char, max: u64, rng: &mut Rng) -> String {
    let (one, two) = (number(0, max, rng), number(0, max, rng));
    match rng.usize(..8) {
        0 => format!("{one}{separator}"),
        1 => format!("{separator}{two}"),
        2 => format!("{one}{separator}{one}"),
        3 | 4 => format!("{one}{separator}{two}"),
        5 => match (one.parse::<u64>(), two.parse::<u64>()) {
            (Ok(one), Ok(two)) => format!("{}{separator}{}", one.min(two), one.max(two)),
            _ => one,
        },
        _ => one,
    }
}

fn port(rng: &mut Rng) -> String {
    match rng.usize(..6) {
        0 => pick(&["http", "ssh", "domain", "https", "ntp", "ftp-data", "HTTP", "nosuch"], rng)
            .to_owned(),
        _ => number(0, 65_535, rng),
    }
}

fn port_range(separator: char, rng: &mut Rng) -> String {
    let (one, two) = (port(rng), port(rng));
    match rng.usize(..8) {
        0 => format!("{one}{separator}"),
        1 => format!("{separator}{two}"),
        2 => format!("{one}{separator}{one}"),
        3 => format!("{one}{separator}{two}"),
        4 => match (one.parse::<u64>(), two.parse::<u64>()) {
            (Ok(one), Ok(two)) => format!("{}{separator}{}", one.min(two), one.max(two)),
            _ => one,
        },
        5 if rng.usize(..4) == 0 => format!("0{separator}65535"),
        _ => one,
    }
}

fn host(family: Family, rng: &mut Rng) -> String {
    match family {
        Family::Ipv4 => pick(
            &[
                "10.0.0.1",
                "192.168.1.7",
                "0.0.0.0",
                "255.255.255.255",
                "127.0.0.1",
                "224.0.0.1",
                "10.0.0.9",
            ],
            rng,
        ),
        Family::Ipv6 => pick(
            &[
                "::1",
                "2001:db8::1",
                "fe80::1",
                "::",
                "ff02::1",
                "2001:DB8::AbCd",
                "::ffff:1.2.3.4",
                "1:2:3:4:5:6:7:8",
                "1:0:0:2::",
            ],
            rng,
        ),
    }
    .to_owned()
}

/// An address with or without a mask.
pub(crate) fn address(family: Family, rng: &mut Rng) -> String {
    let bad = if rng.usize(..broken()) == 0 { 0 } else { 5 };
    match family {
        Family::Ipv4 => {
            let all = [
                "10.0.0.1",
                "10.0.0.0/8",
                "192.168.1.7/24",
                "0.0.0.0/0",
                "0/0",
                "10.1.2.3/255.255.0.0",
                "10.0.0.1/0.0.0.255",
                "1.2.3.4/32",
                "255.255.255.255",
                "10/8",
                "10.1",
                "0x0a000001",
                "127.1",
                "10.0.0.1/255.255.255.255",
                "10.0.0.1/0.0.0.0",
                "1.2.3.4/31",
                "010.0.0.1",
                "10.0.0.256",
                "10.0.0.1/33",
                "10.0.0.1/-1",
                "::1",
                "10.0.0.1/",
            ];
            pick(&all[..all.len() - bad], rng)
        }
        Family::Ipv6 => {
            let all = [
                "::1",
                "2001:db8::1/64",
                "fe80::/10",
                "::/0",
                "2001:DB8::A",
                "::ffff:1.2.3.4",
                "2001:db8::/ffff:ffff::",
                "2001:db8::1/128",
                "1:2:3:4:5:6:7:8/127",
                "fe80::1/ffff::ffff",
                "::1/129",
                ":::",
                "10.0.0.1",
                "2001:db8::1/-1",
                "::1/",
            ];
            pick(&all[..all.len() - bad], rng)
        }
    }
    .to_owned()
}

fn rate(rng: &mut Rng) -> String {
    let most = if rng.usize(..8) == 0 { 20_000 } else { 100 };
    let units = [
        "/s", "/sec", "/second", "/m", "/minute", "/min", "/h", "/hour", "/d", "/day", "", "/Sec",
        "/x", "/",
    ];
    let known = if rng.usize(..12) == 0 { units.len() } else { units.len() - 3 };
    format!("{}{}", rng.u32(1..most), pick(&units[..known], rng))
}

fn nat(family: Family, rng: &mut Rng) -> String {
    let (one, two) = (host(family, rng), host(family, rng));
    let addresses = match rng.usize(..6) {
        0 => String::new(),
        1 => format!("{one}-{two}"),
        2 => format!("{one}-{one}"),
        _ => one.clone(),
    };
    let ports = match rng.usize(..6) {
        0 => format!(":{}", port_range('-', rng)),
        1 => format!(":{}-{}", 1000 + rng.u32(..100), 2000 + rng.u32(..100)),
        2 => format!(":{}-{}/{}", 1000 + rng.u32(..100), 2000 + rng.u32(..100), rng.u32(..70_000)),
        _ => String::new(),
    };
    match family {
        Family::Ipv6 if !ports.is_empty() && !addresses.is_empty() && rng.usize(..10) > 0 => {
            format!("[{addresses}]{ports}")
        }
        _ => format!("{addresses}{ports}"),
    }
}

fn text(max: usize, rng: &mut Rng) -> String {
    let long = max.min(400);
    match rng.usize(..16) {
        0 => quoted(&"x".repeat(long)),
        1 => quoted(&"y".repeat(long + 1)),
        2 => quoted(&"z".repeat(long - 1)),
        _ => quoted(pick(
            &[
                "abc",
                "a b",
                "it's",
                "say \"x\"",
                "a\\b",
                "ünï",
                "-x",
                "--dport",
                "!",
                "a,b",
                "#x",
                "a.b",
                "x_y-z",
                "$1",
                "50%",
                "\t",
            ],
            rng,
        )),
    }
}

fn bare(max: usize, rng: &mut Rng) -> String {
    match rng.usize(..16) {
        0 => "n".repeat(max.min(300)),
        1 => "m".repeat(max.min(300) + 1),
        2 => quoted(pick(&["a b", "", "it's", "a/b", ".", ".."], rng)),
        _ => pick(&["abc", "x1", "a-b", "eth0", "eth+", "foo"], rng).to_owned(),
    }
}

fn cased(word: &str, rng: &mut Rng) -> String {
    match rng.usize(..24) {
        2 => word[..1 + rng.usize(..word.len())].to_owned(),
        3 => format!("{word}x"),
        0 => word.to_uppercase(),
        1 => word.to_lowercase(),
        _ => word.to_owned(),
    }
}

/// A text with one character changed.
fn mutated(text: &str, rng: &mut Rng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = rng.usize(..chars.len() + 1);
    let other = *["0", "9", "x", ":", "-", ",", "/", ".", " ", "Z"][rng.usize(..10)]
        .chars()
        .collect::<Vec<_>>()
        .first()
        .expect("a character");
    match rng.usize(..3) {
        0 if at < chars.len() => {
            chars.remove(at);
        }
        1 if at < chars.len() => chars[at] = other,
        _ => chars.insert(at, other),
    }
    chars.into_iter().collect()
}

/// A word as iptables-restore takes it: in double quotes unless it is plain.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._:,/+-=".contains(char);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
