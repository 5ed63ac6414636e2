//! Shell scripts of iptables commands, carried out without being run.
//!
//! Variables, loops over words, functions, tests, here-documents and pipes into iptables-restore
//! are followed as far as the text tells. Where it does not (the output of a program, a file), a
//! rule is kept with what is not known of it, a part that may or may not run leaves rules that may
//! or may not match, and what can't be kept so is an error. Nothing of a script is left out
//! without a word.

mod expand;
mod input;
mod program;
mod test;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::recognize::Program;
use crate::replay::{At, Field, Outcome, Replay, as_match};
use crate::shell::{
    Assigned, Assignment, Chain, Command, Joint, Kind, Lead, List, Parsed, Pipeline, Redirect,
    RedirectTo, ShellWord, Stream, parse,
};
use crate::span::{Lines, Span};
use crate::syntax::{Backend, Family, Unsupported};
use crate::words::clip;

/// How many commands are followed; a script may loop for ever.
const MOST_STEPS: usize = 50_000;

/// How deep functions may call each other.
const DEEPEST: usize = 30;

/// Carries out a script on the tables.
pub(crate) fn run<'a>(
    text: &'a str,
    lead: Lead,
    backend: Backend,
    replay: &mut Replay<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut parsed = parse(text, lead);
    diagnostics.append(&mut parsed.diagnostics);
    if let Some(first) = parsed.disabled.first() {
        let more = parsed.disabled.len() - 1;
        let message = match more {
            0 => "this command is a comment, and is not carried out".to_owned(),
            1 => "this command and one more are comments, and are not carried out".to_owned(),
            _ => format!("this command and {more} more are comments, and are not carried out"),
        };
        diagnostics.push(Diagnostic::note("disabled-command", message, *first));
    }
    let shell = if text.starts_with("#!")
        && !text.lines().next().is_some_and(|line| line.contains("bash"))
    {
        Shell::Posix
    } else {
        Shell::Bash
    };
    let mut script = Script {
        parsed: &parsed,
        lines: Lines::new(text),
        text,
        shell,
        backend,
        replay,
        diagnostics,
        variables: BTreeMap::new(),
        functions: BTreeMap::new(),
        parameters: Vec::new(),
        doubts: Vec::new(),
        told: BTreeSet::new(),
        tested: 0,
        quiet: 0,
        steps: 0,
        flow: Flow::Next,
        feed: Vec::new(),
    };
    script.list(&parsed.commands);
}

/// Which shell runs the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    /// `sh`, which knows no `{a,b}`.
    Posix,
    /// `bash`, also where the text does not tell.
    Bash,
}

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// This text.
    Text(String),
    /// These elements.
    Many(Vec<String>),
    /// What nobody knows.
    Unknown,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// With success.
    Yes,
    /// With a failure.
    No,
    /// One or the other.
    Unknown,
}

