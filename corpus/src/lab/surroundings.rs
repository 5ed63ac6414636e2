//! Who is around a host: its wires, and who has which hardware address behind them.

use std::net::{IpAddr, Ipv4Addr};

use super::frame::Mac;

/// The name of a TAP device.
pub(crate) type WireName = &'static str;

/// A host's wires and everybody behind them.
pub(crate) trait Surroundings {
    /// Every TAP device.
    fn wires(&self) -> &[WireName];

    /// The interface that rules see a wire's packets come in by: its bridge, or itself.
    fn interface_of(&self, wire: WireName) -> &str;

    /// The hardware address of whoever has an address.
    fn mac_of(&self, address: IpAddr) -> Mac;

    /// The hardware address from which a packet with this source comes by a wire.
    fn sender_mac(&self, wire: WireName, source: IpAddr) -> Mac;

    /// The hardware address to which whoever sits at a wire sends a packet for an address.
    fn next_mac(&self, wire: WireName, to: IpAddr) -> Mac;

    /// Whether somebody at a wire says that the address is his.
    fn answers(&self, wire: WireName, asked: Ipv4Addr) -> bool;

    /// Whether a packet that leaves by an interface for this next hop is seen on a wire: a bridge
    /// asks in vain for an address that nobody has.
    fn sees(&self, interface: &str, hop: Option<IpAddr>) -> bool;
}
