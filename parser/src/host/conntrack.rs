//! Open connections, as `conntrack -L -o extended` prints them.

use std::net::IpAddr;

use super::Read;
use super::line::{Line, Word, lines};
use crate::diagnostic::Diagnostic;
use crate::protocols;
use crate::span::Span;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The protocol number.
    pub protocol: u8,
    /// The state of TCP, SCTP or DCCP, such as `ESTABLISHED`.
    pub state: Option<String>,
    /// The seconds until it is forgotten, if nothing is seen of it.
    pub timeout: Option<u64>,
    /// The first packet as it came in.
    pub original: Tuple,
    /// A packet of the answer as it comes in; NAT shows here.
    pub reply: Tuple,
    /// The words in brackets.
    pub status: ConnectionStatus,
    /// The mark of the connection.
    pub mark: u32,
    /// The zone of the original direction.
    pub original_zone: u16,
    /// The zone of the reply direction.
    pub reply_zone: u16,
    /// Where it stands.
    pub span: Span,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// What tells connections between the same addresses apart.
    pub detail: TupleDetail,
}

/// What tells connections between the same addresses apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TupleDetail {
    /// Nothing, as for protocols that conntrack knows nothing of.
    #[default]
    None,
    /// The ports.
    Ports {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
    },
    /// The keys of GRE.
    Keys {
        /// The source key.
        source: u16,
        /// The destination key.
        destination: u16,
    },
    /// The fields of ICMP.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The identifier.
        id: u16,
    },
}

/// The words in brackets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionStatus {
    /// Nothing came back yet.
    pub unreplied: bool,
    /// It is not forgotten early.
    pub assured: bool,
    /// Its packets pass by the rules (flowtable offload).
    pub offloaded: bool,
}

