//! The way of a plan: loaded, confirmed, taken back.

use std::fs;
use std::process::Stdio;

use nattrace_apply::{Op, Plan};
use nattrace_parser::syntax::{Backend, Family, TableName};

use crate::host::{BACKENDS, Host, text};

#[test]
fn what_is_confirmed_stays_until_it_is_rolled_back() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let old = host.rules();
        let plan = host.plan();
        let applied = host.apply(&plan, "--confirm 60");
        let pending = host.run("status", 0);
        assert!(pending.contains("5 of 5 edits in place"), "{pending}");
        let confirmed = host.run(&format!("confirm {}", plan.id), 0);
        assert!(confirmed.contains("the new rules stay"), "{confirmed}");
        let output = applied.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let new = host.rules();
        let id = &plan.id;
        let backend_name = nattrace_apply::backend_name(backend);
        let expected = format!(
            "# iptables {backend_name}\n*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n\
             :DOCKER-USER -\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n\
             -A FORWARD -j DOCKER-USER\n-A FORWARD -i br0 -j ACCEPT\n\
             -A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A DOCKER-USER -i eth0 -p tcp -m comment --comment \"nattrace:{id}/3\" -m tcp \
             --dport 25 -j DROP\n-A DOCKER-USER -j RETURN\n"
        );
        assert!(new.contains(&expected), "{new}");
        let nat = format!(
            "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
             -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -m comment --comment \"nattrace:{id}/1\" \
             -j SNAT --to-source 203.0.113.11\n\
             -A POSTROUTING -s 172.19.0.0/16 ! -o br1 -j MASQUERADE\n"
        );
        // iptables-legacy keeps the order in which tables came to be.
        assert!(new.contains(&nat), "{new}");
        assert!(
            new.contains(&format!("snat to 203.0.113.11 comment \"nattrace:{id}/5\"")),
            "{new}"
        );
        assert!(!new.contains(&format!("nattrace-{id}")), "the mark is gone: {new}");

        let again = host.run(&format!("confirm {id}"), 0);
        assert!(again.contains("confirmed before"), "{again}");
        let kept = host.run("status", 0);
        assert!(kept.contains(&format!("kept {id}: 5 of 5 edits in place")), "{kept}");
        host.run(&format!("rollback {id}"), 0);
        assert_eq!(host.rules(), old);
        let twice = host.run(&format!("rollback {id}"), 4);
        assert!(twice.contains("was rolled back"), "{twice}");
    }
}

#[test]
fn what_nobody_confirms_goes() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let old = host.rules();
        let plan = host.plan();
        let path = host.write(&plan);
        let said = host.run(&format!("apply {} --confirm 1", path.display()), 4);
        assert!(said.contains("nobody confirmed it in time"), "{said}");
        assert_eq!(host.rules(), old);
        let late = host.run(&format!("confirm {}", plan.id), 4);
        assert!(late.contains("nobody confirmed it in time"), "{late}");
        // Once more: nothing of the first time is in the way.
        let applied = host.apply(&plan, "--confirm 60");
        host.run(&format!("rollback {}", plan.id), 0);
        assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
        assert_eq!(host.rules(), old);
        assert!(host.wait(5, || host.watchdogs().is_empty()));
    }
}

#[test]
fn a_plan_that_needs_nobody_is_kept_at_once() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.plan();
    host.run(&format!("apply {} --confirm 0", host.write(&plan).display()), 0);
    assert!(!host.is_pending());
    assert!(host.wait(5, || host.watchdogs().is_empty()));
    host.run(&format!("rollback {}", plan.id), 0);
}

