//! A host of our own: a network namespace with real iptables, and nattrace in it.
#![allow(
    dead_code,
    unused_macros,
    clippy::allow_attributes,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nattrace_apply::{Analysed, Edit, Holder, OWN_CHAIN, Op, Plan, Store};
use nattrace_parser::syntax::{Backend, Family, TableName};

pub(crate) const BACKENDS: [Backend; 2] = [Backend::Nft, Backend::Legacy];

pub(crate) const NAT: (Family, TableName, &str) = (Family::Ipv4, TableName::Nat, "POSTROUTING");
pub(crate) const INPUT: (Family, TableName, &str) = (Family::Ipv4, TableName::Filter, "INPUT");

/// The namespace, which ends with its one process.
pub(crate) struct Host {
    pub(crate) backend: Backend,
    folder: tempfile::TempDir,
    holder: Child,
}

const SETUP: &str = "
set -e
ip link set lo up
ip link add eth0 type bridge; ip link set eth0 up
ip addr add 203.0.113.10/24 dev eth0; ip addr add 203.0.113.11/24 dev eth0
ip -6 addr add 2001:db8::10/64 dev eth0 nodad
ip route add default via 203.0.113.1
ip -6 route add default via 2001:db8::1
ip link add br0 type bridge; ip addr add 172.18.0.1/16 dev br0; ip link set br0 up
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -t nat -N DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
iptables -t nat -A POSTROUTING -s 172.19.0.0/16 ! -o br1 -j MASQUERADE
iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -i br0 -j ACCEPT
iptables -A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A DOCKER-USER -j RETURN
iptables -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
ip6tables -A FORWARD -i br0 -j ACCEPT
ip6tables -A FORWARD -j DROP
";