impl Status {
    fn of(success: bool) -> Self {
        if success { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Where it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
    Return,
    Exit,
}

/// A script that is being carried out.
struct Script<'s, 'a> {
    parsed: &'s Parsed<'a>,
    lines: Lines,
    text: &'a str,
    shell: Shell,
    /// What `iptables` is where its name does not tell.
    backend: Backend,
    replay: &'s mut Replay<'a>,
    diagnostics: &'s mut Vec<Diagnostic>,
    variables: BTreeMap<String, Value>,
    functions: BTreeMap<&'a str, Rc<Command<'a>>>,
    /// The parameters of the functions that are being called.
    parameters: Vec<Vec<String>>,
    /// The conditions around, of which nobody knows whether they hold.
    doubts: Vec<Unsupported<'a>>,
    /// The conditions that were spoken of.
    told: BTreeSet<Span>,
    /// How many conditions are being tested.
    tested: usize,
    /// How many commands around hide what is said of failures.
    quiet: usize,
    steps: usize,
    flow: Flow,
    /// The lines that `read` takes.
    feed: Vec<Vec<String>>,
}

impl<'a> Script<'_, 'a> {
    fn list(&mut self, list: &List<'a>) -> Status {
        let mut status = Status::Yes;
        for chain in list {
            status = self.chain(chain);
            if self.flow != Flow::Next {
                break;
            }
        }
        status
    }

    fn chain(&mut self, chain: &Chain<'a>) -> Status {
        let caught = |from: usize| {
            chain.rest.get(from..).unwrap_or_default().iter().any(|(joint, _)| *joint == Joint::Or)
        };
        let mut status = self.pipeline_in(&chain.first, caught(0));
        let mut condition = chain.first.commands.first().map(|command| command.span);
        for (index, (joint, pipeline)) in chain.rest.iter().enumerate() {
            if self.flow != Flow::Next {
                break;
            }
            let caught = caught(index + 1);
            match (joint, status) {
                (Joint::And, Status::Yes) | (Joint::Or, Status::No) => {
                    status = self.pipeline_in(pipeline, caught);
                }
                (Joint::And, Status::No) | (Joint::Or, Status::Yes) => continue,
                (_, Status::Unknown) => {
                    let place = condition.unwrap_or_default();
                    self.doubt(place, |script| script.pipeline_in(pipeline, caught));
                }
            }
            condition = pipeline.commands.first().map(|command| command.span);
        }
        status
    }

    /// Carries out what may not run at all.
    fn doubt<T>(&mut self, condition: Span, run: impl FnOnce(&mut Self) -> T) -> T {
        let words = condition.slice(self.text).split_whitespace().collect::<Vec<_>>().join(" ");
        let raw = as_match("if", &clip(&words));
        self.doubts.push(Unsupported { raw: Cow::Owned(raw), span: condition, of: None });
        let before = self.variables.clone();
        let result = run(self);
        self.doubts.pop();
        // What was assigned there may or may not have been.
        for (name, value) in &mut self.variables {
            if before.get(name) != Some(value) {
                *value = Value::Unknown;
            }
        }
        result
    }

    fn pipeline_in(&mut self, pipeline: &Pipeline<'a>, caught: bool) -> Status {
        let hidden = caught || pipeline.negated;
        self.quiet += usize::from(hidden);
        let status = self.pipeline(pipeline);
        self.quiet -= usize::from(hidden);
        if pipeline.negated { status.not() } else { status }
    }

    fn pipeline(&mut self, pipeline: &Pipeline<'a>) -> Status {
        let [front @ .., last] = pipeline.commands.as_slice() else { return Status::Yes };
        if front.is_empty() {
            return self.command(last);
        }
        if let Some(status) = self.piped(front, last) {
            return status;
        }
        for command in front {
            self.command(command);
        }
        self.command(last)
    }

    fn command(&mut self, command: &Command<'a>) -> Status {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            if self.steps == MOST_STEPS + 1 {
                let message = format!("more than {MOST_STEPS} commands are carried out");
                self.diagnostics.push(
                    Diagnostic::error("too-many-steps", message, command.span)
                        .help("the script may run for ever"),
                );
            }
            self.flow = Flow::Exit;
            return Status::Unknown;
        }
        let hides = hides_errors(&command.redirects);
        self.quiet += usize::from(hides);
        let status = self.kind(command);
        self.quiet -= usize::from(hides);
        status
    }

    fn kind(&mut self, command: &Command<'a>) -> Status {
        match &command.kind {
            Kind::Simple { assignments, words } => self.simple(command, assignments, words),
            Kind::Group(list) => self.list(list),
            Kind::If { arms, otherwise } => self.conditional(arms, otherwise.as_ref()),
            Kind::For { name, words, body } => self.loop_over(command, name, words.as_ref(), body),
            Kind::While { condition, until, body } => {
                self.loop_while(command, condition, *until, body)
            }
            Kind::Case { subject, arms } => self.case(command, subject, arms),
            Kind::Function { name, body } => {
                self.functions.insert(name, Rc::clone(body));
                Status::Yes
            }
        }
    }

    fn simple(
        &mut self,
        command: &Command<'a>,
        assignments: &[Assignment<'a>],
        words: &[ShellWord<'a>],
    ) -> Status {
        if words.is_empty() {
            for assignment in assignments {
                self.assign(assignment);
            }
            return Status::Yes;
        }
        let mut fields = Vec::with_capacity(words.len());
        for word in words {
            self.expand(word, &mut fields);
        }
        self.program(command, &fields)
    }

    fn assign(&mut self, assignment: &Assignment<'a>) {
        let mut value = match &assignment.value {
            Assigned::One(word) => match self.text_of(word) {
                Some(text) if text.len() <= expand::LONGEST_VALUE => Value::Text(text),
                Some(_) | None => Value::Unknown,
            },
            Assigned::Many(words) => {
                let mut fields = Vec::new();
                for word in words {
                    self.expand(word, &mut fields);
                }
                if fields.iter().all(|field| field.known) {
                    Value::Many(fields.into_iter().map(|field| field.word.text.into()).collect())
                } else {
                    Value::Unknown
                }
            }
        };
        if assignment.appends {
            value = match (self.variables.remove(assignment.name), value) {
                (None, value) => value,
                (Some(Value::Text(before)), Value::Text(more))
                    if before.len() + more.len() <= expand::LONGEST_VALUE =>
                {
                    Value::Text(before + &more)
                }
                (Some(Value::Many(mut before)), Value::Many(more)) if before.len() < 10_000 => {
                    before.extend(more);
                    Value::Many(before)
                }
                (Some(_), _) => Value::Unknown,
            };
        }
        self.variables.insert(assignment.name.to_owned(), value);
    }

    /// Runs a condition, whose failure is no fault.
    fn condition(&mut self, list: &List<'a>) -> Status {
        self.tested += 1;
        let status = self.list(list);
        self.tested -= 1;
        status
    }

    fn conditional(
        &mut self,
        arms: &[(List<'a>, List<'a>)],
        otherwise: Option<&List<'a>>,
    ) -> Status {
        let Some(((condition, body), rest)) = arms.split_first() else {
            return otherwise.map_or(Status::Yes, |list| self.list(list));
        };
        match self.condition(condition) {
            Status::Yes => self.list(body),
            Status::No => self.conditional(rest, otherwise),
            Status::Unknown => {
                let place = span_of(condition);
                self.doubt(place, |script| script.list(body));
                if self.flow == Flow::Next {
                    self.doubt(place, |script| script.conditional(rest, otherwise));
                }
                Status::Unknown
            }
        }
    }

    fn loop_over(
        &mut self,
        command: &Command<'a>,
        name: &str,
        words: Option<&Vec<ShellWord<'a>>>,
        body: &List<'a>,
    ) -> Status {
        let values: Option<Vec<String>> = match words {
            None => Some(self.parameters.last().cloned().unwrap_or_default()),
            Some(words) => {
                let mut fields = Vec::new();
                for word in words {
                    self.expand(word, &mut fields);
                }
                let known = fields.iter().all(|field| field.known);
                known.then(|| fields.into_iter().map(|field| field.word.text.into()).collect())
            }
        };
        let Some(values) = values else {
            let heading = heading(self.text, command.span);
            self.doubt(heading, |script| {
                script.variables.insert(name.to_owned(), Value::Unknown);
                script.list(body)
            });
            self.leave_loop();
            return Status::Unknown;
        };
        let mut status = Status::Yes;
        for value in values {
            self.variables.insert(name.to_owned(), Value::Text(value));
            status = self.list(body);
            if self.leave_loop() {
                break;
            }
        }
        status
    }

    /// Takes `break` and `continue`; whether the loop is left.
    fn leave_loop(&mut self) -> bool {
        match self.flow {
            Flow::Next => false,
            Flow::Continue => {
                self.flow = Flow::Next;
                false
            }
            Flow::Break => {
                self.flow = Flow::Next;
                true
            }
            Flow::Return | Flow::Exit => true,
        }
    }

    fn loop_while(
        &mut self,
        command: &Command<'a>,
        condition: &List<'a>,
        until: bool,
        body: &List<'a>,
    ) -> Status {
        let fed = self.feed_from(command);
        if fed == Some(false) {
            // Lines that nobody knows.
            let heading = heading(self.text, command.span);
            self.doubt(heading, |script| {
                script.condition(condition);
                script.list(body)
            });
            self.leave_loop();
            return Status::Unknown;
        }
        let status = loop {
            let status = self.condition(condition);
            let status = if until { status.not() } else { status };
            match status {
                Status::No => break Status::Yes,
                Status::Yes => {
                    self.list(body);
                }
                Status::Unknown => {
                    self.doubt(span_of(condition), |script| script.list(body));
                    self.leave_loop();
                    break Status::Unknown;
                }
            }
            if self.leave_loop() {
                break Status::Yes;
            }
        };
        if fed == Some(true) {
            self.feed.pop();
        }
        status
    }

    fn case(
        &mut self,
        command: &Command<'a>,
        subject: &ShellWord<'a>,
        arms: &[(Vec<ShellWord<'a>>, List<'a>)],
    ) -> Status {
        let mut value = self.text_of(subject);
        let literal = |pattern: &ShellWord<'a>, text: &str| {
            pattern.literal().is_some_and(|pattern| pattern == text)
        };
        let starts = arms.iter().any(|(patterns, _)| patterns.iter().any(|p| literal(p, "start")));
        // A script of init is called with what it has to do.
        if value.as_deref() == Some("") && starts && self.parameters.is_empty() {
            if self.told.insert(subject.span) {
                let message = "the script is taken to be called with `start`";
                let note = Diagnostic::note("called-with-start", message, subject.span);
                self.diagnostics.push(note);
            }
            value = Some("start".to_owned());
        }
        let Some(value) = value else {
            let place = heading(self.text, command.span);
            for (_, body) in arms {
                self.doubt(place, |script| script.list(body));
                if self.flow != Flow::Next {
                    break;
                }
            }
            return Status::Unknown;
        };
        for (patterns, body) in arms {
            for pattern in patterns {
                let Some(pattern) = self.text_of(pattern) else { continue };
                if expand::matches(&pattern, &value) {
                    return self.list(body);
                }
            }
        }
        Status::Yes
    }

    /// Calls a function.
    fn call(&mut self, body: &Rc<Command<'a>>, arguments: &[Field<'a>]) -> Status {
        if self.parameters.len() >= DEEPEST {
            let message = "functions call each other too deep";
            self.diagnostics.push(Diagnostic::error("too-many-steps", message, body.span));
            self.flow = Flow::Exit;
            return Status::Unknown;
        }
        let known = arguments.iter().map(|field| match field.known {
            true => field.word.text.clone().into_owned(),
            false => format!("{}{}", crate::replay::UNKNOWN, field.word.text),
        });
        self.parameters.push(known.collect());
        let status = self.command(body);
        self.parameters.pop();
        if self.flow == Flow::Return {
            self.flow = Flow::Next;
        }
        status
    }

    /// Where a command stands.
    fn at(&self, span: Span) -> At<'a> {
        At { span, line: self.lines.line(span.start), doubt: self.doubts.last().cloned() }
    }

    /// Whether what is said of a failure is not seen by anybody.
    fn hidden(&self) -> bool {
        self.quiet > 0 || self.tested > 0
    }

    /// Passes on what there is to say of a command of iptables, and how it ended.
    fn outcome(&mut self, outcome: Outcome, mut found: Vec<Diagnostic>) -> Status {
        let doubted = self.doubts.last().cloned();
        if self.hidden() && outcome == Outcome::Refused {
            // The script expects it.
            found.retain(|one| one.severity != Severity::Error);
        }
        if let Some(doubt) = &doubted {
            let of_state = ["chain-exists", "no-such-rule", "bad-position", "chain-in-use"];
            found.retain(|one| !of_state.contains(&one.code));
            if self.told.insert(doubt.span) {
                let message = "whether this holds can't be known, nor whether the rules that depend on it are there";
                self.diagnostics.push(
                    Diagnostic::warning("undetermined-part", message, doubt.span)
                        .help("give the rules as the kernel has them: `iptables-save`"),
                );
            }
        }
        self.diagnostics.append(&mut found);
        match outcome {
            _ if doubted.is_some() => Status::Unknown,
            Outcome::Done => Status::Yes,
            Outcome::Refused => Status::No,
            Outcome::Unknown => Status::Unknown,
        }
    }

    /// The family and backend of a program.
    fn kernel(&self, program: Program) -> (Family, Backend) {
        (program.family, program.backend.unwrap_or(self.backend))
    }
}

/// Whether what a command says of failures goes nowhere.
fn hides_errors(redirects: &[Redirect<'_>]) -> bool {
    let to_file = |one: &Redirect<'_>| matches!(one.to, RedirectTo::File(_));
    let output = redirects.iter().any(|one| one.from == Stream::Output && to_file(one));
    redirects.iter().any(|one| match (one.from, &one.to) {
        (Stream::Errors | Stream::Both, RedirectTo::File(_)) => true,
        (Stream::Errors, RedirectTo::Descriptor("1")) => output,
        _ => false,
    })
}

/// The place of a list of commands.
fn span_of(list: &List<'_>) -> Span {
    let spans = list.iter().flat_map(|chain| &chain.first.commands).map(|command| command.span);
    spans.reduce(Span::cover).unwrap_or_default()
}

/// The first line of a command.
fn heading(text: &str, span: Span) -> Span {
    let first = span.slice(text).lines().next().unwrap_or_default();
    let first = first.split(';').next().unwrap_or(first).trim_end();
    Span::new(span.range().start, span.range().start + first.len())
}
