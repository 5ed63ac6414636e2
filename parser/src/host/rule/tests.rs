use super::*;
use crate::Severity;

fn one(text: &str) -> RoutingRule {
    let (rules, complaints) = parse(text);
    assert_eq!(complaints, [], "{text}");
    assert_eq!(rules.len(), 1, "{text}");
    RoutingRule { span: Span::default(), ..rules.into_iter().next().unwrap() }
}

#[test]
fn both_forms_of_every_selector_say_the_same() {
    let lookup = |table| RuleAction::Lookup(table);
    let base = RoutingRule { priority: 9, action: lookup(Table::Main), ..RoutingRule::default() };
    let net = |text: &str| Some(text.parse().unwrap());
    let cases = [
        ("from all lookup main", r#""src":"all","table":"main""#, base.clone()),
        (
            "not from all fwmark 0xca6c lookup 51820",
            r#""not":null,"src":"all","fwmark":"0xca6c","table":"51820""#,
            RoutingRule {
                negated: true,
                mark: Some((0xca6c, u32::MAX)),
                action: lookup(Table::Id(51820)),
                ..base.clone()
            },
        ),
        (
            "from all lookup main suppress_prefixlength 0",
            r#""src":"all","table":"main","suppress_prefixlen":0"#,
            RoutingRule { suppress_prefix_length: Some(0), ..base.clone() },
        ),
        (
            "from 10.0.0.0/24 to 10.1.0.1 fwmark 0x1/0xff lookup vpn",
            r#""src":"10.0.0.0","srclen":24,"dst":"10.1.0.1","fwmark":"0x1","fwmask":"0xff","table":"vpn""#,
            RoutingRule {
                family: Some(Family::Ipv4),
                source: net("10.0.0.0/24"),
                destination: net("10.1.0.1/32"),
                mark: Some((1, 0xff)),
                action: lookup(Table::Name("vpn".to_owned())),
                ..base.clone()
            },
        ),
        (
            "from all iif lo oif eth0 [detached] tos 0x10 ipproto udp sport 53 dport 1-2 uidrange 5-6 prohibit",
            r#""src":"all","iif":"lo","oif":"eth0","oif_detached":null,"tos":"0x10","ipproto":"udp","sport":53,"dport_start":1,"dport_end":2,"uid_start":5,"uid_end":6,"action":"prohibit""#,
            RoutingRule {
                in_interface: Some("lo".to_owned()),
                out_interface: Some("eth0".to_owned()),
                tos: 0x10,
                protocol: Some(17),
                source_ports: Some((53, 53)),
                destination_ports: Some((1, 2)),
                users: Some((5, 6)),
                action: RuleAction::Prohibit,
                ..base.clone()
            },
        ),
        (
            "from all tos AF21 blackhole",
            r#""src":"all","tos":"AF21","action":"blackhole""#,
            RoutingRule { tos: 0x48, action: RuleAction::Blackhole, ..base.clone() },
        ),
        (
            "from all lookup [l3mdev-table]",
            r#""src":"all","l3mdev":null"#,
            RoutingRule { action: RuleAction::LookupVrf, ..base.clone() },
        ),
        (
            "from all goto 900 [unresolved]",
            r#""src":"all","goto":900,"unresolved":null"#,
            RoutingRule { action: RuleAction::Goto(900), ..base.clone() },
        ),
        (
            "from all nop",
            r#""src":"all","nop":null"#,
            RoutingRule { action: RuleAction::Nop, ..base.clone() },
        ),
        (
            "from all lookup main suppress_ifgroup 5 proto static",
            r#""src":"all","table":"main","suppress_ifgroup":"5","protocol":"static""#,
            RoutingRule { suppress_group: Some("5".to_owned()), ..base },
        ),
    ];
    for (text, json, expected) in cases {
        assert_eq!(one(&format!("9:\t{text}\r\n")), expected, "{text}");
        assert_eq!(one(&format!("[{{\"priority\":9,{json}}}]")), expected, "{json}");
    }
}

#[test]
fn a_rule_that_is_not_understood_keeps_its_place() {
    let text = "0:\tfrom all lookup local\n5:\tfrom 10.0.0.300 lookup 7\n6:\tfrom all tun_id 5 lookup 7\n7:\tfrom all\nfrom all lookup main\n";
    let (rules, complaints) = parse(text);
    let kept: Vec<_> = rules.iter().map(|rule| (rule.priority, rule.unsupported.clone())).collect();
    let of = |text: &str| vec![text.to_owned()];
    let expected = [
        (0, vec![]),
        (5, of("5:\tfrom 10.0.0.300 lookup 7")),
        (6, of("tun_id 5")),
        (7, of("7:\tfrom all")),
    ];
    assert_eq!(kept, expected);
    let places: Vec<_> = complaints.iter().map(|said| said.span.slice(text)).collect();
    assert_eq!(places, ["10.0.0.300", "tun_id", "7:\tfrom all", "from all lookup main"]);
    assert!(complaints.iter().all(|said| said.severity == Severity::Warning));

    let json = r#"[{"priority":5,"src":"x","table":"7"},{"priority":6,"src":"all","dscp":"7","table":"7"},{"priority":7,"src":"all"},{"src":"all","table":"7"}]"#;
    let (rules, complaints) = parse(json);
    assert_eq!(
        rules.iter().map(|rule| (rule.priority, rule.unsupported.len())).collect::<Vec<_>>(),
        [(5, 1), (6, 1), (7, 1)]
    );
    assert_eq!(complaints.len(), 4);
}

#[test]
fn no_rules_are_pointed_out() {
    assert_eq!(parse("").1.iter().map(|said| said.code).collect::<Vec<_>>(), ["empty-part"]);
    assert_eq!(parse("hello").1.iter().map(|said| said.code).collect::<Vec<_>>(), ["no-listing"]);
}
