//! Commands that end what a lint found, at places that last.

pub(super) mod docker;

use nattrace_model::answer::{Answer, Step, Verdict};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Backend, Family, TableName};

use super::scene::{Scene, protocol_name};
use crate::program;
use crate::repair::wording;

/// Where forwarded packets are filtered before anything else decides about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filtering {
    /// The program that edits the chain.
    program: &'static str,
    chain: &'static str,
}

impl Filtering {
    /// The command that puts a rule there.
    pub(super) fn insert(self, rule: &str) -> String {
        format!("{} -I {} {rule}", self.program, self.chain)
    }

    /// What keeps the place.
    pub(super) fn keeper(self) -> &'static str {
        match self.chain {
            "DOCKER-USER" => "Docker keeps DOCKER-USER across restarts",
            _ => "keep it with your own rules: FORWARD calls no DOCKER-USER here",
        }
    }

    /// How packets are let on to the rules behind.
    pub(super) fn pass(self) -> &'static str {
        if self.chain == "DOCKER-USER" { "RETURN" } else { "ACCEPT" }
    }
}

impl Scene<'_> {
    /// `DOCKER-USER` where FORWARD calls it in time, else FORWARD.
    pub(super) fn filtering(&self, family: Family) -> Filtering {
        self.filtering_of(family, None)
    }

    /// The same in the backend of what decided about a packet.
    pub(super) fn filtering_beside(&self, family: Family, decided: Option<&Step>) -> Filtering {
        let chain = match decided {
            Some(Step::Rule { rule, .. }) => Some(rule.chain),
            Some(Step::Policy { chain, .. }) => Some(*chain),
            _ => None,
        };
        let chain = chain.and_then(|id| self.system.rules.chain(id));
        self.filtering_of(family, chain.map(|own| own.backend))
    }

    fn filtering_of(&self, family: Family, wanted: Option<Backend>) -> Filtering {
        let rules = &self.system.rules;
        let forwards = rules.base_chains(family, Hook::Forward).iter().filter_map(|id| {
            let chain = rules.chain(*id)?;
            let here = wanted.is_none_or(|backend| backend == chain.backend);
            (here && chain.table == TableName::Filter).then_some(chain)
        });
        let mut backend = wanted.unwrap_or(Backend::Nft);
        for chain in forwards {
            if !chain.rules.is_empty() {
                backend = chain.backend;
            }
            let first = chain.rules.iter().take_while(|rule| !rule.target.ends());
            if first.into_iter().any(|rule| self.calls_docker_user(rule)) {
                let program = program::iptables(family, chain.backend);
                return Filtering { program, chain: "DOCKER-USER" };
            }
        }
        Filtering { program: program::iptables(family, backend), chain: "FORWARD" }
    }

    fn calls_docker_user(&self, rule: &Rule) -> bool {
        let Target::Jump(called) = rule.target else { return false };
        let called = self.system.rules.chain(called);
        rule.conditions.is_empty() && called.is_some_and(|own| *own.name == *"DOCKER-USER")
    }

    /// The command that stops packets like the first one of an answer.
    pub(super) fn stopping(&self, answer: &Answer) -> String {
        let Flow { in_interface, protocol, .. } = &answer.flow;
        let family = Family::of(answer.flow.source);
        let by = in_interface.as_ref().map(|name| format!("-i {name} ")).unwrap_or_default();
        let of = protocol_name(*protocol);
        let asked = answer.flow.destination_port.unwrap_or_default();
        let arrived = answer.egress.as_ref().map(|egress| &egress.packet);
        let arrived_port = arrived.and_then(|packet| packet.destination_port()).unwrap_or(asked);
        if matches!(answer.verdict, Verdict::Delivered | Verdict::Proxied) {
            let program = self.program_at(family, Hook::Input);
            return format!("{program} -I INPUT {by}-p {of} --dport {arrived_port} -j DROP");
        }
        let translated =
            arrived.is_some_and(|packet| packet.destination != answer.flow.destination);
        let port = match translated || arrived_port != asked {
            true => format!("-m conntrack --ctorigdstport {asked} --ctdir ORIGINAL"),
            false => format!("--dport {asked}"),
        };
        self.filtering(family).insert(&format!("{by}-p {of} {port} -j DROP"))
    }

    /// The program that edits the rules of a hook: that of the backend that has some.
    pub(super) fn program_at(&self, family: Family, hook: Hook) -> &'static str {
        let rules = &self.system.rules;
        let mut chains = rules.base_chains(family, hook).iter().filter_map(|id| rules.chain(*id));
        let used = chains.find(|own| own.table.of_iptables().is_some() && !own.rules.is_empty());
        program::iptables(family, used.map_or(Backend::Nft, |own| own.backend))
    }

    /// `iptables -t nat`, as it is to be called for a chain; none for one that is not iptables'.
    fn calling(&self, chain: ChainId) -> Option<(String, &str)> {
        let chain = self.system.rules.chain(chain)?;
        let program = program::iptables(chain.family, chain.backend);
        let calling = match chain.table.of_iptables()? {
            TableName::Filter => program.to_owned(),
            table => format!("{program} -t {}", table.as_str()),
        };
        Some((calling, &chain.name))
    }

    /// What stands behind `-A CHAIN` in a rule, as iptables-save prints it; none where the text
    /// does not tell all of it.
    pub(super) fn words(&self, id: RuleId) -> Option<String> {
        let rules = &self.system.rules;
        let (chain, rule) = (rules.chain(id.chain)?, rules.rule(id)?);
        let (_, words) = rules.text(rule).split_once("-A ")?;
        let text = format!("-A {words}");
        let text = wording::normal(&text, chain.family, chain.table.of_iptables()?)?;
        let words = text.strip_prefix(&format!("-A {}", chain.name))?;
        Some(words.trim_start().to_owned())
    }

    /// The command that deletes a rule.
    pub(super) fn delete(&self, id: RuleId) -> Option<String> {
        let (calling, chain) = self.calling(id.chain)?;
        Some(format!("{calling} -D {chain} {}", id.number()))
    }

    /// The commands that put a rule before an earlier one of its chain.
    pub(super) fn advance(&self, id: RuleId, before: RuleId) -> Option<Vec<String>> {
        if before.chain != id.chain || before.index >= id.index {
            return None;
        }
        let (calling, chain) = self.calling(id.chain)?;
        let words = self.words(id)?;
        let put = format!("{calling} -I {chain} {} {words}", before.number());
        Some(vec![self.delete(id)?, put])
    }

    /// The command that gives a rule other words: none where iptables would not take them.
    pub(super) fn reword(&self, id: RuleId, words: &str) -> Option<String> {
        let own = self.system.rules.chain(id.chain)?;
        let (calling, chain) = self.calling(id.chain)?;
        let text = format!("-A {chain} {words}");
        let text = wording::normal(&text, own.family, own.table.of_iptables()?)?;
        let words = text.strip_prefix(&format!("-A {chain}"))?.trim_start();
        Some(format!("{calling} -R {chain} {} {words}", id.number()))
    }

    /// The command that has a rule ask for something more.
    pub(super) fn narrow(&self, id: RuleId, asked: &str) -> Option<String> {
        let words = self.words(id)?;
        let (conditions, target) = match words.rsplit_once("-j ") {
            Some((conditions, target)) => (conditions, format!("-j {target}")),
            None => (words.as_str(), String::new()),
        };
        self.reword(id, &format!("{conditions}{asked} {target}"))
    }
}
