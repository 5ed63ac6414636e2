//! The JSON Schema of a policy, for editors and other programs.
//!
//! The types mirror what the reader of policies accepts; they are never read into. A test holds
//! the two against each other.

#![expect(dead_code, reason = "only the shape of these types is used")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;

/// The JSON Schema of policies (draft 2020-12).
#[must_use]
pub fn schema() -> serde_json::Value {
    schema_for!(PolicyFile).to_value()
}

/// What must hold for every packet of a host.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "nattrace policy")]
struct PolicyFile {
    /// The version of the format: 1.
    #[schemars(range(min = 1, max = 1))]
    version: u8,
    /// Zones of your own, by their names.
    #[schemars(default)]
    zones: Option<BTreeMap<String, Zone>>,
    /// Every packet that goes from one zone to another leaves with one of these sources.
    egress: Option<Vec<Egress>>,
    /// Every such packet arrives, and its answer comes back.
    allow: Option<Vec<Allow>>,
    /// No packet of one zone lands in another, however it is addressed.
    deny: Option<Vec<Deny>>,
    /// No packet of one zone lands in another, in any direction.
    isolate: Option<Vec<Isolate>>,
    /// Results that are known and put up with.
    suppress: Option<Vec<Suppress>>,
}

/// Hosts beyond some interfaces.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Zone {
    /// The interfaces behind which they are; none stands for any.
    via: Option<Vec<String>>,
    /// Their prefixes.
    nets: Option<Vec<String>>,
    /// What they send to this machine although it is not on-link.
    routes: Option<Vec<String>>,
}

/// One value, or a list of at least one.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(#[schemars(length(min = 1))] Vec<T>),
}

/// A zone: `internet`, `lan`, `lan:IFACE`, `host`, `net:NAME`, `net:*`, `container:NAME`,
/// `iface:NAME`, an address or prefix, or a zone of your own.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
struct ZoneName(#[schemars(length(min = 1))] String);

/// A zone as a destination, with `:PORT[-PORT][/proto]` behind where ports are meant.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
struct Destination(#[schemars(length(min = 1))] String);

/// A port, or a range in quotes such as `8000-8080`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Ports {
    Port(#[schemars(range(min = 1, max = 65535))] u16),
    Range(#[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?$"))] String),
}

/// A protocol by its name or number.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Protocol {
    Name(#[schemars(length(min = 1))] String),
    Number(u8),
}

/// The IP versions that an entry is about.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Family {
    Ipv4,
    Ipv6,
    Both,
}

/// Whether an entry may hold because no packet is concerned.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Vacuous {
    Ok,
}

/// The same question on a host that is a little different.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Given {
    /// Interfaces that are down.
    down: Option<OneOrMore<String>>,
    /// Destinations of routes that are not there, such as `default` or `10.0.0.0/8`.
    gone: Option<OneOrMore<String>>,
    /// Containers that have another address.
    moved: Option<BTreeMap<String, String>>,
    /// Daemons that were restarted, and made their rules anew: `dockerd`.
    restarted: Option<OneOrMore<Daemon>>,
    /// Whether the host forwards IPv4.
    ip_forward: Option<Switch>,
    /// IPv6 is on, where it was not.
    ipv6: Option<On>,
    /// Whether the host forwards IPv6.
    ipv6_forward: Option<Switch>,
}

/// A setting that is on.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum On {
    Plain(#[schemars(extend("const" = true))] bool),
    Word(OnlyOn),
}

/// A setting that is on, in words.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnlyOn {
    On,
}

/// A daemon that makes rules when it starts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Daemon {
    Dockerd,
    Docker,
}

/// A setting that is on or off.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Switch {
    Plain(bool),
    Word(OnOff),
}

/// A setting in words.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnOff {
    On,
    Off,
}

