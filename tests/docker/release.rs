//! Rules of Docker 28 and 29 beside a daemon of 20.10 that leaves rules alone, as a case of the
//! corpus has them, and what a start of such a daemon does to them.

use nattrace_corpus::case::cases_dir;
use serde::Deserialize;

use crate::world::World;

/// Whose rules, and which container of ours stands for the one that is published there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    case: String,
    address: String,
    port: u16,
}

/// Its chains that are filled anew when it starts; `DOCKER-USER` is the user's.
const OWN: [&str; 5] =
    ["DOCKER", "DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-FORWARD", "DOCKER-INTERNAL"];

impl Release {
    /// The rules, told of our networks.
    fn rules(&self) -> String {
        let path = cases_dir().join(&self.case).join("iptables-save");
        let saved = std::fs::read_to_string(path).unwrap();
        let lines = saved.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.map(|line| match line.strip_prefix('[') {
            Some(counted) => counted.split_once("] ").unwrap().1,
            None => line,
        });
        let rules = lines.map(|line| format!("{line}\n")).collect::<String>();
        rules
            .replace("bridge1", "br-pub")
            .replace("192.0.2.0/24", "172.28.1.0/24")
            .replace("192.0.2.2", &self.address)
            .replace("8080", &self.port.to_string())
    }

    fn load(world: &World, options: &str, rules: &str) {
        let path = world.path("release");
        std::fs::write(&path, rules).unwrap();
        world.on_host(&format!("iptables-restore {options} {}", path.display()));
    }

    pub(crate) fn prepare(&self, world: &World) {
        Self::load(world, "", &self.rules());
    }

    /// Chains of its own are emptied and filled, its jumps go to the front of FORWARD again, and
    /// what else it has in built-in chains is made where it is missing.
    pub(crate) fn starts(&self, world: &World) {
        let (mut table, mut text) = ("", String::new());
        let rules = self.rules();
        let found = world.on_host("iptables-save");
        for line in rules.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["-A", "FORWARD", ..] => {
                    text += &format!("{}\n", line.replace("-A", "-D"));
                }
                ["-A", chain, ..] if OWN.contains(chain) => text += &format!("{line}\n"),
                ["-A", ..] if !found.lines().any(|other| other == line) => {
                    text += &format!("{line}\n");
                }
                ["-A", ..] => {}
                ["COMMIT"] if table == "*filter" => {
                    text += "-I FORWARD -j DOCKER-FORWARD\n-I FORWARD -j DOCKER-USER\nCOMMIT\n";
                }
                [chain, ..] if chain.starts_with(':') => {
                    if OWN.contains(&&chain[1..]) {
                        text += &format!("{line}\n");
                    }
                }
                _ => {
                    table = line;
                    text += &format!("{line}\n");
                }
            }
        }
        Self::load(world, "--noflush", &text);
    }
}
