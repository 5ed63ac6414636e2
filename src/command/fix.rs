//! `nattrace fix`: the smallest change after which a policy holds.

mod plan;
mod written;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use clap::builder::PossibleValue;
use nattrace_model::System;
use nattrace_parser::policy::{self, Given, Policy};
use nattrace_verifier::check::{Finding, Status as Held};
use nattrace_verifier::diff::Comparison;
use nattrace_verifier::policy::unknown_names;
use nattrace_verifier::repair::{
    Fix as Found, Miss, Placement, Repair, Request, repair, side_effects,
};

use super::check::{self, DEFAULT};
use super::diff;
use crate::args::{Fix, FixPlace, Format, Global, MOST_EDITS, MOST_SECONDS};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Input, system};
use crate::output::diagnostic::{Source, print_diagnostics, print_failure, print_note};
use crate::output::fix::{self as shown, Shown};
use crate::output::screen::{self, Screen};
use written::Written;

/// Looks for a change, and prints it.
pub(crate) fn run(global: &Global, arguments: &Fix) -> Result<Status> {
    let format = global.format().unwrap_or(Format::Pretty);
    if format.is_drawing() || format.is_report() {
        return Err(Failure::input(
            "`fix` prints pretty, concise, json, jsonl, commands, restore, diff, file, plan or \
             ansible",
        ));
    }
    let path = arguments.policy.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
    let text = check::read_policy(&path)?;
    let name = path.display().to_string();
    let given = check::given(&arguments.given)?;
    let mut input = input::read(global)?;
    let (policy, system) = read(global, (&name, &text), &mut input)?;
    check::known(&given, &system)?;
    let command = command(global, arguments);
    let question = Question { name, text, policy, given: given.0, input, global, command };
    let repair = repair(&Request {
        policy: &question.policy,
        system: &system,
        given: &question.given,
        placement: placement(arguments.place),
        most_edits: usize::from(arguments.max_edits),
        until: Instant::now().checked_add(Duration::from_secs(arguments.max_seconds.into())),
    });
    let before = match &repair {
        Repair::Holds(findings) => findings,
        Repair::Found(found) => &found.before,
        Repair::NotFound(miss) => &miss.before,
    };
    for fault in before.iter().filter_map(|finding| finding.fault.as_deref()) {
        print_failure(&check::at_odds(fault.clone()));
    }
    let answer = match repair {
        Repair::Holds(findings) => holds(&question, &findings, format)?,
        Repair::Found(found) => fixed(&question, &found, format)?,
        Repair::NotFound(miss) => missed(&system, &miss, format),
    };
    write(arguments.output.as_deref(), &answer)?;
    Ok(answer.status)
}

/// What was asked, with the texts that it was read from.
struct Question<'a> {
    name: String,
    text: String,
    policy: Policy,
    given: Given,
    input: Input,
    global: &'a Global,
    command: String,
}

/// The command that was given, as a shell reads it, without what says how to print the answer.
fn command(global: &Global, arguments: &Fix) -> String {
    let path = |path: &Path| path.display().to_string();
    let mut words = vec!["nattrace".to_owned(), "fix".to_owned()];
    words.extend(arguments.policy.as_deref().map(path));
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([name.to_owned(), value]);
        }
    };
    let named = |value: Option<PossibleValue>| value.map(|value| value.get_name().to_owned());
    option("-s", global.snapshot.as_deref().map(path));
    for rules in &global.rules {
        option("--rules", Some(path(rules)));
    }
    option("--family", named(global.family.and_then(|family| family.to_possible_value())));
    option("--backend", named(global.backend.and_then(|backend| backend.to_possible_value())));
    for given in &arguments.given {
        option("--given", Some(given.clone()));
    }
    option("--place", named(arguments.place.and_then(|place| place.to_possible_value())));
    let many = arguments.max_edits != MOST_EDITS;
    option("--max-edits", many.then(|| arguments.max_edits.to_string()));
    let long = arguments.max_seconds != MOST_SECONDS;
    option("--max-seconds", long.then(|| arguments.max_seconds.to_string()));
    let words: Vec<String> = words.iter().map(|word| shown::commands::quoted(word)).collect();
    words.join(" ")
}

/// What is printed, and what the program ends with.
struct Reply {
    text: String,
    status: Status,
}

/// Reads the policy and the host; what is wrong with them is printed together.
fn read(
    global: &Global,
    (name, text): (&str, &str),
    input: &mut Input,
) -> Result<(Policy, System)> {
    let source = Source { name, text };
    let (mut policy, mut diagnostics) = policy::parse(text);
    let system = match system::of_input(global, input) {
        Ok(system) => system,
        Err(failure) => {
            let _ = print_diagnostics(diagnostics.iter().map(|found| (source, found)));
            return Err(failure);
        }
    };
    diagnostics.extend(unknown_names(&policy, &system));
    diagnostics.extend(check::expired(&mut policy));
    diagnostics.sort_by_key(|found| found.span);
    print_diagnostics(diagnostics.iter().map(|found| (source, found)))?;
    check::only_family(global, &mut policy);
    Ok((policy, system))
}

