//! JSON whose values keep their place.
//!
//! Every value is a slice of the text that is parsed only when it is asked for, so a diagnostic can
//! underline the very value that is wrong, and one bad value does not lose the rest.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// A JSON value and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    raw: &'a str,
    /// Where the value stands in the text of the part.
    pub span: Span,
}

/// The fields of a JSON object in their order, duplicates included.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, Json<'a>)>,
    /// Where the object stands.
    pub span: Span,
}

impl<'a> Json<'a> {
    /// The one value that a text is, for example "a plan"; nothing may stand around it.
    ///
    /// # Errors
    ///
    /// Where it is no JSON, or more than one value.
    pub fn whole(text: &'a str, expected: &str) -> Result<Self, Diagnostic> {
        match serde_json::from_str::<&'a RawValue>(text) {
            Ok(value) => Ok(Self::at(text, 0).part(value)),
            Err(error) => Err(broken(text, 0, 0, expected, &error)),
        }
    }

    /// A value at its offset in the whole text.
    fn at(raw: &'a str, start: usize) -> Self {
        Self { raw, span: Span::new(start, start + raw.len()) }
    }

    /// A part of this value; `serde_json` hands it out as a slice of the same text.
    fn part(&self, part: &'a RawValue) -> Self {
        let offset = (part.get().as_ptr() as usize).saturating_sub(self.raw.as_ptr() as usize);
        Self::at(part.get(), self.span.start as usize + offset)
    }

    /// The value as it is written.
    pub fn text(&self) -> &'a str {
        self.raw
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.raw == "null"
    }

    /// The start of the value as it is written, for messages.
    pub fn shown(&self) -> String {
        let first = self.raw.lines().next().unwrap_or("").trim_matches('"');
        if first.chars().count() > 40 || first.len() < self.raw.trim_matches('"').len() {
            first.chars().take(40).chain("…".chars()).collect()
        } else {
            first.to_owned()
        }
    }

    /// The diagnostic that this value is something else than it should be.
    pub fn unexpected(&self, expected: &str) -> Diagnostic {
        let message = format!("expected {expected}, found `{}`", self.shown());
        Diagnostic::warning("unexpected-value", message, self.span)
    }

    /// A string.
    pub fn string(&self) -> Result<Cow<'a, str>, Diagnostic> {
        serde_json::from_str::<Cow<'a, str>>(self.raw).map_err(|_| self.unexpected("a string"))
    }

    /// A string, or the digits of a number: iproute2 prints tables and groups as either.
    pub fn word(&self) -> Result<Cow<'a, str>, Diagnostic> {
        if self.raw.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
            return Ok(Cow::Borrowed(self.raw));
        }
        self.string()
    }

    /// A string, or a number, that is parsed.
    pub fn parse<T: FromStr>(&self, expected: &str) -> Result<T, Diagnostic> {
        let word = self.word().map_err(|_| self.unexpected(expected))?;
        word.parse().map_err(|_| self.unexpected(expected))
    }

    /// `true` or `false`; `null` means that a flag is there, as iproute2 prints some of them.
    pub fn flag(&self) -> Result<bool, Diagnostic> {
        match self.raw {
            "true" | "null" | "1" | "\"on\"" => Ok(true),
            "false" | "0" | "\"off\"" => Ok(false),
            _ => Err(self.unexpected("`true` or `false`")),
        }
    }

    /// The entries of a list; `null` is an empty one.
    pub fn list(&self, expected: &str) -> Result<Vec<Self>, Diagnostic> {
        if self.is_null() {
            return Ok(Vec::new());
        }
        serde_json::from_str::<Vec<&'a RawValue>>(self.raw)
            .map(|entries| entries.into_iter().map(|entry| self.part(entry)).collect())
            .map_err(|_| self.unexpected(expected))
    }

    /// The fields of an object; `null` has none.
    pub fn object(&self, expected: &str) -> Result<Object<'a>, Diagnostic> {
        if self.is_null() {
            return Ok(Object { fields: Vec::new(), span: self.span });
        }
        let fields = serde_json::from_str::<Fields<'a>>(self.raw)
            .map_err(|_| self.unexpected(expected))?
            .0
            .into_iter()
            .map(|(key, value)| (key, self.part(value)))
            .collect();
        Ok(Object { fields, span: self.span })
    }
}

