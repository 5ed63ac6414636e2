//! `apply` and what belongs to it, in network namespaces with real iptables.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "helpers of a test")]

mod host;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use host::{Host, text};
use nattrace_apply::{MustHold, Op, Plan, PolicyText};
use nattrace_parser::syntax::{Backend, Family, TableName};

const BACKENDS: [Backend; 2] = [Backend::Nft, Backend::Legacy];

const NAT: (Family, TableName, &str) = (Family::Ipv4, TableName::Nat, "POSTROUTING");
const INPUT: (Family, TableName, &str) = (Family::Ipv4, TableName::Filter, "INPUT");

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

/// A refusal: status 5, the words, and nothing that is touched.
#[track_caller]
fn refused(host: &Host, words: &str, expected: &str) {
    let old = host.rules();
    let said = host.run(words, 5);
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("nothing was touched"), "{said}");
    assert_eq!(host.rules(), old);
    assert!(!host.is_pending());
    assert_eq!(host.watchdogs(), [0_u32; 0]);
}

#[test]
fn rules_that_nobody_analysed_are_not_touched() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let plan = host.plan();
        let apply = format!("apply {}", host.write(&plan).display());
        host.sh("iptables -A FORWARD -i eth7 -j DROP");
        refused(&host, &apply, "are not those that were analysed");
        refused(&host, &format!("{apply} --force ssh,must-hold,backend"), "--force drift");
        // Forced, it is loaded all the same, since every edit still fits.
        host.run(&format!("{apply} --force drift --confirm 1"), 4);
        // Where the rule that goes is another one, nothing can be forced.
        host.sh("iptables -t nat -D POSTROUTING 1");
        refused(&host, &format!("{apply} --force drift"), "edit 1: rule 2 of `POSTROUTING` is not");
    }
}

#[test]
fn the_other_backend_is_noticed() {
    let Some(host) = Host::new(Backend::Legacy) else { return };
    let mut plan = host.plan();
    for edit in &mut plan.edits {
        if let nattrace_apply::Holder::Iptables(backend, _) = &mut edit.holder {
            *backend = Backend::Nft;
        }
    }
    let path = host.write(&plan);
    refused(&host, &format!("apply {}", path.display()), "but the rules are in ipv4 (legacy)");
    for analysed in &mut plan.analysed {
        analysed.backend = match analysed.backend {
            Backend::Nft => Backend::Legacy,
            Backend::Legacy => Backend::Nft,
        };
    }
    let path = host.write(&plan);
    let words = "the rules that were analysed as ipv4 (nft) are those of ipv4 (legacy)";
    refused(&host, &format!("apply {}", path.display()), words);
}

#[test]
fn the_operator_is_not_locked_out() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let drop = host.edit(INPUT, Op::Insert, 1, "-p tcp -m tcp --dport 22 -j DROP");
        let back = host.edit(
            (Family::Ipv4, TableName::Filter, "OUTPUT"),
            Op::Append,
            0,
            "-p tcp -m tcp --sport 22 -j DROP",
        );
        let new = host.edit(INPUT, Op::Insert, 1, "-p tcp -m conntrack --ctstate NEW -j DROP");
        let old = host.rules();
        for (edit, what) in [
            (&drop, "your SSH session (203.0.113.7 50000 203.0.113.10 22) would be: timeout"),
            (&back, "the answers of your SSH session"),
            (&new, "a new connection like yours"),
        ] {
            let plan = Plan::new(vec![edit.clone()], host.analysed());
            let path = host.write(&plan);
            let mut command = host.nattrace(&format!("apply {}", path.display()));
            command.env("SSH_CONNECTION", "203.0.113.7 50000 203.0.113.10 22");
            let said = command.output().unwrap();
            assert_eq!(said.status.code(), Some(5), "{}", text(&said.stdout));
            assert!(text(&said.stdout).contains(what), "{}", text(&said.stdout));
            assert!(text(&said.stdout).contains("--force ssh"), "{}", text(&said.stdout));
            assert_eq!(host.rules(), old);
        }
        // Forced, an operator who can't come back gets the old rules back.
        let plan = Plan::new(vec![drop], host.analysed());
        let path = host.write(&plan);
        let forced = format!("apply {} --force ssh --confirm 1", path.display());
        let mut command = host.nattrace(&forced);
        command.env("SSH_CONNECTION", "203.0.113.7 50000 203.0.113.10 22");
        let said = command.output().unwrap();
        assert_eq!(said.status.code(), Some(4), "{}", text(&said.stdout));
        assert_eq!(host.rules(), old);
        let mut command = host.nattrace(&format!("apply {}", path.display()));
        let said = command.env("SSH_CONNECTION", "nobody").output().unwrap();
        assert_eq!(said.status.code(), Some(5), "{}", text(&said.stdout));
        // Somebody else's port is no reason to refuse.
        let other = host.edit(INPUT, Op::Insert, 1, "-p tcp -m tcp --dport 23 -j DROP");
        let plan = Plan::new(vec![other], host.analysed());
        let path = host.write(&plan);
        let mut command = host.nattrace(&format!("apply {} --dry-run", path.display()));
        command.env("SSH_CONNECTION", "203.0.113.7 50000 203.0.113.10 22");
        assert_eq!(command.output().unwrap().status.code(), Some(0));
    }
}