fn placement(place: Option<FixPlace>) -> Placement {
    match place {
        None => Placement::Lasting,
        Some(FixPlace::DockerUser) => Placement::DockerUser,
        Some(FixPlace::Iptables) => Placement::Iptables,
        Some(FixPlace::Nft) => Placement::Nft,
    }
}

/// Nothing fails: then nothing is to be done.
fn holds(question: &Question<'_>, findings: &[Finding], format: Format) -> Result<Reply> {
    let status = match findings.iter().any(|finding| finding.status == Held::Unknown) {
        true => Status::Undetermined,
        false => Status::Holds,
    };
    let text = match format {
        Format::File => {
            let written = Written::of(&question.input, question.global, &[])?;
            let one = written::only(&written, question.global.family())?;
            one.map_or_else(String::new, |written| written.before.clone())
        }
        Format::Plan => {
            print_note(shown::holds(findings).trim_end());
            String::new()
        }
        _ if format.is_change() => String::new(),
        Format::Json => shown::holds_json(findings, shown::Lines::Many),
        Format::Jsonl => shown::holds_json(findings, shown::Lines::One),
        _ => shown::holds(findings),
    };
    Ok(Reply { text, status })
}

/// A change was found.
fn fixed(question: &Question<'_>, found: &Found, format: Format) -> Result<Reply> {
    let written = Written::of(&question.input, question.global, &found.edits)?;
    let plan = plan::of(question, found, &written);
    // What is loaded or applied tells no side effects, and need not wait for them.
    let effects = match format.is_change() {
        true => Comparison::default(),
        false => side_effects(found, &question.policy, &question.given),
    };
    diff::tell_faults(&effects);
    let shown = Shown { found, plan: &plan, command: &question.command, effects: &effects };
    let text = match format {
        Format::Commands => shown::commands::script(&found.edits, &found.settings, &found.system),
        Format::Restore => {
            let family = question.global.family();
            shown::commands::restore(&found.edits, family).map_err(several)?
        }
        Format::Ansible => shown::ansible::tasks(&found.edits, &found.settings, &found.system),
        Format::Diff => written.iter().map(Written::diff).collect(),
        Format::File => {
            let one = written::only(&written, question.global.family())?;
            one.map_or_else(String::new, |written| written.after.clone())
        }
        Format::Plan => plan_text(&plan)?,
        Format::Json => shown.json(shown::Lines::Many),
        Format::Jsonl => shown.json(shown::Lines::One),
        Format::Concise => shown.concise(),
        _ => shown.pretty(screen::width_of(&std::io::stdout())),
    };
    let text = match format {
        Format::Plan => text,
        _ if format.is_change() => shown.comments() + &text,
        _ => text,
    };
    if format.is_change() {
        told_beside(found, format);
    }
    let status = match shown.is_verified() {
        true => Status::Holds,
        false => Status::Undetermined,
    };
    Ok(Reply { text, status })
}

fn plan_text(plan: &nattrace_apply::Plan) -> Result<String> {
    if plan.edits.is_empty() {
        return Err(Failure::input("no rule has to change, so there is no plan")
            .help("`--format commands` prints the settings that have to"));
    }
    Ok(plan.to_json())
}

/// What a form of the change can't hold is said beside it.
fn told_beside(found: &Found, format: Format) {
    let holds_settings = matches!(format, Format::Commands | Format::Ansible);
    for setting in found.settings.iter().filter(|_| !holds_settings) {
        print_note(format_args!(
            "this is needed too: `{}` ({})",
            setting.command(),
            setting.because
        ));
    }
    let own =
        found.edits.iter().any(|edit| edit.place.holder == nattrace_verifier::repair::Holder::Own);
    if own && matches!(format, Format::Restore | Format::Diff | Format::File) {
        print_note(
            "the edits of the table `nattrace` of nftables are not in it: `--format commands`",
        );
    }
}

fn several(families: shown::commands::Several) -> Failure {
    Failure::input(families.to_string())
        .help("choose one with `--family`, or take `--format commands`, which holds both")
}

/// None was found.
fn missed(system: &System, miss: &Miss, format: Format) -> Reply {
    let edits = miss.edits.iter().map(plan::edit).collect();
    let text = match format {
        Format::Json => shown::miss_json(miss, edits, shown::Lines::Many),
        Format::Jsonl => shown::miss_json(miss, edits, shown::Lines::One),
        Format::Concise => shown::miss_line(miss),
        Format::Pretty => shown::miss(miss, system),
        _ => {
            print_note(shown::miss_line(miss).trim_end());
            String::new()
        }
    };
    Reply { text, status: Status::Fails }
}

fn write(path: Option<&Path>, answer: &Reply) -> Result<()> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut screen = Screen::stdout();
        screen.write_styled(&answer.text)?;
        screen.finish()?;
        return Ok(());
    };
    if answer.text.is_empty() {
        // What is applied or loaded is not there where nothing has to change.
        return Ok(());
    }
    let plain = anstream::adapter::strip_str(&answer.text).to_string();
    fs::write(path, plain).map_err(|error| input::unwritable(path, &error))
}
