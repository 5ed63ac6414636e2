//! `nattrace graph`: the chains and how they call each other.

use std::io::Write;

use nattrace_model::answer::Step;
use nattrace_model::graph::{GraphOptions, to_dot, to_mermaid, to_svg};
use nattrace_model::ruleset::{ChainId, RuleId};

use super::why::{self, Undo};
use crate::args::{Format, Global, Graph};
use crate::arrow;
use crate::exit::{Failure, Result, Status};
use crate::input::system;
use crate::output::chains::Listing;
use crate::output::json::Layout;

/// Prints the drawing, or the list of what would be drawn.
pub(crate) fn run(global: &Global, arguments: &Graph) -> Result<Status> {
    let format = match global.format() {
        None => Format::Dot,
        Some(
            format @ (Format::Dot
            | Format::Mermaid
            | Format::Svg
            | Format::Pretty
            | Format::Concise
            | Format::Json
            | Format::Jsonl),
        ) => format,
        Some(_) => {
            return Err(Failure::input(
                "`graph` prints dot, mermaid, svg, pretty, concise, json or jsonl",
            ));
        }
    };
    let ends = match arguments.why.as_slice() {
        [] => None,
        words => Some(arrow::read(words)?),
    };
    let (ends, stray) = match ends {
        Some(ends) => (Some((ends.source, ends.destination)), ends.stray),
        None => (None, None),
    };
    let undo = Undo::new(stray);
    let system = system::load(global)?;
    let (mut path, mut visited) = (Vec::new(), Vec::new());
    if let Some((source, destination)) = ends {
        let request = why::request(global, &arguments.packet, source, destination);
        let (_, answer) =
            why::answer(&system, &request).map_err(|failure| undo.explain(failure))?;
        (path, visited) = trodden(&answer.steps);
    }
    let options = GraphOptions {
        family: global.family(),
        tables: &arguments.tables,
        hooks: &arguments.hooks,
        path: &path,
        visited: &visited,
    };
    let mut screen = undo.screen();
    let rules = &system.rules;
    match format {
        Format::Pretty => screen.write_styled(&Listing::new(&system, &options).pretty())?,
        Format::Concise => screen.write_styled(&Listing::new(&system, &options).concise())?,
        Format::Json => {
            Listing::new(&system, &options).write_json(screen.raw(), Layout::Indented)?;
        }
        Format::Jsonl => Listing::new(&system, &options).write_json(screen.raw(), Layout::Line)?,
        Format::Mermaid => screen.raw().write_all(to_mermaid(rules, &options).as_bytes())?,
        Format::Svg => screen.raw().write_all(to_svg(rules, &options).as_bytes())?,
        _ => screen.raw().write_all(to_dot(rules, &options).as_bytes())?,
    }
    screen.finish()?;
    Ok(Status::Holds)
}

/// The rules that matched, and the chains that were left without a match.
fn trodden(steps: &[Step]) -> (Vec<RuleId>, Vec<ChainId>) {
    let (mut path, mut visited) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Rule { rule, .. } => path.push(*rule),
            Step::Return { chain, .. } | Step::Policy { chain, .. } => visited.push(*chain),
            Step::Conntrack { .. } | Step::Route { .. } | Step::Socket { .. } => {}
        }
    }
    (path, visited)
}
