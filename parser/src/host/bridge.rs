//! Ports of bridges, as `bridge -d link` prints them.

use super::Read;
use super::json::{Json, Object, entries, start};
use super::line::{Line, Prose, Words, lines};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// One port of a bridge. Without `-d` only the name, the bridge and the state are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// The interface.
    pub name: String,
    /// Its number.
    pub index: Option<u32>,
    /// The bridge.
    pub master: Option<String>,
    /// What the spanning tree lets it do.
    pub state: Option<PortState>,
    /// Whether a packet may leave by the port it came in by.
    pub hairpin: Option<bool>,
    /// Whether packets between it and other isolated ports are dropped.
    pub isolated: Option<bool>,
    /// Whether it learns addresses.
    pub learning: Option<bool>,
    /// Whether packets to unknown addresses leave by it.
    pub flood: Option<bool>,
    /// Where it stands.
    pub span: Span,
}

/// What the spanning tree lets a port do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of bridge(8)")]
pub enum PortState {
    Disabled,
    Listening,
    Learning,
    Forwarding,
    Blocking,
}

impl std::str::FromStr for PortState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The numbers are those that bridge(8) prints where it knows no name.
        Ok(match text {
            "disabled" | "0" => Self::Disabled,
            "listening" | "1" => Self::Listening,
            "learning" | "2" => Self::Learning,
            "forwarding" | "3" => Self::Forwarding,
            "blocking" | "4" => Self::Blocking,
            _ => return Err(()),
        })
    }
}

/// Reads what `bridge link` printed, with or without `-d`: JSON (`-j`) or text.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<BridgePort>> {
    let mut diagnostics = Vec::new();
    let ports = match start(text) {
        Some(start) => from_json(text, start, &mut diagnostics),
        None => from_text(text, &mut diagnostics),
    };
    (ports, diagnostics)
}

