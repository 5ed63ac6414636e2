//! `nattrace check`: whether a policy holds for every packet.

mod baseline;
mod engine;
mod init;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nattrace_model::System;
use nattrace_parser::policy::{self, Families, Given, Policy, Suppressed, parse_given};
use nattrace_parser::{Diagnostic, Severity};
use nattrace_verifier::check::{Disagreement, Finding, Status as Held};
use nattrace_verifier::policy::{schema, unknown_given, unknown_names};

use crate::args::{Check, CheckFailOn, Format, Global};
use crate::command::baseline::Document;
use crate::exit::{Failure, Result, Status};
use crate::input::{self, system};
use crate::output::check::{self as shown, Checked};
use crate::output::diagnostic::{Source, print_diagnostics, print_note};
use crate::output::document;
use crate::output::json::Layout;
use crate::output::report;
use crate::output::report::files::Files;
use crate::output::screen::Screen;
use baseline::Baseline;

/// The policy that is taken where none is named.
pub(super) const DEFAULT: &str = "nattrace.toml";

/// Checks a policy, writes one, or prints the schema.
pub(crate) fn run(global: &Global, arguments: &Check) -> Result<Status> {
    if arguments.schema {
        let layout = document::layout(global, "check --schema")?.unwrap_or(Layout::Indented);
        document::print(&schema(), layout)?;
        return Ok(Status::Holds);
    }
    engine::refuse_missing(arguments)?;
    let path = arguments.policy.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
    if arguments.init {
        return init::run(global, arguments.policy.as_deref());
    }
    let format = global.format().unwrap_or(Format::Pretty);
    if format.is_drawing() || format.is_change() {
        return Err(Failure::input(
            "`check` prints pretty, concise, json, jsonl, sarif, junit, github or markdown",
        ));
    }
    let text = read_policy(&path)?;
    let name = path.display().to_string();
    let source = Source { name: &name, text: &text };
    let (mut policy, mut diagnostics) = policy::parse(&text);
    let given = given(&arguments.given)?;
    let system = match system::load(global) {
        Ok(system) => system,
        Err(failure) => {
            // All faults of the policy come out of the same run.
            let _ = print_diagnostics(diagnostics.iter().map(|found| (source, found)));
            return Err(failure);
        }
    };
    if policy.entries.is_empty() && diagnostics.is_empty() {
        print_note(format_args!("`{name}` has no entries, so it proves nothing"));
    }
    diagnostics.extend(unknown_names(&policy, &system));
    let expired = expired(&mut policy);
    diagnostics.extend(expired);
    diagnostics.sort_by_key(|found| found.span);
    print_diagnostics(diagnostics.iter().map(|found| (source, found)))?;
    known(&given, &system)?;
    only_family(global, &mut policy);
    if let Some(folder) = &arguments.emit_smt2 {
        engine::emit(folder, &policy, &system, &given.0)?;
    }
    let findings = engine::check(arguments, &policy, &system, &given.0)?;
    let baseline = arguments.baseline.as_deref().map(Baseline::read).transpose()?;
    if let Some(path) = &arguments.write_baseline {
        Baseline::of(&findings).write(path)?;
    }
    let excuses = excuses(&policy, &findings, baseline.as_ref());
    let files = Files::of(global);
    let checked =
        Checked { policy: &name, text: &text, findings: &findings, excuses: &excuses, files };
    print(&checked, format)?;
    Ok(status(&findings, &excuses, arguments.fail_on))
}

/// Prints the result.
fn print(checked: &Checked<'_>, format: Format) -> Result<()> {
    let mut screen = Screen::stdout();
    match format {
        Format::Json => shown::write_json(screen.raw(), checked, Layout::Indented)?,
        Format::Jsonl => shown::write_json(screen.raw(), checked, Layout::Line)?,
        Format::Concise => screen.write_styled(&shown::concise(checked))?,
        Format::Sarif | Format::Junit | Format::Github | Format::Markdown => {
            report::write(screen.raw(), &checked.report(), format)?;
        }
        _ => {
            let width = screen.width();
            screen.write_styled(&shown::pretty(checked, width))?;
        }
    }
    screen.finish()?;
    Ok(())
}

pub(super) fn read_policy(path: &Path) -> Result<String> {
    let text = input::read_text(path);
    if path == Path::new(DEFAULT) {
        return text.map_err(|failure| {
            failure.help(format!(
                "`nattrace check --init > {DEFAULT}` writes a policy from what holds today"
            ))
        });
    }
    text
}

