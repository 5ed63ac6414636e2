//! One line of `--flows`: a JSON object with the keys of `flow`.

use std::borrow::Cow;
use std::fmt;

use nattrace_model::endpoint::FlowRequest;
use nattrace_parser::diagnostic::nearest;
use nattrace_parser::syntax::Family;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// The keys of a line.
const KEYS: [&str; 11] = [
    "src",
    "sport",
    "dst",
    "dport",
    "proto",
    "iif",
    "state",
    "mark",
    "tcp_flags",
    "icmp_type",
    "ttl",
];

/// Reads a line, or says why it can't be read.
pub(crate) fn read(line: &[u8], family: Option<Family>) -> Result<FlowRequest, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Ok(text) = std::str::from_utf8(line) else {
        return Err("the line is not UTF-8".to_owned());
    };
    if text.trim().is_empty() {
        return Err("expected a JSON object, found an empty line".to_owned());
    }
    let Line(request) = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        // Every line is the first line of a text of its own: only the column tells something.
        match message.split_once(" at line 1 column ") {
            Some((message, column)) => format!("{message} at column {column}"),
            None => message,
        }
    })?;
    Ok(FlowRequest { family, ..request })
}

struct Line(FlowRequest);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `src` and `dst`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut source = None;
        let mut destination = None;
        let mut request = FlowRequest::default();
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(KEYS.len());
        while let Some(Key(key)) = map.next_key()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            let field = match &*key {
                "src" => &mut source,
                "dst" => &mut destination,
                "sport" => &mut request.source_port,
                "dport" => &mut request.destination_port,
                "proto" => &mut request.protocol,
                "iif" => &mut request.in_interface,
                "state" => &mut request.state,
                "mark" => &mut request.mark,
                "tcp_flags" => &mut request.tcp_flags,
                "icmp_type" => &mut request.icmp_type,
                "ttl" => &mut request.ttl,
                unknown => return Err(A::Error::custom(unknown_key(unknown))),
            };
            let Word(word) = map.next_value()?;
            *field = word;
            seen.push(key);
        }
        request.source = source.ok_or_else(|| A::Error::missing_field("src"))?;
        request.destination = destination.ok_or_else(|| A::Error::missing_field("dst"))?;
        Ok(Line(request))
    }
}

fn unknown_key(key: &str) -> String {
    match nearest(key, KEYS) {
        Some(near) => format!("unknown key `{key}`: a similar key exists: `{near}`"),
        None => format!("unknown key `{key}`: the keys are {}", KEYS.join(", ")),
    }
}

/// A key, borrowed where it holds no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A value: a text, a number, or null for nothing.
struct Word(Option<String>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl Visitor<'_> for WordVisitor {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or null")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(Some(text.to_owned())))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
                Ok(Word(Some(number.to_string())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
                Ok(Word(Some(number.to_string())))
            }

            fn visit_unit<E: Error>(self) -> Result<Word, E> {
                Ok(Word(None))
            }
        }
        deserializer.deserialize_any(WordVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> String {
        read(line.as_bytes(), None).unwrap_err()
    }

    #[test]
    fn numbers_and_texts_and_nulls_are_read() {
        let line = r#"{"src": "10.0.0.1", "sport": 4000, "dst": "web", "dport": "80",
            "proto": 6, "iif": null, "state": "new", "mark": 16}"#;
        let request = read(line.as_bytes(), None).unwrap();
        let expected = FlowRequest {
            source: "10.0.0.1".into(),
            destination: "web".into(),
            source_port: Some("4000".into()),
            destination_port: Some("80".into()),
            protocol: Some("6".into()),
            state: Some("new".into()),
            mark: Some("16".into()),
            ..FlowRequest::default()
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            message(r#"{"src": "a", "dst": "b", "sprot": 1}"#),
            "unknown key `sprot`: a similar key exists: `sport` at column 32"
        );
        assert_eq!(message(r#"{"src": "a"}"#), "missing field `dst` at column 12");
        assert_eq!(
            message(r#"{"src": "a", "src": "b"}"#),
            "the key `src` is there twice at column 18"
        );
        assert_eq!(message(""), "expected a JSON object, found an empty line");
        assert!(message("[1]").starts_with("invalid type: sequence, expected an object"));
        assert!(message(r#"{"src": ["a"], "dst": "b"}"#).contains("expected a text"));
        assert!(message(r#"{"src": "a", "dst": "b"} x"#).contains("trailing characters"));
        assert_eq!(read(b"\xff", None).unwrap_err(), "the line is not UTF-8");
    }
}
