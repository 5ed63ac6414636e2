use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::build;

use super::*;

mod fixes;
mod stories;

fn findings(case: &str) -> Vec<Finding> {
    let case = Case::read(&cases_dir().join(case)).unwrap();
    audit(&build::load(&case.texts(), &[]).system, Owners::Hand)
}

/// Hosts that somebody edited: the finding that their story is about.
#[test]
fn the_hand_edits_are_found() {
    for (case, code, place) in [
        ("02-host-binding-ipv4", "egress-source-ambiguous", "iptables-save:41"),
        ("03-snat-hand-edit", "masquerade-too-broad", "iptables-save:41"),
        ("03d-snat-appended", "snat-shadowed-by-masquerade", "iptables-save:46"),
        ("05a-lan-before-forward-accept", "direct-route-exposure", ""),
        ("05b-lan-no-masquerade", "masquerade-missing", ""),
        ("05b-lan-no-masquerade-forward-accept", "masquerade-missing", ""),
        ("05b-lan-no-masquerade-forward-accept", "direct-route-exposure", ""),
        ("05c-lan-masquerade-except-lan", "masquerade-missing", ""),
        ("06a-iptables-false", "container-manager-chains-missing", ""),
        ("06a-iptables-false", "masquerade-missing", ""),
        ("06a-iptables-false", "direct-route-exposure", ""),
        ("06b-iptables-false-snat", "masquerade-too-broad", "iptables-save:7"),
        ("07a-two-uplinks-main-only", "asymmetric-reply-route", ""),
        ("07b-two-uplinks-rule-from", "asymmetric-reply-route", ""),
        ("07e-two-uplinks-connmark-rpfilter1", "asymmetric-reply-route", ""),
        ("08a-ufw-docker", "published-port-bypasses-input", ""),
        ("08a-ufw-docker", "loopback-publish-reachable", ""),
        ("08b-ufw-deny-8080", "published-port-bypasses-input", ""),
        ("09-no-userland-proxy", "loopback-publish-reachable", ""),
        ("10-masquerade-off-host-ipv4", "masquerade-missing", ""),
        ("14a-docker-user-wrong-port", "docker-user-host-port-after-dnat", "iptables-save:23"),
        ("14a-docker-user-wrong-port", "sensitive-port-world-reachable", ""),
        ("15a-flushed-nat", "container-manager-chains-missing", ""),
        ("15a-flushed-nat", "masquerade-missing", ""),
        ("17a-hand-forwards", "dnat-captures-transit", "iptables-save:34"),
        ("17a-hand-forwards", "dnat-captures-transit", "iptables-save:35"),
        ("17c-notrack", "route-localnet-exposure", ""),
        ("17g-masquerade-route-src", "egress-source-ambiguous", "iptables-save:53"),
        ("17k-snat-ranges", "volatile-match", "iptables-save:54"),
        ("19e-docker29-portmap-natunprot", "direct-route-exposure", ""),
    ] {
        let read = Case::read(&cases_dir().join(case)).unwrap();
        let system = build::load(&read.texts(), &[]).system;
        let found = audit(&system, Owners::Hand);
        let places = found.iter().map(|finding| {
            let rule = finding.rule.and_then(|id| system.rules.rule(id));
            (finding.code, rule.map_or_else(String::new, |rule| system.rules.place(rule)))
        });
        let places: Vec<(&str, String)> = places.collect();
        assert!(places.contains(&(code, place.to_owned())), "{case}: {code} not in {places:?}");
    }
}

/// What two uplinks are told to do is done side by side.
#[test]
fn uplinks_share_neither_marks_nor_tables() {
    let found = findings("07b-two-uplinks-rule-from");
    let fixes: Vec<&Vec<String>> = found.iter().map(|finding| &finding.fix).collect();
    assert_eq!(fixes.len(), 2);
    let both = fixes.iter().all(|fix| fix.len() == 5);
    assert!(both && fixes[0].iter().all(|command| !fixes[1].contains(command)), "{fixes:?}");
    let last = |index: usize| fixes[index][4].clone();
    assert_eq!(last(0), "ip rule add fwmark 0x100/0x100 lookup 200 priority 90");
    assert_eq!(last(1), "ip rule add fwmark 0x200/0x200 lookup 201 priority 90");
}

