use super::*;
use crate::Severity;

const SAMPLE: &str = r#"version = 1

[zones.office]                       # a zone of your own
via    = ["eth1"]
nets   = ["192.168.12.0/24"]
routes = ["172.17.0.0/16"]           # what its hosts send to this machine although it is not on-link

[[egress]]                           # every packet that goes from → to leaves with this source
name   = "htfy_net wears .205"
from   = "net:htfy_net"
to     = "internet"
source = "173.208.194.205"           # one, a list, or "unchanged"

[[allow]]                            # every such packet arrives, and its answer comes back
name  = "blog is published"
from  = "internet"
to    = "173.208.194.205:443/tcp"    # where it is addressed
lands = "container:blog:443"         # where it arrives, after NAT (optional)

[[deny]]                             # no packet of `from` lands there, however it is addressed
name   = "nothing else gets in"
from   = "internet"
lands  = "net:*"
except = ["blog is published"]

[[isolate]]                          # no packet of one lands in another, in any direction
zones = ["net:front", "net:back"]
"#;

/// CLI.md's own example.
#[test]
fn the_example_is_read_in_full() {
    let (policy, complaints) = parse(SAMPLE);
    assert_eq!(complaints, []);
    assert_eq!(policy.zones[0].name, "office");
    let kinds: Vec<Kind> = policy.entries.iter().map(|entry| entry.claim.kind()).collect();
    assert_eq!(kinds, [Kind::Egress, Kind::Allow, Kind::Deny, Kind::Isolate]);
    let Claim::Allow { from, to, lands } = &policy.entries[1].claim else { panic!() };
    assert_eq!(from[0].place, Place::Internet);
    assert_eq!(to[0].place, Place::Net("173.208.194.205/32".parse().unwrap()));
    assert_eq!((to[0].ports, to[0].protocol), (Some((443, 443)), Some(Protocol::Number(6))));
    assert_eq!(lands[0].place, Place::Container("blog".into()));
    assert_eq!(to[0].span.slice(SAMPLE), "\"173.208.194.205:443/tcp\"");
    assert_eq!(to[0].name_span.slice(SAMPLE), "173.208.194.205");
    assert_eq!(to[0].service_span.unwrap().slice(SAMPLE), ":443/tcp");
    assert_eq!(policy.entries[0].span.slice(SAMPLE), "[[egress]]");
    let Claim::Deny { except, lands, .. } = &policy.entries[2].claim else { panic!() };
    assert_eq!(except[0].span.slice(SAMPLE), "\"blog is published\"");
    assert_eq!(lands[0].place, Place::EveryNetwork);
    let Claim::Egress { sources, .. } = &policy.entries[0].claim else { panic!() };
    assert_eq!(sources[0].value, Source::Net("173.208.194.205/32".parse().unwrap()));
}

#[test]
fn zones_are_written_as_endpoints_are() {
    let net = |text: &str| Place::Net(text.parse().unwrap());
    let zone = |name: &str| Place::Zone(name.into());
    let cases = [
        ("internet", Place::Internet, None, None),
        ("lan", Place::Lan(None), None, None),
        ("lan:22", Place::Lan(None), Some((22, 22)), None),
        ("lan:eth1:22", Place::Lan(Some("eth1".into())), Some((22, 22)), None),
        ("host:1-1024/udp", Place::Host, Some((1, 1024)), Some(17)),
        ("host/udp", Place::Host, None, Some(17)),
        ("net:80", Place::Network("80".into()), None, None),
        ("net:a:80", Place::Network("a".into()), Some((80, 80)), None),
        ("net:*:22", Place::EveryNetwork, Some((22, 22)), None),
        ("iface:wg0", Place::Interface("wg0".into()), None, None),
        ("container:web:8080/sctp", Place::Container("web".into()), Some((8080, 8080)), Some(132)),
        ("10.1.2.3", net("10.1.2.3/32"), None, None),
        ("10.1.2.3:53/udp", net("10.1.2.3/32"), Some((53, 53)), Some(17)),
        ("10.1.2.3/8", net("10.0.0.0/8"), None, None),
        ("10.0.0.0/8:443/tcp", net("10.0.0.0/8"), Some((443, 443)), Some(6)),
        ("2001:db8::/32", net("2001:db8::/32"), None, None),
        ("2001:db8::1", net("2001:db8::1/128"), None, None),
        ("[2001:db8::1]:443", net("2001:db8::1/128"), Some((443, 443)), None),
        ("[2001:db8::/32]:443/tcp", net("2001:db8::/32"), Some((443, 443)), Some(6)),
        ("[2001:db8::/32]", net("2001:db8::/32"), None, None),
        ("office", zone("office"), None, None),
        ("office:443", zone("office"), Some((443, 443)), None),
    ];
    for (text, place, ports, protocol) in cases {
        let read = parse_expression(text).unwrap_or_else(|found| panic!("{text}: {found:?}"));
        assert_eq!(read.place, place, "{text}");
        assert_eq!(read.ports, ports, "{text}");
        assert_eq!(read.protocol, protocol.map(Protocol::Number), "{text}");
    }
}