macro_rules! entries {
    ($($(#[$about:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Serialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            struct $name {
                $($(#[$doc])* $field: $type,)*
                /// Its name, by which `except`, suppressions and results refer to it.
                #[schemars(length(min = 1))]
                name: Option<String>,
                /// The protocols that it is about.
                proto: Option<OneOrMore<Protocol>>,
                /// The destination ports that it is about.
                ports: Option<OneOrMore<Ports>>,
                /// The IP versions that it is about.
                family: Option<Family>,
                /// What is taken to be otherwise on the host.
                given: Option<Given>,
                /// Whether it may hold because no packet is concerned.
                vacuous: Option<Vacuous>,
            }
        )*
    };
}

entries! {
    /// Every packet that goes from one zone to another leaves with one of these sources.
    struct Egress {
        /// Where the packets come from.
        from: OneOrMore<ZoneName>,
        /// Where they go.
        to: OneOrMore<Destination>,
        /// An address, a prefix, a list of them, or `unchanged`.
        source: OneOrMore<String>,
    }
    /// Every such packet arrives, and its answer comes back.
    struct Allow {
        /// Where the packets come from.
        from: OneOrMore<ZoneName>,
        /// Where they are addressed.
        to: OneOrMore<Destination>,
        /// Where they arrive, after NAT.
        lands: Option<OneOrMore<Destination>>,
    }
    /// No packet of one zone lands in another, however it is addressed.
    struct Deny {
        /// Where the packets come from.
        from: OneOrMore<ZoneName>,
        /// Where they must not arrive.
        lands: OneOrMore<Destination>,
        /// The names of `[[allow]]` entries whose packets may.
        except: Option<Names>,
    }
    /// No packet of one zone lands in another, in any direction.
    struct Isolate {
        /// The zones.
        zones: Several,
    }
}

/// A name, or a list of names.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Names {
    One(String),
    More(Vec<String>),
}

/// At least two zones.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
struct Several(#[schemars(length(min = 2))] Vec<ZoneName>);

/// A result that is known and put up with.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Suppress {
    /// The name of an entry.
    name: Option<String>,
    /// The code of a finding of `audit`.
    code: Option<String>,
    /// Why.
    #[schemars(length(min = 1))]
    reason: String,
    /// The last day on which it counts, as a TOML date.
    until: Option<String>,
}

#[cfg(test)]
mod tests {
    use nattrace_parser::policy::parse;

    use super::*;

    const GOOD: [&str; 8] = [
        "version = 1\n",
        "version = 1\n[zones.office]\nvia = [\"eth1\"]\nnets = [\"192.168.12.0/24\"]\nroutes = []\n",
        "version = 1\n[[egress]]\nname = \"a\"\nfrom = \"net:a\"\nto = [\"internet\", \"lan\"]\nsource = [\"10.0.0.1\", \"unchanged\"]\n",
        "version = 1\n[[allow]]\nfrom = [\"internet\"]\nto = \"10.0.0.1:443/tcp\"\nlands = \"container:blog:443\"\nfamily = \"ipv4\"\nvacuous = \"ok\"\n",
        "version = 1\n[[deny]]\nfrom = \"internet\"\nlands = \"net:*\"\nexcept = []\nproto = [\"tcp\", 17]\nports = [80, \"8000-8080\"]\n",
        "version = 1\n[[isolate]]\nzones = [\"net:a\", \"net:b\"]\ngiven = { down = [\"wg0\"], gone = \"default\", moved = { web = \"172.18.0.9\" }, ip_forward = false, ipv6_forward = \"on\" }\n",
        "version = 1\n[[isolate]]\nzones = [\"net:a\", \"net:b\"]\ngiven = { restarted = \"dockerd\", ipv6 = true }\n",
        "version = 1\n[[suppress]]\ncode = \"x\"\nreason = \"y\"\n",
    ];

    const BAD: [&str; 20] = [
        "",
        "version = 2\n",
        "version = \"1\"\n",
        "version = 1\nzone = {}\n",
        "version = 1\n[zones.a]\nnet = []\n",
        "version = 1\n[zones.a]\nnets = \"10.0.0.0/8\"\n",
        "version = 1\n[deny]\nfrom = \"host\"\nlands = \"net:a\"\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\nto = \"host\"\n",
        "version = 1\n[[deny]]\nfrom = []\nlands = \"net:a\"\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\nfamily = \"ipv5\"\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\nports = 0\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\nports = \"a\"\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\nvacuous = true\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\ngiven = { donw = \"wg0\" }\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\ngiven = { restarted = \"kubelet\" }\n",
        "version = 1\n[[deny]]\nfrom = \"host\"\nlands = \"net:a\"\ngiven = { ipv6 = false }\n",
        "version = 1\n[[isolate]]\nzones = [\"host\"]\n",
        "version = 1\n[[egress]]\nfrom = \"host\"\nto = \"internet\"\nsource = 7\n",
        "version = 1\n[[suppress]]\nname = \"x\"\n",
    ];

    /// What the reader accepts and what it refuses, the schema does too.
    #[test]
    fn the_schema_says_what_the_reader_does() {
        let schema = schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for (text, fits) in GOOD.map(|text| (text, true)).into_iter().chain(BAD.map(|t| (t, false)))
        {
            let (_, complaints) = parse(text);
            assert_eq!(complaints.is_empty(), fits, "{text}: {complaints:?}");
            let value: serde_json::Value = toml::from_str(text).unwrap();
            assert_eq!(validator.is_valid(&value), fits, "{text}");
        }
        let example = "version = 1\n[[allow]]\nfrom = \"host\"\nto = \"internet\"\n";
        let mut value: serde_json::Value = toml::from_str(example).unwrap();
        assert!(validator.is_valid(&value));
        value["allow"][0]["port"] = 80.into();
        assert!(!validator.is_valid(&value));
    }
}
