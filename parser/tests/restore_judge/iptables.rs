//! The real iptables-restore in a network namespace of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use nattrace_parser::syntax::{Backend, Family};

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

/// Whether this process may make a namespace and has iptables.
pub(crate) fn available() -> Result<(), String> {
    let tried = Command::new("unshare").args(["-n", "iptables-nft", "-S"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Loads each text on its own, and saves what it leaves.
pub(crate) fn judge(family: Family, backend: Backend, texts: &[String]) -> Vec<Answer> {
    let program = match (family, backend) {
        (Family::Ipv4, Backend::Nft) => "iptables-nft",
        (Family::Ipv6, Backend::Nft) => "ip6tables-nft",
        (Family::Ipv4, Backend::Legacy) => "iptables-legacy",
        (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy",
    };
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::write(folder.path().join("reset"), RESET).expect("a scratch file");
    for (index, text) in texts.iter().enumerate() {
        fs::write(folder.path().join(format!("{index:06}.rules")), text).expect("a scratch file");
    }
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", SCRIPT, "judge"])
        .arg(folder.path())
        .arg(program)
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{program}: {status}");
    (0..texts.len()).map(|index| answer(folder.path(), index)).collect()
}

fn answer(folder: &Path, index: usize) -> Answer {
    let read = |ending: &str| {
        fs::read(folder.join(format!("{index:06}.{ending}")))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    if read("list").is_ok_and(|listed| !listed.is_empty()) {
        return Answer::Other;
    }
    match read("out") {
        Ok(saved) => Answer::Saved(saved),
        Err(_) => Answer::Refused(read("err").unwrap_or_default()),
    }
}