/// One fault a file: its code, what is underlined, and the help.
#[test]
fn every_mistake_is_an_error_at_its_place() {
    let entry = |lines: &str| format!("version = 1\n[[deny]]\nfrom = \"internet\"\n{lines}\n");
    let deny = |lines: &str| entry(&format!("lands = \"host\"\n{lines}"));
    let cases = [
        ("[zones.a]\nnets = []\n".to_owned(), "missing-key", "[zones.a]", Some("write `version = 1` as its first line")),
        ("version = 2\n".to_owned(), "unexpected-value", "2", None),
        ("version = 1\n[[alow]]\n".to_owned(), "unknown-key", "alow", Some("did you mean `allow`?")),
        ("version = 1\n[deny]\nfrom = \"host\"\n".to_owned(), "unexpected-value", "[deny]", Some("write `[[deny]]` with two brackets")),
        (entry(""), "missing-key", "[[deny]]", None),
        (deny("excpet = []"), "unknown-key", "excpet", Some("did you mean `except`?")),
        (deny("to = \"host\""), "unknown-key", "to", Some("`lands` says where packets must not arrive, however they are addressed")),
        (deny("family = \"ipv5\""), "unexpected-value", "\"ipv5\"", Some("did you mean `ipv4`?")),
        (deny("proto = \"tpc\""), "invalid-protocol", "\"tpc\"", Some("did you mean `tcp`?")),
        (deny("ports = 0"), "invalid-port", "0", None),
        (deny("ports = [80, \"90-80\"]"), "invalid-port", "\"90-80\"", None),
        (deny("ports = 70000"), "invalid-port", "70000", None),
        (deny("vacuous = true"), "unexpected-value", "true", None),
        (deny("given = { donw = [\"wg0\"] }"), "unknown-key", "donw", Some("did you mean `down`?")),
        (deny("given = 7"), "unexpected-value", "7", None),
        (deny("given = { ip_forward = 1 }"), "unexpected-value", "1", None),
        (deny("given = { ipv6 = \"yes\" }"), "unexpected-value", "\"yes\"", None),
        (deny("given = { restarted = 7 }"), "unexpected-value", "7", None),
        (
            deny("given = { restarted = \"web\" }"),
            "unexpected-value",
            "\"web\"",
            Some("a container that was restarted is `moved`"),
        ),
        (deny("given = { moved = { web = \"x\" } }"), "invalid-address", "\"x\"", None),
        (deny("except = [7]"), "unexpected-value", "7", None),
        (deny("name = \"\""), "unexpected-value", "\"\"", None),
        (entry("lands = \"host:0\""), "invalid-port", "0", None),
        (entry("lands = \"host:80/tpc\""), "invalid-protocol", "tpc", Some("did you mean `tcp`?")),
        (entry("lands = \"host:80/icmp\""), "no-ports", ":80/icmp", None),
        (entry("lands = \"10.0.0/8\""), "invalid-address", "10.0.0/8", None),
        (entry("lands = \"net:\""), "missing-endpoint", "net:", None),
        (entry("lands = []"), "unexpected-value", "[]", None),
        (entry("lands = \"host:80\"\nports = 81"), "contradiction", "81", Some("write the port once")),
        (entry("lands = \"host/udp\"\nproto = \"tcp\""), "contradiction", "\"tcp\"", Some("write the protocol once")),
        (deny("proto = \"icmp\"\nports = 80"), "no-ports", "\"icmp\"", None),
        ("version = 1\n[[isolate]]\nzones = [\"host\"]\n".to_owned(), "unexpected-value", "[\"host\"]", None),
        ("version = 1\n[[isolate]]\nzones = [\"host\", \"lan:eth1:22\"]\n".to_owned(), "unexpected-value", ":22", Some("`ports` and `proto` say which packets the entry is about")),
        ("version = 1\n[[egress]]\nfrom = \"host\"\nto = \"internet\"\nsource = \"unchangd\"\n".to_owned(), "invalid-address", "\"unchangd\"", Some("did you mean `unchanged`?")),
        ("version = 1\n[[suppress]]\nname = \"a\"\n".to_owned(), "missing-key", "[[suppress]]", None),
        ("version = 1\n[[suppress]]\nreason = \"a\"\n".to_owned(), "missing-key", "[[suppress]]", None),
        ("version = 1\n[[suppress]]\nname = \"a\"\nreason = \"b\"\nuntil = \"soon\"\n".to_owned(), "unexpected-value", "\"soon\"", None),
        ("version = 1\n[[isolate]]\nname = \"a\"\nzones = [\"host\", \"lan\"]\n[[isolate]]\nname = 'a'\nzones = [\"host\", \"lan\"]\n".to_owned(), "duplicate-name", "'a'", None),
    ];
    for (text, code, place, help) in cases {
        let (_, complaints) = parse(&text);
        let [found] = complaints.as_slice() else { panic!("{text}: {complaints:#?}") };
        assert_eq!(found.severity, Severity::Error, "{text}");
        assert_eq!(found.code, code, "{text}: {}", found.message);
        assert_eq!(found.span.slice(&text), place, "{text}");
        assert_eq!(found.help.as_deref(), help, "{text}");
    }
}

