//! Watchdogs that lose their parent, their terminal or their life.

use nattrace_parser::syntax::Backend;

use crate::host::{self, Host};

#[test]
fn a_watchdog_needs_neither_its_parent_nor_a_terminal() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let plan = host.plan();
    let mut applied = host.apply(&plan, "--confirm 2");
    assert_ne!(host.rules(), old);
    let watchdogs = host.watchdogs();
    assert_eq!(watchdogs.len(), 1);
    for signal in ["HUP", "INT", "TERM"] {
        host::kill(watchdogs[0], signal);
    }
    applied.kill().unwrap();
    applied.wait().unwrap();
    assert!(host.wait(10, || !host.is_pending()), "the watchdog is asleep");
    assert_eq!(host.rules(), old);
}

#[test]
fn a_dead_watchdog_is_replaced() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let plan = host.plan();
    // By the process that waits.
    let applied = host.apply(&plan, "--confirm 1");
    host.kill_watchdog();
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!(host.rules(), old);
    // By the next command, which finds it before its time.
    let mut applied = host.apply(&plan, "--confirm 3");
    host.kill_watchdog();
    applied.kill().unwrap();
    applied.wait().unwrap();
    let again = host.run(&format!("apply {}", host.write(&plan).display()), 5);
    assert!(again.contains("has a watchdog again"), "{again}");
    assert!(again.contains("is pending"), "{again}");
    assert!(host.wait(10, || !host.is_pending()));
    assert_eq!(host.rules(), old);
    // By the next command, after its time.
    let mut applied = host.apply(&plan, "--confirm 1");
    host.kill_watchdog();
    applied.kill().unwrap();
    applied.wait().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let late = host.run(&format!("confirm {}", plan.id), 4);
    assert!(late.contains("nobody confirmed it in time"), "{late}");
    assert_eq!(host.rules(), old);
}
