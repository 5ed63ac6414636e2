use super::*;

fn plan() -> Plan {
    let family = Family::Ipv4;
    let holder = Holder::Iptables(Backend::Nft, TableName::Nat);
    let replace = Edit {
        family,
        holder,
        chain: "POSTROUTING".into(),
        op: Op::Replace,
        position: Some(1),
        rule: "-A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j SNAT --to-source 203.0.113.5".into(),
        replaces: Some("-A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE".into()),
        because: "`net` has to leave as \"203.0.113.5\"".into(),
    };
    let own = Edit {
        family: Family::Ipv6,
        holder: Holder::Own,
        chain: OWN_CHAIN.into(),
        op: Op::Append,
        position: None,
        rule: "ip6 saddr fd00::/64 oifname \"eth0\" counter snat to 2001:db8::5".into(),
        replaces: None,
        because: String::new(),
    };
    let backend = Backend::Nft;
    let digest = crate::digest("", family, backend);
    let mut plan = Plan::new(vec![replace, own], vec![Analysed { family, backend, digest }]);
    plan.repairs.push("net leaves as .5".into());
    plan.policy = Some(PolicyText { name: "nattrace.toml".into(), text: "version = 1\n".into() });
    let flow = serde_json::json!({"src": "internet", "dst": "host:22"});
    plan.must_hold.push(MustHold {
        name: "ssh".into(),
        flow: flow.as_object().unwrap().clone(),
        outcome: "connects".into(),
    });
    plan
}

#[test]
fn what_is_written_is_read() {
    let plan = plan();
    assert_eq!(read_plan(&plan.to_json()).unwrap(), plan);
}

#[test]
fn the_name_follows_from_the_edits() {
    let same = plan();
    assert_eq!(same.id, plan().id);
    assert_eq!(same.id.len(), 8);
    let other = Plan::new(same.edits.iter().take(1).cloned().collect(), same.analysed.clone());
    assert_ne!(other.id, same.id);
}

/// The one fault of a plan in which a text is replaced, and what it underlines.
#[track_caller]
fn fault(from: &str, to: &str) -> (String, String, Option<String>) {
    let text = plan().to_json();
    assert!(text.contains(from), "{from} is not in {text}");
    let text = text.replacen(from, to, 1);
    let faults = read_plan(&text).unwrap_err();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!(fault.severity, nattrace_parser::Severity::Error);
    (fault.message.clone(), text[fault.span.range()].to_owned(), fault.help.clone())
}

#[test]
fn every_fault_has_its_place() {
    let cases: &[(&str, &str, &str, &str)] = &[
        (
            "nattrace/plan/1",
            "nattrace/plan/2",
            "expected `nattrace/plan/1`, found `nattrace/plan/2`",
            "\"nattrace/plan/2\"",
        ),
        (
            "\"nat\"",
            "\"nta\"",
            "expected `raw`, `mangle`, `nat`, `filter` or `security`, found `nta`",
            "\"nta\"",
        ),
        (
            "\"position\": 1",
            "\"position\": 0",
            "expected the number of a rule, from 1, found `0`",
            "0",
        ),
        (
            "\"position\": 1",
            "\"position\": -7",
            "expected the number of a rule, from 1, found `-7`",
            "-7",
        ),
        (
            "\"because\"",
            "\"becuase\"",
            "unknown key `becuase`",
            "\"`net` has to leave as \\\"203.0.113.5\\\"\"",
        ),
        ("! -o br0 -j SNAT", "! -y br0 -j SNAT", "unknown option `-y`", "-y"),
        (
            "\"rule\": \"-A POSTROUTING",
            "\"rule\": \"-A PREROUTING",
            "expected one rule that starts with `-A POSTROUTING `, found `-A PREROUTING -s 172.18.0.0/16 ! -o br0 …`",
            "\"-A PREROUTING -s 172.18.0.0/16 ! -o br0 -j SNAT --to-source 203.0.113.5\"",
        ),
        (
            "\"postrouting\"",
            "\"prerouting\"",
            "expected `postrouting`, the chain of `nattrace`, found `prerouting`",
            "\"prerouting\"",
        ),
        (
            "\"connects\"",
            "\"conects\"",
            "expected `connects`, `refused`, `unreachable` or `timeout`, found `conects`",
            "\"conects\"",
        ),
        (
            "counter snat to 2001:db8::5",
            "snat to { ::5 }",
            "expected one rule as nft prints it, without sets and comments, found `ip6 saddr fd00::/64 oifname \\\"eth0\\\" sna…`",
            "\"ip6 saddr fd00::/64 oifname \\\"eth0\\\" snat to { ::5 }\"",
        ),
    ];
    for (from, to, message, place) in cases {
        let found = fault(from, to);
        assert_eq!((found.0.as_str(), found.1.as_str()), (*message, *place), "{from} -> {to}");
    }
    let text = plan().to_json();
    let cut = &text[..text.len() / 2];
    assert_eq!(read_plan(cut).unwrap_err().len(), 1);
    for other in ["", "{}", "[]", "null", "3", "{\"schema\": 3}", "-A INPUT -j DROP"] {
        assert!(!read_plan(other).unwrap_err().is_empty(), "{other}");
    }
}

#[test]
fn a_near_name_is_suggested() {
    assert_eq!(fault("\"replace\"", "\"repalce\"").2.as_deref(), Some("did you mean `replace`?"));
    assert_eq!(fault("\"because\"", "\"becuase\"").2.as_deref(), Some("did you mean `because`?"));
}

#[test]
fn any_text_is_a_plan_or_has_faults_within_it() {
    let text = plan().to_json();
    let mut draw = fastrand::Rng::with_seed(3);
    for round in 0..3_000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..draw.usize(1..4) {
            let place = draw.usize(0..bytes.len());
            match draw.u32(0..4) {
                0 => bytes.truncate(place.max(1)),
                1 => bytes[place] = draw.u8(..),
                2 => bytes[place] = b"{}[]\",:0-"[draw.usize(0..9)],
                _ => drop(bytes.drain(place..(place + draw.usize(0..9)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(faults) = read_plan(&text) {
            assert!(!faults.is_empty(), "round {round}: {text}");
            for fault in faults {
                assert!(text.get(fault.span.range()).is_some(), "round {round}: {fault:?} {text}");
            }
        }
    }
}
