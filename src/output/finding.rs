//! Findings of the audit.

use std::fmt::Write;
use std::io;

use anstyle::{AnsiColor, Style};
use nattrace_model::answer::Answer;
use nattrace_model::owner::Owner;
use nattrace_verifier::audit::{Finding, Severity};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::concise;
use super::context::Context;
use super::json::{Layout, answer_value};
use super::report::{Item, Level, Place, Report};
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

/// The finding for a person, with an empty line behind it.
pub(crate) fn pretty(context: &Context<'_>, finding: &Finding) -> String {
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
pub(crate) fn line(context: &Context<'_>, finding: &Finding) -> String {
    let place = rule(context, finding).map(|(place, _)| format!("{}:", words::visible(&place)));
    format!(
        "{}{}[{}]: {}\n",
        place.unwrap_or_default(),
        finding.severity.as_str(),
        finding.code,
        words::visible(&finding.message)
    )
}

/// How many there are of each severity.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let told =
        [(Severity::Error, "error"), (Severity::Warning, "warning")].map(|(severity, name)| {
            let count = count(severity);
            format!("{count} {name}{}", if count == 1 { "" } else { "s" })
        });
    format!("{}, {}, {} info\n", told[0], told[1], count(Severity::Info))
}

/// Where the rule stands, and its text.
fn rule<'a>(context: &Context<'a>, finding: &Finding) -> Option<(String, &'a str)> {
    let rules = &context.system.rules;
    let rule = rules.rule(finding.rule?)?;
    Some((rules.place(rule), rules.text(rule)))
}

/// The findings in the shape that the formats for other programs take.
pub(crate) fn report(context: &Context<'_>, findings: &[Finding]) -> Report<'static> {
    let item = |finding: &Finding| {
        let at = rule(context, finding);
        let text = at.as_ref().map_or("", |(_, text)| *text);
        Item {
            code: finding.code,
            title: words::visible(&finding.message),
            level: match finding.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
                Severity::Info => Level::Info,
            },
            message: words::visible(&finding.effect),
            place: at.as_ref().and_then(|(place, _)| Place::of_rule(place)),
            decided_at: None,
            page: pretty(context, finding),
            excuse: None,
            fingerprint: format!("{}/{text}", finding.code),
        }
    };
    Report {
        command: "audit",
        subject: "this host",
        summary: summary(findings).trim_end().to_owned(),
        items: findings.iter().map(item).collect(),
    }
}

/// The command that shows the witness again.
pub(crate) fn replay(answer: &Answer) -> String {
    words::replay(&answer.flow)
}

/// Writes all findings as one document, or each on a line.
pub(crate) fn write_json(
    out: &mut impl io::Write,
    context: &Context<'_>,
    findings: &[Finding],
    layout: Layout,
) -> io::Result<()> {
    match layout {
        Layout::Indented => {
            serde_json::to_writer_pretty(&mut *out, &Document { context, findings })?;
            out.write_all(b"\n")
        }
        Layout::Line => findings.iter().try_for_each(|finding| {
            serde_json::to_writer(&mut *out, &Entry { context, finding })?;
            out.write_all(b"\n")
        }),
    }
}

struct Document<'a> {
    context: &'a Context<'a>,
    findings: &'a [Finding],
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries: Vec<Entry<'_>> =
            self.findings.iter().map(|finding| Entry { context: self.context, finding }).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("schema", "nattrace/audit/1")?;
        map.serialize_entry("findings", &entries)?;
        map.end()
    }
}

struct Entry<'a> {
    context: &'a Context<'a>,
    finding: &'a Finding,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { context, finding } = self;
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
        map.end()
    }
}
