//! What pastes of listings look like, and what is said of those that can't be read.

use nattrace_parser::listing::parse_listing;
use nattrace_parser::syntax::{
    Backend, Counters, Family, Interfaces, Policy, Rule, RulesFormat, TableName, Target,
};
use nattrace_parser::{Diagnostic, Severity, emit_rule};
use proptest::prelude::*;

/// The rules of a listing, printed, with their tables.
fn rules(text: &str) -> Vec<String> {
    let (rules, _) = parse_listing(text);
    let mut lines = Vec::new();
    for table in &rules.tables {
        for rule in &table.rules {
            lines.push(format!("{}: {}", table.name.as_str(), printed(rule)));
        }
    }
    lines
}

fn printed(rule: &Rule<'_>) -> String {
    let mut line = String::new();
    emit_rule(rule, &mut line);
    line
}

/// The codes of what is said of a listing, with the places.
fn said(text: &str) -> Vec<(Severity, &'static str, String)> {
    let (_, diagnostics) = parse_listing(text);
    let place = |one: &Diagnostic| (one.severity, one.code, one.span.slice(text).to_owned());
    diagnostics.iter().map(place).collect()
}

/// The codes of warnings and errors.
fn faults(text: &str) -> Vec<&'static str> {
    said(text).iter().filter(|one| one.0 != Severity::Note).map(|one| one.1).collect()
}

/// One row below the headers of `iptables -nvL`.
fn row(row: &str) -> String {
    format!(
        "# iptables -nvL\nChain FORWARD (policy DROP 0 packets, 0 bytes)\n \
         pkts bytes target     prot opt in     out     source               destination\n{row}\n\
         Chain web (1 references)\n"
    )
}

/// The rule of a row's text behind the destination, without its beginning.
#[track_caller]
fn check_extra(target: &str, protocol: &str, extra: &str, expected: &str) {
    let text = row(&format!(
        "    0     0 {target:<10} {protocol:<4} --  *      *       0.0.0.0/0            0.0.0.0/0            {extra}"
    ));
    assert_eq!(rules(&text), [format!("filter: -A FORWARD {expected}")], "{extra}");
    assert_eq!(faults(&text), [""; 0], "{extra}");
}

/// A row that reads as this rule, without a word of complaint.
#[track_caller]
fn check_row(text: &str, expected: &str) {
    let text = row(text);
    assert_eq!(rules(&text), [format!("filter: -A FORWARD {expected}")], "{text}");
    assert_eq!(faults(&text), [""; 0], "{text}");
}

#[test]
fn columns_are_found_without_their_alignment() {
    let expected = "-i eth0 ! -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT";
    check_row("0 0 ACCEPT tcp -- eth0 !docker0 0.0.0.0/0 0.0.0.0/0 tcp dpt:80", expected);
    check_row("\t0\t0\tACCEPT\t6\t--\teth0\t! docker0\t0.0.0.0/0\t0.0.0.0/0\ttcp dpt:80", expected);
    check_row("0 0 ACCEPT tcp — eth0 !docker0 0.0.0.0/0 0.0.0.0/0 tcp dpt:80", expected);
    check_row("0 0 ACCEPT tcp – eth0 !docker0 anywhere anywhere tcp dpt:http", expected);
    check_row("1 0 0 ACCEPT tcp -- eth0 !docker0 anywhere anywhere tcp dpt:http", expected);
    check_row(
        "ACCEPT\u{a0}\u{a0}tcp -- anywhere anywhere tcp dpt:http",
        "-p tcp -m tcp --dport 80 -j ACCEPT",
    );
}

#[test]
fn a_row_may_have_no_target() {
    check_row(
        "    0     0            tcp  --  *      *       0.0.0.0/0            0.0.0.0/0",
        "-p tcp",
    );
    check_row("0 0 tcp -- * * 0.0.0.0/0 0.0.0.0/0", "-p tcp");
    check_row("0 0 6 -- * * 0.0.0.0/0 0.0.0.0/0", "-p tcp");
    check_row("           all  --  10.0.0.0/8           anywhere", "-s 10.0.0.0/8");
    // Without `opt`, as ip6tables had it, only the addresses tell.
    check_row(
        "tcp      anywhere             anywhere             tcp dpt:http",
        "-p tcp -m tcp --dport 80",
    );
}

