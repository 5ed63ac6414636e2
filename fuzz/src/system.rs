//! Whole hosts: real snapshots with disturbed lines, and questions about them.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use nattrace_model::System;
use nattrace_model::answer::{Answer, Step};
use nattrace_model::build::{Loaded, Text, load};
use nattrace_model::endpoint::{Argument, FlowRequest, resolve};
use nattrace_model::simulate;

use crate::case::{self, Case};

static CASES: LazyLock<Vec<Case>> = LazyLock::new(case::read_all);

/// Words that are put in the place of others.
const WORDS: &[&str] = &[
    "",
    "!",
    "-1",
    "0",
    "1",
    "255",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "0x",
    "[",
    "]",
    "{",
    "}",
    "\"",
    ",",
    ":",
    "-",
    "--",
    "/",
    "/0",
    "/32",
    "0.0.0.0",
    "0.0.0.0/0",
    "255.255.255.255",
    "127.0.0.1",
    "10.0.0.0/33",
    "::",
    "::1",
    "::/0",
    "fe80::1",
    "224.0.0.1",
    "null",
    "true",
    "all",
    "lo",
    "eth0",
    "docker0",
    "br+",
    "+",
    "-j",
    "-g",
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "-m",
    "-A",
    "-I",
    "INPUT",
    "FORWARD",
    "OUTPUT",
    "PREROUTING",
    "POSTROUTING",
    "DOCKER",
    "DOCKER-USER",
    "ACCEPT",
    "DROP",
    "RETURN",
    "REJECT",
    "MASQUERADE",
    "SNAT",
    "DNAT",
    "NETMAP",
    "REDIRECT",
    "MARK",
    "CONNMARK",
    "statistic",
    "limit",
    "conntrack",
    "tcp",
    "udp",
    "icmp",
    "COMMIT",
    "*nat",
    "*filter",
    "*mangle",
    "*raw",
    "default",
    "via",
    "dev",
    "lookup",
    "main",
    "blackhole",
    "unreachable",
    "--to-source",
    "--to-destination",
    "--dport",
    "--ctstate",
    "é",
];

/// A change to one part of a snapshot.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Edit {
    /// The part is missing.
    Remove,
    /// The part ends here.
    CutOff(u16),
    /// A line is gone.
    DropLine(u16),
    /// A line stands twice.
    RepeatLine(u16),
    /// Two lines change places.
    SwapLines(u16, u16),
    /// A word is another one.
    Word(u16, u8, u8),
    /// A word is one of the same part.
    WordOfPart(u16, u8, u16, u8),
    /// A line of the same part of another host is added.
    ForeignLine(u8, u16, u16),
    /// The part is that of another host.
    Foreign(u8),
}

/// A host that was disturbed, and a question about it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Disturbed {
    case: u8,
    edits: Vec<(u8, Edit)>,
    probe: u8,
    source: Option<u8>,
    destination: Option<u8>,
    in_interface: Option<u8>,
    port: Option<u16>,
    protocol: Option<u8>,
    state: u8,
    mark: Option<u32>,
}

/// Picks one, whatever the number.
fn pick<T>(of: &[T], number: impl Into<usize>) -> Option<&T> {
    of.get(number.into().checked_rem(of.len())?)
}

