//! Compares the simulator with the kernel it runs on: random rules, random packets.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use nattrace_corpus::lab::{self, Options, Plan, Totals};
use nattrace_parser::syntax;

/// How many packets a ruleset gets.
const PACKETS_OF_A_RULESET: u64 = 25;

/// Sends random packets through random rules, and asks the simulator about each of them.
///
/// Everything takes place in a network namespace that is gone afterwards. Ends with 1 if they
/// disagree, with 3 if the lab can't run here.
#[derive(Debug, Parser)]
struct Arguments {
    /// What rulesets and packets are drawn from; by the clock if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many packets are sent.
    #[arg(long, default_value_t = 1000)]
    packets: u64,
    /// How many rulesets they are spread over; one for 25 packets if not given.
    #[arg(long)]
    rulesets: Option<u64>,
    /// The number of the first ruleset.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// The backend that rules are loaded through; both if not given.
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// The family of rules and packets, 4 or 6; both if not given.
    #[arg(long, value_parser = clap::value_parser!(u8).range(4..=6))]
    family: Option<u8>,
    /// How many network namespaces are at work at once; one for each processor if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Whether bridged frames pass the hooks (bridge-nf-call-iptables); by chance if not given.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    bridge_nf: Option<u8>,
    /// Native nft tables beside those of iptables-nft, which is then the only backend.
    #[arg(long)]
    native: bool,
    /// A folder in which each disagreement becomes a case.
    #[arg(long)]
    cases: Option<PathBuf>,
    /// The number of disagreements of one backend and family after which to stop.
    #[arg(long, default_value_t = 20)]
    at_most: u64,
    /// Whether disagreements are shown with all their rules, not the fewest that show them.
    #[arg(long)]
    no_shrink: bool,
    /// Prints what is drawn with the seed, match by match and target by target, and sends nothing.
    #[arg(long)]
    coverage: bool,
    /// Sends the kept cases (corpus/kept) again instead of random packets.
    #[arg(long)]
    kept: bool,
    /// Writes the host under test into a folder, as corpus/lab-host has it, and does nothing else.
    #[arg(long)]
    record_host: Option<PathBuf>,
    /// Set by the lab for itself, in its network namespace.
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Nft,
    Legacy,
}

impl Arguments {
    fn backends(&self) -> Vec<syntax::Backend> {
        match self.backend {
            _ if self.native => vec![syntax::Backend::Nft],
            Some(Backend::Nft) => vec![syntax::Backend::Nft],
            Some(Backend::Legacy) => vec![syntax::Backend::Legacy],
            None => vec![syntax::Backend::Nft, syntax::Backend::Legacy],
        }
    }

    fn families(&self) -> Vec<syntax::Family> {
        match self.family {
            Some(6) => vec![syntax::Family::Ipv6],
            Some(_) => vec![syntax::Family::Ipv4],
            None => vec![syntax::Family::Ipv4, syntax::Family::Ipv6],
        }
    }

    fn rulesets(&self) -> u64 {
        self.rulesets.unwrap_or(self.packets.div_ceil(PACKETS_OF_A_RULESET)).max(1)
    }

    /// What every part of the run is told as it was given.
    fn others(&self) -> Vec<String> {
        let mut others = vec!["--at-most".to_owned(), self.at_most.to_string()];
        if let Some(value) = self.bridge_nf {
            others.extend(["--bridge-nf".to_owned(), value.to_string()]);
        }
        if self.native {
            others.push("--native".to_owned());
        }
        if self.kept {
            others.push("--kept".to_owned());
        }
        if let Some(folder) = &self.record_host {
            others.extend(["--record-host".to_owned(), folder.display().to_string()]);
        }
        if self.no_shrink {
            others.push("--no-shrink".to_owned());
        }
        if let Some(cases) = &self.cases {
            others.extend(["--cases".to_owned(), cases.display().to_string()]);
        }
        others
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _no_one_to_tell = writeln!(io::stderr(), "nattrace-lab: {error}");
            ExitCode::from(3)
        }
    }
}

fn run() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.inside { run_part(&arguments) } else { run_all(&arguments) }
}

fn run_all(arguments: &Arguments) -> io::Result<ExitCode> {
    if arguments.coverage {
        let drawn = lab::coverage(arguments.seed.unwrap_or(0), arguments.rulesets());
        write!(io::stdout(), "{drawn}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let missing = lab::missing();
    if !missing.is_empty() {
        return Err(io::Error::other(format!("missing: {}", missing.join(", "))));
    }
    let by_clock = || {
        let since = std::time::UNIX_EPOCH.elapsed().map(|time| time.as_secs());
        since.unwrap_or(0)
    };
    let plan = Plan {
        seed: arguments.seed.unwrap_or_else(by_clock),
        packets: arguments.packets,
        rulesets: arguments.rulesets(),
        first: arguments.first,
        backends: arguments.backends(),
        families: arguments.families(),
        jobs: arguments.jobs.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        }),
        others: arguments.others(),
    };
    let mut out = io::stdout();
    writeln!(out, "seed {}, {} packets, {} rulesets", plan.seed, plan.packets, plan.rulesets)?;
    let totals = plan.run(&mut out)?;
    write!(out, "{}", totals.kinds())?;
    writeln!(out, "seed {}: {totals}", plan.seed)?;
    Ok(if totals.disagreed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One backend and family, in the network namespace that was made for it.
fn run_part(arguments: &Arguments) -> io::Result<ExitCode> {
    let ([backend], [family]) = (&*arguments.backends(), &*arguments.families()) else {
        return Err(io::Error::other("a part of a run is of one backend and family"));
    };
    let options = Options {
        seed: arguments.seed.unwrap_or(0),
        packets: arguments.packets,
        rulesets: arguments.rulesets(),
        first: arguments.first,
        backend: *backend,
        family: *family,
        bridge_nf: arguments.bridge_nf.map(|value| value != 0),
        native: arguments.native,
        cases: arguments.cases.clone(),
        at_most: arguments.at_most,
        shrink: !arguments.no_shrink,
    };
    let mut out = io::stdout().lock();
    let totals = if let Some(folder) = &arguments.record_host {
        lab::record_host(&options, folder)?;
        Totals::default()
    } else if arguments.kept {
        lab::replay(&options, &mut out)?
    } else {
        lab::run(&options, &mut out)?
    };
    writeln!(out, "{}", serde_json::to_string(&totals)?)?;
    Ok(ExitCode::SUCCESS)
}
