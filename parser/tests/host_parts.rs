//! The parts of real Docker hosts: every file reads without a complaint, and JSON and text of one
//! host say the same.

use std::path::{Path, PathBuf};

use nattrace_parser::host::address::Interface;
use nattrace_parser::host::route::Route;
use nattrace_parser::host::{
    address, bridge, docker, ipset, listener, route, rule, snapshot, sysctl, zones,
};
use nattrace_parser::{Diagnostic, Severity, Span};

/// The hosts that come with the crate, and the larger collection beside the repository.
fn hosts() -> Vec<PathBuf> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut hosts = folders(&crate_dir.join("tests/data/docker"));
    assert!(hosts.len() >= 4, "the hosts of the crate are missing");
    let more = folders(&crate_dir.join("../../shared/data/docker"));
    if more.is_empty() {
        nattrace_skips::skip_without_data("more hosts");
    }
    hosts.extend(more);
    hosts
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut folders: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Reads a part of a host with a reader that must have nothing to say.
#[expect(clippy::panic, reason = "a part that is missing fails the test")]
fn read<T>(host: &Path, name: &str, parse: impl Fn(&str) -> (T, Vec<Diagnostic>)) -> T {
    let path = host.join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (parsed, complaints) = parse(&text);
    let shown: Vec<_> =
        complaints.iter().map(|found| (&found.message, found.span.slice(&text))).collect();
    assert!(complaints.is_empty(), "{}: {shown:?}", path.display());
    parsed
}

/// The interfaces without their places.
fn placeless_interfaces(mut interfaces: Vec<Interface>) -> Vec<Interface> {
    for interface in &mut interfaces {
        interface.span = Span::default();
        for address in &mut interface.addresses {
            address.span = Span::default();
        }
    }
    interfaces
}

fn placeless_routes(mut routes: Vec<Route>) -> Vec<Route> {
    for route in &mut routes {
        route.span = Span::default();
    }
    routes
}

#[test]
fn json_and_text_of_the_interfaces_say_the_same() {
    for host in hosts() {
        let json = placeless_interfaces(read(&host, "ip-addr.json", address::parse));
        let text = placeless_interfaces(read(&host, "ip-addr", address::parse));
        assert!(json.len() >= 3, "{}", host.display());
        assert_eq!(json, text, "{}", host.display());
    }
}

#[test]
fn json_and_text_of_the_routes_say_the_same() {
    for host in hosts() {
        let json = placeless_routes(read(&host, "ip-route.json", |text| route::parse(text, None)));
        let text = placeless_routes(read(&host, "ip-route", |text| route::parse(text, None)));
        assert!(json.len() >= 10, "{}", host.display());
        assert_eq!(json, text, "{}", host.display());
    }
}

#[test]
fn a_route_is_written_as_ip_writes_it() {
    for host in hosts() {
        let text = std::fs::read_to_string(host.join("ip-route")).unwrap();
        let routes = read(&host, "ip-route.json", |text| route::parse(text, None));
        let written: Vec<String> = routes.iter().map(|route| format!("{route:#}")).collect();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(written, lines, "{}", host.display());
    }
}

#[test]
fn the_other_parts_read_without_a_complaint() {
    for host in hosts() {
        let rules = read(&host, "ip-rule.json", rule::parse);
        assert!(rules.len() >= 3 && rules[0].priority == 0, "{}", host.display());
        let interfaces = read(&host, "ip-addr.json", address::parse);
        for port in read(&host, "bridge-link.json", bridge::parse) {
            let interface =
                interfaces.iter().find(|interface| interface.name == port.name).unwrap();
            assert_eq!(interface.master, port.master, "{}", host.display());
        }
        let sysctls = read(&host, "sysctl", sysctl::parse);
        assert_eq!(sysctls.number("net.ipv4.ip_forward"), Some(1), "{}", host.display());
        assert_eq!(read(&host, "ipset-save", ipset::parse), [], "{}", host.display());
        if host.join("zones.toml").exists() {
            let zones = read(&host, "zones.toml", zones::parse);
            assert!(zones.iter().all(|zone| zone.name == "peer" && !zone.nets.is_empty()));
            assert_eq!(zones.len(), 1, "{}", host.display());
        }
        let sockets = read(&host, "listeners", listener::parse);
        assert!(
            sockets.iter().any(|socket| socket.port == 22 && socket.is_open()),
            "{}",
            host.display()
        );
    }
}

#[test]
fn containers_and_networks_agree_with_each_other_and_with_the_interfaces() {
    for host in hosts() {
        let interfaces = read(&host, "ip-addr.json", address::parse);
        let networks = read(&host, "docker-network-inspect.json", docker::parse_networks);
        let containers = read(&host, "docker-inspect.json", docker::parse_containers);
        assert!(networks.len() >= 3 && !containers.is_empty(), "{}", host.display());
        for network in networks.iter().filter(|network| network.driver == "bridge") {
            let bridge = network.bridge().unwrap();
            assert!(
                interfaces.iter().any(|interface| interface.name == bridge),
                "{}: {bridge}",
                host.display()
            );
            for endpoint in &network.endpoints {
                let container =
                    containers.iter().find(|container| container.id == endpoint.container).unwrap();
                let attachment = container.attachment(&network.name).unwrap();
                assert_eq!(container.name, endpoint.name, "{}", host.display());
                assert_eq!(
                    (attachment.ipv4, attachment.ipv6, attachment.mac),
                    (endpoint.ipv4, endpoint.ipv6, endpoint.mac)
                );
                assert_eq!(attachment.network_id, network.id);
            }
        }
    }
}

#[test]
fn a_truncated_part_is_an_error_at_its_end() {
    for host in hosts() {
        for name in [
            "ip-addr.json",
            "ip-route.json",
            "ip-rule.json",
            "bridge-link.json",
            "docker-inspect.json",
        ] {
            let text = std::fs::read_to_string(host.join(name)).unwrap();
            let text = text.trim_end();
            let half = text.get(..text.len() / 2).unwrap_or("");
            let complaints = match name {
                "ip-addr.json" => address::parse(half).1,
                "ip-route.json" => route::parse(half, None).1,
                "ip-rule.json" => rule::parse(half).1,
                "bridge-link.json" => bridge::parse(half).1,
                _ => docker::parse_containers(half).1,
            };
            let errors: Vec<_> =
                complaints.iter().filter(|found| found.severity == Severity::Error).collect();
            let [error] = errors.as_slice() else {
                panic!("{}/{name}: {complaints:?}", host.display())
            };
            assert_eq!(error.span.end as usize, half.trim_end().len(), "{}/{name}", host.display());
        }
    }
}

#[test]
fn a_host_in_one_file_is_split_into_its_parts_again() {
    for host in hosts() {
        let names = snapshot::PART_NAMES.iter().filter(|name| host.join(name).exists());
        let parts: Vec<(&str, String)> =
            names.map(|name| (*name, std::fs::read_to_string(host.join(name)).unwrap())).collect();
        let file: String =
            parts.iter().map(|(name, text)| format!("#@ nattrace {name}\n{text}")).collect();
        let (split, complaints) = snapshot::split(&file);
        assert_eq!(complaints, [], "{}", host.display());
        let split: Vec<(&str, String)> =
            split.iter().map(|part| (part.name, part.text.to_owned())).collect();
        assert_eq!(split, parts, "{}", host.display());
    }
}