fn from_json(text: &str, start: usize, diagnostics: &mut Vec<Diagnostic>) -> Vec<BridgePort> {
    let mut ports = Vec::new();
    for entry in
        entries(text, start, "a list of bridge ports, as `bridge -j link` prints", diagnostics)
    {
        match entry.object("a bridge port") {
            Ok(object) if object.is_empty() => {}
            Ok(object) => match json_port(&object, diagnostics) {
                Ok(port) => ports.push(port),
                Err(diagnostic) => diagnostics.push(diagnostic),
            },
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    ports
}

fn json_port(
    object: &Object<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<BridgePort, Diagnostic> {
    let name = object.required("ifname")?.string()?.into_owned();
    let mut port = BridgePort { name, span: object.span, ..BridgePort::default() };
    for (key, value) in object.iter() {
        diagnostics.extend(json_field(&mut port, key, value).err());
    }
    Ok(port)
}

fn json_field(port: &mut BridgePort, key: &str, value: Json<'_>) -> Result<(), Diagnostic> {
    match key {
        "ifindex" => port.index = Some(value.parse("an interface number")?),
        "master" => port.master = Some(value.string()?.into_owned()),
        "state" => port.state = Some(value.parse("the state of a port")?),
        "hairpin" => port.hairpin = Some(value.flag()?),
        "isolated" => port.isolated = Some(value.flag()?),
        "learning" => port.learning = Some(value.flag()?),
        "flood" => port.flood = Some(value.flag()?),
        _ => {}
    }
    Ok(())
}

fn from_text(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<BridgePort> {
    let mut ports: Vec<BridgePort> = Vec::new();
    let mut prose = Prose::default();
    // Whether the lines below belong to the last port.
    let mut open = false;
    for line in lines(text).filter(|line| !line.is_blank()) {
        let result = if let Some((mut port, mut words)) = text_port(&line) {
            let result = settings(&mut port, &mut words);
            ports.push(port);
            open = true;
            result
        } else if line.is_indented()
            && open
            && let Some(port) = ports.last_mut()
        {
            port.span = port.span.cover(line.span);
            settings(port, &mut line.words())
        } else {
            open = false;
            prose.add(&line);
            Ok(())
        };
        diagnostics.extend(result.err());
    }
    diagnostics.extend(prose.finish(!ports.is_empty(), "bridge ports, as `bridge link` prints"));
    ports
}

/// `6: veth1@if5: <UP> …`, or `6: veth1 state UP @if5: <UP> …` of old versions.
fn text_port<'a>(line: &Line<'a>) -> Option<(BridgePort, Words<'a>)> {
    let mut words = line.words();
    let index = words.next()?.text.strip_suffix(':')?.parse().ok()?;
    let name = words.next()?.text;
    let name = name.split('@').next().unwrap_or(name).trim_end_matches(':');
    // Everything up to the flags belongs to the name.
    while let Some(word) = words.peek() {
        if word.text.starts_with('<') {
            break;
        }
        words.next();
    }
    words.next()?;
    let port = BridgePort {
        name: name.to_owned(),
        index: Some(index),
        span: line.span,
        ..BridgePort::default()
    };
    Some((port, words))
}

/// The words behind the flags of a port, and those of the lines below.
fn settings(port: &mut BridgePort, words: &mut Words<'_>) -> Result<(), Diagnostic> {
    while let Some(word) = words.next() {
        let setting = match word.text {
            "master" => {
                port.master = Some(words.expect("the name of a bridge")?.text.to_owned());
                continue;
            }
            "state" => {
                port.state = Some(words.parse("the state of a port")?);
                continue;
            }
            "hairpin" => &mut port.hairpin,
            "isolated" => &mut port.isolated,
            "learning" => &mut port.learning,
            "flood" => &mut port.flood,
            _ => continue,
        };
        let value = words.expect("`on` or `off`")?;
        *setting = match value.text {
            "on" => Some(true),
            "off" => Some(false),
            _ => return Err(value.unexpected("`on` or `off`")),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"[{"ifindex":10,"link":"v1","ifname":"v0","flags":["UP"],"mtu":1500,"master":"br9","state":"disabled","priority":32,"cost":2,"hairpin":true,"guard":false,"learning":true,"flood":true,"isolated":true,"locked":false}]"#;
    const TEXT: &str = "10: v0@v1: <NO-CARRIER,UP,M-DOWN> mtu 1500 master br9 state disabled priority 32 cost 2 \r\n    hairpin on guard off root_block off learning on flood on mcast_flood on isolated on locked off \r\n";

    #[test]
    fn json_and_text_say_the_same() {
        let (from_json, complaints) = parse(JSON);
        assert_eq!(complaints, []);
        let (from_text, complaints) = parse(TEXT);
        assert_eq!(complaints, []);
        let expected = BridgePort {
            name: "v0".to_owned(),
            index: Some(10),
            master: Some("br9".to_owned()),
            state: Some(PortState::Disabled),
            hairpin: Some(true),
            isolated: Some(true),
            learning: Some(true),
            flood: Some(true),
            span: Span::default(),
        };
        for mut ports in [from_json, from_text] {
            assert_eq!(ports.len(), 1);
            ports[0].span = Span::default();
            assert_eq!(ports[0], expected);
        }
    }

    #[test]
    fn a_wrong_value_is_underlined_and_loses_nothing_else() {
        let text = r#"[{"ifname":"a","hairpin":"perhaps","isolated":true},7,{"ifname":"b"}]"#;
        let (ports, complaints) = parse(text);
        assert_eq!(
            ports.iter().map(|port| (port.name.as_str(), port.isolated)).collect::<Vec<_>>(),
            [("a", Some(true)), ("b", None)]
        );
        assert_eq!(
            complaints.iter().map(|found| found.span.slice(text)).collect::<Vec<_>>(),
            ["\"perhaps\"", "7"]
        );
    }
}