#[test]
fn targets_are_chains_where_they_are_listed() {
    check_row("0 0 web all -- * * 0.0.0.0/0 0.0.0.0/0", "-j web");
    check_row("0 0 web all -- * * 0.0.0.0/0 0.0.0.0/0           [goto] ", "-g web");
    check_row(
        "0 0 web all -- * * 0.0.0.0/0 0.0.0.0/0 [goto]  ctstate NEW",
        "-m conntrack --ctstate NEW -g web",
    );
    check_row(
        "    0     0 DOCKER-ISOLATION-STAGE-1  all  --  *      *       0.0.0.0/0            0.0.0.0/0",
        "-j DOCKER-ISOLATION-STAGE-1",
    );
}

#[test]
fn fragments_and_negations() {
    check_row("0 0 DROP all -f * * 0.0.0.0/0 0.0.0.0/0", "-f -j DROP");
    check_row("0 0 DROP all !f * * 0.0.0.0/0 0.0.0.0/0", "! -f -j DROP");
    check_row(
        "    0     0 DROP      !tcp  --  !lo    *      !10.0.0.0/8          !10.0.0.1",
        "! -s 10.0.0.0/8 ! -d 10.0.0.1/32 ! -i lo ! -p tcp -j DROP",
    );
    check_row("0 0 DROP all -- + any 0.0.0.0/0 0.0.0.0/0", "-j DROP");
}

#[test]
fn names_that_are_the_same_everywhere_are_read() {
    check_row(
        "0 0 ACCEPT all -- any any localhost loopback/8",
        "-s 127.0.0.1/32 -d 127.0.0.0/8 -j ACCEPT",
    );
    check_row(
        "0 0 ACCEPT all -- any any localhost/8 base-address.mcast.net/4",
        "-s 127.0.0.0/8 -d 224.0.0.0/4 -j ACCEPT",
    );
    check_row("0 0 ACCEPT all -- any any link-local/16 anywhere", "-s 169.254.0.0/16 -j ACCEPT");
    let text = row("0 0 ACCEPT all -- any any localhost anywhere");
    assert!(said(&text).iter().any(|one| one.1 == "names-looked-up"));
}

#[test]
fn other_names_keep_the_rule_and_say_so() {
    let text = row("0 0 DROP tcp -- any any dns.google anywhere tcp dpt:nosuch");
    let (rules, _) = parse_listing(&text);
    let rule = &rules.tables[0].rules[0];
    let kept: Vec<&str> = rule.unsupported.iter().map(|one| one.span.slice(&text)).collect();
    assert_eq!(kept, ["dns.google", "dpt:nosuch"]);
    assert!(rule.source.is_none() && matches!(rule.target, Target::Drop));
    assert_eq!(faults(&text), ["unresolved-name", "unresolved-name"]);
    assert_eq!(faults(&row("0 0 DROP tcp -- any any dns.google/24 anywhere")), ["unresolved-name"]);
}

#[test]
fn counters_are_scaled_or_exact() {
    let text = row("  10G   12T web        all  --  *      *       0.0.0.0/0            0.0.0.0/0");
    let (rules, _) = parse_listing(&text);
    let expected = Counters { packets: 10_000_000_000, bytes: 12_000_000_000_000 };
    assert_eq!(rules.tables[0].rules[0].counters, Some(expected));
    let chain = &rules.tables[0].chains[0];
    assert_eq!((chain.policy, chain.counters), (Some(Policy::Drop), Some(Counters::default())));
}

