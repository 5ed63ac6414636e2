//! How the host under test is made as a ruleset wants it.

use std::io;

use nattrace_parser::syntax::Family;

use super::{ADDRESSES, CONTAINERS, ROUTES, Variation, ip, line, neighbours, write_sysctl};
use crate::lab::command::{output, run};

impl Variation {
    /// Makes the host so; `before` is how it was.
    pub(crate) fn apply(&self, before: Option<&Self>, family: Family) -> io::Result<()> {
        self.switch_ipv6(before)?;
        self.switch_filtering(before)?;
        for (path, value) in &self.sysctls {
            write_sysctl(path, value)?;
        }
        if before.is_none_or(|b| (b.hairpin, b.isolated) != (self.hairpin, self.isolated)) {
            for container in CONTAINERS {
                let flag = |on: bool| if on { "on" } else { "off" };
                let isolated = flag(self.isolated && container.bridge == "br0");
                let arguments = [
                    "link",
                    "set",
                    "dev",
                    container.wire,
                    "hairpin",
                    flag(self.hairpin),
                    "isolated",
                    isolated,
                ];
                output("bridge", &arguments, "")?;
            }
        }
        let version = match family {
            Family::Ipv4 => "-4",
            Family::Ipv6 => "-6",
        };
        if before.is_none_or(|before| before.policy_rules != self.policy_rules) {
            for rule in before.map(|b| b.policy_rules.as_slice()).unwrap_or(&[]) {
                let mut arguments = vec![version, "rule", "del"];
                arguments.extend(rule.split(' '));
                run("ip", &arguments, "")?;
            }
            for rule in &self.policy_rules {
                let mut arguments = vec![version, "rule", "add"];
                arguments.extend(rule.split(' '));
                output("ip", &arguments, "")?;
            }
        }
        Ok(())
    }

    /// Switches IPv6 off on an interface, and on again with the addresses and routes that went.
    fn switch_ipv6(&self, before: Option<&Self>) -> io::Result<()> {
        let was_off = before.and_then(|before| before.without6.as_deref());
        if was_off == self.without6.as_deref() {
            return Ok(());
        }
        let setting = |name: &str| format!("net/ipv6/conf/{name}/disable_ipv6");
        if let Some(name) = was_off {
            write_sysctl(&setting(name), "0")?;
            let own =
                ADDRESSES.iter().filter(|(own, address)| *own == name && address.contains(':'));
            let mut batch: String =
                own.map(|(_, address)| format!("addr add {address} dev {name} nodad\n")).collect();
            let by = format!(" dev {name}");
            for route in ROUTES.iter().filter(|route| route.contains("::")) {
                if route.ends_with(&by) || route.contains(&format!("{by} ")) {
                    line(&mut batch, &format!("route add {route}"));
                }
            }
            output("ip", &["-6", "-batch", "-"], &batch)?;
            ip(&neighbours())?;
            wait_for_addresses(name)?;
        }
        match &self.without6 {
            Some(name) => write_sysctl(&setting(name), "1"),
            None => Ok(()),
        }
    }

    fn switch_filtering(&self, before: Option<&Self>) -> io::Result<()> {
        let was_on = before.map_or(&[][..], |before| &before.filtering);
        for bridge in ["br0", "br1"] {
            let has = |names: &[String]| names.iter().any(|name| name == bridge);
            if has(was_on) != has(&self.filtering) {
                let value = if has(&self.filtering) { "1" } else { "0" };
                let bridge_nf = ["nf_call_iptables", value, "nf_call_ip6tables", value];
                let mut arguments = vec!["link", "set", "dev", bridge, "type", "bridge"];
                arguments.extend(bridge_nf);
                output("ip", &arguments, "")?;
            }
        }
        Ok(())
    }
}

/// Waits until an interface has the routes of its addresses, which the kernel adds later.
fn wait_for_addresses(name: &str) -> io::Result<()> {
    let own = ADDRESSES.iter().filter(|(own, address)| *own == name && address.contains(':'));
    let wanted: Vec<&str> = own.filter_map(|(_, address)| address.split('/').next()).collect();
    for _ in 0..100 {
        let routes = output("ip", &["-6", "route", "show", "table", "local", "dev", name], "")?;
        let there = |address: &&str| routes.contains(&format!("local {address} "));
        if wanted.iter().all(there) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Err(io::Error::other(format!("the addresses of {name} have no routes")))
}
