//! Both engines say the same of every policy: on the cases of the corpus, and on random rules.
//!
//! `NATTRACE_ENGINE_PROPERTIES` sets how many random properties are asked about,
//! `NATTRACE_ENGINE_SEED` which (of plain rules `NATTRACE_LAW_SEED` does, as in other laws), `NATTRACE_ENGINE_LEAST_RULES` and `NATTRACE_ENGINE_RULES` how many
//! rules there may be, and `NATTRACE_ENGINE_SECONDS` how long the solver may take for each.
//! `NATTRACE_ENGINE_RULESET` asks about this one of the random rulesets alone, and prints its host;
//! `NATTRACE_ENGINE_ALL` asks about everything in the cases, else it is a part of it.
#![cfg(feature = "z3")]

mod property;
mod rules;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::System;
use nattrace_model::build::{Text, load};
use nattrace_parser::policy::{Claim, Entry, Given, Policy, parse};
use nattrace_parser::syntax::Family;
use nattrace_verifier::check::{Disagreement, Engine, Finding, Status, check_with};
use nattrace_verifier::draft;
use nattrace_verifier::policy::unknown_names;
use nattrace_verifier::smt::{Declared, Solution, Solver, Z3};
use rayon::prelude::*;

use property::property;

/// A solver with so much time for all questions of a property.
#[derive(Debug)]
struct Hurried {
    milliseconds: AtomicU64,
}

impl Solver for Hurried {
    fn name(&self) -> String {
        Z3 { seconds: 1 }.name()
    }

    fn solve(&self, script: &str, declared: &[Declared]) -> Solution {
        let left = self.milliseconds.load(Relaxed);
        let Ok(seconds @ 1..) = u32::try_from(left / 1000) else {
            return Solution::Unknown("no time is left".to_owned());
        };
        let begun = Instant::now();
        let solution = Z3 { seconds }.solve(script, declared);
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
        self.milliseconds.store(left.saturating_sub(took), Relaxed);
        solution
    }
}

/// What was found.
#[derive(Default)]
struct Tally {
    agreed: [usize; 3],
    alone: Vec<String>,
    at_odds: Vec<String>,
}

/// Asks both engines about a policy.
fn ask(tally: &Mutex<Tally>, about: &str, policy: &Policy, system: &System) {
    let begun = Instant::now();
    let seconds = number("SECONDS").unwrap_or(30);
    let solver = Hurried { milliseconds: AtomicU64::new(1000 * seconds) };
    let found = check_with(policy, system, &Given::default(), Engine::Both(&solver));
    let spent = 1000 * seconds - solver.milliseconds.load(Relaxed);
    tally.lock().unwrap().add(about, found);
    if begun.elapsed().as_secs() > 9 {
        println!("slow: {} s, of these {} ms Z3: {about}", begun.elapsed().as_secs(), spent);
    }
}

impl Tally {
    fn add(&mut self, about: &str, findings: Result<Vec<Finding>, Disagreement>) {
        let findings = findings.unwrap_or_else(|fault| {
            println!("at odds: {about}: {fault}");
            self.at_odds.push(format!("{about}: {fault}"));
            Vec::new()
        });
        for finding in findings {
            if finding.proved_by.len() == 2 {
                self.agreed[finding.status as usize] += 1;
            } else {
                let (name, by) = (&finding.name, &finding.proved_by);
                self.alone.push(format!("{about}: {name}: {:?} by {by:?}", finding.status));
            }
        }
        let all = self.agreements() + self.alone.len();
        if all.is_multiple_of(50) {
            println!("{all} answered, {} agree", self.agreements());
        }
    }

    fn agreements(&self) -> usize {
        self.agreed.iter().sum()
    }

