//! What became of a transaction, for people and for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use nattrace_apply::{Entry, Phase, Refusal};
use serde::{Serialize, Serializer};

use crate::args::Format;
use crate::output::screen::Screen;
use crate::output::words::visible;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Nothing was touched.
    Refused,
    /// Nothing was touched, as was asked for.
    DryRun,
    /// It is in the kernel for good.
    Confirmed,
    /// It was taken back.
    RolledBack,
    /// What was missing of it is in the kernel again.
    LoadedAgain,
}

/// What became of one transaction.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    /// Its name.
    pub(crate) id: String,
    /// How it stands.
    #[serde(rename = "status")]
    pub(crate) standing: Standing,
    /// Why it was taken back.
    pub(crate) reason: Option<String>,
    /// Why it was not begun.
    #[serde(serialize_with = "refusals")]
    pub(crate) refusals: Vec<Refusal>,
    /// The commands that load it.
    pub(crate) commands: Vec<String>,
    /// Open connections that keep the translation that they have.
    pub(crate) flows: Vec<String>,
    /// What else there is to say.
    pub(crate) notes: Vec<String>,
}

fn refusals<S: Serializer>(refusals: &[Refusal], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written<'a> {
        message: &'a str,
        help: Option<&'a str>,
        force: Option<&'static str>,
    }
    serializer.collect_seq(refusals.iter().map(|refusal| Written {
        message: &refusal.message,
        help: refusal.help.as_deref(),
        force: refusal.force.map(nattrace_apply::Override::as_str),
    }))
}

impl Report {
    /// One of which nothing is known yet.
    pub(crate) fn new(id: &str) -> Self {
        Self {
            schema: "nattrace/apply/1",
            id: id.to_owned(),
            standing: Standing::Refused,
            reason: None,
            refusals: Vec::new(),
            commands: Vec::new(),
            flows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Prints it.
    pub(crate) fn write(&self, screen: &mut Screen, format: Format) -> io::Result<()> {
        match format {
            Format::Json | Format::Jsonl => write_json(screen, self, format),
            Format::Concise => screen.write_styled(&format!("{}\n", self.headline())),
            _ => screen.write_styled(&self.page()),
        }
    }

    fn headline(&self) -> String {
        let id = visible(&self.id);
        match self.standing {
            Standing::Refused => {
                let why: Vec<String> =
                    self.refusals.iter().map(|refusal| visible(&refusal.message)).collect();
                format!("{BAD}refused{BAD:#} {id}, nothing was touched: {}", why.join("; "))
            }
            Standing::DryRun => format!("{GOOD}would load{GOOD:#} {id}; nothing was touched"),
            Standing::Confirmed => format!("{GOOD}confirmed{GOOD:#} {id}: the new rules stay"),
            Standing::RolledBack => match &self.reason {
                Some(why) => {
                    format!(
                        "{BAD}rolled back{BAD:#} {id}, the old rules are back: {}",
                        visible(why)
                    )
                }
                None => format!("{BAD}rolled back{BAD:#} {id}: the old rules are back"),
            },
            Standing::LoadedAgain => format!("{GOOD}loaded again{GOOD:#} {id}"),
        }
    }

    fn page(&self) -> String {
        let mut page = String::new();
        // Writing into a string can't fail.
        if self.standing == Standing::DryRun {
            for command in &self.commands {
                let _ = writeln!(page, "{command}");
            }
        }
        match self.standing {
            Standing::Refused => {
                let id = visible(&self.id);
                let _ = writeln!(page, "{BAD}refused{BAD:#} {id}, nothing was touched");
            }
            _ => {
                let _ = writeln!(page, "{}", self.headline());
            }
        }
        page.push_str(&told(&self.refusals));
        if !self.flows.is_empty() {
            let _ = writeln!(page, "  open connections that go on as before (--flush-flows):");
            for flow in &self.flows {
                let _ = writeln!(page, "    {flow}");
            }
        }
        for note in &self.notes {
            let _ = writeln!(page, "  {DIM}note: {}{DIM:#}", visible(note));
        }
        page
    }
}

/// Refusals for people, with what can be done about each.
fn told(refusals: &[Refusal]) -> String {
    let mut page = String::new();
    for refusal in refusals {
        // Writing into a string can't fail.
        let _ = writeln!(page, "  {}", visible(&refusal.message));
        if let Some(help) = &refusal.help {
            let _ = writeln!(page, "    help: {}", visible(help));
        }
        if let Some(force) = refusal.force {
            let _ = writeln!(page, "    {DIM}--force {} overrides this{DIM:#}", force.as_str());
        }
    }
    page
}

/// A transaction that waits.
#[derive(Debug, Serialize)]
pub(crate) struct Pending {
    /// Its name.
    pub(crate) id: String,
    /// How far it is.
    pub(crate) phase: Phase,
    /// How long it waits.
    pub(crate) seconds_left: u64,
    /// Whether a watchdog lives.
    pub(crate) watched: bool,
    /// How many edits it has.
    pub(crate) edits: usize,
    /// How many of them are in the kernel.
    pub(crate) in_place: usize,
}

/// A transaction that was confirmed.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    /// Its name.
    pub(crate) id: String,
    /// How many edits it has.
    pub(crate) edits: usize,
    /// How many of them are in the kernel.
    pub(crate) in_place: usize,
    /// Whether a unit loads it again.
    pub(crate) persists: bool,
}

/// All there is.
#[derive(Debug)]
pub(crate) struct Overview {
    /// What waits.
    pub(crate) pending: Option<Pending>,
    /// What was kept.
    pub(crate) kept: Vec<Kept>,
    /// What happened.
    pub(crate) log: Vec<Entry>,
}

impl Overview {
    /// Prints it.
    pub(crate) fn write(&self, screen: &mut Screen, format: Format) -> io::Result<()> {
        #[derive(Serialize)]
        struct Written<'a> {
            schema: &'static str,
            pending: Option<&'a Pending>,
            kept: &'a [Kept],
            log: &'a [Entry],
        }
        if matches!(format, Format::Json | Format::Jsonl) {
            let schema = "nattrace/status/1";
            let Self { pending, kept, log } = self;
            let pending = pending.as_ref();
            return write_json(screen, &Written { schema, pending, kept, log }, format);
        }
        let mut page = String::new();
        match &self.pending {
            None => page.push_str("nothing is pending\n"),
            Some(Pending { id, seconds_left, watched, edits, in_place, phase }) => {
                let id = visible(id);
                let doing = match phase {
                    Phase::Loading => "is being loaded".to_owned(),
                    Phase::Waiting | Phase::Kept => {
                        format!("waits {seconds_left} s for `nattrace confirm {id}`")
                    }
                };
                let watched = if *watched { "" } else { ", without a watchdog" };
                let _ = writeln!(
                    page,
                    "pending {id} {doing}: {in_place} of {edits} edits in place{watched}"
                );
            }
        }
        for Kept { id, edits, in_place, persists } in &self.kept {
            let unit = if *persists { ", loaded again after Docker and a reboot" } else { "" };
            let id = visible(id);
            let _ = writeln!(page, "kept {id}: {in_place} of {edits} edits in place{unit}");
        }
        screen.write_styled(&page)
    }
}

