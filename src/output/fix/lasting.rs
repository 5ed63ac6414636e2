//! How long a change lasts: who writes the rules around it, and what keeps it there.

use std::collections::BTreeMap;

use nattrace_model::System;
use nattrace_model::owner::Owner;
use nattrace_model::ruleset::{Chain, Table};
use nattrace_parser::syntax::Family;
use nattrace_verifier::repair::{Edit, Holder, Op, Place, Setting};

use super::commands;

/// What is to be known of the edits on a host, a paragraph each.
pub(crate) fn of(edits: &[Edit], settings: &[Setting], system: &System) -> Vec<String> {
    let mut told = Vec::new();
    if !edits.is_empty() {
        told.extend(beside_others(edits, system));
        told.push(over_a_reboot(edits, system));
    }
    told.extend(of_settings(settings));
    let translates =
        |edit: &Edit| edit.place.holder.table() == "nat" || edit.place.holder == Holder::Own;
    if edits.iter().any(translates) {
        told.push(
            "connections that are open keep the addresses they have: NAT is decided by their \
             first packet (`conntrack -D` ends them)"
                .to_owned(),
        );
    }
    told
}

/// What those who keep rules on the host do to the edits.
fn beside_others(edits: &[Edit], system: &System) -> Vec<String> {
    let mut told = Vec::new();
    let has = |owner| keeps_rules(system, owner);
    if has(Owner::Docker) {
        told.extend(beside_docker(edits));
    } else if has_docker(system) {
        told.push(
            "no rule here is Docker's: dockerd runs with `--iptables=false`, and a restart of it \
             leaves all rules as they are"
                .to_owned(),
        );
    }
    if has(Owner::Kubernetes) {
        told.push(
            "kube-proxy writes its own chains anew again and again, and the jumps to them; rules \
             in the built-in chains stay"
                .to_owned(),
        );
    }
    let in_iptables: Vec<&Edit> =
        edits.iter().filter(|edit| edit.place.holder != Holder::Own).collect();
    if has(Owner::Ufw) && !in_iptables.is_empty() {
        told.extend(beside_ufw(&in_iptables));
    }
    if has(Owner::Firewalld) && !in_iptables.is_empty() {
        told.push(beside_firewalld(&in_iptables, system));
    }
    told
}

/// What ufw does to the edits, and the lines of its files that make them again.
fn beside_ufw(edits: &[&Edit]) -> Vec<String> {
    let mut told = vec![
        "`ufw reload`, `ufw disable` and `ufw enable` touch ufw's own chains alone, and so leave \
         these rules where they are, unless /etc/default/ufw says `MANAGE_BUILTINS=yes`, or \
         /etc/ufw/after.rules declares `:DOCKER-USER` and with it fills that chain anew"
            .to_owned(),
    ];
    let own = ufws_commands(edits);
    if !own.is_empty() {
        let own: Vec<String> = own.iter().map(|words| format!("`{words}`")).collect();
        told.push(format!("ufw keeps the same as a rule of its own: {}", own.join(", ")));
    }
    let only_adds = edits.iter().all(|edit| matches!(edit.op, Op::Insert | Op::Append));
    for (family, file) in [(Family::Ipv4, "after.rules"), (Family::Ipv6, "after6.rules")] {
        let here = |edit: &&&Edit| {
            edit.place.family == family && edit.place.chain == "DOCKER-USER" && only_adds
        };
        let rules: Vec<&str> = edits.iter().filter(here).map(|edit| edit.rule.as_str()).collect();
        if !rules.is_empty() {
            told.push(format!(
                "ufw makes them again with these lines at the end of /etc/ufw/{file}: `*filter`, \
                 `:DOCKER-USER - [0:0]`, {}, those that the chain has besides, `COMMIT`",
                rules.iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", ")
            ));
        }
    }
    told
}

/// The commands of ufw for rules about ports of the host. Each of them goes ahead of the others, so
/// that the first rule has to come last.
fn ufws_commands(edits: &[&Edit]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for edit in edits.iter().rev() {
        let words = |family| in_ufws_words(edit, family);
        let Some(both) = words(None) else { continue };
        // What no address belongs to is about both families, unless one of them is named.
        let of_both = edits.iter().any(|other| {
            other.place.family != edit.place.family
                && in_ufws_words(other, None).as_ref() == Some(&both)
        });
        let command = if of_both { Some(both) } else { words(Some(edit.place.family)) };
        commands.extend(command.filter(|command| !commands.contains(command)));
    }
    commands
}