#[test]
fn only_a_new_connection_confirms() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.plan();
    let confirm = |session: &str, words: &str| {
        let mut command = host.nattrace(&format!("confirm {} {words}", plan.id));
        command.env("SSH_CONNECTION", session).output().unwrap().status.code()
    };
    let session = "203.0.113.7 50000 203.0.113.10 22";
    let path = host.write(&plan);
    let apply = || {
        let mut command = host.nattrace(&format!("apply {} --confirm 60", path.display()));
        command.env("SSH_CONNECTION", session).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let waiting = || fs::read_to_string(host.state().join("pending.json"));
        assert!(host.wait(60, || waiting().is_ok_and(|text| text.contains("\"waiting\""))));
        child
    };
    let applied = apply();
    assert_eq!(confirm(session, ""), Some(5));
    assert_eq!(confirm("203.0.113.7 50001 203.0.113.10 22", ""), Some(0));
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
    host.run(&format!("rollback {}", plan.id), 0);
    let applied = apply();
    assert_eq!(confirm(session, "--force connection"), Some(0));
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
    host.run(&format!("rollback {}", plan.id), 0);
    // On a console there is none.
    let applied = apply();
    assert_eq!(confirm("", ""), Some(0));
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn open_connections_are_told_and_forgotten_on_demand() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.plan();
    let path = host.write(&plan);
    let make = "set -e
        conntrack -I -p udp -s 172.18.0.5 -d 1.1.1.1 --sport 5000 --dport 53 \
          --reply-src 1.1.1.1 --reply-dst 203.0.113.10 --reply-port-src 53 \
          --reply-port-dst 5000 -t 600 -u SEEN_REPLY
        conntrack -I -p udp -s 172.17.0.5 -d 1.1.1.1 --sport 5000 --dport 53 \
          --reply-src 1.1.1.1 --reply-dst 203.0.113.10 --reply-port-src 53 \
          --reply-port-dst 5001 -t 600 -u SEEN_REPLY";
    let made = host.sh(make);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let count = || text(&host.sh("conntrack -L").stdout).matches("dport=53").count();
    assert_eq!(count(), 2);
    let said = host.run(&format!("apply {} --dry-run", path.display()), 0);
    assert!(said.contains("udp 172.18.0.5:5000 -> 1.1.1.1:53"), "{said}");
    assert!(!said.contains("172.17.0.5"), "{said}");
    host.run(&format!("apply {} --confirm 1", path.display()), 4);
    assert_eq!(count(), 2, "nothing is forgotten unasked");
    host.run(&format!("apply {} --confirm 0 --flush-flows", path.display()), 0);
    assert_eq!(count(), 1);
}

/// A rule whose defaults were left out is printed with them, and then `-D` does not find it.
#[test]
fn rules_that_iptables_does_not_find_go_all_the_same() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let limit = "-p tcp -m tcp --dport 25 -m connlimit --connlimit-above 3 \
                     --connlimit-mask 32 --connlimit-saddr -j DROP";
        let short = limit.replace(" --connlimit-mask 32 --connlimit-saddr", "");
        let forward = (Family::Ipv4, TableName::Filter, "FORWARD");
        let add = format!("iptables -I FORWARD 1 {short}; iptables -I FORWARD 3 {short}");
        assert!(host.sh(&add).status.success());
        let found = host.sh(&format!("iptables -C FORWARD {limit}"));
        assert!(!found.status.success(), "this iptables finds it, and the test tests nothing");
        let old = host.rules();
        let accept = limit.replace("-j DROP", "-j ACCEPT");
        let mut replace = host.edit(forward, Op::Replace, 3, &accept);
        replace.replaces = Some(format!("-A FORWARD {limit}"));
        let recent = "-m recent --update --seconds 60 --hitcount 4 --name x --mask \
                      255.255.255.255 --rsource -j DROP";
        let insert = host.edit(forward, Op::Insert, 1, recent);
        let delete = host.edit(forward, Op::Delete, 2, limit);
        let plan = Plan::new(vec![replace, insert, delete], host.analysed());
        let applied = host.apply(&plan, "--confirm 60");
        host.run(&format!("confirm {}", plan.id), 0);
        assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
        let new = host.rules();
        let places = ["--hitcount 4", "-j DOCKER-USER", "--connlimit-saddr -j ACCEPT", "-i br0"];
        let lines: Vec<&str> =
            new.lines().filter(|line| line.starts_with("-A FORWARD")).take(4).collect();
        assert_eq!(lines.len(), 4, "{new}");
        for (line, place) in lines.iter().zip(places) {
            assert!(line.contains(place), "{place}: {new}");
        }
        host.sh("iptables -I FORWARD -i br9 -j ACCEPT");
        host.run(&format!("rollback {}", plan.id), 0);
        host.sh("iptables -D FORWARD -i br9 -j ACCEPT");
        assert_eq!(host.rules(), old);
    }
}

