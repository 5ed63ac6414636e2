//! The command line.

mod global;
mod transaction;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use nattrace_model::hook::Hook;
use nattrace_parser::diagnostic::nearest;
use nattrace_parser::syntax;

pub(crate) use global::{Format, Global};
pub(crate) use transaction::{Apply, Confirm, Force, Rollback, StateOption, StatusOf, Uninstall};

/// Says what Linux does to a packet, rule by rule: iptables, NAT, routes, bridges and Docker.
#[derive(Debug, Parser)]
#[command(
    name = "nattrace",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 it holds, 1 it does not, 2 usage or input error, 3 undetermined, \
                  4 rolled back, 5 refused before touching anything (`apply`), 101 a fault of nattrace."
)]
pub(crate) struct Arguments {
    /// What holds for every command.
    #[command(flatten, next_help_heading = "Global options")]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What nattrace is asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What happens to a packet, rule by rule, and whether the answer comes back
    Why(Why),
    /// Whether a policy holds for every packet
    Check(Check),
    /// What is wrong with a host although nobody wrote a policy
    Audit(Audit),
    /// Which packets a host treats differently than before
    Diff(Diff),
    /// Who can reach whom, and with which source address
    Matrix(Matrix),
    /// The smallest verified change after which a policy holds
    Fix(Fix),
    /// Puts a plan into the kernel, and takes it back unless it is confirmed
    Apply(Apply),
    /// Keeps a plan that was loaded
    Confirm(Confirm),
    /// Takes a plan back, confirmed or not
    Rollback(Rollback),
    /// What is pending, and which plans were kept
    Status(StatusOf),
    /// Removes every trace of nattrace: rules, units, state
    Uninstall(Uninstall),
    /// Watches over a plan that waits
    #[command(hide = true)]
    Watchdog(StateOption),
    /// Collects what this host tells into a snapshot
    Snapshot(Snapshot),
    /// The same snapshot with pseudonyms for addresses and names, to paste in public
    Redact(Redact),
    /// The rules exactly as iptables-save prints them
    Fmt(Fmt),
    /// The chains and how they call each other, as a drawing
    Graph(Graph),
    /// The page of a diagnostic, lint or assumption
    Explain(Explain),
    /// Whether your own kernel does what is said about it
    Selftest(Selftest),
    /// Completions for a shell
    Completions(Completions),
    /// The manual
    Man(Man),
}

/// `nattrace why`.
#[derive(Debug, Args)]
#[command(after_help = "\
An endpoint is ADDR, ADDR:PORT or [V6]:PORT with /tcp, /udp, /icmp or /sctp behind it, where ADDR \
may be a container's or a network's name, `host`, `internet` or `lan`. Without a port the packet \
is an echo request, with one it is TCP.

  nattrace why 172.18.0.3 -> 1.1.1.1
  nattrace why web to internet:443
  nattrace why internet host:8080/tcp --in eth0")]
pub(crate) struct Why {
    /// The packet: `SRC -> DST`, `SRC to DST` or `SRC DST`.
    #[arg(value_name = "SRC -> DST", required_unless_present = "flows", conflicts_with = "flows")]
    pub(crate) words: Vec<String>,
    /// Many packets: one JSON object a line with the keys of `flow`; `-` is standard input.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["in_interface", "sport", "proto", "state", "mark", "tcp_flags", "icmp_type", "ttl"]
    )]
    pub(crate) flows: Option<PathBuf>,
    /// What is asked of the packet.
    #[command(flatten)]
    pub(crate) packet: Packet,
}

/// `nattrace check`.
#[derive(Debug, Args)]
#[command(after_help = "\
A policy says what must hold: which source packets leave with (`[[egress]]`), what gets through \
and is answered (`[[allow]]`), what never arrives (`[[deny]]`, `[[isolate]]`). Each entry holds, \
fails with a packet that shows it, or is unknown with what is to blame.

  nattrace check --init > nattrace.toml      # what holds today, to be edited
  nattrace check -s host.snapshot policy.toml
  nattrace check --given down=wg0            # the same on a host whose wg0 is down
  nattrace check --given restarted=dockerd   # … and after Docker has made its rules again")]
