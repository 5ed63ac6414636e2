//! What rules alone show of a host, held against the host that they were taken from.

#[cfg(test)]
mod snapshots;

use std::net::IpAddr;

use nattrace_model::build::{Loaded, Text, load as load_texts};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::host::route::MAIN;
use nattrace_model::host::{Host, InterfaceKind, Part};
use snapshots::{address, all, files, load, load_without, skipped};

/// Nothing but one file of rules.
fn load_rules(name: &str, file: &str) -> Loaded {
    let files = files(name);
    let mut texts = files.iter().filter(|(name, _)| name == file);
    let texts: Vec<Text<'_>> =
        texts.next().map(|(name, text)| Text { name, text }).into_iter().collect();
    load_texts(&[], &texts)
}

fn codes(host: &Host) -> Vec<&'static str> {
    host.assumptions.iter().map(|assumption| assumption.code).collect()
}

/// Names that stand for interfaces which no rule names.
fn is_placeholder(name: &str) -> bool {
    name == "uplink" || name.starts_with("net-")
}

/// Whatever is inferred is so, on every host and from every form of its rules.
#[test]
fn what_is_inferred_is_so() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let (mut bridges, mut subnets, mut own) = (0, 0, 0);
    for name in &names {
        let real = load(name).system.host;
        for file in ["iptables-save", "iptables-S", "iptables-Lnv"] {
            if name == "06a-iptables-false" {
                continue; // no rules, nothing to infer from
            }
            let inferred = load_rules(name, file).system.host;
            for interface in &inferred.interfaces {
                let at = format!("{name} {file} {}", interface.name);
                if is_placeholder(&interface.name) {
                    continue;
                }
                // A rule may name an interface that is not there any more; none does here.
                let known = real
                    .interface(&interface.name)
                    .unwrap_or_else(|| panic!("{at}: no such interface"));
                if interface.kind == InterfaceKind::Bridge {
                    assert_eq!(known.kind, InterfaceKind::Bridge, "{at}");
                    bridges += 1;
                }
                for address in interface.addresses.iter().filter(|address| !address.secondary) {
                    let same = known.addresses.iter().any(|other| {
                        other.local == address.local && other.subnet == address.subnet
                    });
                    // Docker makes the rule for `inhibit_ipv4` too, whose bridge has no address.
                    let bare = interface.name == "br-lab"
                        && known.addresses.iter().all(|a| a.local.is_ipv6());
                    assert!(same || bare, "{at}: {address:?} is not there");
                    subnets += 1;
                }
                let secondary = interface.addresses.iter().filter(|address| address.secondary);
                for address in secondary.filter(|a| !inferred_placeholder(&inferred, a.local)) {
                    let owned = real.owner(address.local).is_some();
                    // A range of SNAT may hold addresses that only the router knows.
                    assert!(
                        owned || name == "17k-snat-ranges",
                        "{at}: {} is not its own",
                        address.local
                    );
                    own += 1;
                }
            }
        }
    }
    assert!(
        bridges > 200 && subnets > 200 && own > 10,
        "{bridges} bridges, {subnets} subnets, {own} own"
    );
}

fn inferred_placeholder(host: &Host, address: IpAddr) -> bool {
    host.assumptions.iter().any(|assumption| {
        assumption.code == "placeholder-address" && assumption.text.contains(&address.to_string())
    })
}

/// Docker's own rules show every bridge that has containers behind published or masqueraded
/// networks, and the way out is found or said to be unknown.
#[test]
fn dockers_rules_show_its_bridges() {
    let names = all();
    if skipped(&names) {
        return;
    }
    for name in &names {
        let real = load(name).system.host;
        let inferred = load_rules(name, "iptables-save").system.host;
        let save = files(name).into_iter().find(|(file, _)| file == "iptables-save").unwrap().1;
        for network in &real.inventory.networks {
            let subnet = network.subnets.first().map(ToString::to_string).unwrap_or_default();
            let rule = format!("-A POSTROUTING -s {subnet} ! -o {} -j MASQUERADE", network.bridge);
            if save.contains(&rule) {
                let bridge = inferred.interface(&network.bridge).unwrap();
                let shown = bridge.addresses.first().map(|address| address.subnet.to_string());
                assert_eq!(shown, Some(subnet), "{name}");
            }
        }
    }
}

