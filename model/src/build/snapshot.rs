//! The texts of a snapshot: which part each of them is, and what stands in it.

use std::sync::Arc;

use nattrace_parser::diagnostic::{Diagnostic, Severity, nearest};
use nattrace_parser::host::snapshot::part_name;
use nattrace_parser::host::{
    address, bridge, docker, ipset, listener, nftables, route, rule, sysctl, zones,
};
use nattrace_parser::recognize;
use nattrace_parser::replay::Replay;
use nattrace_parser::save::{Origin, Outline};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{Backend, Family, RulesFormat, TableName};

use super::{Parts, build_host};
use crate::System;
use crate::host::{Assumption, Part};
use crate::infer::infer;
use crate::lower::{Drafted, Drafter, NativeInput, lower_drafts};

/// A named text: a file of a snapshot, or rules that were given on their own.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The name of the file, without folders.
    pub name: &'a str,
    /// What stands in it.
    pub text: &'a str,
}

/// The same, for a system to keep: its rules are quoted from their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedText {
    /// The name of the file, without folders.
    pub name: String,
    /// What stands in it; a dump may be large, so that it is not copied.
    pub text: Arc<String>,
}

impl From<&Text<'_>> for SharedText {
    fn from(text: &Text<'_>) -> Self {
        Self { name: text.name.to_owned(), text: Arc::new(text.text.to_owned()) }
    }
}

/// Something to say about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDiagnostic {
    /// The name of the text.
    pub part: String,
    /// What there is to say.
    pub diagnostic: Diagnostic,
}

/// A host that was read from texts.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The host with its rules. Not to be used where a diagnostic is an error.
    pub system: System,
    /// What there is to say about the texts, in their order.
    pub diagnostics: Vec<PartDiagnostic>,
}

impl Loaded {
    /// Whether a text can't be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.diagnostic.severity == Severity::Error)
    }
}

/// What rules given beside a snapshot are where neither their text nor their name tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// Their family; else IPv4.
    pub family: Option<Family>,
    /// Their backend; else the one that the host uses.
    pub backend: Option<Backend>,
}

/// Reads a host from the texts of a snapshot, and from rules given beside it, which replace the
/// tables of the snapshot that they contain.
#[must_use]
pub fn load(snapshot: &[Text<'_>], rules: &[Text<'_>]) -> Loaded {
    load_with(snapshot, rules, Untold::default())
}

