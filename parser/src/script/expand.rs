//! Words of a script and what they stand for.

use std::borrow::Cow;

use super::{Script, Shell, Value};
use crate::recognize::program;
use crate::replay::{Field, UNKNOWN};
use crate::shell::{Assigned, Kind, Lead, Piece, Quoting, ShellWord, parse};
use crate::span::Span;
use crate::words::Word;

/// How long a value may be; a longer one counts as not known.
pub(super) const LONGEST_VALUE: usize = 1 << 16;

/// What a parameter holds.
enum Found {
    Text(String),
    Many(Vec<String>),
    Unknown,
    /// It was never set; it may come from outside.
    Unset,
}

/// Words that are being put together from their pieces.
struct Fields<'o, 'a> {
    out: &'o mut Vec<Field<'a>>,
    text: String,
    /// Whether there is a word, though it may be empty.
    started: bool,
    quoted: bool,
    known: bool,
    span: Span,
    /// The word as it is written.
    raw: &'a str,
}

impl<'a> Fields<'_, 'a> {
    fn end(&mut self) {
        if self.started {
            let text = match self.known {
                true => Cow::Owned(std::mem::take(&mut self.text)),
                false => Cow::Borrowed(self.raw),
            };
            self.out.push(field(text, self.span, self.quoted, self.known));
        }
        self.text.clear();
        self.started = false;
        self.quoted = false;
        self.known = true;
    }

    fn push(&mut self, text: &str) {
        self.started = true;
        if text.contains(UNKNOWN) || self.text.len() + text.len() > LONGEST_VALUE {
            self.known = false;
            return;
        }
        self.text.push_str(text);
    }

    /// Adds text that is cut at its blanks.
    fn split(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace().peekable();
        if text.starts_with(|char: char| char.is_ascii_whitespace()) {
            self.end();
        }
        while let Some(word) = words.next() {
            self.push(word);
            if words.peek().is_some() {
                self.end();
            }
        }
        if text.ends_with(|char: char| char.is_ascii_whitespace()) {
            self.end();
        }
    }

    fn unknown(&mut self) {
        self.started = true;
        self.known = false;
    }
}

/// A word as iptables gets it. Only text with blanks, or none, is kept from being an option.
fn field<'a>(text: Cow<'a, str>, span: Span, quoted: bool, known: bool) -> Field<'a> {
    let option = text.strip_prefix("--").and_then(|rest| rest.split_once('='));
    let option = option.is_some_and(|(name, _)| {
        name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    });
    let blank = text.is_empty() || text.contains(|char: char| char.is_whitespace());
    let kept = quoted && blank && !option;
    Field { word: Word { text, span, quoted: kept }, known }
}