#[test]
fn every_inference_names_its_rule_and_what_would_settle_it() {
    let names = all();
    if skipped(&names) {
        return;
    }
    for name in &names {
        let inferred = load_rules(name, "iptables-save").system.host;
        for assumption in &inferred.assumptions {
            assert!(assumption.text.contains("settles it"), "{name}: {}", assumption.text);
            if ["inferred-bridge", "inferred-subnet", "inferred-address", "inferred-route"]
                .contains(&assumption.code)
            {
                assert!(assumption.text.contains("iptables-save:"), "{name}: {}", assumption.text);
            }
        }
        assert!(codes(&inferred).is_sorted(), "{name}");
    }
}

/// A part that is there is never overruled.
#[test]
fn nothing_is_inferred_where_the_part_is_there() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let whole = load("01-default-bridge").system.host;
    let without_sysctl = load_without("01-default-bridge", |file| file == "sysctl").system.host;
    // This host's policy rules of IPv6 were never listed.
    let of_sysctl = ["default-policy-rules", "ip-forward-assumed", "rp-filter-assumed"];
    assert_eq!(codes(&without_sysctl), of_sysctl);
    assert_eq!(without_sysctl.interfaces, whole.interfaces);

    let without_routes =
        load_without("01-default-bridge", |file| file.starts_with("ip-route")).system.host;
    assert_eq!(
        codes(&without_routes),
        ["default-route-assumed", "routes-from-addresses", "routes-from-addresses"]
    );
    let default = without_routes.routing.tables4[&MAIN].routes().last().unwrap();
    assert_eq!(default.text, "default dev eth0 scope link");
}

#[test]
fn routes_show_addresses_where_no_part_lists_them() {
    let names = all();
    if skipped(&names) {
        return;
    }
    for name in &names {
        let whole = load(name).system.host;
        let without = load_without(name, |file| file.starts_with("ip-addr")).system.host;
        assert!(codes(&without).contains(&"addresses-from-routes"), "{name}");
        for interface in &whole.interfaces {
            for own in interface.addresses.iter().filter(|own| own.local.is_ipv4()) {
                let found = without.interface(&interface.name).and_then(|other| {
                    other.addresses.iter().find(|other| other.local == own.local)
                });
                let found = found.unwrap_or_else(|| panic!("{name}: {} is missing", own.local));
                assert_eq!(found.secondary, own.secondary, "{name} {}", own.local);
                assert_eq!(found.subnet, own.subnet, "{name} {}", own.local);
            }
        }
    }
}

fn rules(text: &str) -> Host {
    load_texts(&[], &[Text { name: "dump.txt", text }]).system.host
}

#[test]
fn a_dump_alone_answers_where_a_container_goes() {
    let dump = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
        -A POSTROUTING -s 172.18.0.0/16 ! -o br-740d57cab248 -j MASQUERADE\n\
        -A DOCKER -d 173.208.194.205/32 ! -i br-740d57cab248 -p tcp -m tcp --dport 443 -j DNAT --to-destination 172.18.0.2:443\n\
        COMMIT\n";
    let loaded = load_texts(&[], &[Text { name: "dump.txt", text: dump }]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let host = &loaded.system.host;
    let names: Vec<_> = host.interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["lo", "br-740d57cab248", "docker0", "uplink"]);
    assert_eq!(host.owner(address("173.208.194.205")).unwrap().name, "uplink");
    assert!(host.has(Part::Rules4) && !host.has(Part::Addresses));
    let request = FlowRequest {
        source: "172.18.0.3".to_owned(),
        destination: "1.1.1.1".to_owned(),
        ..FlowRequest::default()
    };
    let question = resolve(&loaded.system, &request).unwrap();
    assert_eq!(question.flow.in_interface.as_deref(), Some("br-740d57cab248"));
    assert_eq!(question.flow.protocol, 1);
    let answer = nattrace_model::simulate::why(&loaded.system, &question.flow);
    assert_eq!(answer.verdict, nattrace_model::answer::Verdict::Forwarded);
    let egress = answer.egress.unwrap();
    assert_eq!(egress.out_interface.as_deref(), Some("uplink"));
    assert!(egress.source_unknown, "which address MASQUERADE takes is not known: {egress:?}");
}

