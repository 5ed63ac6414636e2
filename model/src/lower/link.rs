//! Circles and depth of the chain graph, and rules at hooks where the kernel takes none of them.

use nattrace_parser::diagnostic::Diagnostic;
use nattrace_parser::syntax::Backend;

use super::placement;
use super::rule::Lowered;
use crate::graph::{ChainGraph, Loop, NFT_DEPTH};
use crate::ruleset::{Chain, ChainId, Rule, RuleId};
use crate::target::Target;

/// Checks the graph, and opens every circle so that what walks it comes to an end.
pub(super) fn check(lowered: &mut Lowered, diagnostics: &mut Vec<(usize, Diagnostic)>) {
    let graph = ChainGraph::new(&lowered.chains);
    let heights = graph.heights();
    for found in graph.loops() {
        let reachable = !graph.reaching_hooks(found.closing.chain).is_empty();
        diagnostics.extend(report_loop(&lowered.chains, found, reachable));
    }
    check_depth(&lowered.chains, &graph, &heights, diagnostics);
    check_placement(lowered, &graph, diagnostics);
    for found in graph.loops() {
        open_loop(&mut lowered.chains, found);
    }
}

fn rule(chains: &[Chain], id: RuleId) -> Option<&Rule> {
    chains.get(id.chain.0 as usize)?.rules.get(id.index as usize)
}

fn name(chains: &[Chain], id: ChainId) -> &str {
    chains.get(id.0 as usize).map_or("?", |chain| &chain.name)
}

fn names(chains: &[Chain], ids: impl Iterator<Item = ChainId>) -> String {
    let names: Vec<&str> = ids.map(|id| name(chains, id)).collect();
    names.join(" \u{2192} ")
}

/// The kernel refuses a loop that a base chain leads into, and takes any other (kernel-facts G5).
fn report_loop(chains: &[Chain], found: &Loop, reachable: bool) -> Option<(usize, Diagnostic)> {
    let closing = rule(chains, found.closing)?;
    let around = found.chains.iter().chain(found.chains.first()).copied();
    let message = format!("chains run in a circle: {}", names(chains, around));
    let span = closing.origin.span;
    let diagnostic = if reachable {
        Diagnostic::error("chain-loop", message, span).label("this rule closes it")
    } else {
        Diagnostic::warning("chain-loop", message, span)
            .label("this rule closes it")
            .help("no base chain leads into it, or the kernel would refuse it")
    };
    Some((usize::from(closing.origin.source), diagnostic))
}

/// Takes the call out of the rule that closes a loop. The chain is unreachable, or the ruleset not
/// to be used.
fn open_loop(chains: &mut [Chain], found: &Loop) {
    let to = found.chains.first().map_or("?", |first| name(chains, *first));
    let target = Target::Unsupported(to.into());
    let closing = chains
        .get_mut(found.closing.chain.0 as usize)
        .and_then(|chain| chain.rules.get_mut(found.closing.index as usize));
    if let Some(closing) = closing {
        closing.target = target;
    }
}

/// iptables-nft refuses to nest deeper; iptables-legacy does not (kernel-facts G5).
fn check_depth(
    chains: &[Chain],
    graph: &ChainGraph,
    heights: &[u32],
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) {
    let mut blamed = Vec::new();
    for (id, chain) in (0u32..).map(ChainId).zip(chains) {
        let height = heights.get(id.0 as usize).copied().unwrap_or(0);
        if chain.base.is_none() || height <= NFT_DEPTH {
            continue;
        }
        let path = graph.deepest_path(id, heights);
        let Some(&culprit) = path.get(NFT_DEPTH as usize - 1) else { continue };
        let Some(found) = rule(chains, culprit) else { continue };
        if blamed.contains(&culprit) {
            continue;
        }
        blamed.push(culprit);
        let message = format!(
            "chains nest {height} levels deep below `{}`, iptables-nft takes {NFT_DEPTH}",
            chain.name
        );
        let span = found.origin.span;
        let diagnostic = match chain.backend {
            Backend::Nft => Diagnostic::error("chain-depth", message, span),
            Backend::Legacy => Diagnostic::warning("chain-depth", message, span),
        };
        let way = path.iter().take(NFT_DEPTH as usize).map(|rule| rule.chain);
        let path = names(chains, way);
        diagnostics.push((
            usize::from(found.origin.source),
            diagnostic.label("one level too deep").help(format!("the way there: {path}")),
        ));
    }
}

/// Refuses rules in user chains that the kernel does not take because of the hooks that lead there
/// (kernel-facts B18, G17). In a built-in chain the parser refuses them itself.
fn check_placement(
    lowered: &Lowered,
    graph: &ChainGraph,
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) {
    for ((id, chain), allowed) in (0u32..).map(ChainId).zip(&lowered.chains).zip(&lowered.allowed) {
        let reaching = graph.reaching_hooks(id);
        if chain.base.is_some() || reaching.intersection(*allowed) == reaching {
            continue;
        }
        for rule in &chain.rules {
            for (what, hooks) in placement::of_rule(rule) {
                let Some(wrong) = reaching.iter().find(|hook| !hooks.contains(*hook)) else {
                    continue;
                };
                let message = format!("the kernel takes no {what} in {}", wrong.as_str());
                let allowed: Vec<&str> = hooks.iter().map(|hook| hook.as_str()).collect();
                diagnostics.push((
                    usize::from(rule.origin.source),
                    Diagnostic::error("refused-by-kernel", message, rule.origin.span)
                        .help(format!("allowed in {}", allowed.join(", "))),
                ));
            }
        }
    }
}
