//! The pages of match and target extensions, and the table of all, made from their declarations.

use std::fmt::Write as _;

use nattrace_model::coverage::{Meaning, meaning};
use nattrace_parser::extension::{
    Argument, EXTENSIONS, Extension, ExtensionKind, OptionDecl, Requirement, example,
};
use nattrace_parser::protocols;
use nattrace_parser::syntax::Family;

/// The extensions of this name; in whichever case where none has exactly it.
pub(super) fn find(name: &str) -> Vec<&'static Extension> {
    let name = name.trim_start_matches("-m ").trim_start_matches("-j ").trim();
    let all = || EXTENSIONS.iter().copied().flatten().copied();
    let exact: Vec<&Extension> = all().filter(|one| one.name == name).collect();
    if !exact.is_empty() {
        return exact;
    }
    all().filter(|one| one.name.eq_ignore_ascii_case(name)).collect()
}

/// The names of all extensions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    EXTENSIONS.iter().copied().flatten().map(|extension| extension.name)
}

/// The page of one extension in Markdown.
pub(super) fn page(extension: &'static Extension) -> String {
    let mut out = String::new();
    let flag = flag(extension);
    let _ = writeln!(out, "# {flag} {}\n", extension.name);
    let _ = writeln!(out, "## Options\n");
    let width = extension.options.iter().map(|option| form(option).len()).max().unwrap_or(0);
    for option in extension.options {
        let meaning = meaning(extension, Some(option)).as_str();
        let _ = writeln!(out, "{:width$}  {meaning}{}", form(option), notes(option));
    }
    if extension.options.is_empty() {
        let _ = writeln!(out, "none");
    }
    for requirement in extension.requirements {
        let _ = writeln!(out, "{}", sentence(requirement));
    }
    let _ = writeln!(out, "\n## Where it is allowed\n");
    let tables: Vec<&str> = extension.tables.iter().map(|table| table.as_str()).collect();
    let _ = writeln!(out, "tables: {}", listed(&tables, "all"));
    let _ = writeln!(out, "chains: {}", listed(extension.chains, "all"));
    let protocols: Vec<&str> =
        extension.protocols.iter().filter_map(|number| protocols::name(*number)).collect();
    let _ = writeln!(out, "protocols: {}", listed(&protocols, "all"));
    let _ = writeln!(out, "families: {}", families(extension.family));
    let _ = writeln!(out, "\n## What nattrace makes of it\n\n{}", says(meaning(extension, None)));
    let _ = writeln!(out, "\n## Example\n\n{}", example(extension, None).rule);
    let _ = writeln!(
        out,
        "\n## Source\n\niptables-extensions(8), iptables 1.8.9: `{}`",
        extension.name
    );
    out
}

/// The table of all extensions in Markdown, as docs/extensions.md has it.
pub(super) fn table() -> String {
    let mut out = String::from(
        "# Extensions\n\nEvery match and target extension of iptables 1.8.9, read and printed as iptables does. \
         Made by `nattrace explain extensions`; `nattrace explain NAME` shows the options of one.\n\n\
         - *simulated*: what the kernel does\n\
         - *passes on*: the packet goes on as if the rule were not there\n\
         - *chance*: other packets or chance decide; answers fork\n\
         - *undetermined*: the rule is kept, and nothing is said that depends on it\n",
    );
    for (kind, title) in [(ExtensionKind::Match, "Matches"), (ExtensionKind::Target, "Targets")] {
        let _ = writeln!(out, "\n## {title}\n");
        out.push_str("| name | options | families | tables | chains | meaning | options apart |\n");
        out.push_str("|---|---|---|---|---|---|---|\n");
        let all = EXTENSIONS.iter().copied().flatten().copied();
        for extension in all.filter(|extension| extension.kind == kind) {
            row(extension, &mut out);
        }
    }
    out.push_str(&totals());
    out
}

fn row(extension: &'static Extension, out: &mut String) {
    let whole = meaning(extension, None);
    let apart: Vec<String> = extension
        .options
        .iter()
        .map(|option| (option, meaning(extension, Some(option))))
        .filter(|(_, meaning)| *meaning != whole)
        .map(|(option, meaning)| format!("`--{}` {}", option.name, meaning.as_str()))
        .collect();
    let tables: Vec<&str> = extension.tables.iter().map(|table| table.as_str()).collect();
    let _ = writeln!(
        out,
        "| `{}` | {} | {} | {} | {} | {} | {} |",
        extension.name,
        extension.options.len(),
        families(extension.family),
        listed(&tables, "all"),
        listed(extension.chains, "all"),
        whole.as_str(),
        apart.join(", "),
    );
}

