//! `nattrace why`: what happens to a packet.

pub(crate) mod flows;

use std::borrow::Cow;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome};
use nattrace_model::endpoint::{self, EndpointError, FlowRequest};
use nattrace_model::simulate;
use nattrace_parser::Diagnostic;

use crate::args::{Format, Global, Packet, Why};
use crate::arrow::{self, Ends, Stray};
use crate::exit::{Failure, Result, Status};
use crate::input::system;
use crate::output::context::Context;
use crate::output::diagnostic::print_note;
use crate::output::json::{self, Layout};
use crate::output::screen::Screen;
use crate::output::{concise, pretty};

/// Answers for one packet, or for many.
pub(crate) fn run(global: &Global, arguments: &Why) -> Result<Status> {
    let format = match global.format() {
        Some(Format::Dot | Format::Mermaid | Format::Svg) => {
            return Err(Failure::input("`why` prints pretty, concise, json or jsonl")
                .help("`nattrace graph --why SRC DST` draws the path of a packet"));
        }
        Some(Format::Csv | Format::Html) => {
            return Err(Failure::input("`why` prints pretty, concise, json or jsonl")
                .help("`nattrace matrix` prints tables and pages"));
        }
        Some(Format::Sarif | Format::Junit | Format::Github | Format::Markdown) => {
            return Err(Failure::input("`why` prints pretty, concise, json or jsonl")
                .help("`nattrace check` prints the others too"));
        }
        Some(format) if format.is_change() => {
            return Err(Failure::input("`why` prints pretty, concise, json or jsonl")
                .help("`nattrace fix` prints changes of rules"));
        }
        other => other,
    };
    if let Some(path) = &arguments.flows {
        return flows::run(global, path, format);
    }
    let Ends { source, destination, stray } = arrow::read(&arguments.words)?;
    let undo = Undo::new(stray);
    let system = system::load(global)?;
    let request = request(global, &arguments.packet, source, destination);
    let (system, answer) = answer(&system, &request).map_err(|failure| undo.explain(failure))?;
    let mut screen = undo.screen();
    let context = Context::new(&system);
    match format.unwrap_or(Format::Pretty) {
        Format::Json => json::write_answer(screen.raw(), &context, &answer, Layout::Indented)?,
        Format::Jsonl => json::write_answer(screen.raw(), &context, &answer, Layout::Line)?,
        Format::Concise => {
            screen.write_styled(&format!("{}\n", concise::line(&context, &answer)))?;
        }
        _ => {
            let page = pretty::render(&context, &answer, screen.width());
            screen.write_styled(&page)?;
        }
    }
    screen.finish()?;
    Ok(status(answer.outcome))
}

/// The words of the command line as the model takes them.
pub(crate) fn request(
    global: &Global,
    packet: &Packet,
    source: String,
    destination: String,
) -> FlowRequest {
    FlowRequest {
        source,
        destination,
        in_interface: packet.in_interface.clone(),
        source_port: packet.sport.clone(),
        destination_port: None,
        protocol: packet.proto.clone(),
        state: packet.state.clone(),
        mark: packet.mark.clone(),
        tcp_flags: packet.tcp_flags.clone(),
        icmp_type: packet.icmp_type.clone(),
        ttl: packet.ttl.clone(),
        family: global.family(),
    }
}

/// Finds the packet and says what happens to it; what had to be assumed to find it goes first.
/// The answer's identities are those of the system that comes with it.
pub(crate) fn answer<'s>(
    system: &'s System,
    request: &FlowRequest,
) -> Result<(Cow<'s, System>, Answer)> {
    let question =
        endpoint::resolve(system, request).map_err(|error| misunderstood(request, error))?;
    let system = question.system(system);
    let mut answer = simulate::why(&system, &question.flow);
    let mut assumptions = question.assumptions;
    assumptions.retain(|assumption| !answer.assumptions.contains(assumption));
    assumptions.append(&mut answer.assumptions);
    answer.assumptions = assumptions;
    Ok((system, answer))
}

/// The word of the question that is wrong, to be underlined.
fn misunderstood(request: &FlowRequest, error: EndpointError) -> Failure {
    let diagnostic = Diagnostic {
        help: error.help,
        ..Diagnostic::error(error.problem.code(), error.problem.to_string(), error.span)
    };
    Failure::Question {
        name: error.argument.name(),
        text: request.argument(error.argument).to_owned(),
        diagnostic: Box::new(diagnostic),
    }
}

/// The status of an answer.
fn status(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Connects => Status::Holds,
        Outcome::Refused | Outcome::Unreachable | Outcome::Timeout => Status::Fails,
        Outcome::Undetermined => Status::Undetermined,
    }
}

/// What the shell made of an unquoted arrow, and how it is undone.
pub(crate) struct Undo {
    stray: Option<Stray>,
    /// Whether the file is gone already.
    done: bool,
}

impl Undo {
    /// Removes the file at once if its name is an address: then it is surely not wanted, even if
    /// the input turns out to be unusable.
    pub(crate) fn new(stray: Option<Stray>) -> Self {
        let mut undo = Self { stray, done: false };
        if undo.stray.as_ref().is_some_and(Stray::is_surely_endpoint) {
            undo.remove();
        }
        undo
    }

    fn remove(&mut self) {
        if let Some(stray) = self.stray.as_ref().filter(|_| !self.done) {
            print_note(stray.remove());
            self.done = true;
        }
    }

    /// A failure about a file that may never have been meant as a destination says so.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match self.stray.as_ref().filter(|_| !self.done) {
            Some(stray) => failure.help(stray.advice()),
            None => failure,
        }
    }

    /// Where the answer goes, now that the destination turned out to be one.
    pub(crate) fn screen(mut self) -> Screen {
        self.remove();
        if self.stray.is_some() { Screen::terminal() } else { Screen::stdout() }
    }
}
