//! Sockets that wait for packets, as `ss -lntup` and `netstat -lntup` print them.

use std::net::{IpAddr, Ipv6Addr};

use nom::branch::alt;
use nom::bytes::complete::{tag, take_until, take_while};
use nom::character::complete::{char, digit1};
use nom::combinator::{map_res, opt};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

use super::Read;
use super::line::{Line, Prose, Word, lines};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its protocol, such as `tcp`, `udp`, `sctp`, `raw`; `tcp6` of netstat is `tcp` here.
    pub protocol: String,
    /// Whether it takes new packets.
    pub state: SocketState,
    /// The addresses it is bound to.
    pub address: Bound,
    /// The interface it is bound to.
    pub interface: Option<String>,
    /// Its port. For a raw socket this is the protocol number.
    pub port: u16,
    /// The processes that hold it, where the listing shows them.
    pub processes: Vec<Process>,
    /// Where it stands.
    pub span: Span,
}

/// The addresses that a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// One address. An IPv4 address that is mapped into IPv6 is IPv4 here.
    Address(IpAddr),
    /// All addresses of IPv4.
    AnyIpv4,
    /// All addresses of IPv6, and no other ones.
    AnyIpv6,
    /// All addresses of both families: a socket of IPv6 that takes IPv4 too.
    Any,
    /// All addresses of IPv6, and those of IPv4 unless the socket refuses them, which netstat and
    /// old versions of ss do not show.
    AnyIpv6MaybeIpv4,
}

/// The state of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// Waits for connections.
    Listen,
    /// Waits for packets of any sender.
    Unconnected,
    /// Talks to one peer, or another state; such a socket takes no new packets.
    Other(String),
}

/// One process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its number.
    pub pid: Option<u32>,
}

impl Socket {
    /// Whether it takes packets of new flows.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, SocketState::Listen | SocketState::Unconnected)
    }
}

/// The protocols that both programs print.
const PROTOCOLS: [&str; 10] =
    ["tcp", "udp", "udpl", "udplite", "sctp", "dccp", "mptcp", "raw", "icmp", "icmp6"];

/// Reads what `ss -lntup` printed, with or without its heading, or `netstat -lntup`.
///
/// Sockets of other kinds (`unix`, `netlink`) are passed over. `ss -lnt` and `ss -lnu` print no
/// column of protocols; a socket that listens is one of TCP then, and an unconnected one of UDP.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<Socket>> {
    let mut reader = Reader::default();
    for line in lines(text).filter(|line| !line.is_blank()) {
        reader.line(&line);
    }
    reader.finish()
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    sockets: Vec<Socket>,
    diagnostics: Vec<Diagnostic>,
    /// Whether a heading without a column of protocols was there.
    no_protocol: bool,
    /// Whether an address of IPv6 stood without brackets, as before ss of 2017.
    old: bool,
    prose: Prose,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        let cells: Vec<Word<'_>> = line.words().collect();
        let first = line.first_word();
        if matches!(first, "Netid" | "State" | "Proto" | "Active") {
            self.no_protocol = first == "State";
            return;
        }
        let protocol = first.strip_suffix('6').filter(|name| *name != "icmp").unwrap_or(first);
        let columns = if self.no_protocol && matches!(first, "LISTEN" | "UNCONN" | "ESTAB") {
            // The state alone tells the two protocols of `-t` and `-u` apart.
            let protocol = if first == "UNCONN" { "udp" } else { "tcp" };
            Some((protocol, cells.as_slice()))
        } else if PROTOCOLS.contains(&protocol) {
            cells.get(1..).map(|rest| (protocol, rest))
        } else {
            None
        };
        match columns {
            Some((protocol, cells)) => match self.socket(protocol, cells, line) {
                Ok(socket) => self.sockets.push(socket),
                Err(diagnostic) => self.diagnostics.push(diagnostic),
            },
            None if is_other_kind(first) => {}
            None if cells.iter().any(|cell| cell.text.starts_with("users:((")) => {
                self.diagnostics.push(line.not_understood("a socket, as `ss -lntup` prints"));
            }
            None => self.prose.add(line),
        }
    }

    /// One socket from the columns behind its protocol.
    fn socket(
        &mut self,
        protocol: &str,
        cells: &[Word<'_>],
        line: &Line<'_>,
    ) -> Result<Socket, Diagnostic> {
        let missing = || line.not_understood("a socket, as `ss -lntup` prints");
        let (local, state, rest) = match cells {
            // netstat: the queues, both addresses, the state of TCP, the process.
            [received, _, local, _, rest @ ..] if is_number(received) => {
                let state = rest.first().map_or("", |cell| cell.text);
                let known =
                    state.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
                let state = if known && !state.is_empty() && !is_number_text(state) {
                    state
                } else {
                    "UNCONN"
                };
                let rest = rest.get(
                    usize::from(
                        state != "UNCONN" || rest.first().is_some_and(|c| c.text == "UNCONN"),
                    )..,
                );
                (local, state, rest.unwrap_or(&[]))
            }
            // ss: the state, the queues, both addresses, the processes.
            [state, _, _, local, _, rest @ ..] => (local, state.text, rest),
            _ => return Err(missing()),
        };
        let (address, interface, port) = self.local(*local)?;
        Ok(Socket {
            protocol: if protocol == "udpl" { "udplite".to_owned() } else { protocol.to_owned() },
            state: match state {
                "LISTEN" => SocketState::Listen,
                "UNCONN" => SocketState::Unconnected,
                other => SocketState::Other(other.to_owned()),
            },
            address,
            interface,
            port,
            processes: processes(rest, line),
            span: line.span,
        })
    }

    /// `0.0.0.0:22`, `[::]:22`, `*:22`, `:::22`, `127.0.0.53%lo:53`.
    fn local(&mut self, word: Word<'_>) -> Result<(Bound, Option<String>, u16), Diagnostic> {
        let expected = "an address and a port";
        let (host, port) = word.text.rsplit_once(':').ok_or_else(|| word.unexpected(expected))?;
        let port = match port {
            "*" => 0,
            digits => digits.parse().map_err(|_| {
                word.unexpected("an address and the number of a port")
                    .help("print numbers: `ss -lntup`, with `-n`")
            })?,
        };
        let (host, interface) = match host.split_once('%') {
            Some((host, interface)) => (host, Some(interface)),
            None => (host, None),
        };
        // The zone may stand inside of the brackets or behind them.
        let interface = interface.map(|name| name.trim_end_matches(']').to_owned());
        let bracketed = host.starts_with('[');
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host == "*" {
            return Ok((Bound::Any, interface, port));
        }
        let address: IpAddr = host.parse().map_err(|_| word.unexpected(expected))?;
        let bound = match address {
            IpAddr::V4(address) if address.is_unspecified() => Bound::AnyIpv4,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if bracketed => Bound::AnyIpv6,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Bound::AnyIpv6MaybeIpv4,
            address => Bound::Address(address.to_canonical()),
        };
        self.old |= address.is_ipv6() && !bracketed;
        Ok((bound, interface, port))
    }

    fn finish(mut self) -> Read<Vec<Socket>> {
        let complaint =
            self.prose.finish(!self.sockets.is_empty(), "sockets, as `ss -lntup` prints");
        self.diagnostics.extend(complaint);
        if self.old {
            // Where IPv6 has no brackets, `*` is what is `0.0.0.0` otherwise.
            for socket in self.sockets.iter_mut().filter(|socket| socket.address == Bound::Any) {
                socket.address = Bound::AnyIpv4;
            }
        }
        (self.sockets, self.diagnostics)
    }
}

