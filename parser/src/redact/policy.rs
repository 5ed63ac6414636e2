//! Policies: names of entries, of zones and of what they are about; addresses anywhere.

use super::Pseudonyms;
use super::interface::Interfaces;
use super::name::{Kind, Names};

/// What stands in front of a name in an endpoint.
const NAMED: [(&str, Named); 4] = [
    ("container:", Named::Name(Kind::Container)),
    ("net:", Named::Name(Kind::Network)),
    ("lan:", Named::Interface),
    ("iface:", Named::Interface),
];

#[derive(Clone, Copy)]
enum Named {
    Name(Kind),
    Interface,
}

/// A piece of a line: what stands between strings, or a string with the key that it belongs to.
enum Piece<'a> {
    Plain(&'a str),
    Text(&'a str),
}

/// The pieces of a line, without a comment at its end.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\'', '#']) {
        let (before, behind) = rest.split_at(at);
        pieces.push(Piece::Plain(before));
        let quote = behind.get(..1).unwrap_or_default();
        let Some((text, next)) =
            behind.get(1..).filter(|_| quote != "#").and_then(|inner| inner.split_once(quote))
        else {
            // A comment, or a string without an end, which is no policy: nothing of it is kept.
            return pieces;
        };
        pieces.push(Piece::Text(text));
        rest = next;
    }
    pieces.push(Piece::Plain(rest));
    pieces
}

/// The key that begins a line, if one does.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && !key.contains(['"', '\'', '#', '['])).then_some(key)
}

fn zone_of(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("[zones.")?.split(']').next()?;
    Some(name.trim_matches(['"', '\'']))
}

/// Whether a key holds free text.
fn is_text(key: &str) -> bool {
    matches!(key, "name" | "except" | "reason")
}

/// The name behind `net:` or the like, and what follows it.
fn named(text: &str) -> Option<(&'static str, Named, &str, &str)> {
    let (prefix, kind) = *NAMED.iter().find(|(prefix, _)| text.starts_with(prefix))?;
    let rest = text.strip_prefix(prefix)?;
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    Some((prefix, kind, name, behind))
}

/// Notes every name of a policy.
pub(super) fn collect(text: &str, interfaces: &mut Interfaces, names: &mut Names) {
    let mut key = "";
    for line in text.lines() {
        key = key_of(line).unwrap_or(key);
        if let Some(zone) = zone_of(line) {
            names.note(Kind::Zone, zone);
            continue;
        }
        for piece in pieces(line) {
            let Piece::Text(text) = piece else { continue };
            match named(text) {
                _ if is_text(key) => names.note(Kind::Text, text),
                _ if key == "via" => interfaces.note(text),
                Some((_, Named::Name(kind), name, _)) if name != "*" => names.note(kind, name),
                Some((_, Named::Interface, name, _)) => interfaces.note(name),
                Some(_) | None => {}
            }
        }
    }
}

/// The policy with pseudonyms, without comments.
pub(super) fn write(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let mut written = String::with_capacity(text.len());
    let mut key = "";
    for line in text.lines() {
        key = key_of(line).unwrap_or(key);
        if let Some(zone) = zone_of(line) {
            let zone = pseudonyms.names.pseudonym(Kind::Zone, zone);
            written.push_str(&format!("[zones.{zone}]\n"));
            continue;
        }
        let mut new = String::new();
        for piece in pieces(line) {
            match piece {
                Piece::Plain(text) => new.push_str(text),
                Piece::Text(text) => new.push_str(&format!("\"{}\"", value(key, text, pseudonyms))),
            }
        }
        written.push_str(new.trim_end());
        written.push('\n');
    }
    written
}

/// What stands for a string.
fn value(key: &str, text: &str, pseudonyms: &mut Pseudonyms) -> String {
    if is_text(key) {
        return pseudonyms.names.pseudonym(Kind::Text, text);
    }
    if key == "via" {
        return pseudonyms.interfaces.pseudonym(text);
    }
    if let Some((prefix, kind, name, behind)) = named(text) {
        let name = match kind {
            Named::Name(kind) => pseudonyms.names.pseudonym(kind, name),
            Named::Interface => pseudonyms.interfaces.pseudonym(name),
        };
        return format!("{prefix}{name}{behind}");
    }
    let (head, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    let zone = pseudonyms.names.pseudonym(Kind::Zone, head);
    if zone != head { format!("{zone}{port}") } else { pseudonyms.addresses_in(text) }
}

#[cfg(test)]
mod tests {
    use super::super::{Input, redact};

    #[test]
    fn a_policy_names_nobody_and_asks_the_same() {
        let policy = "version = 1 # Anna's\n[zones.anna-lan]\nvia = [\"acme0\"]\n\
            nets = ['85.10.3.0/24']\n[[allow]]\nname = \"Anna's blog\"\nfrom = \"anna-lan\"\n\
            to = \"85.10.3.7:443/tcp\"\nlands = \"container:anna-blog:8443\"\n\
            [[deny]]\nfrom = \"internet\"\nlands = \"net:anna_net\"\nexcept = [\n  \"Anna's blog\",\n]\n";
        let rules = "*filter\n-A INPUT -i acme0 -s 85.10.3.7/32 -j ACCEPT\nCOMMIT\n";
        let inputs = [
            Input { name: "iptables-save", text: rules },
            Input { name: "policy.toml", text: policy },
        ];
        let redacted = redact(&inputs).unwrap();
        let text = &redacted.parts[1].1;
        for word in ["nna", "acme", "85.10.3"] {
            assert!(!text.contains(word), "{word} in\n{text}");
        }
        for word in [":443/tcp\"", "container:container-", ":8443\"", "internet"] {
            assert!(text.contains(word), "{word} not in\n{text}");
        }
        assert_eq!(text.matches("text-1").count(), 2, "{text}");
        assert_eq!(text.matches("zone-1").count(), 2, "{text}");
        let (_, faults) = crate::policy::parse(text);
        assert!(faults.is_empty(), "{faults:?}\n{text}");
        // The same interface and address as in the rules.
        let rule = &redacted.parts[0].1;
        let interface = rule.split("-i ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(text.contains(&format!("via = [\"{interface}\"]")), "{text}{rule}");
    }
}