/// The same, told what the given rules do not tell.
#[must_use]
pub fn load_with(snapshot: &[Text<'_>], rules: &[Text<'_>], untold: Untold) -> Loaded {
    let shared = |texts: &[Text<'_>]| texts.iter().map(SharedText::from).collect::<Vec<_>>();
    load_shared(&shared(snapshot), &shared(rules), untold)
}

/// The same, of texts that need no copy.
#[must_use]
pub fn load_shared(snapshot: &[SharedText], rules: &[SharedText], untold: Untold) -> Loaded {
    let chosen = Chosen::of(snapshot);
    let mut diagnostics = chosen.notes.clone();
    let mut parts = Parts::default();
    let mut texts: Vec<RulesText<'_>> = Vec::new();
    for (part, text) in &chosen.parts {
        match part {
            Part::Rules4 | Part::Rules6 | Part::LegacyRules4 | Part::LegacyRules6 => {
                parts.others.push(*part);
                // iptables-save prints nothing where there are no tables (kernel-facts A11).
                if !text.text.trim().is_empty() {
                    texts.push(RulesText { text, part: Some(*part) });
                }
            }
            _ => read(&mut parts, *part, text, &mut diagnostics),
        }
    }
    let mut native =
        chosen.parts.iter().find(|(part, _)| *part == Part::Nft).map(|(_, text)| *text);
    for text in rules {
        if nftables::is_json(&text.text) || nftables::is_listing(&text.text) {
            read(&mut parts, Part::Nft, text, &mut diagnostics);
            native = Some(text);
        } else {
            texts.push(RulesText { text, part: None });
        }
    }
    let (ruleset, found, hidden) = read_rules(&texts, native, untold, &mut parts);
    diagnostics.extend(found);
    let mut host = build_host(parts);
    host.assumptions.extend(hidden);
    infer(&mut host, &ruleset);
    host.assumptions.sort();
    host.assumptions.dedup();
    Loaded { system: System { host, rules: ruleset }, diagnostics }
}

/// The text for each part.
#[derive(Default)]
struct Chosen<'a> {
    parts: Vec<(Part, &'a SharedText)>,
    notes: Vec<PartDiagnostic>,
}

impl<'a> Chosen<'a> {
    /// Chooses the text of each part: JSON rather than a listing for people, iptables-save rather
    /// than `-S`, and that rather than `-L`.
    fn of(snapshot: &'a [SharedText]) -> Self {
        let mut chosen = Self::default();
        let named: Vec<(Part, u8, &SharedText)> = snapshot
            .iter()
            .filter_map(|text| {
                let (part, rank) = part_of(&text.name)?;
                Some((part, rank, text))
            })
            .collect();
        for part in Part::ALL {
            let mut candidates: Vec<&(Part, u8, &SharedText)> =
                named.iter().filter(|(candidate, ..)| *candidate == part).collect();
            candidates.sort_by_key(|(_, rank, text)| (*rank, &text.name));
            let mut candidates = candidates.into_iter();
            let Some((_, _, best)) = candidates.next() else { continue };
            chosen.parts.push((part, best));
            for (_, _, other) in candidates {
                let message = format!("not read: `{}` says the same", best.name);
                chosen.notes.push(note("not-read", &other.name, message, None));
            }
        }
        for text in snapshot {
            if part_of(&text.name).is_none() && !is_companion(&text.name) {
                let known = Part::ALL.map(Part::file_name);
                let help = nearest(&text.name, known).map(|near| format!("did you mean `{near}`?"));
                let message = format!("not read: `{}` is no part of a snapshot", text.name);
                chosen.notes.push(note("unknown-part", &text.name, message, help));
            }
        }
        chosen
    }
}

fn note(code: &'static str, name: &str, message: String, help: Option<String>) -> PartDiagnostic {
    let diagnostic = Diagnostic { help, ..Diagnostic::note(code, message, Span::default()) };
    PartDiagnostic { part: name.to_owned(), diagnostic }
}

/// Which part a file is by its name, and how good a form of it: the lower, the better.
#[must_use]
pub fn part_of(name: &str) -> Option<(Part, u8)> {
    let stem = name.strip_suffix(".txt").unwrap_or(name);
    if let Some(part) = Part::ALL.into_iter().find(|part| part.file_name() == stem) {
        return Some((part, 0));
    }
    // Without `.json`, or with it where the usual form has none.
    let bare = stem.strip_suffix(".json").unwrap_or(stem);
    let usual = |part: &Part| {
        let file = part.file_name();
        file.strip_suffix(".json").unwrap_or(file) == bare
    };
    if let Some(part) = Part::ALL.iter().find(|part| usual(part)) {
        return Some((*part, 1));
    }
    for (program, part) in [
        ("iptables-nft", Part::Rules4),
        ("ip6tables-nft", Part::Rules6),
        ("iptables-legacy", Part::LegacyRules4),
        ("ip6tables-legacy", Part::LegacyRules6),
        ("iptables", Part::Rules4),
        ("ip6tables", Part::Rules6),
    ] {
        let rank = match stem.strip_prefix(program) {
            Some("-save" | "-save-c" | ".save" | ".rules") => 2,
            Some("-S") => 3,
            Some("-Lnv" | "-Lvn" | "-nvL" | "-vnL" | "-Lv") => 4,
            Some("-L" | "-Ln" | "-nL") => 5,
            _ => continue,
        };
        return Some((part, rank));
    }
    match stem {
        "ss" | "ss-lntup" | "netstat" => Some((Part::Listeners, 2)),
        "ip-a" | "ip-address" => Some((Part::Addresses, 2)),
        "ip-r" => Some((Part::Routes4, 2)),
        _ => {
            let usual = part_name(stem)?;
            Some((Part::ALL.into_iter().find(|part| part.file_name() == usual)?, 6))
        }
    }
}

/// Files that lie beside a snapshot and are no part of it.
fn is_companion(name: &str) -> bool {
    let documentation =
        name.ends_with(".md") || name.starts_with("README") || name.starts_with('.');
    documentation
        || name.starts_with("observed.")
        || name == "nattrace.toml"
        || name == "policy.toml"
}

/// Reads one part that holds no rules.
fn read(parts: &mut Parts, part: Part, text: &SharedText, diagnostics: &mut Vec<PartDiagnostic>) {
    let source = text.text.as_str();
    let mut say = |found: Vec<Diagnostic>| {
        diagnostics.extend(
            found
                .into_iter()
                .map(|diagnostic| PartDiagnostic { part: text.name.clone(), diagnostic }),
        );
    };
    macro_rules! part {
        ($field:ident, $read:expr) => {{
            let (entries, mut found) = $read;
            if entries.is_empty() {
                refuse(&mut found);
            }
            say(found);
            parts.$field = Some(entries);
        }};
    }
    match part {
        Part::Addresses => part!(addresses, address::parse(source)),
        Part::Routes4 => part!(routes4, route::parse(source, Some(Family::Ipv4))),
        Part::Routes6 => part!(routes6, route::parse(source, Some(Family::Ipv6))),
        Part::PolicyRules4 => part!(rules4, rule::parse(source)),
        Part::PolicyRules6 => part!(rules6, rule::parse(source)),
        Part::BridgeLinks => part!(bridge_links, bridge::parse(source)),
        Part::Sysctl => {
            let (settings, found) = sysctl::parse(source);
            say(found);
            parts.sysctl = Some(settings);
        }
        Part::Listeners => part!(listeners, listener::parse(source)),
        Part::DockerNetworks => part!(networks, docker::parse_networks(source)),
        Part::DockerContainers => part!(containers, docker::parse_containers(source)),
        Part::Ipset => part!(sets, ipset::parse(source)),
        Part::Zones => part!(zones, zones::parse(source)),
        Part::Nft => {
            let (ruleset, mut found) = nftables::parse(source);
            if ruleset.is_empty() {
                refuse(&mut found);
            }
            say(found);
            parts.nftables = Some(ruleset);
        }
        Part::Rules4 | Part::Rules6 | Part::LegacyRules4 | Part::LegacyRules6 | Part::Conntrack => {
            parts.others.push(part)
        }
    }
}

/// A part of which nothing could be read is no such part: what was said about it is an error.
fn refuse(found: &mut [Diagnostic]) {
    let worst = found.iter_mut().max_by_key(|found| match found.severity {
        Severity::Note => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
    });
    if let Some(worst) = worst.filter(|worst| worst.severity == Severity::Warning) {
        worst.severity = Severity::Error;
    }
}

/// A text of rules, and what its name tells about it.
struct RulesText<'a> {
    text: &'a SharedText,
    part: Option<Part>,
}

