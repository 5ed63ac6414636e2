//! What the kernel refuses because of the way chains lead to each other: circles, too many levels,
//! and rules that built-in chains lead to in which their extensions are not allowed (kernel-facts B18,
//! G5, G17).

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::diagnostic::Diagnostic;
use crate::extension::{Completion, Extension, ExtensionKind};
use crate::recognize::Tool;
use crate::rule::RuleContext;
use crate::span::Span;
use crate::syntax::{Backend, ExtensionUse, Rule, Rules, Table, Target};

/// How deep chains may nest in iptables-nft, the built-in chain included (kernel-facts G5).
const NFT_DEPTH: usize = 16;

/// Reports what the kernel would not load although each rule for itself is right.
#[must_use]
pub fn check_chains(rules: &Rules<'_>, backend: Backend) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for table in &rules.tables {
        Graph::new(table, rules, backend).check(&mut found);
    }
    crate::shared::check(rules, &mut found);
    found.sort_by_key(|one| one.span);
    found
}

/// The rules of one chain that stand together, as nearly all do, with its name.
fn runs<'r, 'a>(table: &'r Table<'a>) -> impl Iterator<Item = (&'r str, &'r [Rule<'a>])> {
    let together = table.rules.chunk_by(|one, next| one.chain == next.chain);
    together.filter_map(|rules| Some((rules.first()?.chain.as_ref(), rules)))
}

/// The calls of one table.
struct Graph<'r, 'a> {
    table: &'r Table<'a>,
    rules: &'r Rules<'a>,
    backend: Backend,
    /// The number of each user chain.
    numbers: HashMap<&'r str, usize, RandomState>,
    /// For each chain whom it calls, and where.
    calls: Vec<Vec<(usize, Span)>>,
    /// How many of the first chains are built in.
    builtin: usize,
}

impl<'r, 'a> Graph<'r, 'a> {
    fn new(table: &'r Table<'a>, rules: &'r Rules<'a>, backend: Backend) -> Self {
        let chains = table.chains.len() + table.name.builtin_chains().len();
        let mut graph = Self {
            table,
            rules,
            backend,
            numbers: HashMap::with_capacity_and_hasher(chains, RandomState::default()),
            calls: Vec::with_capacity(chains),
            builtin: table.name.builtin_chains().len(),
        };
        for name in table.name.builtin_chains() {
            graph.number(name);
        }
        for (chain, rules) in runs(table) {
            let from = graph.number(chain);
            for rule in rules {
                let (Target::Jump(name, span) | Target::Goto(name, span)) = &rule.target else {
                    continue;
                };
                let to = graph.number(name);
                if let Some(calls) = graph.calls.get_mut(from) {
                    calls.push((to, *span));
                }
            }
        }
        graph
    }

    fn number(&mut self, name: &'r str) -> usize {
        let next = self.calls.len();
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.calls.push(Vec::new());
        }
        number
    }

    fn check(&self, found: &mut Vec<Diagnostic>) {
        let Some(depths) = self.depths(found) else { return };
        if self.backend == Backend::Nft
            && let Some((_, span)) = depths.iter().flatten().find(|(depth, _)| *depth > NFT_DEPTH)
        {
            let message = format!("chains nest deeper here than the {NFT_DEPTH} of iptables-nft");
            found.push(Diagnostic::error("chain-depth", message, *span));
        }
        self.check_hooks(found);
    }

    /// For each chain that a built-in chain leads to its deepest level, and the call that makes it;
    /// nothing, and a message, where chains run in a circle.
    fn depths(&self, found: &mut Vec<Diagnostic>) -> Option<Vec<Option<(usize, Span)>>> {
        let order = match self.order() {
            Ok(order) => order,
            Err(span) => {
                let message = "chains run in a circle, which the kernel refuses";
                found.push(
                    Diagnostic::error("chain-loop", message, span).label("this call closes it"),
                );
                return None;
            }
        };
        let mut depths: Vec<Option<(usize, Span)>> = vec![None; self.calls.len()];
        depths.iter_mut().take(self.builtin).for_each(|depth| *depth = Some((1, Span::default())));
        for from in order {
            let Some(Some((depth, _))) = depths.get(from).copied() else { continue };
            for (to, span) in self.calls.get(from).into_iter().flatten() {
                if let Some(known) = depths.get_mut(*to)
                    && known.is_none_or(|(known, _)| known < depth + 1)
                {
                    *known = Some((depth + 1, *span));
                }
            }
        }
        Some(depths)
    }

    /// The chains that built-in chains lead to, callers first; or the call that closes a circle.
    fn order(&self) -> Result<Vec<usize>, Span> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.calls.len()];
        let mut order = Vec::new();
        for start in 0..self.builtin {
            let mut stack = vec![(start, 0)];
            while let Some((chain, next)) = stack.pop() {
                let Some(mark) = marks.get_mut(chain) else { continue };
                if next == 0 && *mark == Mark::Done {
                    continue;
                }
                *mark = Mark::Open;
                match self.calls.get(chain).and_then(|calls| calls.get(next)) {
                    Some((to, span)) => {
                        stack.push((chain, next + 1));
                        match marks.get(*to) {
                            Some(Mark::Open) => return Err(*span),
                            Some(Mark::New) => stack.push((*to, 0)),
                            _ => {}
                        }
                    }
                    None => {
                        *mark = Mark::Done;
                        order.push(chain);
                    }
                }
            }
        }
        order.reverse();
        Ok(order)
    }

    /// Checks the rules of user chains at the built-in chains that lead to them.
    fn check_hooks(&self, found: &mut Vec<Diagnostic>) {
        let reached = self.reached();
        for (chain, rules) in runs(self.table) {
            let Some(number) = self.numbers.get(chain) else { continue };
            if *number < self.builtin {
                continue;
            }
            let bits = reached.get(*number).copied().unwrap_or(0);
            let from = self.table.name.builtin_chains().iter().enumerate();
            let from: Vec<&'static str> =
                from.filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
            if !from.is_empty() {
                rules.iter().for_each(|rule| self.check_rule(rule, &from, found));
            }
        }
    }

    /// For each chain a bit for each built-in chain that leads to it.
    fn reached(&self) -> Vec<u8> {
        let mut reached = vec![0_u8; self.calls.len()];
        for start in 0..self.builtin {
            let mut waiting = vec![start];
            while let Some(chain) = waiting.pop() {
                let Some(bits) = reached.get_mut(chain) else { continue };
                if *bits >> start & 1 == 1 {
                    continue;
                }
                *bits |= 1 << start;
                waiting.extend(self.calls.get(chain).into_iter().flatten().map(|(to, _)| *to));
            }
        }
        reached
    }

    fn check_rule(&self, rule: &Rule<'a>, from: &[&'static str], found: &mut Vec<Diagnostic>) {
        let target = match &rule.target {
            Target::Extension(used) => Some(used),
            _ => None,
        };
        for used in rule.matches.iter().chain(target) {
            let chains = used.extension.chains;
            let wrong = from.iter().find(|name| !chains.is_empty() && !chains.contains(name));
            if let Some(wrong) = wrong {
                found.push(refused(used.extension, wrong, used.span));
            } else if self.backend == Backend::Legacy {
                self.check_options(rule, used, from, found);
            }
        }
    }

    /// iptables-legacy also looks at what an extension checks itself; iptables-nft knows no chain
    /// but the rule's own then.
    fn check_options(
        &self,
        rule: &Rule<'a>,
        used: &ExtensionUse<'a>,
        from: &[&'static str],
        found: &mut Vec<Diagnostic>,
    ) {
        let Some(complete) = used.extension.complete else { return };
        let context = RuleContext {
            table: self.table.name,
            family: self.rules.family,
            backend: Some(self.backend),
            placement: rule.placement,
            span: rule.span,
            line: rule.line,
            counters: rule.counters,
            tool: Tool::Rules,
            interfaces: rule.interfaces,
            verbatim: rule.verbatim,
        };
        for chain in from {
            let mut said = Vec::new();
            complete(&mut Completion {
                extension: used.extension,
                options: &mut used.options.clone(),
                context: &context,
                chain,
                protocol: rule.protocol,
                matches: &rule.matches,
                span: used.span,
                vanishes: &mut false,
                diagnostics: &mut said,
            });
            let place = ["wrong-chain", "interface-in-chain"];
            if let Some(one) = said.into_iter().find(|one| place.contains(&one.code)) {
                found.push(one);
                return;
            }
        }
    }
}

fn refused(extension: &Extension, chain: &str, span: Span) -> Diagnostic {
    let what = match extension.kind {
        ExtensionKind::Match => "match",
        ExtensionKind::Target => "target",
    };
    let message = format!("the kernel takes no {what} `{}` in {chain}", extension.name);
    Diagnostic::error("refused-by-kernel", message, span)
        .label(format!("{chain} leads to this chain"))
        .help(format!("allowed in {}", extension.chains.join(", ")))
}
