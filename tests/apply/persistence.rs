//! Plans that come back after Docker and a reboot, and the way out of everything.

use std::fs;

use nattrace_apply::{Op, Plan};
use nattrace_parser::syntax::{Backend, Family, TableName};

use crate::host::{BACKENDS, Host, INPUT, text};

#[test]
fn what_persists_comes_back_once() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let old = host.rules();
        let plan = host.plan();
        let applied = host.apply(&plan, "--confirm 60 --persist");
        let unit = host.path("units").join(format!("nattrace-{}.service", plan.id));
        assert!(!unit.exists(), "nothing persists before it is confirmed");
        host.run(&format!("confirm {}", plan.id), 0);
        assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
        let text = fs::read_to_string(&unit).unwrap();
        assert!(text.contains("After=network.target docker.service"), "{text}");
        assert!(text.contains("PartOf=docker.service"), "{text}");
        let new = host.rules();
        let again = format!("apply --persisted {}", plan.id);
        host.run(&again, 0);
        assert_eq!(host.rules(), new, "nothing is loaded twice");
        // dockerd starts anew: it makes its chains again, and puts back what it misses.
        let docker = "set -e
            iptables -F DOCKER-USER; iptables -A DOCKER-USER -j RETURN
            iptables -t nat -I POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
            nft delete table ip nattrace";
        assert!(host.sh(docker).status.success());
        assert_ne!(host.rules(), new);
        host.run(&again, 0);
        assert_eq!(host.rules(), new);
        let kept = host.run("status", 0);
        assert!(kept.contains("loaded again after Docker and a reboot"), "{kept}");
        let gone = host.run("uninstall", 0);
        assert!(gone.contains("removed"), "{gone}");
        assert_eq!(host.rules(), old);
        assert!(!unit.exists() && !host.state().exists());
        assert_eq!(host.run("uninstall", 0), "there was nothing to remove\n");
    }
}

#[test]
fn uninstall_may_leave_the_rules() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.plan();
    let applied = host.apply(&plan, "--confirm 60 --persist");
    host.run(&format!("confirm {}", plan.id), 0);
    drop(applied.wait_with_output());
    let new = host.rules();
    host.run("uninstall --keep-rules", 0);
    assert_eq!(host.rules(), new);
    assert!(!host.state().exists());
}

#[test]
fn uninstall_does_not_lock_the_operator_out() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        // Only the plan lets the operator in; without it INPUT drops.
        host.sh("iptables -D INPUT 1; iptables -P INPUT DROP; ip6tables -P INPUT DROP");
        let input6 = (Family::Ipv6, TableName::Filter, "INPUT");
        let edits = vec![
            host.edit(INPUT, Op::Insert, 1, "-p tcp -m tcp --dport 22 -j ACCEPT"),
            host.edit(input6, Op::Insert, 1, "-p tcp -m tcp --dport 22 -j ACCEPT"),
        ];
        let old = host.rules();
        let plan = Plan::new(edits, host.analysed());
        host.run(&format!("apply {} --confirm 0", host.write(&plan).display()), 0);
        let new = host.rules();
        let uninstall = |session: &str, words: &str| {
            let mut command = host.nattrace(&format!("uninstall {words}"));
            let said = command.env("SSH_CONNECTION", session).output().unwrap();
            (said.status.code(), text(&said.stdout))
        };
        for session in ["203.0.113.7 50000 203.0.113.10 22", "2001:db8::7 50000 2001:db8::10 22"] {
            let (status, said) = uninstall(session, "");
            assert_eq!(status, Some(5), "{said}");
            assert!(said.contains("refused, nothing was touched"), "{said}");
            assert!(
                said.contains(&format!("your SSH session ({session}) would be: timeout")),
                "{said}"
            );
            assert!(said.contains("--force ssh overrides this"), "{said}");
            let (status, said) = uninstall(session, "--json");
            let json: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!((status, &json["schema"]), (Some(5), &"nattrace/uninstall/1".into()));
            assert_eq!(json["done"], serde_json::json!([]), "{json}");
            assert_eq!(json["refusals"][0]["force"], "ssh", "{json}");
        }
        let (status, said) = uninstall("nobody", "");
        assert_eq!(status, Some(5), "{said}");
        assert!(said.contains("`SSH_CONNECTION` is `nobody`"), "{said}");
        host.run("uninstall --force drift", 2);
        assert_eq!(host.rules(), new);
        assert!(host.state().exists());
        // Rules that stay lock nobody out, and neither does somebody else's port.
        assert_eq!(uninstall("203.0.113.7 50000 203.0.113.10 2222", "").0, Some(0));
        assert_eq!(host.rules(), old);
        host.run(&format!("apply {} --confirm 0", host.write(&plan).display()), 0);
        let session = "203.0.113.7 50000 203.0.113.10 22";
        assert_eq!(uninstall(session, "--keep-rules").0, Some(0));
        assert_eq!(host.rules(), new);
        host.sh("iptables -D INPUT 1; ip6tables -D INPUT 1");
        host.run(&format!("apply {} --confirm 0", host.write(&plan).display()), 0);
        assert_eq!(uninstall(session, "--force ssh").0, Some(0));
        assert_eq!(host.rules(), old);
    }
}
