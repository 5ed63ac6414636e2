//! The kernel settings that decide about packets.

use std::collections::BTreeMap;

use nattrace_parser::syntax::Family;

/// Settings by their dotted names, as `sysctl -a` prints them. An interface name keeps its dots
/// as slashes do in sysctl(8): the reader normalises `eth0/100` to `eth0.100`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// All settings by name.
    values: BTreeMap<String, i64>,
    /// Those of `net.ipv4.conf` and `net.ipv6.conf` once more, by interface and name: they are
    /// asked for again and again.
    interfaces: [BTreeMap<String, BTreeMap<String, i64>>; 2],
}

impl Sysctls {
    /// Settings from name and value; values that are no numbers do not matter here.
    pub fn insert(&mut self, name: impl Into<String>, value: i64) {
        let name = name.into();
        let [ipv4, ipv6] = &mut self.interfaces;
        for (prefix, interfaces) in [("net.ipv4.conf.", ipv4), ("net.ipv6.conf.", ipv6)] {
            // The name of an interface may hold dots, that of a setting does not.
            if let Some((interface, setting)) =
                name.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('.'))
            {
                let settings = interfaces.entry(interface.to_owned()).or_default();
                settings.insert(setting.to_owned(), value);
            }
        }
        self.values.insert(name, value);
    }

    /// Every setting by its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// A setting, where it is known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<i64> {
        self.values.get(name).copied()
    }

    /// Whether nothing at all is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// `net.ipv{4,6}.conf.INTERFACE.NAME`.
    #[must_use]
    pub fn interface(&self, family: Family, interface: &str, name: &str) -> Option<i64> {
        let [ipv4, ipv6] = &self.interfaces;
        let interfaces = match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        interfaces.get(interface)?.get(name).copied()
    }

    /// A setting that holds if it is set for all interfaces or for this one
    /// (`IN_DEV_ORCONF`): route_localnet, accept_local, send_redirects, src_valid_mark.
    #[must_use]
    pub fn interface_or_all(&self, family: Family, interface: &str, name: &str) -> Option<bool> {
        let own = self.interface(family, interface, name);
        let all = self.interface(family, "all", name);
        match (own, all) {
            (None, None) => None,
            (own, all) => Some(own.unwrap_or(0) != 0 || all.unwrap_or(0) != 0),
        }
    }

    /// A setting of which the greater of `all` and the interface's own counts
    /// (`IN_DEV_MAXCONF`): rp_filter (kernel-facts D5).
    #[must_use]
    pub fn interface_max(&self, family: Family, interface: &str, name: &str) -> Option<i64> {
        let own = self.interface(family, interface, name);
        let all = self.interface(family, "all", name);
        own.into_iter().chain(all).max()
    }
}
