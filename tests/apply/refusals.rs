//! Plans that are refused, with nothing touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nattrace_apply::{MustHold, Op, Plan, PolicyText};
use nattrace_parser::syntax::{Backend, Family, TableName};

use crate::host::{BACKENDS, Host, INPUT, text};

#[test]
fn rules_that_nobody_analysed_are_not_touched() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let plan = host.plan();
        let apply = format!("apply {}", host.write(&plan).display());
        host.sh("iptables -A FORWARD -i eth7 -j DROP");
        host.refuses(&apply, "are not those that were analysed");
        host.refuses(&format!("{apply} --force ssh,must-hold,backend"), "--force drift");
        // Forced, it is loaded all the same, since every edit still fits.
        host.run(&format!("{apply} --force drift --confirm 1"), 4);
        // Where the rule that goes is another one, nothing can be forced.
        host.sh("iptables -t nat -D POSTROUTING 1");
        host.refuses(&format!("{apply} --force drift"), "edit 1: rule 2 of `POSTROUTING` is not");
    }
}

#[test]
fn an_interface_that_the_host_does_not_have_is_noticed() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let edit = host.edit(INPUT, Op::Append, 0, "-i uplink -p tcp -m tcp --dport 8080 -j DROP");
    let mut plan = Plan::new(vec![edit], host.analysed());
    plan.notes = vec!["`uplink` stands for another one".to_owned()];
    let apply = format!("apply {}", host.write(&plan).display());
    let words = "this host has no interface `uplink`, which an edit asks for";
    host.refuses(&apply, words);
    host.refuses(&apply, "`uplink` stands for another one");
    host.run(&format!("{apply} --force drift --dry-run"), 0);
    // Names that begin so, and names that rules of this host have, may come to be.
    let edit = host.edit(INPUT, Op::Append, 0, "-i eth+ -p tcp -m tcp --dport 8080 -j DROP");
    let plan = Plan::new(vec![edit], host.analysed());
    host.run(&format!("apply {} --dry-run", host.write(&plan).display()), 0);
    host.sh("iptables -A FORWARD -i uplink -j DROP");
    let edit = host.edit(INPUT, Op::Append, 0, "-i uplink -p tcp -m tcp --dport 8080 -j DROP");
    let plan = Plan::new(vec![edit], host.analysed());
    host.run(&format!("apply {} --dry-run", host.write(&plan).display()), 0);
}

#[test]
fn an_edit_that_leads_nowhere_is_refused() {
    for backend in BACKENDS {
        let Some(host) = Host::new(backend) else { return };
        let edit = host.edit(INPUT, Op::Append, 0, "-p tcp -m tcp --dport 8080 -j DORP");
        let plan = Plan::new(vec![edit], host.analysed());
        let apply = format!("apply {}", host.write(&plan).display());
        host.refuses(&apply, "DORP");
        host.refuses(&format!("{apply} --force drift,backend,ssh,must-hold"), "DORP");
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
    host.refuses(&format!("apply {}", path.display()), "but the rules are in ipv4 (legacy)");
    for analysed in &mut plan.analysed {
        analysed.backend = match analysed.backend {
            Backend::Nft => Backend::Legacy,
            Backend::Legacy => Backend::Nft,
        };
    }
    let path = host.write(&plan);
    let words = "the rules that were analysed as ipv4 (nft) are those of ipv4 (legacy)";
    host.refuses(&format!("apply {}", path.display()), words);
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
    host.refuses(&apply, "`mail` must hold as `connects`, and would be: timeout");
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
    host.refuses(&apply, "`mail goes out` of `nattrace.toml` would not hold");
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

/// A container with root in it that may not change the network, and one without iptables.
#[test]
fn who_may_not_or_can_not_is_told_so() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let plan = host.write(&host.plan());
    let program = env!("CARGO_BIN_EXE_nattrace");
    let mut powerless = host.command("setpriv");
    powerless.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin", program, "apply"]);
    let hidden = "mount --make-rprivate / && mkdir none && chmod 755 none && \
                  for folder in /usr/local/sbin /usr/sbin; do mount --bind none $folder; done && \
                  PATH=/usr/bin:/bin exec \"$0\" \"$@\"";
    let mut bare = host.command("unshare");
    bare.current_dir(host.path(".")).args(["-m", "sh", "-c", hidden, program, "apply"]);
    let told = [
        (powerless, "--cap-add NET_ADMIN"),
        (bare, "can't change the rules of ipv4 (nft): `iptables-nft-save` is not installed"),
    ];
    for (mut command, words) in told {
        let said = command.arg(&plan).output().unwrap();
        let shown = text(&said.stdout) + &text(&said.stderr);
        assert_eq!(said.status.code(), Some(5), "{shown}");
        assert!(shown.contains(words), "{shown}");
        assert!(!shown.contains("somebody changed them"), "{shown}");
    }
}