#[test]
fn an_operator_over_ipv6_is_not_locked_out() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let input = (Family::Ipv6, TableName::Filter, "INPUT");
    let drop = host.edit(input, Op::Append, 0, "-p tcp -m tcp --dport 22 -j DROP");
    let path = host.write(&Plan::new(vec![drop], host.analysed()));
    let mut command = host.nattrace(&format!("apply {}", path.display()));
    command.env("SSH_CONNECTION", "2001:db8::7 50000 2001:db8::10 22");
    let said = command.output().unwrap();
    assert_eq!(said.status.code(), Some(5), "{}", text(&said.stdout));
    assert!(text(&said.stdout).contains("your SSH session (2001:db8::7 50000"));
}

#[test]
fn the_session_is_found_behind_sudo() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let drop = host.edit(INPUT, Op::Insert, 1, "-p tcp -m tcp --dport 22 -j DROP");
    let path = host.write(&Plan::new(vec![drop], host.analysed()));
    let program = env!("CARGO_BIN_EXE_nattrace");
    // sudo leaves the variable out, and the shell before it has it.
    let script = format!("env -u SSH_CONNECTION {program} apply {}; exit $?", path.display());
    let mut command = host.command("sh");
    command.args(["-c", &script]).env("SSH_CONNECTION", "203.0.113.7 50000 203.0.113.10 22");
    let said = command.output().unwrap();
    assert_eq!(said.status.code(), Some(5), "{}", text(&said.stdout));
    assert!(text(&said.stdout).contains("your SSH session"), "{}", text(&said.stdout));
}

#[test]
fn what_must_hold_holds() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let forward = (Family::Ipv4, TableName::Filter, "FORWARD");
    let edit = host.edit(forward, Op::Insert, 1, "-i br0 -p tcp -m tcp --dport 25 -j DROP");
    let mut plan = Plan::new(vec![edit], host.analysed());
    let flow = |port: u16| {
        let flow = serde_json::json!({
            "src": "172.18.0.2", "dst": "1.1.1.1", "dport": port, "iif": "br0"
        });
        flow.as_object().unwrap().clone()
    };
    let name = "mail".to_owned();
    plan.must_hold = vec![MustHold { name, flow: flow(25), outcome: "connects".into() }];
    let apply = format!("apply {}", host.write(&plan).display());
    refused(&host, &apply, "`mail` must hold as `connects`, and would be: timeout");
    plan.must_hold[0].flow = flow(443);
    let apply = format!("apply {} --dry-run", host.write(&plan).display());
    host.run(&apply, 0);
    plan.policy = Some(PolicyText {
        name: "nattrace.toml".into(),
        text: "version = 1\n[[allow]]\nname = \"mail goes out\"\nfrom = \"172.18.0.0/16\"\n\
               to = \"internet:25/tcp\"\n"
            .into(),
    });
    let apply = format!("apply {}", host.write(&plan).display());
    refused(&host, &apply, "`mail goes out` of `nattrace.toml` would not hold");
    plan.policy.as_mut().unwrap().text = "version = 1\n[[allow]\n".into();
    let said = host.run(&format!("apply {}", host.write(&plan).display()), 2);
    assert!(said.contains("the policy `nattrace.toml` in the plan"), "{said}");
    plan.must_hold[0].flow = serde_json::json!({"scr": "a"}).as_object().unwrap().clone();
    let said = host.run(&format!("apply {}", host.write(&plan).display()), 2);
    assert!(said.contains("`must_hold` 1 of the plan: unknown key `scr`"), "{said}");
}