    fn tell(&self, what: &str) {
        let [holds, unknown, fails] = self.agreed;
        println!(
            "{what}: {} agree ({holds} hold, {fails} fail, {unknown} unknown), {} by one engine \
             alone, {} at odds",
            self.agreements(),
            self.alone.len(),
            self.at_odds.len()
        );
        for line in &self.alone {
            println!("alone: {line}");
        }
        assert_eq!(Status::Fails as usize, 2);
        assert!(self.at_odds.is_empty(), "{}", self.at_odds.join("\n"));
        // How far the solver gets depends on the machine, but mostly it gets there.
        assert!(self.alone.len() < self.agreements(), "{} alone", self.alone.len());
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(format!("NATTRACE_ENGINE_{name}")).ok()?.parse().ok()
}

fn is_everything_wanted() -> bool {
    std::env::var_os("NATTRACE_ENGINE_ALL").is_some()
}

fn read(text: &str) -> Policy {
    let (policy, complaints) = parse(text);
    assert_eq!(complaints, [], "{text}");
    policy
}

/// The cases that are asked about where not all are.
const SAMPLE: [&str; 8] = ["01-", "03-", "05", "07a-", "11a-", "15a-", "17a-", "19c-"];

/// Whether a case is one that is asked for.
fn is_wanted(name: &str) -> bool {
    match std::env::var("NATTRACE_CASE") {
        Ok(wanted) => name.starts_with(wanted.as_str()),
        Err(_) => is_everything_wanted() || SAMPLE.iter().any(|begin| name.starts_with(begin)),
    }
}

/// The entries of a policy, each with what it refers to and nothing else.
fn single(policy: &Policy) -> Vec<Policy> {
    let mut each = Vec::new();
    for entry in &policy.entries {
        let referred = |other: &Entry| match (&entry.claim, &other.name) {
            (Claim::Deny { except, .. }, Some(name)) => {
                except.iter().any(|known| known.value == name.value)
            }
            _ => false,
        };
        let mut one = policy.clone();
        one.entries.retain(|other| other.span == entry.span || referred(other));
        each.push(one);
    }
    each
}

/// Asks about the policies that a function makes of each case.
fn compare(what: &str, most: usize, policy_of: impl Fn(&Case, &System) -> Option<Policy> + Sync) {
    let tally = Mutex::new(Tally::default());
    let cases = Case::read_all(&cases_dir()).unwrap();
    let all = is_everything_wanted();
    let cases: Vec<&Case> = cases.iter().filter(|case| is_wanted(&case.name)).collect();
    cases.par_iter().for_each(|case| {
        let system = load(&case.texts(), &[]).system;
        let Some(policy) = policy_of(case, &system) else { return };
        let each = single(&policy);
        let most = if all { each.len() } else { most };
        each.par_iter().take(most).for_each(|one| ask(&tally, &case.name, one, &system));
    });
    tally.into_inner().unwrap().tell(what);
}

/// Rules without the host around them: what REDIRECT picks has a stand-in.
#[test]
fn both_engines_say_the_same_of_rules_alone() {
    let tally = Mutex::new(Tally::default());
    let rules = "*nat\n-A PREROUTING -i eth1 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n\
                 -A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n";
    let policy = |family: &str, net: &str| {
        read(&format!(
            "version = 1\n[zones.inside]\nvia = [\"eth1\"]\nnets = [\"{net}\"]\n\
             [[deny]]\nname = \"proxy\"\nfamily = \"{family}\"\nfrom = \"inside\"\n\
             lands = \"host:3128/tcp\"\n\
             [[deny]]\nname = \"web\"\nfamily = \"{family}\"\nfrom = \"inside\"\n\
             lands = \"internet:80/tcp\"\n\
             [[deny]]\nname = \"other\"\nfamily = \"{family}\"\nfrom = \"inside\"\n\
             lands = \"internet:443/tcp\"\n"
        ))
    };
    let hosts = [
        ("iptables-save", "ipv4", "192.168.1.0/24"),
        ("ip6tables-save", "ipv6", "2001:db8:1::/64"),
    ];
    for (part, family, net) in hosts {
        let system = load(&[Text { name: part, text: rules }], &[]).system;
        for one in single(&policy(family, net)) {
            ask(&tally, part, &one, &system);
        }
    }
    let tally = tally.into_inner().unwrap();
    tally.tell("rules alone");
    assert_eq!(tally.agreed[Status::Holds as usize], 2, "nothing gets to the internet's port 80");
    assert_eq!(tally.agreed[Status::Fails as usize], 4, "the proxy gets it, and other ports pass");
}

/// What no part of a snapshot says: multicast routes, and policy rules that are not modelled.
#[test]
fn both_engines_leave_open_what_no_part_says() {
    const ADDRESSES: &str = "2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500\n    \
        inet 10.0.1.1/24 scope global lan\n    inet6 2001:db8:1::1/64 scope global\n\
        3: wan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500\n    \
        inet 10.0.2.1/24 scope global wan\n    inet6 2001:db8:2::1/64 scope global\n";
    const ROUTES: &str = "10.0.1.0/24 dev lan\n10.0.2.0/24 dev wan\n";
    const ROUTES6: &str =
        "2001:db8:1::/64 dev lan metric 256\n2001:db8:2::/64 dev wan metric 256\n";
    const FORWARDING: &str = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n\
        net.ipv4.conf.lan.rp_filter = 0\nnet.ipv6.conf.all.forwarding = 1\n";
    const INPUT: &str = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
    const TYPE: &str = "*filter\n-A FORWARD -m addrtype ! --dst-type UNREACHABLE -j DROP\nCOMMIT\n";
    const PLAIN: &str = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n";
    // What comes in by `lan` never gets to the rule for VRFs, but the look-up of addrtype does.
    let vrf = "0:\tfrom all lookup local\n10:\tfrom all iif lan lookup main\n\
               15:\tfrom all iif wan lookup main\n20:\tfrom all lookup [l3mdev-table]\n\
               32766:\tfrom all lookup main\n";
    let daemon = |family: &str, names: &[&str]| {
        let all = names.iter().map(|name| format!("net.{family}.conf.{name}.mc_forwarding = 1\n"));
        all.collect::<String>()
    };
    let (daemon4, daemon6) = (daemon("ipv4", &["all", "lan"]), daemon("ipv6", &["all"]));
    let (holds, unknown) = (Status::Holds, Status::Unknown);
    let daemon_off = daemon4.replace("all.mc_forwarding = 1", "all.mc_forwarding = 0");
    let both = 2;
    let asked = [
        ("ipv4", "239.0.0.0/8", INPUT, "", PLAIN, (holds, both)),
        // The solver is not told of multicast routes, and says so of whatever they may decide.
        ("ipv4", "239.0.0.0/8", INPUT, &daemon4, PLAIN, (unknown, 1)),
        ("ipv4", "224.0.0.0/24", INPUT, &daemon4, PLAIN, (holds, 1)),
        ("ipv4", "239.0.0.0/8", INPUT, &daemon_off, PLAIN, (holds, both)),
        ("ipv6", "ff05::/16", INPUT, "", PLAIN, (holds, both)),
        ("ipv6", "ff05::/16", INPUT, &daemon6, PLAIN, (unknown, 1)),
        ("ipv6", "ff12::/16", INPUT, &daemon6, PLAIN, (holds, 1)),
        ("ipv6", "2001:db8:2::2/128", TYPE, "", PLAIN, (holds, both)),
        ("ipv6", "2001:db8:2::2/128", TYPE, "", vrf, (unknown, both)),
    ];
    for (family, to, rules, settings, policy_rules, said) in asked {
        let ipv4 = family == "ipv4";
        let settings = format!("{FORWARDING}{settings}");
        let parts = [
            ("ip-addr", ADDRESSES),
            ("ip-route", ROUTES),
            ("ip6-route", ROUTES6),
            ("ip-rule", PLAIN),
            ("ip6-rule", if ipv4 { PLAIN } else { policy_rules }),
            ("sysctl", &settings),
            ("iptables-save", if ipv4 { rules } else { "" }),
            ("ip6tables-save", if ipv4 { "" } else { rules }),
        ];
        let texts = parts.map(|(name, text)| Text { name, text });
        let loaded = load(&texts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let inside = if ipv4 { "10.0.1.0/24" } else { "2001:db8:1::/64" };
        let policy = read(&format!(
            "version = 1\n[zones.inside]\nvia = [\"lan\"]\nnets = [\"{inside}\"]\n\
             [zones.far]\nnets = [\"{to}\"]\n\
             [[deny]]\nname = \"far\"\nfamily = \"{family}\"\nfrom = \"inside\"\n\
             lands = \"far:5000/udp\"\n"
        ));
        let solver = Z3 { seconds: 30 };
        let found =
            check_with(&policy, &loaded.system, &Given::default(), Engine::Both(&solver)).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.status, one.proved_by.len())).collect();
        assert_eq!(found, [said], "{to} {settings} {policy_rules}");
    }
}