impl<'a> RulesText<'a> {
    /// Cuts it as rules of the family that its part has, or that is said of what does not tell.
    fn outline(&self, untold: Untold) -> Outline<'a> {
        let of_part = self.part.map(|part| match part {
            Part::Rules6 | Part::LegacyRules6 => Family::Ipv6,
            _ => Family::Ipv4,
        });
        let known = Origin { family: of_part, backend: None };
        let outline = Outline::of(&self.text.text, known);
        let by_name = self.text.name.contains("ip6").then_some(Family::Ipv6);
        match (outline.family, untold.family.or(by_name)) {
            (None, family @ Some(_)) => Outline::of(&self.text.text, Origin { family, ..known }),
            _ => outline,
        }
    }

    /// Whether it begins with what the texts before it left: a script, a file of ufw.
    fn builds_on_others(&self) -> bool {
        self.part.is_none() && recognize(&self.text.text) == RulesFormat::Script
    }

    /// Something to say about it.
    fn diagnostic(&self, diagnostic: Diagnostic) -> PartDiagnostic {
        PartDiagnostic { part: self.text.name.clone(), diagnostic }
    }

    /// The family and backend: of its part, else as the text tells, else as its name does.
    fn loaded_as(
        &self,
        rules: &Outline<'_>,
        untold: Untold,
        of_snapshot: &[(Family, Backend)],
    ) -> (Family, Backend) {
        let part = self.part.map(|part| match part {
            Part::Rules6 => (Family::Ipv6, None),
            Part::LegacyRules4 => (Family::Ipv4, Some(Backend::Legacy)),
            Part::LegacyRules6 => (Family::Ipv6, Some(Backend::Legacy)),
            _ => (Family::Ipv4, None),
        });
        if let Some((family, backend)) = part {
            return (family, backend.or(rules.backend).unwrap_or(Backend::Nft));
        }
        let by_name = if self.text.name.contains("ip6") { Family::Ipv6 } else { Family::Ipv4 };
        let family = rules.family.or(untold.family).unwrap_or(by_name);
        // Rules that do not tell are loaded through what the host uses.
        let used =
            of_snapshot.iter().find(|(used, _)| *used == family).map(|(_, backend)| *backend);
        (family, rules.backend.or(untold.backend).or(used).unwrap_or(Backend::Nft))
    }
}

