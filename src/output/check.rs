//! What came of a policy: for a person, in a line each, and to the letter of CLI.md in JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use nattrace_parser::policy::{Families, Kind};
use nattrace_parser::syntax::Family;
use nattrace_verifier::check::{Counterexample, Finding, Nothing, Reason, Status};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use super::context::Context;
use super::json::{self, Layout};
use super::report::files::Files;
use super::report::{Item, Level, Place, Report};
use super::{names, pretty as page, words};

const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const OPEN: Style = AnsiColor::Yellow.on_default().bold();

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/check/1";

/// How wide the pages of counterexamples are where no screen shows them.
const PAGE_WIDTH: usize = 100;

/// What came of a policy.
pub(crate) struct Checked<'a> {
    /// The name of its file.
    pub(crate) policy: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
    /// What came of its entries.
    pub(crate) findings: &'a [Finding],
    /// Why some do not count, by their index.
    pub(crate) excuses: &'a BTreeMap<usize, String>,
    /// Where the parts of the host lie.
    pub(crate) files: Files,
}

/// The word for a status.
pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Holds => "holds",
        Status::Fails => "fails",
        Status::Unknown => "unknown",
    }
}

/// The word for families.
pub(crate) fn family_name(families: Families) -> &'static str {
    match families {
        Families::One(Family::Ipv4) => "ipv4",
        Families::One(Family::Ipv6) => "ipv6",
        Families::Both => "both",
    }
}

/// The code of the page about entries of a kind.
fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::Egress => "policy-egress",
        Kind::Allow => "policy-allow",
        Kind::Deny => "policy-deny",
        Kind::Isolate => "policy-isolate",
    }
}

/// Why an entry does not hold, in one line.
pub(crate) fn reason_words(finding: &Finding) -> Option<String> {
    let reason = finding.reason.as_ref()?;
    let example = finding.counterexamples.first();
    Some(match reason {
        Reason::LeavesAs { interface: Some(interface), source } => {
            format!("leaves {} as {source}", words::visible(interface))
        }
        Reason::LeavesAs { interface: None, source } => format!("reaches this host as {source}"),
        Reason::Experiences(outcome) => {
            let outcome = names::outcome(*outcome);
            match example {
                Some(example) => format!("{outcome}: {}", fate(example)),
                None => outcome.to_owned(),
            }
        }
        Reason::ArrivesAt { interface, destination, port } => {
            let to = words::socket(*destination, *port);
            format!("arrives at {to}{} instead", by(interface.as_deref()))
        }
        Reason::Lands { interface, destination, port } => {
            let to = words::socket(*destination, *port);
            format!("lands at {to}{}", by(interface.as_deref()))
        }
        Reason::Proxied { destination, port } => {
            format!("docker-proxy connects it to {}", words::socket(*destination, Some(*port)))
        }
        Reason::Vacuous(Nothing::Sent) => {
            "vacuous: there are no such packets on this host".to_owned()
        }
        Reason::Vacuous(Nothing::GetsThere) => "vacuous: no packet gets there at all".to_owned(),
        Reason::Undetermined(why) => words::visible(why),
    })
}

fn by(interface: Option<&str>) -> String {
    match interface {
        Some(interface) => format!(" by {}", words::visible(interface)),
        None => " of this host".to_owned(),
    }
}

/// What becomes of a counterexample, and why.
fn fate(example: &Counterexample) -> String {
    let context = Context::new(&example.system);
    let mut text = words::verdict_words(&context, &example.answer);
    if let Some(because) = &example.answer.because {
        let _ = write!(text, ": {}", words::visible(because));
    }
    text
}

/// The packet of a counterexample, in one line.
fn packet_words(example: &Counterexample) -> String {
    let context = Context::new(&example.system);
    let (source, destination) = words::flow_ends(&example.flow);
    let source = context.named(source, example.flow.source);
    let destination = context.named(destination, example.flow.destination);
    let protocol = words::protocol_words(&example.flow);
    let by = match &example.flow.in_interface {
        Some(interface) => format!("in by {}", words::visible(interface)),
        None => "from a local process".to_owned(),
    };
    format!("{source} -> {destination}, {protocol}, {by}")
}

