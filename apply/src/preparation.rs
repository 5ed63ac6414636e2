//! From a plan to what will be loaded, without touching anything.

use std::collections::BTreeMap;

use nattrace_parser::syntax::{Backend, Family};

use crate::brought::Brought;
use crate::capture::Capture;
use crate::change::{At, LoadError, Prepared, TableChange, changes, script};
use crate::command::{self, CommandError};
use crate::commit::{RESTORE, finds};
use crate::digest::digest;
use crate::foresight::{with_own, with_rules};
use crate::live::Store;
use crate::own;
use crate::plan::{Holder, Plan};
use crate::saved::{Command, Saved};

/// What of a refusal can be overridden, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Override {
    /// The rules are others than those that were analysed.
    Drift,
    /// The edits belong to another backend than the rules.
    Backend,
    /// The operator's own session would break.
    Ssh,
    /// A flow that must hold, or the policy, would not.
    MustHold,
    /// The one who confirms uses the connection of the one who applied.
    Connection,
}

impl Override {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Backend => "backend",
            Self::Ssh => "ssh",
            Self::MustHold => "must-hold",
            Self::Connection => "connection",
        }
    }
}

/// Why a plan is not loaded. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is in the way, in one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// What overrides it.
    pub force: Option<Override>,
}

impl Refusal {
    /// A refusal that nothing overrides.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, force: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, to be overridden.
    #[must_use]
    pub fn force(mut self, force: Override) -> Self {
        self.force = Some(force);
        self
    }
}

/// A plan that fits the rules of this host.
#[derive(Clone, Debug)]
pub struct Preparation {
    pub(crate) plan: Plan,
    pub(crate) prepared: Vec<(TableChange, Vec<Command>)>,
    /// The rules as they were read, and as they will be.
    pub(crate) now: BTreeMap<Store, String>,
    pub(crate) then: BTreeMap<Store, Saved>,
    /// What nft prints of the rules in the table of our own, by family.
    own: Vec<(Family, String)>,
}

/// Reads the rules of this host and tries the plan on them.
///
/// # Errors
///
/// The reasons not to load it that are not overridden, at least one.
pub fn prepare(plan: &Plan, forced: &[Override]) -> Result<Preparation, Vec<Refusal>> {
    let missing = missing_programs(plan);
    if !missing.is_empty() {
        return Err(missing);
    }
    let mut now = BTreeMap::new();
    for store in Store::ALL {
        let text = store.read().map_err(|error| vec![unreadable(store, &error)])?;
        now.insert(store, text);
    }
    let mut refusals = drift(plan, &now);
    refusals.extend(wrong_backend(plan, &now));
    refusals.retain(|refusal| refusal.force.is_none_or(|force| !forced.contains(&force)));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut then: BTreeMap<Store, Saved> =
        now.iter().map(|(store, text)| (*store, Saved::read(text))).collect();
    let prepared = changes(plan, &mut then, finds).map_err(|error: LoadError| {
        vec![Refusal::new(error.to_string()).help("make the plan anew: `nattrace fix`")]
    })?;
    let with_brought = |mut prepared: Prepared| {
        if let At::Iptables(store, table) = prepared.change.at {
            prepared.change.brought = Brought::by(store, table);
        }
        (prepared.change, prepared.commands)
    };
    let prepared: Vec<_> = prepared.into_iter().map(with_brought).collect();
    let mut preparation = Preparation { plan: plan.clone(), prepared, now, then, own: Vec::new() };
    preparation.own = preparation.rehearse().map_err(|refusal| vec![refusal])?;
    Ok(preparation)
}

/// The families of the plan whose rules no program that is installed reads.
fn missing_programs(plan: &Plan) -> Vec<Refusal> {
    let mut missing = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let named = plan.edits.iter().filter(|edit| edit.family == family);
        let mut wanted = named.filter_map(|edit| match edit.holder {
            Holder::Iptables(backend, _) => Some(Store { family, backend }),
            Holder::Own => None,
        });
        if let Some(store) = wanted.next()
            && let Err(error @ CommandError::Missing(_)) = store.program("save")
            && other_backend(store).program("save").is_err()
        {
            missing.push(
                Refusal::new(format!("can't change the rules of {}: {error}", store.name()))
                    .help("install the package `iptables`"),
            );
        }
    }
    missing
}

fn unreadable(store: Store, error: &CommandError) -> Refusal {
    let refusal = Refusal::new(format!("can't read the rules of {}: {error}", store.name()));
    let text = error.to_string();
    match text.contains("Permission denied") || text.contains("Operation not permitted") {
        true => refusal.help(
            "CAP_NET_ADMIN is needed in the network namespace of the host: for a container, \
             `docker run --network host --cap-add NET_ADMIN`",
        ),
        false => refusal,
    }
}

/// The digest that the plan expects of a store; one that it does not name held nothing.
pub(crate) fn expected(plan: &Plan, store: Store) -> String {
    let found = plan
        .analysed
        .iter()
        .find(|analysed| analysed.family == store.family && analysed.backend == store.backend);
    match found {
        Some(analysed) => analysed.digest.clone(),
        None => digest("", store.family, store.backend),
    }
}

