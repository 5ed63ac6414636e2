//! What is known of the hosts around: the tables `[zones.NAME]` of `zones.toml` and of a policy.

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Read;
use crate::diagnostic::{Diagnostic, nearest};
use crate::span::Span;

/// Hosts beyond some interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// The interfaces behind which its hosts are; none stands for any.
    pub via: Vec<Placed<String>>,
    /// The prefixes that its hosts have addresses of.
    pub nets: Vec<Placed<IpNet>>,
    /// The prefixes that its hosts send to this machine although they are not on-link.
    pub routes: Vec<Placed<IpNet>>,
    /// The name in its header.
    pub span: Span,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// The keys of a zone.
const KEYS: [&str; 3] = ["via", "nets", "routes"];

/// The zones that are there without a definition.
const BUILT_IN: [&str; 3] = ["internet", "lan", "host"];

/// Reads `zones.toml`, which holds nothing but `[zones.NAME]` tables and, if it likes, a `version`.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<Zone>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics: Vec<Diagnostic> =
        errors.iter().map(|error| syntax_error(text, error)).collect();
    let mut zones = Vec::new();
    for (key, value) in in_order(table.get_ref()) {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("zones", DeValue::Table(table)) => zones = parse_table(table, &mut diagnostics),
            ("zones", _) => diagnostics.push(unexpected("tables `[zones.NAME]`", text, value)),
            ("version", DeValue::Integer(version)) if version.as_str() == "1" => {}
            ("version", _) => diagnostics.push(unexpected("version 1", text, value)),
            (other, _) => {
                let found = unknown_key(other, place(key.span()), &["zones", "version"]);
                diagnostics.push(found.label("only `[zones.NAME]` tables stand here"));
            }
        }
    }
    (zones, diagnostics)
}

