//! What the real iptables makes of rules.

use nattrace_parser::syntax::{Backend, Family};

use super::tool::{self, Loaded};

/// What iptables-restore and iptables-save said of one text.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The rules that were saved.
    Saved(Vec<String>),
    /// What was said against it.
    Refused(String),
    /// The kernel has no such extension.
    Missing,
}

/// The sets that rules may name, and the loop over all texts.
///
/// Everything happens in one namespace.
const SCRIPT: &str = r#"
cd "$1" || exit 9
ip link set lo up
ipset create s4 hash:ip family inet
ipset create n4 hash:net,port family inet
ipset create s6 hash:ip family inet6
ipset create n6 hash:net,port family inet6
for file in *.rules; do
  name=${file%.rules}
  read -r table <"$file"
  if "$2"-restore <"$file" >"$name.err" 2>&1; then
    "$2"-save -t "${table#\*}" >"$name.out" 2>>"$name.err" || rm -f "$name.out"
  fi
done
"#;

/// Loads each text on its own, and saves its table.
pub(crate) fn judge(family: Family, backend: Backend, texts: &[String]) -> Vec<Answer> {
    let loaded = tool::load(SCRIPT, (family, backend), texts, &[]);
    (0..texts.len()).map(|number| answer(&loaded, number)).collect()
}

fn answer(loaded: &Loaded, number: usize) -> Answer {
    let said = loaded.of(number, "err").unwrap_or_default();
    match loaded.of(number, "out") {
        Ok(saved) => Answer::Saved(
            saved.lines().filter(|line| line.starts_with("-A ")).map(str::to_owned).collect(),
        ),
        Err(_) if said.contains("missing kernel module") => Answer::Missing,
        Err(_) => Answer::Refused(said),
    }
}
