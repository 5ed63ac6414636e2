//! Who made a chain or a rule: Docker, Kubernetes, ufw, … or somebody by hand.
//!
//! Names and comments tell it, as the programs write them. It serves people, who have to know what
//! they may edit; what a packet meets never depends on it.

use std::fmt;

/// A program that makes rules, or a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the programs")]
pub enum Owner {
    Docker,
    Netavark,
    Kubernetes,
    Cni,
    Calico,
    Cilium,
    Flannel,
    Weave,
    Antrea,
    KubeRouter,
    AzureNpm,
    Istio,
    Linkerd,
    Ufw,
    Firewalld,
    Shorewall,
    Csf,
    Fail2ban,
    Sshguard,
    Crowdsec,
    Libvirt,
    Lxd,
    OpenStack,
    Tailscale,
    WgQuick,
    Openvpn,
    Miniupnpd,
    /// A person, or a program that nothing tells of.
    Hand,
}

impl Owner {
    /// The name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Netavark => "netavark",
            Self::Kubernetes => "kube",
            Self::Cni => "cni",
            Self::Calico => "calico",
            Self::Cilium => "cilium",
            Self::Flannel => "flannel",
            Self::Weave => "weave",
            Self::Antrea => "antrea",
            Self::KubeRouter => "kube-router",
            Self::AzureNpm => "azure-npm",
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Shorewall => "shorewall",
            Self::Csf => "csf",
            Self::Fail2ban => "fail2ban",
            Self::Sshguard => "sshguard",
            Self::Crowdsec => "crowdsec",
            Self::Libvirt => "libvirt",
            Self::Lxd => "lxd",
            Self::OpenStack => "openstack",
            Self::Tailscale => "tailscale",
            Self::WgQuick => "wg-quick",
            Self::Openvpn => "openvpn",
            Self::Miniupnpd => "miniupnpd",
            Self::Hand => "hand",
        }
    }

    /// Who makes chains of this name; `None` for a name that no known program uses.
    #[must_use]
    pub fn of_chain(name: &str) -> Option<Self> {
        let starts = |(start, owner): &(&str, Self)| name.starts_with(start).then_some(*owner);
        let whole = CHAINS.iter().find(|(chain, _)| *chain == name).map(|(_, owner)| *owner);
        whole.or_else(|| PREFIXES.iter().find_map(starts)).or_else(|| firewalld(name))
    }

    /// Who makes nft tables of this name, which iptables does not show.
    #[must_use]
    pub fn of_table(name: &str) -> Option<Self> {
        TABLES.iter().find(|(table, _)| *table == name).map(|(_, owner)| *owner)
    }

    /// Who made a rule, by the chain it stands in and its text as iptables-save prints it.
    ///
    /// A chain tells of all rules in it, but for `DOCKER-USER`, which Docker makes for people.
    #[must_use]
    pub fn of_rule(chain: &str, text: &str) -> Self {
        if chain == "DOCKER-USER" {
            let made = text == "-A DOCKER-USER -j RETURN";
            return if made { Self::Docker } else { by_words(text).unwrap_or(Self::Hand) };
        }
        Self::of_chain(chain).or_else(|| by_words(text)).unwrap_or(Self::Hand)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whole names of chains.
const CHAINS: [(&str, Owner); 12] = [
    ("DOCKER", Owner::Docker),
    ("INPUT_direct", Owner::Firewalld),
    ("IP-MASQ-AGENT", Owner::Kubernetes),
    ("MINIUPNPD", Owner::Miniupnpd),
    ("MINIUPNPD-POSTROUTING", Owner::Miniupnpd),
    ("LOCALINPUT", Owner::Csf),
    ("LOCALOUTPUT", Owner::Csf),
    ("LOGDROPIN", Owner::Csf),
    ("LOGDROPOUT", Owner::Csf),
    ("DENYIN", Owner::Csf),
    ("DENYOUT", Owner::Csf),
    ("sshguard", Owner::Sshguard),
];

/// Names of nft tables.
const TABLES: [(&str, Owner); 11] = [
    ("docker-bridges", Owner::Docker),
    ("netavark", Owner::Netavark),
    ("kube-proxy", Owner::Kubernetes),
    ("firewalld", Owner::Firewalld),
    ("f2b-table", Owner::Fail2ban),
    ("sshguard", Owner::Sshguard),
    ("crowdsec", Owner::Crowdsec),
    ("crowdsec6", Owner::Crowdsec),
    ("libvirt_network", Owner::Libvirt),
    ("lxd", Owner::Lxd),
    ("incus", Owner::Lxd),
];

/// How names of chains begin; the first that fits counts.
const PREFIXES: [(&str, Owner); 48] = [
    ("DOCKER-", Owner::Docker),
    ("DOCKER_OUTPUT", Owner::Docker),
    ("DOCKER_POSTROUTING", Owner::Docker),
    ("NETAVARK", Owner::Netavark),
    ("KUBE-ROUTER-", Owner::KubeRouter),
    ("KUBE-NWPLCY-", Owner::KubeRouter),
    ("KUBE-POD-FW-", Owner::KubeRouter),
    ("KUBE-", Owner::Kubernetes),
    ("MULTI-", Owner::Kubernetes),
    ("CNI-", Owner::Cni),
    ("CNI-HOSTPORT", Owner::Cni),
    ("cali-", Owner::Calico),
    ("cali:", Owner::Calico),
    ("felix-", Owner::Calico),
    ("CILIUM_", Owner::Cilium),
    ("OLD_CILIUM_", Owner::Cilium),
    ("FLANNEL-", Owner::Flannel),
    ("WEAVE", Owner::Weave),
    ("ANTREA-", Owner::Antrea),
    ("AZURE-NPM", Owner::AzureNpm),
    ("ISTIO_", Owner::Istio),
    ("PROXY_INIT_", Owner::Linkerd),
    ("ufw-", Owner::Ufw),
    ("ufw6-", Owner::Ufw),
    ("f2b-", Owner::Fail2ban),
    ("fail2ban-", Owner::Fail2ban),
    ("CROWDSEC", Owner::Crowdsec),
    ("crowdsec-", Owner::Crowdsec),
    ("LIBVIRT_", Owner::Libvirt),
    ("libvirt-", Owner::Libvirt),
    ("FI-vnet", Owner::Libvirt),
    ("FO-vnet", Owner::Libvirt),
    ("FJ-vnet", Owner::Libvirt),
    ("FP-vnet", Owner::Libvirt),
    ("HI-vnet", Owner::Libvirt),
    ("HJ-vnet", Owner::Libvirt),
    ("HP-vnet", Owner::Libvirt),
    ("lxd_", Owner::Lxd),
    ("neutron-", Owner::OpenStack),
    ("nova-", Owner::OpenStack),
    ("ts-", Owner::Tailscale),
    ("wg-quick-", Owner::WgQuick),
    ("ovpn-", Owner::Openvpn),
    ("AS0_", Owner::Openvpn),
    ("SHOREWALL", Owner::Shorewall),
    ("~comb", Owner::Shorewall),
    ("CC_", Owner::Csf),
    ("sg-", Owner::Sshguard),
];

/// Chains of firewalld: `IN_public_allow`, `INPUT_ZONES`, `FWDO_public`, `PRE_docker_pre`.
fn firewalld(name: &str) -> Option<Owner> {
    let zone = ["IN_", "FWD_", "FWDI_", "FWDO_", "PRE_", "POST_", "OUT_"]
        .iter()
        .any(|start| name.starts_with(start));
    let ends = ["_allow", "_deny", "_log", "_pre", "_post"].iter().any(|end| name.ends_with(end));
    let tables = ["INPUT_", "FORWARD_", "PREROUTING_", "POSTROUTING_", "OUTPUT_"];
    let built = tables.iter().any(|start| name.starts_with(start))
        && ["ZONES", "direct", "POLICIES"].iter().any(|word| name.contains(word));
    (built || zone && ends).then_some(Owner::Firewalld)
}

/// How comments begin.
const COMMENTS: [(&str, Owner); 19] = [
    ("kubernetes ", Owner::Kubernetes),
    ("kube-system/", Owner::Kubernetes),
    ("ip-masq-agent", Owner::Kubernetes),
    ("cali:", Owner::Calico),
    ("cilium", Owner::Cilium),
    ("flanneld", Owner::Flannel),
    ("WEAVE", Owner::Weave),
    ("Antrea:", Owner::Antrea),
    ("CNI ", Owner::Cni),
    ("dnat name: ", Owner::Cni),
    ("name: \\\"", Owner::Cni),
    ("istio/", Owner::Istio),
    ("proxy-init/", Owner::Linkerd),
    ("wg-quick(8)", Owner::WgQuick),
    ("generated for LXD", Owner::Lxd),
    ("managed by lxd", Owner::Lxd),
    ("CrowdSec", Owner::Crowdsec),
    ("tailscale", Owner::Tailscale),
    ("netavark", Owner::Netavark),
];

/// Who made a rule of a chain that everybody uses.
fn by_words(text: &str) -> Option<Owner> {
    let comment = text.split_once("--comment ").map(|(_, rest)| rest.trim_start_matches('"'));
    if let Some(comment) = comment
        && let Some((_, owner)) = COMMENTS.iter().find(|(start, _)| comment.starts_with(start))
    {
        return Some(*owner);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let behind = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).copied()
    };
    let called = behind("-j").or_else(|| behind("-g"));
    if let Some(owner) = called.and_then(Owner::of_chain) {
        return Some(owner);
    }
    let set = behind("--match-set");
    if let Some(set) = set {
        let sets = [
            ("docker-ext-bridges", Owner::Docker),
            ("cali", Owner::Calico),
            ("KUBE-", Owner::Kubernetes),
            ("f2b-", Owner::Fail2ban),
            ("crowdsec-", Owner::Crowdsec),
            ("azure-npm", Owner::AzureNpm),
        ];
        if let Some((_, owner)) = sets.iter().find(|(start, _)| set.starts_with(start)) {
            return Some(*owner);
        }
    }
    // Programs that name such interfaces without a chain of their own comment nothing, or as above.
    if comment.is_some() {
        return None;
    }
    [behind("-i"), behind("-o")].into_iter().flatten().find_map(of_interface)
}