/// The whole way: the policy fails, a plan is found, loaded and confirmed, and the policy holds.
#[test]
fn from_a_policy_that_fails_to_one_that_holds() {
    for backend in BACKENDS {
        for place in ["", " --place nft"] {
            let Some(host) = Host::new(backend) else { return };
            // Two rules for one network are too many here.
            host.sh("iptables -t nat -D POSTROUTING 4");
            let old = host.rules();
            let policy = "version = 1\n[[egress]]\nname = \"containers wear .11\"\n\
                from = \"172.18.0.0/16\"\nto = \"internet\"\nsource = \"203.0.113.11\"\n";
            fs::write(host.path("nattrace.toml"), policy).unwrap();
            host.run("check", 1);
            host.run(&format!("fix{place} --format plan -o plan.json"), 0);
            let plan = fs::read_to_string(host.path("plan.json")).unwrap();
            let plan = nattrace_apply::read_plan(&plan).unwrap();
            let applied = host.apply(&plan, "--confirm 60");
            host.run(&format!("confirm {}", plan.id), 0);
            assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
            host.run("check", 0);
            host.run(&format!("rollback {}", plan.id), 0);
            assert_eq!(host.rules(), old);
            host.run("check", 1);
        }
    }
}

/// The tables and chains of nf_tables, without what is in them.
fn skeleton(host: &Host) -> String {
    text(&host.sh("nft list ruleset | grep -E '^table|chain|hook'").stdout)
}

/// A table comes to be with the first rule that is loaded into it, and goes again unless somebody
/// used it meanwhile.
#[test]
fn tables_that_a_plan_brought_along_go_with_it() {
    let rules = [
        ((Family::Ipv4, TableName::Mangle, "POSTROUTING"), "-j TTL --ttl-inc 1"),
        ((Family::Ipv4, TableName::Filter, "OUTPUT"), "-d 192.0.2.1/32 -j DROP"),
        ((Family::Ipv6, TableName::Nat, "POSTROUTING"), "-o eth0 -j MASQUERADE"),
    ];
    let Some(host) = Host::new(Backend::Nft) else { return };
    let edits = rules.map(|(at, rule)| host.edit(at, Op::Append, 0, rule)).to_vec();
    let plan = Plan::new(edits, host.analysed());
    let path = host.write(&plan);
    let old = skeleton(&host);
    assert!(!old.contains("mangle") && !old.contains("table ip6 nat"), "{old}");
    let roll = format!("rollback {}", plan.id);
    let keep = format!("apply {} --confirm 0", path.display());
    for gone in ["rollback", "uninstall", "nobody confirms"] {
        match gone {
            "rollback" => host.run(&keep, 0) + &host.run(&roll, 0),
            "uninstall" => host.run(&keep, 0) + &host.run("uninstall", 0),
            _ => host.run(&format!("apply {} --confirm 1", path.display()), 4),
        };
        assert_eq!(skeleton(&host), old, "{gone}");
    }
    // What others put into them stays, be it a rule, a chain or a policy.
    for (line, stays) in [
        ("ip6tables -t nat -A POSTROUTING -s fd00::/8 -j ACCEPT", "table ip6 nat"),
        ("iptables -t mangle -N THEIRS", "table ip mangle"),
        (
            "iptables -P OUTPUT DROP; iptables -P OUTPUT DROP",
            "hook output priority filter; policy drop",
        ),
        ("nft add set ip mangle theirs '{ type ipv4_addr; }'", "table ip mangle"),
    ] {
        let Some(host) = Host::new(Backend::Nft) else { return };
        host.run(&keep, 0);
        assert!(host.sh(line).status.success(), "{line}");
        host.run(&roll, 0);
        let now = skeleton(&host);
        assert!(now.contains(stays), "{line}: {now}");
        let with_line = text(&host.sh("nft list ruleset").stdout);
        assert!(!with_line.contains("nattrace"), "{line}: {with_line}");
        for other in ["table ip mangle", "table ip6 nat"].iter().filter(|other| *other != &stays) {
            assert!(!now.contains(other), "{line}: {now}");
        }
    }
}