/// The first story: the owner wrote the subnet's rule by hand and lost the bridge's name.
#[test]
fn a_subnet_is_tied_to_its_bridge_by_what_is_published_from_it() {
    let host = rules(
        "*nat\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
         -A POSTROUTING -s 172.18.0.0/16 -j SNAT --to-source 173.208.194.205\n\
         -A DOCKER ! -i br-740d57cab248 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80\n\
         COMMIT\n",
    );
    let bridge = host.interface("br-740d57cab248").unwrap();
    assert_eq!(bridge.addresses[0].local, address("172.18.0.1"));
    assert!(host.owner(address("173.208.194.205")).is_some());
}

/// The fifth story: a person may except any bridge from translating any subnet.
#[test]
fn a_hand_made_snat_does_not_tell_whose_subnet_it_is() {
    let host = rules(
        "-A POSTROUTING -t nat -s 172.18.0.0/16 ! -o docker0 -j SNAT --to-source 172.17.0.4\n",
    );
    let docker0 = host.interface("docker0").unwrap();
    assert_eq!(docker0.addresses, [], "{:?}", host.assumptions);
}

/// Rules that say who is behind a bridge leave the bridge another address.
#[test]
fn a_bridge_has_no_address_that_is_somebody_elses() {
    let own = |rules_about: &str| {
        let host = rules(&format!(
            "*nat\n-A POSTROUTING -s 10.0.0.0/8 ! -o br-b74b417b331f -j MASQUERADE\nCOMMIT\n\
             *filter\n{rules_about}COMMIT\n"
        ));
        let bridge = host.interface("br-b74b417b331f").unwrap();
        bridge.addresses.iter().map(|own| own.local).collect::<Vec<_>>()
    };
    assert_eq!(own(""), [address("10.0.0.1")]);
    for first in [
        "-A FORWARD -s 10.0.0.1/32 -i br-b74b417b331f -j ACCEPT\n",
        "-A FORWARD -d 10.0.0.1/32 ! -i br-b74b417b331f -o br-b74b417b331f -j ACCEPT\n",
    ] {
        assert_eq!(own(first), [address("10.255.255.254")], "{first}");
        let last = first.replace("10.0.0.1/", "10.255.255.254/");
        assert!(own(&format!("{first}{last}")).is_empty(), "{first}");
    }
    // What goes to it comes in, and does not leave.
    assert_eq!(
        own("-A INPUT -d 10.0.0.1/32 -i br-b74b417b331f -j ACCEPT\n"),
        [address("10.0.0.1")]
    );
}

#[test]
fn the_way_out_is_the_only_interface_that_may_be_it() {
    let uplink = |text: &str| {
        let host = rules(text);
        let routes = host.routing.tables4.get(&MAIN);
        let default = routes
            .into_iter()
            .flat_map(|table| table.routes())
            .find(|r| r.destination.length() == 0);
        default.map(|route| route.next_hops[0].interface.clone())
    };
    let some = |name: &str| Some(name.to_owned());
    let masquerade = "-t nat -A POSTROUTING -o eth1 -j MASQUERADE\n";
    assert_eq!(uplink(masquerade), some("eth1"));
    // Another card that a rule only names does not change that.
    assert_eq!(uplink(&format!("{masquerade}-A INPUT -i eth0 -j ACCEPT\n")), some("eth1"));
    // Two that are used so: nobody knows.
    assert_eq!(uplink(&format!("{masquerade}-t nat -A POSTROUTING -o eth0 -j MASQUERADE\n")), None);
    // A tunnel that is masqueraded too is less likely than a card.
    assert_eq!(
        uplink(&format!("{masquerade}-t nat -A POSTROUTING -o wg0 -j MASQUERADE\n")),
        some("eth1")
    );
    assert_eq!(uplink("-A FORWARD -i docker0 -o docker0 -j ACCEPT\n"), some("uplink"));
    assert_eq!(uplink("-A INPUT -i tun0 -j ACCEPT\n"), some("uplink"));
}