/// Whose rules name an interface: those that a program makes besides its chains. Rules that a
/// person makes about `docker0` look the same.
fn of_interface(name: &str) -> Option<Owner> {
    let bridge = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    match name {
        "docker0" | "docker_gwbridge" => Some(Owner::Docker),
        _ if bridge => Some(Owner::Docker),
        _ if name.starts_with("virbr") => Some(Owner::Libvirt),
        _ if name.starts_with("lxdbr") || name.starts_with("lxcbr") => Some(Owner::Lxd),
        _ if name.starts_with("tailscale") => Some(Owner::Tailscale),
        _ if name.starts_with("cni-podman") => Some(Owner::Netavark),
        _ if name.starts_with("cali") => Some(Owner::Calico),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_known_by_their_names() {
        let cases = [
            ("DOCKER", Some(Owner::Docker)),
            ("DOCKER-ISOLATION-STAGE-1", Some(Owner::Docker)),
            ("KUBE-SVC-ABCDEFGHIJKLMNOP", Some(Owner::Kubernetes)),
            ("KUBE-ROUTER-INPUT", Some(Owner::KubeRouter)),
            ("cali-FORWARD", Some(Owner::Calico)),
            ("CILIUM_FORWARD", Some(Owner::Cilium)),
            ("ufw6-user-input", Some(Owner::Ufw)),
            ("f2b-sshd", Some(Owner::Fail2ban)),
            ("IN_public_allow", Some(Owner::Firewalld)),
            ("POSTROUTING_ZONES", Some(Owner::Firewalld)),
            ("LIBVIRT_FWX", Some(Owner::Libvirt)),
            ("ts-forward", Some(Owner::Tailscale)),
            ("NETAVARK-HOSTPORT-DNAT", Some(Owner::Netavark)),
            ("neutron-openvswi-local", Some(Owner::OpenStack)),
            ("INPUT", None),
            ("DOCKERISH", None),
            ("IN_house", None),
            ("logdrop", None),
        ];
        for (name, owner) in cases {
            assert_eq!(Owner::of_chain(name), owner, "{name}");
        }
    }

    #[test]
    fn rules_of_common_chains_are_known_by_their_words() {
        let cases = [
            ("FORWARD", "-A FORWARD -j DOCKER-USER", Owner::Docker),
            (
                "POSTROUTING",
                "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
                Owner::Docker,
            ),
            ("FORWARD", "-A FORWARD -i br-740d57cab248 -j ACCEPT", Owner::Docker),
            ("INPUT", "-A INPUT -m comment --comment \"cali:abc\" -j cali-INPUT", Owner::Calico),
            (
                "PREROUTING",
                "-A PREROUTING -m comment --comment \"wg-quick(8) rule for wg0\" -j DROP",
                Owner::WgQuick,
            ),
            ("INPUT", "-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd", Owner::Fail2ban),
            ("DOCKER-USER", "-A DOCKER-USER -j RETURN", Owner::Docker),
            ("DOCKER-USER", "-A DOCKER-USER -s 1.2.3.4/32 -j DROP", Owner::Hand),
            ("DOCKER-USER", "-A DOCKER-USER -j ufw-user-forward", Owner::Ufw),
            ("INPUT", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", Owner::Hand),
            ("logdrop", "-A logdrop -j DROP", Owner::Hand),
            ("FORWARD", "-A FORWARD -i br-lan -j ACCEPT", Owner::Hand),
        ];
        for (chain, text, owner) in cases {
            assert_eq!(Owner::of_rule(chain, text), owner, "{text}");
        }
    }
}
