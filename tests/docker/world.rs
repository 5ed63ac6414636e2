//! A machine with Docker, a router to the internet and a neighbour, each a network namespace.
//!
//! ```text
//! internet 198.51.100.7, 192.0.2.99, 2001:db8:7::7 (on gw)
//!   gw 203.0.113.1, 2001:db8:1::1 ----+---- peer 203.0.113.20, 2001:db8:1::20
//!                                     |     (peer sends 172.16.0.0/12 and fd00::/8 to host)
//!          host eth0 203.0.113.10 and .11, 2001:db8:1::10
//! ```

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nattrace_parser::syntax::Backend;
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::{command_in, inside, run};

/// Addresses that questions use.
pub(crate) const HOST: [&str; 2] = ["203.0.113.10", "2001:db8:1::10"];
pub(crate) const HOST_SECOND: &str = "203.0.113.11";
pub(crate) const INTERNET: [&str; 2] = ["198.51.100.7", "2001:db8:7::7"];
pub(crate) const PEER: [&str; 2] = ["203.0.113.20", "2001:db8:1::20"];

/// The namespaces, by the ends of their names.
const NAMESPACES: [&str; 4] = ["switch", "host", "gw", "peer"];

/// What the hosts around know of the way to containers.
pub(crate) const ZONES: &str = "[zones.peer]\nnets = [\"203.0.113.20/32\", \"2001:db8:1::20/128\"]\n\
    routes = [\"172.16.0.0/12\", \"192.168.0.0/16\", \"fd00::/8\"]\n";

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// Its network namespace.
    pub(crate) namespace: PathBuf,
    /// Every address, each with the bridge it is behind.
    pub(crate) addresses: Vec<(IpAddr, String)>,
}

impl Container {
    /// The bridge behind which it has an address.
    pub(crate) fn bridge_of(&self, address: IpAddr) -> Option<&str> {
        let found = self.addresses.iter().find(|(own, _)| *own == address);
        found.map(|(_, bridge)| bridge.as_str())
    }
}

/// The machines, and the Docker daemon on one of them. All of it is gone once this is dropped.
pub(crate) struct World {
    prefix: String,
    folder: TempDir,
    options: RefCell<Vec<String>>,
}

impl World {
    /// Builds the machines and starts the daemon with these options, on rules of nft.
    pub(crate) fn new(name: &str, options: &[&str]) -> Self {
        Self::on(Backend::Nft, name, options)
    }

    /// The same with `iptables` of a backend.
    pub(crate) fn on(backend: Backend, name: &str, options: &[&str]) -> Self {
        let world = Self {
            prefix: format!("nattrace-{name}-{}", std::process::id()),
            folder: tempfile::Builder::new().prefix("nattrace-docker-").tempdir().unwrap(),
            options: RefCell::new(options.iter().map(|option| (*option).to_owned()).collect()),
        };
        world.link(backend);
        world.build();
        world.start();
        world
    }

    /// Makes `iptables` the program of a backend.
    fn link(&self, backend: Backend) {
        let folder = self.path("links");
        fs::create_dir(&folder).unwrap();
        let backend = nattrace_apply::backend_name(backend);
        for name in ["iptables", "ip6tables"] {
            for does in ["", "-save", "-restore"] {
                let program = crate::find(&format!("{name}-{backend}{does}"));
                let link = folder.join(format!("{name}{does}"));
                std::os::unix::fs::symlink(program.expect("iptables has both"), link).unwrap();
            }
        }
    }

