//! `nattrace audit`: what is wrong with a host although nobody wrote a policy.

use nattrace_parser::diagnostic::nearest;
use nattrace_verifier::audit::{self, Finding, Owners, Severity};

use crate::args::{Audit, FailOn, Format, Global};
use crate::exit::{Failure, Result, Status};
use crate::input::system;
use crate::output::context::Context;
use crate::output::finding;
use crate::output::json::Layout;
use crate::output::report;
use crate::output::screen::Screen;

/// Looks for everything, or for what was asked for.
pub(crate) fn run(global: &Global, arguments: &Audit) -> Result<Status> {
    if global.format().is_some_and(|format| format.is_drawing() || format.is_change()) {
        return Err(Failure::input(
            "`audit` prints pretty, concise, json, jsonl, sarif, junit, github or markdown",
        ));
    }
    arguments.only.iter().chain(&arguments.ignore).try_for_each(|code| require_known(code))?;
    let system = system::load(global)?;
    let owners = if arguments.all_owners { Owners::All } else { Owners::Hand };
    let mut findings = audit::audit(&system, owners);
    findings.retain(|finding| {
        let code = |wanted: &String| wanted == finding.code;
        let wanted = arguments.only.is_empty() || arguments.only.iter().any(code);
        wanted && !arguments.ignore.iter().any(code)
    });
    let context = Context::new(&system);
    let mut screen = Screen::stdout();
    match global.format().unwrap_or(Format::Pretty) {
        Format::Json => finding::write_json(screen.raw(), &context, &findings, Layout::Indented)?,
        Format::Jsonl => finding::write_json(screen.raw(), &context, &findings, Layout::Line)?,
        Format::Concise => {
            let lines: String =
                findings.iter().map(|found| finding::line(&context, found)).collect();
            screen.write_styled(&lines)?;
        }
        format if format.is_report() => {
            report::write(screen.raw(), &finding::report(&context, &findings), format)?;
        }
        _ => {
            let pages = findings.iter().map(|found| finding::pretty(&context, found));
            let mut text: String = pages.collect();
            text.push_str(&finding::summary(&findings));
            screen.write_styled(&text)?;
        }
    }
    screen.finish()?;
    Ok(status(&findings, arguments.fail_on))
}

fn require_known(code: &str) -> Result<()> {
    let codes = audit::codes();
    if codes.contains(&code) {
        return Ok(());
    }
    let failure = Failure::input(format!("unknown lint `{code}`"));
    Err(match nearest(code, codes.iter().copied()) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure.help(format!("the lints are {}", codes.join(", "))),
    })
}

fn status(findings: &[Finding], fail_on: FailOn) -> Status {
    let least = match fail_on {
        FailOn::Info => Severity::Info,
        FailOn::Warning => Severity::Warning,
        FailOn::Error => Severity::Error,
        FailOn::Never => return Status::Holds,
    };
    let counts = findings.iter().any(|finding| finding.severity >= least);
    if counts { Status::Fails } else { Status::Holds }
}
