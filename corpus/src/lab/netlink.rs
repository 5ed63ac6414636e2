//! Messages to and from netfilter in the kernel (linux/netlink.h, linux/netfilter/nfnetlink.h).

use std::cell::{Cell, RefCell};
use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;

/// How a request shall be treated (`NLM_F_*`).
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 1;
    pub(crate) const ACK: u16 = 4;
    pub(crate) const DUMP: u16 = 0x300;
}

/// Parts of netfilter (`NFNL_SUBSYS_*`).
pub(crate) mod subsystem {
    pub(crate) const CTNETLINK: u8 = 1;
    pub(crate) const LOG: u8 = 4;
    pub(crate) const NFTABLES: u8 = 10;
}

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The length of `struct nlmsghdr` and of `struct nfgenmsg` after it.
const HEADER: usize = 16;
const GENERIC: usize = 4;

/// Marks attributes that hold others (`NLA_F_NESTED`), and their byte order.
const TYPE_MASK: u16 = 0x3fff;

/// `ENOBUFS`: something was not told for want of room.
const NO_ROOM: i32 = 105;

/// The most that the kernel puts into one datagram.
const LARGEST: usize = 65536;

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subsystem: u8,
    pub(crate) kind: u8,
    /// `AF_INET`, `AF_INET6`, or something else.
    pub(crate) family: u8,
    attributes: Vec<u8>,
}

impl Message {
    /// The payload of an attribute.
    pub(crate) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        let mut rest = self.attributes.as_slice();
        while let Some((found, payload, next)) = first_attribute(rest) {
            if found & TYPE_MASK == kind {
                return Some(payload);
            }
            rest = next;
        }
        None
    }

    /// An attribute that is a text.
    pub(crate) fn text(&self, kind: u16) -> Option<&str> {
        let bytes = self.attribute(kind)?;
        std::str::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0'))
    }

    /// An attribute that is a number of 32 bits.
    pub(crate) fn number(&self, kind: u16) -> Option<u32> {
        self.attribute(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// An attribute that is a number of 64 bits.
    pub(crate) fn long(&self, kind: u16) -> Option<u64> {
        self.attribute(kind)?.try_into().ok().map(u64::from_be_bytes)
    }
}

fn first_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (kind, _) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_ne_bytes(*length));
    let payload = bytes.get(4..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((u16::from_ne_bytes(*kind), payload, next))
}

/// A request, attribute by attribute.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request without attributes; `resource` is what the subsystem takes it for.
    pub(crate) fn new(
        (subsystem, kind): (u8, u8),
        flags: u16,
        (family, resource): (u8, u16),
    ) -> Self {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 4, u16::from_be_bytes([subsystem, kind]).to_ne_bytes());
        put(&mut bytes, 6, (flag::REQUEST | flags).to_ne_bytes());
        let [high, low] = resource.to_be_bytes();
        bytes.extend([family, 0, high, low]);
        Self { bytes }
    }

    /// With one more attribute.
    pub(crate) fn with(mut self, kind: u16, payload: &[u8]) -> Self {
        let length = u16::try_from(4 + payload.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        put(&mut self.bytes, 0, length.to_ne_bytes());
        self.bytes
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..at + N) {
        place.copy_from_slice(&value);
    }
}

/// A way to netfilter.
pub(crate) struct Netlink {
    socket: Socket,
    buffer: RefCell<Vec<u8>>,
    overrun: Cell<bool>,
}

/// What a datagram of the kernel holds.
enum Part {
    Message(Message),
    /// An answer's end: the error number, or 0.
    End(i32),
}

impl Netlink {
    /// Opens a way that hears what is told to these groups.
    pub(crate) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        socket.set_non_blocking(true)?;
        // More than the system allows everybody, where that is allowed.
        let large = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 32 << 20);
        if large.is_err() {
            socket.set_rx_buf_sz(4 << 20)?;
        }
        let buffer = RefCell::new(Vec::with_capacity(LARGEST));
        Ok(Self { socket, buffer, overrun: Cell::default() })
    }

    /// Asks, and gives everything that is answered. Requests need `ACK` or `DUMP`.
    pub(crate) fn ask(&self, request: Request) -> io::Result<Vec<Message>> {
        self.socket.send(&request.finish(), 0)?;
        let mut messages = Vec::new();
        // Answers of netfilter come within the call that asks.
        loop {
            let Some(parts) = self.receive()? else {
                return Err(io::Error::other("netfilter does not answer"));
            };
            for part in parts {
                match part {
                    Part::Message(message) => messages.push(message),
                    Part::End(0) => return Ok(messages),
                    Part::End(error) => return Err(io::Error::from_raw_os_error(-error)),
                }
            }
        }
    }

    /// Everything that has come to its groups.
    pub(crate) fn heard(&self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        while let Some(parts) = self.receive()? {
            messages.extend(parts.into_iter().filter_map(|part| match part {
                Part::Message(message) => Some(message),
                Part::End(_) => None,
            }));
        }
        Ok(messages)
    }

    /// Whether the kernel had more to tell than there was room for, since it was asked last.
    pub(crate) fn has_overrun(&self) -> bool {
        self.overrun.take()
    }

    fn receive(&self) -> io::Result<Option<Vec<Part>>> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        match self.socket.recv(&mut *buffer, 0) {
            Ok(_) => Ok(Some(parts(&buffer))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.raw_os_error() == Some(NO_ROOM) => {
                self.overrun.set(true);
                Ok(Some(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }
}

fn parts(mut bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((part, rest)) = part(bytes) {
        parts.extend(part);
        bytes = rest;
    }
    parts
}

fn part(bytes: &[u8]) -> Option<(Option<Part>, &[u8])> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let message = bytes.get(..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let body = message.get(HEADER..)?;
    let part = match kind {
        DONE => Some(Part::End(0)),
        ERROR => {
            let error = body.first_chunk::<4>().map_or(0, |error| i32::from_ne_bytes(*error));
            Some(Part::End(error))
        }
        _ => body.get(GENERIC..).map(|attributes| {
            let [subsystem, kind] = kind.to_be_bytes();
            let family = body.first().copied().unwrap_or(0);
            Part::Message(Message { subsystem, kind, family, attributes: attributes.to_vec() })
        }),
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_a_message() {
        let request = Request::new((subsystem::NFTABLES, 7), flag::DUMP, (2, 0))
            .with(1, b"filter\0")
            .with(3, &5u64.to_be_bytes())
            .with(4, &9u32.to_be_bytes());
        let bytes = request.finish();
        let read = parts(&[bytes.clone(), bytes].concat());
        assert_eq!(read.len(), 2);
        for part in read {
            let Part::Message(message) = part else { panic!("no message") };
            assert_eq!((message.subsystem, message.kind, message.family), (10, 7, 2));
            assert_eq!(message.text(1), Some("filter"));
            assert_eq!(message.long(3), Some(5));
            assert_eq!(message.number(4), Some(9));
            assert_eq!(message.attribute(2), None);
        }
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let bytes = Request::new((1, 2), 0, (2, 0)).with(1, b"filter").finish();
        for length in 0..bytes.len() {
            assert!(parts(&bytes[..length]).is_empty());
        }
        let mut odd = Request::new((1, 2), 0, (2, 0)).with(1, b"filter");
        put(&mut odd.bytes, 20, 400u16.to_ne_bytes());
        let Some(Part::Message(message)) = parts(&odd.finish()).pop() else { panic!("no message") };
        assert_eq!(message.attribute(1), None);
    }
}
