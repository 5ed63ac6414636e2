//! What a change of rules needs beside the rules, or leaves over.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::host::Subject;
use nattrace_model::host::inventory::Network;
use nattrace_model::host::route::RouteTable;
use nattrace_model::ruleset::Chain;
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};
use nattrace_verifier::repair::{Edit, Fix, Holder, Op, Setting};

use super::commands;

/// What is to be known, a line each.
pub(super) fn of(found: &Fix) -> Vec<String> {
    let mut told = warnings(found);
    for edit in &found.edits {
        told.extend(missing_address(edit, &found.today));
        told.extend(left_over(edit, found));
        told.extend(dockers_jump(edit));
        told.extend(internal_network(edit, &found.today));
    }
    for setting in &found.settings {
        told.extend(needed_by(setting, &found.today));
    }
    told.extend(dockers_rules(&found.today));
    told.dedup();
    told
}

/// What nobody may miss who makes the change, in whatever form he gets it: a line each.
pub(crate) fn warnings(found: &Fix) -> Vec<String> {
    let mut told = found.warnings.clone();
    told.extend(found.edits.iter().filter_map(|edit| unnamed_interface(edit, &found.today)));
    told.dedup();
    told
}

/// An interface that must be there, and whose name nothing tells.
fn unnamed_interface(edit: &Edit, system: &System) -> Option<String> {
    let supposed = system.host.subjects.iter().filter_map(|(_, subject)| match subject {
        Subject::Interface(name) => Some(name.as_str()),
        _ => None,
    });
    let names = |text: &str, name: &str| text.split(' ').any(|word| word == name);
    let rules = &system.rules;
    let is_told = |name: &str| {
        let all = rules.chains.iter().flat_map(|chain| &chain.rules);
        all.into_iter().any(|rule| names(rules.text(rule), name))
    };
    let mut unnamed = supposed.filter(|name| names(&edit.rule, name) && !is_told(name));
    let name = unnamed.next()?;
    Some(format!(
        "`{name}` stands for the interface to the outside, whose name nothing here tells: put its \
         own in (`ip route show default`), or give the part ip-addr.json and look again"
    ))
}

/// A source that the host does not have, to which no answer comes back.
fn missing_address(edit: &Edit, system: &System) -> Option<String> {
    let (_, behind) =
        edit.rule.split_once("--to-source ").or_else(|| edit.rule.split_once("snat to "))?;
    let word = behind.split([' ', '-']).next()?;
    let address: IpAddr = word.parse().ok()?;
    if edit.op == Op::Delete || system.host.owner(address).is_some() {
        return None;
    }
    let length = if address.is_ipv4() { 32 } else { 128 };
    Some(format!(
        "this host does not have {address}: answers come back only where a router sends them here, \
         or with `ip addr add {address}/{length} dev …`"
    ))
}

/// A jump that Docker makes itself.
fn dockers_jump(edit: &Edit) -> Option<String> {
    edit.calls_docker().then(|| {
        format!(
            "`{}` is a rule of Docker's own: `systemctl restart docker` makes it again as well",
            edit.rule
        )
    })
}

/// What is let out of a network that has no way out.
fn internal_network(edit: &Edit, system: &System) -> Option<String> {
    let lets_out = edit.rule.ends_with(" -j ACCEPT") && edit.rule.contains(" -o ");
    let networks = system.host.inventory.networks.iter().filter(|network| network.internal);
    let mut inside = networks.filter(|network| {
        lets_out && edit.op != Op::Delete && edit.rule.contains(&format!(" -i {} ", network.bridge))
    });
    let name = &inside.next()?.name;
    Some(format!(
        "`{name}` was made with `--internal`, and since 25.0 Docker gives its containers no default \
         route: rather connect those that need more to another network (`docker network connect \
         bridge CONTAINER`)"
    ))
}

/// A rule that says the same behind the new one, and so has nothing left to do.
fn left_over(edit: &Edit, found: &Fix) -> Option<String> {
    let Holder::Iptables(backend, table) = edit.place.holder else { return None };
    if edit.op == Op::Delete {
        return None;
    }
    let rules = &found.system.rules;
    let id = rules.find_chain(backend, edit.place.family, table, &edit.place.chain)?;
    let chain: &Chain = rules.chain(id)?;
    let behind = chain.rules.iter().enumerate().skip(usize::try_from(edit.position).ok()?);
    let same = behind.into_iter().find(|(_, rule)| rules.text(rule) == edit.rule)?;
    let program = commands::program(edit)?;
    Some(format!(
        "the same rule further down has nothing left to do; afterwards `{program} -w -t {} -D {} {}` \
         changes nothing",
        edit.place.holder.table(),
        edit.place.chain,
        same.0 + 1
    ))
}

/// What a setting needs, or does beside what it is made for.
fn needed_by(setting: &Setting, system: &System) -> Option<String> {
    if setting.name.starts_with("net.bridge.") && system.host.sysctls.get(&setting.name).is_none() {
        return Some(
            "there is no such setting before the module is loaded: `modprobe br_netfilter`"
                .to_owned(),
        );
    }
    if setting.name != "net.ipv6.conf.all.forwarding" {
        return None;
    }
    // A router learns no routes from others (accept_ra 1) unless it is told to.
    let learned = system.host.routing.tables6.values().flat_map(RouteTable::routes);
    let by = learned.filter(|route| route.destination.length() == 0).find_map(|route| {
        let mut words = route.text.split(' ');
        let is_learned = route.text.contains(" proto ra");
        words.find(|word| *word == "dev" && is_learned)?;
        words.next()
    })?;
    let accepts = system.host.sysctls.interface(Family::Ipv6, by, "accept_ra");
    (accepts != Some(2)).then(|| {
        format!(
            "a host that forwards takes no router advertisements, and loses its default route by \
             {by} when that expires: `sysctl -w net.ipv6.conf.{}.accept_ra=2` first",
            by.replace('.', "/")
        )
    })
}

/// Docker's networks without Docker's rules.
fn dockers_rules(system: &System) -> Option<String> {
    let rules = &system.rules;
    let mut filter = rules
        .chains
        .iter()
        .filter(|chain| chain.family == Family::Ipv4 && chain.table == TableName::Filter);
    let keeps = filter.any(|chain| &*chain.name == "DOCKER");
    let translated = |network: &Network| {
        let nat = rules.chains.iter().filter(|chain| chain.table == TableName::Nat);
        nat.flat_map(|chain| &chain.rules).any(|rule| {
            let text = rules.text(rule);
            let own = network.subnets.iter().any(|subnet| text.contains(&subnet.to_string()));
            own && matches!(rule.target, Target::Masquerade(..) | Target::Snat(..))
        })
    };
    let networks = system.host.inventory.networks.iter();
    let mut bridged = networks.filter(|n| n.driver == "bridge" && !n.internal).peekable();
    (keeps && bridged.peek().is_some() && !bridged.any(translated)).then(|| {
        "Docker's own rules in nat are gone: `systemctl restart docker` writes them anew, published \
         ports included"
            .to_owned()
    })
}