/// What a container on an internal network sends elsewhere: Docker 25.0 and later give it no default
/// route, so it doesn't get to the rules; older ones do, and rules stop it.
#[test]
fn both_engines_say_the_same_of_internal_networks() {
    const GATEWAY: &str = "\"Gateway\": \"172.20.0.1\"";
    // Without Docker's own rules, the route alone decides.
    let policy = read(
        "version = 1\n[[deny]]\nname = \"to docker0\"\nfamily = \"ipv4\"\nfrom = \"container:i1\"\n\
         lands = \"172.17.0.1:9090/tcp\"\n[[allow]]\nname = \"to its gateway\"\n\
         family = \"ipv4\"\nfrom = \"container:i1\"\nto = \"172.20.0.1:9090/tcp\"\n\
         [[deny]]\nname = \"nobody there\"\nfamily = \"ipv4\"\nfrom = \"net:inner\"\n\
         lands = \"172.17.0.1:9090/tcp\"\n",
    );
    for (gateway, to_docker0) in [(GATEWAY, Status::Fails), ("\"Gateway\": \"\"", Status::Holds)] {
        let mut case = Case::read(&cases_dir().join("04-networks")).unwrap();
        let part = case.parts.iter_mut().find(|(name, _)| name == "docker-inspect.json").unwrap();
        assert!(part.1.contains(GATEWAY));
        part.1 = part.1.replace(GATEWAY, gateway);
        let system = load(&case.texts(), &[]).system;
        let solver = Z3 { seconds: 60 };
        let found = check_with(&policy, &system, &Given::default(), Engine::Both(&solver)).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.status, one.proved_by.len())).collect();
        assert_eq!(found, [(to_docker0, 2), (Status::Holds, 2), (to_docker0, 2)], "{gateway}");
    }
}

