//! Programs that fail half-way.

use std::fs;

use nattrace_parser::syntax::Backend;

use crate::host::{BACKENDS, Host};

#[test]
fn what_is_loaded_half_way_goes() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let old = host.rules();
        let plan = host.plan();
        let path = host.write(&plan);
        let name = nattrace_apply::backend_name(backend);
        // IPv4 is loaded, IPv6 is refused.
        let test = "case \"$*\" in *--test*) exec REAL \"$@\";; esac";
        host.wrap(&format!("ip6tables-{name}-restore"), &format!("{test}\necho no >&2; exit 4"));
        let said = host.run(&format!("apply {} --confirm 1", path.display()), 4);
        assert!(said.contains("was not loaded"), "{said}");
        assert_eq!(host.rules(), old);
        // It is loaded, and dies behind that.
        let script = format!("{test}\nREAL \"$@\"; kill -9 $$");
        host.wrap(&format!("ip6tables-{name}-restore"), &script);
        let applied = host.run(&format!("apply {} --confirm 1", path.display()), 4);
        assert!(applied.contains("was not loaded"), "{applied}");
        fs::remove_file(host.path("bin").join(format!("ip6tables-{name}-restore"))).unwrap();
        assert!(host.wait(20, || !host.is_pending()));
        assert_eq!(host.rules(), old);
    }
}

#[test]
fn what_can_not_be_taken_back_yet_is_tried_again() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let applied = host.apply(&host.plan(), "--confirm 1");
    host.wrap("iptables-nft-restore", "exit 4");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(host.is_pending());
    fs::remove_file(host.path("bin").join("iptables-nft-restore")).unwrap();
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!(host.rules(), old);
}
