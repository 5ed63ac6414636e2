//! Chains: their declarations, and whether those that rules name exist.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;

use super::Line;
use crate::arguments::number;
use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::extension::{ExtensionKind, find};
use crate::span::Span;
use crate::syntax::{Backend, Chain, Counters, Policy, Rule, TableName, Target, Unsupported};
use crate::words::clip;

/// Whether a line begins like a command on a chain.
pub(super) fn is_command(text: &str) -> bool {
    let rest = text.trim_start_matches(['-', '–', '—', '−']);
    let command = rest.split_whitespace().next().unwrap_or_default();
    is_counted(text)
        || matches!(
            command.as_bytes(),
            [b'A' | b'I' | b'P' | b'N' | b'D' | b'F' | b'X' | b'R' | b'Z' | b'E' | b'C' | b't']
        )
        || ["append", "insert", "policy", "new-chain", "table"].contains(&command)
}

/// Whether a line begins with counters, even wrong ones, and not with a prompt such as
/// `[user@host ~]$` or the heading of a section such as `[Interface]`.
pub(super) fn is_counted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[') else { return false };
    let before_rule =
        || inner.split_once(']').is_some_and(|(_, rest)| is_dashed(rest.trim_start()));
    counters(text).is_some() || before_rule()
}

fn is_dashed(text: &str) -> bool {
    text.starts_with(['-', '–', '—', '−'])
}

/// Whether a line of a table is a command that adds no rule, as iptables-restore takes it
/// (kernel-facts I5).
pub(super) fn is_other_command(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'-', b'N' | b'P' | b'D' | b'F' | b'X' | b'R' | b'Z' | b'E' | b'C', b' ' | b'\t', ..]
    )
}

/// `[PACKETS:BYTES]` as scanf(3) reads it: what stands behind the numbers does not count.
pub(super) fn counters(text: &str) -> Option<Counters> {
    let (packets, rest) = number::scanned(text.strip_prefix('[')?)?;
    let (bytes, _) = number::scanned(rest.strip_prefix(':')?)?;
    Some(Counters { packets, bytes })
}

/// `:NAME POLICY [PACKETS:BYTES]`.
pub(crate) fn declaration<'a>(
    line: Line<'a>,
    table: TableName,
    backend: Option<Backend>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Chain<'a>> {
    let mut fields = line.text.strip_prefix(':')?.split_ascii_whitespace();
    let name = fields.next().unwrap_or_default();
    let span = line.span();
    let Some(word) = fields.next() else {
        let message = "expected `:CHAIN POLICY [PACKETS:BYTES]`";
        diagnostics.push(Diagnostic::error("invalid-chain", message, span));
        return None;
    };
    let within = line.text.find(name).unwrap_or(1);
    let name_span = Span::new(line.start + within, line.start + within + name.len());
    crate::rule::check_chain_name(name, name_span, diagnostics);
    let builtin = table.builtin_chains().contains(&name);
    let policy = match word {
        "-" => None,
        _ if !builtin => {
            no_policy(name, backend, name_span, diagnostics);
            None
        }
        word => declared_policy(word, name_span, diagnostics),
    };
    if table == TableName::Nat && policy == Some(Policy::Drop) {
        let message = "nothing should be dropped in the nat table, which is not for filtering";
        diagnostics.push(Diagnostic::warning("drop-in-nat", message, span));
    }
    // Only those of a built-in chain are ever read; by iptables-legacy only behind a policy.
    let read = builtin && (policy.is_some() || backend != Some(Backend::Legacy));
    let counters = fields.next().filter(|_| read).and_then(|field| {
        counters(field).or_else(|| {
            let message = format!("expected `[PACKETS:BYTES]`, found `{}`", clip(field));
            diagnostics.push(Diagnostic::error("invalid-counters", message, span));
            None
        })
    });
    Some(Chain { name: name.into(), policy, counters, span })
}

/// Reports a policy of a chain that has none: iptables-nft ignores it, whatever it is, and
/// iptables-legacy refuses it (kernel-facts I4).
fn no_policy(name: &str, backend: Option<Backend>, span: Span, diagnostics: &mut Vec<Diagnostic>) {
    let severity = match backend {
        Some(Backend::Legacy) => Severity::Error,
        Some(Backend::Nft) | None => Severity::Warning,
    };
    let message = format!("chain `{}` is no built-in chain and has no policy", clip(name));
    diagnostics.push(Diagnostic { severity, ..Diagnostic::error("invalid-policy", message, span) });
}

fn declared_policy(word: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) -> Option<Policy> {
    match word {
        "ACCEPT" => Some(Policy::Accept),
        "DROP" => Some(Policy::Drop),
        _ => {
            let message = format!("expected the policy ACCEPT or DROP, found `{}`", clip(word));
            diagnostics.push(Diagnostic::error("invalid-policy", message, span));
            None
        }
    }
}