/// `--given`, all of them together, with the texts that messages point into.
pub(super) fn given(texts: &[String]) -> Result<(Given, Vec<(String, Given)>)> {
    let mut all = Given::default();
    let mut each = Vec::new();
    for text in texts {
        let (given, diagnostics) = parse_given(text);
        let source = Source { name: "--given", text };
        print_diagnostics(diagnostics.iter().map(|found| (source, found)))?;
        all.extend(given.clone());
        each.push((text.clone(), given));
    }
    Ok((all, each))
}

/// Fails where `--given` names what the host does not have.
pub(super) fn known((_, each): &(Given, Vec<(String, Given)>), system: &System) -> Result<()> {
    for (text, given) in each {
        let found = unknown_given(given, system);
        // The text may have been written out in full: then places do not fit, but the words do.
        let source = Source { name: "--given", text };
        print_diagnostics(found.iter().map(|found| (source, found)))?;
    }
    Ok(())
}

/// With `--family`, entries are about that family only.
pub(super) fn only_family(global: &Global, policy: &mut Policy) {
    let Some(family) = global.family() else { return };
    policy.entries.retain(|entry| match entry.families {
        Some(Families::One(own)) => own == family,
        Some(Families::Both) | None => true,
    });
    for entry in &mut policy.entries {
        entry.families = Some(Families::One(family));
    }
}

/// Takes out the suppressions whose time is over, and says so.
pub(super) fn expired(policy: &mut Policy) -> Vec<Diagnostic> {
    let today = today();
    let mut found = Vec::new();
    policy.suppressions.retain(|suppression| match &suppression.until {
        Some(until) if until.value < today => {
            let (year, month, day) = until.value;
            let message = format!("this suppression ended on {year:04}-{month:02}-{day:02}");
            let warning = Diagnostic::warning("suppression-expired", message, until.span);
            found.push(warning.help("fix what it is about, or give it another day and a reason"));
            false
        }
        _ => true,
    });
    debug_assert!(found.iter().all(|found| found.severity == Severity::Warning));
    found
}

/// The day in UTC.
fn today() -> (u16, u8, u8) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    day_of(since.as_secs() / 86_400)
}

/// The date of a day since 1970-01-01 (Howard Hinnant, `civil_from_days`).
fn day_of(days: u64) -> (u16, u8, u8) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let small = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
    (u16::try_from(year).unwrap_or(u16::MAX), small(month), small(day))
}

/// Why findings do not count, by their index.
fn excuses(
    policy: &Policy,
    findings: &[Finding],
    baseline: Option<&Baseline>,
) -> BTreeMap<usize, String> {
    let mut excuses = BTreeMap::new();
    for (index, finding) in findings.iter().enumerate() {
        if finding.status == Held::Holds {
            continue;
        }
        let suppression = policy.suppressions.iter().find(|suppression| {
            matches!(&suppression.what, Suppressed::Entry(name) if name.value == finding.name)
        });
        if let Some(suppression) = suppression {
            excuses.insert(index, format!("suppressed: {}", suppression.reason.value));
        } else if baseline.is_some_and(|baseline| baseline.knows(finding)) {
            excuses.insert(index, "in the baseline".to_owned());
        }
    }
    excuses
}

fn status(findings: &[Finding], excuses: &BTreeMap<usize, String>, fail_on: CheckFailOn) -> Status {
    let open = findings.iter().enumerate().filter(|(index, _)| !excuses.contains_key(index));
    let worst = open.map(|(_, finding)| finding.status).max();
    match (worst, fail_on) {
        (_, CheckFailOn::Never) | (None | Some(Held::Holds), _) => Status::Holds,
        (Some(Held::Fails), _) | (Some(Held::Unknown), CheckFailOn::Unknown) => Status::Fails,
        (Some(Held::Unknown), CheckFailOn::Fails) => Status::Undetermined,
    }
}

/// Engines or simulator disagree: no answer can be trusted.
pub(super) fn at_odds(fault: Disagreement) -> Failure {
    Failure::Fault(fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day_of(0), (1970, 1, 1));
        assert_eq!(day_of(11_016), (2000, 2, 29));
        assert_eq!(day_of(20_453), (2025, 12, 31));
        assert_eq!(day_of(20_778), (2026, 11, 21));
    }
}
