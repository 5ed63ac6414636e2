//! Kept cases: a ruleset and a packet about which simulator and kernel once disagreed, with what the
//! kernel did. They are asked again without a kernel, and sent again into one.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nattrace_model::build::{Text, load};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_parser::syntax::{Backend, Family, TableName};
use serde::{Deserialize, Serialize};

use super::comparison::{Judgement, Prediction};
use super::drawing;
use super::fragment::Cut;
use super::frame::WirePacket;
use super::native;
use super::rules::{Counted, Loader};
use super::session::Session;
use super::shrink::Found;
use super::socket::Call;
use super::topology::{Around, Variation, WIRES};
use super::trace;
use super::trial::{Observation, Seen, Start, Trial};
use super::wire::Departed;

/// The folder of the kept cases.
#[must_use]
pub fn kept_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kept")
}

/// A kept case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What was wrong, for people.
    pub what: Vec<String>,
    legacy: bool,
    /// The rules as iptables-save prints them.
    rules: String,
    /// The native tables, as `nft -f` reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<String>,
    /// The same as `nft -j list ruleset` printed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listing: Option<String>,
    variation: Variation,
    packet: Packet,
    kernel: Record,
}

/// The packet that is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packet {
    /// The wire and the hardware address that it is sent to; a local process sends it without.
    wire: Option<(String, [u8; 6])>,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
    in_interface: Option<String>,
    state: State,
    mark: u32,
    tcp_flags: Option<u8>,
    icmp: Option<(u8, u8)>,
    ttl: Option<u8>,
    any_source: bool,
    /// How it is cut into fragments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

/// What the kernel did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// How the local process's call failed, if it did.
    refused: Option<String>,
    forth: SeenThen,
    back: Option<SeenThen>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenThen {
    /// Rules and policies in the order in which they were met.
    met: Vec<Counted>,
    departed: Vec<(String, [u8; 6], WirePacket)>,
}