#[test]
fn one_at_a_time() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.plan();
    let mut other = plan.clone();
    other.id = "other".into();
    let applied = host.apply(&plan, "--confirm 60");
    let said = host.run(&format!("apply {} --force drift", host.write(&other).display()), 5);
    assert!(said.contains(&format!("transaction `{}` is pending", plan.id)), "{said}");
    host.run(&format!("confirm {}", plan.id), 0);
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(0));
    let unknown = host.run("confirm nobody", 2);
    assert!(unknown.contains("there is no transaction `nobody`"), "{unknown}");
    host.run("rollback nobody", 2);
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
        assert!(host.wait(20, || waiting().is_ok_and(|text| text.contains("\"waiting\""))));
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
fn a_dry_run_prints_and_touches_nothing() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let plan = host.plan();
    let path = host.write(&plan);
    let said = host.run(&format!("apply {} --dry-run", path.display()), 0);
    assert_eq!(host.rules(), old);
    assert!(!host.state().exists());
    let script = said.split("would load").next().unwrap();
    let loaded = host.sh(script);
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    let by_hand = host.rules();
    // What is printed is what is done.
    host.sh(&format!("iptables -t nat -X nattrace-{}", plan.id));
    assert_ne!(by_hand, old);
    let json = host.run(&format!("apply {} --dry-run --force drift --json", path.display()), 5);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "nattrace/apply/1");
    assert_eq!(json["status"], "refused");
}

#[test]
fn a_plan_that_is_none_is_told_at_its_place() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let text = host.plan().to_json();
    for (from, to, expected) in [
        ("MASQUERADE", "MASQERADE --to-sourse 1.1.1.1", "unknown option `--to-sourse`"),
        ("\"op\": \"replace\"", "\"op\": \"repalce\"", "did you mean `replace`?"),
        ("nattrace/plan/1", "nattrace/plan/9", "expected `nattrace/plan/1`"),
        ("\"edits\"", "\"edist\"", "did you mean `edits`?"),
        ("}", "", "plan.json:"),
    ] {
        fs::write(host.path("plan.json"), text.replacen(from, to, 1)).unwrap();
        let said = host.run("apply plan.json", 2);
        assert!(said.contains(expected), "{from} -> {to}: {said}");
    }
    host.run("apply no-such-plan.json", 2);
    host.run("apply", 2);
    host.run("apply plan.json --confirm -1", 2);
    host.run("apply plan.json --force connection", 2);
    host.run("apply plan.json --force everything", 2);
    host.run("confirm nobody --force drift", 2);
    host.run("apply plan.json --snapshot x", 2);
    host.run("apply plan.json --format svg", 2);
}

#[test]
fn a_folder_that_can_not_be_written_is_a_refusal() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let path = host.write(&host.plan());
    fs::write(host.path("file"), "").unwrap();
    let apply = format!("apply {} --state-dir {}", path.display(), host.path("file").display());
    refused(&host, &apply, "can't make");
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
    wrap(&host, "ip6tables-nft-restore", &format!("{test}\n{fill}\nexec REAL \"$@\""));
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

#[test]
fn only_root_changes_rules() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    host.write(&host.plan());
    let program = host.path("nattrace");
    fs::copy(env!("CARGO_BIN_EXE_nattrace"), &program).unwrap();
    fs::set_permissions(host.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let plan = host.path(&format!("{}.json", host.plan().id));
    for (words, status) in [
        (vec!["apply", plan.to_str().unwrap()], 5),
        (vec!["confirm", "a"], 5),
        (vec!["rollback", "a"], 5),
        (vec!["uninstall"], 5),
        (vec!["status"], 2),
    ] {
        let mut command = host.command("setpriv");
        command.args(["--reuid", "65534", "--clear-groups"]).arg(&program).args(&words);
        let said = command.output().unwrap();
        let shown = text(&said.stdout) + &text(&said.stderr);
        assert_eq!(said.status.code(), Some(status), "{words:?}: {shown}");
        assert!(shown.contains("needs root"), "{words:?}: {shown}");
    }
}

/// A program in front of the real one, which fails where a test wants it to.
fn wrap(host: &Host, program: &str, script: &str) {
    let path = host.path("bin").join(program);
    let real = format!("/usr/sbin/{program}");
    fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("REAL", &real))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

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
        wrap(&host, &format!("ip6tables-{name}-restore"), &format!("{test}\necho no >&2; exit 4"));
        let said = host.run(&format!("apply {} --confirm 1", path.display()), 4);
        assert!(said.contains("was not loaded"), "{said}");
        assert_eq!(host.rules(), old);
        // It is loaded, and dies behind that.
        let script = format!("{test}\nREAL \"$@\"; kill -9 $$");
        wrap(&host, &format!("ip6tables-{name}-restore"), &script);
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
    wrap(&host, "iptables-nft-restore", "exit 4");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(host.is_pending());
    fs::remove_file(host.path("bin").join("iptables-nft-restore")).unwrap();
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!(host.rules(), old);
}

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
fn a_plan_that_needs_nobody_is_kept_at_once() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.plan();
    host.run(&format!("apply {} --confirm 0", host.write(&plan).display()), 0);
    assert!(!host.is_pending());
    assert!(host.wait(5, || host.watchdogs().is_empty()));
    host.run(&format!("rollback {}", plan.id), 0);
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