#[test]
fn all_faults_come_out_of_one_run() {
    let text = "version = 1\n[[deny]]\nform = \"internet\"\nlands = \"10.0.0\"\nfamily = 4\n[[allow]]\nfrom = \"host\"\n";
    let (_, complaints) = parse(text);
    let codes: Vec<&str> = complaints.iter().map(|found| found.code).collect();
    assert_eq!(
        codes,
        ["missing-key", "unknown-key", "invalid-address", "unexpected-value", "missing-key"]
    );
}

#[test]
fn what_is_given_is_read_in_short_and_in_full() {
    let (short, complaints) = parse_given("down=wg0");
    assert_eq!(complaints, []);
    assert_eq!(short.down[0].value, "wg0");
    let (full, complaints) = parse_given("down = [\"wg0\", \"eth1\"]");
    assert_eq!(complaints, []);
    assert_eq!(full.down.len(), 2);
    assert_eq!(parse_given("ip_forward=off").0.ip_forward.unwrap().value, Switch::Off);
    assert_eq!(parse_given("ipv6_forward=on").0.ipv6_forward.unwrap().value, Switch::On);
    assert_eq!(parse_given("ip_forward=true").0.ip_forward.unwrap().value, Switch::On);
    assert!(parse_given("ipv6=on").0.ipv6.is_some());
    assert_eq!(parse_given("ipv6=off").1[0].code, "unexpected-value");
    assert_eq!(parse_given("restarted=dockerd").0.restarted[0].value, Daemon::Dockerd);
    assert_eq!(parse_given("restarted=docker").0.restarted[0].value, Daemon::Dockerd);
    assert_eq!(parse_given("restarted=web").1[0].code, "unexpected-value");
    assert_eq!(parse_given("gone=default").0.gone[0].value, Destination::Default);
    let (moved, complaints) = parse_given("moved = { web = \"172.18.0.9\" }");
    assert_eq!(complaints, []);
    assert_eq!(moved.moved[0].0.value, "web");
    assert_eq!(parse_given("donw=wg0").1[0].code, "unknown-key");
    assert!(!parse_given("down").1.is_empty());
}

#[test]
fn any_text_is_read_without_a_panic() {
    for end in 0..SAMPLE.len() {
        if let Some(text) = SAMPLE.get(..end) {
            let _ = parse(text);
            let _ = parse(&text.replace('"', "'"));
        }
    }
    for text in ["", ":", "[", "[]", "[]:", "/", "net:", "a:b:c", "::", "[::/0]:1", "lan:", "é:é/é"]
    {
        let _ = parse_expression(text);
    }
}
