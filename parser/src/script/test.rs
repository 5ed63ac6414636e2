//! `test`, `[` and `[[`.

use super::expand::matches;
use super::{Script, Status};
use crate::recognize::program;
use crate::replay::Field;

impl<'a> Script<'_, 'a> {
    /// Decides a test, as far as its words are known.
    pub(super) fn test(&mut self, name: &str, arguments: &[Field<'a>]) -> Status {
        let closing = match name {
            "[" => Some("]"),
            "[[" => Some("]]"),
            _ => None,
        };
        let inside = match (closing, arguments.split_last()) {
            (Some(closing), Some((last, inside))) if last.word.text == closing => inside,
            _ => arguments,
        };
        any(inside, name == "[[")
    }
}

/// Tests joined by `-o` or `||`.
fn any(fields: &[Field<'_>], pattern: bool) -> Status {
    let parts = fields.split(|field| joins(field, &["-o", "||"]));
    let mut status = Status::No;
    for part in parts {
        match all(part, pattern) {
            Status::Yes => return Status::Yes,
            Status::Unknown => status = Status::Unknown,
            Status::No => {}
        }
    }
    status
}

fn all(fields: &[Field<'_>], pattern: bool) -> Status {
    let parts = fields.split(|field| joins(field, &["-a", "&&"]));
    let mut status = Status::Yes;
    for part in parts {
        match one(part, pattern) {
            Status::No => return Status::No,
            Status::Unknown => status = Status::Unknown,
            Status::Yes => {}
        }
    }
    status
}

fn joins(field: &Field<'_>, words: &[&str]) -> bool {
    field.known && !field.word.quoted && words.contains(&field.word.text.as_ref())
}

fn one(fields: &[Field<'_>], pattern: bool) -> Status {
    if let [first, rest @ ..] = fields
        && first.word.text == "!"
        && !rest.is_empty()
    {
        return one(rest, pattern).not();
    }
    if fields.iter().any(|field| !field.known) {
        return Status::Unknown;
    }
    let words: Vec<&str> = fields.iter().map(|field| field.word.text.as_ref()).collect();
    match words.as_slice() {
        [] => Status::No,
        [word] => Status::of(!word.is_empty()),
        ["-z", word] => Status::of(word.is_empty()),
        ["-n", word] => Status::of(!word.is_empty()),
        ["-x" | "-f" | "-e" | "-s" | "-r", path] if program(path).is_some() => Status::Yes,
        [left, "=" | "==", right] => Status::of(equal(left, right, pattern)),
        [left, "!=", right] => Status::of(!equal(left, right, pattern)),
        [left, operator, right] => match (left.parse::<i64>(), right.parse::<i64>()) {
            (Ok(left), Ok(right)) => match *operator {
                "-eq" => Status::of(left == right),
                "-ne" => Status::of(left != right),
                "-lt" => Status::of(left < right),
                "-le" => Status::of(left <= right),
                "-gt" => Status::of(left > right),
                "-ge" => Status::of(left >= right),
                _ => Status::Unknown,
            },
            _ => Status::Unknown,
        },
        _ => Status::Unknown,
    }
}

fn equal(left: &str, right: &str, pattern: bool) -> bool {
    left == right || pattern && matches(right, left)
}