impl<'a> Script<'_, 'a> {
    /// The words that a word stands for.
    pub(super) fn expand(&mut self, word: &ShellWord<'a>, out: &mut Vec<Field<'a>>) {
        if let [Piece::Text { text, quoting }] = word.pieces.as_slice() {
            let quoted = *quoting == Quoting::Quoted;
            if !quoted && self.shell == Shell::Bash && text.contains('{') {
                for text in braces(text) {
                    out.push(field(Cow::Owned(text), word.span, false, true));
                }
            } else {
                out.push(field(text.clone(), word.span, quoted, true));
            }
            return;
        }
        let raw = word.span.slice(self.text);
        let span = word.span;
        let mut fields = Fields {
            out,
            text: String::new(),
            started: false,
            quoted: false,
            known: true,
            span,
            raw,
        };
        for piece in &word.pieces {
            match piece {
                Piece::Text { text, quoting } => {
                    fields.push(text);
                    fields.quoted |= *quoting == Quoting::Quoted;
                }
                Piece::Parameter { quoting, .. } | Piece::Substitution { quoting, .. } => {
                    let quoted = *quoting == Quoting::Quoted;
                    let separate = matches!(piece, Piece::Parameter { name, .. } if *name == "@" || name.ends_with("[@]"));
                    match (self.value(piece), quoted) {
                        (Found::Text(text), true) => {
                            fields.push(&text);
                            fields.quoted = true;
                        }
                        (Found::Text(text), false) => fields.split(&text),
                        (Found::Many(many), true) if separate => {
                            for (index, text) in many.iter().enumerate() {
                                if index > 0 {
                                    fields.end();
                                }
                                fields.push(text);
                                fields.quoted = true;
                            }
                        }
                        (Found::Many(many), true) => {
                            fields.push(&many.join(" "));
                            fields.quoted = true;
                        }
                        (Found::Many(many), false) => fields.split(&many.join(" ")),
                        (Found::Unknown | Found::Unset, _) => fields.unknown(),
                    }
                }
            }
        }
        fields.end();
    }

    /// The text of a word that is not cut, as in an assignment; `None` where it is not known.
    pub(super) fn text_of(&mut self, word: &ShellWord<'a>) -> Option<String> {
        let marked = self.marked(word);
        (!marked.contains(UNKNOWN)).then_some(marked)
    }

    /// The same, with what is not known as it is written, behind a mark.
    pub(super) fn marked(&mut self, word: &ShellWord<'a>) -> String {
        let mut text = String::new();
        for piece in &word.pieces {
            if text.len() > LONGEST_VALUE {
                text.insert(0, UNKNOWN);
                break;
            }
            match piece {
                Piece::Text { text: more, .. } => text.push_str(more),
                Piece::Parameter { raw, .. } | Piece::Substitution { raw, .. } => {
                    match self.value(piece) {
                        Found::Text(more) => text.push_str(&more),
                        Found::Many(many) => text.push_str(&many.join(" ")),
                        Found::Unknown | Found::Unset => {
                            text.push(UNKNOWN);
                            text.extend(raw.split_ascii_whitespace());
                        }
                    }
                }
            }
        }
        text
    }

    fn value(&mut self, piece: &Piece<'a>) -> Found {
        match piece {
            Piece::Text { text, .. } => Found::Text(text.clone().into_owned()),
            Piece::Parameter { name, operator, .. } => {
                let found = self.parameter(name);
                match operator {
                    None => found,
                    Some((operator, word)) => self.operate(name, found, operator, word),
                }
            }
            Piece::Substitution { inner, arithmetic: true, .. } => self
                .arithmetic(inner)
                .map_or(Found::Unknown, |value| Found::Text(value.to_string())),
            Piece::Substitution { inner, .. } => self.output(inner),
        }
    }

    fn parameter(&self, name: &str) -> Found {
        // A script that is pasted is run without arguments.
        let none = Vec::new();
        let parameters = self.parameters.last().unwrap_or(&none);
        if let Ok(number) = name.parse::<usize>() {
            return match number.checked_sub(1) {
                None => Found::Unknown,
                Some(index) => text(parameters.get(index).cloned().unwrap_or_default()),
            };
        }
        match name {
            "@" | "*" => return Found::Many(parameters.clone()),
            "#" => return Found::Text(parameters.len().to_string()),
            "EUID" | "UID" => return Found::Text("0".to_owned()),
            _ => {}
        }
        let (base, element) = match name.split_once('[') {
            Some((base, element)) => (base, Some(element.trim_end_matches(']'))),
            None => (name, None),
        };
        match (self.variables.get(base), element) {
            (None, _) => Found::Unset,
            (Some(Value::Unknown), _) => Found::Unknown,
            (Some(Value::Text(value)), _) => text(value.clone()),
            (Some(Value::Many(many)), Some("@" | "*")) => Found::Many(many.clone()),
            (Some(Value::Many(many)), None) => text(many.first().cloned().unwrap_or_default()),
            (Some(Value::Many(many)), Some(index)) => match index.parse::<usize>() {
                Ok(index) => text(many.get(index).cloned().unwrap_or_default()),
                Err(_) => Found::Unknown,
            },
        }
    }

    /// `${NAME:-word}` and its like.
    fn operate(&mut self, name: &str, found: Found, operator: &str, word: &ShellWord<'a>) -> Found {
        let empty = match &found {
            Found::Text(text) => text.is_empty(),
            Found::Many(many) => many.is_empty(),
            Found::Unknown => return Found::Unknown,
            Found::Unset => true,
        };
        let missing = match operator {
            ":-" | ":=" | ":+" | ":?" => empty,
            _ => matches!(found, Found::Unset),
        };
        let given = |script: &mut Self| script.text_of(word).map_or(Found::Unknown, Found::Text);
        match (operator, missing) {
            (":-" | "-" | ":=" | "=", true) => {
                let value = given(self);
                if operator.ends_with('=')
                    && let Found::Text(text) = &value
                {
                    self.variables.insert(name.to_owned(), Value::Text(text.clone()));
                }
                value
            }
            (":-" | "-" | ":=" | "=" | ":?" | "?", false) => found,
            (":+" | "+", false) => given(self),
            (":+" | "+", true) => Found::Text(String::new()),
            ("#" | "##" | "%" | "%%", _) => match (found, given(self)) {
                (Found::Text(value), Found::Text(pattern)) => {
                    Found::Text(trimmed(&value, operator, &pattern).to_owned())
                }
                _ => Found::Unknown,
            },
            _ => Found::Unknown,
        }
    }

    /// What a command prints, where it is plain.
    fn output(&mut self, inner: &'a str) -> Found {
        let parsed = parse(inner, Lead::Script);
        let [chain] = parsed.commands.as_slice() else { return Found::Unknown };
        let [command] = chain.first.commands.as_slice() else { return Found::Unknown };
        let Kind::Simple { assignments, words } = &command.kind else { return Found::Unknown };
        if !assignments.is_empty() || assigned(&command.kind) {
            return Found::Unknown;
        }
        // The places in it are not those of the text, so words that are not known are told apart
        // by their text.
        let texts: Option<Vec<String>> = words.iter().map(|word| self.text_of(word)).collect();
        let Some(texts) = texts else { return Found::Unknown };
        let words: Vec<&str> = texts.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["which" | "type", name] | ["which", "-a", name] | ["command", "-v", name]
                if chain.rest.is_empty() || program(name).is_some() =>
            {
                match program(name) {
                    Some(_) => Found::Text((*name).to_owned()),
                    None => Found::Unknown,
                }
            }
            ["id", "-u"] => Found::Text("0".to_owned()),
            ["whoami"] | ["id", "-un" | "-nu"] => Found::Text("root".to_owned()),
            ["echo", words @ ..] if chain.rest.is_empty() && !words.contains(&"-e") => {
                Found::Text(words.join(" "))
            }
            ["seq", ends @ ..] if chain.rest.is_empty() => {
                let ends: Option<Vec<i64>> = ends.iter().map(|end| end.parse().ok()).collect();
                let (from, to) = match ends.as_deref() {
                    Some([to]) => (1, *to),
                    Some([from, to]) => (*from, *to),
                    _ => return Found::Unknown,
                };
                let few = to.saturating_sub(from) < 10_000;
                let numbers = (from..=to).map(|number| number.to_string());
                if few {
                    Found::Text(numbers.collect::<Vec<_>>().join(" "))
                } else {
                    Found::Unknown
                }
            }
            _ => Found::Unknown,
        }
    }

    /// `$((…))` of numbers, names, signs and parentheses.
    fn arithmetic(&mut self, text: &str) -> Option<i64> {
        let mut sum = Sum { text: text.as_bytes(), at: 0, depth: 0 };
        let lookup = |name: &str| match self.parameter(name) {
            Found::Text(text) => text.trim().parse().ok(),
            Found::Unset => Some(0),
            Found::Many(_) | Found::Unknown => None,
        };
        let value = sum.sum(&lookup)?;
        (sum.peek().is_none()).then_some(value)
    }
}

