//! Journals that an earlier run of the kernel left.

use std::fs;

use nattrace_parser::syntax::Backend;

use crate::host::Host;

#[test]
fn a_journal_of_another_boot_is_no_transaction() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let plan = host.plan();
    let crash = |host: &Host| {
        let mut applied = host.apply(&plan, "--confirm 600");
        host.kill_watchdog();
        applied.kill().unwrap();
        applied.wait().unwrap();
        let path = host.state().join("pending.json");
        let journal = fs::read_to_string(&path).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(&path, journal.replace(boot.trim(), "another-boot")).unwrap();
    };
    // Something saved the rules, and the boot brought them back: they go.
    crash(&host);
    let said = host.run("status", 0);
    assert!(said.contains("was unfinished, and was taken back"), "{said}");
    assert_eq!(host.rules(), old);
    // The boot made the rules anew: nothing is put back twice.
    crash(&host);
    let Some(booted) = Host::new(Backend::Nft) else { return };
    fs::create_dir_all(booted.state()).unwrap();
    fs::copy(host.state().join("pending.json"), booted.state().join("pending.json")).unwrap();
    let said = booted.run(&format!("apply {} --confirm 1", booted.write(&plan).display()), 4);
    assert!(said.contains("was unfinished"), "{said}");
    assert_eq!(booted.rules(), old);
    // The first host's own goes the ordinary way.
    host.run("status", 0);
    assert_eq!(host.rules(), old);
}
