//! Laws of printing, over every declaration: what is printed is read back, and prints the same.

use proptest::prelude::*;

use crate::arguments::Argument;
use crate::extension::{EXTENSIONS, Extension, ExtensionKind};
use crate::syntax::{Family, Rule, TableName};
use crate::{Severity, emit_rule, parse_rules, protocols};

/// The text of an argument, made of some random bits.
fn argument_text(argument: Argument, bits: u64, family: Family) -> Option<String> {
    let small = bits % 200;
    let (low, high) = (small.min(bits >> 8 & 0xff), small.max(bits >> 8 & 0xff));
    let pick = |length: usize| usize::try_from(bits >> 3).unwrap_or(0) % length;
    let octets = bits.to_be_bytes();
    let address = match family {
        Family::Ipv4 => format!("10.{}.{}.{}", octets[1], octets[2], octets[3]),
        Family::Ipv6 => format!("fd00:{:x}::{:x}", octets[1], u16::from(octets[2]) << 8 | 1),
    };
    let length = match family {
        Family::Ipv4 => bits % 33,
        Family::Ipv6 => bits % 129,
    };
    Some(match argument {
        Argument::Flag => String::new(),
        Argument::Number(max) | Argument::Hex(max) => {
            (bits % max.saturating_add(1).max(1)).to_string()
        }
        Argument::Between(from, to) => (from + bits % (to - from)).to_string(),
        Argument::WideHex(max, _) => format!("{:#x}", bits & max),
        Argument::Range(_) | Argument::PortRange | Argument::DecimalPortRange => {
            format!("{low}:{high}")
        }
        Argument::DashRange(_) | Argument::NatPorts => format!("{low}-{high}"),
        Argument::Port | Argument::DecimalPort => low.to_string(),
        Argument::PortList => format!("{low},{}:{}", high + 1, high + 9),
        Argument::Mark | Argument::MaskedMark => format!("{}/{}", bits & 0xffff, bits >> 32),
        Argument::MarkOperand(_) => format!("{:#x}", bits & 0xffff_ffff),
        Argument::Text(_) => {
            ["plain", "two words", "it's", "a\"b", "a\\b", "", "ümlaut", "-x"][pick(8)].to_owned()
        }
        Argument::Bare(_) | Argument::Cut(_) => ["a", "b-1", "c_2"][pick(3)].to_owned(),
        Argument::Keyword(table) | Argument::ExactKeyword(table) => {
            table[pick(table.len())][0].to_owned()
        }
        Argument::Bits(table)
        | Argument::ExactBits(table)
        | Argument::LooseBits(table)
        | Argument::ShortBits(table) => {
            format!(
                "{},{}",
                table[pick(table.len())].0,
                table[usize::from(octets[5]) % table.len()].0
            )
        }
        Argument::Host => address,
        Argument::Address | Argument::Network => format!("{address}/{length}"),
        Argument::AddressRange => format!("{address}-{address}"),
        Argument::Mac => format!("00:{:x}:22:{:02X}:44:aa", octets[1], octets[2]),
        Argument::Rate => format!("{}/{}", 1 + small, ["sec", "minute", "h", "day"][pick(4)]),
        Argument::Set => format!("s{small} src,dst"),
        Argument::Probability => format!("0.{small}"),
        Argument::Nat => match family {
            Family::Ipv4 => format!("{address}:{low}-{high}"),
            Family::Ipv6 => format!("[{address}]:{low}-{high}"),
        },
        Argument::TcpFlags => format!("SYN,ACK {}", ["SYN", "NONE", "ALL"][pick(3)]),
        Argument::Icmp(table) => table[pick(table.len())].name.to_owned(),
        Argument::Custom(_) | Argument::Optional(_) => return None,
    })
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    crate::arguments::text::print_quoted(text, &mut out);
    out
}

/// A line that uses an extension with some of its options.
fn line(extension: &Extension, options: &[(usize, bool, u64)], family: Family) -> String {
    let mut line = String::from("-A ");
    line.push_str(extension.chains.first().unwrap_or(&"FORWARD"));
    if let Some(protocol) = extension.protocols.first() {
        line.push_str(" -p ");
        line.push_str(protocols::name(*protocol).expect("a named protocol"));
    } else {
        line.push_str(" -p tcp");
    }
    line.push_str(if extension.kind == ExtensionKind::Match { " -m " } else { " -j " });
    line.push_str(extension.name);
    for (number, negated, bits) in options {
        let Some(option) = extension.options.get(number % extension.options.len().max(1)) else {
            continue;
        };
        let Some(text) = argument_text(option.argument, *bits, family) else { continue };
        line.push_str(if *negated && option.negatable { " ! --" } else { " --" });
        line.push_str(option.name);
        match option.argument {
            Argument::Flag => {}
            Argument::Text(_) => {
                line.push(' ');
                line.push_str(&quoted(&text));
            }
            _ => {
                line.push(' ');
                line.push_str(&text);
            }
        }
    }
    line
}