impl Checked<'_> {
    fn excuse(&self, index: usize) -> Option<&str> {
        self.excuses.get(&index).map(String::as_str)
    }

    /// How many fare so.
    fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }

    /// The same in the shape that the other formats take.
    pub(crate) fn report(&self) -> Report<'_> {
        let item = |(index, finding): (usize, &Finding)| {
            let reason = reason_words(finding).unwrap_or_default();
            let example = finding.counterexamples.first();
            let packet = example.map(|example| format!(" (packet: {})", packet_words(example)));
            let family = family_name(finding.families);
            Item {
                code: code(finding.kind),
                title: words::visible(&finding.name),
                level: match finding.status {
                    Status::Holds => Level::Pass,
                    Status::Unknown => Level::Warning,
                    Status::Fails => Level::Error,
                },
                message: format!("{reason}{}", packet.unwrap_or_default()),
                place: Some(Place::of(self.policy, self.text, finding.span)),
                decided_at: example.and_then(|example| decided_at(&self.files, example)),
                page: pages(finding, PAGE_WIDTH),
                excuse: self.excuse(index).map(str::to_owned),
                fingerprint: format!("{}/{}/{family}", finding.kind.as_str(), finding.name),
            }
        };
        let items = self.findings.iter().enumerate().map(item).collect();
        let summary = summary(self).trim_end().to_owned();
        let fails_from = Some(Level::Warning);
        Report { command: "check", subject: self.policy, summary, items, fails_from }
    }
}

/// The rule that decided about a counterexample.
fn decided_at(files: &Files, example: &Counterexample) -> Option<Place> {
    use nattrace_model::answer::Step;
    let answer = &example.answer;
    match answer.steps.get(answer.decided_by?)? {
        Step::Rule { rule, .. } => {
            let context = Context::new(&example.system);
            files.place(&words::rule_place(&context, *rule))
        }
        Step::Return { .. }
        | Step::Policy { .. }
        | Step::Conntrack { .. }
        | Step::Route { .. }
        | Step::Socket { .. } => None,
    }
}

/// Every counterexample of a finding with its whole way.
fn pages(finding: &Finding, width: usize) -> String {
    let mut text = String::new();
    for example in &finding.counterexamples {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&page::render(&Context::new(&example.system), &example.answer, width));
    }
    if finding.counterexamples.is_empty() {
        for assumption in finding.assumptions.iter().filter(|_| finding.status != Status::Holds) {
            let _ =
                writeln!(text, "note: {} [{}]", words::visible(&assumption.text), assumption.code);
        }
    }
    text
}

/// One line: the status, the name, and why.
fn line(checked: &Checked<'_>, index: usize, finding: &Finding) -> String {
    let style = match finding.status {
        Status::Holds => GOOD,
        Status::Fails => BAD,
        Status::Unknown => OPEN,
    };
    let name = words::visible(&finding.name);
    let status = status_name(finding.status);
    let family = match finding.families {
        Families::Both => "both families",
        one => family_name(one),
    };
    let mut text = format!("{style}{status:<7}{style:#}  {BOLD}{name}{BOLD:#} ({family})");
    if let Some(reason) = reason_words(finding) {
        let _ = write!(text, ": {reason}");
    }
    if let Some(excuse) = checked.excuse(index) {
        let _ = write!(text, " [does not count: {}]", words::visible(excuse));
    }
    text.push('\n');
    text
}

fn summary(checked: &Checked<'_>) -> String {
    let mut text = format!(
        "{} hold, {} fail, {} unknown",
        checked.count(Status::Holds),
        checked.count(Status::Fails),
        checked.count(Status::Unknown)
    );
    if !checked.excuses.is_empty() {
        let _ = write!(text, "; {} of them do not count", checked.excuses.len());
    }
    text.push('\n');
    text
}