#[test]
fn both_engines_say_the_same_of_what_holds_today() {
    compare("drafts", 1, |_, system| Some(read(&draft::draft(system))));
}

#[test]
fn both_engines_say_the_same_of_the_policies_of_cases() {
    compare("policies", 2, |case, _| {
        let text = std::fs::read_to_string(cases_dir().join(&case.name).join("policy.toml"));
        text.ok().map(|text| read(&text))
    });
}

/// Where random rules come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The kernel lab's generator: everything that means something, side by side.
    Lab,
    /// What firewalls are made of.
    Plain,
}

/// Asks both engines about random properties of random rules.
fn compare_random(source: Source, least_rules: u64, most_rules: u64) {
    let law = std::env::var("NATTRACE_LAW_SEED").ok().and_then(|seed| seed.parse().ok());
    let law = law.filter(|_| matches!(source, Source::Plain));
    let seed: u64 = number("SEED").or(law).unwrap_or(2);
    let wanted = number("PROPERTIES").unwrap_or(8);
    let least_rules = usize::try_from(number("LEAST_RULES").unwrap_or(least_rules)).unwrap();
    let most_rules = usize::try_from(number("RULES").unwrap_or(most_rules)).unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut drawn = Vec::new();
    let mut ruleset = 0;
    while (drawn.len() as u64) < wanted {
        ruleset += 1;
        let family = if random.u8(0..3) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let mut drawing = draw_host(seed + ruleset % 2, ruleset, family, 4).unwrap();
        if let Source::Plain = source {
            let rules = rules::rules(family, &drawing.flows, least_rules..=most_rules, &mut random);
            drawing.texts.last_mut().unwrap().1 = rules;
        }
        let lines = drawing.texts.iter().flat_map(|(_, text)| text.lines());
        let rules = lines.filter(|line| line.starts_with("-A ")).count();
        if rules > most_rules || rules < least_rules {
            continue;
        }
        let texts: Vec<Text<'_>> =
            drawing.texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&texts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let system = Arc::new(loaded.system);
        for flow in &drawing.flows {
            let text = format!("version = 1\n{}", property(&system, flow, &mut random));
            let policy = read(&text);
            assert_eq!(unknown_names(&policy, &system), [], "{text}");
            let about = format!("{source:?} seed {seed} ruleset {ruleset}, {rules} rules: {text}");
            drawn.push((ruleset, (about, policy, Arc::clone(&system))));
        }
        if number("RULESET") == Some(ruleset) {
            for (part, text) in &drawing.texts {
                println!("#@ nattrace {part}\n{text}");
            }
        }
    }
    drawn.retain(|(ruleset, _)| number("RULESET").is_none_or(|wanted| wanted == *ruleset));
    let tally = Mutex::new(Tally::default());
    drawn.par_iter().for_each(|(_, (about, policy, system))| ask(&tally, about, policy, system));
    tally.into_inner().unwrap().tell("random rules");
}

#[test]
fn both_engines_say_the_same_of_rules_of_the_lab() {
    // The classes of many rules that have nothing to do with one another are too many to wait for.
    compare_random(Source::Lab, 0, 12);
}

#[test]
fn both_engines_say_the_same_of_plain_rules() {
    compare_random(Source::Plain, 10, 24);
}