/// Hosts as Docker leaves them: no error, but for what is really open.
#[test]
fn clean_hosts_raise_no_alarm() {
    for (case, really_open) in [
        ("01-default-bridge", &[][..]),
        ("02-host-binding-ipv4", &[]),
        ("03c-snat-hand-edit-correct", &[]),
        ("04-networks", &[]),
        // Observed: a neighbour gets to the container behind 127.0.0.1:8090 by its own address.
        ("09-no-userland-proxy", &["loopback-publish-reachable"]),
        ("11a-ipv6-ip6tables", &[]),
        ("13-legacy-backend", &[]),
        ("19a-docker29-portmap", &[]),
    ] {
        let found = findings(case);
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<&str> = errors.map(|finding| finding.code).collect();
        assert_eq!(errors, really_open, "{case}");
    }
}

/// Nothing is said to break without a packet that shows it, or a rule or network to look at.
#[test]
fn every_finding_says_what_and_why() {
    for case in
        Case::read_all(&cases_dir()).unwrap().iter().filter(|case| !case.name.starts_with("12-"))
    {
        for finding in findings(&case.name) {
            assert!(codes().contains(&finding.code));
            for text in [&finding.message, &finding.effect, &finding.help] {
                assert!(!text.is_empty() && !text.contains("  "), "{finding:?}");
            }
            let structural = [
                "subnet-overlap",
                "dnat-dead-target",
                "snat-address-not-local",
                "container-manager-chains-missing",
                "mixed-iptables-backends",
            ];
            assert!(
                finding.severity < Severity::Error
                    || finding.witness.is_some()
                    || structural.contains(&finding.code),
                "{} {}",
                case.name,
                finding.code,
            );
        }
    }
}

/// What is found on a host of the corpus after some of its text was replaced; an empty `from`
/// appends to the part, or makes it.
fn after(case: &str, edits: &[(&str, &str, &str)]) -> Vec<&'static str> {
    let parts = edited(case, edits);
    let found = fixes::audited(&parts, "").unwrap_or_else(|error| panic!("{error}"));
    let wrong = fixes::faults(&format!("{case} {edits:?}"), &parts, &found, &mut 0);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    found.iter().map(|finding| finding.code).collect()
}

/// The parts of a host of the corpus after some of its text was replaced.
fn edited(case: &str, edits: &[(&str, &str, &str)]) -> Vec<(String, String)> {
    let mut case = Case::read(&cases_dir().join(case)).unwrap();
    for (part, from, to) in edits {
        let known = case.parts.iter_mut().find(|(name, _)| name == part);
        match (known, from.is_empty()) {
            (Some((_, text)), false) => {
                assert!(text.contains(from), "{part} has no `{from}`");
                *text = text.replacen(from, to, 1);
            }
            (Some((_, text)), true) => text.push_str(to),
            (None, _) => case.parts.push(((*part).to_owned(), (*to).to_owned())),
        }
    }
    case.parts
}

const RULES: &str = "iptables-save";
const USER: &str = "[18:1186] -A DOCKER-USER -j RETURN\n";
const HOOK: &str = "[18:1186] -A FORWARD -j DOCKER-USER\n";
const ISOLATION: &str = "[18:1186] -A FORWARD -j DOCKER-ISOLATION-STAGE-1\n";
const BACK: &str =
    "[8:537] -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
const DNAT: &str = "[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8082 -j DNAT --to-destination 172.17.0.2:82\n";
const HAIRPIN: &str = "[0:0] -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 82 -j MASQUERADE\n";
const RAW: &str = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP\nCOMMIT\n";
const CLAMP: &str = "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A FORWARD -o eth0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu\nCOMMIT\n";
const METADATA: &str = "-A OUTPUT -d 169.254.169.254/32 -m owner ! --uid-owner 0 -j DROP";
const INPUT: &str = ":DOCKER - [0:0]\n:DOCKER-ISOLATION-STAGE-1 - [0:0]\n";

