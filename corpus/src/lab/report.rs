//! Disagreements, for people and as cases.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::comparison::Prediction;
use super::session::Session;
use super::shrink::Found;
use super::trial::{Observation, Seen, Start};

/// Prints ruleset, packet, what the simulator says and what the kernel did.
pub(crate) fn print(found: &Found, session: &Session, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "packet: {}", found.trial)?;
    writeln!(out, "rules:\n{}", rules_only(&found.rules))?;
    for difference in &found.differences {
        writeln!(out, "- {difference}")?;
    }
    let prediction =
        Prediction::of(&*session.bench.surroundings, &found.loaded.system, &found.trial);
    writeln!(out, "simulator:\n{}", prediction.describe().trim_end())?;
    writeln!(out, "kernel:")?;
    print_seen("forth", &found.observed.forth, out)?;
    if let Some(back) = &found.observed.back {
        print_seen("back", back, out)?;
    }
    writeln!(out, "settings: {}\n", settings(found, session))
}

fn rules_only(rules: &str) -> String {
    let lines: Vec<&str> = rules
        .lines()
        .filter(|line| line.starts_with("-A ") || line.starts_with('*') || line.contains(" DROP "))
        .collect();
    lines.join("\n")
}

fn print_seen(phase: &str, seen: &Seen, out: &mut dyn Write) -> io::Result<()> {
    for (counted, packets) in &seen.counts {
        writeln!(out, "  {phase}: {counted} counts {packets}")?;
    }
    for departed in &seen.departed {
        writeln!(out, "  {phase}: {} leaves by {}", departed.packet, departed.wire)?;
    }
    Ok(())
}

/// The settings that are not as usual.
fn settings(found: &Found, session: &Session) -> String {
    let unusual = |line: &&str| {
        let (name, value) = line.split_once(" = ").unwrap_or((line, ""));
        match name.rsplit('.').next() {
            Some("rp_filter" | "route_localnet" | "accept_local" | "src_valid_mark") => {
                value != "0"
            }
            Some("forwarding") => value != "1",
            Some("send_redirects") => false,
            _ => name.starts_with("net.bridge") || value == "0",
        }
    };
    let text = |name: &str| {
        let part = found.loaded.texts.iter().find(|(part, _)| part == name);
        part.map_or("", |(_, text)| text.as_str())
    };
    let unusual: Vec<&str> = text("sysctl").lines().filter(unusual).collect();
    let hairpin = text("bridge-link.json").contains("\"hairpin\":true");
    let isolated = text("bridge-link.json").contains("\"isolated\":true");
    format!(
        "{:?}; {}; hairpin {hairpin}; isolated {isolated}; rules {}",
        session.loader,
        unusual.join(", "),
        text("ip-rule.json").len()
    )
}

/// Writes a case: the snapshot, and what the kernel did.
pub(crate) fn write_case(found: &Found, folder: &Path, seed: u64, number: u64) -> io::Result<()> {
    let flow = &found.trial.flow;
    let name = format!("lab-{seed}-{number}-{}-{}", flow.protocol, flow.destination)
        .replace([':', '.'], "-");
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    for (part, text) in &found.loaded.texts {
        fs::write(folder.join(part), text)?;
    }
    let protocol = match flow.protocol {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        1 | 58 => "icmp".to_owned(),
        other => other.to_string(),
    };
    let probe = json!({
        "n": "01",
        "probe": found.trial.to_string(),
        "kind": match found.trial.start {
            Start::Local => "host",
            Start::Wire(..) => "outside",
        },
        "flow": {
            "src": flow.source, "sport": flow.source_port,
            "dst": flow.destination, "dport": flow.destination_port,
            "proto": protocol, "iif": flow.in_interface,
        },
        "result": result(&found.observed),
        "differences": found.differences,
        "counters": counters(found),
    });
    fs::write(folder.join("observed.jsonl"), format!("{probe}\n"))
}

fn result(observed: &Observation) -> &'static str {
    let left = observed.back.as_ref().unwrap_or(&observed.forth);
    if left.departed.is_empty() { "timeout" } else { "connects" }
}

/// Each rule that counted, with its text.
fn counters(found: &Found) -> Vec<serde_json::Value> {
    let rules = &found.loaded.system.rules;
    let mut counters = Vec::new();
    let seen = [Some(&found.observed.forth), found.observed.back.as_ref()];
    for (counted, packets) in seen.into_iter().flatten().flat_map(|seen| &seen.counts) {
        let Some(index) = counted.rule else { continue };
        let chain = rules
            .chains
            .iter()
            .find(|chain| chain.table.as_str() == counted.table && *chain.name == *counted.chain);
        let rule = chain.and_then(|chain| chain.rules.get(index as usize));
        let text = rule.map_or("", |rule| rules.text(rule));
        counters.push(json!({"table": counted.table, "rule": text, "packets": packets}));
    }
    counters
}
