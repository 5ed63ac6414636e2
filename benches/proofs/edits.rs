//! What a comparison of two hosts costs that differ in one rule.

use crate::scene::{self, Scene};
use crate::{fastest, goal, ratio, restore, run, shown};

/// Measures one rule gone from the middle of a long chain; counts what missed its goal.
pub(crate) fn measure() -> usize {
    let mut missed = 0;
    for (what, scene, chain, most) in [
        ("diff of a firewall of 5,500 rules", scene::firewall(5500), "-A FORWARD ", 15.0),
        ("diff of 10,000 services", scene::kube(), "-A KUBE-SERVICES -d ", 3.0),
    ] {
        let Some(scene) = scene else {
            println!("skipped: {what}: ../shared/gen_rulesets.py and python3 are needed");
            continue;
        };
        let Some(restore) = restore(&scene) else {
            println!("skipped: {what}: iptables-legacy-restore is needed");
            continue;
        };
        let edited = without_one(&scene, chain);
        let diff = fastest(|| run(&["diff", &scene.folder(), &edited]));
        println!("{what}: {}, restore --test {restore:?}", shown(diff));
        missed += goal(what, ratio(diff, restore), most);
    }
    missed
}

/// The rules without the middle one of those that begin so, in a file beside them.
fn without_one(scene: &Scene, begin: &str) -> String {
    let of_chain = scene.rules.lines().filter(|line| line.starts_with(begin)).count();
    let mut before = of_chain / 2;
    let kept = scene.rules.lines().filter(|line| {
        let own = line.starts_with(begin);
        let gone = own && before == 0;
        before = before.wrapping_sub(usize::from(own));
        !gone
    });
    let text = kept.collect::<Vec<_>>().join("\n") + "\n";
    let path = scene.rules_file().with_file_name("edited.rules");
    std::fs::write(&path, text).expect("the temporary folder can be written");
    path.display().to_string()
}