impl<'a> Object<'a> {
    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.fields.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field that is there and not `null`; the last one where it is there twice.
    pub fn get(&self, key: &str) -> Option<Json<'a>> {
        let (_, value) = self.fields.iter().rev().find(|(known, _)| known == key)?;
        (!value.is_null()).then_some(*value)
    }

    /// A field that has to be there.
    pub fn required(&self, key: &str) -> Result<Json<'a>, Diagnostic> {
        self.get(key).ok_or_else(|| {
            Diagnostic::warning("missing-field", format!("expected a field `{key}`"), self.span)
        })
    }
}

/// The fields of an object as slices of the text.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Where the JSON of a text begins: the first line that starts with a list or an object.
///
/// Lines before it (a shell prompt, a sentence) are allowed.
pub fn start(text: &str) -> Option<usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if opens(content) {
            return Some(offset + (line.len() - content.len()));
        }
        offset += line.len();
    }
    None
}

/// Whether a line starts a list or an object; a prompt like `[root@host ~]#` does not.
fn opens(line: &str) -> bool {
    let next = |rest: &str| rest.chars().next();
    match (line.strip_prefix('['), line.strip_prefix('{')) {
        (Some(rest), _) => {
            next(rest).is_none_or(|c| c.is_whitespace() || matches!(c, '[' | ']' | '{' | '"'))
        }
        (_, Some(rest)) => next(rest).is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '}')),
        _ => false,
    }
}

/// The entries of a text of JSON: those of its list, of several lists one behind the other, or
/// single objects.
///
/// `expected` says what the text should be, for example "a list of routes, as `ip -j route`
/// prints". Text before `start` and behind the last value is reported, broken JSON is an error.
pub fn entries<'a>(
    text: &'a str,
    start: usize,
    expected: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Json<'a>> {
    let (before, body) = text.split_at_checked(start).unwrap_or(("", text));
    if before.chars().any(|c| !c.is_whitespace() && c != '\u{feff}') {
        let span = Span::new(0, before.trim_end().len());
        diagnostics.push(Diagnostic::note(
            "text-around",
            "the text before the list is not read",
            span,
        ));
    }
    let whole = Json::at(body, start);
    let mut entries = Vec::new();
    let mut values = serde_json::Deserializer::from_str(body).into_iter::<&'a RawValue>();
    loop {
        let offset = values.byte_offset();
        match values.next() {
            None => break,
            Some(Ok(value)) => {
                let value = whole.part(value);
                match value.raw.as_bytes().first() {
                    Some(b'[') => entries.extend(value.list(expected).unwrap_or_default()),
                    Some(b'{') => entries.push(value),
                    _ => diagnostics.push(Diagnostic {
                        severity: crate::Severity::Error,
                        ..value.unexpected(expected)
                    }),
                }
            }
            // A prompt or a sentence behind a whole list.
            Some(Err(error)) if offset > 0 && !error.is_eof() && !holds_json(body, offset) => {
                let rest = body.get(offset..).unwrap_or("").trim_start();
                let from = start + body.len() - rest.len();
                let message = "the text behind the list is not read";
                let span = Span::new(from, from + rest.trim_end().len());
                diagnostics.push(Diagnostic::note("text-around", message, span));
                break;
            }
            Some(Err(error)) => {
                diagnostics.push(broken(body, start, offset, expected, &error));
                break;
            }
        }
    }
    entries
}

/// Whether a list or an object starts on a line behind an offset.
fn holds_json(body: &str, offset: usize) -> bool {
    body.get(offset..).is_some_and(|rest| rest.lines().any(|line| opens(line.trim_start())))
}

