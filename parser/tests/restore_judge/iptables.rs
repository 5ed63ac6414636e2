//! What the real iptables-restore makes of texts.

use nattrace_parser::syntax::{Backend, Family};

use super::tool::{self, Loaded};

/// What iptables-restore and iptables-save said of one text.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// What iptables-save then printed.
    Saved(String),
    /// What was said against it.
    Refused(String),
    /// It was asked for help, or for a list.
    Other,
}

/// Loads each text into tables that are empty, and saves them with counters.
const SCRIPT: &str = r#"
cd "$1" || exit 9
ip link set lo up
for file in *.rules; do
  name=${file%.rules}
  "$2"-restore <reset || exit 8
  if "$2"-restore -c <"$file" >"$name.list" 2>"$name.err"; then
    "$2"-save -c >"$name.out" 2>>"$name.err" || rm -f "$name.out"
  fi
done
"#;

/// Tables as they are without rules.
const RESET: &str = "\
*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n\
*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n\
:POSTROUTING ACCEPT\nCOMMIT\n\
*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
*security\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n";

/// Loads each text on its own, and saves what it leaves.
pub(crate) fn judge(family: Family, backend: Backend, texts: &[String]) -> Vec<Answer> {
    let loaded = tool::load(SCRIPT, (family, backend), texts, &[("reset", RESET)]);
    (0..texts.len()).map(|number| answer(&loaded, number)).collect()
}

fn answer(loaded: &Loaded, number: usize) -> Answer {
    if loaded.of(number, "list").is_ok_and(|listed| !listed.is_empty()) {
        return Answer::Other;
    }
    match loaded.of(number, "out") {
        Ok(saved) => Answer::Saved(saved),
        Err(_) => Answer::Refused(loaded.of(number, "err").unwrap_or_default()),
    }
}
