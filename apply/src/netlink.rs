//! Removes chains and tables of nf_tables unless somebody put something into them meanwhile.
//!
//! `nft delete chain` takes the rules of a chain along, and `iptables -X` cannot remove a table. The
//! kernel can be told both: to refuse what is in use, and to refuse where the ruleset is no longer
//! the one that was looked at.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nattrace_parser::syntax::Family;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const BATCH_GENERATION: u16 = 1;
const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
const DELETE_CHAIN: u16 = NFTABLES << 8 | 5;
const NEW_GENERATION: u16 = NFTABLES << 8 | 15;
const GET_GENERATION: u16 = NFTABLES << 8 | 16;
const GENERATION_ID: u16 = 1;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const ERROR: u16 = 2;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
/// Refuse what is in use, rather than to take along what uses it.
const NOT_RECURSIVE: u16 = 0x100;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a header is, and the part of it that all messages of netfilter share.
const HEADER: usize = 16;
const SHARED: usize = 4;

/// A way to nf_tables.
pub(crate) struct Kernel {
    socket: OwnedFd,
}

/// What stands at one moment: every change makes another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

/// A message for the kernel.
struct Message {
    kind: u16,
    flags: u16,
    family: u8,
    resource: u16,
    attributes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, family: u8) -> Self {
        Self { kind, flags, family, resource: 0, attributes: Vec::new() }
    }

    /// Adds an attribute, padded to four bytes.
    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.attributes.extend(length.to_ne_bytes());
        self.attributes.extend(kind.to_ne_bytes());
        self.attributes.extend(value);
        self.attributes.resize(self.attributes.len().next_multiple_of(4), 0);
        self
    }

    fn named(self, kind: u16, name: &str) -> Self {
        let mut name = name.as_bytes().to_vec();
        name.push(0);
        self.with(kind, &name)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + SHARED + self.attributes.len()).unwrap_or(u32::MAX);
        out.extend(length.to_ne_bytes());
        out.extend(self.kind.to_ne_bytes());
        out.extend(self.flags.to_ne_bytes());
        out.extend(number.to_ne_bytes());
        out.extend(0_u32.to_ne_bytes());
        out.extend([self.family, 0]);
        out.extend(self.resource.to_be_bytes());
        out.extend(&self.attributes);
    }
}

/// The number of a family in netfilter.
fn number_of(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

impl Kernel {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket })
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, bytes, SendFlags::empty(), &kernel)?;
        Ok(())
    }

    /// The messages of the next datagram: kind, number, and what stands behind the header.
    fn receive(&self) -> io::Result<Vec<(u16, u32, Vec<u8>)>> {
        let mut buffer = vec![0; 65_536];
        let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        buffer.truncate(length);
        let mut rest = buffer.as_slice();
        let mut messages = Vec::new();
        while let Some((length, message)) = word(rest, 0).and_then(|length| {
            let length = usize::try_from(length).ok().filter(|length| *length >= HEADER)?;
            Some((length, rest.get(..length)?))
        }) {
            let kind = half(message, 4).unwrap_or_default();
            let number = word(message, 8).unwrap_or_default();
            messages.push((kind, number, message.get(HEADER..).unwrap_or_default().to_vec()));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(messages)
    }

    /// What stands now.
    pub(crate) fn generation(&self) -> io::Result<Generation> {
        let mut bytes = Vec::new();
        Message::new(GET_GENERATION, REQUEST, 0).write(1, &mut bytes);
        self.send(&bytes)?;
        for (kind, _, body) in self.receive()? {
            if kind == NEW_GENERATION {
                return generation_in(body.get(SHARED..).unwrap_or_default());
            }
            if kind == ERROR {
                verdict(&body)?;
            }
        }
        Err(unexpected())
    }

    /// Removes chains, and then their table, all or nothing: nothing where one is in use, or where
    /// the rules changed since the generation.
    pub(crate) fn remove(
        &self,
        family: Family,
        table: &str,
        chains: &[String],
        whole: Whole,
        generation: Generation,
    ) -> io::Result<()> {
        let family = number_of(family);
        let flags = REQUEST | ACKNOWLEDGE | NOT_RECURSIVE;
        let mut messages: Vec<Message> = chains
            .iter()
            .map(|chain| {
                let message = Message::new(DELETE_CHAIN, flags, family);
                message.named(CHAIN_TABLE, table).named(CHAIN_NAME, chain)
            })
            .collect();
        if whole == Whole::Table {
            messages.push(Message::new(DELETE_TABLE, flags, family).named(TABLE_NAME, table));
        }
        let mut bytes = Vec::new();
        let mut begin = Message::new(BATCH_BEGIN, REQUEST, 0);
        begin.resource = NFTABLES;
        begin.with(BATCH_GENERATION, &generation.0.to_be_bytes()).write(0, &mut bytes);
        let mut last = 0;
        for (message, number) in messages.iter().zip(1..) {
            message.write(number, &mut bytes);
            last = number;
        }
        let mut end = Message::new(BATCH_END, REQUEST, 0);
        end.resource = NFTABLES;
        end.write(last + 1, &mut bytes);
        self.send(&bytes)?;
        loop {
            for (kind, number, body) in self.receive()? {
                if kind == ERROR {
                    verdict(&body)?;
                    if number == last {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Whether a table goes with its chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// It goes.
    Table,
    /// It stays.
    Chains,
}

/// What the kernel says to a message: an error, or none.
fn verdict(body: &[u8]) -> io::Result<()> {
    let code = word(body, 0).ok_or_else(unexpected)?;
    match i32::from_ne_bytes(code.to_ne_bytes()) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

fn generation_in(mut attributes: &[u8]) -> io::Result<Generation> {
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        if kind == GENERATION_ID {
            let bytes = attributes.get(4..8).and_then(|bytes| bytes.try_into().ok());
            return bytes.map(u32::from_be_bytes).map(Generation).ok_or_else(unexpected);
        }
        let length = usize::from(length).next_multiple_of(4).max(4);
        attributes = attributes.get(length..).unwrap_or_default();
    }
    Err(unexpected())
}

fn unexpected() -> io::Error {
    io::Error::other("an answer of the kernel that nobody understands")
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let mut bytes = Vec::new();
        let message = Message::new(DELETE_CHAIN, REQUEST, 2).named(CHAIN_TABLE, "nat");
        message.named(CHAIN_NAME, "INPUT").write(7, &mut bytes);
        assert_eq!(word(&bytes, 0), Some(u32::try_from(bytes.len()).unwrap()));
        assert_eq!((half(&bytes, 4), word(&bytes, 8)), (Some(DELETE_CHAIN), Some(7)));
        // Header, family, and two names with their ends, each padded.
        assert_eq!(bytes.len(), 16 + 4 + 8 + 12);
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        assert!(verdict(&0_i32.to_ne_bytes()).is_ok());
        let refused = verdict(&(-16_i32).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        assert!(verdict(&[1, 2]).is_err());
        let other = Message::new(0, 0, 0).with(2, &[1; 5]).with(GENERATION_ID, &[0, 0, 1, 2]);
        assert_eq!(generation_in(&other.attributes).unwrap(), Generation(258));
        assert!(generation_in(&[8, 0, 9]).is_err());
    }
}
