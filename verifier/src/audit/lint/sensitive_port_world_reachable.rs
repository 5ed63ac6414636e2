//! A database or an administration port that the whole internet reaches.

use nattrace_model::answer::{Answer, Outcome};
use nattrace_model::flow::Flow;
use nattrace_model::packet::protocol;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet_by};

pub(super) const CODE: CodeOf = "sensitive-port-world-reachable";

/// Ports of services that trust whoever reaches them, or that are attacked on sight.
const SENSITIVE: [(u16, &str); 24] = [
    (111, "rpcbind"),
    (389, "LDAP"),
    (445, "SMB"),
    (873, "rsync"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (2049, "NFS"),
    (2375, "the Docker API"),
    (2379, "etcd"),
    (2380, "etcd"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (5432, "PostgreSQL"),
    (5601, "Kibana"),
    (5900, "VNC"),
    (5984, "CouchDB"),
    (6379, "Redis"),
    (8086, "InfluxDB"),
    (9042, "Cassandra"),
    (9200, "Elasticsearch"),
    (10250, "the kubelet"),
    (11211, "memcached"),
    (15672, "RabbitMQ"),
    (27017, "MongoDB"),
];

fn service(port: u16) -> Option<&'static str> {
    SENSITIVE.iter().find(|(number, _)| *number == port).map(|(_, name)| *name)
}

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for port in scene.published().into_iter().filter(|port| port.protocol == protocol::TCP) {
        let Some(service) = service(port.container_port).or_else(|| service(port.host_port)) else {
            continue;
        };
        let flows = FAMILIES.into_iter().flat_map(|family| scene.to_published(&port, family));
        let (commands, witness) = connecting(scene, flows);
        if let Some(witness) = witness {
            found.push(
                finding(service, port.host_port, &format!("container `{}`", port.container.name))
                    .fixed_by(
                        commands,
                        &format!(
                            "or publish it where it is needed: -p 127.0.0.1:{}:{}",
                            port.host_port, port.container_port
                        ),
                    )
                    .witness(witness),
            );
        }
    }
    found.extend(of_listeners(scene));
    found
}

/// Services of the host itself.
fn of_listeners(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let listeners = scene.host().listeners.as_deref().unwrap_or_default();
    let mut ports: Vec<u16> = listeners
        .iter()
        .filter(|own| !own.processes.iter().any(|process| process == "docker-proxy"))
        .map(|own| own.port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    for (port, service) in ports.into_iter().filter_map(|port| Some((port, service(port)?))) {
        let flows = FAMILIES.into_iter().flat_map(|family| {
            scene.uplinks(family).into_iter().filter_map(move |uplink| {
                let address = Scene::addresses(uplink, family).next()?;
                let source = Scene::outsider(family);
                Some(packet_by(&uplink.name, source, address, protocol::TCP, port))
            })
        });
        let (commands, witness) = connecting(scene, flows);
        if let Some(witness) = witness {
            found.push(
                finding(service, port, "a process of this host")
                    .fixed_by(commands, "or let it listen on 127.0.0.1 only")
                    .witness(witness),
            );
        }
    }
    found
}

/// The commands that stop the packets that connect, and the answer to the first of them.
fn connecting(
    scene: &Scene<'_>,
    flows: impl Iterator<Item = Flow>,
) -> (Vec<String>, Option<Answer>) {
    let answers = flows.map(|flow| scene.why(&flow));
    let open: Vec<Answer> = answers.filter(|answer| answer.outcome == Outcome::Connects).collect();
    let mut commands: Vec<String> = open.iter().map(|answer| scene.stopping(answer)).collect();
    commands.dedup();
    (commands, open.into_iter().next())
}

fn finding(service: &str, port: u16, whom: &str) -> Finding {
    Finding::new(CODE, Severity::Error, format!("{service} (port {port}) is open to the internet"))
        .effect(format!("every host of the internet reaches {whom}"))
}
