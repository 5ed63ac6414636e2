//! Findings of the audit.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use anstyle::{AnsiColor, Style};
use nattrace_model::answer::Answer;
use nattrace_model::owner::Owner;
use nattrace_parser::syntax::Family;
use nattrace_verifier::audit::{Finding, Severity};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::concise;
use super::context::Context;
use super::json::{Layout, answer_value};
use super::report::files::Files;
use super::report::{Item, Level, Report};
use super::words;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default().bold(),
        Severity::Info => AnsiColor::Cyan.on_default().bold(),
    }
}

/// What the audit found.
pub(crate) struct Audited<'a> {
    /// The host.
    pub(crate) context: &'a Context<'a>,
    /// What was found.
    pub(crate) findings: &'a [Finding],
    /// Why some do not count, by their index.
    pub(crate) excuses: &'a BTreeMap<usize, String>,
}

impl Audited<'_> {
    /// Each finding, with why it does not count.
    fn each(&self) -> impl Iterator<Item = (&Finding, Option<&str>)> {
        let excuse = |index| self.excuses.get(&index).map(String::as_str);
        self.findings.iter().enumerate().map(move |(index, finding)| (finding, excuse(index)))
    }

    /// All of it for a person.
    pub(crate) fn pretty(&self) -> String {
        let each = self.each().map(|(finding, excuse)| pretty(self.context, finding, excuse));
        each.collect::<String>() + &self.summary()
    }

    /// A line for each.
    pub(crate) fn concise(&self) -> String {
        self.each().map(|(finding, excuse)| line(self.context, finding, excuse)).collect()
    }

    /// How many there are of each severity.
    fn summary(&self) -> String {
        let count = |severity| {
            let counted = self.each().filter(|(_, excuse)| excuse.is_none());
            counted.filter(|(finding, _)| finding.severity == severity).count()
        };
        let told =
            [(Severity::Error, "error"), (Severity::Warning, "warning")].map(|(severity, name)| {
                let count = count(severity);
                format!("{count} {name}{}", if count == 1 { "" } else { "s" })
            });
        let mut text = format!("{}, {}, {} info", told[0], told[1], count(Severity::Info));
        if !self.excuses.is_empty() {
            let _ = write!(text, "; {} more that do not count", self.excuses.len());
        }
        text + "\n"
    }
}

/// The finding for a person, with an empty line behind it.
fn pretty(context: &Context<'_>, finding: &Finding, excuse: Option<&str>) -> String {
    let mut text = String::new();
    let (severity, code) = (finding.severity.as_str(), finding.code);
    let color = style(finding.severity);
    let message = words::visible(&finding.message);
    let _ = writeln!(text, "{color}{severity}[{code}]{color:#}{BOLD}: {message}{BOLD:#}");
    if let Some((place, rule)) = rule(context, finding) {
        let _ = writeln!(text, "  {DIM}-->{DIM:#} {}", words::visible(&place));
        let _ = writeln!(text, "   {DIM}|{DIM:#} {}", words::visible(rule));
        let marked = Some(finding.marked.as_str()).filter(|words| !words.is_empty());
        if let Some(at) = marked.and_then(|words| rule.find(words)) {
            let before = " ".repeat(rule.get(..at).unwrap_or_default().chars().count());
            let line = "^".repeat(finding.marked.chars().count());
            let _ = writeln!(text, "   {DIM}|{DIM:#} {before}{color}{line}{color:#}");
        }
    }
    let mut row = |name: &str, words: &str| {
        let _ = writeln!(text, "   {DIM}={DIM:#} {BOLD}{name}{BOLD:#}: {words}");
    };
    if let Some(excuse) = excuse {
        row("does not count", &words::visible(excuse));
    }
    row("effect", &words::visible(&finding.effect));
    if let Some(witness) = &finding.witness {
        row("witness", &concise::render(context, witness));
    }
    row("help", &words::visible(&finding.help));
    if let Some(witness) = &finding.witness {
        row("replay", &replay(witness));
    }
    text.push('\n');
    text
}

/// The finding in one line.
fn line(context: &Context<'_>, finding: &Finding, excuse: Option<&str>) -> String {
    let place = rule(context, finding).map(|(place, _)| format!("{}:", words::visible(&place)));
    let excuse = excuse.map(|excuse| format!(" [does not count: {}]", words::visible(excuse)));
    format!(
        "{}{}[{}]: {}{}\n",
        place.unwrap_or_default(),
        finding.severity.as_str(),
        finding.code,
        words::visible(&finding.message),
        excuse.unwrap_or_default(),
    )
}