fn drift(plan: &Plan, now: &BTreeMap<Store, String>) -> Vec<Refusal> {
    let changed = |(store, text): (&Store, &String)| {
        let found = digest(text, store.family, store.backend);
        let expected = expected(plan, *store);
        if found == expected {
            return None;
        }
        let other = other_backend(*store);
        let there = now.get(&other).is_some_and(|text| {
            let empty = digest("", store.family, store.backend);
            expected != empty && digest(text, store.family, store.backend) == expected
        });
        Some(if there {
            let message = format!(
                "the rules that were analysed as {} are those of {}",
                store.name(),
                other.name()
            );
            Refusal::new(message)
                .help("make the plan anew on this host: `nattrace fix`")
                .force(Override::Backend)
        } else {
            let message = format!("the rules of {} are not those that were analysed", store.name());
            Refusal::new(message)
                .help("somebody changed them since: make the plan anew with `nattrace fix`")
                .force(Override::Drift)
        })
    };
    now.iter().filter_map(changed).collect()
}

fn other_backend(store: Store) -> Store {
    let backend = match store.backend {
        Backend::Nft => Backend::Legacy,
        Backend::Legacy => Backend::Nft,
    };
    Store { backend, ..store }
}

/// Edits of a backend that holds nothing, beside one that holds the rules.
fn wrong_backend(plan: &Plan, now: &BTreeMap<Store, String>) -> Vec<Refusal> {
    let is_empty = |store: Store| {
        let text = now.get(&store).map_or("", String::as_str);
        digest(text, store.family, store.backend) == digest("", store.family, store.backend)
    };
    let mut stores: Vec<Store> = plan
        .edits
        .iter()
        .filter_map(|edit| match edit.holder {
            Holder::Iptables(backend, _) => Some(Store { family: edit.family, backend }),
            Holder::Own => None,
        })
        .collect();
    stores.sort_unstable();
    stores.dedup();
    stores.retain(|store| is_empty(*store) && !is_empty(other_backend(*store)));
    let refusal = |store: Store| {
        let other = other_backend(store).name();
        let message = format!("the plan edits {}, but the rules are in {other}", store.name());
        Refusal::new(message)
            .help("make the plan anew on this host: `nattrace fix`")
            .force(Override::Backend)
    };
    stores.into_iter().map(refusal).collect()
}

impl Preparation {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Lets the programs judge what they will be given, in a network namespace of its own: nothing
    /// that the host uses is touched.
    fn rehearse(&self) -> Result<Vec<(Family, String)>, Refusal> {
        let mut own = Vec::new();
        for (change, commands) in &self.prepared {
            match change.at {
                At::Iptables(store, table) => {
                    let judged = store.program("restore").and_then(|program| {
                        let text = script(table, commands);
                        command::feed(&program, &["--noflush", "--test"], &text)
                    });
                    judged.map_err(|error| {
                        Refusal::new(format!("{} would not take it: {error}", store.name()))
                    })?;
                }
                At::Own(family) => {
                    let text = own::load(family, &self.plan.id, &change.steps);
                    let script = "nft -f - && nft -j list ruleset";
                    let listed = command::feed("unshare", &["--net", "sh", "-c", script], &text);
                    let listed = listed.or_else(|error| self.without_index(family, error));
                    let listed = listed
                        .map_err(|error| Refusal::new(format!("nft would not take it: {error}")))?;
                    own.push((family, listed.text));
                }
            }
        }
        Ok(own)
    }

    /// A place behind rules of an earlier plan is none in an empty table: there the order is tried
    /// alone.
    fn without_index(
        &self,
        family: Family,
        error: CommandError,
    ) -> Result<command::Printed, CommandError> {
        let CommandError::Failed { .. } = error else { return Err(error) };
        let change = self.prepared.iter().find(|(change, _)| change.at == At::Own(family));
        let Some((change, _)) = change else { return Err(error) };
        let mut steps = change.steps.clone();
        if steps.iter().all(|step| step.alike <= 1) {
            return Err(error);
        }
        for step in &mut steps {
            step.alike = 0;
        }
        let text = own::load(family, &self.plan.id, &steps);
        let script = "nft -f - && nft -j list ruleset";
        command::feed("unshare", &["--net", "sh", "-c", script], &text)
    }

    /// The parts of this host with the rules as they were read.
    #[must_use]
    pub fn parts_now(&self, capture: &Capture) -> Vec<(&'static str, String)> {
        let text = |store: Store| self.now.get(&store).cloned().unwrap_or_default();
        with_rules(capture, text)
    }

    /// The parts of this host with the rules as they will be.
    #[must_use]
    pub fn parts_then(&self, capture: &Capture) -> Vec<(&'static str, String)> {
        let text = |store: Store| self.then.get(&store).map(Saved::text).unwrap_or_default();
        let mut parts = with_rules(capture, text);
        for (family, listed) in &self.own {
            with_own(&mut parts, *family, listed);
        }
        parts
    }

    /// Every command that loads the plan, as a shell would take it.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let heredoc = |program: &str, text: &str| format!("{program} <<'END'\n{text}END");
        let shell = |(change, commands): &(TableChange, Vec<Command>)| match change.at {
            At::Iptables(store, table) => {
                let program = store.program("restore").unwrap_or_default();
                let program = format!("{program} {}", RESTORE.join(" "));
                heredoc(&program, &script(table, commands))
            }
            At::Own(family) => {
                heredoc("nft -f -", &own::load(family, &self.plan.id, &change.steps))
            }
        };
        self.prepared.iter().map(shell).collect()
    }
}
