//! Plans in the kernel beside a real daemon: connections behave as the plan says, also after the
//! daemon was started anew, and as before once it is rolled back.

use nattrace_apply::{
    Analysed, Edit, Holder, OWN_CHAIN, Op, Plan, PolicyText, Store, backend_name, digest, read_plan,
};
use nattrace_parser::syntax::{Backend, Family, TableName};

use crate::namespace::run;
use crate::socket::Sightings;
use crate::trial::Trial;
use crate::world::{HOST, HOST_SECOND, INTERNET, World};

const POLICY: &str = "version = 1\n[[egress]]\nname = \"front wears .11\"\nfrom = \"net:front\"\n\
    to = \"internet\"\nsource = \"203.0.113.11\"\n";

fn plan_of(world: &World, edits: Vec<Edit>) -> Plan {
    let analysed = |store: Store| {
        let Store { family, backend } = store;
        let name = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
        let saved = world.on_host(&format!("{name}-{}-save", backend_name(backend)));
        Analysed { family, backend, digest: digest(&saved, family, backend) }
    };
    let mut plan = Plan::new(edits, Store::ALL.into_iter().map(analysed).collect());
    plan.policy = Some(PolicyText { name: "policy.toml".into(), text: POLICY.into() });
    plan.repairs = vec!["front wears .11".into()];
    plan
}

fn edit(holder: Holder, chain: &str, op: Op, position: Option<u32>, rule: &str) -> Edit {
    Edit {
        family: Family::Ipv4,
        holder,
        chain: chain.into(),
        op,
        position,
        rule: rule.into(),
        replaces: None,
        because: "the policy".into(),
    }
}

/// The number of a rule in its chain, and the backend that holds it.
fn find(world: &World, chain: &str, rule: &str) -> (Backend, u32) {
    let version = world.on_host("iptables --version");
    let legacy = version.contains("legacy");
    let listed = world.on_host(&format!("iptables -t nat -S {chain}"));
    let rules = listed.lines().filter(|line| line.starts_with("-A"));
    let place = rules.into_iter().position(|line| line == rule).expect("docker made the rule");
    let backend = if legacy { Backend::Legacy } else { Backend::Nft };
    (backend, u32::try_from(place).unwrap() + 1)
}

/// What an own table and DOCKER-USER hold survives a restart of the daemon; a replaced rule of its
/// own comes back, and the unit of `--persist` replaces it again.
pub(crate) fn survives_the_daemon(world: &World, seen: &Sightings) {
    let trial = Trial::new(world, seen);
    let egress = |trial: &Trial<'_>| trial.ask("f1", &format!("{}:80", INTERNET[0]), "connects");
    // The internet asks for the published port.
    let published = |trial: &Trial<'_>, expected: &str| -> String {
        let outcome = trial.ask("internet", &format!("{}:8090", HOST[0]), expected);
        outcome.split(" as ").next().unwrap().to_owned()
    };
    let [first, second] = [HOST[0], HOST_SECOND].map(|address| format!("connects as {address}"));
    assert_eq!(
        (egress(&trial), published(&trial, "connects").as_str()),
        (first.clone(), "connects")
    );
    let masquerade = "-A POSTROUTING -s 172.28.1.0/24 ! -o br-front -j MASQUERADE";
    let (backend, number) = find(world, "POSTROUTING", masquerade);
    let before = trial.rules();

    let snat = format!("ip saddr 172.28.1.0/24 oifname \"eth0\" counter snat to {HOST_SECOND}");
    let filter = Holder::Iptables(backend, TableName::Filter);
    let drop = "-A DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 8090 -j DROP";
    let plan = plan_of(
        world,
        vec![
            edit(Holder::Own, OWN_CHAIN, Op::Append, None, &snat),
            edit(filter, "DOCKER-USER", Op::Insert, Some(1), drop),
        ],
    );
    let applied = trial.apply(&plan, "--confirm 120");
    assert_eq!(
        (egress(&trial), published(&trial, "timeout").as_str()),
        (second.clone(), "timeout")
    );
    // Undone, everything is as it was; and once more, for good.
    trial.nattrace(&format!("rollback {}", plan.id));
    assert_eq!(applied.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!(trial.rules(), before);
    assert_eq!(
        (egress(&trial), published(&trial, "connects").as_str()),
        (first.clone(), "connects")
    );
    trial.keep(&plan, "--confirm 120");
    trial.restart();
    assert_eq!(
        (egress(&trial), published(&trial, "timeout").as_str()),
        (second.clone(), "timeout")
    );
    trial.nattrace(&format!("rollback {}", plan.id));
    assert_eq!(
        (egress(&trial), published(&trial, "connects").as_str()),
        (first.clone(), "connects")
    );

    // The same, found by nattrace itself.
    let folder = world.path("policy.toml");
    std::fs::write(&folder, POLICY).unwrap();
    let policy = folder.display();
    assert!(!run(&mut trial.command(&format!("check {policy}"))).succeeded);
    let path = world.path("found.json");
    trial.nattrace(&format!("fix {policy} --place nft --format plan -o {}", path.display()));
    let plan = read_plan(&std::fs::read_to_string(&path).unwrap()).unwrap();
    trial.keep(&plan, "--confirm 120");
    assert_eq!(egress(&trial), second);
    trial.restart();
    assert_eq!(egress(&trial), second);
    trial.nattrace(&format!("check {policy}"));
    trial.nattrace(&format!("rollback {}", plan.id));
    assert_eq!(egress(&trial), first);

    let nat = Holder::Iptables(backend, TableName::Nat);
    let rule =
        format!("-A POSTROUTING -s 172.28.1.0/24 ! -o br-front -j SNAT --to-source {HOST_SECOND}");
    let (_, number_now) = find(world, "POSTROUTING", masquerade);
    assert!(number_now > 0 && number > 0);
    let mut replace = edit(nat, "POSTROUTING", Op::Replace, Some(number_now), &rule);
    replace.replaces = Some(masquerade.into());
    let plan = plan_of(world, vec![replace]);
    trial.keep(&plan, "--confirm 120 --persist");
    assert_eq!(egress(&trial), second);
    trial.restart();
    // The daemon misses its rule, and makes it again; then the unit runs behind it.
    assert!(world.on_host("iptables -t nat -S POSTROUTING").contains(masquerade));
    trial.run_unit(&plan.id);
    assert!(!world.on_host("iptables -t nat -S POSTROUTING").contains(masquerade));
    assert_eq!(egress(&trial), second);
    trial.nattrace("uninstall");
    assert_eq!(egress(&trial), first);
    assert!(!trial.rules().contains("nattrace"));
}