/// How many extensions and options there are of each meaning.
fn totals() -> String {
    let mut out =
        String::from("\n## Totals\n\n| meaning | extensions | options |\n|---|---|---|\n");
    let all: Vec<&'static Extension> = EXTENSIONS.iter().copied().flatten().copied().collect();
    for wanted in [Meaning::Simulated, Meaning::PassesOn, Meaning::Chance, Meaning::Undetermined] {
        let extensions = all.iter().filter(|one| meaning(one, None) == wanted).count();
        let options = all
            .iter()
            .flat_map(|one| one.options.iter().map(move |option| meaning(one, Some(option))))
            .filter(|meaning| *meaning == wanted)
            .count();
        let _ = writeln!(out, "| {} | {extensions} | {options} |", wanted.as_str());
    }
    let options: usize = all.iter().map(|extension| extension.options.len()).sum();
    let _ = writeln!(out, "| all | {} | {options} |", all.len());
    out
}

fn flag(extension: &Extension) -> &'static str {
    match extension.kind {
        ExtensionKind::Match => "-m",
        ExtensionKind::Target => "-j",
    }
}

/// `[!] --name ARGUMENT`.
fn form(option: &OptionDecl) -> String {
    let mut out = String::from(if option.negatable { "[!] --" } else { "--" });
    out.push_str(option.name);
    let argument = argument(option.argument);
    if !argument.is_empty() {
        out.push(' ');
        out.push_str(&argument);
    }
    out
}

/// Other spellings, and the only family.
fn notes(option: &OptionDecl) -> String {
    let mut out = String::new();
    for alias in option.aliases {
        let _ = write!(out, ", also --{}", alias.name);
    }
    if let Some(family) = option.family {
        let _ = write!(out, ", {} only", families(Some(family)));
    }
    out
}

fn argument(argument: Argument) -> String {
    let words = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join("|");
    match argument {
        Argument::Flag => String::new(),
        Argument::Number(max) | Argument::Hex(max) | Argument::WideHex(max, _) => {
            format!("0-{max}")
        }
        Argument::Between(low, high) => format!("{low}-{high}"),
        Argument::Range(max) => format!("N[:N] up to {max}"),
        Argument::DashRange(max) => format!("N[-N] up to {max}"),
        Argument::Port | Argument::DecimalPort => "PORT".to_owned(),
        Argument::PortRange | Argument::DecimalPortRange => "PORT[:PORT]".to_owned(),
        Argument::PortList => "PORT[:PORT],...".to_owned(),
        Argument::Mark | Argument::MaskedMark | Argument::MarkOperand(_) => {
            "VALUE[/MASK]".to_owned()
        }
        Argument::Text(_) => "TEXT".to_owned(),
        Argument::Bare(_) | Argument::Cut(_) => "NAME".to_owned(),
        Argument::Keyword(rows) | Argument::ExactKeyword(rows) => {
            words(&mut rows.iter().filter_map(|row| row.first()).copied())
        }
        Argument::Bits(names)
        | Argument::ExactBits(names)
        | Argument::LooseBits(names)
        | Argument::ShortBits(names) => {
            let known = words(&mut names.iter().map(|(name, _)| *name));
            format!("{known},...")
        }
        Argument::Host => "ADDRESS".to_owned(),
        Argument::Address | Argument::Network => "ADDRESS[/MASK]".to_owned(),
        Argument::AddressRange => "ADDRESS[-ADDRESS]".to_owned(),
        Argument::Mac => "XX:XX:XX:XX:XX:XX".to_owned(),
        Argument::Rate => "COUNT[/second|minute|hour|day]".to_owned(),
        Argument::Set => "SET src|dst,...".to_owned(),
        Argument::Probability => "0.0-1.0".to_owned(),
        Argument::Nat => "[ADDRESS[-ADDRESS]][:PORT[-PORT[/BASE]]]".to_owned(),
        Argument::NatPorts => "PORT[-PORT]".to_owned(),
        Argument::TcpFlags => "FLAG,... FLAG,...".to_owned(),
        Argument::Icmp(_) => "TYPE[/CODE]|NAME".to_owned(),
        Argument::Custom(custom) => custom.form.to_owned(),
        Argument::Optional(custom) => format!("[{}]", custom.form),
    }
}

fn sentence(requirement: &Requirement) -> String {
    let list = |names: &[&str], word: &str| {
        names.iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join(word)
    };
    match requirement {
        Requirement::AnyOption => "needs at least one option".to_owned(),
        Requirement::OneOf(names) => format!("needs {}", list(names, " or ")),
        Requirement::AtMostOneOf(names) => format!("at most one of {}", list(names, ", ")),
        Requirement::Needs(one, other) => format!("--{one} needs --{other}"),
    }
}

fn says(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Simulated => "It is simulated as the kernel does it.",
        Meaning::PassesOn => "The packet goes on as if the rule were not there.",
        Meaning::Chance => {
            "Chance or other packets decide: the answer forks, once as if it matched and once as if not."
        }
        Meaning::Undetermined => {
            "It is read and printed, but not modelled: what depends on it is undetermined."
        }
    }
}

fn listed(names: &[&str], none: &str) -> String {
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

fn families(family: Option<Family>) -> &'static str {
    match family {
        Some(Family::Ipv4) => "IPv4",
        Some(Family::Ipv6) => "IPv6",
        None => "both",
    }
}
