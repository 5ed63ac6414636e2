//! Over which connection the operator is here.

use std::fs;
use std::net::IpAddr;

/// A connection of sshd, as `SSH_CONNECTION` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The text of the variable.
    pub text: String,
    /// The operator's address.
    pub client: IpAddr,
    /// The operator's port.
    pub client_port: u16,
    /// The address of this host.
    pub server: IpAddr,
    /// The port of sshd.
    pub server_port: u16,
    /// The interface, where a link-local address names it.
    pub interface: Option<String>,
}

/// The connection over which this process was started: that of its environment or of the nearest
/// ancestor that has one, since sudo takes it out. `None` on a console; an empty variable stands
/// for a console too.
#[must_use]
pub fn ssh_connection() -> Option<String> {
    let own = std::env::var("SSH_CONNECTION").ok();
    let text = own.or_else(of_ancestors)?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn of_ancestors() -> Option<String> {
    let mut process = std::os::unix::process::parent_id();
    // A chain of parents ends at 1; a bound ends it where process numbers are reused meanwhile.
    for _ in 0..64 {
        if process <= 1 {
            return None;
        }
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let found = environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="));
        if let Some(found) = found {
            return Some(String::from_utf8_lossy(found).into_owned());
        }
        process = parent_of(process)?;
    }
    None
}

fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

impl Session {
    /// Reads `CLIENT PORT SERVER PORT`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [client, client_port, server, server_port] = words.as_slice() else { return None };
        let address = |word: &str| word.split('%').next().unwrap_or_default().parse().ok();
        let interface = |word: &str| word.split_once('%').map(|(_, name)| name.to_owned());
        Some(Self {
            text: text.to_owned(),
            client: address(client)?,
            client_port: client_port.parse().ok()?,
            server: address(server)?,
            server_port: server_port.parse().ok()?,
            interface: interface(server).or_else(|| interface(client)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_sshd_are_read() {
        let session = Session::read("192.0.2.7 50000 203.0.113.10 22").unwrap();
        assert_eq!((session.client_port, session.server_port), (50_000, 22));
        assert_eq!(session.interface, None);
        let session = Session::read("fe80::7%eth0 50000 fe80::1%eth0 22").unwrap();
        assert_eq!(session.client.to_string(), "fe80::7");
        assert_eq!(session.interface.as_deref(), Some("eth0"));
        for text in ["", "a b c d", "192.0.2.7 50000 203.0.113.10", "192.0.2.7 70000 1.1.1.1 22"] {
            assert_eq!(Session::read(text), None, "{text}");
        }
    }
}
