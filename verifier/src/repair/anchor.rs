//! Where an edit goes: where the packet meets it in time, and where no program rewrites it.

use nattrace_model::answer::Step;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Chain, RuleId};
use nattrace_parser::syntax::{Backend, TableName};

use super::Placement;
use super::change::{At, Holder, OWN_CHAIN, Place};
use super::evidence::{Decider, Evidence};

/// The chain that Docker leaves to people.
pub(super) const DOCKER_USER: &str = "DOCKER-USER";

/// A chain and where in it.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) place: Place,
    pub(super) at: At,
}

impl Anchor {
    /// The table, as iptables knows it.
    pub(super) fn table(&self) -> TableName {
        match self.place.holder {
            Holder::Iptables(_, table) => table,
            Holder::Own => TableName::Nat,
        }
    }
}

impl Evidence<'_> {
    /// Before what decided about a packet, in the built-in chain that led there; `None` where no
    /// rule of iptables did.
    pub(super) fn before(
        &self,
        steps: &[Step],
        index: usize,
        decider: Decider<'_>,
    ) -> Option<Anchor> {
        match decider {
            Decider::Rule(..) => self.before_rule(self.top(steps, index)?),
            Decider::Policy(_, chain) => {
                let place = place_of(self.chain(chain)?)?;
                Some(Anchor { place, at: At::End })
            }
            Decider::Route(..) => None,
        }
    }

    /// Before a rule of a built-in chain.
    pub(super) fn before_rule(&self, rule: RuleId) -> Option<Anchor> {
        let place = place_of(self.chain(rule.chain)?)?;
        Some(Anchor { place, at: self.edited.before(rule) })
    }

    /// In the place of a rule; `None` for one that is new itself.
    pub(super) fn instead(&self, rule: RuleId) -> Option<Anchor> {
        let place = place_of(self.chain(rule.chain)?)?;
        Some(Anchor { place, at: At::Instead(self.edited.original(rule)?) })
    }

    /// Where forwarded packets are filtered before what decides about them: in `DOCKER-USER` where
    /// that is called in time, else in the built-in chain.
    pub(super) fn filtering(
        &self,
        steps: &[Step],
        index: usize,
        decider: Decider<'_>,
    ) -> Option<Anchor> {
        let base = self.before(steps, index, decider)?;
        if base.place.chain != Hook::Forward.as_str() {
            return Some(base);
        }
        let in_docker_user = self.docker_user(steps, index, &base);
        match self.placement {
            Placement::Iptables => Some(base),
            Placement::DockerUser => in_docker_user,
            Placement::Lasting | Placement::Nft => in_docker_user.or(Some(base)),
        }
    }

    fn docker_user(&self, steps: &[Step], index: usize, base: &Anchor) -> Option<Anchor> {
        let (called_at, called) = self.call_of(steps, Hook::Forward, DOCKER_USER)?;
        let place = place_of(self.chain(called)?)?;
        let same = (place.family, place.holder) == (base.place.family, base.place.holder);
        (called_at < index && same).then(|| {
            let first = RuleId { chain: called, index: 0 };
            Anchor { place, at: self.edited.before(first) }
        })
    }

    /// A built-in chain that packets do not meet yet, or whose end they reach.
    pub(super) fn built_in(&self, table: TableName, hook: Hook) -> Anchor {
        let holder = Holder::Iptables(self.backend(table), table);
        let place = Place { family: self.family(), holder, chain: hook.as_str().to_owned() };
        Anchor { place, at: At::End }
    }

    /// The table of our own.
    pub(super) fn own_table(&self) -> Anchor {
        let place =
            Place { family: self.family(), holder: Holder::Own, chain: OWN_CHAIN.to_owned() };
        Anchor { place, at: At::End }
    }

    /// The backend that holds a table, else the one that holds most: of this family, or of the
    /// other.
    fn backend(&self, table: TableName) -> Backend {
        let family = self.family();
        let count = |backend: Backend, wanted: &dyn Fn(&Chain) -> bool| {
            let chains = self.system.rules.chains.iter();
            let here = chains.filter(|c| c.backend == backend && c.table.of_iptables().is_some());
            here.filter(|chain| wanted(chain)).map(|chain| chain.rules.len() + 1).sum::<usize>()
        };
        let tests: [&dyn Fn(&Chain) -> bool; 3] = [
            &|chain| chain.family == family && chain.table == table,
            &|chain| chain.family == family,
            &|_| true,
        ];
        for test in tests {
            let (nft, legacy) = (count(Backend::Nft, test), count(Backend::Legacy, test));
            if nft != legacy {
                return if nft > legacy { Backend::Nft } else { Backend::Legacy };
            }
        }
        Backend::Nft
    }
}

/// The place of a chain of iptables.
pub(super) fn place_of(chain: &Chain) -> Option<Place> {
    let holder = Holder::Iptables(chain.backend, chain.table.of_iptables()?);
    Some(Place { family: chain.family, holder, chain: chain.name.to_string() })
}
