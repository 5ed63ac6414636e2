//! `nattrace selftest`: whether this kernel does what is said about it.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use nattrace_corpus::selftest::{self, Description, Difference, Job, Report, Sample};
use nattrace_model::System;
use nattrace_model::simulate;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::{Format, Global, Packet, Selftest};
use crate::arrow::{self, Ends};
use crate::command::why::{self, Undo};
use crate::exit::{Failure, Result, Status};
use crate::input::{self, Input, Text, system};
use crate::output::context::Context;
use crate::output::diagnostic::print_note;
use crate::output::json::{self, Layout};
use crate::output::pretty;

/// The form of the JSON.
const SCHEMA: &str = "nattrace/selftest/1";

/// Compares the kernel with what is said about the host.
pub(crate) fn run(global: &Global, arguments: &Selftest) -> Result<Status> {
    if arguments.inside {
        selftest::serve(&mut io::stdin().lock(), &mut io::stdout().lock())?;
        return Ok(Status::Holds);
    }
    let format = global.format().unwrap_or(Format::Pretty);
    if format.is_drawing() || format.is_report() || format.is_change() {
        return Err(Failure::input("`selftest` prints pretty, concise, json or jsonl"));
    }
    if arguments.packets == 0 {
        return Err(Failure::input("`--packets 0` compares nothing").help("one or more"));
    }
    if arguments.words.is_empty() && arguments.packet != Packet::default() {
        return Err(Failure::input("expected `SRC -> DST` beside options that ask for a packet")
            .help("without a packet, a sample is drawn: `--packets`, `--seed`"));
    }
    let ends = match arguments.words.as_slice() {
        [] => None,
        words => Some(arrow::read(words)?),
    };
    let mut input = input::read(global)?;
    let system = system::of_input(global, &mut input)?;
    let mut undo = Undo::new(None);
    let sample = match ends {
        Some(Ends { source, destination, stray }) => {
            undo = Undo::new(stray);
            let request = why::request(global, &arguments.packet, source, destination);
            let (_, answer) =
                why::answer(&system, &request).map_err(|failure| undo.explain(failure))?;
            Sample::Given { flow: answer.flow }
        }
        None => Sample::Drawn {
            packets: arguments.packets,
            seed: arguments.seed.unwrap_or_else(by_clock),
        },
    };
    let result = compare(global, input, &system, &sample);
    let view = View { system: &system, sample: &sample, kernel: kernel(), result };
    let mut screen = undo.screen();
    match format {
        Format::Json => view.write_json(screen.raw(), Layout::Indented)?,
        Format::Jsonl => view.write_json(screen.raw(), Layout::Line)?,
        Format::Concise => screen.write_styled(&format!("{}\n", view.headline()))?,
        _ => {
            let page = view.page(screen.width());
            screen.write_styled(&page)?;
        }
    }
    screen.finish()?;
    Ok(view.status())
}

fn by_clock() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().map(|time| time.as_secs());
    since.unwrap_or_default()
}

/// The report, or why nothing could be compared.
type Compared = std::result::Result<Report, String>;

fn compare(global: &Global, input: Input, system: &System, sample: &Sample) -> Compared {
    let missing = selftest::missing(system);
    if !missing.is_empty() {
        return Err(missing.join(", "));
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let texts = |texts: Vec<Text>| -> Vec<(String, String)> {
        texts.into_iter().map(|Text { name, text }| (name, Arc::unwrap_or_clone(text))).collect()
    };
    let host = Description {
        parts: texts(input.parts),
        rules: texts(input.rules),
        family: global.family().map(|family| match family {
            nattrace_parser::syntax::Family::Ipv4 => 4,
            nattrace_parser::syntax::Family::Ipv6 => 6,
        }),
        legacy: global.backend().map(|backend| backend == nattrace_parser::syntax::Backend::Legacy),
    };
    print_note("rebuilding the host in a network namespace of its own");
    let job = Job { host, claimed: None, sample: sample.clone() };
    job.run(&program, &["selftest", "--inside"]).map_err(|error| error.to_string())
}

/// The kernel that was asked, such as `Linux 6.18.44`.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim()).trim_end().to_owned()
}

/// What came of it, for a reader.
struct View<'a> {
    system: &'a System,
    sample: &'a Sample,
    kernel: String,
    result: Compared,
}

