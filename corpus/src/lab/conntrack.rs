//! The connections that the kernel remembers.

use std::io;

use super::netlink::{Netlink, Request, flag, subsystem};

/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`, `CTA_STATUS`, `IPS_SEEN_REPLY`.
const GET: u8 = 1;
const DELETE: u8 = 2;
const STATUS: u16 = 3;
const SEEN_REPLY: u32 = 1 << 1;

/// The connections of the network namespace.
pub(crate) struct Connections {
    netlink: Netlink,
}

impl Connections {
    /// Opens the way to them.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(&[])? })
    }

    /// Drops all of them.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let request = Request::new((subsystem::CTNETLINK, DELETE), flag::ACK, (0, 0));
        self.netlink.ask(request).map(drop)
    }

    /// Whether tracking has missed an answer, because rules hid it from it.
    pub(crate) fn are_unreplied(&self) -> io::Result<bool> {
        let request = Request::new((subsystem::CTNETLINK, GET), flag::DUMP, (0, 0));
        let connections = self.netlink.ask(request)?;
        let unreplied = |status: u32| status & SEEN_REPLY == 0;
        Ok(connections.iter().filter_map(|one| one.number(STATUS)).any(unreplied))
    }
}