/// What stays the same of a finding from run to run: neither line numbers nor counters.
pub(crate) fn fingerprint(context: &Context<'_>, finding: &Finding) -> String {
    let rules = &context.system.rules;
    let own = finding.rule.and_then(|id| Some((rules.chain(id.chain)?, rules.rule(id)?)));
    match own {
        Some((chain, rule)) => {
            let family = match chain.family {
                Family::Ipv4 => "ipv4",
                Family::Ipv6 => "ipv6",
            };
            format!("{}/{family}/{}/{}", finding.code, chain.table.as_str(), rules.text(rule))
        }
        None => format!("{}/{}", finding.code, finding.message),
    }
}

/// Where the rule stands, and its text.
fn rule<'a>(context: &Context<'a>, finding: &Finding) -> Option<(String, &'a str)> {
    let rules = &context.system.rules;
    let rule = rules.rule(finding.rule.or(finding.shown)?)?;
    Some((rules.place(rule), rules.text(rule)))
}

/// The findings in the shape that the formats for other programs take.
pub(crate) fn report(
    audited: &Audited<'_>,
    files: &Files,
    fails_from: Option<Severity>,
) -> Report<'static> {
    let context = audited.context;
    let item = |(finding, excuse): (&Finding, Option<&str>)| {
        let at = rule(context, finding);
        Item {
            code: finding.code,
            title: words::visible(&finding.message),
            level: level(finding.severity),
            message: words::visible(&finding.effect),
            place: at.as_ref().and_then(|(place, _)| files.place(place)),
            decided_at: None,
            page: pretty(context, finding, None),
            excuse: excuse.map(words::visible),
            fingerprint: fingerprint(context, finding),
        }
    };
    Report {
        command: "audit",
        subject: "this host",
        summary: audited.summary().trim_end().to_owned(),
        items: audited.each().map(item).collect(),
        fails_from: fails_from.map(level),
    }
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
        Severity::Info => Level::Info,
    }
}

/// A lint that found nothing, for formats that tell of what is in order too.
pub(crate) fn clean(code: &'static str) -> Item {
    Item {
        code,
        title: code.to_owned(),
        level: Level::Pass,
        message: String::new(),
        place: None,
        decided_at: None,
        page: String::new(),
        excuse: None,
        fingerprint: code.to_owned(),
    }
}

/// The command that shows the witness again.
pub(crate) fn replay(answer: &Answer) -> String {
    words::replay(&answer.flow)
}

/// Writes all findings as one document, or each on a line.
pub(crate) fn write_json(
    out: &mut impl io::Write,
    audited: &Audited<'_>,
    layout: Layout,
) -> io::Result<()> {
    match layout {
        Layout::Indented => {
            serde_json::to_writer_pretty(&mut *out, &Document(audited))?;
            out.write_all(b"\n")
        }
        Layout::Line => audited.each().try_for_each(|(finding, excuse)| {
            let context = audited.context;
            serde_json::to_writer(&mut *out, &Entry { context, finding, excuse })?;
            out.write_all(b"\n")
        }),
    }
}

struct Document<'a>(&'a Audited<'a>);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let context = self.0.context;
        let entries: Vec<Entry<'_>> =
            self.0.each().map(|(finding, excuse)| Entry { context, finding, excuse }).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("schema", "nattrace/audit/1")?;
        map.serialize_entry("findings", &entries)?;
        map.end()
    }
}

struct Entry<'a> {
    context: &'a Context<'a>,
    finding: &'a Finding,
    excuse: Option<&'a str>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { context, finding, excuse } = self;
        let (at, text) = rule(context, finding).unzip();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", finding.code)?;
        map.serialize_entry("severity", finding.severity.as_str())?;
        map.serialize_entry("owner", finding.owner.map_or("host", Owner::as_str))?;
        map.serialize_entry("at", &at)?;
        map.serialize_entry("text", &text)?;
        map.serialize_entry("message", &finding.message)?;
        map.serialize_entry("effect", &finding.effect)?;
        map.serialize_entry("help", &finding.help)?;
        map.serialize_entry("fix", &finding.fix)?;
        let witness = finding.witness.as_deref().map(|answer| answer_value(context, answer));
        map.serialize_entry("witness", &witness)?;
        map.serialize_entry("replay", &finding.witness.as_deref().map(replay))?;
        if let Some(excuse) = excuse {
            map.serialize_entry("suppressed", excuse)?;
        }
        map.end()
    }
}