/// Kinds of sockets that take no packets of IP.
fn is_other_kind(first: &str) -> bool {
    matches!(
        first,
        "nl" | "p_raw"
            | "p_dgr"
            | "ti_dg"
            | "ti_rd"
            | "ti_sq"
            | "ti_st"
            | "v_str"
            | "v_dgr"
            | "xdp"
            | "unix"
    ) || first.starts_with("u_")
}

fn is_number(word: &Word<'_>) -> bool {
    is_number_text(word.text)
}

fn is_number_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The processes in the last column: `users:(("sshd",pid=1,fd=3))`, or `1/sshd` of netstat.
fn processes(rest: &[Word<'_>], line: &Line<'_>) -> Vec<Process> {
    let Some(first) = rest.first() else { return Vec::new() };
    let tail =
        Span { start: first.span.start - line.span.start, end: line.span.end - line.span.start };
    let text = tail.slice(line.text);
    if let Ok((_, processes)) = users(text) {
        return processes;
    }
    let netstat: IResult<&str, u32> =
        terminated(map_res(digit1, str::parse), char('/')).parse(text);
    match netstat {
        Ok((name, pid)) => {
            vec![Process { name: name.trim().trim_end_matches(':').to_owned(), pid: Some(pid) }]
        }
        Err(_) => Vec::new(),
    }
}

/// `users:(("sshd",pid=1,fd=3),("systemd",1,4))`; old versions leave out `pid=`.
fn users(text: &str) -> IResult<&str, Vec<Process>> {
    let (_, text) = take_until("users:(").parse(text).map(|(rest, _)| ((), rest))?;
    delimited(tag("users:("), separated_list1(char(','), process), char(')')).parse(text)
}

fn process(text: &str) -> IResult<&str, Process> {
    let name = delimited(char('"'), take_while(|c| c != '"'), char('"'));
    let pid = preceded((char(','), opt(tag("pid="))), map_res(digit1, str::parse));
    let rest = alt((take_until(")"), nom::combinator::rest));
    delimited(char('('), (name, opt(pid), rest), char(')'))
        .map(|(name, pid, _): (&str, Option<u32>, &str)| Process { name: name.to_owned(), pid })
        .parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ss -lntup` of iproute2 6.1, with a socket of each kind.
    const SS: &str = "Netid State  Recv-Q Send-Q      Local Address:Port Peer Address:PortProcess\n\
        udp   UNCONN 0      0            127.0.0.1%lo:7779      0.0.0.0:*    users:((\"python3\",pid=5301,fd=5))\n\
        tcp   LISTEN 0      128               0.0.0.0:2024      0.0.0.0:*                                     \n\
        tcp   LISTEN 0      128    [::ffff:127.0.0.1]:7778            *:*    users:((\"python3\",pid=5301,fd=4))\n\
        tcp   LISTEN 0      128                  [::]:7780         [::]:*    users:((\"a b\",pid=1,fd=6),(\"c\",pid=2,fd=6))\n\
        tcp   LISTEN 0      128                     *:7777            *:*    users:((\"python3\",pid=5301,fd=3))\n";

    fn bound(text: &str) -> Vec<(String, Bound, u16)> {
        let (sockets, complaints) = parse(text);
        assert_eq!(complaints, [], "{text}");
        sockets.into_iter().map(|socket| (socket.protocol, socket.address, socket.port)).collect()
    }

    #[test]
    fn ss_tells_which_families_a_socket_takes() {
        let tcp = |address, port| ("tcp".to_owned(), address, port);
        let expected = [
            ("udp".to_owned(), Bound::Address([127, 0, 0, 1].into()), 7779),
            tcp(Bound::AnyIpv4, 2024),
            tcp(Bound::Address([127, 0, 0, 1].into()), 7778),
            tcp(Bound::AnyIpv6, 7780),
            tcp(Bound::Any, 7777),
        ];
        assert_eq!(bound(SS), expected);
        let without_heading: String =
            SS.lines().skip(1).map(|line| format!("{line}\r\n")).collect();
        assert_eq!(bound(&without_heading), expected);
        let (sockets, _) = parse(SS);
        assert_eq!(sockets[0].interface.as_deref(), Some("lo"));
        assert_eq!(sockets[0].state, SocketState::Unconnected);
        let names: Vec<_> = sockets[3]
            .processes
            .iter()
            .map(|process| (process.name.as_str(), process.pid))
            .collect();
        assert_eq!(names, [("a b", Some(1)), ("c", Some(2))]);
        assert!(sockets[1].processes.is_empty() && sockets.iter().all(Socket::is_open));
    }

    #[test]
    fn netstat_leaves_open_whether_ipv6_takes_ipv4() {
        let text = "Active Internet connections (only servers)\n\
            Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name    \n\
            tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      712/sshd: /usr/sbin \n\
            tcp6       0      0 :::80                   :::*                    LISTEN      -                   \n\
            udp        0      0 127.0.0.53:53           0.0.0.0:*                           9/systemd-resolve   \n\
            tcp        0      0 10.0.0.1:22             10.0.0.2:50000          ESTABLISHED 5/sshd\n";
        let (sockets, complaints) = parse(text);
        assert_eq!(complaints, []);
        let seen: Vec<_> = sockets.iter().map(|s| (s.address, s.port, s.is_open())).collect();
        let expected = [
            (Bound::AnyIpv4, 22, true),
            (Bound::AnyIpv6MaybeIpv4, 80, true),
            (Bound::Address([127, 0, 0, 53].into()), 53, true),
            (Bound::Address([10, 0, 0, 1].into()), 22, false),
        ];
        assert_eq!(seen, expected);
        assert_eq!(
            sockets[0].processes,
            [Process { name: "sshd: /usr/sbin".to_owned(), pid: Some(712) }]
        );
        assert_eq!(sockets[2].processes[0].name, "systemd-resolve");
    }

    #[test]
    fn old_ss_writes_a_star_for_ipv4() {
        let text = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port\n\
            tcp LISTEN 0 128 *:22 *:* users:((\"sshd\",1234,3))\n\
            tcp LISTEN 0 128 :::22 :::* users:((\"sshd\",1234,4))\n";
        let (sockets, complaints) = parse(text);
        assert_eq!(complaints, []);
        assert_eq!(sockets[0].address, Bound::AnyIpv4);
        assert_eq!(sockets[1].address, Bound::AnyIpv6MaybeIpv4);
        assert_eq!(sockets[0].processes, [Process { name: "sshd".to_owned(), pid: Some(1234) }]);
    }

    #[test]
    fn without_a_column_of_protocols_the_state_tells_it() {
        let text = "State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n\
            LISTEN 0      128               0.0.0.0:2024      0.0.0.0:*          \n";
        assert_eq!(bound(text), [("tcp".to_owned(), Bound::AnyIpv4, 2024)]);
    }

    #[test]
    fn a_socket_that_is_not_understood_is_reported() {
        let text = "tcp LISTEN 0 128 0.0.0.0:ssh 0.0.0.0:*\ntcp LISTEN 0\ntcp LISTEN 0 128 0.0.0.0:1 0.0.0.0:*\n";
        let (sockets, complaints) = parse(text);
        assert_eq!(sockets.len(), 1);
        assert_eq!(
            complaints.iter().map(|found| found.span.slice(text)).collect::<Vec<_>>(),
            ["0.0.0.0:ssh", "tcp LISTEN 0"]
        );
        assert!(
            parse("what is this?\n").1.iter().any(|found| found.severity == crate::Severity::Error)
        );
        assert_eq!(parse("").1, []);
    }
}
