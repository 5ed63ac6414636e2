//! The hosts that proofs are measured on, each a snapshot and a policy in the temporary folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A host and its policy.
pub(crate) struct Scene {
    folder: PathBuf,
    /// The rules as iptables-save prints them.
    pub(crate) rules: String,
}

impl Scene {
    pub(crate) fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    pub(crate) fn policy(&self) -> String {
        self.folder.join("policy.toml").display().to_string()
    }

    pub(crate) fn rules_file(&self) -> PathBuf {
        self.folder.join("iptables-save")
    }

    fn write(name: &str, rules: String, parts: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join("nattrace-bench-proofs").join(name);
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let put = |name: &str, text: &str| {
            fs::write(folder.join(name), text).expect("the temporary folder can be written");
        };
        put("iptables-save", &rules);
        parts.iter().for_each(|(name, text)| put(name, text));
        Self { folder, rules }
    }
}

fn generate(arguments: &[&str]) -> Option<String> {
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/gen_rulesets.py");
    let made = Command::new("python3").arg(generator).args(arguments).output().ok()?;
    made.status.success().then(|| String::from_utf8_lossy(&made.stdout).into_owned())
}

/// A firewall between two networks with one long chain of random rules.
pub(crate) fn firewall(rules: usize) -> Option<Scene> {
    let text = generate(&["flat", "--rules", &rules.to_string()])?;
    let mut policy = "version = 1\n".to_owned();
    for (port, protocol) in [(80, "tcp"), (443, "tcp"), (22, "tcp"), (53, "udp"), (5432, "tcp")] {
        _ = write!(
            policy,
            "\n[[deny]]\nname = \"port {port}\"\nfrom = \"lan:eth0\"\nlands = \"internet:{port}/{protocol}\"\n"
        );
    }
    let addresses = "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope global eth0\n3: eth1: <UP>\n    inet 198.51.100.2/24 scope global eth1\n";
    let routes =
        "default via 198.51.100.1 dev eth1\n192.0.2.0/24 dev eth0\n198.51.100.0/24 dev eth1\n";
    let parts = [
        ("ip-addr", addresses),
        ("ip-route", routes),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n"),
        ("policy.toml", &policy),
    ];
    Some(Scene::write(&format!("flat-{rules}"), text, &parts))
}

/// A real firewall of about 5,000 rules, with hardware addresses in place of those that its
/// publication took out.
pub(crate) fn real() -> Option<Scene> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/public/net-network/tum");
    let read = |name: &str| fs::read_to_string(folder.join(format!("{name}-2016-03-16_13-53-28")));
    let mut rules = String::new();
    for (at, piece) in read("iptables-save").ok()?.split("XX:XX:XX:XX:XX:XX").enumerate() {
        if at > 0 {
            _ = write!(rules, "02:00:00:00:{:02x}:{:02x}", at >> 8 & 255, at & 255);
        }
        rules += piece;
    }
    let addresses = read("ip-addr").ok()?;
    let shown = |line: &&str| !line.contains("link/ether XX");
    let addresses: Vec<&str> = addresses.lines().filter(shown).collect();
    let parts = [
        ("ip-addr", addresses.join("\n") + "\n"),
        ("ip-route", read("ip-route").ok()?),
        ("ip-rule", read("ip-rule").ok()?),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n".to_owned()),
    ];
    let parts: Vec<(&str, &str)> =
        parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Some(Scene::write("real", rules, &parts))
}

