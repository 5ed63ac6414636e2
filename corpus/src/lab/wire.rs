//! The wires of the host under test: TAP devices, whose other end the lab holds.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::fragment::{self, Cut, Fragment};
use super::frame::{Arp, Checksum, Content, Frame, Mac, WirePacket};
use super::surroundings::{Surroundings, WireName};
use nattrace_model::packet::protocol;

/// A packet that left the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departed {
    /// The wire it left by.
    pub(crate) wire: WireName,
    /// The hardware address it was sent to.
    pub(crate) to: Mac,
    pub(crate) packet: WirePacket,
}

/// A fragment that left the host.
struct Departing {
    wire: WireName,
    to: Mac,
    fragment: Fragment,
}

/// Every wire of the host.
pub(crate) struct Wires {
    taps: Vec<(WireName, SyncDevice)>,
    surroundings: Rc<dyn Surroundings>,
    /// How many packets were cut: the fragments of each are told from others by it.
    cut: Cell<u32>,
}

/// How long the wires must be quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all: the kernel forwards, answers and refuses within the call that hands it a frame.
    Little,
    /// A little while, for what the kernel does later, in another thread.
    Much,
    /// So long that a busy machine has come round to it.
    Most,
}

impl Patience {
    /// How long the wires must be quiet.
    fn pause(self) -> Option<Duration> {
        match self {
            Self::Little => None,
            Self::Much => Some(LOOK),
            Self::Most => Some(LONG_LOOK),
        }
    }
}

/// How often the wires are looked at without anything coming before they are taken to be quiet.
const QUIET_LOOKS: u32 = 3;

/// How long between two looks.
const LOOK: Duration = Duration::from_micros(250);
const LONG_LOOK: Duration = Duration::from_millis(25);

impl Wires {
    /// Takes hold of the TAP devices, which must exist.
    pub(crate) fn attach(surroundings: Rc<dyn Surroundings>) -> io::Result<Self> {
        let mut taps = Vec::new();
        for name in surroundings.wires().iter().copied() {
            let tap = DeviceBuilder::new().name(name).layer(Layer::L2).build_sync()?;
            tap.set_nonblocking(true)?;
            taps.push((name, tap));
        }
        Ok(Self { taps, surroundings, cut: Cell::default() })
    }

    fn tap(&self, wire: &str) -> io::Result<&SyncDevice> {
        let found = self.taps.iter().find(|(name, _)| *name == wire);
        found.map(|(_, tap)| tap).ok_or_else(|| io::Error::other(format!("no wire `{wire}`")))
    }

    /// Sends a frame into the host.
    pub(crate) fn send(&self, wire: &str, frame: &Frame, checksum: Checksum) -> io::Result<()> {
        let bytes = frame.encode(checksum);
        self.tap(wire)?.send(&bytes).map(drop)
    }

    /// Sends a frame, in fragments if it is to be cut.
    pub(crate) fn send_cut(
        &self,
        wire: &str,
        frame: &Frame,
        checksum: Checksum,
        cut: Option<Cut>,
    ) -> io::Result<()> {
        let Some(cut) = cut else { return self.send(wire, frame, checksum) };
        self.cut.set(self.cut.get().wrapping_add(1));
        for bytes in frame.encode_cut(checksum, cut, self.cut.get()) {
            self.tap(wire)?.send(&bytes)?;
        }
        Ok(())
    }

    /// Takes what has left the host until the wires are quiet, and answers ARP meanwhile.
    pub(crate) fn collect(&self, patience: Patience) -> io::Result<Vec<Departed>> {
        let mut departed = Vec::new();
        let mut apart = Vec::new();
        let mut looks = 0;
        while looks < QUIET_LOOKS {
            match (self.look(&mut departed, &mut apart)?, patience.pause()) {
                (true, _) => looks = 0,
                (false, None) => break,
                (false, Some(pause)) => {
                    looks += 1;
                    std::thread::sleep(pause);
                }
            }
        }
        // What is still missing does not come any more.
        departed.extend(apart.into_iter().map(|Departing { wire, to, fragment }| {
            let packet = fragment.packet.with_body(match fragment.piece.offset {
                0 => &fragment.piece.bytes,
                _ => &[],
            });
            Departed { wire, to, packet }
        }));
        Ok(departed)
    }

    fn look(&self, departed: &mut Vec<Departed>, apart: &mut Vec<Departing>) -> io::Result<bool> {
        let mut any = false;
        let mut buffer = [0; 4096];
        for (wire, tap) in &self.taps {
            loop {
                let length = match tap.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                any = true;
                let Some(frame) = buffer.get(..length).and_then(Frame::decode) else { continue };
                match frame.content {
                    Content::Arp(arp) => self.answer_arp(wire, &arp)?,
                    Content::Packet(packet) if !is_housekeeping(&packet) => {
                        departed.push(Departed { wire, to: frame.destination, packet });
                    }
                    Content::Fragment(fragment) => {
                        apart.push(Departing { wire, to: frame.destination, fragment });
                        departed.extend(put_together(apart));
                    }
                    Content::Packet(_) | Content::Other => {}
                }
            }
        }
        Ok(any)
    }

    /// Answers for every address that somebody behind the wire may have.
    fn answer_arp(&self, wire: WireName, arp: &Arp) -> io::Result<()> {
        let asked = arp.target.1;
        if arp.operation != 1 || !self.surroundings.answers(wire, asked) {
            return Ok(());
        }
        let mac = self.surroundings.mac_of(asked.into());
        let reply = Arp { operation: 2, sender: (mac, asked), target: arp.sender };
        let frame = Frame { destination: arp.sender.0, source: mac, content: Content::Arp(reply) };
        self.send(wire, &frame, Checksum::Right)
    }
}

/// The packet of which the last fragment has come, if nothing of it is missing.
fn put_together(apart: &mut Vec<Departing>) -> Option<Departed> {
    let last = apart.last()?;
    let (wire, to, fragment) = (last.wire, last.to, last.fragment.clone());
    let same = |other: &Departing| other.wire == wire && other.fragment.belongs_to(&fragment);
    let all: Vec<Fragment> =
        apart.iter().filter(|other| same(other)).map(|other| other.fragment.clone()).collect();
    let packet = fragment::whole(&all)?;
    apart.retain(|other| !same(other));
    Some(Departed { wire, to, packet })
}

/// Neighbour discovery with redirects, and group reports: what the kernel sends by itself.
fn is_housekeeping(packet: &WirePacket) -> bool {
    use super::frame::Body;
    match (packet.protocol, &packet.body) {
        (2, _) => true,
        (0, _) => packet.source.is_ipv6(),
        (protocol::ICMPV6, Body::Icmp { kind, .. }) => matches!(kind, 130..=137 | 143),
        _ => false,
    }
}