    /// A program on the machine with Docker.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = command_in(&self.namespace("host"), program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("links").display()));
        // Other tests share the file system, but not the rules that it locks.
        command.env("XTABLES_LOCKFILE", self.path("xtables.lock"));
        command
    }

    /// The namespace of a machine.
    pub(crate) fn namespace(&self, machine: &str) -> PathBuf {
        Path::new("/var/run/netns").join(format!("{}-{machine}", self.prefix))
    }

    /// Where a file of this world is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn build(&self) {
        let p = &self.prefix;
        for machine in NAMESPACES {
            let name = format!("{p}-{machine}");
            let ran = run(Command::new("ip").args(["netns", "add", &name]));
            assert!(ran.succeeded, "{}", ran.text);
            quieten(&self.namespace(machine));
        }
        let mut lines = format!(
            "ip -n {p}-switch link add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             ip -n {p}-switch link set lan up\n"
        );
        for machine in ["host", "gw", "peer"] {
            lines += &format!(
                "ip -n {p}-switch link add {machine} type veth peer name eth0 netns {p}-{machine}\n\
                 ip -n {p}-switch link set {machine} master lan up\n\
                 ip -n {p}-{machine} link set lo up\n\
                 ip -n {p}-{machine} link set eth0 up\n"
            );
        }
        lines += &format!(
            "ip -n {p}-host addr add 203.0.113.10/24 brd + dev eth0\n\
             ip -n {p}-host addr add 203.0.113.11/24 brd + dev eth0\n\
             ip -n {p}-host addr add 2001:db8:1::10/64 dev eth0 nodad\n\
             ip -n {p}-host route add default via 203.0.113.1\n\
             ip -n {p}-host route add default via 2001:db8:1::1\n\
             ip -n {p}-gw addr add 203.0.113.1/24 brd + dev eth0\n\
             ip -n {p}-gw addr add 2001:db8:1::1/64 dev eth0 nodad\n\
             ip -n {p}-gw addr add 198.51.100.7/32 dev lo\n\
             ip -n {p}-gw addr add 192.0.2.99/32 dev lo\n\
             ip -n {p}-gw addr add 2001:db8:7::7/128 dev lo nodad\n\
             ip -n {p}-peer addr add 203.0.113.20/24 brd + dev eth0\n\
             ip -n {p}-peer addr add 2001:db8:1::20/64 dev eth0 nodad\n\
             ip -n {p}-peer route add default via 203.0.113.1\n\
             ip -n {p}-peer route add default via 2001:db8:1::1\n\
             ip -n {p}-peer route add 172.16.0.0/12 via 203.0.113.10\n\
             ip -n {p}-peer route add 192.168.0.0/16 via 203.0.113.10\n\
             ip -n {p}-peer route add fd00::/8 via 2001:db8:1::10\n"
        );
        let ran = run(Command::new("sh").args(["-ec", &lines]));
        assert!(ran.succeeded, "the machines can't be built: {}", ran.text);
    }

    /// Starts the daemon anew with other options.
    pub(crate) fn restart_with(&self, options: Vec<String>) -> Vec<String> {
        self.stop();
        let before = self.options.replace(options);
        self.start();
        self.quieten();
        before
    }

    pub(crate) fn options(&self) -> Vec<String> {
        self.options.borrow().clone()
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) fn start(&self) {
        fs::write(self.path("daemon.json"), "{}").unwrap();
        let log =
            fs::File::options().create(true).append(true).open(self.path("dockerd.log")).unwrap();
        let mut command = self.command("dockerd");
        for (option, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "dockerd.pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(option).arg(self.path(name));
        }
        command
            .args(["-H", &self.socket(), "--storage-driver", "vfs"])
            .args(self.options.borrow().iter());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().expect("dockerd is there");
        let end = Instant::now() + Duration::from_secs(60);
        while !run(self.docker().args(["version"])).succeeded {
            let ended = child.try_wait().unwrap().is_some();
            let log = || fs::read_to_string(self.path("dockerd.log")).unwrap_or_default();
            assert!(!ended && Instant::now() < end, "dockerd does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        // It is waited for, so that it is no zombie when it ends.
        std::thread::spawn(move || child.wait());
    }

    fn pid(&self) -> Option<String> {
        let pid = fs::read_to_string(self.path("dockerd.pid")).ok()?.trim().to_owned();
        Path::new("/proc").join(&pid).exists().then_some(pid)
    }

    /// Ends the daemon; containers go on with `--live-restore`.
    pub(crate) fn stop(&self) {
        let Some(pid) = self.pid() else { return };
        run(Command::new("kill").args(["-TERM", &pid]));
        let end = Instant::now() + Duration::from_secs(20);
        while Path::new("/proc").join(&pid).exists() {
            if Instant::now() > end {
                run(Command::new("kill").args(["-KILL", &pid]));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The client.
    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.socket());
        command
    }

    /// Runs the client with arguments that are separated by spaces.
    #[track_caller]
    pub(crate) fn docker_run(&self, arguments: &str) -> String {
        let ran = run(self.docker().args(arguments.split_whitespace()));
        assert!(ran.succeeded, "`docker {arguments}` failed: {}", ran.text);
        ran.text
    }

    /// Makes an image of nothing but busybox.
    pub(crate) fn import_image(&self, name: &str) {
        let folder = self.path("image/bin");
        fs::create_dir_all(&folder).unwrap();
        let busybox = crate::find("busybox").expect("asked for before");
        fs::copy(busybox, folder.join("busybox")).unwrap();
        fs::set_permissions(folder.join("busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        let (tar, image) = (self.path("image.tar"), self.path("image"));
        let ran = run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(image).arg("."));
        assert!(ran.succeeded, "{}", ran.text);
        self.docker_run(&format!("import {} {name}", tar.display()));
    }

    /// Every container that runs.
    pub(crate) fn containers(&self) -> Vec<Container> {
        let ids = self.docker_run("ps -q --no-trunc");
        let ids: Vec<&str> = ids.lines().collect();
        let inspected: Value =
            serde_json::from_str(&self.docker_run(&format!("inspect {}", ids.join(" ")))).unwrap();
        let mut containers: Vec<Container> = inspected
            .as_array()
            .unwrap()
            .iter()
            .map(|container| self.container(container))
            .collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        containers
    }

    fn container(&self, inspected: &Value) -> Container {
        let mut addresses = Vec::new();
        for (network, endpoint) in inspected["NetworkSettings"]["Networks"].as_object().unwrap() {
            let option = "{{index .Options \"com.docker.network.bridge.name\"}}";
            let ran = run(self.docker().args(["network", "inspect", network, "--format", option]));
            let bridge = match ran.text.trim() {
                "" => format!("br-{}", &endpoint["NetworkID"].as_str().unwrap()[..12]),
                named => named.to_owned(),
            };
            for key in ["IPAddress", "GlobalIPv6Address"] {
                if let Ok(address) = endpoint[key].as_str().unwrap_or("").parse() {
                    addresses.push((address, bridge.clone()));
                }
            }
        }
        let pid = inspected["State"]["Pid"].as_u64().unwrap();
        let namespace = PathBuf::from(format!("/proc/{pid}/ns/net"));
        quieten(&namespace);
        let name = inspected["Name"].as_str().unwrap().trim_start_matches('/').to_owned();
        Container { name, namespace, addresses }
    }

    /// Collects a snapshot of the machine with Docker with the program under test.
    pub(crate) fn snapshot(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("zones.toml"), ZONES).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_nattrace"));
        command.args(["snapshot", "-o"]).arg(&folder).env("DOCKER_HOST", self.socket());
        let ran = run(&mut command);
        assert!(ran.succeeded, "no snapshot: {}", ran.text);
        folder
    }

    /// Keeps everybody from saying what nobody asked for; again once interfaces have come up.
    pub(crate) fn quieten(&self) {
        for machine in NAMESPACES {
            quieten(&self.namespace(machine));
        }
    }

    /// Runs lines of shell on the machine with Docker.
    #[track_caller]
    pub(crate) fn on_host(&self, lines: &str) -> String {
        let ran = run(self.command("sh").args(["-ec", lines]));
        assert!(ran.succeeded, "`{lines}` failed: {}", ran.text);
        ran.text
    }
}

impl Drop for World {
    /// Nothing may stop half way, whatever went wrong before.
    fn drop(&mut self) {
        let listed = run(self.docker().args(["ps", "-aq"]));
        if listed.succeeded && !listed.text.trim().is_empty() {
            run(self.docker().args(["rm", "-f"]).args(listed.text.lines()));
        }
        self.stop();
        let folder = self.folder.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in ours.filter(|mount| mount.starts_with(&folder)) {
            run(Command::new("umount").args(["-l", mount]));
        }
        for machine in NAMESPACES {
            let name = format!("{}-{machine}", self.prefix);
            run(Command::new("ip").args(["netns", "del", &name]));
        }
    }
}

/// Settings under which nothing is sent that nobody asked for, and nothing is held back.
fn quieten(namespace: &Path) {
    let settings = [
        ("net/ipv4/tcp_synack_retries", "0"),
        ("net/ipv4/tcp_syn_retries", "1"),
        ("net/ipv4/icmp_ratelimit", "0"),
        ("net/ipv4/icmp_msgs_per_sec", "100000"),
        ("net/ipv4/icmp_msgs_burst", "100000"),
        ("net/ipv6/icmp/ratelimit", "0"),
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/default/router_solicitations", "0"),
    ];
    inside(namespace, || {
        for (path, value) in settings {
            // Some belong to the whole machine on some kernels, and are not ours to change then.
            drop(fs::write(Path::new("/proc/sys").join(path), value));
        }
        // Neighbours are not asked again whether they are still there: that passes the rules.
        let neighbours = fs::read_dir("/proc/sys/net/ipv6/neigh").into_iter().flatten();
        for interface in neighbours.filter_map(Result::ok) {
            drop(fs::write(interface.path().join("base_reachable_time_ms"), "3600000"));
        }
    });
}