/// A kubernetes node with 10,000 services.
pub(crate) fn kube() -> Option<Scene> {
    let text = generate(&["kube", "--services", "10000"])?;
    let policy = r#"version = 1

[zones.pods]
nets = ["10.244.0.0/24"]
via = ["cni0"]

[zones.cluster]
nets = ["10.244.0.0/16"]

[[allow]]
name = "pods reach a service"
from = "pods"
to = "10.96.0.9:80/tcp"

[[egress]]
name = "pods leave as the node"
from = "pods"
to = "internet"
source = "192.0.2.2"

[[allow]]
name = "pods reach the services of port 80"
from = "pods"
to = "10.96.0.0/20:80/tcp"
lands = "cluster"

[[deny]]
name = "the internet gets at no pod's port 9999"
from = "internet"
lands = "cluster:9999/tcp"

[[deny]]
name = "the neighbours reach no pods"
from = "lan:eth0"
lands = "pods"
"#;
    let parts = [
        (
            "ip-addr",
            "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope global eth0\n3: cni0: <UP>\n    inet 10.244.0.1/24 scope global cni0\n",
        ),
        (
            "ip-route",
            "default via 192.0.2.1 dev eth0\n10.244.0.0/24 dev cni0\n192.0.2.0/24 dev eth0\n10.244.0.0/16 via 192.0.2.9 dev eth0\n",
        ),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n"),
        ("policy.toml", policy),
    ];
    Some(Scene::write("kube-10000", text, &parts))
}

/// A network of a Docker host.
struct Network {
    bridge: String,
    subnet: String,
    gateway: String,
    length: u8,
}

/// A published port: protocol, port of the host, container's address and port.
type Published = (String, u16, String, u16);

/// A Docker host with 50 networks of 20 containers that publish two ports each.
pub(crate) fn docker() -> Option<Scene> {
    let text = generate(&["docker"])?;
    let networks = networks(&text);
    let published = published(&text);
    let mut addresses = "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope global eth0\n".to_owned();
    let mut routes = "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0\n".to_owned();
    let mut inspected = Vec::new();
    for (index, Network { bridge, subnet, gateway, length }) in networks.iter().enumerate() {
        _ = write!(
            addresses,
            "{}: {bridge}: <UP>\n    link/ether 02:42:00:00:00:{index:02x}\n    inet {gateway}/{length} scope global {bridge}\n",
            index + 3
        );
        _ = writeln!(routes, "{subnet} dev {bridge} src {gateway}");
        inspected.push(serde_json::json!({
            "Name": format!("net{index}"), "Id": format!("{index:064x}"), "Driver": "bridge",
            "Internal": false,
            "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway}]},
            "Options": {"com.docker.network.bridge.name": bridge},
        }));
    }
    let containers = serde_json::Value::from(containers(&networks, &published)).to_string();
    let inspected = serde_json::Value::from(inspected).to_string();
    let policy = docker_policy(&published);
    let parts = [
        ("ip-addr", addresses.as_str()),
        ("ip-route", &routes),
        ("docker-network-inspect.json", &inspected),
        ("docker-inspect.json", &containers),
        ("listeners", "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n"),
        (
            "sysctl",
            "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\nnet.ipv4.conf.all.rp_filter = 1\n",
        ),
        ("policy.toml", &policy),
    ];
    Some(Scene::write("docker-50x20x2", text, &parts))
}

fn networks(rules: &str) -> Vec<Network> {
    let lines = rules.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let ["-A", "POSTROUTING", "-s", subnet, "!", "-o", bridge, "-j", "MASQUERADE"] = *words
        else {
            return None;
        };
        let (base, length) = subnet.split_once('/')?;
        Some(Network {
            bridge: bridge.to_owned(),
            subnet: subnet.to_owned(),
            gateway: format!("{}.1", base.rsplit_once('.')?.0),
            length: length.parse().ok()?,
        })
    });
    lines.collect()
}

fn published(rules: &str) -> Vec<Published> {
    let lines = rules.lines().filter(|line| line.starts_with("-A DOCKER ")).filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let after = |word: &str| {
            let at = words.iter().position(|own| *own == word)?;
            words.get(at + 1).copied()
        };
        let (address, port) = after("--to-destination")?.split_once(':')?;
        let host = after("--dport")?.parse().ok()?;
        Some((after("-p")?.to_owned(), host, address.to_owned(), port.parse().ok()?))
    });
    lines.collect()
}

