//! Chains: their declarations, and whether those that rules name exist.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Line;
use foldhash::fast::RandomState;

use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::span::Span;
use crate::syntax::{Backend, Chain, Counters, Policy, Rule, TableName, Target, Unsupported};
use crate::words::clip;

/// Whether a line begins like a command on a chain.
pub(super) fn is_command(text: &str) -> bool {
    let rest = text.trim_start_matches(['-', '–', '—', '−']);
    let command = rest.split_whitespace().next().unwrap_or_default();
    text.starts_with('[')
        || matches!(
            command.as_bytes(),
            [b'A' | b'I' | b'P' | b'N' | b'D' | b'F' | b'X' | b'R' | b'Z' | b'E' | b'C' | b't']
        )
        || ["append", "insert", "policy", "new-chain", "table"].contains(&command)
}

/// Whether a line of a table is a command that adds no rule, as iptables-restore takes it
/// (kernel-facts I5).
pub(super) fn is_other_command(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'-', b'N' | b'P' | b'D' | b'F' | b'X' | b'R' | b'Z' | b'E' | b'C', b' ' | b'\t', ..]
    )
}

/// `[PACKETS:BYTES]`.
pub(super) fn counters(text: &str) -> Option<Counters> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some(Counters { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? })
}

/// `:NAME POLICY [PACKETS:BYTES]`.
pub(crate) fn declaration<'a>(
    line: Line<'a>,
    table: TableName,
    backend: Option<Backend>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Chain<'a>> {
    let mut fields = line.text.strip_prefix(':')?.split_whitespace();
    let name = fields.next().unwrap_or_default();
    let span = line.span();
    let Some(word) = fields.next() else {
        let message = "expected `:CHAIN POLICY [PACKETS:BYTES]`";
        diagnostics.push(Diagnostic::error("invalid-chain", message, span));
        return None;
    };
    let counters = match fields.next() {
        None => None,
        Some(field) => counters(field).or_else(|| {
            let message = format!("expected `[PACKETS:BYTES]`, found `{}`", clip(field));
            diagnostics.push(Diagnostic::error("invalid-counters", message, span));
            None
        }),
    };
    let name_span = Span::new(line.start + 1, line.start + 1 + name.len());
    let policy = match word {
        "-" => None,
        word => policy(word, name, table, backend, name_span, diagnostics),
    };
    crate::rule::check_chain_name(name, name_span, diagnostics);
    Some(Chain { name: name.into(), policy, counters, span })
}

/// The policy of a built-in chain.
pub(super) fn policy(
    word: &str,
    chain: &str,
    table: TableName,
    backend: Option<Backend>,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Policy> {
    let policy = match word {
        "ACCEPT" => Policy::Accept,
        "DROP" => Policy::Drop,
        _ => {
            let message = format!("expected the policy ACCEPT or DROP, found `{}`", clip(word));
            diagnostics.push(Diagnostic::error("invalid-policy", message, span));
            return None;
        }
    };
    if !table.builtin_chains().contains(&chain) {
        // kernel-facts I4: iptables-nft ignores it, iptables-legacy refuses it.
        let severity = match backend {
            Some(Backend::Nft) => Severity::Warning,
            _ => Severity::Error,
        };
        let message = format!("chain `{}` is no built-in chain and has no policy", clip(chain));
        diagnostics
            .push(Diagnostic { severity, ..Diagnostic::error("invalid-policy", message, span) });
        return None;
    }
    if table == TableName::Nat && policy == Policy::Drop {
        // kernel-facts G4.
        let message = "DROP can't be the policy of a chain of the nat table";
        diagnostics.push(Diagnostic::error("drop-in-nat", message, span));
    }
    Some(policy)
}

/// The chains of a table that exist.
pub(super) struct Declared<'b> {
    table: TableName,
    names: HashSet<&'b str, RandomState>,
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
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut names = HashSet::with_capacity_and_hasher(chains.len(), RandomState::default());
        for chain in chains {
            if !names.insert(chain.name.as_ref()) {
                let message = format!("chain `{}` is declared twice", clip(&chain.name));
                diagnostics.push(Diagnostic::warning("duplicate-chain", message, chain.span));
            }
        }
        names.extend(table.builtin_chains());
        Self { table, names, complete, advised: AtomicUsize::new(0) }
    }

    /// Adds a chain that a rule stands in, where chains are not declared.
    pub(super) fn add(&mut self, name: &'b str) {
        if !self.complete {
            self.names.insert(name);
        }
    }

    /// Whether the chain is known, without a message.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Reports a rule in a chain that does not exist (kernel-facts G6).
    pub(super) fn check_home(
        &self,
        rule: &Rule<'_>,
        span: Span,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let message = format!(
            "chain `{}` does not exist in the {} table",
            clip(&rule.chain),
            self.table.as_str()
        );
        let mut diagnostic = Diagnostic::error("unknown-chain", message, span);
        diagnostic.help = self.near(&rule.chain);
        diagnostics.push(diagnostic);
    }

    /// Reports a jump to a chain that does not exist, and keeps it as not understood.
    pub(super) fn check_target(&self, rule: &mut Rule<'_>, diagnostics: &mut Vec<Diagnostic>) {
        let (option, name, span) = match &rule.target {
            Target::Jump(name, span) => ("-j", name, *span),
            Target::Goto(name, span) => ("-g", name, *span),
            _ => return,
        };
        if self.names.contains(name.as_ref()) {
            if self.table.builtin_chains().contains(&name.as_ref()) {
                let message = format!("`{name}` is a built-in chain, which no rule can jump to");
                diagnostics.push(Diagnostic::error("jump-to-builtin", message, span));
            }
            return;
        }
        let message = format!("chain `{}` does not exist", clip(name));
        let mut diagnostic = match self.complete {
            true => Diagnostic::error("unknown-chain", message, span),
            false => Diagnostic::warning("unknown-chain", message, span),
        };
        diagnostic.help = self.near(name);
        diagnostics.push(diagnostic);
        let raw = format!("{option} {name}").into();
        rule.target = Target::Unsupported(Unsupported { raw, span });
    }

    fn near(&self, name: &str) -> Option<String> {
        if name.len() > 60 || self.advised.fetch_add(1, Ordering::Relaxed) >= ADVISED {
            return None;
        }
        let mut names: Vec<&str> = self.names.iter().copied().collect();
        names.extend(["ACCEPT", "DROP", "RETURN"]);
        names.extend(crate::targets::ALL.iter().map(|extension| extension.name));
        names.sort_unstable();
        nearest(name, names).map(|near| format!("did you mean `{near}`?"))
    }
}
