//! What `fix` found: for a person, in a line, and to the letter of CLI.md in JSON.

pub(crate) mod ansible;
mod besides;
pub(crate) mod commands;
mod lasting;

pub(crate) use besides::warnings;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use nattrace_apply::Plan;
use nattrace_model::System;
use nattrace_verifier::check::{Finding, Status};
use nattrace_verifier::diff::Comparison;
use nattrace_verifier::repair::{Edit, End, Fix, Holder, Miss, Op, Setting};
use serde::ser::{Serialize, Serializer};

use super::check::{reason_words, status_name};
use super::diff::{self, Compared};
use super::words;

const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/fix/1";

/// How many lines a person is told of what else changes.
const MOST_EFFECTS: usize = 20;

/// How many edits may be allowed at most.
pub(crate) const MOST_ALLOWED: usize = 64;

/// Whether JSON is laid out for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Indented.
    Many,
    /// One line.
    One,
}

/// A change that was found.
pub(crate) struct Shown<'a> {
    /// The change.
    pub(crate) found: &'a Fix,
    /// The same for `apply`.
    pub(crate) plan: &'a Plan,
    /// The command that was given, without what says how to print it.
    pub(crate) command: &'a str,
    /// What else it does; nothing is said of it where it is not asked for.
    pub(crate) effects: &'a Comparison,
}

impl Shown<'_> {
    /// Whether everything holds with the change: nothing stays unknown.
    pub(crate) fn is_verified(&self) -> bool {
        self.found.after.iter().all(|finding| finding.status != Status::Unknown)
    }

    /// The change as JSON.
    pub(crate) fn json(&self, lines: Lines) -> String {
        let found = self.found;
        let whole = Whole {
            schema: SCHEMA,
            plan: Some(&self.plan.id),
            edits: &self.plan.edits,
            settings: settings(&found.settings),
            repairs: &found.repairs,
            side_effects: &Effects(Some(self)),
            verified: self.is_verified(),
            notes: Some(besides::of(found)),
            lasting: Some(lasting::of(&found.edits, &found.settings, &found.today)),
            nearest: None,
            obstacles: None,
        };
        written(&whole, lines)
    }

    /// A line for each edit.
    pub(crate) fn concise(&self) -> String {
        let found = self.found;
        let mut text = String::new();
        for edit in &found.edits {
            let _ = writeln!(text, "{} [{}]", words::visible(&edit.rule), doing(edit));
        }
        for setting in &found.settings {
            let _ = writeln!(text, "{}", setting.command());
        }
        for line in self.effect_lines(usize::MAX) {
            let _ = writeln!(text, "side effect: {line}");
        }
        for line in warnings(found) {
            let _ = writeln!(text, "note: {}", words::visible(&line));
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    /// What nobody may miss, as comments of a shell, of iptables-restore, and of YAML.
    pub(crate) fn comments(&self) -> String {
        let lines = warnings(self.found);
        lines.iter().map(|line| format!("# {}\n", words::visible(line))).collect()
    }

    fn compared(&self) -> Compared<'_> {
        let Fix { today, system, .. } = self.found;
        Compared { before: today, after: system, comparison: self.effects }
    }

    /// A line for each thing that changes beside what is to be changed.
    fn effect_lines(&self, most: usize) -> Vec<String> {
        let mut lines = match self.effects.changes.is_empty() {
            true => Vec::new(),
            false => diff::beside(&self.compared(), most),
        };
        if !self.effects.left.is_empty() {
            lines.push(
                "odd packets were not all compared, nor all ways where they are a great many: \
                 `nattrace diff --all` of the rules before and after tells more"
                    .to_owned(),
            );
        }
        lines
    }

    fn summary(&self) -> String {
        let count = self.found.edits.len();
        let edits = match (count, self.found.settings.len()) {
            (0, settings) => format!("{settings} setting{}", plural(settings)),
            (_, 0) => format!("{count} edit{}", plural(count)),
            (_, settings) => {
                format!("{count} edit{} and {settings} setting{}", plural(count), plural(settings))
            }
        };
        let entries = self.found.after.len();
        let unknown = self.found.after.iter().filter(|f| f.status == Status::Unknown).count();
        let verified = match unknown {
            0 => format!("all {entries} results of the policy hold then, for every packet"),
            unknown => format!("nothing fails then, but {unknown} of {entries} stay unknown"),
        };
        format!("{edits}: {verified}")
    }

    /// Everything, for a person.
    pub(crate) fn pretty(&self, width: usize) -> String {
        let found = self.found;
        let mut text = String::new();
        for finding in found.before.iter().filter(|f| f.status == Status::Fails) {
            text.push_str(&failing(finding));
        }
        let _ = writeln!(text, "\n{GOOD}{}{GOOD:#}\n", self.summary());
        for (number, edit) in (1..).zip(&found.edits) {
            let _ = writeln!(text, "  {number}. {BOLD}{}{BOLD:#}", doing(edit));
            if let Some(old) = &edit.replaces {
                let _ = writeln!(text, "       {BAD}-{BAD:#} {}", words::visible(old));
            }
            let (style, sign) = match edit.op {
                Op::Delete => (BAD, '-'),
                Op::Insert | Op::Replace | Op::Append => (GOOD, '+'),
            };
            let _ = writeln!(text, "       {style}{sign}{style:#} {}", words::visible(&edit.rule));
            let _ = writeln!(text, "       {DIM}{}{DIM:#}", words::visible(&edit.because));
        }
        for setting in &found.settings {
            let _ = writeln!(text, "  *  {BOLD}{}{BOLD:#}", words::visible(&setting.command()));
            let _ = writeln!(text, "       {DIM}{}{DIM:#}", words::visible(&setting.because));
        }
        text.push_str("\nWhat else changes\n");
        let lines = self.effect_lines(MOST_EFFECTS);
        if self.effects.changes.is_empty() {
            text.push_str("  nothing\n");
        }
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
        let besides = besides::of(found);
        if !besides.is_empty() {
            text.push_str("\nBesides\n");
        }
        for line in besides {
            text.push_str(&wrapped(&line, width));
        }
        text.push_str("\nHow long it lasts\n");
        for line in lasting::of(&found.edits, &found.settings, &found.today) {
            text.push_str(&wrapped(&line, width));
        }
        text.push_str("\nHow to make it\n");
        if !found.edits.is_empty() {
            let _ = writeln!(text, "  {} --format plan -o plan.json", words::visible(self.command));
            let _ = writeln!(text, "  nattrace apply plan.json      # undone unless confirmed");
            let _ = writeln!(text, "or by hand");
        }
        for line in commands::lines(&found.edits, &found.settings, &found.today) {
            let _ = writeln!(text, "  {}", words::visible(&line));
        }
        text
    }
}