/// Reads one rule of a table; `None` if it is refused.
fn read<'a>(text: &'a str) -> Option<Rule<'a>> {
    let (rules, diagnostics) = parse_rules(text);
    let refused = diagnostics.iter().any(|one| one.severity != Severity::Note);
    let rule = rules.tables.into_iter().flat_map(|table| table.rules).next();
    rule.filter(|_| !refused)
}

fn text(table: TableName, family: Family, line: &str) -> String {
    let program = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
    let table = table.as_str();
    format!("# Generated by {program}-save v1.8.9 (nf_tables) on Mon\n*{table}\n{line}\nCOMMIT\n")
}

/// All extensions with the table they are tried in.
fn extensions() -> impl Iterator<Item = (&'static Extension, TableName)> {
    EXTENSIONS.iter().copied().flatten().map(|extension| {
        let table = match extension.tables.first() {
            Some(table) => *table,
            None if extension
                .chains
                .first()
                .is_none_or(|chain| TableName::Filter.builtin_chains().contains(chain)) =>
            {
                TableName::Filter
            }
            None => TableName::Mangle,
        };
        (*extension, table)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_printed_reads_back_and_prints_the_same(
        options in proptest::collection::vec((0_usize..20, any::<bool>(), any::<u64>()), 0..5),
    ) {
        for (extension, table) in extensions() {
            let family = extension.family.unwrap_or(Family::Ipv4);
            let line = line(extension, &options, family);
            let first = text(table, family, &line);
            let Some(rule) = read(&first) else { continue };
            let mut printed = String::new();
            emit_rule(&rule, &mut printed);
            let second = text(table, family, &printed);
            let again = read(&second);
            prop_assert!(again.is_some(), "{line}\nprints as what is refused:\n{printed}");
            let mut twice = String::new();
            emit_rule(&again.expect("checked"), &mut twice);
            prop_assert_eq!(&printed, &twice, "{}", line);
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail(text in "(\\PC|[\\n\\t\"'!-]){0,200}") {
        let _ = parse_rules(&text);
        let saved = format!("*filter\n-A INPUT {text}\nCOMMIT\n");
        let (rules, _) = parse_rules(&saved);
        for rule in rules.tables.iter().flat_map(|table| &table.rules) {
            emit_rule(rule, &mut String::new());
        }
    }
}

#[test]
fn most_extensions_are_reached() {
    let seeds = [0x0123_4567_89ab_cdef_u64, 0xfedc_ba98_7654_3210, 7];
    let reached = extensions()
        .filter(|(extension, table)| {
            let family = extension.family.unwrap_or(Family::Ipv4);
            (0..20).any(|number| {
                seeds.iter().any(|seed| {
                    let options = [(number, false, *seed)];
                    read(&text(*table, family, &line(extension, &options, family))).is_some()
                })
            })
        })
        .count();
    assert!(reached >= 50, "only {reached} extensions were accepted with one option");
}

/// What is not understood keeps its place, so that it is read back with the same options.
#[test]
fn an_unknown_match_keeps_its_options() {
    for rule in [
        "-A FORWARD -m conntrack --ctstate NEW -m new --comment one -m comment --comment two -j ACCEPT",
        "-A FORWARD -p tcp -m new --size 3 -m tcp --dport 80",
        "-A FORWARD -m comment --comment two -m new --size \"a b\" -j DROP",
    ] {
        let text = format!("*filter\n{rule}\nCOMMIT\n");
        let (rules, diagnostics) = parse_rules(&text);
        assert!(diagnostics.iter().all(|one| one.severity != Severity::Error), "{diagnostics:?}");
        let mut printed = String::new();
        emit_rule(&rules.tables[0].rules[0], &mut printed);
        assert_eq!(printed, rule);
    }
}

/// A name that is not looked up stays behind the target whose option it is of.
#[test]
fn an_open_option_of_a_target_stays_behind_it() {
    for rule in [
        "-A PREROUTING -d 10.98.0.0/24 -j NETMAP --to some.host/24",
        "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1",
    ] {
        let text = format!("*nat\n{rule}\nCOMMIT\n");
        let (rules, diagnostics) = parse_rules(&text);
        assert!(diagnostics.iter().all(|one| one.severity != Severity::Error), "{diagnostics:?}");
        let mut printed = String::new();
        emit_rule(&rules.tables[0].rules[0], &mut printed);
        assert_eq!(printed, rule);
    }
}
