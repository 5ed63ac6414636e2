//! Others who change the same rules at the same time.

use nattrace_apply::{Op, Plan};
use nattrace_parser::syntax::Backend;

use crate::host::{BACKENDS, Host, NAT};

#[test]
fn dockerd_may_go_on_working() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let plan = host.plan();
        let applied = host.apply(&plan, "--confirm 60");
        let docker = "set -e
            iptables -t nat -I POSTROUTING -s 172.30.0.0/16 ! -o br9 -j MASQUERADE
            iptables -t nat -A POSTROUTING -s 172.31.0.0/16 -j MASQUERADE
            iptables -t nat -A DOCKER -i br0 -j RETURN
            iptables -I FORWARD -i br9 -j ACCEPT
            iptables -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
            ip6tables -I FORWARD -i br9 -j ACCEPT";
        assert!(host.sh(docker).status.success());
        host.run(&format!("rollback {}", plan.id), 0);
        assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
        let now = host.rules();
        // The same without nattrace.
        let other = Host::new(backend).unwrap();
        assert!(other.sh(docker).status.success());
        assert_eq!(now, other.rules());
    }
}

#[test]
fn what_an_owner_put_back_is_there_once() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let mut edit =
        host.edit(NAT, Op::Replace, 1, "-s 172.17.0.0/16 -j SNAT --to-source 203.0.113.11");
    edit.replaces = Some("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE".into());
    let plan = Plan::new(vec![edit], host.analysed());
    let applied = host.apply(&plan, "--confirm 60");
    // dockerd looks with -C, finds it missing, and inserts it.
    host.sh("iptables -t nat -I POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE");
    let said = host.run(&format!("rollback {}", plan.id), 0);
    assert!(said.contains("is back already"), "{said}");
    drop(applied.wait_with_output());
    assert_eq!(host.rules(), old);
}
