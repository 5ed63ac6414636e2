//! The real iptables in a network namespace of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use nattrace_parser::syntax::{Backend, Family};

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
/// Everything happens in one namespace, which is gone with its last process.
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

/// Whether this process may make a namespace and has iptables.
pub(crate) fn available() -> Result<(), String> {
    let tried = Command::new("unshare").args(["-n", "iptables-nft", "-S"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Loads each text on its own, and saves its table.
pub(crate) fn judge(family: Family, backend: Backend, texts: &[String]) -> Vec<Answer> {
    let program = match (family, backend) {
        (Family::Ipv4, Backend::Nft) => "iptables-nft",
        (Family::Ipv6, Backend::Nft) => "ip6tables-nft",
        (Family::Ipv4, Backend::Legacy) => "iptables-legacy",
        (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy",
    };
    let folder = tempfile::tempdir().expect("a scratch folder");
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
    let said = read("err").unwrap_or_default();
    match read("out") {
        Ok(saved) => Answer::Saved(
            saved.lines().filter(|line| line.starts_with("-A ")).map(str::to_owned).collect(),
        ),
        Err(_) if said.contains("missing kernel module") => Answer::Missing,
        Err(_) => Answer::Refused(said),
    }
}
