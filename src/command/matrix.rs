//! `nattrace matrix`: who can reach whom, and with which source address.

use std::io::Write;

use nattrace_model::System;
use nattrace_parser::policy::{Expression, Protocol, parse_expression, parse_service};
use nattrace_parser::{Diagnostic, protocols};
use nattrace_verifier::matrix::{Matrix, Reach, Scope, Service, matrix_each, unknown_names};

use crate::args::{self, Format, Global};
use crate::exit::{Failure, Result, Status};
use crate::input::system;
use crate::output::context::Context;
use crate::output::diagnostic::{Source, print_diagnostics, print_failure};
use crate::output::json::Layout;
use crate::output::matrix::{self as shown, View};
use crate::output::screen::Screen;

/// Prints the whole matrix, or the cells that were asked for.
pub(crate) fn run(global: &Global, arguments: &args::Matrix) -> Result<Status> {
    let format = global.format().unwrap_or(Format::Pretty);
    if format.is_report() || format.is_change() || format == Format::Mermaid {
        return Err(Failure::input(
            "`matrix` prints pretty, concise, json, jsonl, csv, dot, svg or html",
        ));
    }
    let mut words = Words::default();
    let from = words.each("--from", &arguments.from, zone);
    let to = words.each("--to", &arguments.to, zone);
    let services = words.each("--service", &arguments.service, service);
    words.print()?;
    let system = system::load(global)?;
    known(&system, "--from", &from)?;
    known(&system, "--to", &to)?;
    let scope = Scope { from, to, services, family: global.family(), ..Scope::default() };
    let mut found = matrix_each(&system, &scope);
    for fault in &found.faults {
        print_failure(&Failure::Fault(fault.to_string()));
    }
    if arguments.open {
        found.cells.retain(|cell| cell.reach != Reach::Never);
    }
    print(&system, &found, &scope, format)?;
    Ok(if found.faults.is_empty() { Status::Holds } else { Status::Undetermined })
}

fn print(system: &System, matrix: &Matrix, scope: &Scope, format: Format) -> Result<()> {
    let context = Context::new(system);
    let view = View { context: &context, matrix, scope };
    let mut screen = Screen::stdout();
    match format {
        Format::Json => shown::json::write(screen.raw(), &view, Layout::Indented)?,
        Format::Jsonl => shown::json::write(screen.raw(), &view, Layout::Line)?,
        Format::Csv => shown::csv::write(screen.raw(), &view)?,
        Format::Concise => screen.write_styled(&shown::table::concise(&view))?,
        Format::Dot => screen.raw().write_all(shown::dot::render(&view).as_bytes())?,
        Format::Svg => screen.raw().write_all(shown::picture::render(&view).as_bytes())?,
        Format::Html => screen.raw().write_all(shown::page::render(&view).as_bytes())?,
        _ => screen.write_styled(&shown::table::render(&view))?,
    }
    screen.finish()?;
    Ok(())
}

/// The words of options, and what is wrong with them.
#[derive(Default)]
struct Words<'a> {
    wrong: Vec<(&'static str, &'a str, Diagnostic)>,
}

impl<'a> Words<'a> {
    fn each<T>(
        &mut self,
        option: &'static str,
        texts: &'a [String],
        read: impl Fn(&str) -> std::result::Result<T, Diagnostic>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for text in texts {
            match read(text) {
                Ok(value) => all.push(value),
                Err(found) => self.wrong.push((option, text, found)),
            }
        }
        all
    }

    fn print(&self) -> Result<()> {
        let source = |(name, text, found): &'_ (&'static str, &'a str, Diagnostic)| {
            (Source { name, text }, found.clone())
        };
        let all: Vec<_> = self.wrong.iter().map(source).collect();
        print_diagnostics(all.iter().map(|(source, found)| (*source, found)))
    }
}

/// A zone without a port: services are asked for on their own.
fn zone(text: &str) -> std::result::Result<Expression, Diagnostic> {
    let zone = parse_expression(text)?;
    match zone.service_span {
        None => Ok(zone),
        Some(span) => {
            Err(Diagnostic::error("unexpected-port", "expected a zone without a port", span)
                .help("`--service 443/tcp` asks for one service"))
        }
    }
}

fn service(text: &str) -> std::result::Result<Service, Diagnostic> {
    let (ports, protocol) = parse_service(text)?;
    let number = match protocol {
        Some(Protocol::Number(number)) => number,
        Some(Protocol::Icmp) | None => protocols::TCP,
    };
    Ok(match (ports, protocol) {
        (Some((first, last)), _) => Service::Ports(number, first, last),
        (None, Some(protocol)) => Service::of_protocol(protocol),
        (None, None) => Service::of_protocol(Protocol::Number(number)),
    })
}

/// Fails where an option names what the host does not have.
fn known(system: &System, name: &'static str, zones: &[Expression]) -> Result<()> {
    for zone in zones {
        let found = unknown_names(std::slice::from_ref(zone), system);
        let source = Source { name, text: &zone.text };
        print_diagnostics(found.iter().map(|found| (source, found)))?;
    }
    Ok(())
}
