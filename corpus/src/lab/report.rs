//! Disagreements, for people and as cases.

use std::io::{self, Write};

use super::comparison::Prediction;
use super::native;
use super::session::Session;
use super::shrink::Found;
use super::trial::Seen;

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
    let (iptables, native) = native::split(rules);
    let said =
        |line: &&str| line.starts_with("-A ") || line.starts_with('*') || line.contains(" DROP ");
    let native = native.unwrap_or("").lines().filter(|line| !line.is_empty());
    let lines: Vec<&str> = iptables.lines().filter(said).chain(native).collect();
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
