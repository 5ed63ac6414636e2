//! `ip route` for people.

use std::net::IpAddr;

use super::{Draft, NextHop, Route, RouteKind, Table, parse_prefix, parse_tos};
use crate::diagnostic::Diagnostic;
use crate::host::line::{Line, Prose, Word, Words, lines};
use crate::span::Span;
use crate::syntax::Family;

/// The routes of a listing.
pub(super) fn routes(
    text: &str,
    family: Option<Family>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Route> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut prose = Prose::default();
    // Whether next hops on the lines below belong to the last route.
    let mut open = false;
    for line in lines(text).filter(|line| !line.is_blank()) {
        let result = match line.first_word() {
            "nexthop" => match drafts.last_mut().filter(|_| open) {
                Some(draft) => next_hops(draft, &line)
                    .inspect_err(|_| draft.unsupported.push(line.text.trim().to_owned())),
                None => Err(line.not_understood("a route before its next hops")),
            },
            // What a `nhid` stands for; the route repeats it. Lifetimes of cached routes.
            "nh_info" | "cache" => continue,
            _ if is_route(&line) => {
                let route = route(&line, diagnostics);
                open = route.is_ok();
                route.map(|draft| drafts.push(draft))
            }
            _ => {
                open = false;
                if line.words().any(|word| matches!(word.text, "via" | "dev")) {
                    Err(line.not_understood("a route, as `ip route` prints"))
                } else {
                    prose.add(&line);
                    Ok(())
                }
            }
        };
        diagnostics.extend(result.err());
    }
    diagnostics.extend(prose.finish(!drafts.is_empty(), "routes, as `ip route` prints"));
    unnamed_table(&drafts, diagnostics);
    drafts.into_iter().map(|draft| draft.finish(family)).collect()
}

/// Warns where the listing seems to be one of another table than `main`, which `ip route show
/// table NAME` does not name.
fn unnamed_table(drafts: &[Draft], diagnostics: &mut Vec<Diagnostic>) {
    if drafts.iter().any(|draft| draft.table.is_some()) {
        return;
    }
    let local = |draft: &&Draft| matches!(draft.kind, RouteKind::Local | RouteKind::Broadcast);
    if let Some(draft) = drafts.iter().find(local) {
        let message = "this listing names no tables; its routes are taken to stand in `main`";
        let help = "list all tables with their names: `ip route show table all`";
        diagnostics.push(Diagnostic::warning("unnamed-table", message, draft.span).help(help));
    }
}

/// Whether a line starts as a route does.
fn is_route(line: &Line<'_>) -> bool {
    let mut words = line.words();
    let Some(first) = words.next() else { return false };
    let prefix = |word: Word<'_>| parse_prefix(word.text).is_ok();
    match first.text.parse::<RouteKind>() {
        Ok(_) => words.next().is_some_and(prefix),
        Err(()) => prefix(first),
    }
}

