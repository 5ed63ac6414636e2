//! `ip rule` for people.

use super::{RoutingRule, RuleAction, parse_number, parse_prefix, parse_protocol, parse_range};
use crate::diagnostic::Diagnostic;
use crate::host::line::{Line, Prose, Word, Words, lines};
use crate::host::route::parse_tos;

/// The rules of a listing.
pub(super) fn rules(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<RoutingRule> {
    let mut rules = Vec::new();
    let mut prose = Prose::default();
    for line in lines(text).filter(|line| !line.is_blank()) {
        match priority(&line) {
            Some(priority) => {
                rules.push(rule(&line, priority, diagnostics).unwrap_or_else(|diagnostic| {
                    diagnostics.push(diagnostic);
                    RoutingRule::unsupported(priority, line.text.trim(), line.span)
                }))
            }
            None if line.words().any(|word| matches!(word.text, "from" | "lookup")) => {
                diagnostics.push(line.not_understood("a routing rule, as `ip rule` prints"));
            }
            None => prose.add(&line),
        }
    }
    diagnostics.extend(prose.finish(!rules.is_empty(), "routing rules, as `ip rule` prints"));
    rules
}

/// `32766:` at the start of a line.
fn priority(line: &Line<'_>) -> Option<u32> {
    line.first_word().strip_suffix(':')?.parse().ok()
}

/// One rule.
fn rule(
    line: &Line<'_>,
    priority: u32,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<RoutingRule, Diagnostic> {
    let mut words = line.words();
    words.next();
    let mut rule = RoutingRule { priority, span: line.span, ..RoutingRule::default() };
    let mut has_action = false;
    while let Some(word) = words.next() {
        if let Some(action) = action(word, &mut words)? {
            rule.action = action;
            has_action = true;
        } else if !selector(&mut rule, word, &mut words)? {
            let message = format!("`{}` of a routing rule is not supported", word.text);
            diagnostics.push(Diagnostic::warning("unsupported-routing-rule", message, word.span));
            let value = words.next().map_or("", |value| value.text);
            rule.unsupported.push(format!("{} {value}", word.text).trim_end().to_owned());
        }
    }
    if has_action {
        Ok(rule)
    } else {
        Err(line.not_understood("a routing rule with `lookup` or another action"))
    }
}

/// The action that a word begins.
fn action(word: Word<'_>, words: &mut Words<'_>) -> Result<Option<RuleAction>, Diagnostic> {
    Ok(Some(match word.text {
        "lookup" if words.accept("[l3mdev-table]").is_some() => RuleAction::LookupVrf,
        "lookup" | "table" => RuleAction::Lookup(words.parse("a table")?),
        "goto" if words.accept("none").is_some() => RuleAction::Nop,
        "goto" => {
            let target = words.parse("a priority")?;
            words.accept("[unresolved]");
            RuleAction::Goto(target)
        }
        "nop" => RuleAction::Nop,
        "blackhole" => RuleAction::Blackhole,
        "unreachable" => RuleAction::Unreachable,
        "prohibit" => RuleAction::Prohibit,
        _ => return Ok(None),
    }))
}

/// One selector with its value; false if it is not known.
fn selector(
    rule: &mut RoutingRule,
    word: Word<'_>,
    words: &mut Words<'_>,
) -> Result<bool, Diagnostic> {
    match word.text {
        "not" => rule.negated = true,
        "from" => rule.source = value(words, "a prefix or `all`", |text| parse_prefix(text, None))?,
        "to" => {
            rule.destination = value(words, "a prefix or `all`", |text| parse_prefix(text, None))?
        }
        "fwmark" => rule.mark = Some(value(words, "a mark", parse_mark)?),
        "iif" | "dev" => rule.in_interface = Some(interface(words)?),
        "oif" => rule.out_interface = Some(interface(words)?),
        "tos" | "dsfield" => {
            rule.tos = value(words, "a TOS", parse_tos)?;
        }
        "ipproto" => rule.protocol = Some(value(words, "a protocol", parse_protocol)?),
        "sport" => rule.source_ports = Some(value(words, "a range of ports", parse_range)?),
        "dport" => rule.destination_ports = Some(value(words, "a range of ports", parse_range)?),
        "uidrange" => rule.users = Some(value(words, "a range of users", parse_range)?),
        "suppress_prefixlength" | "suppress_prefixlen" => {
            rule.suppress_prefix_length = Some(words.parse("a prefix length")?);
        }
        "suppress_ifgroup" => rule.suppress_group = Some(words.expect("a group")?.text.to_owned()),
        // They say nothing about which packets match.
        "realms" | "proto" | "protocol" => {
            words.expect("a value")?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The next word through a reader.
fn value<T>(
    words: &mut Words<'_>,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Diagnostic> {
    let word = words.expect(expected)?;
    read(word.text).ok_or_else(|| word.unexpected(expected))
}

/// An interface; `[detached]` behind it says that it does not exist now.
fn interface(words: &mut Words<'_>) -> Result<String, Diagnostic> {
    let name = words.expect("an interface")?.text.to_owned();
    words.accept("[detached]");
    Ok(name)
}

/// `0x1`, or `0x1/0xff`.
fn parse_mark(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((mark, mask)) => Some((parse_number(mark)?, parse_number(mask)?)),
        None => Some((parse_number(text)?, u32::MAX)),
    }
}