/// The error for JSON that ends too early or is none.
fn broken(
    body: &str,
    start: usize,
    offset: usize,
    expected: &str,
    error: &serde_json::Error,
) -> Diagnostic {
    if error.is_eof() {
        let body = body.trim_end();
        let end = start + body.len();
        let last = body.chars().next_back().map_or(0, char::len_utf8);
        let span = Span::new(end - last, end);
        return Diagnostic::error(
            "invalid-json",
            format!("expected {expected}, found the end of the text"),
            span,
        )
        .label("the list is cut off here");
    }
    let place = offset_of(body, error.line(), error.column()).unwrap_or(offset);
    let found = body.get(place..).and_then(|rest| rest.chars().next());
    let found_text =
        found.map_or("the end of the text".to_owned(), |c| format!("`{}`", c.escape_default()));
    let end = place + found.map_or(0, char::len_utf8);
    let message = format!("expected {expected}, found {found_text}, which is not JSON here");
    Diagnostic::error("invalid-json", message, Span::new(start + place, start + end))
}

/// The offset of a line and column of `serde_json`, both counted from 1.
fn offset_of(text: &str, line: usize, column: usize) -> Option<usize> {
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let mut offset = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    Some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    /// The entries as they are written, and what is said of the text.
    fn read(text: &str) -> (Vec<&str>, Vec<(&'static str, Severity, &str)>) {
        let mut diagnostics = Vec::new();
        let start = start(text).unwrap();
        let entries = entries(text, start, "a list", &mut diagnostics);
        for entry in &entries {
            assert_eq!(entry.span.slice(text), entry.text());
        }
        let said = diagnostics.iter().map(|said| (said.code, said.severity, said.span.slice(text)));
        (entries.iter().map(Json::text).collect(), said.collect())
    }

    #[test]
    fn lists_objects_and_lines_are_all_entries() {
        for text in ["[{},{ }]", "[{}][{ }]\n", "{}\n{ }\n", "[\n{},\r\n{ }]", "\u{feff}[{},{ }]"] {
            assert_eq!(read(text), (vec!["{}", "{ }"], vec![]), "{text:?}");
        }
        assert_eq!(read("[]"), (vec![], vec![]));
    }

    #[test]
    fn text_around_a_list_is_a_note() {
        let text = "[root@host ~]# ip -j addr\n[{}]\n[root@host ~]# \n";
        let notes = [
            ("text-around", Severity::Note, "[root@host ~]# ip -j addr"),
            ("text-around", Severity::Note, "[root@host ~]#"),
        ];
        assert_eq!(read(text), (vec!["{}"], notes.to_vec()));
    }

    #[test]
    fn broken_json_is_an_error_where_it_breaks() {
        let at = |place| vec![("invalid-json", Severity::Error, place)];
        assert_eq!(read("[{},{\"a\": é").1, at("é"));
        assert_eq!(read("[{}, {\"a\"").1, at("\""));
        assert_eq!(read("[{}, }]").1, at("}"));
        assert_eq!(read("[\n  {\"a\" 7}\n]").1, at("7"));
        assert_eq!(read("[{}]\n[{\"a\": }]").1, at("}"));
        assert_eq!(read("{}\n[{},,]").1, at(","));
    }

    #[test]
    fn the_place_of_a_nested_value_is_its_own() {
        let text = "[ {\"a\": {\"b\": [1, \"x\\ty\"]}} ]";
        let mut diagnostics = Vec::new();
        let entries = entries(text, 0, "a list", &mut diagnostics);
        let inner = entries[0].object("x").unwrap().required("a").unwrap().object("x").unwrap();
        let list = inner.get("b").unwrap().list("x").unwrap();
        assert_eq!(list[1].span.slice(text), "\"x\\ty\"");
        assert_eq!(list[1].string().unwrap(), "x\ty");
        assert_eq!(list[0].string().unwrap_err().span.slice(text), "1");
    }
}
