//! The rules files of ufw, as `ufw-init` of ufw 0.36 loads them.
//!
//! `before.rules`, `after.rules` and `user.rules` (with a 6 for IPv6) are loaded with
//! `iptables-restore --noflush` into chains that ufw-init makes and calls from the built-in ones.
//! The policies stand elsewhere, in /etc/default/ufw.

use std::borrow::Cow;

use super::{Options, Replay, RestoreLine, restore};
use crate::diagnostic::Diagnostic;
use crate::save::lines;
use crate::span::Span;
use crate::syntax::{Backend, Family, TableName, Target};

/// Whether a text is a rules file of ufw: it fills chains of ufw and declares no built-in chain,
/// as a dump does.
pub(crate) fn is_ufw(text: &str) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(text.as_bytes(), needle).is_some();
    (has(b"\n:ufw-") || has(b"\n:ufw6-")) && !has(b"\n:INPUT ") && !has(b"\n:OUTPUT ")
}

/// Loads a file.
pub(super) fn load<'a>(
    replay: &mut Replay<'a>,
    text: &'a str,
    backend: Backend,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let (family, six) = match text.contains("\n:ufw6-") {
        true => (Family::Ipv6, "6"),
        false => (Family::Ipv4, ""),
    };
    let begin = lines(text).find(|line| line.text.starts_with('*'));
    let (span, line) = begin.map_or((Span::default(), 1), |line| (line.span(), line.number));
    let set = replay.set(family, backend);
    let options = Options { keeps: true, ..Options::default() };
    let own = |set: &mut super::TableSet<'a>, text: String, out: &mut Vec<Diagnostic>| {
        let lines: Vec<RestoreLine<'a>> = text
            .lines()
            .map(|text| RestoreLine { text: Cow::Owned(text.to_owned()), span, line })
            .collect();
        restore(set, &lines, &options, out);
    };
    if !has_chain(set, &format!("ufw{six}-before-input")) {
        own(set, chains(six), diagnostics);
        let message =
            "the policies are taken to be ufw's own: DROP for INPUT and FORWARD, ACCEPT for OUTPUT";
        diagnostics.push(
            Diagnostic::note("ufw-policies-assumed", message, span)
                .help("/etc/default/ufw of the host tells"),
        );
    }
    let is_user = text.contains(&format!("\n:ufw{six}-user-input "));
    if is_user && !has_chain(set, &format!("ufw{six}-user-input")) {
        own(set, user_chains(six), diagnostics);
    }
    let given: Vec<RestoreLine<'a>> = lines(text)
        .map(|line| RestoreLine {
            text: Cow::Borrowed(line.text),
            span: line.span(),
            line: line.number,
        })
        .collect();
    restore(set, &given, &options, diagnostics);
    let hooked = take_hooks(set, six);
    if is_user || hooked {
        let directions = ["input", "output", "forward"];
        let hook = |way: &str| format!("-A ufw{six}-before-{way} -j ufw{six}-user-{way}\n");
        let hooks: String = directions.into_iter().map(hook).collect();
        own(set, format!("*filter\n{hooks}COMMIT\n"), diagnostics);
    }
}

fn has_chain(set: &super::TableSet<'_>, name: &str) -> bool {
    set.find(TableName::Filter).is_some_and(|state| state.chains.contains_key(name))
}

/// Takes out the calls of the user's chains, which come last whatever is loaded last.
fn take_hooks(set: &mut super::TableSet<'_>, six: &str) -> bool {
    let Some(state) = set.find_mut(TableName::Filter) else { return false };
    let mut taken = state.chains.contains_key(format!("ufw{six}-user-input").as_str());
    for way in ["input", "output", "forward"] {
        let user = format!("ufw{six}-user-{way}");
        let Some(chain) = state.chains.get_mut(format!("ufw{six}-before-{way}").as_str()) else {
            taken = false;
            continue;
        };
        chain.rules.retain(|rule| {
            let calls = matches!(&rule.target, Target::Jump(name, _) if *name == user);
            !(calls && rule.matches.is_empty() && rule.source.is_none())
        });
    }
    taken
}

/// What ufw-init makes before it loads a file.
fn chains(six: &str) -> String {
    let mut text = String::from("*filter\n");
    let mut rules = String::new();
    for (builtin, way) in [("INPUT", "input"), ("OUTPUT", "output"), ("FORWARD", "forward")] {
        for kind in ["before-logging", "before", "after", "after-logging", "reject", "track"] {
            text.push_str(&[":ufw", six, "-", kind, "-", way, " - [0:0]\n"].concat());
            rules.push_str(&["-A ", builtin, " -j ufw", six, "-", kind, "-", way, "\n"].concat());
        }
        let policy = if way == "output" { "ACCEPT" } else { "DROP" };
        text.push_str(&[":ufw", six, "-skip-to-policy-", way, " - [0:0]\n"].concat());
        rules.push_str(&["-A ufw", six, "-skip-to-policy-", way, " -j ", policy, "\n"].concat());
        text.push_str(&[":", builtin, " ", policy, " [0:0]\n"].concat());
    }
    for kind in ["deny", "allow"] {
        text.push_str(&[":ufw", six, "-logging-", kind, " - [0:0]\n"].concat());
    }
    for protocol in ["tcp", "udp"] {
        let front = ["-A ufw", six, "-track-output -p ", protocol].concat();
        rules.push_str(&front);
        rules.push_str(" -m conntrack --ctstate NEW -j ACCEPT\n");
    }
    text + &rules + "COMMIT\n"
}

fn user_chains(six: &str) -> String {
    let kinds = [
        "input",
        "output",
        "forward",
        "logging-input",
        "logging-output",
        "logging-forward",
        "limit",
        "limit-accept",
    ];
    let chain = |kind: &str| format!(":ufw{six}-user-{kind} - [0:0]\n");
    let chains: String = kinds.into_iter().map(chain).collect();
    format!("*filter\n{chains}COMMIT\n")
}
