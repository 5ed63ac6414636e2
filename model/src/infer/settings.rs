//! Kernel settings where no part tells them.

use nattrace_parser::syntax::{Family, TableName};

use crate::condition::{Condition, Sense, address_type};
use crate::hook::Hook;
use crate::host::{Assumption, Host, Interface, InterfaceKind, Part};
use crate::ruleset::{Chain, Ruleset};
use crate::target::Target;

/// Assumes what the rules would be useless without, and the kernel's defaults. Whether bridged
/// packets pass the rules is neither: hosts with Docker have it both ways, so the simulator forks.
pub(super) fn infer(host: &mut Host, rules: &Ruleset) {
    if host.has(Part::Sysctl) || rules.chains.is_empty() {
        return;
    }
    let settled = Part::Sysctl.file_name();
    let mut assume = |code, what: &str| {
        host.assumptions.push(Assumption { code, text: format!("{what} ({settled} settles it)") });
    };
    assume("ip-forward-assumed", "the host is taken to forward packets (ip_forward = 1)");
    assume("rp-filter-assumed", "the reverse path filter is taken to be off (rp_filter = 0)");
    // Without its proxy, Docker sends what local processes ask of 127.0.0.1 to containers too, and
    // turns route_localnet on for its bridges (kernel-facts B22).
    let no_proxy = rules.chains.iter().any(redirects_loopback);
    if no_proxy {
        assume(
            "route-localnet-assumed",
            "packets from 127.0.0.0/8 are taken to be routed to bridges, as Docker sets it \
             without its proxy (route_localnet = 1)",
        );
    }
    let names: Vec<String> = host
        .interfaces
        .iter()
        .map(|interface| interface.name.clone())
        .chain(["all".to_owned(), "default".to_owned()])
        .collect();
    let is_bridge = |interface: &&Interface| interface.kind == InterfaceKind::Bridge;
    let bridges = host.interfaces.iter().filter(is_bridge).map(|interface| &interface.name);
    let sysctls = &mut host.sysctls;
    for name in bridges.filter(|_| no_proxy) {
        sysctls.insert(format!("net.ipv4.conf.{name}.route_localnet"), 1);
    }
    sysctls.insert("net.ipv4.ip_forward", 1);
    for name in names {
        sysctls.insert(format!("net.ipv4.conf.{name}.forwarding"), 1);
        sysctls.insert(format!("net.ipv6.conf.{name}.forwarding"), 1);
        sysctls.insert(format!("net.ipv4.conf.{name}.rp_filter"), 0);
    }
}

/// Whether a chain of nat OUTPUT is Docker's jump for own addresses, those of loopback included:
/// `-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER`.
fn redirects_loopback(chain: &Chain) -> bool {
    let output = chain.base.is_some_and(|base| base.hook == Hook::Output);
    if !output || chain.table != TableName::Nat || chain.family != Family::Ipv4 {
        return false;
    }
    chain.rules.iter().any(|rule| {
        let jumps = matches!(rule.target, Target::Jump(_));
        let only_local = matches!(
            rule.conditions.as_slice(),
            [Condition::DestinationType(Sense::Is, address_type::LOCAL, _)]
        );
        jumps && only_local
    })
}