/// The policy that `-P` gives a chain.
pub(super) fn policy(
    word: &str,
    chain: &str,
    table: TableName,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Policy> {
    let policy = declared_policy(word, span, diagnostics)?;
    if !table.builtin_chains().contains(&chain) {
        // kernel-facts G6.
        no_policy(chain, Some(Backend::Legacy), span, diagnostics);
        return None;
    }
    if table == TableName::Nat && policy == Policy::Drop {
        // kernel-facts G4.
        let message = "DROP can't be the policy of a chain of the nat table";
        diagnostics.push(Diagnostic::error("drop-in-nat", message, span));
    }
    Some(policy)
}

/// Whether it counts where a chain is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Only what stands behind may name it, as in the input of iptables-restore.
    Counts,
    /// It does not, as in what is pasted from a listing.
    Free,
}

/// The chains of a table that exist.
pub(super) struct Declared<'b> {
    table: TableName,
    /// The byte of the text from which on each is there.
    names: HashMap<&'b str, u32, RandomState>,
    /// Whether a chain that is not declared surely does not exist.
    complete: bool,
    /// How often a name was looked for that is near to a mistyped one.
    advised: AtomicUsize,
}

/// How often that is done at most; it goes through all names.
const ADVISED: usize = 64;

impl<'b> Declared<'b> {
    pub(super) fn new(
        table: TableName,
        chains: &'b [Chain<'_>],
        complete: bool,
        order: Order,
    ) -> Self {
        let mut names = HashMap::with_capacity_and_hasher(chains.len(), RandomState::default());
        for chain in chains {
            let from = match order {
                Order::Counts => chain.span.start,
                Order::Free => 0,
            };
            names.entry(chain.name.as_ref()).or_insert(from);
        }
        names.extend(table.builtin_chains().iter().map(|name| (*name, 0)));
        Self { table, names, complete, advised: AtomicUsize::new(0) }
    }

    /// Adds a chain that a rule stands in, where chains are not declared.
    pub(super) fn add(&mut self, name: &'b str) {
        if !self.complete {
            self.names.insert(name, 0);
        }
    }

    /// Whether the chain is known at a place, without a message.
    pub(super) fn contains(&self, name: &str, at: Span) -> bool {
        self.names.get(name).is_some_and(|from| *from <= at.start)
    }

    /// Reports a rule in a chain that does not exist (kernel-facts G6).
    pub(super) fn check_home(
        &self,
        rule: &Rule<'_>,
        span: Span,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let message = format!(
            "chain `{}` does not exist in the {} table{}",
            clip(&rule.chain),
            self.table.as_str(),
            self.later(&rule.chain),
        );
        let mut diagnostic = Diagnostic::error("unknown-chain", message, span);
        diagnostic.help = self.near(&rule.chain);
        diagnostics.push(diagnostic);
    }

    /// What is said of a chain that is declared behind the rule that names it (kernel-facts I4).
    fn later(&self, name: &str) -> &'static str {
        if self.names.contains_key(name) { " before it is declared" } else { "" }
    }

    /// Reports a jump to a chain that does not exist, and keeps it as not understood.
    pub(super) fn check_target(&self, rule: &mut Rule<'_>, diagnostics: &mut Vec<Diagnostic>) {
        let (option, name, span) = match &rule.target {
            Target::Jump(name, span) => ("-j", name, *span),
            Target::Goto(name, span) => ("-g", name, *span),
            _ => return,
        };
        if self.contains(name, rule.span) {
            if self.table.builtin_chains().contains(&name.as_ref()) {
                let message = format!("`{name}` is a built-in chain, which no rule can jump to");
                diagnostics.push(Diagnostic::error("jump-to-builtin", message, span));
            }
            return;
        }
        let message = format!("chain `{}` does not exist{}", clip(name), self.later(name));
        let mut diagnostic = match self.complete {
            true => Diagnostic::error("unknown-chain", message, span),
            false => Diagnostic::warning("unknown-chain", message, span),
        };
        diagnostic.help = self.near(name);
        diagnostics.push(diagnostic);
        let raw = format!("{option} {name}").into();
        rule.target = Target::Unsupported(Unsupported { raw, span, of: None });
    }

    /// Checks no more than that there is such a target, as iptables-legacy does of a rule for the
    /// other family while it reads it.
    pub(super) fn look_up_target(&self, rule: &mut Rule<'_>, diagnostics: &mut Vec<Diagnostic>) {
        if let Target::Jump(name, _) | Target::Goto(name, _) = &rule.target
            && !self.contains(name, rule.span)
            && !matches!(name.as_ref(), "ACCEPT" | "DROP" | "QUEUE" | "RETURN")
            && find(ExtensionKind::Target, name).is_none()
        {
            self.check_target(rule, diagnostics);
        }
    }

    fn near(&self, name: &str) -> Option<String> {
        if name.len() > 60
            || self.names.contains_key(name)
            || self.advised.fetch_add(1, Ordering::Relaxed) >= ADVISED
        {
            return None;
        }
        let mut names: Vec<&str> = self.names.keys().copied().collect();
        names.extend(["ACCEPT", "DROP", "RETURN"]);
        names.extend(crate::targets::ALL.iter().map(|extension| extension.name));
        names.sort_unstable();
        nearest(name, names).map(|near| format!("did you mean `{near}`?"))
    }
}