#[test]
fn comments_hold_anything() {
    check_extra("ACCEPT", "0", "/* a b */", "-m comment --comment \"a b\" -j ACCEPT");
    check_extra(
        "ACCEPT",
        "6",
        "/* x */ tcp dpt:80 /* y */",
        "-p tcp -m comment --comment x -m tcp --dport 80 -m comment --comment y -j ACCEPT",
    );
    check_extra(
        "ACCEPT",
        "0",
        "/* x */ tcp dpt:80 */",
        "-m comment --comment \"x */ tcp dpt:80\" -j ACCEPT",
    );
    check_extra("ACCEPT", "0", "/* /* x */ */", "-m comment --comment \"/* x */\" -j ACCEPT");
    check_extra("ACCEPT", "0", "/*  */", "-m comment --comment \"\" -j ACCEPT");
    check_extra(
        "ACCEPT",
        "0",
        "/*  two  spaces  */",
        "-m comment --comment \" two  spaces \" -j ACCEPT",
    );
    check_extra(
        "ACCEPT",
        "0",
        "/* -j DROP to:1.2.3.4 [goto] */",
        "-m comment --comment \"-j DROP to:1.2.3.4 [goto]\" -j ACCEPT",
    );
    check_extra(
        "LOG",
        "0",
        "/* a */ LOG flags 0 level 4 prefix \"b /* c */ \"",
        "-m comment --comment a -j LOG --log-prefix \"b /* c */ \"",
    );
}

#[test]
fn older_versions_print_other_forms() {
    check_extra("ACCEPT", "icmp", "icmp type 8", "-p icmp -m icmp --icmp-type 8 -j ACCEPT");
    check_extra(
        "ACCEPT",
        "icmp",
        "icmp type 3 code 4",
        "-p icmp -m icmp --icmp-type 3/4 -j ACCEPT",
    );
    check_extra(
        "ACCEPT",
        "tcp",
        "state NEW tcp dpt:22flags: 0x17/0x02",
        "-p tcp -m state --state NEW -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
    );
    check_extra(
        "ACCEPT",
        "tcp",
        "tcpflags: 0x17/0x02 multiport dports 22,80",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 22,80 -j ACCEPT",
    );
    check_extra(
        "LOG",
        "all",
        "LOG flags 0 level 4 prefix `dropped: '",
        "-j LOG --log-prefix \"dropped: \"",
    );
    check_extra(
        "LOG",
        "all",
        "LOG level warning prefix \"dropped: \"",
        "-j LOG --log-prefix \"dropped: \"",
    );
    check_extra(
        "DROP",
        "all",
        "recent: UPDATE seconds: 60 name: DEFAULT side: source",
        "-m recent --update --seconds 60 --name DEFAULT --mask 255.255.255.255 --rsource -j DROP",
    );
    check_extra(
        "MARK",
        "all",
        "MARK match !0x1 MARK set 0x2",
        "-m mark ! --mark 0x1 -j MARK --set-xmark 0x2/0xffffffff",
    );
    check_extra(
        "ACCEPT",
        "all",
        "MACaa:bb:cc:dd:ee:ff",
        "-m mac --mac-source aa:bb:cc:dd:ee:ff -j ACCEPT",
    );
    check_row("0 0 ACCEPT udplite-- * * 0.0.0.0/0 0.0.0.0/0", "-p udplite -j ACCEPT");
}