fn containers(networks: &[Network], published: &[Published]) -> Vec<serde_json::Value> {
    let mut all: Vec<(&str, Vec<&Published>)> = Vec::new();
    for one in published {
        match all.iter_mut().find(|(address, _)| *address == one.2) {
            Some((_, ports)) => ports.push(one),
            None => all.push((&one.2, vec![one])),
        }
    }
    let describe = |(index, (address, ports)): (usize, (&str, Vec<&Published>))| {
        let own: std::net::Ipv4Addr = address.parse().expect("an address");
        let at = networks.iter().position(|network| {
            let gateway: std::net::Ipv4Addr = network.gateway.parse().expect("an address");
            (own.to_bits() ^ gateway.to_bits()) >> (32 - u32::from(network.length)) == 0
        });
        let at = at.expect("every container has a network");
        let network = &networks[at];
        let mut bound = serde_json::Map::new();
        for (protocol, host, _, port) in ports {
            bound.insert(
                format!("{port}/{protocol}"),
                serde_json::json!([{"HostIp": "0.0.0.0", "HostPort": host.to_string()}]),
            );
        }
        serde_json::json!({
            "Id": format!("{:064x}", index + 1000), "Name": format!("/c{index}"),
            "State": {"Running": true}, "Config": {"Hostname": format!("c{index}")},
            "HostConfig": {"NetworkMode": format!("net{at}")},
            "NetworkSettings": {"Ports": bound, "Networks": {format!("net{at}"): {
                "IPAddress": address, "IPPrefixLen": network.length,
                "Gateway": network.gateway, "NetworkID": format!("{at:064x}"),
            }}},
        })
    };
    all.into_iter().enumerate().map(describe).collect()
}

/// Twenty entries as somebody would write them for such a host.
fn docker_policy(published: &[Published]) -> String {
    let mut policy = "version = 1\n".to_owned();
    let mut entry = |kind: &str, name: &str, rest: &str| {
        _ = write!(policy, "\n[[{kind}]]\nname = \"{name}\"\n{rest}\n");
    };
    for at in [1, 2, 3, 7, 20, 50] {
        let rest = format!("from = \"net:net{at}\"\nto = \"internet\"\nsource = \"192.0.2.2\"");
        entry("egress", &format!("net{at} wears the host's address"), &rest);
    }
    entry(
        "egress",
        "every network wears it",
        "from = \"net:*\"\nto = \"internet\"\nsource = \"192.0.2.2\"",
    );
    for at in [0, 77, 500, 1500] {
        let Some((protocol, host, address, port)) = published.get(at) else { continue };
        let rest = format!(
            "from = \"internet\"\nto = \"192.0.2.2:{host}/{protocol}\"\nlands = \"{address}:{port}\""
        );
        entry("allow", &format!("port {host} is published"), &rest);
    }
    let tcp = published.iter().filter(|one| one.0 == "tcp" && one.1 < 10_040);
    let to: Vec<String> = tcp.map(|one| format!("\"192.0.2.2:{}/tcp\"", one.1)).collect();
    let rest = format!("from = \"internet\"\nto = [{}]\nlands = \"net:*\"", to.join(", "));
    entry("allow", "the first network's ports", &rest);
    entry("allow", "ssh", "from = \"internet\"\nto = \"192.0.2.2:22/tcp\"\nlands = \"host\"");
    entry("allow", "net5 gets out", "from = \"net:net5\"\nto = \"internet:443/tcp\"");
    entry("allow", "what is published", "from = \"internet\"\nto = \"192.0.2.2:10000-11999/tcp\"");
    entry(
        "deny",
        "nothing else gets in",
        "from = \"internet\"\nlands = \"net:*\"\nproto = \"tcp\"\nexcept = [\"what is published\"]",
    );
    entry("deny", "no port 9999", "from = \"internet\"\nlands = \"net:*:9999\"");
    entry("deny", "no ssh into containers", "from = \"lan\"\nlands = \"net:*:22/tcp\"");
    entry("isolate", "two networks", "zones = [\"net:net1\", \"net:net2\"]");
    entry("isolate", "two others", "zones = [\"net:net30\", \"net:net31\"]");
    policy
}
