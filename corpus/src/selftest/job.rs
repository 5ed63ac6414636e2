//! What is handed to the process in the network namespace, and what it hands back.

use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nattrace_model::System;
use nattrace_model::build::{self, Text, Untold, part_of};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::host::Part;
use nattrace_parser::syntax::{Backend, Family};
use serde::{Deserialize, Serialize};

use super::{Report, Sample, SelftestError, namespace_options, run};

/// A host as texts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Description {
    /// The parts of a snapshot: name and text.
    pub parts: Vec<(String, String)>,
    /// Rules given beside it: name and text.
    pub rules: Vec<(String, String)>,
    /// The family of rules that do not tell theirs.
    pub family: Option<u8>,
    /// Whether rules that do not tell their backend are of the legacy one.
    pub legacy: Option<bool>,
}

impl Description {
    fn system(&self) -> System {
        let untold = Untold {
            family: self.family.map(|four| if four == 6 { Family::Ipv6 } else { Family::Ipv4 }),
            backend: self.legacy.map(|old| if old { Backend::Legacy } else { Backend::Nft }),
        };
        build::load_with(&texts(&self.parts), &texts(&self.rules), untold).system
    }

    /// The text of a part, empty if it is not there.
    pub(super) fn part(&self, wanted: Part) -> &str {
        let is_it =
            |(name, _): &&(String, String)| part_of(name).is_some_and(|(part, _)| part == wanted);
        self.parts.iter().find(is_it).map_or("", |(_, text)| text)
    }
}

fn texts(texts: &[(String, String)]) -> Vec<Text<'_>> {
    texts.iter().map(|(name, text)| Text { name, text }).collect()
}

/// A self-test to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The host to be rebuilt.
    pub host: Description,
    /// The host that the simulator is asked about, where it is another one: so it is seen that
    /// a wrong claim is found.
    pub claimed: Option<Description>,
    /// The packets.
    pub sample: Sample,
}

/// A job on its way.
#[derive(Serialize, Deserialize)]
struct Task {
    job: Job,
    /// The network namespace that must not be touched.
    outside: PathBuf,
}

/// The network namespace of this process.
fn own_namespace() -> io::Result<PathBuf> {
    fs::read_link("/proc/self/ns/net")
}

/// What comes back.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    /// The self-test took place.
    Report(Box<Report>),
    /// It could not.
    Failed(String),
}

impl Job {
    /// Makes the self-test in a network namespace, in which `program` with `arguments` calls
    /// [`serve`].
    ///
    /// # Errors
    ///
    /// No namespace can be made, or the host can't be rebuilt.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Result<Report, SelftestError> {
        let options = namespace_options()
            .ok_or_else(|| io::Error::other("no network namespace can be made"))?;
        // The program's children end with it, and its namespace with them.
        let mut child = Command::new("unshare")
            .args(options)
            .args(["--pid", "--fork", "--kill-child", "--"])
            .arg(program)
            .args(arguments)
            // The lock of the host's own rules is none of ours, and a user may not even have it.
            .env("XTABLES_LOCKFILE", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let task = Task { job: self.clone(), outside: own_namespace()? };
            stdin.write_all(&serde_json::to_vec(&task).map_err(io::Error::other)?)?;
        }
        let output = child.wait_with_output()?;
        match serde_json::from_slice(&output.stdout) {
            Ok(Reply::Report(report)) => Ok(*report),
            Ok(Reply::Failed(why)) => Err(SelftestError::NotRebuilt(why)),
            Err(_) => {
                let why = format!("the process in the network namespace failed: {}", output.status);
                Err(io::Error::other(why).into())
            }
        }
    }
}

/// Reads a job, makes the self-test in the network namespace of this process, and writes what
/// came of it.
///
/// # Errors
///
/// The job can't be read, the namespace is that of whoever gave it, or the report can't be
/// written.
pub fn serve(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let Task { job, outside } = serde_json::from_reader(input).map_err(io::Error::other)?;
    if own_namespace()? == outside {
        return Err(io::Error::other("this is not a network namespace of its own"));
    }
    let host = job.host.system();
    let claimed = job.claimed.as_ref().map(Description::system);
    let claimed = claimed.as_ref().unwrap_or(&host);
    let reply = match run(&host, &job.host, claimed, &job.sample) {
        Ok(report) => Reply::Report(Box::new(report)),
        Err(error) => Reply::Failed(error.to_string()),
    };
    serde_json::to_writer(&mut *output, &reply).map_err(io::Error::other)?;
    output.flush()
}

/// [`FlowState`], for serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "FlowState", rename_all = "lowercase")]
enum StateDef {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

/// [`Flow`], for serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Flow")]
pub(super) struct FlowDef {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    in_interface: Option<String>,
    #[serde(with = "StateDef")]
    state: FlowState,
    mark: u32,
    tcp_flags: Option<u8>,
    icmp: Option<(u8, u8)>,
    ttl: Option<u8>,
    any_source: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_whoever_gave_the_job_is_not_touched() {
        let job = Job {
            host: Description::default(),
            claimed: None,
            sample: Sample::Drawn { packets: 1, seed: 1 },
        };
        let task = Task { job, outside: own_namespace().unwrap() };
        let text = serde_json::to_vec(&task).unwrap();
        let error = serve(&mut text.as_slice(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "this is not a network namespace of its own");
    }
}
