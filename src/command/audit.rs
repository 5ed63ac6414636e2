//! `nattrace audit`: what is wrong with a host although nobody wrote a policy.

mod baseline;

use std::collections::BTreeMap;
use std::path::Path;

use nattrace_parser::diagnostic::nearest;
use nattrace_parser::policy::{self, Suppressed, Suppression};
use nattrace_verifier::audit::{self, Finding, Owners, Severity, allowances};
use nattrace_verifier::policy::unknown_codes;

use crate::args::{Audit, FailOn, Format, Global};
use crate::command::baseline::Document;
use crate::exit::{Failure, Result, Status};
use crate::input::system;
use crate::output::context::Context;
use crate::output::diagnostic::{Source, print_diagnostics, print_note};
use crate::output::finding::{self, Audited};
use crate::output::json::Layout;
use crate::output::report;
use crate::output::report::files::Files;
use crate::output::screen::Screen;
use baseline::Baseline;

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
    let excuses = excuses(arguments, &context, &findings)?;
    let audited = Audited { context: &context, findings: &findings, excuses: &excuses };
    if let Some(path) = &arguments.write_baseline {
        Baseline::of(&audited).write(path)?;
    }
    let mut screen = Screen::stdout();
    match global.format().unwrap_or(Format::Pretty) {
        Format::Json => finding::write_json(screen.raw(), &audited, Layout::Indented)?,
        Format::Jsonl => finding::write_json(screen.raw(), &audited, Layout::Line)?,
        Format::Concise => screen.write_styled(&audited.concise())?,
        format if format.is_report() => {
            let mut report =
                finding::report(&audited, &Files::of(global), least(arguments.fail_on));
            if format == Format::Junit {
                report.items.extend(passed(arguments, &findings));
            }
            report::write(screen.raw(), &report, format)?;
        }
        _ => screen.write_styled(&audited.pretty())?,
    }
    screen.finish()?;
    Ok(status(&audited, arguments.fail_on))
}

/// The lints that were looked for and found nothing.
fn passed(arguments: &Audit, findings: &[Finding]) -> Vec<report::Item> {
    let wanted = |code: &str| {
        let named = |list: &[String]| list.iter().any(|own| own == code);
        (arguments.only.is_empty() || named(&arguments.only)) && !named(&arguments.ignore)
    };
    let found = |code: &str| findings.iter().any(|finding| finding.code == code);
    let clean = audit::codes().into_iter().filter(|code| wanted(code) && !found(code));
    clean.map(finding::clean).collect()
}

/// Why findings do not count, by their index: rules say it in their comments, the policy in its
/// suppressions, or they are in the baseline.
fn excuses(
    arguments: &Audit,
    context: &Context<'_>,
    findings: &[Finding],
) -> Result<BTreeMap<usize, String>> {
    let rules = &context.system.rules;
    let (allowed, unclear) = allowances(rules);
    for own in unclear {
        let place = rules.rule(own.rule).map(|rule| rules.place(rule)).unwrap_or_default();
        print_note(format_args!("{place}: {} (help: {})", own.message, own.help));
    }
    let suppressions = suppressions(arguments)?;
    let baseline = arguments.baseline.as_deref().map(Baseline::read).transpose()?;
    let mut excuses = BTreeMap::new();
    let mut suppressed = 0;
    for (index, finding) in findings.iter().enumerate() {
        let allowance =
            allowed.iter().find(|own| Some(own.rule) == finding.rule && own.code == finding.code);
        let suppression = suppressions.iter().find(
            |own| matches!(&own.what, Suppressed::Finding(code) if code.value == finding.code),
        );
        if let Some(allowance) = allowance {
            excuses.insert(index, format!("allowed: {}", allowance.reason));
        } else if let Some(suppression) = suppression {
            excuses.insert(index, format!("suppressed: {}", suppression.reason.value));
            suppressed += 1;
        } else if baseline.as_ref().is_some_and(|baseline| baseline.knows(context, finding)) {
            excuses.insert(index, "in the baseline".to_owned());
        }
    }
    if suppressed > 0 && arguments.policy.is_none() {
        print_note(format_args!(
            "`{}` lies here, and its suppressions hold (`--policy FILE` names another)",
            super::check::DEFAULT
        ));
    }
    Ok(excuses)
}

/// The suppressions of the policy that was named, or that lies here.
fn suppressions(arguments: &Audit) -> Result<Vec<Suppression>> {
    let here = Path::new(super::check::DEFAULT);
    let path = match &arguments.policy {
        Some(path) => path,
        None if here.is_file() => here,
        None => return Ok(Vec::new()),
    };
    let text = super::check::read_policy(path)?;
    let name = path.display().to_string();
    let source = Source { name: &name, text: &text };
    let (mut policy, mut diagnostics) = policy::parse(&text);
    diagnostics.extend(unknown_codes(&policy));
    diagnostics.extend(super::check::expired(&mut policy));
    diagnostics.sort_by_key(|found| found.span);
    print_diagnostics(diagnostics.iter().map(|found| (source, found)))?;
    Ok(policy.suppressions)
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

/// The least severity that counts.
fn least(fail_on: FailOn) -> Option<Severity> {
    match fail_on {
        FailOn::Info => Some(Severity::Info),
        FailOn::Warning => Some(Severity::Warning),
        FailOn::Error => Some(Severity::Error),
        FailOn::Never => None,
    }
}

fn status(audited: &Audited<'_>, fail_on: FailOn) -> Status {
    let Some(least) = least(fail_on) else { return Status::Holds };
    let mut open = (0..).zip(audited.findings).filter(|(at, _)| !audited.excuses.contains_key(at));
    let counts = open.any(|(_, finding)| finding.severity >= least);
    if counts { Status::Fails } else { Status::Holds }
}