fn edit(text: &mut String, name: &str, edit: Edit) {
    let foreign = |case: u8| {
        let case = pick(&CASES, case)?;
        case.parts.iter().find(|(other, _)| other == name).map(|(_, text)| text)
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let index = |number: u16, of: &[String]| usize::from(number).checked_rem(of.len());
    match edit {
        Edit::Remove => return,
        Edit::CutOff(at) => {
            let at = usize::from(at).checked_rem(text.len()).unwrap_or(0);
            text.truncate(text.floor_char_boundary(at));
            return;
        }
        Edit::DropLine(at) => {
            if let Some(at) = index(at, &lines) {
                lines.remove(at);
            }
        }
        Edit::RepeatLine(at) => {
            if let Some(at) = index(at, &lines) {
                lines.insert(at, lines[at].clone());
            }
        }
        Edit::SwapLines(one, other) => {
            if let (Some(one), Some(other)) = (index(one, &lines), index(other, &lines)) {
                lines.swap(one, other);
            }
        }
        Edit::Word(at, word, by) => {
            if let (Some(at), Some(by)) = (index(at, &lines), pick(WORDS, by)) {
                replace(&mut lines[at], word, by);
            }
        }
        Edit::WordOfPart(at, word, from, which) => {
            if let (Some(at), Some(from)) = (index(at, &lines), index(from, &lines)) {
                let words: Vec<&str> = lines[from].split(' ').collect();
                let by = pick(&words, which).map_or(String::new(), |word| (*word).to_owned());
                replace(&mut lines[at], word, &by);
            }
        }
        Edit::ForeignLine(case, from, to) => {
            let foreign: Vec<&str> =
                foreign(case).map_or(Vec::new(), |text| text.lines().collect());
            if let (Some(line), Some(to)) = (pick(&foreign, from), index(to, &lines)) {
                lines.insert(to, (*line).to_owned());
            }
        }
        Edit::Foreign(case) => {
            if let Some(other) = foreign(case) {
                text.clone_from(other);
            }
            return;
        }
    }
    *text = lines.join("\n");
}

fn replace(line: &mut String, word: u8, by: &str) {
    let mut words: Vec<&str> = line.split(' ').collect();
    let Some(at) = usize::from(word).checked_rem(words.len()) else { return };
    words[at] = by;
    *line = words.join(" ");
}

fn texts(parts: &[(String, String)]) -> Vec<Text<'_>> {
    parts.iter().map(|(name, text)| Text { name, text }).collect()
}

/// The host that is built twice from one text is the same, and so is its answer, which names
/// only rules and steps that there are.
pub fn why(question: &Disturbed) {
    let Some(case) = pick(&CASES, question.case) else { return };
    let mut parts = case.parts.clone();
    // One form of the rules for each host.
    let forms = ["iptables-save", "iptables-S", "iptables-Lnv", "iptables-L"];
    let form = forms[usize::from(question.case) / 64];
    parts.retain(|(name, _)| !forms.contains(&name.as_str()) || name == form);
    for (part, change) in question.edits.iter().take(12) {
        let Some(at) = usize::from(*part).checked_rem(parts.len()) else { break };
        if matches!(change, Edit::Remove) {
            parts.remove(at);
            continue;
        }
        let (name, text) = &mut parts[at];
        edit(text, name, *change);
    }
    let loaded = load(&texts(&parts), &[]);
    for found in &loaded.diagnostics {
        let text = parts.iter().find(|(name, _)| *name == found.part);
        let text = text.map_or("", |(_, text)| text.as_str());
        crate::check_diagnostics(text, std::slice::from_ref(&found.diagnostic));
    }
    let again = load(&texts(&parts), &[]);
    assert_eq!(loaded.diagnostics, again.diagnostics);
    let request = request(question, case, &parts);
    let answer = ask(&loaded, &request);
    assert_eq!(answer, ask(&again, &request), "the answer differs from one run to the next");
    if let Some(answer) = answer {
        check_answer(&loaded.system, &answer);
    }
}

fn ask(loaded: &Loaded, request: &FlowRequest) -> Option<Answer> {
    let question = resolve(&loaded.system, request).ok()?;
    Some(simulate::why(&question.system(&loaded.system), &question.flow))
}

