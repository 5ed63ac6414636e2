//! How long a change lasts: who writes the rules around it, and what keeps it there.

use nattrace_model::System;
use nattrace_model::owner::Owner;
use nattrace_verifier::repair::{Edit, Holder, Op};

/// What is to be known of the edits on a host, a paragraph each.
pub(crate) fn of(edits: &[Edit], system: &System) -> Vec<String> {
    let mut told = Vec::new();
    if edits.is_empty() {
        told.push(
            "a reboot brings the old setting back: write it into /etc/sysctl.d/ to keep it"
                .to_owned(),
        );
        return told;
    }
    let has = |owner| keeps_rules(system, owner);
    if has(Owner::Docker) {
        told.extend(beside_docker(edits));
    } else if system.host.inventory.networks.iter().any(|network| network.driver == "bridge") {
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
    let in_iptables = edits.iter().any(|edit| edit.place.holder != Holder::Own);
    if has(Owner::Ufw) && in_iptables {
        told.push(
            "`ufw reload` leaves these rules alone; `ufw disable` followed by `ufw enable`, or a \
             reboot, does not bring them back: for that they belong into /etc/ufw/after.rules \
             (after6.rules), behind a line `:DOCKER-USER - [0:0]` where they stand in that chain"
                .to_owned(),
        );
    }
    if has(Owner::Firewalld) && in_iptables {
        told.push(
            "`firewall-cmd --reload` may flush them: `nattrace apply --persist` puts them back \
             when Docker is started again, `firewall-cmd --permanent --direct` keeps them in \
             firewalld"
                .to_owned(),
        );
    }
    told.push(
        "a reboot forgets every rule: `nattrace apply --persist` writes a systemd unit that makes \
         them again after docker.service; `netfilter-persistent save` would freeze the rules of \
         Docker along with them"
            .to_owned(),
    );
    if edits
        .iter()
        .any(|edit| edit.place.holder.table() == "nat" || edit.place.holder == Holder::Own)
    {
        told.push(
            "connections that are open keep the addresses they have: NAT is decided by their \
             first packet (`conntrack -D` ends them)"
                .to_owned(),
        );
    }
    told
}

/// Whether somebody keeps rules on the host.
fn keeps_rules(system: &System, owner: Owner) -> bool {
    let chains = system.rules.chains.iter();
    let by_chain = chains.filter(|chain| &*chain.name != "DOCKER-USER");
    let mut by_chain = by_chain.filter_map(|chain| Owner::of_chain(&chain.name));
    by_chain.any(|known| known == owner)
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
    if in_chain("PREROUTING").any(|edit| in_nat(&edit)) {
        told.push(
            "dockerd leaves rules of others in nat/PREROUTING alone; a port that is published \
             with `docker run -p` needs none"
                .to_owned(),
        );
    }
    if in_chain("FORWARD").next().is_some() {
        told.push(
            "dockerd puts its own rules in front of those of others in filter/FORWARD when it \
             starts: DOCKER-USER is the chain that stays in front"
                .to_owned(),
        );
    }
    if edits.iter().any(|edit| edit.rule.contains(" --ctorigdstport ")) {
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
