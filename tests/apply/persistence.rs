//! Plans that come back after Docker and a reboot, and the way out of everything.

use std::fs;

use nattrace_parser::syntax::Backend;

use crate::host::{BACKENDS, Host};

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
