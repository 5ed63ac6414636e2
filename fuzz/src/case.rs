//! The hosts of the corpus, read without its crate, so that these targets build quickly.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A real host, and the questions that were asked of its kernel.
pub(crate) struct Case {
    /// The name of its folder.
    pub(crate) name: String,
    /// The parts of its snapshot: file name and text.
    pub(crate) parts: Vec<(String, String)>,
    /// The packets that were sent.
    pub(crate) probes: Vec<Probe>,
}

/// A packet that was sent.
pub(crate) struct Probe {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) port: Option<String>,
    pub(crate) protocol: String,
    pub(crate) in_interface: Option<String>,
}

/// Every host, by name. The big one is left out: one question about it lasts too long.
pub(crate) fn read_all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/cases");
    let folders = fs::read_dir(folder).expect("the cases are beside this folder");
    let mut cases: Vec<Case> = folders.filter_map(|folder| read(&folder.ok()?.path())).collect();
    cases.retain(|case| !case.name.starts_with("12-"));
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!cases.is_empty(), "there are no cases");
    cases
}

fn read(folder: &Path) -> Option<Case> {
    let name = folder.file_name()?.to_str()?.to_owned();
    let (mut parts, mut probes) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let file = path.file_name()?.to_str()?.to_owned();
        let text = fs::read_to_string(&path).ok()?;
        if file == "observed.jsonl" {
            probes = text.lines().filter_map(probe).collect();
        } else if !file.ends_with(".md") && file != "nattrace.toml" {
            parts.push((file, text));
        }
    }
    parts.sort();
    Some(Case { name, parts, probes })
}

fn probe(line: &str) -> Option<Probe> {
    let line: Value = serde_json::from_str(line).ok()?;
    let flow = line.get("flow")?;
    let text = |name: &str| Some(flow.get(name)?.as_str()?.to_owned());
    Some(Probe {
        source: text("src")?,
        destination: text("dst")?,
        port: flow.get("dport").and_then(Value::as_u64).map(|port| port.to_string()),
        protocol: text("proto")?,
        in_interface: text("iif"),
    })
}
