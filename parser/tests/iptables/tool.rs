//! The real iptables of each family and backend, in a network namespace of its own.

use std::process::Command;
use std::{fs, io, thread};

use nattrace_parser::syntax::{Backend, Family};
use tempfile::TempDir;

/// Every family and backend.
const ALL: [(Family, Backend); 4] = [
    (Family::Ipv4, Backend::Nft),
    (Family::Ipv6, Backend::Nft),
    (Family::Ipv4, Backend::Legacy),
    (Family::Ipv6, Backend::Legacy),
];

/// Whether this process may make a namespace and has iptables; the reason is said where not.
pub(crate) fn available() -> bool {
    let tried = Command::new("unshare").args(["-n", "iptables-nft", "-S"]).output();
    let reason = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    nattrace_skips::skip("what iptables says", &format!("no namespace with it: {reason}"));
    false
}

/// Runs something for every family and backend at once.
pub(crate) fn for_each<T: Send>(
    run: impl Fn(Family, Backend) -> T + Sync,
) -> Vec<((Family, Backend), T)> {
    thread::scope(|scope| {
        let run = &run;
        let threads = ALL.map(|(family, backend)| scope.spawn(move || run(family, backend)));
        ALL.into_iter().zip(threads.map(|one| one.join().expect("no panic"))).collect()
    })
}

/// What a script left of each text.
pub(crate) struct Loaded(TempDir);

impl Loaded {
    /// What the script wrote to `NUMBER.ENDING` of a text.
    pub(crate) fn of(&self, number: usize, ending: &str) -> io::Result<String> {
        let bytes = fs::read(self.0.path().join(format!("{number:06}.{ending}")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Runs a shell script in a namespace, which is gone with its last process. Its arguments are the
/// name of iptables and a folder with the texts, as `NUMBER.rules`, and with other files.
pub(crate) fn load(
    script: &str,
    (family, backend): (Family, Backend),
    texts: &[String],
    files: &[(&str, &str)],
) -> Loaded {
    let program = match (family, backend) {
        (Family::Ipv4, Backend::Nft) => "iptables-nft",
        (Family::Ipv6, Backend::Nft) => "ip6tables-nft",
        (Family::Ipv4, Backend::Legacy) => "iptables-legacy",
        (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy",
    };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("a scratch file");
    };
    for (number, text) in texts.iter().enumerate() {
        write(&format!("{number:06}.rules"), text);
    }
    for (name, text) in files {
        write(name, text);
    }
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", script, "judge"])
        .arg(folder.path())
        .arg(program)
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{program}: {status}");
    Loaded(folder)
}

/// A number in the environment.
pub(crate) fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of a run: `NATTRACE_JUDGE_SEED`, or another each time.
pub(crate) fn seed() -> u64 {
    let seed = number_from("NATTRACE_JUDGE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("NATTRACE_JUDGE_SEED={seed}");
    seed
}
