//! The options that every command knows.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use nattrace_parser::syntax;

/// Options that every command knows.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// A directory, or one file with the same parts, that describes a host [default: this host];
    /// also a terminal's text, where prompts show the commands (`$ ip addr`).
    #[arg(short, long, global = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) snapshot: Option<PathBuf>,
    /// Rules alone, or in place of those of the snapshot; `-` is standard input. A script, or a
    /// file of ufw, builds on the rules before it.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) rules: Vec<PathBuf>,
    /// How to print answers.
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    /// The same as `--format json`.
    #[arg(long, global = true, conflicts_with = "format")]
    pub(crate) json: bool,
    /// When to use colour.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// End with status 0 whatever the answer is.
    #[arg(long, global = true)]
    pub(crate) exit_zero: bool,
    /// Which IP version names stand for, and rules that do not tell.
    #[arg(long, global = true, value_enum)]
    pub(crate) family: Option<Family>,
    /// Which backend loaded rules that do not tell.
    #[arg(long, global = true, value_enum)]
    pub(crate) backend: Option<Backend>,
}

impl Global {
    /// The format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        if self.json { Some(Format::Json) } else { self.format }
    }

    /// The family that was asked for.
    pub(crate) fn family(&self) -> Option<syntax::Family> {
        self.family.map(|family| match family {
            Family::Ipv4 => syntax::Family::Ipv4,
            Family::Ipv6 => syntax::Family::Ipv6,
        })
    }

    /// The backend that was asked for.
    pub(crate) fn backend(&self) -> Option<syntax::Backend> {
        self.backend.map(|backend| match backend {
            Backend::Nft => syntax::Backend::Nft,
            Backend::Legacy => syntax::Backend::Legacy,
        })
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Pretty,
    /// One line for each answer.
    Concise,
    /// JSON, indented.
    Json,
    /// JSON, one line for each answer.
    Jsonl,
    /// A table for spreadsheets (`matrix`).
    Csv,
    /// Graphviz (`graph`, `matrix`).
    Dot,
    /// Mermaid (`graph`).
    Mermaid,
    /// A picture (`graph`, `matrix`).
    Svg,
    /// A page for a browser, which needs nothing else (`matrix`).
    Html,
    /// SARIF 2.1.0, for code scanning (`check`, `audit`).
    Sarif,
    /// JUnit XML, for CI systems (`check`, `audit`).
    Junit,
    /// Annotations of GitHub Actions, and its step summary (`check`, `audit`).
    Github,
    /// Markdown (`check`, `audit`).
    Markdown,
    /// Commands of iptables (`fix`).
    Commands,
    /// Lines for `iptables-restore --noflush` (`fix`).
    Restore,
    /// A unified diff of the rules (`fix`).
    Diff,
    /// The whole rules, put right (`fix`).
    File,
    /// A plan for `nattrace apply` (`fix`).
    Plan,
    /// Tasks of Ansible (`fix`).
    Ansible,
}

impl Format {
    /// Whether every command prints it.
    pub(crate) fn is_usual(self) -> bool {
        matches!(self, Self::Pretty | Self::Concise | Self::Json | Self::Jsonl)
    }

    /// Whether it is a drawing or a table, as `graph` and `matrix` make them.
    pub(crate) fn is_drawing(self) -> bool {
        matches!(self, Self::Csv | Self::Dot | Self::Mermaid | Self::Svg | Self::Html)
    }

    /// Whether it is a form of a change, as `fix` makes it.
    pub(crate) fn is_change(self) -> bool {
        matches!(
            self,
            Self::Commands | Self::Restore | Self::Diff | Self::File | Self::Plan | Self::Ansible
        )
    }

    /// Whether it is a report for other programs, as `check` and `audit` make it.
    pub(crate) fn is_report(self) -> bool {
        matches!(self, Self::Sarif | Self::Junit | Self::Github | Self::Markdown)
    }
}

/// When colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Makes it hold for both outputs.
    pub(crate) fn set(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::AlwaysAnsi,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    /// IPv4.
    #[value(alias = "4", alias = "inet")]
    Ipv4,
    /// IPv6.
    #[value(alias = "6", alias = "inet6")]
    Ipv6,
}

/// What iptables is a front end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// nf_tables.
    Nft,
    /// x_tables.
    Legacy,
}