impl Kept {
    /// Reads every kept case, by name.
    ///
    /// # Errors
    ///
    /// A file can't be read, or is not in the expected form.
    pub fn read_all(folder: &Path) -> io::Result<Vec<(String, Self)>> {
        let files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut files = files.collect::<io::Result<Vec<PathBuf>>>()?;
        files.sort();
        let read = |file: PathBuf| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let kept = toml::from_str(&fs::read_to_string(&file)?)
                .map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            Ok((name, kept))
        };
        files.into_iter().map(read).collect()
    }

    /// Whether its rules were loaded through iptables-legacy, and its family.
    #[must_use]
    pub fn kind(&self) -> (Backend, Family) {
        let backend = if self.legacy { Backend::Legacy } else { Backend::Nft };
        (backend, Family::of(self.packet.source))
    }

    /// What the simulator says otherwise than the kernel did then; nothing if it agrees.
    ///
    /// # Errors
    ///
    /// The recorded host can't be read, or the case names what is not there.
    pub fn ask(&self) -> io::Result<Vec<String>> {
        let (backend, family) = self.kind();
        let mut texts = drawing::host(&self.variation, family)?;
        texts.push((Loader { family, backend }.part().to_owned(), self.rules.clone()));
        texts.extend(self.listing.clone().map(|listing| (native::PART.to_owned(), listing)));
        let borrowed: Vec<Text<'_>> =
            texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&borrowed, &[]);
        if loaded.has_errors() {
            return Ok(vec![format!("it is not taken: {:?}", loaded.diagnostics)]);
        }
        let trial = self.trial()?;
        let prediction = Prediction::of(&Around, &loaded.system, &trial);
        Ok(differences(prediction.judge(&self.observation()?)))
    }

    /// Sends it into the kernel again: what the simulator says otherwise, or why it can't be sent.
    pub(crate) fn send(
        &self,
        session: &Session,
        before: Option<&Variation>,
    ) -> io::Result<Vec<String>> {
        self.variation.apply(before, self.kind().1)?;
        // What is left in a table that is not named goes.
        let named = |table: &TableName| self.rules.contains(&format!("*{}\n", table.as_str()));
        let others = TableName::ALL.into_iter().filter(|table| !named(table));
        let others: String = others.map(|table| format!("*{}\nCOMMIT\n", table.as_str())).collect();
        let native = self.native.as_ref().map(|native| format!("{}\n{native}", native::MARKER));
        let rules = self.rules.clone() + &others + &native.unwrap_or_default();
        let loaded = match session.load(&rules)? {
            Ok(loaded) => loaded,
            Err(why) => return Ok(vec![format!("the rules are refused: {why}")]),
        };
        let differences = match session.try_again(&loaded, &self.trial()?)? {
            Ok(tried) => differences(tried.judgement),
            Err(skipped) => vec![format!("it can't be sent: {skipped:?}")],
        };
        if self.native.is_some() {
            native::load("")?.map_err(io::Error::other)?;
        }
        Ok(differences)
    }

    pub(crate) fn variation(&self) -> &Variation {
        &self.variation
    }

    fn trial(&self) -> io::Result<Trial> {
        let packet = &self.packet;
        let flow = Flow {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            source_port: packet.ports.map(|(source, _)| source),
            destination_port: packet.ports.map(|(_, destination)| destination),
            in_interface: packet.in_interface.clone(),
            state: match packet.state {
                State::New => FlowState::New,
                State::Established => FlowState::Established,
                State::Related => FlowState::Related,
                State::Invalid => FlowState::Invalid,
                State::Untracked => FlowState::Untracked,
            },
            mark: packet.mark,
            tcp_flags: packet.tcp_flags,
            icmp: packet.icmp,
            ttl: packet.ttl,
            any_source: packet.any_source,
        };
        let start = match &packet.wire {
            Some((wire, mac)) => Start::Wire(wire_named(wire)?, *mac),
            None => Start::Local,
        };
        Ok(Trial { flow, start, cut: packet.cut })
    }

    fn observation(&self) -> io::Result<Observation> {
        let seen = |then: &SeenThen| -> io::Result<Seen> {
            let departed = |(wire, to, packet): &(String, [u8; 6], WirePacket)| {
                Ok(Departed { wire: wire_named(wire)?, to: *to, packet: packet.clone() })
            };
            let departed = then.departed.iter().map(departed).collect::<io::Result<_>>()?;
            let counts = trace::counts(&then.met);
            Ok(Seen { met: Some(then.met.clone()), counts, departed })
        };
        Ok(Observation {
            forth: seen(&self.kernel.forth)?,
            back: self.kernel.back.as_ref().map(seen).transpose()?,
            call: match &self.kernel.refused {
                Some(why) => Call::Refused(why.clone()),
                None => Call::Done,
            },
        })
    }

    /// A disagreement as a case; `None` where the order of the rules is not known.
    pub(crate) fn of(found: &Found, variation: &Variation, loader: Loader) -> Option<Self> {
        let flow = &found.trial.flow;
        let then = |seen: &Seen| {
            let departed = seen.departed.iter();
            let departed = departed.map(|d| (d.wire.to_owned(), d.to, d.packet.clone())).collect();
            Some(SeenThen { met: seen.met.clone()?, departed })
        };
        let back = match &found.observed.back {
            Some(back) => Some(then(back)?),
            None => None,
        };
        let part = |part: &str| {
            let (_, text) = found.loaded.texts.iter().find(|(name, _)| name == part)?;
            Some(text.clone())
        };
        Some(Self {
            what: found.differences.clone(),
            legacy: loader.backend == Backend::Legacy,
            rules: without_comments(&part(loader.part())?),
            native: native::split(&found.rules).1.map(|native| native.trim_start().to_owned()),
            listing: part(native::PART),
            variation: variation.clone(),
            packet: Packet {
                wire: match found.trial.start {
                    Start::Wire(wire, mac) => Some((wire.to_owned(), mac)),
                    Start::Local => None,
                },
                source: flow.source,
                destination: flow.destination,
                protocol: flow.protocol,
                ports: flow.source_port.zip(flow.destination_port),
                in_interface: flow.in_interface.clone(),
                state: match flow.state {
                    FlowState::New => State::New,
                    FlowState::Established => State::Established,
                    FlowState::Related => State::Related,
                    FlowState::Invalid => State::Invalid,
                    FlowState::Untracked => State::Untracked,
                },
                mark: flow.mark,
                tcp_flags: flow.tcp_flags,
                icmp: flow.icmp,
                ttl: flow.ttl,
                any_source: flow.any_source,
                cut: found.trial.cut,
            },
            kernel: Record {
                refused: match &found.observed.call {
                    Call::Refused(why) => Some(why.clone()),
                    Call::Done => None,
                },
                forth: then(&found.observed.forth)?,
                back,
            },
        })
    }

    /// Writes it into a folder.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let text = toml::to_string(self).map_err(io::Error::other)?;
        fs::write(folder.join(format!("{name}.toml")), text)
    }
}

/// What was saved, without when and by which program it was.
fn without_comments(saved: &str) -> String {
    saved.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
}

fn wire_named(name: &str) -> io::Result<&'static str> {
    let found = WIRES.into_iter().find(|wire| *wire == name);
    found.ok_or_else(|| io::Error::other(format!("no wire `{name}`")))
}

fn differences(judgement: Judgement) -> Vec<String> {
    match judgement {
        Judgement::Disagrees(differences) => differences,
        Judgement::Agrees | Judgement::AgreesInABranch | Judgement::Undetermined => Vec::new(),
    }
}