/// A text that may hold what is not known.
fn text(text: String) -> Found {
    if text.contains(UNKNOWN) { Found::Unknown } else { Found::Text(text) }
}

fn assigned(kind: &Kind<'_>) -> bool {
    let Kind::Simple { assignments, .. } = kind else { return false };
    assignments.iter().any(|one| matches!(one.value, Assigned::Many(_)))
}

/// A sum that is being read.
struct Sum<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

impl Sum<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn sum(&mut self, lookup: &impl Fn(&str) -> Option<i64>) -> Option<i64> {
        self.depth += 1;
        if self.depth > 32 {
            return None;
        }
        let mut value = self.product(lookup)?;
        while let Some(sign @ (b'+' | b'-')) = self.peek() {
            self.at += 1;
            let more = self.product(lookup)?;
            value =
                if sign == b'+' { value.checked_add(more)? } else { value.checked_sub(more)? };
        }
        self.depth -= 1;
        Some(value)
    }

    fn product(&mut self, lookup: &impl Fn(&str) -> Option<i64>) -> Option<i64> {
        let mut value = self.factor(lookup)?;
        while let Some(sign @ (b'*' | b'/' | b'%')) = self.peek() {
            self.at += 1;
            let more = self.factor(lookup)?;
            value = match sign {
                b'*' => value.checked_mul(more)?,
                b'/' => value.checked_div(more)?,
                _ => value.checked_rem(more)?,
            };
        }
        Some(value)
    }

    fn factor(&mut self, lookup: &impl Fn(&str) -> Option<i64>) -> Option<i64> {
        match self.peek()? {
            b'(' => {
                self.at += 1;
                let value = self.sum(lookup)?;
                (self.peek() == Some(b')')).then(|| self.at += 1)?;
                Some(value)
            }
            b'0'..=b'9' => self.word().parse().ok(),
            b'$' => {
                self.at += 1;
                let name = self.word();
                lookup(&name)
            }
            _ => {
                let name = self.word();
                if name.is_empty() { None } else { lookup(&name) }
            }
        }
    }

    fn word(&mut self) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let bytes = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
        let word: String = bytes.map(|byte| char::from(*byte)).collect();
        self.at += word.len();
        word
    }
}