/// Reads the value of `zones`, for a file that holds more than zones.
pub fn parse_table(table: &DeTable<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Zone> {
    let mut zones = Vec::new();
    for (key, value) in in_order(table) {
        let span = place(key.span());
        let name = key.get_ref().as_ref();
        if let Some(reason) = bad_name(name) {
            diagnostics.push(
                Diagnostic::error(
                    "bad-zone-name",
                    format!("expected the name of a zone, found `{name}`"),
                    span,
                )
                .label(reason),
            );
        }
        match value.get_ref() {
            DeValue::Table(table) => zones.push(zone(name, span, table, diagnostics)),
            _ => {
                let message = format!("expected a table `[zones.{name}]`");
                diagnostics.push(Diagnostic::error(
                    "unexpected-value",
                    message,
                    place(value.span()),
                ));
            }
        }
    }
    zones
}

/// One zone.
fn zone(name: &str, span: Span, table: &DeTable<'_>, diagnostics: &mut Vec<Diagnostic>) -> Zone {
    let mut zone = Zone { name: name.to_owned(), span, ..Zone::default() };
    for (key, value) in in_order(table) {
        match key.get_ref().as_ref() {
            "via" => {
                for text in strings(value, "a list of interfaces", diagnostics) {
                    if text.value.is_empty() {
                        diagnostics.push(Diagnostic::error(
                            "unexpected-value",
                            "expected the name of an interface",
                            text.span,
                        ));
                    } else {
                        zone.via.push(text);
                    }
                }
            }
            "nets" => zone.nets = nets(value, diagnostics),
            "routes" => zone.routes = nets(value, diagnostics),
            other => diagnostics.push(unknown_key(other, place(key.span()), &KEYS)),
        }
    }
    zone
}

/// A list of prefixes.
pub(crate) fn nets(
    value: &Spanned<DeValue<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<IpNet>> {
    let mut nets = Vec::new();
    for Placed { value: text, span } in strings(value, "a list of prefixes", diagnostics) {
        let host = || text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
        match text.parse::<IpNet>().or_else(|_| host()) {
            Ok(net) => {
                if net != net.trunc() {
                    let message = format!(
                        "`{text}` has bits behind its prefix length; `{}` is taken",
                        net.trunc()
                    );
                    diagnostics.push(Diagnostic::warning("host-bits", message, span));
                }
                nets.push(Placed { value: net.trunc(), span });
            }
            Err(_) => {
                let message =
                    format!("expected a prefix such as `192.168.12.0/24`, found `{text}`");
                diagnostics.push(Diagnostic::error("unexpected-value", message, span));
            }
        }
    }
    nets
}

/// A list of strings.
pub(crate) fn strings(
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<String>> {
    let DeValue::Array(array) = value.get_ref() else {
        let message = format!("expected {expected}");
        diagnostics.push(Diagnostic::error("unexpected-value", message, place(value.span())));
        return Vec::new();
    };
    let mut strings = Vec::new();
    for entry in array.iter() {
        let span = place(entry.span());
        match entry.get_ref() {
            DeValue::String(text) => strings.push(Placed { value: text.to_string(), span }),
            _ => diagnostics.push(Diagnostic::error(
                "unexpected-value",
                "expected a string in quotes",
                span,
            )),
        }
    }
    strings
}

/// Why a name can't be one of a zone, which stands where addresses and built-in zones do.
fn bad_name(name: &str) -> Option<&'static str> {
    let address = || name.parse::<std::net::IpAddr>().is_ok() || name.parse::<IpNet>().is_ok();
    if BUILT_IN.contains(&name) {
        Some("this zone is built in")
    } else if name.is_empty() || name.contains([':', '*']) || name.contains(char::is_whitespace) {
        Some("a name is not empty, and has no `:`, `*` or white space")
    } else if address() {
        Some("this is an address, which needs no name")
    } else {
        None
    }
}

/// The entries of a table in the order of the text.
pub(crate) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

pub(crate) fn place(range: std::ops::Range<usize>) -> Span {
    Span::new(range.start, range.end)
}

/// The error about a key that is not known.
pub(crate) fn unknown_key(found: &str, span: Span, known: &[&str]) -> Diagnostic {
    let names: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    let expected = match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    };
    let message = format!("expected {expected}, found the key `{found}`");
    let diagnostic = Diagnostic::error("unknown-key", message, span);
    match nearest(found, known.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// The error about a value of the wrong kind.
pub(crate) fn unexpected(expected: &str, text: &str, value: &Spanned<DeValue<'_>>) -> Diagnostic {
    let span = place(value.span());
    let found = span.slice(text).lines().next().unwrap_or("");
    Diagnostic::error("unexpected-value", format!("expected {expected}, found `{found}`"), span)
}

/// The error about text that is no TOML.
pub(crate) fn syntax_error(text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().map_or(Span::new(0, text.len()), place);
    let message =
        error.message().lines().next().unwrap_or("not TOML").trim_end_matches('.').to_owned();
    Diagnostic::error("invalid-toml", message, span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    #[test]
    fn a_zone_keeps_its_values_and_their_places() {
        let text = "# around\nversion = 1\n[zones.office]\nvia    = [\"eth1\", 'eth2']\nnets   = [\"192.168.12.0/24\", \"2001:db8::1\"]\r\n[zones.\"a-b\"]\nroutes = []\n";
        let (zones, complaints) = parse(text);
        assert_eq!(complaints, []);
        let office = &zones[0];
        assert_eq!(office.name, "office");
        assert_eq!(office.span.slice(text), "office");
        assert_eq!(
            office.via.iter().map(|via| via.value.as_str()).collect::<Vec<_>>(),
            ["eth1", "eth2"]
        );
        assert_eq!(office.nets[1].value.to_string(), "2001:db8::1/128");
        assert_eq!(office.nets[0].span.slice(text), "\"192.168.12.0/24\"");
        assert_eq!((zones.len(), zones[1].name.as_str(), zones[1].routes.len()), (2, "a-b", 0));
    }

    #[test]
    fn every_mistake_is_an_error_at_its_place() {
        let cases = [
            ("[zones.a]\nnet = []\n", "net", Some("did you mean `nets`?")),
            ("[zone.a]\nnets = []\n", "zone", Some("did you mean `zones`?")),
            ("[zones.a]\nnets = \"10.0.0.0/8\"\n", "\"10.0.0.0/8\"", None),
            ("[zones.a]\nnets = [\"10.0.0.0/8\", \"10.0.0/8\"]\n", "\"10.0.0/8\"", None),
            ("[zones.a]\nvia = [7]\n", "7", None),
            ("[zones]\na = 7\n", "7", None),
            ("zones = 7\n", "7", None),
            ("version = 2\n", "2", None),
            ("[zones.lan]\nnets = []\n", "lan", None),
            ("[zones.\"net:x\"]\n", "\"net:x\"", None),
        ];
        for (text, place, help) in cases {
            let (_, complaints) = parse(text);
            let [found] = complaints.as_slice() else { panic!("{text}: {complaints:?}") };
            assert_eq!(found.severity, Severity::Error, "{text}");
            assert_eq!(found.span.slice(text), place, "{text}");
            assert_eq!(found.help.as_deref(), help, "{text}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_a_warning() {
        let (zones, complaints) = parse("[zones.a]\nnets = [\"10.1.2.3/8\"]\n");
        assert_eq!(zones[0].nets[0].value.to_string(), "10.0.0.0/8");
        assert_eq!(
            complaints.iter().map(|found| found.severity).collect::<Vec<_>>(),
            [Severity::Warning]
        );
    }

    #[test]
    fn broken_toml_is_an_error_and_keeps_the_rest() {
        let text = "[zones.a]\nnets = [\"10.0.0.0/8\"]\n[zones.b\n";
        let (zones, complaints) = parse(text);
        assert_eq!(zones.first().map(|zone| zone.name.as_str()), Some("a"));
        assert!(complaints.iter().any(|found| found.severity == Severity::Error));
    }
}
