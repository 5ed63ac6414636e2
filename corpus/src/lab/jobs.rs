//! Several parts of a run side by side, each in a process and a network namespace of its own.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nattrace_parser::syntax::{Backend, Family};

use super::session::{Totals, packets_of};

/// A run of the lab over backends and families.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What rulesets and packets are drawn from.
    pub seed: u64,
    /// How many packets are sent, over all rulesets.
    pub packets: u64,
    /// How many rulesets are loaded.
    pub rulesets: u64,
    /// The number of the first ruleset.
    pub first: u64,
    /// Through which backends.
    pub backends: Vec<Backend>,
    /// Of which families.
    pub families: Vec<Family>,
    /// How many parts run at once.
    pub jobs: usize,
    /// What every part is told besides.
    pub others: Vec<String>,
}

/// A part of a run: the same rules and packets whichever the number of parts is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    backend: Backend,
    family: Family,
    first: u64,
    rulesets: u64,
    packets: u64,
}

impl Plan {
    /// Every backend and family gets its share of the rulesets, and each share is cut in as many
    /// parts as keep the jobs busy.
    fn parts(&self) -> Vec<Part> {
        let kinds: Vec<(Backend, Family)> = self
            .backends
            .iter()
            .flat_map(|backend| self.families.iter().map(|family| (*backend, *family)))
            .collect();
        let all = u64::try_from(kinds.len()).unwrap_or(1).max(1);
        let cuts = u64::try_from(self.jobs).unwrap_or(1).div_ceil(all).max(1);
        let mut parts = Vec::new();
        for (number, (backend, family)) in (0u64..).zip(kinds) {
            let rulesets = packets_of(self.rulesets, all, number);
            let packets = packets_of(self.packets, all, number);
            let mut begun = 0;
            for cut in 0..cuts {
                let own = packets_of(rulesets, cuts, cut);
                let sent = (begun..begun + own).map(|at| packets_of(packets, rulesets, at)).sum();
                if own > 0 {
                    let first = self.first + begun;
                    parts.push(Part { backend, family, first, rulesets: own, packets: sent });
                }
                begun += own;
            }
        }
        parts
    }

    /// Runs every part, prints what each says, and sums up.
    ///
    /// # Errors
    ///
    /// A part can't be started, or does not come to its end.
    pub fn run(&self, out: &mut (dyn Write + Send)) -> io::Result<Totals> {
        let waiting: Mutex<VecDeque<Part>> = Mutex::new(self.parts().into());
        let done: Mutex<(Totals, &mut (dyn Write + Send))> = Mutex::new((Totals::default(), out));
        let work = || -> io::Result<()> {
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(part) = next else { return Ok(()) };
                let (said, totals) = self.run_part(&part)?;
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.1.write_all(said.as_bytes())?;
                writeln!(done.1, "{:?}, {:?}: {totals}", part.backend, part.family)?;
                done.0.add(&totals);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(_) => Err(io::Error::other("a part of the run panicked")),
            })
        })?;
        let (totals, _) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(totals)
    }

    /// Runs this program again for one part, in a network namespace of its own. Its children end
    /// with it.
    fn run_part(&self, part: &Part) -> io::Result<(String, Totals)> {
        let backend = match part.backend {
            Backend::Nft => "nft",
            Backend::Legacy => "legacy",
        };
        let family = if part.family == Family::Ipv6 { "6" } else { "4" };
        let numbers = [self.seed, part.first, part.rulesets, part.packets].map(|n| n.to_string());
        let [seed, first, rulesets, packets] = &numbers;
        let output = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child", "--"])
            .arg(std::env::current_exe()?)
            .args(["--inside", "--backend", backend, "--family", family, "--seed", seed])
            .args(["--first", first, "--rulesets", rulesets, "--packets", packets])
            .args(&self.others)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (before, last) = said.trim_end().rsplit_once('\n').unwrap_or(("", said.trim_end()));
        match serde_json::from_str(last) {
            Ok(totals) if before.is_empty() => Ok((String::new(), totals)),
            Ok(totals) => Ok((format!("{before}\n"), totals)),
            Err(_) => Err(io::Error::other(format!("a part of the run broke off:\n{said}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(packets: u64, rulesets: u64, jobs: usize) -> Plan {
        Plan {
            seed: 1,
            packets,
            rulesets,
            first: 5,
            backends: vec![Backend::Nft, Backend::Legacy],
            families: vec![Family::Ipv4, Family::Ipv6],
            jobs,
            others: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_lost_between_the_parts() {
        for (packets, rulesets, jobs) in [(1000, 67, 4), (1003, 7, 16), (5, 1, 3), (10, 40, 9)] {
            let parts = plan(packets, rulesets, jobs).parts();
            assert_eq!(parts.iter().map(|part| part.rulesets).sum::<u64>(), rulesets);
            if rulesets >= 4 {
                assert_eq!(parts.iter().map(|part| part.packets).sum::<u64>(), packets);
            }
        }
    }

    #[test]
    fn a_ruleset_has_the_same_packets_however_many_jobs_there_are() {
        let of = |jobs| {
            let parts = plan(1000, 40, jobs).parts();
            let mut each = Vec::new();
            for part in &parts {
                for at in 0..part.rulesets {
                    let sent = packets_of(part.packets, part.rulesets, at);
                    each.push((part.backend, part.family, part.first + at, sent));
                }
            }
            each
        };
        assert_eq!(of(1), of(16));
    }
}
