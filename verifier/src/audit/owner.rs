//! Who keeps a rule.

use nattrace_model::host::Host;
use nattrace_model::ruleset::{Rule, RuleId, Ruleset};
use nattrace_model::target::Target;

/// Who keeps a rule, and would put it back or take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Owner {
    Docker,
    Kube,
    Ufw,
    Firewalld,
    Fail2ban,
    Libvirt,
    Calico,
    Cilium,
    Tailscale,
    Netavark,
    /// A person.
    Hand,
    /// No rule: a setting, a route, a network.
    Host,
}

impl Owner {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Kube => "kube",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Fail2ban => "fail2ban",
            Self::Libvirt => "libvirt",
            Self::Calico => "calico",
            Self::Cilium => "cilium",
            Self::Tailscale => "tailscale",
            Self::Netavark => "netavark",
            Self::Hand => "hand",
            Self::Host => "host",
        }
    }

    /// Whose chain this is, by its name. `DOCKER-USER` is made by Docker and kept by people.
    #[must_use]
    pub fn of_chain(name: &str) -> Option<Self> {
        const KEPT: [(&str, Owner); 18] = [
            ("DOCKER", Owner::Docker),
            ("KUBE-", Owner::Kube),
            ("ufw-", Owner::Ufw),
            ("ufw6-", Owner::Ufw),
            ("IN_", Owner::Firewalld),
            ("FWD", Owner::Firewalld),
            ("f2b-", Owner::Fail2ban),
            ("fail2ban-", Owner::Fail2ban),
            ("LIBVIRT_", Owner::Libvirt),
            ("cali-", Owner::Calico),
            ("felix-", Owner::Calico),
            ("CILIUM_", Owner::Cilium),
            ("OLD_CILIUM_", Owner::Cilium),
            ("ts-", Owner::Tailscale),
            ("NETAVARK", Owner::Netavark),
            ("CNI-", Owner::Kube),
            ("FLANNEL-", Owner::Kube),
            ("WEAVE", Owner::Kube),
        ];
        if name == "DOCKER-USER" {
            return None;
        }
        KEPT.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, owner)| *owner)
    }

    /// Who keeps a rule: by its chain, by the chain that it calls, or by its shape.
    #[must_use]
    pub fn of_rule(rules: &Ruleset, host: &Host, id: RuleId) -> Self {
        let Some(chain) = rules.chain(id.chain) else { return Self::Hand };
        if let Some(owner) = Self::of_chain(&chain.name) {
            return owner;
        }
        let Some(rule) = rules.rule(id) else { return Self::Hand };
        if let Target::Jump(called) | Target::Goto(called) = rule.target
            && let Some(called) = rules.chain(called)
            && (*called.name == *"DOCKER-USER" || Self::of_chain(&called.name).is_some())
        {
            return Self::of_chain(&called.name).unwrap_or(Self::Docker);
        }
        if chain.base.is_some() && is_dockers(rules, host, rule) {
            return Self::Docker;
        }
        // Docker ends the chain that it leaves to people with a RETURN.
        let ends_docker_user = *chain.name == *"DOCKER-USER"
            && rule.conditions.is_empty()
            && rule.target == Target::Return;
        if ends_docker_user { Self::Docker } else { Self::Hand }
    }
}

/// The rules that Docker puts into built-in chains: they name a bridge of one of its networks in
/// just the words that it uses.
fn is_dockers(rules: &Ruleset, host: &Host, rule: &Rule) -> bool {
    let text = rules.text(rule);
    let text = text.split_once("-A ").map_or(text, |(_, rest)| rest);
    host.inventory.networks.iter().filter(|network| !network.bridge.is_empty()).any(|network| {
        let bridge = &network.bridge;
        let known = [
            format!("FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
            format!("FORWARD -i {bridge} ! -o {bridge} -j ACCEPT"),
            format!("FORWARD -i {bridge} -o {bridge} -j ACCEPT"),
            format!("FORWARD -i {bridge} -o {bridge} -j DROP"),
        ];
        // Docker 28 and later: nobody sends to a container past its network.
        let direct = text.starts_with("PREROUTING -d ")
            && text.contains(&format!(" ! -i {bridge} "))
            && text.ends_with("-j DROP");
        if direct || known.iter().any(|known| text == known) {
            return true;
        }
        let subnet = network
            .subnets
            .iter()
            .any(|subnet| text == format!("POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"));
        subnet || is_hairpin(text)
    })
}

/// `-s A -d A -p tcp -m tcp --dport 80 -j MASQUERADE`: a container that reaches itself by its
/// published port.
fn is_hairpin(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some("POSTROUTING"), Some("-s"), Some(source), Some("-d"), Some(destination)) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    source == destination && words.next_back() == Some("MASQUERADE")
}