/// A value without what a pattern matches at one of its ends.
fn trimmed<'t>(value: &'t str, operator: &str, pattern: &str) -> &'t str {
    let places = value.char_indices().map(|(at, _)| at).chain([value.len()]);
    let fits = |at: &usize| {
        let (front, back) = value.split_at_checked(*at).unwrap_or((value, ""));
        matches(pattern, if operator.starts_with('#') { front } else { back })
    };
    let found: Vec<usize> = places.filter(fits).collect();
    // A front grows with its place, and a back shrinks.
    let at = match operator {
        "#" | "%%" => found.first().copied(),
        _ => found.last().copied(),
    };
    match at {
        Some(at) if operator.starts_with('#') => value.get(at..).unwrap_or(value),
        Some(at) => value.get(..at).unwrap_or(value),
        None => value,
    }
}

/// Whether a pattern of a shell matches a text: `*`, `?` and `[…]`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut place) = (0, 0);
    // Where the last `*` stands, and how much of the text it took.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        let one = pattern.get(at).copied();
        let char = text.get(place).copied().unwrap_or_default();
        let step = match one {
            Some('*') => {
                star = Some((at, place));
                at += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(pattern.get(at..).unwrap_or_default(), char),
            Some(one) if one == char => Some(1),
            _ => None,
        };
        if let Some(step) = step {
            at += step;
            place += 1;
        } else if let Some((of, taken)) = star {
            star = Some((of, taken + 1));
            at = of + 1;
            place = taken + 1;
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|one| *one == '*')
}

/// How long a `[…]` is, if it matches a character.
fn class(pattern: &[char], char: char) -> Option<usize> {
    let close = pattern.iter().skip(2).position(|one| *one == ']')? + 2;
    let inside = pattern.get(1..close)?;
    let (negated, inside) = match inside.split_first() {
        Some(('!' | '^', rest)) => (true, rest),
        _ => (false, inside),
    };
    let mut found = false;
    let mut at = 0;
    while let Some(&first) = inside.get(at) {
        if inside.get(at + 1) == Some(&'-')
            && let Some(&last) = inside.get(at + 2)
        {
            found |= (first..=last).contains(&char);
            at += 3;
        } else {
            found |= first == char;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

/// `a{b,c}d` and `{1..3}` of bash; the text itself where it is neither.
fn braces(text: &str) -> Vec<String> {
    let expanded = || -> Option<Vec<String>> {
        let open = text.find('{')?;
        let close = open + text.get(open..)?.find('}')?;
        let (front, back) = (text.get(..open)?, text.get(close + 1..)?);
        let inside = text.get(open + 1..close)?;
        if inside.contains('{') || back.contains('{') {
            return None;
        }
        let parts: Vec<String> = if inside.contains(',') {
            inside.split(',').map(str::to_owned).collect()
        } else {
            let (from, to) = inside.split_once("..")?;
            let (from, to): (i64, i64) = (from.parse().ok()?, to.parse().ok()?);
            if to.abs_diff(from) > 10_000 {
                return None;
            }
            match from <= to {
                true => (from..=to).map(|number| number.to_string()).collect(),
                false => (to..=from).rev().map(|number| number.to_string()).collect(),
            }
        };
        Some(parts.iter().map(|part| format!("{front}{part}{back}")).collect())
    };
    expanded().unwrap_or_else(|| vec![text.to_owned()])
}