/// What an edit does, and where.
fn doing(edit: &Edit) -> String {
    let Edit { place, position, .. } = edit;
    let program = commands::program(edit).unwrap_or("nft");
    let at = format!("{}/{}", place.holder.table(), place.chain);
    match (edit.op, place.holder) {
        (_, Holder::Own) => format!("{program}: a rule in a table of our own, {at}"),
        (Op::Insert, _) => format!("{program}: insert as rule {position} of {at}"),
        (Op::Replace, _) => format!("{program}: replace rule {position} of {at}"),
        (Op::Delete, _) => format!("{program}: delete rule {position} of {at}"),
        (Op::Append, _) => format!("{program}: append to {at}"),
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// An entry that does not hold, in a line.
fn failing(finding: &Finding) -> String {
    let reason = reason_words(finding).map(|reason| format!(": {reason}")).unwrap_or_default();
    let name = words::visible(&finding.name);
    format!("{BAD}{}{BAD:#}  {BOLD}{name}{BOLD:#}{reason}\n", status_name(finding.status))
}

/// A paragraph, indented.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = String::from("  -");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > width.max(40) {
            out.push_str(&line);
            out.push('\n');
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}

/// What else a change does, as `diff` tells it.
struct Effects<'a>(Option<&'a Shown<'a>>);

impl Serialize for Effects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(shown) => diff::Changes(&shown.compared()).serialize(serializer),
            None => serializer.collect_seq(std::iter::empty::<()>()),
        }
    }
}

/// Everything, in the order of CLI.md.
#[derive(serde::Serialize)]
struct Whole<'a> {
    schema: &'static str,
    plan: Option<&'a str>,
    edits: &'a [nattrace_apply::Edit],
    settings: Vec<SettingEntry<'a>>,
    repairs: &'a [String],
    side_effects: &'a Effects<'a>,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Nearest<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacles: Option<&'a [String]>,
}

impl Whole<'_> {
    /// Nothing to be done.
    const EMPTY: Self = Self {
        schema: SCHEMA,
        plan: None,
        edits: &[],
        settings: Vec::new(),
        repairs: &[],
        side_effects: &Effects(None),
        verified: false,
        notes: None,
        lasting: None,
        nearest: None,
        obstacles: None,
    };
}

