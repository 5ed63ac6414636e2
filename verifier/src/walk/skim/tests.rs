use std::net::IpAddr;
use std::path::Path;

use nattrace_model::build::load;
use nattrace_model::host::InterfaceKind;
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_model::simulate;

use super::*;
use crate::header::Header;
use crate::space::Space;
use crate::walk::{Entry, Question};

fn system(case: &str) -> System {
    let folder = Path::new("../corpus/cases").join(case);
    let case = nattrace_corpus::case::Case::read(&folder).unwrap();
    load(&case.texts(), &[]).system
}

fn entries(system: &System) -> Vec<Entry> {
    let wires = system.host.interfaces.iter();
    let wires = wires.filter(|own| own.up && own.kind != InterfaceKind::Loopback);
    let wires = wires.filter(|own| own.port.is_none()).take(4);
    wires.map(|own| Entry::Interface(own.name.clone())).chain([Entry::Local]).collect()
}

// Passing over rules must not be noticed: each answer is the simulator's own, what a refused packet
// would have met included.
#[test]
fn a_packet_in_a_hurry_meets_the_same_rules() {
    let mut steps = 0;
    for case in ["04-networks", "14a-docker-user-wrong-port", "17c-notrack", "19a-docker29-portmap"]
    {
        let system = system(case);
        let world = World::default();
        let own = system.host.interfaces.iter().flat_map(|interface| &interface.addresses);
        let members = system.host.inventory.containers.iter().flat_map(|own| &own.endpoints);
        let members = members.flat_map(|endpoint| &endpoint.addresses).map(|(own, _)| *own);
        let outside = ["203.0.113.7", "2606:4700:4700::1111"].map(|a| a.parse().unwrap());
        let all: Vec<IpAddr> =
            own.map(|own| own.local).take(5).chain(members.take(3)).chain(outside).collect();
        let space = Space::new(Family::Ipv4);
        for entry in entries(&system) {
            for (source, destination) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b)))
            {
                if Family::of(source) != Family::of(destination) {
                    continue;
                }
                let question = Question::new(space.none(), entry.clone());
                for destination_port in [22, 80, 8080] {
                    let flow = question.flow(&Header {
                        source,
                        destination,
                        protocol: protocol::TCP,
                        source_port: 40_000,
                        destination_port,
                        icmp: (0, 0),
                        tcp_flags: tcp_flag::SYN,
                    });
                    let whole = simulate::why(&system, &flow);
                    steps += whole.steps.len();
                    assert_eq!(why(&system, &world, &flow), whole, "{case} {flow:?}");
                }
            }
        }
    }
    assert!(steps > 1000, "{steps}");
}