/// What `uninstall` did.
#[derive(Debug)]
pub(crate) struct Removed {
    /// One line each.
    pub(crate) done: Vec<String>,
    /// Why nothing was touched.
    pub(crate) refusals: Vec<Refusal>,
}

impl Removed {
    /// Prints it.
    pub(crate) fn write(&self, screen: &mut Screen, format: Format) -> io::Result<()> {
        #[derive(Serialize)]
        struct Written<'a> {
            schema: &'static str,
            done: &'a [String],
            #[serde(serialize_with = "refusals")]
            refusals: &'a [Refusal],
        }
        let Self { done, refusals } = self;
        if matches!(format, Format::Json | Format::Jsonl) {
            let written = Written { schema: "nattrace/uninstall/1", done, refusals };
            return write_json(screen, &written, format);
        }
        if !refusals.is_empty() {
            let page = told(refusals);
            return screen
                .write_styled(&format!("{BAD}refused{BAD:#}, nothing was touched\n{page}"));
        }
        if self.done.is_empty() {
            return screen.write_styled("there was nothing to remove\n");
        }
        let lines: String = self.done.iter().map(|line| format!("{}\n", visible(line))).collect();
        screen.write_styled(&lines)
    }
}

fn write_json(screen: &mut Screen, value: &impl Serialize, format: Format) -> io::Result<()> {
    let out = screen.raw();
    match format {
        Format::Jsonl => serde_json::to_writer(&mut *out, value)?,
        _ => serde_json::to_writer_pretty(&mut *out, value)?,
    }
    out.write_all(b"\n")
}
