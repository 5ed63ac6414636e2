//! The open connections, which keep the translation that they have (kernel-facts F10).

use nattrace_parser::host::conntrack::{Connection, TupleDetail, parse};

use crate::command;

/// Every connection that the kernel tracks.
///
/// # Errors
///
/// Why they can't be listed, in one line.
pub fn connections() -> Result<Vec<Connection>, String> {
    let mut all = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let listed = command::run("conntrack", &["-L", "-o", "extended", "-f", family]);
        all.extend(parse(&listed.map_err(|error| error.to_string())?.text).0);
    }
    Ok(all)
}

/// Makes the kernel forget a connection, so that its next packet meets the rules as a new one.
///
/// # Errors
///
/// Why it can't be forgotten, in one line.
pub fn forget(connection: &Connection) -> Result<(), String> {
    let tuple = connection.original;
    let family = if tuple.source.is_ipv4() { "ipv4" } else { "ipv6" };
    let (source, destination) = (tuple.source.to_string(), tuple.destination.to_string());
    let protocol = connection.protocol.to_string();
    let mut words = vec!["-D", "-f", family, "-p", &protocol, "-s", &source, "-d", &destination];
    let (from, to);
    if let TupleDetail::Ports { source, destination } = tuple.detail {
        (from, to) = (source.to_string(), destination.to_string());
        words.extend(["--sport", &from, "--dport", &to]);
    }
    command::run("conntrack", &words).map(drop).map_err(|error| error.to_string())
}