/// One route.
fn route(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Result<Draft, Diagnostic> {
    let mut words = line.words();
    let mut draft = Draft { span: line.span, ..Draft::default() };
    if let Some(kind) = words.peek().and_then(|word| word.text.parse().ok()) {
        draft.kind = kind;
        words.next();
    }
    let destination = words.expect("a prefix")?;
    draft.destination =
        parse_prefix(destination.text).map_err(|()| destination.unexpected("a prefix"))?;
    if let Err(diagnostic) = attributes(&mut draft, &mut words, line, diagnostics) {
        draft.unsupported.push(line.text.trim().to_owned());
        diagnostics.push(diagnostic);
    }
    Ok(draft)
}

/// What follows the prefix of a route.
fn attributes(
    draft: &mut Draft,
    words: &mut Words<'_>,
    line: &Line<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    while let Some(word) = words.next() {
        if word.text == "nexthop" {
            let hop = next_hop(words, draft)?;
            draft.next_hops.push(hop);
        } else if !attribute(draft, word, words)? {
            let rest = words.by_ref().fold(word.span, |span, word| span.cover(word.span));
            let start = line.span.start;
            let raw = Span { start: rest.start - start, end: rest.end - start }.slice(line.text);
            let message = format!("`{}` of a route is not supported", word.text);
            diagnostics.push(Diagnostic::warning("unsupported-route", message, rest));
            draft.unsupported.push(raw.to_owned());
        }
    }
    Ok(())
}

/// The next hops on a line below their route.
fn next_hops(draft: &mut Draft, line: &Line<'_>) -> Result<(), Diagnostic> {
    let mut words = line.words();
    while words.accept("nexthop").is_some() {
        let hop = next_hop(&mut words, draft)?;
        draft.next_hops.push(hop);
    }
    draft.span = draft.span.cover(line.span);
    Ok(())
}

/// What follows `nexthop`.
fn next_hop(words: &mut Words<'_>, draft: &mut Draft) -> Result<NextHop, Diagnostic> {
    let mut hop = NextHop { weight: 1, ..NextHop::default() };
    while let Some(word) = words.peek().filter(|word| word.text != "nexthop") {
        words.next();
        match word.text {
            "via" => gateway(&mut hop, words, &mut draft.via)?,
            "dev" => hop.device = Some(words.expect("an interface")?.text.to_owned()),
            "weight" => hop.weight = words.parse("a weight")?,
            "realm" | "realms" => {
                words.expect("a realm")?;
            }
            flag if hop.set_flag(flag) => {}
            _ => return Err(word.unexpected("a word of a next hop")),
        }
    }
    Ok(hop)
}

/// What follows `via`.
fn gateway(hop: &mut NextHop, words: &mut Words<'_>, via: &mut bool) -> Result<(), Diagnostic> {
    if words.accept("inet6").or_else(|| words.accept("inet")).is_some() {
        *via = true;
    }
    hop.gateway = Some(words.parse::<IpAddr>("the address of a gateway")?);
    Ok(())
}

/// One word of a route with its value; false if it is not known.
fn attribute(draft: &mut Draft, word: Word<'_>, words: &mut Words<'_>) -> Result<bool, Diagnostic> {
    match word.text {
        "via" => gateway(&mut draft.next_hop, words, &mut draft.via)?,
        "dev" => draft.next_hop.device = Some(words.expect("an interface")?.text.to_owned()),
        "from" => {
            let value = words.expect("a prefix")?;
            draft.source = parse_prefix(value.text).map_err(|()| value.unexpected("a prefix"))?;
        }
        "tos" | "dsfield" => {
            let value = words.expect("a TOS")?;
            draft.tos = parse_tos(value.text).ok_or_else(|| value.unexpected("a TOS"))?;
        }
        "table" => draft.table = Some(words.parse::<Table>("a table")?),
        "proto" | "protocol" => draft.protocol = Some(words.expect("a protocol")?.text.to_owned()),
        "scope" => draft.scope = words.parse("a scope")?,
        "src" => draft.preferred_source = Some(words.parse("an IP address")?),
        "metric" => draft.metric = words.parse("a metric")?,
        "nhid" => draft.next_hop_id = Some(words.parse("the number of a next hop")?),
        "pref" => draft.preference = Some(words.parse("a preference")?),
        "mtu" => {
            words.accept("lock");
            draft.mtu = Some(words.parse("an MTU")?);
        }
        // Realms, lifetimes and what only TCP looks at: nothing here depends on them.
        "realm" | "realms" | "expires" | "error" | "hoplimit" | "advmss" | "window" | "rtt"
        | "rttvar" | "ssthresh" | "cwnd" | "initcwnd" | "initrwnd" | "reordering" | "rto_min"
        | "quickack" | "congctl" | "features" | "users" | "age" | "used" | "fastopen_no_cookie"
        | "ttl-propagate" => {
            words.accept("lock");
            words.expect("a value")?;
        }
        "cache" | "notify" => {}
        flag => return Ok(draft.next_hop.set_flag(flag)),
    }
    Ok(true)
}