/// One edit that the lint is about, and one like it that is fine.
#[test]
fn each_lint_sees_its_defect_and_no_other() {
    let fronted = format!("-A DOCKER-USER -i eth0 -o docker0 -j DROP\n{USER}");
    let behind = format!("{USER}-A DOCKER-USER -i eth0 -s 198.51.100.9/32 -j DROP\n");
    let hooked_late = "-A FORWARD -i eth0 -o docker0 -j ACCEPT\n".to_owned() + HOOK;
    let rule = |before: &str, line: &str| format!("{line}\n{before}");
    let chain = |line: &str| format!("{INPUT}:hand - [0:0]\n:f2b-web - [0:0]\n{line}");
    let tailscale = format!(
        "{INPUT}:ts-input - [0:0]\n-A INPUT -j ts-input\n-A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP\n"
    );
    let node_port = "-A DOCKER -j KUBE-NODEPORTS\n\
        -A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j DNAT --to-destination 172.17.0.2:82\n";
    let v4_closed = ":INPUT DROP [0:0]\n";
    for (code, bad, good) in [
        ("docker-user-rule-after-return", vec![(RULES, USER, behind.clone())], vec![(RULES, USER, fronted.clone())]),
        (
            "docker-user-not-hooked",
            vec![(RULES, USER, fronted.clone()), (RULES, HOOK, hooked_late)],
            vec![(RULES, USER, fronted.clone())],
        ),
        (
            "docker-user-not-hooked",
            vec![(RULES, USER, fronted.clone()), (RULES, HOOK, String::new())],
            vec![(RULES, HOOK, String::new())],
        ),
        (
            "snat-address-not-local",
            vec![(RULES, HAIRPIN, rule(HAIRPIN, "-A POSTROUTING -s 172.17.0.3/32 -o eth0 -j SNAT --to-source 203.0.113.99"))],
            vec![(RULES, HAIRPIN, rule(HAIRPIN, "-A POSTROUTING -s 172.17.0.3/32 -o eth0 -j SNAT --to-source 203.0.113.10"))],
        ),
        (
            "dnat-dead-target",
            vec![(RULES, DNAT, rule(DNAT, "-A PREROUTING -i eth0 -p tcp -m tcp --dport 9000 -j DNAT --to-destination 172.17.0.77:80"))],
            vec![(RULES, DNAT, rule(DNAT, "-A PREROUTING -i eth0 -p tcp -m tcp --dport 9000 -j DNAT --to-destination 172.17.0.3:80"))],
        ),
        (
            "dnat-shadowed-duplicate",
            vec![(RULES, DNAT, format!("{DNAT}{}", DNAT.replace("172.17.0.2:82", "172.17.0.3:82")))],
            vec![(RULES, DNAT, format!("{DNAT}{}", DNAT.replace("8082", "8083").replace("172.17.0.2:82", "172.17.0.3:82")))],
        ),
        ("reply-path-dropped", vec![(RULES, BACK, String::new())], vec![(RULES, BACK, BACK.to_owned())]),
        (
            "stale-container-rule",
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -s 172.17.0.77/32 -j DROP"))],
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -s 172.17.0.3/32 -j DROP"))],
        ),
        (
            "stale-container-rule",
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -i br-0123456789ab -j DROP"))],
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -i docker0 -d 10.9.9.9/32 -j DROP"))],
        ),
        (
            "interface-never-matches",
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -i eth9 -j DROP"))],
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -i eth0 -p tcp -m tcp --dport 25 -j DROP"))],
        ),
        (
            "interface-never-matches",
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -i eth0:1 -j DROP"))],
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -i eth+ -p tcp -m tcp --dport 25 -j DROP"))],
        ),
        (
            "interface-never-matches",
            vec![(RULES, INPUT, chain("-A INPUT -j hand\n-A hand -o eth0 -j DROP\n"))],
            vec![(RULES, INPUT, chain("-A FORWARD -j hand\n-A hand -o eth0 -p tcp -m tcp --dport 25 -j DROP\n"))],
        ),
        (
            "unreachable-rule",
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -p tcp -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 25 -j DROP"))],
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -p tcp -m tcp --dport 25 -j DROP\n-A INPUT -p tcp -j ACCEPT"))],
        ),
        (
            "duplicate-rule",
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -p tcp -m tcp --dport 25 -j LOG\n-A INPUT -p tcp -m tcp --dport 25 -j LOG"))],
            vec![(RULES, ISOLATION, rule(ISOLATION, "-A INPUT -p tcp -m tcp --dport 25 -j LOG\n-A INPUT -p tcp -m tcp --dport 26 -j LOG"))],
        ),
        (
            "mixed-iptables-backends",
            vec![("iptables-legacy-save", "", "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n".to_owned())],
            vec![("iptables-legacy-save", "", "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n".to_owned())],
        ),
        (
            "ban-chain-ineffective",
            vec![(RULES, INPUT, chain("-A INPUT -p tcp -m tcp --dport 8080 -j f2b-web\n-A f2b-web -s 198.51.100.9/32 -j DROP\n"))],
            vec![(RULES, INPUT, chain("-A INPUT -p tcp -m tcp --dport 22 -j f2b-web\n-A f2b-web -s 198.51.100.9/32 -j DROP\n"))],
        ),
        (
            "published-port-bypasses-input",
            vec![(RULES, ":INPUT ACCEPT [0:0]\n", v4_closed.to_owned())],
            vec![(RULES, ":INPUT ACCEPT [0:0]\n", ":INPUT ACCEPT [1:60]\n".to_owned())],
        ),
        (
            "ip-forward-disabled",
            vec![("sysctl", "net.ipv4.conf.docker0.forwarding = 1", "net.ipv4.conf.docker0.forwarding = 0".to_owned())],
            vec![("sysctl", "net.ipv4.ip_forward = 1", "net.ipv4.ip_forward = 0".to_owned())],
        ),
        (
            "mark-bit-collision",
            vec![(RULES, INPUT, format!("{INPUT}:KUBE-MARK - [0:0]\n-A INPUT -j KUBE-MARK\n-A KUBE-MARK -j MARK --set-xmark 0x4000/0x4000\n-A INPUT -j MARK --set-xmark 0x4000/0xffff\n-A INPUT -m mark --mark 0x4000/0x4000 -j ACCEPT\n"))],
            vec![(RULES, INPUT, format!("{INPUT}:KUBE-MARK - [0:0]\n-A INPUT -j KUBE-MARK\n-A KUBE-MARK -j MARK --set-xmark 0x4000/0x4000\n-A INPUT -j MARK --set-xmark 0x1/0x1\n-A INPUT -m mark --mark 0x4000/0x4000 -j ACCEPT\n"))],
        ),
        (
            "raw-drop-overrides-docker-user",
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -i eth0 -d 172.17.0.2/32 -j ACCEPT")), (RULES, "", RAW.to_owned())],
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -i eth0 -d 172.17.0.2/32 -j ACCEPT"))],
        ),
        (
            "metadata-reachable",
            vec![(RULES, ISOLATION, rule(ISOLATION, METADATA))],
            vec![
                (RULES, ISOLATION, rule(ISOLATION, METADATA)),
                (RULES, USER, rule(USER, "-A DOCKER-USER -d 169.254.169.254/32 -j DROP")),
            ],
        ),
        (
            "cgnat-drop-conflict",
            vec![
                (RULES, INPUT, tailscale.clone()),
                ("ip-route.json", "[{", r#"[{"dst":"100.100.2.0/24","gateway":"203.0.113.1","dev":"eth0","flags":[]},{"#.to_owned()),
            ],
            vec![(RULES, INPUT, tailscale.clone())],
        ),
        (
            "nodeport-bypasses-host-firewall",
            vec![
                (RULES, "*nat\n", "*nat\n:KUBE-NODEPORTS - [0:0]\n".to_owned()),
                (RULES, DNAT, format!("{DNAT}{node_port}")),
                (RULES, ":INPUT ACCEPT [0:0]\n", v4_closed.to_owned()),
            ],
            vec![
                (RULES, "*nat\n", "*nat\n:KUBE-NODEPORTS - [0:0]\n".to_owned()),
                (RULES, DNAT, format!("{DNAT}{node_port}")),
            ],
        ),
        (
            "bridge-nf-surprise",
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -p tcp -m tcp --dport 80 -j DROP"))],
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 80 -j DROP"))],
        ),
        (
            "bridge-nf-surprise",
            vec![
                (RULES, USER, rule(USER, "-A DOCKER-USER -i docker0 -o docker0 -j DROP")),
                ("sysctl", "net.bridge.bridge-nf-call-iptables = 1", "net.bridge.bridge-nf-call-iptables = 0".to_owned()),
            ],
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -i docker0 -o docker0 -j DROP"))],
        ),
        (
            "subnet-overlap",
            vec![("ip-route.json", "[{", r#"[{"dst":"172.17.8.0/24","gateway":"203.0.113.1","dev":"eth0","flags":[]},{"#.to_owned())],
            vec![("ip-route.json", "[{", r#"[{"dst":"172.27.8.0/24","gateway":"203.0.113.1","dev":"eth0","flags":[]},{"#.to_owned())],
        ),
        (
            "mtu-mismatch-no-mss-clamp",
            vec![("ip-addr.json", "\"mtu\":1500,", "\"mtu\":1420,".to_owned())],
            vec![
                ("ip-addr.json", "\"mtu\":1500,", "\"mtu\":1420,".to_owned()),
                (RULES, "", CLAMP.to_owned()),
            ],
        ),
        (
            "unsupported-match",
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -m bpf --bytecode \"1,6 0 0 0\" -j DROP"))],
            vec![(RULES, USER, rule(USER, "-A DOCKER-USER -m limit --limit 3/sec -j LOG"))],
        ),
    ] {
        for (edits, expected) in [(bad, true), (good, false)] {
            let edits: Vec<(&str, &str, &str)> =
                edits.iter().map(|(part, from, to)| (*part, *from, to.as_str())).collect();
            let found = after("01-default-bridge", &edits);
            assert_eq!(found.contains(&code), expected, "{code} in {found:?} after {edits:?}");
        }
    }
}

/// A tunnel that containers leave by, and a bridge of guests.
#[test]
fn tunnels_and_other_bridges() {
    let link = |name: &str, kind: &str, address: &str| {
        format!(
            r#"[{{"ifindex":90,"ifname":"{name}","flags":["UP","LOWER_UP"],"operstate":"UP","link_type":"{kind}","linkinfo":{{"info_kind":"{}"}},"addr_info":[{{"family":"inet","local":"{address}","prefixlen":24,"scope":"global"}}]}},{{"#,
            if kind == "none" { "wireguard" } else { "bridge" },
        )
    };
    let tunnel = link("wg0", "none", "10.66.0.2");
    let by_tunnel = r#"[{"dst":"0.0.0.0/1","dev":"wg0","scope":"link","flags":[]},{"#;
    let masquerade = "-A POSTROUTING -o wg0 -j MASQUERADE\n".to_owned() + HAIRPIN;
    let leak = [
        ("ip-addr.json", "[{", tunnel.as_str()),
        ("ip-route.json", "[{", by_tunnel),
        (RULES, HAIRPIN, masquerade.as_str()),
    ];
    assert!(after("01-default-bridge", &leak).contains(&"killswitch-leak"));
    let guarded =
        format!("-A DOCKER-USER -i docker0 ! -o wg0 -m conntrack --ctstate NEW -j DROP\n{USER}");
    let guarded = [leak[0], leak[1], leak[2], (RULES, USER, guarded.as_str())];
    assert!(!after("01-default-bridge", &guarded).contains(&"killswitch-leak"));

    let guests = link("virbr0", "ether", "192.168.122.1");
    let on_link = r#"[{"dst":"192.168.122.0/24","dev":"virbr0","protocol":"kernel","scope":"link","prefsrc":"192.168.122.1","flags":[]},{"#;
    let blocked = [("ip-addr.json", "[{", guests.as_str()), ("ip-route.json", "[{", on_link)];
    assert!(after("01-default-bridge", &blocked).contains(&"forward-drop-blocks-other-bridge"));
    let accepted = format!("-A DOCKER-USER -i virbr0 -j ACCEPT\n{USER}");
    let accepted = [blocked[0], blocked[1], (RULES, USER, accepted.as_str())];
    assert!(!after("01-default-bridge", &accepted).contains(&"forward-drop-blocks-other-bridge"));
}

/// The rules of IPv4 closed, those of IPv6 not.
#[test]
fn open_for_one_family_only() {
    let closed = (RULES, ":INPUT ACCEPT", ":INPUT DROP");
    assert!(after("11a-ipv6-ip6tables", &[closed]).contains(&"ipv6-policy-mismatch"));
    let both = [closed, ("ip6tables-save", ":INPUT ACCEPT", ":INPUT DROP")];
    assert!(!after("11a-ipv6-ip6tables", &both).contains(&"ipv6-policy-mismatch"));
}

const MADE: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 203.0.113.2/24 scope global eth0
    inet6 2001:db8:1::2/64 scope global
    inet6 fe80::2/64 scope link
3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 10.0.1.1/24 scope global eth1
    inet6 fd01::1/64 scope global
    inet6 fe80::3/64 scope link
4: br-0123456789ab: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 172.18.0.1/16 scope global br-0123456789ab
    inet6 fe80::4/64 scope link
";

/// The codes of what is found on a router, and about which rule of its source.
fn found_on_router(part: &str, text: &str) -> Vec<(&'static str, String)> {
    let parts = [
        ("ip-addr", MADE),
        ("ip-route", "default via 203.0.113.1 dev eth0\n"),
        ("ip6-route", "default via 2001:db8:1::1 dev eth0\n"),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"),
        (part, text),
    ];
    let texts = parts.map(|(name, text)| build::Text { name, text });
    let system = build::load(&texts, &[]).system;
    let place = |finding: &Finding| {
        let rule = finding.rule.and_then(|id| system.rules.rule(id));
        rule.map_or_else(String::new, |rule| system.rules.place(rule))
    };
    audit(&system, Owners::Hand).iter().map(|own| (own.code, place(own))).collect()
}

/// An nft table of both families is one table: what one of them needs is no mistake in the other.
#[test]
fn rules_of_both_families_are_judged_together() {
    let table = |name: &str| {
        let rule = |handle: u32, statements: &str| {
            format!(
                r#"{{"rule": {{"family": "inet", "table": "{name}", "chain": "in", "handle": {handle}, "expr": [{statements}]}}}}"#
            )
        };
        let dropped = r#"{"drop": null}"#;
        let asks = |protocol: &str, field: &str, value: &str| {
            format!(
                r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "{protocol}", "field": "{field}"}}}}, "right": {value}}}}}, {dropped}"#
            )
        };
        let rules = [
            rule(2, &asks("icmpv6", "type", r#""echo-request""#)),
            rule(3, &asks("ip", "saddr", r#""192.0.2.1""#)),
            rule(4, dropped),
            rule(5, &asks("tcp", "dport", "22")),
        ];
        format!(
            r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "{name}", "name": "in", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}}}}, {}]}}"#,
            rules.join(", ")
        )
    };
    let unreachable = |name: &str| {
        let mut found = found_on_router("nft-ruleset.json", &table(name));
        found.retain(|(code, _)| *code == "unreachable-rule");
        found
    };
    // Said once, of the rule that neither family gets to.
    assert_eq!(unreachable("own"), [("unreachable-rule", "nft-ruleset.json:handle 5".to_owned())]);
    // What a program keeps is its own business.
    assert_eq!(unreachable("firewalld"), []);
}

#[test]
fn what_is_forwarded_came_in_somewhere_as_it_leaves() {
    let rules = |table: &str, base: &str| {
        format!("*{table}\n:{base} ACCEPT [0:0]\n-A {base} -j hand\n-A hand -i eth1 -j MARK --set-mark 1\nCOMMIT\n")
            .replacen(&format!("-A {base}"), &format!(":hand - [0:0]\n-A {base}"), 1)
    };
    let never = |table: &str, base: &str| {
        let found = found_on_router("iptables-save", &rules(table, base));
        found.iter().any(|(code, _)| *code == "interface-never-matches")
    };
    assert!(!never("mangle", "POSTROUTING"));
    assert!(never("mangle", "OUTPUT"));
}

#[test]
fn links_have_addresses_of_their_own() {
    let found = found_on_router("iptables-save", "");
    assert!(!found.iter().any(|(code, _)| *code == "subnet-overlap"), "{found:?}");
}