#[test]
fn what_is_not_understood_is_kept_with_its_place() {
    let text = row("0 0 ACCEPT tcp -- * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:80 frobnicate 5 ctstate NEW");
    let (rules, _) = parse_listing(&text);
    let rule = &rules.tables[0].rules[0];
    assert_eq!(rule.unsupported.len(), 1);
    assert_eq!(rule.unsupported[0].span.slice(&text), "frobnicate 5 ctstate NEW");
    assert_eq!(rule.matches.len(), 1, "nothing behind unknown text is believed");
    assert!(matches!(rule.target, Target::Accept));
    assert_eq!(faults(&text), ["unknown-listing-text"]);

    // The target's own text is found behind it,
    let text = row(
        "0 0 LOG all -- * * 0.0.0.0/0 0.0.0.0/0 frob [unsupported revision] LOG flags 0 level 6",
    );
    let (rules, _) = parse_listing(&text);
    let rule = &rules.tables[0].rules[0];
    assert_eq!(rule.unsupported[0].span.slice(&text), "frob [unsupported revision]");
    assert!(printed(rule).ends_with("-j LOG --log-level 6"));

    // and where it is not, the target is not believed.
    let text = row("0 0 LOG all -- * * 0.0.0.0/0 0.0.0.0/0 LOG frobnicate");
    let (rules, _) = parse_listing(&text);
    assert!(matches!(rules.tables[0].rules[0].target, Target::Unsupported(_)));
}

const FILTER: &str = "Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\n\
    ACCEPT     tcp  --  anywhere             anywhere             tcp dpt:ssh\n\n\
    Chain FORWARD (policy DROP)\ntarget     prot opt source               destination\n\n\
    Chain OUTPUT (policy ACCEPT)\ntarget     prot opt source               destination\n";
const NAT: &str = "Chain PREROUTING (policy ACCEPT)\ntarget     prot opt source               destination\n\
    DNAT       tcp  --  anywhere             anywhere             tcp dpt:http to:10.0.0.2:80\n\n\
    Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\n\n\
    Chain OUTPUT (policy ACCEPT)\ntarget     prot opt source               destination\n\n\
    Chain POSTROUTING (policy ACCEPT)\ntarget     prot opt source               destination\n\
    MASQUERADE  all  --  10.0.0.0/24          anywhere\n";
const BOTH: [&str; 3] = [
    "filter: -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
    "nat: -A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.2:80",
    "nat: -A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE",
];

/// The tables that are read, in order.
fn tables(text: &str) -> Vec<TableName> {
    parse_listing(text).0.tables.iter().map(|table| table.name).collect()
}

#[test]
fn tables_are_told_by_their_chains() {
    use TableName::{Filter, Mangle, Nat, Raw};
    let chains = |names: &[&str]| -> String {
        names.iter().map(|name| format!("Chain {name} (policy ACCEPT)\n")).collect()
    };
    for (names, expected) in [
        (&["INPUT", "FORWARD", "OUTPUT"][..], vec![Filter]),
        (&["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"], vec![Nat]),
        (&["PREROUTING", "POSTROUTING", "OUTPUT"], vec![Nat]),
        (&["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"], vec![Mangle]),
        (&["PREROUTING", "OUTPUT"], vec![Raw]),
        (
            &[
                "INPUT",
                "FORWARD",
                "OUTPUT",
                "PREROUTING",
                "INPUT",
                "OUTPUT",
                "POSTROUTING",
                "PREROUTING",
                "OUTPUT",
            ],
            vec![Filter, Nat, Raw],
        ),
    ] {
        let text = chains(names);
        assert_eq!(tables(&text), expected, "{names:?}");
        assert_eq!(faults(&text), [""; 0], "{names:?}");
    }
    let text = format!("{FILTER}{NAT}");
    assert_eq!(rules(&text), BOTH);
    assert_eq!(faults(&text), [""; 0]);
}

#[test]
fn tables_are_told_by_targets_and_else_assumed_aloud() {
    let rest = "DNAT tcp -- anywhere anywhere tcp dpt:http to:10.0.0.2\n";
    assert_eq!(tables(&format!("Chain DOCKER (2 references)\n{rest}")), [TableName::Nat]);
    let text = "Chain DOCKER (2 references)\nACCEPT tcp -- anywhere anywhere tcp dpt:http\n";
    assert_eq!(tables(text), [TableName::Filter]);
    assert_eq!(faults(text), ["table-assumed"]);
    let text = format!("$ sudo iptables -t nat -L DOCKER\n{text}");
    assert_eq!(tables(&text), [TableName::Nat]);
    assert_eq!(faults(&text), [""; 0]);
}