/// Parses and lowers the rules; those given beside the snapshot come last and so replace its own.
fn read_rules(
    texts: &[RulesText<'_>],
    native: Option<&SharedText>,
    untold: Untold,
    parts: &mut Parts,
) -> (crate::ruleset::Ruleset, Vec<PartDiagnostic>, Vec<Assumption>) {
    let mut diagnostics = Vec::new();
    let mut of_snapshot: Vec<(Family, Backend)> = Vec::new();
    let mut inputs: Vec<Drafted<'_>> = Vec::with_capacity(texts.len());
    // The text of each input.
    let mut texts_of: Vec<usize> = Vec::with_capacity(texts.len());
    let mut replay = Replay::default();
    // Only what builds on others needs to know what was there before it.
    let last = texts.iter().rposition(RulesText::builds_on_others);
    for (number, text) in texts.iter().enumerate() {
        let index = inputs.len();
        if text.builds_on_others() {
            let backend = untold.backend.or(of_snapshot.first().map(|(_, backend)| *backend));
            let source = u16::try_from(index).unwrap_or(u16::MAX);
            let (left, found) =
                replay.script(&text.text.text, backend.unwrap_or(Backend::Nft), source);
            diagnostics.extend(found.into_iter().map(|diagnostic| text.diagnostic(diagnostic)));
            for rules in left {
                let family = rules.family.unwrap_or(Family::Ipv4);
                let backend = rules.backend.unwrap_or(Backend::Nft);
                of_snapshot.push((family, backend));
                parts.others.push(part_for(family, backend));
                let mut drafter = Drafter::new(index, family);
                let rules = rules.map(|rule| drafter.draft(&rule));
                let SharedText { name, text } = text.text;
                inputs.push(Drafted { name, text, rules, family, backend });
                texts_of.push(number);
            }
            continue;
        }
        let outline = text.outline(untold);
        let (family, backend) = text.loaded_as(&outline, untold, &of_snapshot);
        of_snapshot.push((family, backend));
        if text.part.is_none() {
            parts.others.push(part_for(family, backend));
        }
        let (rules, found) = if last.is_some_and(|last| number < last) {
            let (rules, found) = outline.read(|| |rule| rule);
            let source = u16::try_from(index).unwrap_or(u16::MAX);
            replay.start_from(&rules, family, backend, source);
            let mut drafter = Drafter::new(index, family);
            (rules.map(|rule| drafter.draft(&rule)), found)
        } else {
            outline.read(|| {
                let mut drafter = Drafter::new(index, family);
                move |rule| drafter.draft(&rule)
            })
        };
        texts_of.push(number);
        diagnostics.extend(found.into_iter().map(|diagnostic| text.diagnostic(diagnostic)));
        let SharedText { name, text } = text.text;
        inputs.push(Drafted { name, text, rules, family, backend });
    }
    let hidden: Vec<Assumption> = [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .filter_map(|family| tables_not_shown(&inputs, family))
        .collect();
    let native_input = native
        .zip(parts.nftables.as_ref())
        .map(|(SharedText { name, text }, ruleset)| NativeInput { name, text, ruleset });
    let (ruleset, found) = lower_drafts(inputs, native_input);
    let of_native = |diagnostic| Some(PartDiagnostic { part: native?.name.clone(), diagnostic });
    diagnostics.extend(found.into_iter().filter_map(|(input, diagnostic)| {
        match texts_of.get(input).and_then(|number| texts.get(*number)) {
            Some(text) => Some(text.diagnostic(diagnostic)),
            None => of_native(diagnostic),
        }
    }));
    (ruleset, diagnostics, hidden)
}

/// The part that holds the rules of a family and backend.
fn part_for(family: Family, backend: Backend) -> Part {
    match (family, backend) {
        (Family::Ipv4, Backend::Nft) => Part::Rules4,
        (Family::Ipv6, Backend::Nft) => Part::Rules6,
        (Family::Ipv4, Backend::Legacy) => Part::LegacyRules4,
        (Family::Ipv6, Backend::Legacy) => Part::LegacyRules6,
    }
}

/// What is assumed of the tables that no text shows: only iptables-save prints all that there are,
/// `iptables -L` and `-S` print one.
fn tables_not_shown(inputs: &[Drafted<'_>], family: Family) -> Option<Assumption> {
    let of_family = || inputs.iter().filter(|input| input.family == family);
    let whole = of_family().any(|input| input.rules.format == RulesFormat::Save);
    let shown = |name: TableName| {
        of_family().any(|input| input.rules.tables.iter().any(|table| table.name == name))
    };
    let names = |wanted: bool| {
        let tables = TableName::ALL.into_iter().filter(|table| shown(*table) == wanted);
        tables.map(TableName::as_str).collect::<Vec<_>>()
    };
    let (there, missing) = (names(true), names(false));
    if whole || there.is_empty() || missing.is_empty() {
        return None;
    }
    let (version, save) = match family {
        Family::Ipv4 => (4, Part::Rules4.file_name()),
        Family::Ipv6 => (6, Part::Rules6.file_name()),
    };
    Some(Assumption {
        code: "tables-not-shown",
        text: format!(
            "of the IPv{version} tables nothing but {} is shown; {} are taken to let everything \
             pass unchanged ({save} settles it)",
            there.join(" and "),
            missing.join(", ")
        ),
    })
}
