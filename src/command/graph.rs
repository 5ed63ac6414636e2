//! `nattrace graph`: the chains and how they call each other.

use std::io::Write;

use nattrace_model::answer::Step;
use nattrace_model::graph::{GraphOptions, to_dot, to_mermaid, to_svg};
use nattrace_model::ruleset::{ChainId, RuleId};

use super::why;
use crate::args::{Format, Global, Graph};
use crate::arrow;
use crate::exit::{Failure, Result, Status};
use crate::input::system;
use crate::output::screen::Screen;

/// Prints the drawing.
pub(crate) fn run(global: &Global, arguments: &Graph) -> Result<Status> {
    let draw = match global.format() {
        None | Some(Format::Dot) => to_dot,
        Some(Format::Mermaid) => to_mermaid,
        Some(Format::Svg) => to_svg,
        Some(_) => {
            return Err(Failure::input("`graph` prints dot, mermaid or svg"));
        }
    };
    let system = system::load(global)?;
    let (mut path, mut visited) = (Vec::new(), Vec::new());
    if !arguments.why.is_empty() {
        let ends = arrow::read(&arguments.why)?;
        let request = why::request(global, &arguments.packet, ends.source, ends.destination);
        let (_, answer) = why::answer(&system, &request)?;
        (path, visited) = trodden(&answer.steps);
    }
    let options = GraphOptions {
        family: global.family(),
        tables: &arguments.tables,
        hooks: &arguments.hooks,
        path: &path,
        visited: &visited,
    };
    let mut screen = Screen::stdout();
    screen.raw().write_all(draw(&system.rules, &options).as_bytes())?;
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