/// A line for each entry.
pub(crate) fn concise(checked: &Checked<'_>) -> String {
    let lines = checked.findings.iter().enumerate().map(|(index, finding)| {
        let mut text = line(checked, index, finding);
        if let Some(example) = finding.counterexamples.first() {
            text.pop();
            let _ = writeln!(text, " [{}]", packet_words(example));
        }
        text
    });
    lines.collect::<String>() + &summary(checked)
}

/// A line for each entry, and under those that fail the packet that shows it, with its whole way.
pub(crate) fn pretty(checked: &Checked<'_>, width: usize) -> String {
    let mut text = String::new();
    for (index, finding) in checked.findings.iter().enumerate() {
        text.push_str(&line(checked, index, finding));
        let pages = pages(finding, width.saturating_sub(4).max(40));
        if !pages.is_empty() {
            text.push('\n');
            for line in pages.lines() {
                let indent = if line.is_empty() { "" } else { "    " };
                let _ = writeln!(text, "{indent}{line}");
            }
            text.push('\n');
        }
    }
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    text + &summary(checked)
}

/// Writes the JSON; a line for each entry where `layout` says so.
pub(crate) fn write_json(
    out: &mut impl Write,
    checked: &Checked<'_>,
    layout: Layout,
) -> io::Result<()> {
    match layout {
        Layout::Indented => {
            serde_json::to_writer_pretty(&mut *out, &Whole(checked))?;
            out.write_all(b"\n")
        }
        Layout::Line => {
            for (index, finding) in checked.findings.iter().enumerate() {
                let entry = Entry { checked, index, finding, schema: Some(SCHEMA) };
                serde_json::to_writer(&mut *out, &entry)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        }
    }
}

/// Everything.
struct Whole<'a>(&'a Checked<'a>);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let checked = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", SCHEMA)?;
        map.serialize_entry("results", &Results(checked))?;
        map.serialize_entry("summary", &Summary(checked))?;
        map.end()
    }
}

/// How many there are of each status.
struct Summary<'a>(&'a Checked<'a>);

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let statuses = [Status::Holds, Status::Fails, Status::Unknown];
        serializer.collect_map(statuses.map(|status| (status_name(status), self.0.count(status))))
    }
}

struct Results<'a>(&'a Checked<'a>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.findings.len()))?;
        for (index, finding) in self.0.findings.iter().enumerate() {
            list.serialize_element(&Entry { checked: self.0, index, finding, schema: None })?;
        }
        list.end()
    }
}

/// One result.
struct Entry<'a> {
    checked: &'a Checked<'a>,
    index: usize,
    finding: &'a Finding,
    /// The shape's name, where the result stands alone.
    schema: Option<&'static str>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let finding = self.finding;
        let mut map = serializer.serialize_map(None)?;
        if let Some(schema) = self.schema {
            map.serialize_entry("schema", schema)?;
        }
        map.serialize_entry("name", &finding.name)?;
        map.serialize_entry("kind", finding.kind.as_str())?;
        map.serialize_entry("status", status_name(finding.status))?;
        map.serialize_entry("family", family_name(finding.families))?;
        map.serialize_entry("reason", &reason_words(finding))?;
        let examples: Vec<Example<'_>> = finding.counterexamples.iter().map(Example).collect();
        map.serialize_entry("counterexamples", &examples)?;
        map.serialize_entry("proved_by", &finding.proved_by)?;
        let assumptions: Vec<BTreeMap<&str, &str>> = finding
            .assumptions
            .iter()
            .map(|known| BTreeMap::from([("code", known.code), ("text", known.text.as_str())]))
            .collect();
        map.serialize_entry("assumptions", &assumptions)?;
        if let Some(excuse) = self.checked.excuse(self.index) {
            map.serialize_entry("suppressed", excuse)?;
        }
        map.end()
    }
}

/// A counterexample.
struct Example<'a>(&'a Counterexample);

impl Serialize for Example<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let context = Context::new(&self.0.system);
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("why", &json::answer_value(&context, &self.0.answer))?;
        map.end()
    }
}