#[test]
fn commands_headings_and_prose_may_surround_the_chains() {
    for (first, second) in [
        ("# iptables -L", "# iptables -t nat -L"),
        ("root@host:~$ sudo iptables -L", "root@host:~$ sudo iptables -L -t nat --line-numbers"),
        ("Table: filter", "Table: nat"),
        ("Hello, here is my filter table:", "and this is nat:"),
        ("I ran this on my server - it does not work.", "And `iptables -L -t nat` says:"),
    ] {
        let text = format!(
            "{first}\n{FILTER}\nThis is fine -- I think.\n{second}\n{NAT}\nroot@host:~$ \nThanks!\n"
        );
        assert_eq!(rules(&text), BOTH, "{first}");
        assert_eq!(faults(&text), [""; 0], "{first}");
    }
}

#[test]
fn quotations_indents_fences_and_line_ends_do_not_matter() {
    let text = format!("{FILTER}{NAT}");
    let each =
        |prefix: &str| -> String { text.lines().map(|line| format!("{prefix}{line}\n")).collect() };
    for paste in [
        each("> "),
        each(">> "),
        each(">"),
        each("    "),
        each("\t"),
        format!("```\n{text}```\n"),
        text.replace('\n', "\r\n"),
        text.replace('\n', "\n\n"),
        format!("\u{feff}{text}"),
        text.lines()
            .filter(|line| !line.starts_with("target"))
            .map(|line| format!("{line}\n"))
            .collect(),
    ] {
        assert_eq!(rules(&paste), BOTH, "{paste}");
        assert_eq!(faults(&paste), [""; 0], "{paste}");
    }
}

#[test]
fn interfaces_are_unknown_without_v_and_that_is_said_once() {
    let (found, diagnostics) = parse_listing(FILTER);
    assert_eq!(found.format, RulesFormat::Listing { verbose: false });
    assert!(
        found
            .tables
            .iter()
            .flat_map(|table| &table.rules)
            .all(|rule| rule.interfaces == Interfaces::NotShown)
    );
    let notes = diagnostics.iter().filter(|one| one.code == "interfaces-not-shown").count();
    assert_eq!(notes, 1);
    let text = row("0 0 DROP all -- * * 0.0.0.0/0 0.0.0.0/0");
    assert_eq!(parse_listing(&text).0.format, RulesFormat::Listing { verbose: true });
    assert_eq!(said(&text), []);
}

#[test]
fn a_line_that_should_be_a_rule_is_never_skipped_in_silence() {
    for (line, code, severity) in [
        ("ACCEPT tcp -- 10.0.0.0/8", "unread-line", Severity::Error),
        ("0 0 DROP tcp -- eth0 10.0.0.0/8", "unread-line", Severity::Error),
        ("tcp dpt:80", "unread-line", Severity::Error),
        ("/* the rest of a comment */", "unread-line", Severity::Error),
        ("[...]", "skipped-line", Severity::Warning),
        ("<many more>", "skipped-line", Severity::Warning),
        ("-A FORWARD -j DROP", "skipped-rule", Severity::Warning),
    ] {
        let text = row(&format!("0 0 DROP all -- * * 0.0.0.0/0 0.0.0.0/0\n{line}"));
        assert_eq!(said(&text), [(severity, code, line.to_owned())], "{line}");
        assert_eq!(rules(&text).len(), 1, "{line}");
    }
    let text = row(
        "1 0 0 DROP all -- * * 0.0.0.0/0 0.0.0.0/0\n4 0 0 ACCEPT all -- * * 0.0.0.0/0 0.0.0.0/0",
    );
    assert_eq!(faults(&text), ["missing-rows"]);
    let text = "target prot opt source destination\nDROP all -- anywhere anywhere\n";
    assert_eq!(faults(text), ["rule-without-chain"]);
    let lost = "Chain ONE (policy ACCEPT)\ntarget prot opt source destination\n\
                \nChain T WO (1 references)\ntarget prot opt source destination\n\
                DROP all -- anywhere anywhere\n";
    assert!(faults(lost).contains(&"rule-without-chain"), "{:?}", faults(lost));
    assert_eq!(faults("Is this a listing?"), ["no-listing"]);
    assert_eq!(faults(""), ["no-listing"]);
}

