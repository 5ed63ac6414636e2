use super::*;
use crate::Severity;
use crate::syntax::Family;

/// A network of Docker 29 with addresses of both families.
const NETWORK: &str = r#"{"Name":"front","Id":"0123456789abcdef0123","Created":"x","Scope":"local","Driver":"bridge","EnableIPv4":true,"EnableIPv6":true,
 "IPAM":{"Driver":"default","Options":{},"Config":[{"Subnet":"172.30.0.0/24","IPRange":"172.30.0.128/25","Gateway":"172.30.0.1"},{"Subnet":"fd00:30::/64","Gateway":"fd00:30::1/64"},{}]},
 "Internal":true,"Containers":{"lb-front":{"Name":"front-endpoint","EndpointID":"e","MacAddress":"02:42:ac:1e:00:02","IPv4Address":"172.30.0.2/24","IPv6Address":""}},
 "Options":{"com.docker.network.bridge.enable_icc":"false","com.docker.network.bridge.gateway_mode_ipv4":"routed","com.docker.network.host_ipv4":"203.0.113.5"},
 "Labels":{},"Status":{"IPAM":{"Subnets":{"172.30.0.0/24":{"IPsInUse":4}}}}}"#;

/// A container of Docker 28 in two networks.
const CONTAINER: &str = r#"{"Id":"abc","Name":"/web","State":{"Running":true,"Pid":42},"Config":{"Hostname":"web1"},
 "HostConfig":{"NetworkMode":"front","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080-8090"}],"53/udp":[{"HostIp":"127.0.0.1","HostPort":""}]},"Sysctls":{"net.ipv4.ip_forward":"1"}},
 "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"443/tcp":null,"9/sctp":[]},
  "Networks":{"front":{"IPAMConfig":{"IPv4Address":"172.30.0.3"},"Links":null,"Aliases":["web"],"MacAddress":"02:42:ac:1e:00:03","DriverOpts":null,"GwPriority":7,"NetworkID":"n1","EndpointID":"e1","Gateway":"172.30.0.1","IPAddress":"172.30.0.3","IPPrefixLen":24,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":["web","abc"]},
   "back":{"NetworkID":"n2","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"fd00::1","GlobalIPv6Address":"fd00::3","GlobalIPv6PrefixLen":64,"MacAddress":"","Aliases":null}}}}"#;

fn network(text: &str) -> Network {
    let (networks, complaints) = parse_networks(text);
    assert_eq!(complaints, []);
    networks.into_iter().next().unwrap()
}

fn container(text: &str) -> Container {
    let (containers, complaints) = parse_containers(text);
    assert_eq!(complaints, []);
    containers.into_iter().next().unwrap()
}

#[test]
fn a_network_tells_its_prefixes_and_options() {
    let network = network(NETWORK);
    assert_eq!(network.bridge().as_deref(), Some("br-0123456789ab"));
    assert!(
        network.internal && network.enable_ipv4 && network.enable_ipv6 && !network.is_default()
    );
    let [four, six] = network.subnets.as_slice() else { panic!("{network:?}") };
    assert_eq!(four.range, Some("172.30.0.128/25".parse().unwrap()));
    assert_eq!(six.gateway, Some("fd00:30::1".parse().unwrap()));
    assert!(!network.allows_inter_container() && network.masquerades());
    assert_eq!(network.gateway_mode(Family::Ipv4), Some(GatewayMode::Routed));
    assert_eq!(network.gateway_mode(Family::Ipv6), Some(GatewayMode::Nat));
    assert_eq!(network.host_address(Family::Ipv4), Some([203, 0, 113, 5].into()));
    assert_eq!(
        (network.endpoints[0].container.as_str(), network.endpoints[0].ipv6),
        ("lb-front", None)
    );
}

#[test]
fn the_bridge_has_its_own_name_the_default_one_or_that_of_its_id() {
    let bridge = |name: &str, driver: &str, options: &str| {
        network(&format!(r#"[{{"Name":"{name}","Id":"0123456789abcdef","Driver":"{driver}","Options":{options}}}]"#)).bridge()
    };
    assert_eq!(bridge("bridge", "bridge", "null").as_deref(), Some("docker0"));
    let own = r#"{"com.docker.network.bridge.name":"br7"}"#;
    assert_eq!(bridge("x", "bridge", own).as_deref(), Some("br7"));
    assert_eq!(bridge("x", "bridge", "{}").as_deref(), Some("br-0123456789ab"));
    assert_eq!(bridge("host", "host", "{}"), None);
}

#[test]
fn a_container_tells_its_networks_and_ports() {
    let container = container(CONTAINER);
    assert_eq!(
        (container.name.as_str(), container.hostname.as_str(), container.pid),
        ("web", "web1", Some(42))
    );
    assert_eq!(container.network_mode, NetworkMode::Network("front".to_owned()));
    let front = container.attachment("front").unwrap();
    assert_eq!(
        (front.ipv4, front.ipv6, front.gateway_priority),
        (Some("172.30.0.3/24".parse().unwrap()), None, 7)
    );
    assert_eq!(front.aliases, ["web", "abc"]);
    assert_eq!(front.assigned, ["172.30.0.3".parse::<std::net::IpAddr>().unwrap()]);
    let back = container.attachment("back").unwrap();
    assert_eq!((back.ipv4, back.ipv6, back.mac), (None, Some("fd00::3/64".parse().unwrap()), None));
    let ports: Vec<_> = container
        .ports
        .iter()
        .map(|port| (port.host_address.unwrap().to_string(), port.host_port))
        .collect();
    assert_eq!(ports, [("0.0.0.0".to_owned(), 8080), ("::".to_owned(), 8080)]);
    let bindings: Vec<_> = container
        .bindings
        .iter()
        .map(|b| (b.container_port, b.protocol.as_str(), b.host_ports))
        .collect();
    assert_eq!(bindings, [(80, "tcp", Some((8080, 8090))), (53, "udp", None)]);
    assert_eq!(container.sysctls.get("net.ipv4.ip_forward").map(String::as_str), Some("1"));
}

#[test]
fn every_network_mode_is_told_apart() {
    let mode = |text: &str| {
        container(&format!(r#"{{"Id":"a","Name":"b","HostConfig":{{"NetworkMode":{text}}}}}"#))
            .network_mode
    };
    assert_eq!((mode("\"default\""), mode("\"bridge\""), mode("null")), Default::default());
    assert_eq!((mode("\"host\""), mode("\"none\"")), (NetworkMode::Host, NetworkMode::None));
    assert_eq!(mode("\"container:xyz\""), NetworkMode::Container("xyz".to_owned()));
    assert_eq!(mode("\"front\""), NetworkMode::Network("front".to_owned()));
}

#[test]
fn docker_before_networks_had_names_has_one() {
    let text = r#"[{"Id":"a","Name":"/b","NetworkSettings":{"IPAddress":"172.17.0.2","IPPrefixLen":16,"Gateway":"172.17.42.1","MacAddress":"02:42:ac:11:00:02","Ports":null}}]"#;
    let container = container(text);
    let attachment = container.attachment("bridge").unwrap();
    assert_eq!(attachment.ipv4, Some("172.17.0.2/16".parse().unwrap()));
}

#[test]
fn lists_lines_and_single_objects_are_all_read() {
    for text in [
        format!("[{CONTAINER},{CONTAINER}]"),
        format!("[{CONTAINER}]\n[{CONTAINER}]\n"),
        format!("{CONTAINER}\n{CONTAINER}\r\n"),
    ] {
        let (containers, complaints) = parse_containers(&text);
        assert_eq!((containers.len(), complaints.len()), (2, 0));
        assert_eq!(containers[1].span.slice(&text), CONTAINER);
    }
    assert_eq!(parse_containers(" \n"), (vec![], vec![]));
    assert_eq!(parse_networks("[]"), (vec![], vec![]));
}

#[test]
fn what_is_wrong_is_underlined() {
    let said = |text: &str| -> Vec<(Severity, String)> {
        let complaints = [parse_networks(text).1, parse_containers(text).1].concat();
        complaints.iter().map(|said| (said.severity, said.span.slice(text).to_owned())).collect()
    };
    let network =
        r#"[{"Name":"a","Id":"b","Driver":"bridge","IPAM":{"Config":[{"Subnet":"10.0.0.0/33"}]}}]"#;
    assert_eq!(said(network)[0], (Severity::Warning, "\"10.0.0.0/33\"".to_owned()));
    let container =
        r#"[{"Id":"a","Name":"b","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"many"}]}}}]"#;
    assert_eq!(said(container)[1], (Severity::Warning, "\"many\"".to_owned()));
    assert_eq!(said("Error: no such object")[0].0, Severity::Error);
    assert_eq!(said("[\"x\"]")[0], (Severity::Warning, "\"x\"".to_owned()));
}
