//! Shell text as a tree: what a POSIX shell, and the little of bash that people use in firewall
//! scripts, would run.
//!
//! Nothing here knows iptables, and nothing is run; `script` does that.

mod parse;
mod word;

use std::borrow::Cow;
use std::rc::Rc;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

pub(crate) use parse::{Lead, parse, prompt};

/// A word before its expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShellWord<'a> {
    /// Its pieces in order.
    pub(crate) pieces: Vec<Piece<'a>>,
    /// Its place, quotes included.
    pub(crate) span: Span,
}

impl<'a> ShellWord<'a> {
    /// Its text, if it is nothing but text.
    pub(crate) fn literal(&self) -> Option<Cow<'a, str>> {
        match self.pieces.as_slice() {
            [Piece::Text { text, .. }] => Some(text.clone()),
            pieces => {
                let mut whole = String::new();
                for piece in pieces {
                    let Piece::Text { text, .. } = piece else { return None };
                    whole.push_str(text);
                }
                Some(Cow::Owned(whole))
            }
        }
    }
}

/// Whether a piece stands in quotes, where it is not cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// It does not.
    Bare,
    /// It does.
    Quoted,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text.
    Text { text: Cow<'a, str>, quoting: Quoting },
    /// `$NAME` or `${NAME…}`.
    Parameter {
        name: &'a str,
        /// What stands behind the name in braces: the operator and its word.
        operator: Option<(&'a str, Box<ShellWord<'a>>)>,
        /// As it is written.
        raw: &'a str,
        quoting: Quoting,
    },
    /// `$(…)`, `` `…` `` or `$((…))`, with what stands in it.
    Substitution { inner: &'a str, raw: &'a str, arithmetic: bool, quoting: Quoting },
}

/// Commands one after the other.
pub(crate) type List<'a> = Vec<Chain<'a>>;

/// Pipelines joined by `&&` and `||`.
#[derive(Clone, Debug)]
pub(crate) struct Chain<'a> {
    /// The first.
    pub(crate) first: Pipeline<'a>,
    /// The others, each with what joins it to those before.
    pub(crate) rest: Vec<(Joint, Pipeline<'a>)>,
}

/// What joins two pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// `&&`.
    And,
    /// `||`.
    Or,
}

/// Commands joined by `|`.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline<'a> {
    /// Whether `!` stands before it.
    pub(crate) negated: bool,
    /// Its commands.
    pub(crate) commands: Vec<Command<'a>>,
}

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Command<'a> {
    /// What it is.
    pub(crate) kind: Kind<'a>,
    /// Where its input and output go.
    pub(crate) redirects: Vec<Redirect<'a>>,
    /// Its place, without here-documents.
    pub(crate) span: Span,
}

/// What a command is.
#[derive(Clone, Debug)]
pub(crate) enum Kind<'a> {
    /// Assignments, and a program with its arguments.
    Simple { assignments: Vec<Assignment<'a>>, words: Vec<ShellWord<'a>> },
    /// `{ …; }` or `( … )`.
    Group(List<'a>),
    /// `if`, with its `elif` arms, and `else`.
    If { arms: Vec<(List<'a>, List<'a>)>, otherwise: Option<List<'a>> },
    /// `for NAME in WORDS`; without words over the parameters.
    For { name: &'a str, words: Option<Vec<ShellWord<'a>>>, body: List<'a> },
    /// `while`; `until` negates.
    While { condition: List<'a>, until: bool, body: List<'a> },
    /// `case`.
    Case { subject: ShellWord<'a>, arms: Vec<(Vec<ShellWord<'a>>, List<'a>)> },
    /// The definition of a function.
    Function { name: &'a str, body: Rc<Command<'a>> },
}

/// `NAME=VALUE`.
#[derive(Clone, Debug)]
pub(crate) struct Assignment<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// Whether it is `+=`.
    pub(crate) appends: bool,
    /// The value.
    pub(crate) value: Assigned<'a>,
}

/// What is assigned.
#[derive(Clone, Debug)]
pub(crate) enum Assigned<'a> {
    /// One value.
    One(ShellWord<'a>),
    /// `( … )` of bash.
    Many(Vec<ShellWord<'a>>),
}

/// A redirection.
#[derive(Clone, Debug)]
pub(crate) struct Redirect<'a> {
    /// The file descriptor; `&` stands for both outputs.
    pub(crate) from: Stream,
    /// What it is.
    pub(crate) to: RedirectTo<'a>,
}

/// Which file descriptor a redirection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input.
    Input,
    /// Standard output, and whatever else has no messages.
    Output,
    /// Standard error.
    Errors,
    /// Both outputs.
    Both,
}

/// Where a redirection leads.
#[derive(Clone, Debug)]
pub(crate) enum RedirectTo<'a> {
    /// A file.
    File(ShellWord<'a>),
    /// Another file descriptor.
    Descriptor(&'a str),
    /// The here-document of this number.
    Here(usize),
    /// `<<< WORD`.
    HereString(ShellWord<'a>),
}

/// A here-document: its lines without their ends, text alone where the delimiter is quoted.
pub(crate) type HereDocument<'a> = Vec<ShellWord<'a>>;

/// What was read of a text.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'a> {
    /// The commands.
    pub(crate) commands: List<'a>,
    /// The here-documents of all commands.
    pub(crate) documents: Vec<HereDocument<'a>>,
    /// Comments that hold a command of iptables.
    pub(crate) disabled: Vec<Span>,
    /// What there is to say.
    pub(crate) diagnostics: Vec<Diagnostic>,
}
