//! A case: a snapshot of a host, and what its kernel did with real packets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nattrace_model::build::Text;
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::protocol;
use serde::Deserialize;

/// The folder of the cases that belong to the project.
#[must_use]
pub fn cases_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// A case as it lies on disk.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name of its folder.
    pub name: String,
    /// The parts of the snapshot: file name and text.
    pub parts: Vec<(String, String)>,
    /// What the kernel did.
    pub probes: Vec<Probe>,
}

/// One real packet or connection, and what came of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// Its number in the case.
    pub n: String,
    /// What it is about, for people.
    pub probe: String,
    /// Who sent it.
    pub kind: Sender,
    /// The packet, in the form of `why --flows`.
    pub flow: ProbeFlow,
    /// What the sender experienced: an outcome of CLI.md.
    pub result: String,
    /// The host that answered, or refused.
    pub answered_by: Option<String>,
    /// The source that the answering socket saw.
    pub seen_src: Option<std::net::IpAddr>,
    /// The destination that the answering socket saw.
    pub seen_dst: Option<std::net::IpAddr>,
    /// The port that the answering socket saw.
    pub seen_dport: Option<u16>,
    /// The rules whose packet counters moved, the answer included.
    pub counters: Vec<CounterDelta>,
}

/// Who sent a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// A container.
    Container,
    /// A process of the host.
    Host,
    /// A machine outside.
    Outside,
}

/// The packet of a probe.
#[derive(Clone, Debug, Deserialize)]
pub struct ProbeFlow {
    /// The source address.
    pub src: std::net::IpAddr,
    /// The source port.
    pub sport: Option<u16>,
    /// The destination address.
    pub dst: std::net::IpAddr,
    /// The destination port.
    pub dport: Option<u16>,
    /// The protocol.
    pub proto: ProbeProtocol,
    /// The interface by which it comes in; none for a local process.
    pub iif: Option<String>,
}

/// The protocol of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ProbeProtocol {
    Tcp,
    Udp,
    Icmp,
}

impl Probe {
    /// The packet as the model takes it, of a connection in this state.
    #[must_use]
    pub fn question(&self, state: FlowState) -> Flow {
        self.flow.question(state)
    }
}

impl ProbeFlow {
    /// The packet as the model takes it, of a connection in this state.
    #[must_use]
    pub fn question(&self, state: FlowState) -> Flow {
        let protocol = match (self.proto, self.src.is_ipv4()) {
            (ProbeProtocol::Tcp, _) => protocol::TCP,
            (ProbeProtocol::Udp, _) => protocol::UDP,
            (ProbeProtocol::Icmp, true) => protocol::ICMP,
            (ProbeProtocol::Icmp, false) => protocol::ICMPV6,
        };
        Flow {
            source: self.src,
            destination: self.dst,
            protocol,
            source_port: self.sport,
            destination_port: self.dport,
            in_interface: self.iif.clone(),
            state,
            mark: 0,
            tcp_flags: None,
            icmp: None,
            ttl: None,
            any_source: false,
        }
    }
}

/// A rule that counted packets of a probe.
#[derive(Clone, Debug, Deserialize)]
pub struct CounterDelta {
    /// The table.
    pub table: String,
    /// The rule as iptables-save prints it.
    pub rule: String,
    /// How many packets.
    pub packets: u64,
}

impl Case {
    /// The texts of the snapshot, as the model reads them.
    #[must_use]
    pub fn texts(&self) -> Vec<Text<'_>> {
        self.parts.iter().map(|(name, text)| Text { name, text }).collect()
    }

    /// Reads a case from its folder.
    ///
    /// # Errors
    ///
    /// The folder or a file in it can't be read, or a probe is not in the expected form.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut case =
            Self { name: name.unwrap_or_default(), parts: Vec::new(), probes: Vec::new() };
        let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file == "observed.jsonl" {
                for line in fs::read_to_string(entry.path())?.lines() {
                    case.probes.push(serde_json::from_str(line).map_err(io::Error::other)?);
                }
            } else if !is_companion(&file) {
                case.parts.push((file, fs::read_to_string(entry.path())?));
            }
        }
        Ok(case)
    }

    /// Reads every case of a folder, by name.
    ///
    /// # Errors
    ///
    /// As for [`Case::read`].
    pub fn read_all(folder: &Path) -> io::Result<Vec<Self>> {
        let mut folders: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        folders.retain(|path| path.is_dir());
        folders.sort();
        folders.iter().map(|path| Self::read(path)).collect()
    }
}

/// Files beside a snapshot that are no parts of it: pages for people, and what must hold.
fn is_companion(file: &str) -> bool {
    file.ends_with(".md") || matches!(file, "nattrace.toml" | "policy.toml" | "policy.expected")
}
