//! `ip -j rule`.

use super::{RoutingRule, RuleAction, parse_number, parse_prefix, parse_protocol, parse_range};
use crate::diagnostic::Diagnostic;
use crate::host::json::{Json, Object, entries};
use crate::host::route::parse_tos;

/// The rules of a text of JSON.
pub(super) fn rules(
    text: &str,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<RoutingRule> {
    let mut rules = Vec::new();
    for entry in
        entries(text, start, "a list of routing rules, as `ip -j rule` prints", diagnostics)
    {
        let object = match entry.object("a routing rule") {
            Ok(object) if object.is_empty() => continue,
            Ok(object) => object,
            Err(diagnostic) => {
                diagnostics.push(diagnostic);
                continue;
            }
        };
        match rule(&object, diagnostics) {
            Ok(rule) => rules.push(rule),
            Err(diagnostic) => {
                diagnostics.push(diagnostic);
                let priority =
                    object.get("priority").and_then(|value| value.parse("a priority").ok());
                rules.extend(
                    priority.map(|priority| {
                        RoutingRule::unsupported(priority, entry.text(), entry.span)
                    }),
                );
            }
        }
    }
    rules
}

/// One rule.
fn rule(object: &Object<'_>, diagnostics: &mut Vec<Diagnostic>) -> Result<RoutingRule, Diagnostic> {
    let mut rule = RoutingRule {
        priority: object.required("priority")?.parse("a priority")?,
        source: prefix(object, "src", "srclen")?,
        destination: prefix(object, "dst", "dstlen")?,
        source_ports: range(object, "sport")?,
        destination_ports: range(object, "dport")?,
        users: range(object, "uid")?,
        span: object.span,
        ..RoutingRule::default()
    };
    if let Some(mark) = object.get("fwmark") {
        let mask = object.get("fwmask").map_or(Ok(u32::MAX), number)?;
        rule.mark = Some((number(mark)?, mask));
    }
    let mut action = false;
    for (key, value) in object.iter() {
        if let Some(found) = self::action(key, value)? {
            rule.action = found;
            action = true;
        } else if !field(&mut rule, key, value)? {
            let message = format!("`{key}` of a routing rule is not supported");
            diagnostics.push(Diagnostic::warning("unsupported-routing-rule", message, value.span));
            rule.unsupported.push(format!("{key} {}", value.shown()));
        }
    }
    if action {
        Ok(rule)
    } else {
        let message = "expected a table or another action of the routing rule";
        Err(Diagnostic::warning("missing-field", message, object.span))
    }
}

/// The action that a field tells.
fn action(key: &str, value: Json<'_>) -> Result<Option<RuleAction>, Diagnostic> {
    Ok(Some(match key {
        "table" => RuleAction::Lookup(value.parse("a table")?),
        "l3mdev" => RuleAction::LookupVrf,
        "nop" => RuleAction::Nop,
        // iproute2 prints `none` where the kernel gives no target.
        "goto" if value.string().is_ok_and(|text| text == "none") => RuleAction::Nop,
        "goto" => RuleAction::Goto(value.parse("a priority")?),
        "action" => match value.string()?.as_ref() {
            "blackhole" => RuleAction::Blackhole,
            "unreachable" => RuleAction::Unreachable,
            "prohibit" => RuleAction::Prohibit,
            "nop" => RuleAction::Nop,
            // The target, the table or `l3mdev` stands in a field of its own.
            "goto" | "lookup" | "to_tbl" => return Ok(None),
            _ => return Err(value.unexpected("an action of a routing rule")),
        },
        _ => return Ok(None),
    }))
}

/// One other field; false if it is not known.
fn field(rule: &mut RoutingRule, key: &str, value: Json<'_>) -> Result<bool, Diagnostic> {
    match key {
        "not" => rule.negated = value.flag()?,
        "iif" => rule.in_interface = Some(value.string()?.into_owned()),
        "oif" => rule.out_interface = Some(value.string()?.into_owned()),
        "tos" => {
            rule.tos = parse_tos(&value.word()?).ok_or_else(|| value.unexpected("a TOS"))?;
        }
        "ipproto" => {
            let protocol = parse_protocol(&value.word()?);
            rule.protocol = Some(protocol.ok_or_else(|| value.unexpected("a protocol"))?);
        }
        // -1 is none.
        "suppress_prefixlen" if value.word()?.starts_with('-') => {}
        "suppress_prefixlen" => rule.suppress_prefix_length = Some(value.parse("a prefix length")?),
        "suppress_ifgroup" => rule.suppress_group = Some(value.word()?.into_owned()),
        // Read above with their second half.
        "priority" | "src" | "srclen" | "dst" | "dstlen" | "sport" | "sport_start"
        | "sport_end" | "dport" | "dport_start" | "dport_end" | "uid_start" | "uid_end"
        | "fwmark" | "fwmask" => {}
        // `action` and what says nothing about which packets match: realms, who set the rule, and
        // that an interface or a target does not exist now.
        "action" | "flow_from" | "flow_to" | "protocol" | "iif_detached" | "oif_detached"
        | "unresolved" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// A number, in hexadecimal with `0x`.
fn number(value: Json<'_>) -> Result<u32, Diagnostic> {
    parse_number(&value.word()?).ok_or_else(|| value.unexpected("a number"))
}

/// An address with the length of its prefix in another field.
fn prefix(
    object: &Object<'_>,
    address: &str,
    length: &str,
) -> Result<Option<ipnet::IpNet>, Diagnostic> {
    let Some(value) = object.get(address) else { return Ok(None) };
    let length = object.get(length).map(|length| length.parse("a prefix length")).transpose()?;
    parse_prefix(&value.string()?, length).ok_or_else(|| value.unexpected("an IP address or `all`"))
}

/// A number or a range, in one field (`sport`, `1-2` too) or in two (`sport_start`, `sport_end`).
fn range<T>(object: &Object<'_>, name: &str) -> Result<Option<(T, T)>, Diagnostic>
where
    T: std::str::FromStr + Copy + PartialOrd,
{
    if let Some(value) = object.get(name) {
        return parse_range(&value.word()?)
            .map(Some)
            .ok_or_else(|| value.unexpected("a range of numbers"));
    }
    let Some(start) = object.get(&format!("{name}_start")) else { return Ok(None) };
    let end = object.required(&format!("{name}_end"))?;
    Ok(Some((start.parse("a number")?, end.parse("a number")?)))
}