pub(crate) struct Check {
    /// The policy [default: nattrace.toml].
    #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// Writes a policy from what holds today, to POLICY or standard output.
    #[arg(long, conflicts_with_all = ["schema", "given", "baseline", "write_baseline", "emit_smt2"])]
    pub(crate) init: bool,
    /// Prints the JSON Schema of policies.
    #[arg(long, conflicts_with_all = ["given", "baseline", "write_baseline", "emit_smt2"])]
    pub(crate) schema: bool,
    /// What is taken to be otherwise: `down=IFACE`, `gone=PREFIX`, `restarted=dockerd`,
    /// `ip_forward=off`, `ipv6=on`, `ipv6_forward=on`, `moved.CONTAINER=ADDR`, or TOML as in the
    /// policy's `given`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) given: Vec<String>,
    /// Which results end with status 1.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "fails")]
    pub(crate) fail_on: CheckFailOn,
    /// Results that were there before and do not count.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) baseline: Option<PathBuf>,
    /// Writes what does not hold now as a baseline.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) write_baseline: Option<PathBuf>,
    /// What answers: classes of packets, the solver Z3, or both, which have to agree.
    #[arg(long, value_enum, value_name = "ENGINE", default_value = "classes")]
    pub(crate) engine: Engine,
    /// How long Z3 may take for one question; then the answer is unknown.
    #[arg(long, value_name = "SECONDS", default_value = "60",
        value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub(crate) z3_timeout: u32,
    /// Writes one obligation in SMT-LIB 2 for each entry and family into a folder, for any solver:
    /// `unsat` says that the entry holds.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) emit_smt2: Option<PathBuf>,
}

/// What answers `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Classes of packets that have the same fate.
    Classes,
    /// The solver Z3, with an encoding of its own; slower.
    Z3,
    /// Both; that they differ is a fault of nattrace and ends with status 101.
    Both,
}

/// Which results of `check` end with status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFailOn {
    /// Entries that fail; unknown ones end with status 3.
    #[value(alias = "error")]
    Fails,
    /// Unknown ones too.
    #[value(alias = "warning")]
    Unknown,
    /// None.
    Never,
}

/// `nattrace fix`.
#[derive(Debug, Args)]
#[command(after_help = "\
Looks for the fewest edits of rules after which every entry of the policy holds, proves it for \
every packet, and shows what else they change. Nothing is touched: `nattrace apply` does that, or \
you with what `--format` prints.

  nattrace fix                               # this host, nattrace.toml
  nattrace fix -s host.snapshot policy.toml --format commands
  nattrace fix --place nft --format plan -o plan.json && nattrace apply plan.json")]
pub(crate) struct Fix {
    /// The policy [default: nattrace.toml].
    #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// What is taken to be otherwise, as with `check`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) given: Vec<String>,
    /// Where edits go [default: where they last longest among the rules of iptables].
    #[arg(long, value_enum, value_name = "WHERE")]
    pub(crate) place: Option<FixPlace>,
    /// How many edits there may be at most.
    #[arg(long, value_name = "N", default_value_t = MOST_EDITS, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) max_edits: u8,
    /// After how many seconds the search ends without an answer.
    #[arg(long, value_name = "N", default_value_t = MOST_SECONDS, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) max_seconds: u32,
    /// Where to [default: standard output].
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// How many edits `fix` makes at most where nothing else is said.
pub(crate) const MOST_EDITS: u8 = 8;

/// For how many seconds `fix` searches at most where nothing else is said.
pub(crate) const MOST_SECONDS: u32 = 60;

/// Where edits of `fix` go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FixPlace {
    /// Filtering of forwarded packets into the chain that Docker leaves to people, and nowhere
    /// else.
    DockerUser,
    /// Into the built-in chains.
    Iptables,
    /// Egress into a table of nftables of its own, which Docker never touches.
    Nft,
}