#[test]
fn warnings_of_iptables_are_passed_on() {
    let warning = "# Warning: iptables-legacy tables present, use iptables-legacy to see them";
    let text = format!("{warning}\n{FILTER}");
    assert_eq!(said(&text)[0], (Severity::Warning, "legacy-tables", warning.to_owned()));
    assert_eq!(rules(&text).len(), 1);
}

#[test]
fn the_family_is_told_by_the_command_or_the_addresses() {
    let family = |text: &str| parse_listing(text).0.family;
    assert_eq!(family(FILTER), None);
    assert_eq!(family(NAT), Some(Family::Ipv4));
    assert_eq!(family(&format!("# ip6tables -L\n{FILTER}")), Some(Family::Ipv6));
    let listed = |row: &str| format!("Chain INPUT (policy ACCEPT)\n{row}\n");
    assert_eq!(family(&listed("DROP all -- fe80::/10 anywhere")), Some(Family::Ipv6));
    assert_eq!(family(&listed("DROP all     anywhere anywhere")), Some(Family::Ipv6));
    assert_eq!(
        rules(&listed("ACCEPT tcp fe80::/10 localhost tcp dpt:ssh"))[0],
        "filter: -A INPUT -s fe80::/10 -d ::1/128 -p tcp -m tcp --dport 22 -j ACCEPT"
    );
    let text = format!("# iptables -L\n{FILTER}\n# ip6tables -L\n{FILTER}");
    assert_eq!(faults(&text), ["mixed-families"]);
}

#[test]
fn spans_point_to_what_a_word_came_from() {
    let text = row(
        "0 0 LOG tcp -- eth0 * 10.0.0.0/8 0.0.0.0/0 ! ctstate NEW tcp dpt:80 LOG flags 0 level 6",
    );
    let (rules, _) = parse_listing(&text);
    let rule = &rules.tables[0].rules[0];
    assert_eq!(rule.span.slice(&text), text.lines().nth(3).unwrap_or_default());
    let options: Vec<&str> = rule
        .matches
        .iter()
        .flat_map(|one| &one.options)
        .map(|option| option.span.slice(&text))
        .collect();
    assert_eq!(options, ["! ctstate NEW", "dpt:80"]);
}

proptest! {
    // A failure is shown in full, and becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "(Chain|INPUT|\\(policy|ACCEPT\\)|[a-z]{1,5}:|tcp|--|!|\"|/\\*|\\*/|anywhere|[0-9]{1,6}|0\\.0\\.0\\.0/0|\\[goto\\]| |\n|>|\\PC){0,60}") {
        let _ = parse_listing(&text);
    }

    /// Whatever stands behind the destination, the rule is there and every span is in its row.
    #[test]
    fn no_rule_is_dropped(extra in "(tcp|udp|icmp|type|dpt:|spts:|!|limit:|avg|5/min|burst|ctstate|NEW|/\\*|\\*/|LOG|flags|level|prefix|\"|to:|match|policy|dir|in|TIME|from|recent:|SET|name:|é|[0-9a-z:/]{1,5}| ){0,30}") {
        let text = row(&format!("0 0 LOG tcp -- * * 0.0.0.0/0 0.0.0.0/0 {extra}"));
        let (rules, _) = parse_listing(&text);
        prop_assert_eq!(rules.tables[0].rules.len(), 1);
        let rule = &rules.tables[0].rules[0];
        for span in rule.unsupported.iter().map(|one| one.span) {
            prop_assert!(span.start >= rule.span.start && span.end <= rule.span.end);
            prop_assert!(text.is_char_boundary(span.start as usize) && text.is_char_boundary(span.end as usize));
        }
    }
}