impl View<'_> {
    fn status(&self) -> Status {
        match &self.result {
            Ok(Report { difference: Some(_), .. }) => Status::Fails,
            Ok(report) if report.agreed_in_all() > 0 => Status::Holds,
            Ok(_) | Err(_) => Status::Undetermined,
        }
    }

    /// The answer in one line.
    fn headline(&self) -> String {
        match &self.result {
            Err(why) => format!("nothing could be compared: {why}"),
            Ok(Report { difference: Some(difference), .. }) => {
                format!("your kernel does not agree: {}", difference.packet)
            }
            Ok(report) => match (report.agreed_in_all(), report.undetermined) {
                (0, 0) => {
                    let reasons: Vec<&str> = report.skipped.keys().map(String::as_str).collect();
                    let why = match reasons.as_slice() {
                        [] => "nobody on this host can send".to_owned(),
                        reasons => reasons.join(", "),
                    };
                    format!("nothing could be compared: {why}")
                }
                (0, _) => "nothing could be compared: the answer is undetermined".to_owned(),
                (1, _) => "your kernel agrees on 1 packet".to_owned(),
                (packets, _) => format!("your kernel agrees on {packets} packets"),
            },
        }
    }

    fn page(&self, width: usize) -> String {
        let mut page = self.headline() + "\n";
        let mut say = |text: String| {
            page.push_str("  ");
            page.push_str(&text);
            page.push('\n');
        };
        if let Ok(report) = &self.result {
            if let Sample::Drawn { seed, .. } = self.sample {
                say(format!("seed {seed}, {}", self.kernel));
            } else {
                say(self.kernel.clone());
            }
            if report.agreed_in_a_branch > 0 {
                say(format!("{} of them by one of several ways", report.agreed_in_a_branch));
            }
            if report.undetermined > 0 {
                say(format!("{} more are undetermined", report.undetermined));
            }
            for (why, packets) in &report.skipped {
                say(format!("{packets} not sent: {why}"));
            }
            for what in &report.not_rebuilt {
                say(format!("not rebuilt: {what}"));
            }
            if let Some(difference) = &report.difference {
                page.push_str(&self.story(difference, width));
            }
        }
        page
    }

    /// Both stories of a packet, and the rules.
    fn story(&self, difference: &Difference, width: usize) -> String {
        let mut page = "\nwhat differs\n".to_owned();
        for line in &difference.differences {
            page += &format!("  {line}\n");
        }
        let answer = simulate::why(self.system, &difference.flow);
        page += "\nwhat nattrace says\n";
        page += &pretty::render(&Context::new(self.system), &answer, width);
        page += "\nwhat the kernel did\n";
        for line in &difference.kernel {
            page += &format!("  {line}\n");
        }
        page += "\nthe rules\n";
        page + &difference.rules
    }

    fn write_json(&self, out: &mut impl Write, layout: Layout) -> io::Result<()> {
        let (report, because) = match &self.result {
            Ok(report) => {
                (report.clone(), (self.status() == Status::Undetermined).then(|| self.headline()))
            }
            Err(_) => (Report::default(), Some(self.headline())),
        };
        let told =
            report.difference.as_ref().map(|difference| self.told(difference)).transpose()?;
        let json = Json {
            schema: SCHEMA,
            kernel: &self.kernel,
            seed: match self.sample {
                Sample::Drawn { seed, .. } => Some(*seed),
                Sample::Given { .. } => None,
            },
            agreed: report.agreed_in_all(),
            agreed_in_a_branch: report.agreed_in_a_branch,
            undetermined: report.undetermined,
            skipped: report
                .skipped
                .iter()
                .map(|(why, packets)| JsonSkipped { why, packets: *packets })
                .collect(),
            not_rebuilt: &report.not_rebuilt,
            because,
            difference: told,
        };
        match layout {
            Layout::Indented => serde_json::to_writer_pretty(&mut *out, &json)?,
            Layout::Line => serde_json::to_writer(&mut *out, &json)?,
        }
        out.write_all(b"\n")
    }

    fn told<'d>(&self, difference: &'d Difference) -> io::Result<JsonDifference<'d>> {
        let answer = simulate::why(self.system, &difference.flow);
        let mut text = Vec::new();
        json::write_answer(&mut text, &Context::new(self.system), &answer, Layout::Line)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        Ok(JsonDifference {
            packet: &difference.packet,
            differences: &difference.differences,
            why: RawValue::from_string(text.trim_end().to_owned())?,
            kernel: &difference.kernel,
            rules: &difference.rules,
        })
    }
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    kernel: &'a str,
    seed: Option<u64>,
    agreed: u64,
    agreed_in_a_branch: u64,
    undetermined: u64,
    skipped: Vec<JsonSkipped<'a>>,
    not_rebuilt: &'a [String],
    because: Option<String>,
    difference: Option<JsonDifference<'a>>,
}

#[derive(Serialize)]
struct JsonSkipped<'a> {
    why: &'a str,
    packets: u64,
}

#[derive(Serialize)]
struct JsonDifference<'a> {
    packet: &'a str,
    differences: &'a [String],
    why: Box<RawValue>,
    kernel: &'a [String],
    rules: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn page_and_json(system: &System, result: Compared) -> (Status, String, serde_json::Value) {
        let sample = Sample::Drawn { packets: 3, seed: 7 };
        let view = View { system, sample: &sample, kernel: "Linux 6.18".into(), result };
        let mut json = Vec::new();
        view.write_json(&mut json, Layout::Line).unwrap();
        (view.status(), view.page(80), serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn a_difference_is_told_with_both_stories_and_the_rules() {
        let system = sample::system();
        let flow = sample::answer(&system).flow;
        let difference = Difference {
            packet: "in by eth0: a packet".to_owned(),
            differences: vec!["forth: nat/POSTROUTING/1 counts 0".to_owned()],
            kernel: vec!["forth: nothing leaves".to_owned()],
            rules: "*nat\nCOMMIT\n".to_owned(),
            flow,
        };
        let report = Report { agreed: 2, difference: Some(difference), ..Report::default() };
        let (status, page, json) = page_and_json(&system, Ok(report));
        assert_eq!(status, Status::Fails);
        assert!(page.starts_with("your kernel does not agree: in by eth0: a packet\n"), "{page}");
        let headings = ["what differs", "what nattrace says", "what the kernel did", "the rules"];
        let places: Vec<_> = headings.map(|heading| page.find(heading)).to_vec();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{page}");
        assert_eq!(json["difference"]["why"]["schema"], "nattrace/why/1");
        assert_eq!(json["difference"]["kernel"][0], "forth: nothing leaves");
    }

    #[test]
    fn what_could_not_be_compared_agrees_on_nothing() {
        let system = sample::system();
        let report = Report { undetermined: 3, ..Report::default() };
        for result in [Err("no iptables".to_owned()), Ok(report), Ok(Report::default())] {
            let (status, page, json) = page_and_json(&system, result);
            assert_eq!(status, Status::Undetermined, "{page}");
            assert!(page.starts_with("nothing could be compared: "), "{page}");
            assert!(json["because"].as_str().unwrap().starts_with("nothing could be compared: "));
        }
    }
}