/// A rule about a port of the host as ufw is told of it, for one family or for both.
fn in_ufws_words(edit: &Edit, family: Option<Family>) -> Option<String> {
    if edit.place.chain != "INPUT" || !matches!(edit.op, Op::Insert | Op::Append) {
        return None;
    }
    let anybody = match family {
        None => "any",
        Some(Family::Ipv4) => "0.0.0.0/0",
        Some(Family::Ipv6) => "::/0",
    };
    let mut words = edit.rule.split(' ').skip(2);
    let (mut by, mut from, mut to) = (None, anybody, "any");
    let (mut protocol, mut port, mut verb) = (None, None, None);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word {
            "-i" => by = Some(value),
            "-s" => from = value,
            "-d" => to = value,
            "-p" => protocol = Some(value),
            "-m" if Some(value) == protocol => {}
            "--dport" => port = Some(value),
            "-j" => {
                verb = match value {
                    "ACCEPT" => Some("allow"),
                    "DROP" => Some("deny"),
                    _ => None,
                }
            }
            _ => return None,
        }
    }
    let by = by.map(|name| format!("in on {name} ")).unwrap_or_default();
    // Ahead of those that are there already.
    let verb = verb?;
    Some(format!("ufw prepend {verb} {by}from {from} to {to} port {} proto {}", port?, protocol?))
}

/// What firewalld does to the edits, and the direct rules that it makes them again from. Measured with
/// firewalld 1.3, both of its backends, `FlushAllOnReload` on and off.
fn beside_firewalld(edits: &[&Edit], system: &System) -> String {
    let known = "firewalld flushes every table of iptables, and removes chains made by hand, when it \
                 starts, stops or reloads (`firewall-cmd --reload`), whatever its backend: load the \
                 plan again then";
    let adds = |edit: &&Edit| matches!(edit.op, Op::Insert | Op::Append);
    // Its own chains of iptables accept what was redirected before they call direct rules.
    let behind_its_own = |edit: &&Edit| {
        edit.place.chain == "FORWARD"
            && system.rules.chains.iter().any(|chain| &*chain.name == "FORWARD_direct")
    };
    if !edits.iter().all(|edit| adds(edit) && !behind_its_own(edit)) {
        return known.to_owned();
    }
    let mut direct: Vec<String> = Vec::new();
    let mut counts: BTreeMap<&Place, usize> = BTreeMap::new();
    for edit in edits {
        let family = match edit.place.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let Holder::Iptables(_, table) = edit.place.holder else { continue };
        let Some(rule) = edit.rule.splitn(3, ' ').nth(2) else { return known.to_owned() };
        let (chain, own) = (edit.place.chain.as_str(), table.as_str());
        let add = "firewall-cmd --permanent --direct --add";
        let count = counts.entry(&edit.place).or_default();
        if *count == 0 && !table.builtin_chains().contains(&chain) {
            // A direct rule of a chain that is not there makes firewalld fail as a whole.
            direct.push(format!("`{add}-chain {family} {own} {chain}`"));
        }
        direct.push(format!("`{add}-rule {family} {own} {chain} {count} {rule}`"));
        *count += 1;
    }
    format!(
        "{known}, or let firewalld keep the edits itself, from its next reload on: {}",
        direct.join(", ")
    )
}

/// What is left of the edits when the host starts again, and what brings them back.
fn over_a_reboot(edits: &[Edit], system: &System) -> String {
    let told = "a reboot forgets every rule: `nattrace apply plan.json --persist` writes a systemd \
                unit that makes these again";
    let others = [Owner::Docker, Owner::Kubernetes, Owner::Ufw, Owner::Firewalld];
    let kept = others.into_iter().find(|owner| keeps_rules(system, *owner));
    let own = edits.iter().any(|edit| edit.place.holder == Holder::Own);
    match kept {
        Some(owner) => {
            let whose = match owner {
                Owner::Docker => "Docker",
                Owner::Kubernetes => "kube-proxy",
                Owner::Ufw => "ufw",
                _ => "firewalld",
            };
            let when = match owner {
                Owner::Docker => ", also after each start of docker.service",
                _ => "",
            };
            format!(
                "{told}{when}; `netfilter-persistent save` would freeze the rules of {whose} \
                 along with them"
            )
        }
        None if own => format!(
            "{told}; /etc/nftables.conf that begins with `flush ruleset` ends \
                                them as well"
        ),
        None => {
            let mut saves: Vec<String> = Vec::new();
            for edit in edits {
                let Some(program) = commands::program(edit) else { continue };
                let file = match edit.place.family {
                    Family::Ipv4 => "rules.v4",
                    Family::Ipv6 => "rules.v6",
                };
                let save = format!("`{program}-save > /etc/iptables/{file}`");
                if !saves.contains(&save) {
                    saves.push(save);
                }
            }
            format!(
                "{told}. Nobody else keeps rules here, so that saving all of them does it too: {} \
                 where netfilter-persistent loads them (Debian), `service iptables save` on RHEL",
                saves.join(" and ")
            )
        }
    }
}

/// What is left of settings when the host starts again.
fn of_settings(settings: &[Setting]) -> Option<String> {
    if settings.is_empty() {
        return None;
    }
    let lines: Vec<String> =
        settings.iter().map(|setting| format!("{} = {}", setting.name, setting.value)).collect();
    let forwarding = settings.iter().any(|setting| setting.name == "net.ipv4.ip_forward");
    let docker = match forwarding {
        true => "; dockerd, where it runs, turns forwarding on each time it starts",
        false => "",
    };
    Some(format!(
        "a reboot brings the old setting back: `printf '%s\\n' {} > \
         /etc/sysctl.d/90-nattrace.conf` keeps it{docker}",
        lines.iter().map(|line| commands::quoted(line)).collect::<Vec<_>>().join(" ")
    ))
}

