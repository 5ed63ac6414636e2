//! Disks that are full or can not be written.

use std::fs;

use nattrace_parser::syntax::Backend;

use crate::host::{Host, text};

#[test]
fn a_folder_that_can_not_be_written_is_a_refusal() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let path = host.write(&host.plan());
    fs::write(host.path("file"), "").unwrap();
    let apply = format!("apply {} --state-dir {}", path.display(), host.path("file").display());
    host.refuses(&apply, "can't make");
    // Root may write anywhere but where the file system does not let it.
    let script = |mount: &str| {
        let program = env!("CARGO_BIN_EXE_nattrace");
        format!(
            "mkdir -p small && mount -t tmpfs {mount} none small && {program} apply {} \
             --state-dir small/state --confirm 1",
            path.display()
        )
    };
    let old = host.rules();
    for (mount, expected) in [
        ("-o size=4k,nr_inodes=4", "no space left"),
        ("-o size=8k,nr_inodes=3", "no space left"),
        ("-o ro", "read-only file system"),
    ] {
        let mut command = host.command("unshare");
        let output = command.args(["--mount", "sh", "-c", &script(mount)]).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{mount}: {said}");
        assert!(said.contains(expected), "{mount}: {said}");
        assert_eq!(host.rules(), old);
    }
}

#[test]
fn a_disk_that_fills_up_while_rules_are_loaded_is_no_trap() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let path = host.write(&host.plan());
    let fill = "head -c 4M /dev/zero > small/fill 2>/dev/null";
    let test = "case \"$*\" in *--test*) exec REAL \"$@\";; esac";
    host.wrap("ip6tables-nft-restore", &format!("{test}\n{fill}\nexec REAL \"$@\""));
    let program = env!("CARGO_BIN_EXE_nattrace");
    let script = format!(
        "mkdir -p small && mount -t tmpfs -o size=256k none small && {program} apply {} \
         --state-dir small/state --confirm 60; status=$?; ls small/state; exit $status",
        path.display()
    );
    let mut command = host.command("unshare");
    let output = command.args(["--mount", "sh", "-c", &script]).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("no space left"), "{said}");
    assert!(!said.lines().any(|line| line == "pending.json"), "{said}");
    assert_eq!(host.rules(), old);
}
