//! Compares the simulator with the kernel it runs on: random rules, random packets.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use nattrace_corpus::lab::{self, Options};
use nattrace_parser::syntax;

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
    /// How many rulesets they are spread over; one for 15 packets if not given.
    #[arg(long)]
    rulesets: Option<u64>,
    /// The number of the first ruleset.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// The backend that rules are loaded through.
    #[arg(long, value_enum, default_value_t = Backend::Nft)]
    backend: Backend,
    /// The family of rules and packets.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=6))]
    family: u8,
    /// Whether bridged frames pass the hooks (bridge-nf-call-iptables); by chance if not given.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    bridge_nf: Option<u8>,
    /// A folder in which each disagreement becomes a case.
    #[arg(long)]
    cases: Option<PathBuf>,
    /// The number of disagreements after which to stop.
    #[arg(long, default_value_t = 20)]
    at_most: u64,
    /// Set by the lab for itself, in its network namespace.
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Nft,
    Legacy,
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
    if !arguments.inside {
        let missing = lab::missing();
        if !missing.is_empty() {
            return Err(io::Error::other(format!("missing: {}", missing.join(", "))));
        }
        let status = lab::again_in_namespace("--inside")?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        return Ok(ExitCode::from(code.unwrap_or(3)));
    }
    let by_clock = || {
        let since = std::time::UNIX_EPOCH.elapsed().map(|time| time.as_millis());
        since.ok().and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0)
    };
    let options = Options {
        seed: arguments.seed.unwrap_or_else(by_clock),
        packets: arguments.packets,
        rulesets: arguments.rulesets.unwrap_or(arguments.packets.div_ceil(15)).max(1),
        first: arguments.first,
        backend: match arguments.backend {
            Backend::Nft => syntax::Backend::Nft,
            Backend::Legacy => syntax::Backend::Legacy,
        },
        family: if arguments.family == 6 { syntax::Family::Ipv6 } else { syntax::Family::Ipv4 },
        bridge_nf: arguments.bridge_nf.map(|value| value != 0),
        cases: arguments.cases,
        at_most: arguments.at_most,
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "seed {} backend {:?} family {:?} bridge-nf {:?}",
        options.seed, options.backend, options.family, options.bridge_nf
    )?;
    let totals = lab::run(&options, &mut out)?;
    writeln!(out, "{totals}")?;
    Ok(if totals.disagreed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
