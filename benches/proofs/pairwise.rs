//! What tools without sets of packets do: each rule is held against every one before it.

/// The part of a rule that the comparison knows.
#[derive(Default)]
struct Plain {
    source: (u32, u32),
    destination: (u32, u32),
    protocol: Option<String>,
    ports: Option<(u16, u16)>,
    source_ports: Option<(u16, u16)>,
}

/// How many rules of a chain are covered by a single earlier one.
pub(crate) fn shadowed(text: &str) -> usize {
    let rules: Vec<Plain> =
        text.lines().filter(|line| line.starts_with("-A FORWARD")).map(read).collect();
    let mut found = 0;
    for (at, rule) in rules.iter().enumerate() {
        found += usize::from(rules[..at].iter().any(|earlier| covers(earlier, rule)));
    }
    found
}

fn read(line: &str) -> Plain {
    let words: Vec<&str> = line.split(' ').collect();
    let mut rule = Plain { source: (0, 0), destination: (0, 0), ..Plain::default() };
    for pair in words.windows(2) {
        match pair[0] {
            "-s" => rule.source = prefix(pair[1]),
            "-d" => rule.destination = prefix(pair[1]),
            "-p" => rule.protocol = Some(pair[1].to_owned()),
            "--dport" => rule.ports = Some(range(pair[1])),
            "--sport" => rule.source_ports = Some(range(pair[1])),
            _ => {}
        }
    }
    rule
}

fn prefix(text: &str) -> (u32, u32) {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    let length: u32 = length.parse().expect("a length");
    (address.to_bits(), u32::MAX.checked_shl(32 - length).unwrap_or(0))
}

fn range(text: &str) -> (u16, u16) {
    let (low, high) = text.split_once(':').unwrap_or((text, text));
    (low.parse().expect("a port"), high.parse().expect("a port"))
}

fn covers(earlier: &Plain, rule: &Plain) -> bool {
    let inside = |wide: (u32, u32), narrow: (u32, u32)| {
        wide.1 & narrow.1 == wide.1 && narrow.0 & wide.1 == wide.0
    };
    let within = |wide: Option<(u16, u16)>, narrow: Option<(u16, u16)>| match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => wide.0 <= narrow.0 && narrow.1 <= wide.1,
    };
    inside(earlier.source, rule.source)
        && inside(earlier.destination, rule.destination)
        && (earlier.protocol.is_none() || earlier.protocol == rule.protocol)
        && within(earlier.ports, rule.ports)
        && within(earlier.source_ports, rule.source_ports)
}