/// A setting of the kernel.
#[derive(serde::Serialize)]
struct SettingEntry<'a> {
    name: &'a str,
    value: i64,
    command: String,
    because: &'a str,
}

impl<'a> From<&'a Setting> for SettingEntry<'a> {
    fn from(setting: &'a Setting) -> Self {
        let Setting { name, value, because } = setting;
        Self { name, value: *value, command: setting.command(), because }
    }
}

fn settings(settings: &[Setting]) -> Vec<SettingEntry<'_>> {
    settings.iter().map(SettingEntry::from).collect()
}

/// What mends the most.
#[derive(serde::Serialize)]
struct Nearest<'a> {
    edits: Vec<nattrace_apply::Edit>,
    settings: Vec<SettingEntry<'a>>,
    fails: Vec<&'a str>,
}

fn written(value: &Whole<'_>, lines: Lines) -> String {
    let text = match lines {
        Lines::Many => serde_json::to_string_pretty(value),
        Lines::One => serde_json::to_string(value),
    };
    // A value has nothing that can't be written.
    text.unwrap_or_default() + "\n"
}

/// Nothing fails.
pub(crate) fn holds(findings: &[Finding]) -> String {
    let unknown: Vec<&Finding> =
        findings.iter().filter(|finding| finding.status == Status::Unknown).collect();
    if unknown.is_empty() {
        return "the policy holds: nothing has to change\n".to_owned();
    }
    let mut text: String = unknown.iter().map(|finding| failing(finding)).collect();
    let _ =
        writeln!(text, "nothing fails, but {} of {} are unknown", unknown.len(), findings.len());
    text
}

/// The same as JSON.
pub(crate) fn holds_json(findings: &[Finding], lines: Lines) -> String {
    let verified = findings.iter().all(|finding| finding.status != Status::Unknown);
    written(&Whole { verified, ..Whole::EMPTY }, lines)
}

/// The entries that still do not hold.
fn left(miss: &Miss) -> impl Iterator<Item = &Finding> {
    miss.after.iter().filter(|finding| finding.status == Status::Fails)
}

/// None was found, in a line.
pub(crate) fn miss_line(miss: &Miss) -> String {
    let names: Vec<String> =
        left(miss).map(|finding| format!("`{}`", words::visible(&finding.name))).collect();
    let (tried, most) = (miss.tried, miss.most_edits);
    let still = names.join(", ");
    let further = match miss.end {
        End::MostEdits if most < MOST_ALLOWED => {
            format!(", and `--max-edits {}` allows more", (most * 2).min(MOST_ALLOWED))
        }
        End::MostTried => ", as many as ever are".to_owned(),
        End::MostTime => ", and then the time was up: `--max-seconds` gives more".to_owned(),
        End::Exhausted | End::MostEdits => String::new(),
    };
    format!(
        "no fix within {most} edit{} ({tried} sets of them tried{further}); what still fails with the nearest: {still}\n",
        plural(most)
    )
}

/// None was found, for a person.
pub(crate) fn miss(miss: &Miss, system: &System) -> String {
    let mut text = String::new();
    for finding in miss.before.iter().filter(|f| f.status == Status::Fails) {
        text.push_str(&failing(finding));
    }
    let _ = writeln!(text, "\n{BAD}{}{BAD:#}", miss_line(miss).trim_end());
    if !miss.obstacles.is_empty() {
        text.push_str("\nWhat is in the way\n");
        for obstacle in &miss.obstacles {
            let _ = writeln!(text, "  {}", words::visible(obstacle));
        }
    }
    if !miss.edits.is_empty() || !miss.settings.is_empty() {
        text.push_str("\nThe nearest\n");
        for line in commands::lines(&miss.edits, &miss.settings, system) {
            let _ = writeln!(text, "  {}", words::visible(&line));
        }
        text.push_str("with which\n");
        for finding in left(miss) {
            let _ = write!(text, "  {}", failing(finding));
        }
    }
    text
}

/// The same as JSON.
pub(crate) fn miss_json(miss: &Miss, edits: Vec<nattrace_apply::Edit>, lines: Lines) -> String {
    let fails = left(miss).map(|finding| finding.name.as_str()).collect();
    let nearest = Nearest { edits, settings: settings(&miss.settings), fails };
    let obstacles = Some(miss.obstacles.as_slice());
    written(&Whole { nearest: Some(nearest), obstacles, ..Whole::EMPTY }, lines)
}