/// Reads what `conntrack -L` printed, with or without `-o extended`, or `/proc/net/nf_conntrack`.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<Connection>> {
    let mut connections = Vec::new();
    let mut diagnostics = Vec::new();
    for line in lines(text).filter(|line| !line.is_blank()) {
        // What conntrack says at the end: `conntrack v1.4.7 …: 5 flow entries have been shown.`
        if line.text.trim_end().ends_with("flow entries have been shown.") {
            continue;
        }
        match connection(&line) {
            Ok(connection) => connections.push(connection),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    (connections, diagnostics)
}

/// The fields of one direction, as they come.
#[derive(Default)]
struct Fields {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    ports: (Option<u16>, Option<u16>),
    keys: (Option<u16>, Option<u16>),
    icmp: (Option<u8>, Option<u8>, Option<u16>),
}

impl Fields {
    fn finish(&self, line: &Line<'_>) -> Result<Tuple, Diagnostic> {
        let missing = || line.not_understood("a connection with the addresses of both directions");
        Ok(Tuple {
            source: self.source.ok_or_else(missing)?,
            destination: self.destination.ok_or_else(missing)?,
            detail: match (self.ports, self.keys, self.icmp) {
                ((Some(source), Some(destination)), ..) => {
                    TupleDetail::Ports { source, destination }
                }
                (_, (Some(source), Some(destination)), _) => {
                    TupleDetail::Keys { source, destination }
                }
                (_, _, (Some(kind), Some(code), Some(id))) => TupleDetail::Icmp { kind, code, id },
                _ => TupleDetail::None,
            },
        })
    }

    /// Sets a field by its key; false if it is none of a direction.
    fn set(&mut self, key: &str, value: Word<'_>) -> Result<bool, Diagnostic> {
        match key {
            "src" => self.source = Some(value.parse("an IP address")?),
            "dst" => self.destination = Some(value.parse("an IP address")?),
            "sport" => self.ports.0 = Some(value.parse("a port")?),
            "dport" => self.ports.1 = Some(value.parse("a port")?),
            "srckey" => self.keys.0 = Some(key_number(value)?),
            "dstkey" => self.keys.1 = Some(key_number(value)?),
            "type" => self.icmp.0 = Some(value.parse("a type of ICMP")?),
            "code" => self.icmp.1 = Some(value.parse("a code of ICMP")?),
            "id" if self.icmp.0.is_some() && self.icmp.2.is_none() => {
                self.icmp.2 = Some(value.parse("an identifier of ICMP")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A key of GRE, which is printed in hexadecimal.
fn key_number(word: Word<'_>) -> Result<u16, Diagnostic> {
    let digits = word.text.strip_prefix("0x").unwrap_or(word.text);
    u16::from_str_radix(digits, 16).map_err(|_| word.unexpected("a key of GRE"))
}

/// One connection.
fn connection(line: &Line<'_>) -> Result<Connection, Diagnostic> {
    let cells: Vec<Word<'_>> = line.words().collect();
    let first = cells.iter().position(|cell| cell.text.contains('=')).unwrap_or(cells.len());
    let (head, tail) = cells.split_at_checked(first).unwrap_or((&[], &[]));
    let (protocol, timeout, state) = head_of(head, line)?;
    let mut directions = [Fields::default(), Fields::default()];
    let mut connection_fields = Rest::default();
    let mut at = 0;
    for cell in tail {
        if let Some(word) = cell.text.strip_prefix('[') {
            connection_fields.status(word.trim_end_matches(']'), *cell)?;
            continue;
        }
        let Some((key, text)) = cell.text.split_once('=') else {
            return Err(cell.unexpected("`key=value` or a word in brackets"));
        };
        let value = Word { text, span: cell.span };
        if key == "src" && directions.first().is_some_and(|fields| fields.source.is_some()) {
            at = 1;
        }
        let known = match directions.get_mut(at) {
            Some(fields) => fields.set(key, value)?,
            None => false,
        };
        if !known {
            connection_fields.set(key, value)?;
        }
    }
    let [original, reply] = &directions;
    Ok(Connection {
        protocol,
        state,
        timeout,
        original: original.finish(line)?,
        reply: reply.finish(line)?,
        status: connection_fields.status,
        mark: connection_fields.mark,
        original_zone: connection_fields.original_zone,
        reply_zone: connection_fields.reply_zone,
        span: line.span,
    })
}

/// `ipv4 2 tcp 6 431999 ESTABLISHED`; without `-o extended` the first two are missing, and an
/// offloaded connection has neither timeout nor state.
fn head_of(
    head: &[Word<'_>],
    line: &Line<'_>,
) -> Result<(u8, Option<u64>, Option<String>), Diagnostic> {
    let head = match head {
        [family, _, rest @ ..] if matches!(family.text, "ipv4" | "ipv6") => rest,
        all => all,
    };
    let [name, number, rest @ ..] = head else {
        return Err(line.not_understood("a connection, as `conntrack -L` prints"));
    };
    let protocol: u8 = number.parse("the number of a protocol")?;
    let named = protocols::number(name.text);
    if name.text != "unknown" && named.is_some_and(|named| named != protocol) {
        return Err(number.unexpected(&format!("the number of `{}`", name.text)));
    }
    Ok(match rest {
        [] => (protocol, None, None),
        [only] => match only.text.parse() {
            Ok(timeout) => (protocol, Some(timeout), None),
            Err(_) => (protocol, None, Some(only.text.to_owned())),
        },
        [timeout, state, ..] => {
            (protocol, Some(timeout.parse("a number of seconds")?), Some(state.text.to_owned()))
        }
    })
}

/// What does not belong to one direction.
#[derive(Default)]
struct Rest {
    status: ConnectionStatus,
    mark: u32,
    original_zone: u16,
    reply_zone: u16,
}

impl Rest {
    fn set(&mut self, key: &str, value: Word<'_>) -> Result<(), Diagnostic> {
        match key {
            "mark" => self.mark = value.parse("a mark")?,
            "zone" => {
                self.original_zone = value.parse("a zone")?;
                self.reply_zone = self.original_zone;
            }
            "zone-orig" => self.original_zone = value.parse("a zone")?,
            "zone-reply" => self.reply_zone = value.parse("a zone")?,
            "packets" | "bytes" | "use" | "id" | "secctx" | "secmark" | "delta-time" | "labels"
            | "helper" => {}
            _ => return Err(value.unexpected("a known key of a connection")),
        }
        Ok(())
    }

    fn status(&mut self, word: &str, cell: Word<'_>) -> Result<(), Diagnostic> {
        match word {
            "UNREPLIED" => self.status.unreplied = true,
            "ASSURED" => self.status.assured = true,
            "OFFLOAD" | "HW_OFFLOAD" => self.status.offloaded = true,
            // What the listing of events adds.
            "SEEN_REPLY" | "NEW" | "UPDATE" | "DESTROY" => {}
            _ => return Err(cell.unexpected("`[UNREPLIED]`, `[ASSURED]` or `[OFFLOAD]`")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// conntrack 1.4.7 on a host with zones and marks; the lines of ICMP and GRE are as the kernel
    /// prints them.
    const LISTED: &str = "\
ipv4     2 udp      17 29 src=127.0.0.1 dst=127.0.0.1 sport=49971 dport=98 zone-orig=6 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=98 dport=49971 mark=42 use=1
ipv4     2 udp      17 29 src=127.0.0.1 dst=127.0.0.1 sport=53136 dport=99 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=99 dport=53136 mark=42 zone=5 use=1
ipv4     2 tcp      6 431999 ESTABLISHED src=172.17.0.2 dst=198.51.100.7 sport=59646 dport=80 packets=3 bytes=99 src=198.51.100.7 dst=203.0.113.11 sport=80 dport=59646 packets=2 bytes=60 [ASSURED] mark=0 use=1 id=4034637735
ipv6     10 icmpv6   58 29 src=::1 dst=::1 type=128 code=0 id=7 src=::1 dst=::1 type=129 code=0 id=7 mark=0 use=1
tcp      6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [OFFLOAD] mark=0 use=2
ipv4     2 gre      47 29 src=10.0.0.1 dst=10.0.0.2 srckey=0x0 dstkey=0x12 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 srckey=0x12 dstkey=0x0 mark=0 use=1
ipv4     2 unknown  89 599 src=10.0.0.1 dst=224.0.0.5 [UNREPLIED] src=224.0.0.5 dst=10.0.0.1 mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 7 flow entries have been shown.
";

    #[test]
    fn every_kind_of_line_is_read() {
        let (connections, complaints) = parse(LISTED);
        assert_eq!(complaints, []);
        assert_eq!(connections.len(), 7);
        let zones: Vec<_> =
            connections.iter().map(|c| (c.original_zone, c.reply_zone, c.mark)).take(3).collect();
        assert_eq!(zones, [(6, 0, 42), (5, 5, 42), (0, 0, 0)]);
        let masqueraded = &connections[2];
        assert_eq!(masqueraded.state.as_deref(), Some("ESTABLISHED"));
        assert_eq!(masqueraded.timeout, Some(431_999));
        assert!(masqueraded.status.assured && !masqueraded.status.unreplied);
        assert_eq!(masqueraded.original.source, IpAddr::from([172, 17, 0, 2]));
        assert_eq!(masqueraded.reply.destination, IpAddr::from([203, 0, 113, 11]));
        assert_eq!(masqueraded.reply.detail, TupleDetail::Ports { source: 80, destination: 59646 });
        let icmp = |kind| TupleDetail::Icmp { kind, code: 0, id: 7 };
        assert_eq!(
            (connections[3].original.detail, connections[3].reply.detail),
            (icmp(128), icmp(129))
        );
        assert!(connections[4].status.offloaded && connections[4].timeout.is_none());
        assert_eq!(
            connections[5].original.detail,
            TupleDetail::Keys { source: 0, destination: 0x12 }
        );
        assert_eq!(
            (connections[6].protocol, connections[6].original.detail),
            (89, TupleDetail::None)
        );
    }

    #[test]
    fn a_line_that_is_not_understood_is_reported() {
        let text = "tcp 6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [WEIRD] src=10.0.0.2 dst=10.0.0.1\n\
                    tcp 6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2\ntcp 17 9 src=1.1.1.1 dst=2.2.2.2\nhello\n";
        let (connections, complaints) = parse(text);
        assert_eq!(connections, []);
        let found: Vec<_> = complaints.iter().map(|found| found.span.slice(text)).collect();
        assert_eq!(
            found,
            ["[WEIRD]", "tcp 6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2", "17", "hello"]
        );
    }
}