#[test]
fn a_vpn_subnet_is_behind_its_tunnel() {
    let host = rules(
        "-t nat -A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE\n-A FORWARD -i tun0 -s 10.8.0.0/24 -j ACCEPT\n",
    );
    let route = host.routing.tables4[&MAIN]
        .routes()
        .iter()
        .find(|r| r.destination.to_string() == "10.8.0.0/24");
    assert_eq!(route.unwrap().next_hops[0].interface, "tun0");
    assert_eq!(host.interface("tun0").unwrap().kind, InterfaceKind::Tunnel);
}

/// The second story: `iptables -nL` shows no interfaces.
#[test]
fn a_listing_without_interfaces_still_shows_subnets() {
    let host = rules(
        "Chain POSTROUTING (policy ACCEPT)\n\
         target     prot opt source               destination         \n\
         MASQUERADE  all  --  172.17.0.0/16        0.0.0.0/0           \n\
         MASQUERADE  all  --  10.100.1.0/24        0.0.0.0/0           \n\
         \n\
         Chain DOCKER (2 references)\n\
         target     prot opt source               destination         \n\
         RETURN     all  --  0.0.0.0/0            0.0.0.0/0           \n",
    );
    assert!(host.is_on_link(address("172.17.0.2"), "docker0"), "{:?}", host.interfaces);
    assert!(host.is_on_link(address("10.100.1.5"), "net-10.100.1.0/24"));
    assert!(codes(&host).contains(&"inferred-bridge"));
}

#[test]
fn docker_without_its_proxy_routes_loopback() {
    let jump = |except: &str| {
        rules(&format!(
            "*nat\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n\
             -A OUTPUT {except}-m addrtype --dst-type LOCAL -j DOCKER\n\
             -A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80\n\
             COMMIT\n"
        ))
    };
    let setting = |host: &Host| host.sysctls.get("net.ipv4.conf.docker0.route_localnet");
    assert_eq!(setting(&jump("")), Some(1));
    assert_eq!(setting(&jump("! -d 127.0.0.0/8 ")), None);
}

#[test]
fn an_internal_network_is_seen_by_what_it_refuses() {
    let host = rules(
        "-N DOCKER-ISOLATION-STAGE-1\n\
         -A DOCKER-ISOLATION-STAGE-1 ! -s 172.20.0.0/16 -o br-inner -j DROP\n\
         -A DOCKER-ISOLATION-STAGE-1 ! -d 172.20.0.0/16 -i br-inner -j DROP\n",
    );
    assert!(host.is_on_link(address("172.20.0.9"), "br-inner"), "{:?}", host.interfaces);
}

/// What must not come in by an interface is not behind it.
#[test]
fn a_spoofing_guard_shows_no_subnet() {
    let host = rules(
        "-A INPUT -s 10.0.0.0/8 -i wan0 -j DROP\n-A INPUT -s 10.1.0.0/16 -i lan0 -j ACCEPT\n",
    );
    let main = host.routing.tables4[&MAIN].routes();
    let shown: Vec<_> =
        main.iter().map(|route| route.text.as_str()).filter(|t| t.starts_with("10.")).collect();
    assert_eq!(shown, ["10.1.0.0/16 dev lan0 scope link"]);
}

#[test]
fn only_what_bears_on_a_packet_is_told_of_it() {
    let host = rules(
        "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
         -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br-one -j MASQUERADE\n",
    );
    let all = host.assumptions.len();
    let told = host.assumptions_about(&["docker0", "uplink"], &[]);
    assert!(told.iter().any(|a| a.text.contains("docker0 is taken to have 172.17.0.0/16")));
    assert!(told.iter().any(|a| a.code == "ip-forward-assumed"), "the whole host is always met");
    assert!(told.iter().all(|a| !a.text.contains("br-one")), "{told:?}");
    assert!(told.len() < all);
}

/// The third story, from a listing without interfaces: a container shows Docker's own bridge.
#[test]
fn a_container_in_a_listing_shows_dockers_bridge() {
    let host = rules(
        "Chain POSTROUTING (policy ACCEPT)\n\
         target     prot opt source               destination         \n\
         MASQUERADE  all  --  172.17.0.2          !192.168.12.0/24     \n\
         \n\
         Chain DOCKER (2 references)\n\
         target     prot opt source               destination         \n\
         RETURN     all  --  0.0.0.0/0            0.0.0.0/0           \n",
    );
    assert!(host.is_on_link(address("172.17.0.9"), "docker0"), "{:?}", host.interfaces);
}