/// What of a packet its two ends do not say. The model reads the words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Packet {
    /// The interface by which it comes in [default: where routing expects the source].
    #[arg(long = "in", value_name = "IFACE")]
    pub(crate) in_interface: Option<String>,
    /// The source port [default: 40000].
    #[arg(long, value_name = "PORT")]
    pub(crate) sport: Option<String>,
    /// The protocol, by name or number [default: tcp with a port, else icmp].
    #[arg(long)]
    pub(crate) proto: Option<String>,
    /// The state of its connection: new, established, related, invalid or untracked.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Its mark when it comes in, such as 0x10.
    #[arg(long)]
    pub(crate) mark: Option<String>,
    /// Its TCP flags, such as SYN,ACK [default: those that fit the state].
    #[arg(long, value_name = "FLAGS")]
    pub(crate) tcp_flags: Option<String>,
    /// Its ICMP type, by name or as TYPE or TYPE/CODE [default: echo-request].
    #[arg(long, value_name = "TYPE")]
    pub(crate) icmp_type: Option<String>,
    /// Its TTL or hop limit [default: 64].
    #[arg(long)]
    pub(crate) ttl: Option<String>,
}

/// `nattrace audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each finding has a packet that shows it, what to do, and where that lasts. `nattrace explain CODE` \
tells more. Rules that Docker, kube-proxy, ufw and others keep are not looked at on their own.
What is known and meant does not count where the rule's own comment says `nattrace:allow(CODE) reason`.

  nattrace audit -s host.snapshot
  nattrace audit --only snat-shadowed-by-masquerade,masquerade-missing
  nattrace audit --fail-on warning --json")]
pub(crate) struct Audit {
    /// Ends with status 1 if there is a finding at least this bad.
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "error")]
    pub(crate) fail_on: FailOn,
    /// Only these lints.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Not these lints.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) ignore: Vec<String>,
    /// The rules that programs keep too.
    #[arg(long)]
    pub(crate) all_owners: bool,
    /// The policy whose `[[suppress]]` entries with a `code` say what does not count [default:
    /// nattrace.toml, if it is there].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// Findings that were there before and do not count.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) baseline: Option<PathBuf>,
    /// Writes what is found now as a baseline.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) write_baseline: Option<PathBuf>,
}

/// The least severity that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Any finding.
    Info,
    /// Likely mistakes, and errors.
    Warning,
    /// What breaks security or connectivity.
    Error,
    /// Nothing.
    Never,
}

/// `nattrace diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
OLD and NEW are snapshots, or files of rules in any form (iptables-save, `iptables -S`, \
`iptables -L`, a script); `live` is this host. Rules stand in the place of those of the host that \
`--snapshot` names, or that the other one of the two is. What is told are packets, not text: \
order, counters, comments and rules that nothing meets are no change.

Exit status: 0 no packet is treated differently, 1 some are, 2 usage or input error, 3 only what \
is not known decides.

  nattrace diff before.snapshot after.snapshot
  nattrace diff -s host.snapshot old.rules new.rules
  nattrace diff host.snapshot new.rules
  nattrace diff last-week.snapshot live --json")]
pub(crate) struct Diff {
    /// What was: a snapshot, rules, or `live`.
    #[arg(value_name = "OLD", value_hint = ValueHint::AnyPath)]
    pub(crate) old: PathBuf,
    /// What is now.
    #[arg(value_name = "NEW", value_hint = ValueHint::AnyPath)]
    pub(crate) new: PathBuf,
    /// Tells odd packets too: of other states, with sources out of place, or to where their sender
    /// can't know.
    #[arg(long)]
    pub(crate) all: bool,
}

/// `nattrace matrix`.
#[derive(Debug, Args)]
#[command(after_help = "\
Zones are named as in a policy: `internet`, `lan:IFACE`, `host`, `net:NAME`, `container:NAME`, \
`iface:NAME`, an address or a prefix, a zone of zones.toml. Services are the ports that rules, \
sockets and containers name, and everything between them. A cell is about all packets that one \
zone addresses to another: always, sometimes, never or undetermined. Each has a packet that \
shows it.

  nattrace matrix -s host.snapshot
  nattrace matrix --from internet --open
  nattrace matrix --from net:front --to net:back --service 5432
  nattrace matrix --format html > matrix.html")]