#[test]
fn a_long_line_takes_time_in_proportion() {
    let start = std::time::Instant::now();
    for unit in [
        "tcp ",
        "/* ",
        "*/ ",
        "/* */ ",
        "\" ",
        "LOG prefix \" ",
        "STRING match \"x ",
        "! ",
        "frob ",
        "0.0.0.0/0 ",
    ] {
        let long = unit.repeat(500_000 / unit.len());
        for text in [row(&format!("0 0 LOG all -- * * 0.0.0.0/0 0.0.0.0/0 {long}")), long] {
            let _ = parse_listing(&text);
        }
    }
    // Quadratic time would be hours.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

// kernel-facts H1: only iptables-legacy takes it.
#[test]
fn a_negated_anywhere_tells_the_backend() {
    let header = "Chain INPUT (policy ACCEPT)\ntarget prot opt source destination\n";
    let text = format!("{header}RETURN  all  --  anywhere  !anywhere\n");
    let (rules, _) = parse_listing(&text);
    assert_eq!(rules.backend, Some(Backend::Legacy));
    let text = format!("{header}RETURN  all  --  anywhere  anywhere\n");
    let (rules, _) = parse_listing(&text);
    assert_eq!(rules.backend, None);
}

/// What other commands printed is no part of a listing, and is named.
#[test]
fn the_output_of_other_commands_is_left_out() {
    let listing = "$ sudo iptables -t nat -nvL\nChain POSTROUTING (policy ACCEPT 0 packets, 0 bytes)\n \
                   pkts bytes target     prot opt in     out     source               destination\n    \
                   0     0 MASQUERADE  all  --  *      eth0    10.0.0.0/24          0.0.0.0/0\n";
    for command in ["$ ip -br a", "root@host:~# ip -br addr", "[user@host ~]$ ip -br a"] {
        let text = format!("{listing}{command}\nlo    UNKNOWN   127.0.0.1/8 ::1/128\n");
        let (rules, diagnostics) = nattrace_parser::parse_rules(&text);
        assert_eq!(rules.tables.iter().map(|table| table.rules.len()).sum::<usize>(), 1, "{text}");
        let codes: Vec<&str> = diagnostics.iter().map(|one| one.code).collect();
        assert_eq!(codes, ["ignored-text", "host-not-read"], "{text}");
    }
}

/// A prompt with brackets is no counter.
#[test]
fn a_prompt_with_brackets_is_no_counter() {
    for prompt in ["[user@fedora ~]$ sudo iptables-save", "[root@host ~]# iptables -S"] {
        let rules = match prompt.contains("save") {
            true => "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i wg0 -j ACCEPT\nCOMMIT\n",
            false => "-P INPUT ACCEPT\n-A FORWARD -i wg0 -j ACCEPT\n",
        };
        let text = format!("{prompt}\n{rules}[user@fedora ~]$ uptime\n up 5 days\n");
        let (read, diagnostics) = nattrace_parser::parse_rules(&text);
        let errors = diagnostics.iter().any(|one| one.severity == nattrace_parser::Severity::Error);
        assert!(!errors, "{text}{diagnostics:?}");
        assert_eq!(read.tables[0].rules.len(), 1, "{text}");
    }
}

/// What printed the tables is understood, and nothing else that ends alike.
#[test]
fn a_prompt_before_tables_has_a_program_that_saves() {
    for (line, understood) in [
        ("$ iptables-save", true),
        ("[user@fedora ~]$ sudo ip6tables-legacy-save", true),
        ("root@host:~$ /usr/sbin/iptables-nft-save -t nat | tee rules", true),
        ("$ cat /etc/iptables-save", false),
        ("root@host:~$ xtables-save", false),
        ("these are my iptables-save", false),
    ] {
        let text = format!("{line}\n*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
        let (_, diagnostics) = nattrace_parser::parse_rules(&text);
        assert_eq!(diagnostics.is_empty(), understood, "{line} {diagnostics:?}");
    }
}
