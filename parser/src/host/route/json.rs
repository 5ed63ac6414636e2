//! `ip -j route`.

use std::net::IpAddr;

use super::{Draft, NextHop, Route, parse_prefix, parse_tos};
use crate::diagnostic::Diagnostic;
use crate::host::json::{Json, Object, entries};
use crate::syntax::Family;

/// The routes of a text of JSON.
pub(super) fn routes(
    text: &str,
    start: usize,
    family: Option<Family>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for entry in entries(text, start, "a list of routes, as `ip -j route` prints", diagnostics) {
        match entry.object("a route").and_then(|object| route(&object, diagnostics)) {
            Ok(draft) => routes.extend(draft.map(|draft| draft.finish(family))),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    routes
}

/// One route; `{}` is none.
fn route(
    object: &Object<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Draft>, Diagnostic> {
    if object.is_empty() {
        return Ok(None);
    }
    let mut draft = Draft { span: object.span, ..Draft::default() };
    let mut destination = None;
    for (key, value) in object.iter() {
        // iproute2 writes the fields of an encapsulation between the others, with a second `dst`.
        if key == "dst" && destination.is_none() {
            let prefix =
                parse_prefix(&value.string()?).map_err(|()| value.unexpected("a prefix"))?;
            destination = Some(prefix);
            continue;
        }
        let refused = match field(&mut draft, key, value) {
            Ok(true) => continue,
            Ok(false) => {
                let message = format!("`{key}` of a route is not supported");
                Diagnostic::warning("unsupported-route", message, value.span)
            }
            Err(diagnostic) => diagnostic,
        };
        diagnostics.push(refused);
        draft.unsupported.push(format!("{key} {}", value.shown()));
    }
    draft.destination = match destination {
        Some(destination) => destination,
        None => return Err(object.required("dst").err().unwrap_or_else(|| no_destination(object))),
    };
    Ok(Some(draft))
}

/// The warning about a route whose `dst` is `null`.
fn no_destination(object: &Object<'_>) -> Diagnostic {
    Diagnostic::warning("missing-field", "expected a field `dst`", object.span)
}

/// One field; false if it is not known.
fn field(draft: &mut Draft, key: &str, value: Json<'_>) -> Result<bool, Diagnostic> {
    if hop_field(&mut draft.next_hop, &mut draft.via, key, value)? {
        return Ok(true);
    }
    match key {
        "type" => draft.kind = value.parse("a type of route")?,
        "from" => {
            draft.source =
                parse_prefix(&value.string()?).map_err(|()| value.unexpected("a prefix"))?
        }
        "tos" => draft.tos = parse_tos(&value.word()?).ok_or_else(|| value.unexpected("a TOS"))?,
        "table" => draft.table = Some(value.parse("a table")?),
        "protocol" => draft.protocol = Some(value.word()?.into_owned()),
        "scope" => draft.scope = value.parse("a scope")?,
        "prefsrc" => draft.preferred_source = Some(value.parse("an IP address")?),
        "metric" => draft.metric = value.parse("a metric")?,
        "nhid" => draft.next_hop_id = Some(value.parse("the number of a next hop")?),
        "pref" => draft.preference = Some(value.parse("a preference")?),
        "metrics" => {
            for entry in value.list("a list of metrics")? {
                if let Some(mtu) = entry.object("metrics")?.get("mtu") {
                    draft.mtu = Some(mtu.parse("an MTU")?);
                }
            }
        }
        "nexthops" => {
            for entry in value.list("a list of next hops")? {
                draft.next_hops.push(next_hop(&entry.object("a next hop")?, &mut draft.via)?);
            }
        }
        // Counters, ages and realms: nothing here depends on them. `nh_info` repeats what
        // `nhid` stands for.
        "expires" | "error" | "flow" | "realms" | "nh_info" | "users" | "age" | "used"
        | "lastuse" | "cache" | "ttl-propagate" | "hoplimit" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// One next hop of a multipath route.
fn next_hop(object: &Object<'_>, via: &mut bool) -> Result<NextHop, Diagnostic> {
    let mut hop = NextHop { weight: 1, ..NextHop::default() };
    for (key, value) in object.iter() {
        if key == "weight" {
            hop.weight = value.parse("a weight")?;
        } else if !hop_field(&mut hop, via, key, value)? && !matches!(key, "flow" | "realms") {
            let message = format!("`{key}` of a next hop is not supported");
            return Err(Diagnostic::warning("unsupported-route", message, value.span));
        }
    }
    Ok(hop)
}

/// One field that a route shares with its next hops; false if it is none of these.
fn hop_field(
    hop: &mut NextHop,
    via: &mut bool,
    key: &str,
    value: Json<'_>,
) -> Result<bool, Diagnostic> {
    match key {
        "gateway" => hop.gateway = Some(value.parse::<IpAddr>("an IP address")?),
        "via" => {
            let gateway = value.object("a gateway with its family")?;
            hop.gateway = Some(gateway.required("host")?.parse::<IpAddr>("an IP address")?);
            *via = true;
        }
        "dev" => hop.device = Some(value.string()?.into_owned()),
        "flags" => {
            for flag in value.list("a list of flags")? {
                if !hop.set_flag(&flag.string()?) {
                    return Err(flag.unexpected("a flag of a route"));
                }
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}