pub(crate) struct Matrix {
    /// Only this sending zone; may be given more than once.
    #[arg(long, value_name = "ZONE")]
    pub(crate) from: Vec<String>,
    /// Only this addressed zone; may be given more than once.
    #[arg(long, value_name = "ZONE")]
    pub(crate) to: Vec<String>,
    /// Only this service, such as `443`, `53/udp`, `8000-8010/tcp` or `icmp`; may be given more
    /// than once.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
    /// Only what connects, at least sometimes, or may.
    #[arg(long)]
    pub(crate) open: bool,
}

/// `nattrace graph`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without `--format` it is DOT, for Graphviz; pretty, concise, json and jsonl list what is drawn.

  nattrace graph | dot -Tpdf > chains.pdf
  nattrace graph -s host.snapshot --format svg > chains.svg
  nattrace graph --hook FORWARD --format pretty --why web internet")]
pub(crate) struct Graph {
    /// Only these tables.
    #[arg(long = "table", value_name = "TABLE", value_parser = parse_table)]
    pub(crate) tables: Vec<syntax::TableName>,
    /// Only the chains that this hook reaches, such as FORWARD.
    #[arg(long = "hook", value_name = "HOOK", value_parser = parse_hook)]
    pub(crate) hooks: Vec<Hook>,
    /// Marks the path of a packet: `--why SRC DST`.
    #[arg(long, num_args = 1..=3, value_names = ["SRC", "DST"])]
    pub(crate) why: Vec<String>,
    /// What is asked of that packet.
    #[command(flatten)]
    pub(crate) packet: Packet,
}

/// `nattrace fmt`.
#[derive(Debug, Args)]
#[command(after_help = "\
Several files are read in order: a script builds on the rules before it.

  nattrace fmt rules.v4                       # what iptables-save would print
  nattrace fmt --check rules.v4 rules.v6      # status 1 if they are written in another way
  nattrace fmt --stats -s host.snapshot")]
pub(crate) struct Fmt {
    /// The rules; `-` is standard input [default: those of `--rules` or of the snapshot].
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Prints nothing, and ends with status 1 if the rules are written in another way.
    #[arg(long)]
    pub(crate) check: bool,
    /// Prints what there is instead: tables, owners, extensions, and what is not understood.
    #[arg(long, conflicts_with = "check")]
    pub(crate) stats: bool,
}

/// `nattrace snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "\
It tells much about the host: `nattrace redact` gives it pseudonyms.

  nattrace snapshot -o host.snapshot
  nattrace snapshot --script | ssh host sh -s > host.snapshot")]
pub(crate) struct Snapshot {
    /// Where to: a directory if it is one or ends in `/`, else a file [default: standard output].
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Prints a POSIX shell script that does the same on a host without nattrace.
    #[arg(long, conflicts_with_all = ["output", "conntrack"])]
    pub(crate) script: bool,
    /// Collects the open connections too.
    #[arg(long)]
    pub(crate) conntrack: bool,
}

/// `nattrace redact`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every command answers for the result as for the original, with pseudonyms in place of addresses \
and names. Kept are ports, marks, counters, and the names that programs give to chains and \
interfaces: read it before you publish it.

  nattrace redact -s host.snapshot -o public.snapshot --map secret.json
  nattrace redact -s host.snapshot --policy nattrace.toml -o public/
  iptables-save | nattrace redact --rules -")]
pub(crate) struct Redact {
    /// Where to: a directory if it is one or ends in `/`, else a file [default: standard output].
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// The policy that belongs to it, written as `policy.toml` into the directory, or beside the
    /// file as `PATH.policy.toml`: `check` answers alike.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "output")]
    pub(crate) policy: Option<PathBuf>,
    /// Writes what stands for what into this file (JSON), for your eyes only.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) map: Option<PathBuf>,
}

/// `nattrace selftest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Rebuilds the host in a network namespace of this kernel (interfaces, addresses, bridges, routes, \
settings, sets, sockets, rules), sends packets through it, and compares what the kernel does with \
what nattrace says: the rules that match, what leaves by which interface with which addresses, and \
the way of the answer. Nothing outside the namespace is touched. It needs root, or a user \
namespace of one's own.