impl Host {
    /// A host whose rules are in a backend; `None`, visibly, where the machine does not let us.
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "3600"]).stdin(Stdio::null());
        let holder = command.spawn().ok()?;
        let mut host = Self { backend, folder, holder };
        let start = Instant::now();
        let own = fs::read_link("/proc/self/ns/net").unwrap_or_default();
        loop {
            let path = format!("/proc/{}/ns/net", host.holder.id());
            if fs::read_link(path).is_ok_and(|other| other != own) {
                break;
            }
            if start.elapsed() > Duration::from_secs(5) || host.holder.try_wait().ok()?.is_some() {
                return host.skipped("no network namespace");
            }
            thread::sleep(Duration::from_millis(5));
        }
        let set_up = host.sh(SETUP);
        if set_up.status.success() { Some(host) } else { host.skipped(&text(&set_up.stderr)) }
    }

    #[expect(clippy::unused_self, reason = "it ends here")]
    fn skipped(self, why: &str) -> Option<Self> {
        nattrace_skips::skip("a test of apply", &format!("no host of our own: {why}"));
        None
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A program in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg(program);
        // The hosts of other tests share the file system, but not the rules that it locks.
        command.env("XTABLES_LOCKFILE", self.path("xtables.lock"));
        command.env("SSH_CONNECTION", "").env("NATTRACE_STATE_DIR", self.state());
        command.env("NATTRACE_UNIT_DIR", self.path("units"));
        command.env_remove("NATTRACE_FAULT").env("PATH", self.search_path());
        command.stdin(Stdio::null()).current_dir(self.folder.path());
        command
    }

    /// `iptables` is the program of the backend; what a test puts into `bin` goes first.
    fn search_path(&self) -> String {
        let links = self.path("links");
        let bin = self.path("bin");
        if !links.is_dir() {
            fs::create_dir(&links).unwrap();
            fs::create_dir(&bin).unwrap();
            let backend = nattrace_apply::backend_name(self.backend);
            for name in ["iptables", "ip6tables"] {
                for does in ["", "-save", "-restore"] {
                    let target = format!("/usr/sbin/{name}-{backend}{does}");
                    let link = links.join(format!("{name}{does}"));
                    std::os::unix::fs::symlink(target, link).unwrap();
                }
            }
        }
        format!("{}:{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display(), links.display())
    }

    pub(crate) fn sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().unwrap()
    }

    /// nattrace in the namespace, with words that hold no blanks.
    pub(crate) fn nattrace(&self, words: &str) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_nattrace"));
        command.args(words.split_whitespace());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &str, status: i32) -> String {
        let output = self.nattrace(words).output().unwrap();
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "nattrace {words}\n{shown}");
        shown
    }

    /// A refusal: status 5, the words, and nothing that is touched.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &str, expected: &str) {
        let old = self.rules();
        let said = self.run(words, 5);
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("nothing was touched"), "{said}");
        assert_eq!(self.rules(), old);
        assert!(!self.is_pending());
        assert_eq!(self.watchdogs(), [0_u32; 0]);
    }

    /// Puts a program in front of the real one, which fails where a test wants it to.
    pub(crate) fn wrap(&self, program: &str, script: &str) {
        let path = self.path("bin").join(program);
        let real = format!("/usr/sbin/{program}");
        fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("REAL", &real))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// All rules, without what does not change what they do: counters, comments, empty tables.
    pub(crate) fn rules(&self) -> String {
        let mut all = String::new();
        for backend in ["nft", "legacy"] {
            for name in ["iptables", "ip6tables"] {
                let saved = self.sh(&format!("{name}-{backend}-save"));
                assert!(saved.status.success(), "{}", text(&saved.stderr));
                let tables = tables(&text(&saved.stdout));
                all.push_str(&format!("# {name} {backend}\n{tables}"));
            }
        }
        let own =
            self.sh("nft list tables | grep nattrace | while read -r t; do nft list $t; done");
        all.push_str(&text(&own.stdout).replace("packets 0 bytes 0 ", ""));
        all
    }

    /// The rules in which a store stands now.
    pub(crate) fn analysed(&self) -> Vec<Analysed> {
        let analysed = |store: Store| {
            let Store { family, backend } = store;
            let name = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
            let program = format!("{name}-{}-save", nattrace_apply::backend_name(backend));
            let saved = self.sh(&program);
            let digest = nattrace_apply::digest(&text(&saved.stdout), family, backend);
            Analysed { family, backend, digest }
        };
        Store::ALL.into_iter().map(analysed).collect()
    }

    pub(crate) fn edit(
        &self,
        at: (Family, TableName, &str),
        op: Op,
        number: u32,
        rule: &str,
    ) -> Edit {
        let (family, table, chain) = at;
        Edit {
            family,
            holder: Holder::Iptables(self.backend, table),
            chain: chain.to_owned(),
            op,
            position: (op != Op::Append).then_some(number),
            rule: format!("-A {chain} {rule}"),
            replaces: None,
            because: "a test".into(),
        }
    }

    /// One of everything, in both families, all tables and our own.
    pub(crate) fn plan(&self) -> Plan {
        let nat = (Family::Ipv4, TableName::Nat, "POSTROUTING");
        let user = (Family::Ipv4, TableName::Filter, "DOCKER-USER");
        let forward6 = (Family::Ipv6, TableName::Filter, "FORWARD");
        let snat = "-s 172.18.0.0/16 ! -o br0 -j SNAT --to-source 203.0.113.11";
        let old = "-s 172.18.0.0/16 ! -o br0 -j MASQUERADE";
        let mut replace = self.edit(nat, Op::Replace, 2, snat);
        replace.replaces = Some(format!("-A POSTROUTING {old}"));
        let own = Edit {
            family: Family::Ipv4,
            holder: Holder::Own,
            chain: OWN_CHAIN.into(),
            op: Op::Append,
            position: None,
            rule: "ip saddr 172.20.0.0/16 oifname \"eth0\" counter snat to 203.0.113.11".into(),
            replaces: None,
            because: "a test".into(),
        };
        let edits = vec![
            replace,
            // The later one of two alike.
            self.edit(nat, Op::Delete, 4, old),
            self.edit(user, Op::Insert, 1, "-i eth0 -p tcp -m tcp --dport 25 -j DROP"),
            self.edit(forward6, Op::Append, 0, "-i br0 -m comment --comment \"a b\" -j RETURN"),
            own,
        ];
        Plan::new(edits, self.analysed())
    }

    pub(crate) fn write(&self, plan: &Plan) -> PathBuf {
        let path = self.path(&format!("{}.json", plan.id));
        fs::write(&path, plan.to_json()).unwrap();
        path
    }

    /// The processes that watch over this host's state.
    pub(crate) fn watchdogs(&self) -> Vec<u32> {
        let state = self.state();
        let ours = |process: &u32| {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.contains(&&b"watchdog"[..])
                && words.contains(&state.as_os_str().as_encoded_bytes())
                && !words.contains(&&b"-c"[..])
        };
        let processes = fs::read_dir("/proc").unwrap();
        let numbers = processes.filter_map(|one| one.ok()?.file_name().to_str()?.parse().ok());
        numbers.filter(ours).collect()
    }

    /// Ends the one watchdog as `kill -9` does, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_watchdog(&self) {
        let watchdogs = self.watchdogs();
        let [watchdog] = watchdogs.as_slice() else { panic!("one watchdog: {watchdogs:?}") };
        kill(*watchdog, "KILL");
        assert!(self.wait(5, || self.watchdogs().is_empty()));
    }

    /// Waits until something holds, and says whether it came to hold.
    pub(crate) fn wait(&self, seconds: u64, holds: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) {
            if holds() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        holds()
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state().join("pending.json").exists()
    }

    /// Starts `apply` and waits until it can be confirmed.
    #[track_caller]
    pub(crate) fn apply(&self, plan: &Plan, words: &str) -> Child {
        let path = self.write(plan);
        let mut command = self.nattrace(&format!("apply {} {words}", path.display()));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let waiting = || {
            let journal = fs::read_to_string(self.state().join("pending.json"));
            journal.is_ok_and(|journal| journal.contains("\"waiting\""))
        };
        let loaded = self.wait(60, waiting);
        if !loaded {
            drop(child.kill());
            let output = child.wait_with_output().unwrap();
            panic!("{}{}", text(&output.stdout), text(&output.stderr));
        }
        child
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for watchdog in self.watchdogs() {
            kill(watchdog, "KILL");
        }
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

pub(crate) fn kill(process: u32, signal: &str) {
    let mut command = Command::new("kill");
    drop(command.args([format!("-{signal}"), process.to_string()]).stderr(Stdio::null()).status());
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// The tables in which something stands.
fn tables(saved: &str) -> String {
    let mut all = String::new();
    for table in saved.split("COMMIT\n") {
        let lines = table.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<&str> = lines.map(|line| line.split(" [").next().unwrap_or(line)).collect();
        if lines.iter().any(|line| line.starts_with("-A") || line.ends_with(" -")) {
            all.push_str(&lines.join("\n"));
            all.push('\n');
        }
    }
    all
}