/// Whether Docker has networks here, whoever makes their rules.
fn has_docker(system: &System) -> bool {
    system.host.inventory.networks.iter().any(|network| network.driver == "bridge")
}

/// Whether somebody keeps rules on the host.
fn keeps_rules(system: &System, owner: Owner) -> bool {
    let chains = system.rules.chains.iter();
    let by_chain = chains.filter(|chain| &*chain.name != "DOCKER-USER");
    let mut by_chain = by_chain.filter_map(|chain| Owner::of_chain(&chain.name));
    let native = |chain: &Chain| match &chain.table {
        Table::Native(table) => table.name == "firewalld",
        Table::Iptables(_) => false,
    };
    by_chain.any(|known| known == owner)
        || (owner == Owner::Firewalld && system.rules.chains.iter().any(native))
}

/// What dockerd does to the edits.
fn beside_docker(edits: &[Edit]) -> Vec<String> {
    let mut told = Vec::new();
    let in_chain = |name: &'static str| {
        edits
            .iter()
            .filter(move |edit| edit.place.chain == name && edit.place.holder != Holder::Own)
    };
    if in_chain("DOCKER-USER").next().is_some() {
        told.push("a restart of dockerd keeps what stands in DOCKER-USER".to_owned());
    }
    // What is dropped there comes before what Docker accepts, wherever its isolation stands.
    if in_chain("DOCKER-USER").any(|edit| edit.rule.ends_with(" -j ACCEPT")) {
        told.push(
            "dockerd 20.10 with `live-restore` puts DOCKER-ISOLATION-STAGE-1 in front of \
             DOCKER-USER when it starts again: what is accepted from one of its networks to \
             another is dropped then, until a network is made (`docker network create`)"
                .to_owned(),
        );
    }
    let in_nat = |edit: &&Edit| edit.place.holder.table() == "nat";
    let source = in_chain("POSTROUTING").filter(in_nat).find_map(|edit| {
        let (_, address) = edit.rule.split_once("--to-source ")?;
        Some((edit, address.split(' ').next().unwrap_or(address)))
    });
    if let Some((edit, address)) = source {
        let now = match edit.op {
            Op::Insert | Op::Append => {
                "dockerd leaves its own rule where it is as long as it finds it, and puts it in \
                 front of this one where it does not: after a flush, or for a network that is made \
                 anew"
            }
            Op::Replace | Op::Delete => {
                "dockerd puts its own rule in front again when it starts, if this one took its place"
            }
        };
        let option = if address.contains(':') { "host_ipv6" } else { "host_ipv4" };
        told.push(format!(
            "{now}. What lasts: `--place nft`, a table that runs before those of iptables \
             whatever is inserted there, or Docker's own option for the network when it is made \
             anew: `docker network create -o com.docker.network.{option}={address} …`"
        ));
    } else if in_chain("POSTROUTING").any(|edit| in_nat(&edit)) {
        told.push(
            "dockerd leaves rules of others in nat/POSTROUTING alone, but puts its own in front \
             of them"
                .to_owned(),
        );
    }
    if in_chain("PREROUTING").any(|edit| in_nat(&edit) && !edit.calls_docker()) {
        told.push(
            "dockerd leaves rules of others in nat/PREROUTING alone; a port that is published \
             with `docker run -p` needs none"
                .to_owned(),
        );
    }
    if in_chain("FORWARD").any(|edit| !edit.calls_docker()) {
        told.push(
            "dockerd puts its own rules in front of those of others in filter/FORWARD when it \
             starts: DOCKER-USER is the chain that stays in front"
                .to_owned(),
        );
    }
    let closes =
        |edit: &Edit| edit.rule.contains(" --ctorigdstport ") && !edit.rule.ends_with(" -j ACCEPT");
    if edits.iter().any(closes) {
        told.push(
            "what needs no rule is not to publish the port for everybody: `docker run -p \
             127.0.0.1:PORT:PORT`, or for a whole network the option \
             `com.docker.network.bridge.host_binding_ipv4=127.0.0.1`"
                .to_owned(),
        );
    }
    if edits.iter().any(|edit| edit.place.holder.table() == "raw") {
        told.push(
            "Docker 28 and later drops in raw what is sent to containers past their network: its \
             own ways around that are the options `com.docker.network.bridge.gateway_mode_ipv4=\
             routed` and `com.docker.network.bridge.trusted_host_interfaces`, for a network that \
             is made anew"
                .to_owned(),
        );
    }
    if edits.iter().any(|edit| edit.place.holder == Holder::Own) {
        told.push(
            "dockerd never touches the table `nattrace` of nftables, which runs before those of \
             iptables"
                .to_owned(),
        );
    }
    told
}
