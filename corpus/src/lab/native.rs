//! Native nft tables in the kernel, beside those of iptables.

use std::io;

use serde_json::Value;

use super::command::{output, run};

/// The table by which the lab traces packets, which is none of those under test.
pub(crate) const TRACE_TABLE: &str = "lab-trace";

/// The line behind which the native tables of a ruleset stand.
pub(crate) const MARKER: &str = "# native";

/// The name of the part of a snapshot that shows them.
pub(crate) const PART: &str = "nft-ruleset.json";

/// What iptables-restore reads of a ruleset, and what nft does, where there is any.
pub(crate) fn split(rules: &str) -> (&str, Option<&str>) {
    match rules.split_once(MARKER) {
        Some((iptables, native)) => (iptables, Some(native)),
        None => (rules, None),
    }
}

/// The names of the tables that the generator makes.
const TABLES: [(&str, &str); 6] = [
    ("inet", "own"),
    ("ip", "own"),
    ("ip6", "own"),
    ("inet", "nat2"),
    ("ip", "nat2"),
    ("ip6", "nat2"),
];

/// Replaces the native tables. Rules that the tool or the kernel refuses are left out, as not every
/// combination that is drawn is one; the error says why the rest is refused.
pub(crate) fn load(rules: &str) -> io::Result<Result<(), String>> {
    let mut text = String::new();
    for (family, name) in TABLES {
        // What is not there can't be deleted.
        text += &format!("table {family} {name} {{\n}}\ndelete table {family} {name}\n");
    }
    text += rules;
    loop {
        let ran = run("nft", &["-f", "-"], &text)?;
        if ran.succeeded {
            return Ok(Ok(()));
        }
        let refused: Vec<usize> = ran.stderr.lines().filter_map(line_of).collect();
        let (before, lines) = (text.len(), text.lines().enumerate());
        let kept =
            |(at, line): &(usize, &str)| !(refused.contains(&(at + 1)) && line.starts_with("\t\t"));
        text = lines.filter(kept).flat_map(|(_, line)| [line, "\n"]).collect();
        if text.len() == before {
            return Ok(Err(ran.stderr.trim().to_owned()));
        }
    }
}

/// The line that a message of nft is about: `/dev/stdin:60:21-21: Error: …`.
fn line_of(message: &str) -> Option<usize> {
    message.strip_prefix("/dev/stdin:")?.split(':').next()?.parse().ok()
}

/// The part of a snapshot that shows them, without the table of the trace.
pub(crate) fn part() -> io::Result<String> {
    let listed = output("nft", &["-j", "list", "ruleset"], "")?;
    let mut ruleset: Value = serde_json::from_str(&listed).map_err(io::Error::other)?;
    if let Some(objects) = ruleset.get_mut("nftables").and_then(Value::as_array_mut) {
        objects.retain(|object| {
            let Some((_, body)) = object.as_object().and_then(|object| object.iter().next()) else {
                return true;
            };
            let is = |key: &str| body.get(key).and_then(Value::as_str) == Some(TRACE_TABLE);
            !is("table") && !is("name")
        });
    }
    Ok(ruleset.to_string())
}
