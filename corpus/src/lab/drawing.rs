//! Hosts, rules and packets of the lab as it draws them, without a kernel: for laws that hold
//! between two answers of our own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nattrace_model::flow::Flow;
use nattrace_parser::syntax::{Backend, Family};
use serde_json::Value;

use super::generate::Generator;
use super::topology::Variation;

/// A host with random rules, and random packets for it.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// The parts of a snapshot, each with its name.
    pub texts: Vec<(String, String)>,
    /// Packets.
    pub flows: Vec<Flow>,
}

/// The lab's host as a snapshot, recorded before anything varied.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab-host")
}

/// Draws rules for the lab's host, what varies of it, and packets; the same numbers draw the same.
///
/// # Errors
///
/// The recorded host can't be read.
pub fn draw(seed: u64, ruleset: u64, family: Family, packets: usize) -> io::Result<Drawing> {
    let mut generator = Generator::new(seed, ruleset, family, Backend::Nft, None);
    let variation = generator.variation();
    let mut texts = host(&variation, family)?;
    let rules = match family {
        Family::Ipv4 => "iptables-save",
        Family::Ipv6 => "ip6tables-save",
    };
    texts.push((rules.to_owned(), generator.ruleset()));
    let flows = (0..packets).map(|_| generator.trial().flow).collect();
    Ok(Drawing { texts, flows })
}

/// The recorded host as it varies.
pub(crate) fn host(variation: &Variation, family: Family) -> io::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder())?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    files.sort();
    for file in files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let text = fs::read_to_string(&file)?;
        texts.push(varied(name, text, variation, family)?);
    }
    Ok(texts)
}

/// A part of the recorded host as it varies.
fn varied(
    name: String,
    text: String,
    variation: &Variation,
    family: Family,
) -> io::Result<(String, String)> {
    let rules = match family {
        Family::Ipv4 => "ip-rule.json",
        Family::Ipv6 => "ip6-rule.json",
    };
    let text = match name.as_str() {
        "sysctl" => settings(&text, variation),
        "ip-addr.json" => interfaces(&text, variation)?,
        "ip-route.json" | "ip6-route.json" => routes(&text, variation)?,
        "bridge-link.json" => bridge_ports(&text, variation)?,
        part if part == rules => policy_rules(&text, variation)?,
        _ => text,
    };
    Ok((name, text))
}

/// The last of several lines for one setting counts.
fn settings(text: &str, variation: &Variation) -> String {
    let name = |path: &str| path.replace('/', ".");
    let changed: Vec<(String, &String)> =
        variation.sysctls.iter().map(|(path, value)| (name(path), value)).collect();
    let kept = text.lines().filter(|line| {
        let own = line.split_once(" = ").map_or(*line, |(own, _)| own);
        !changed.iter().any(|(name, _)| name == own)
    });
    let kept: Vec<String> = kept.map(str::to_owned).collect();
    let new = changed.iter().map(|(name, value)| format!("{name} = {value}"));
    let off = variation.without6.iter();
    let off = off.map(|name| format!("net.ipv6.conf.{name}.disable_ipv6 = 1"));
    kept.into_iter().chain(new).chain(off).map(|line| line + "\n").collect()
}

/// The interfaces: bridges whose frames pass the rules, and one that has lost its addresses of IPv6.
fn interfaces(text: &str, variation: &Variation) -> io::Result<String> {
    let mut interfaces: Vec<Value> = serde_json::from_str(text)?;
    for interface in &mut interfaces {
        let name = interface.get("ifname").and_then(Value::as_str).unwrap_or("").to_owned();
        let data = interface.pointer_mut("/linkinfo/info_data").and_then(Value::as_object_mut);
        if let (Some(data), true) = (data, variation.filtering.contains(&name)) {
            for setting in ["nf_call_iptables", "nf_call_ip6tables"] {
                data.insert(setting.to_owned(), 1.into());
            }
        }
        let addresses = interface.get_mut("addr_info").and_then(Value::as_array_mut);
        if let (Some(addresses), true) = (addresses, variation.without6 == Some(name)) {
            addresses.retain(|address| address.get("family") != Some(&Value::from("inet6")));
        }
    }
    Ok(Value::from(interfaces).to_string())
}

/// The routes without those of IPv6 by the interface on which that is off.
fn routes(text: &str, variation: &Variation) -> io::Result<String> {
    let mut routes: Vec<Value> = serde_json::from_str(text)?;
    if let Some(name) = &variation.without6 {
        routes.retain(|route| {
            let word = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or("");
            let of_ipv6 = word("dst").contains(':') || word("gateway").contains(':');
            word("dev") != name || !of_ipv6
        });
    }
    Ok(Value::from(routes).to_string())
}

fn bridge_ports(text: &str, variation: &Variation) -> io::Result<String> {
    let mut ports: Vec<Value> = serde_json::from_str(text)?;
    for port in &mut ports {
        let isolated = variation.isolated && port.get("master") == Some(&Value::from("br0"));
        if let Some(port) = port.as_object_mut() {
            port.insert("hairpin".to_owned(), variation.hairpin.into());
            port.insert("isolated".to_owned(), isolated.into());
        }
    }
    Ok(Value::from(ports).to_string())
}

/// Policy rules as ip(8) prints them in JSON.
fn policy_rules(text: &str, variation: &Variation) -> io::Result<String> {
    let mut rules: Vec<Value> = serde_json::from_str(text)?;
    for words in &variation.policy_rules {
        let mut rule = serde_json::Map::new();
        rule.insert("src".to_owned(), "all".into());
        let mut words = words.split(' ').peekable();
        while let Some(word) = words.next() {
            let mut insert = |key: &str, value: Value| rule.insert(key.to_owned(), value);
            let mut prefix = |key: &str, text: &str| {
                let (address, length) = text.split_once('/').unwrap_or((text, ""));
                insert(key, address.into());
                if let Ok(length) = length.parse::<u8>() {
                    insert(&format!("{key}len"), length.into());
                }
            };
            match word {
                "not" => _ = insert("not", Value::Null),
                "blackhole" | "prohibit" | "unreachable" => _ = insert("action", word.into()),
                _ => {
                    let value = words.next().unwrap_or_default();
                    match word {
                        "pref" => _ = insert("priority", value.parse::<u32>().unwrap_or(0).into()),
                        "from" => prefix("src", value),
                        "to" => prefix("dst", value),
                        "fwmark" => {
                            let (mark, mask) = value.split_once('/').unwrap_or((value, ""));
                            insert("fwmark", mark.into());
                            if !mask.is_empty() {
                                insert("fwmask", mask.into());
                            }
                        }
                        "lookup" => _ = insert("table", value.into()),
                        "uidrange" | "dport" | "sport" => {
                            let name = if word == "uidrange" { "uid" } else { word };
                            let number = |text: &str| Value::from(text.parse::<u32>().unwrap_or(0));
                            match value.split_once('-') {
                                Some((first, last)) => {
                                    insert(&format!("{name}_start"), number(first));
                                    insert(&format!("{name}_end"), number(last));
                                }
                                None => _ = insert(name, number(value)),
                            }
                        }
                        other => _ = insert(other, value.into()),
                    }
                }
            }
        }
        rules.push(Value::Object(rule));
    }
    rules.sort_by_key(|rule| rule.get("priority").and_then(Value::as_u64));
    Ok(Value::from(rules).to_string())
}
