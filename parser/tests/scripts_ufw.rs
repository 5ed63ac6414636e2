//! Rules files of ufw: they fill chains that ufw makes, whichever comes first.

use nattrace_parser::replay::Replay;
use nattrace_parser::syntax::{Backend, Family};
use nattrace_parser::{EmitOptions, Severity, emit_rules};

const BEFORE: &str = "# rules.before\n*filter\n:ufw-before-input - [0:0]\n:ufw-not-local - [0:0]\n\
                      -A ufw-before-input -i lo -j ACCEPT\n\
                      -A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny\n\
                      -A ufw-before-input -j ufw-not-local\nCOMMIT\n";
const USER: &str = "*filter\n:ufw-user-input - [0:0]\n:ufw-user-output - [0:0]\n\
                    :ufw-user-forward - [0:0]\n### RULES ###\n\
                    -A ufw-user-input -p tcp --dport 22 -j ACCEPT\n### END RULES ###\nCOMMIT\n";

/// What these files leave.
fn load(texts: &[&'static str]) -> String {
    let mut replay = Replay::default();
    let mut printed = String::new();
    for (number, text) in (0..).zip(texts) {
        let (rules, found) = replay.script(text, Backend::Nft, number);
        assert!(found.iter().all(|one| one.severity == Severity::Note), "{found:#?}");
        printed = emit_rules(&rules[0], EmitOptions::default());
    }
    printed
}

#[test]
fn the_chains_of_ufw_are_there_and_called() {
    let printed = load(&[BEFORE, USER]);
    for line in [
        ":INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n",
        "-A INPUT -j ufw-before-logging-input\n-A INPUT -j ufw-before-input\n-A INPUT -j ufw-after-input\n",
        "-A ufw-before-input -j ufw-not-local\n-A ufw-before-input -j ufw-user-input\n",
        "-A ufw-skip-to-policy-input -j DROP\n",
        "-A ufw-track-output -p tcp -m conntrack --ctstate NEW -j ACCEPT\n",
        "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\n",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    assert_eq!(load(&[USER, BEFORE]), printed, "the order of the files");
    assert_eq!(load(&[BEFORE, USER, USER]), printed, "loaded twice");
}

#[test]
fn the_family_is_that_of_the_chains() {
    let text =
        "*filter\n:ufw6-before-input - [0:0]\n-A ufw6-before-input -i lo -j ACCEPT\nCOMMIT\n";
    let (rules, _) = Replay::default().script(text, Backend::Nft, 0);
    assert_eq!(rules[0].family, Some(Family::Ipv6));
}