Exit status: 0 the kernel agrees, 1 it does not, 2 usage or input error, 3 nothing could be \
compared.

  nattrace selftest
  nattrace selftest -s host.snapshot --packets 1000 --seed 7
  nattrace selftest -s host.snapshot web to internet:443")]
pub(crate) struct Selftest {
    /// One packet: `SRC -> DST`, as for `why` [default: a sample].
    #[arg(value_name = "SRC -> DST")]
    pub(crate) words: Vec<String>,
    /// How many packets are compared.
    #[arg(long, value_name = "N", default_value_t = 200, conflicts_with = "words")]
    pub(crate) packets: u64,
    /// What they are drawn from: the same seed draws the same packets [default: by the clock].
    #[arg(long, value_name = "SEED", conflicts_with = "words")]
    pub(crate) seed: Option<u64>,
    /// What is asked of the one packet.
    #[command(flatten)]
    pub(crate) packet: Packet,
    /// Set for the process in the network namespace.
    #[arg(long, hide = true)]
    pub(crate) inside: bool,
}

/// `nattrace explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Codes stand above messages and behind notes; matches and targets of iptables have pages too.

  nattrace explain                            # all codes
  nattrace explain no-addresses
  nattrace explain MASQUERADE")]
pub(crate) struct Explain {
    /// The code, such as `unknown-option`, or a match or target, such as `conntrack` or
    /// `MASQUERADE`; `extensions` for a table of these [default: a list of all codes].
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

/// `nattrace completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each shell looks for them in a place of its own.

  nattrace completions bash > /etc/bash_completion.d/nattrace")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `nattrace man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Writes a page for each command into this directory [default: one page to standard output].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
}

/// Reads the command line, or ends the program with help or with what is wrong with it.
pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Arguments {
    Arguments::try_parse_from(with_arrows(arguments)).unwrap_or_else(|mut error| {
        suggest_command(&mut error);
        error.exit()
    })
}

/// Names the command that may be meant, where clap finds none: it does not see swapped letters.
fn suggest_command(error: &mut clap::Error) {
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return;
    }
    let command = Arguments::command();
    let known = command.get_subcommands().map(clap::Command::get_name);
    if let Some(near) = nearest(found, known) {
        let near = ContextValue::Strings(vec![near.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, near);
    }
}

/// Marks words that clap would take for options although they are an arrow: `->` and `->DST`.
fn with_arrows(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let arrow =
        |argument: OsString| match argument.to_str().and_then(|text| text.strip_prefix("->")) {
            Some(rest) => OsString::from(format!("→{rest}")),
            None => argument,
        };
    arguments.map(arrow).collect()
}

fn parse_table(text: &str) -> Result<syntax::TableName, String> {
    let mut tables = syntax::TableName::ALL.into_iter();
    let found = tables.find(|table| table.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let known = syntax::TableName::ALL.map(syntax::TableName::as_str);
        expected("raw, mangle, nat, filter or security", &text.to_ascii_lowercase(), &known)
    })
}

fn parse_hook(text: &str) -> Result<Hook, String> {
    Hook::of_chain(&text.to_ascii_uppercase()).ok_or_else(|| {
        let known = Hook::ALL.map(Hook::as_str);
        let words = "PREROUTING, INPUT, FORWARD, OUTPUT or POSTROUTING";
        expected(words, &text.to_ascii_uppercase(), &known)
    })
}

/// What was expected, and which of it may be meant.
fn expected(words: &str, found: &str, known: &[&str]) -> String {
    match nearest(found, known.iter().copied()) {
        Some(near) => format!("expected {words}; did you mean `{near}`?"),
        None => format!("expected {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_arrow_is_no_option() {
        let words = ["why", "a", "->", "b", "->c", "--json", "-"].map(OsString::from);
        let seen = with_arrows(words.into_iter());
        assert_eq!(seen, ["why", "a", "→", "b", "→c", "--json", "-"]);
    }
}