fn request(question: &Disturbed, case: &Case, parts: &[(String, String)]) -> FlowRequest {
    let probe = pick(&case.probes, question.probe);
    let words: Vec<&str> = parts
        .iter()
        .flat_map(|(_, text)| text.split([' ', '\n', '"', ',', '/']))
        .filter(|word| word.contains('.') || word.contains("::"))
        .filter(|word| word.parse::<std::net::IpAddr>().is_ok())
        .collect();
    let fixed = ["host", "internet", "lan", "127.0.0.1", "8.8.8.8", "::1", "255.255.255.255"];
    let place = |number: Option<u8>, otherwise: Option<String>| match number {
        None => otherwise.unwrap_or_else(|| "internet".to_owned()),
        Some(number) if number < 32 => fixed[usize::from(number) % fixed.len()].to_owned(),
        Some(number) => pick(&words, usize::from(number) * 7).unwrap_or(&"host").to_string(),
    };
    let interfaces = ["eth0", "eth1", "docker0", "lo", "wg0"];
    let states = ["new", "new", "established", "related", "invalid", "untracked"];
    FlowRequest {
        ttl: None,
        source: place(question.source, probe.map(|probe| probe.source.clone())),
        destination: place(question.destination, probe.map(|probe| probe.destination.clone())),
        in_interface: match question.in_interface {
            None => probe.and_then(|probe| probe.in_interface.clone()),
            Some(number) => pick(&interfaces, number).map(|name| (*name).to_owned()),
        },
        destination_port: question
            .port
            .map(|port| port.to_string())
            .or_else(|| probe.and_then(|probe| probe.port.clone())),
        protocol: match question.protocol {
            None => probe.map(|probe| probe.protocol.clone()),
            Some(number) => Some(number.to_string()),
        },
        state: pick(&states, question.state).map(|state| (*state).to_owned()),
        mark: question.mark.map(|mark| mark.to_string()),
        ..FlowRequest::default()
    }
}

/// What an answer names exists.
fn check_answer(system: &System, answer: &Answer) {
    let check_steps = |steps: &[Step], decided: Option<usize>| {
        assert!(decided.is_none_or(|step| step < steps.len()), "decided by {decided:?}");
        for step in steps {
            match step {
                Step::Rule { rule, .. } => assert!(system.rules.rule(*rule).is_some(), "{step:?}"),
                Step::Return { chain, .. } | Step::Policy { chain, .. } => {
                    assert!(system.rules.chain(*chain).is_some(), "{step:?}");
                }
                _ => {}
            }
        }
    };
    check_steps(&answer.steps, answer.decided_by);
    check_steps(&answer.next, None);
    if let Some(reply) = &answer.reply {
        check_steps(&reply.steps, reply.decided_by);
    }
    if let Some(proxy) = &answer.proxy {
        check_answer(system, proxy);
    }
    for branch in &answer.branches {
        check_answer(system, &branch.answer);
    }
}

/// A question in words, on a real host: it means a packet, or the place in the argument is told.
pub fn endpoint(text: &str) {
    static SYSTEM: LazyLock<System> = LazyLock::new(|| {
        let case =
            CASES.iter().find(|case| case.name.starts_with("04")).expect("the case is there");
        load(&texts(&case.parts), &[]).system
    });
    let mut words = text.split('\n');
    let mut next = || words.next().unwrap_or_default().to_owned();
    let option = |word: String| (!word.is_empty()).then_some(word);
    let request = FlowRequest {
        source: next(),
        destination: next(),
        in_interface: option(next()),
        source_port: option(next()),
        destination_port: option(next()),
        protocol: option(next()),
        state: option(next()),
        mark: option(next()),
        tcp_flags: option(next()),
        icmp_type: option(next()),
        ttl: option(next()),
        family: None,
    };
    let found = resolve(&SYSTEM, &request);
    assert_eq!(found, resolve(&SYSTEM, &request));
    match found {
        Ok(question) => {
            let answer = simulate::why(&question.system(&SYSTEM), &question.flow);
            check_answer(&SYSTEM, &answer);
        }
        Err(error) => {
            let argument = match error.argument {
                Argument::Source => Some(&request.source),
                Argument::Destination => Some(&request.destination),
                Argument::InInterface => request.in_interface.as_ref(),
                Argument::SourcePort => request.source_port.as_ref(),
                Argument::DestinationPort => request.destination_port.as_ref(),
                Argument::Protocol => request.protocol.as_ref(),
                Argument::State => request.state.as_ref(),
                Argument::Mark => request.mark.as_ref(),
                Argument::TcpFlags => request.tcp_flags.as_ref(),
                Argument::IcmpType => request.icmp_type.as_ref(),
                Argument::Ttl => request.ttl.as_ref(),
            };
            let place = argument.and_then(|argument| argument.get(error.span.range()));
            assert!(place.is_some(), "{error:?} is no place in {argument:?}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
