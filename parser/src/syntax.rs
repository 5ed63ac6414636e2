//! Rules as written: tables, chains, rules, and the uses of match and target extensions in them.
//!
//! The tree borrows from the text it was read from. It says nothing about what a rule means; the
//! model lowers it.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::extension::{Extension, OptionDecl};
use crate::span::Span;

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, the rules of `iptables`.
    Ipv4,
    /// IPv6, the rules of `ip6tables`.
    Ipv6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// The kernel interface that rules are loaded through (kernel-facts A13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// `iptables-nft`, the default of current distributions.
    Nft,
    /// `iptables-legacy`, the x_tables interface.
    Legacy,
}

/// A table of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are netfilter's own")]
pub enum TableName {
    Raw,
    Mangle,
    Nat,
    Filter,
    Security,
}

impl TableName {
    /// All tables.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter, Self::Security];

    /// The name as iptables writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
            Self::Security => "security",
        }
    }

    /// The built-in chains of the table, in the order in which iptables-save lists them.
    #[must_use]
    pub fn builtin_chains(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["PREROUTING", "OUTPUT"],
            Self::Mangle => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
            Self::Nat => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
            Self::Filter | Self::Security => &["INPUT", "FORWARD", "OUTPUT"],
        }
    }
}

/// The form that a rules text came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RulesFormat {
    /// iptables-save, with or without counters.
    Save,
    /// `iptables -S`, or a list of `-A …` lines.
    Commands,
    /// Commands of a shell, or files that add to what is there, carried out one after the other.
    Script,
    /// `iptables -L`.
    Listing {
        /// Whether the columns of `-v` are there; without them no interface is known.
        verbose: bool,
    },
}

/// A parsed rules text. Its rules are syntax, unless its reader made something else of them.
#[derive(Clone, Debug)]
pub struct Rules<'a, R = Rule<'a>> {
    /// The family, where the text tells (its header, an address, an extension).
    pub family: Option<Family>,
    /// The backend, where the text tells (the header of iptables-save).
    pub backend: Option<Backend>,
    /// The form it came in.
    pub format: RulesFormat,
    /// The tables in the order of the text. Two blocks of one table are two entries.
    pub tables: Vec<Table<'a, R>>,
}

impl<'a, R> Rules<'a, R> {
    /// The same text with something else made of its rules.
    pub fn map<S>(self, mut make: impl FnMut(R) -> S) -> Rules<'a, S> {
        let Self { family, backend, format, tables } = self;
        let table = |Table { name, span, chains, rules }: Table<'a, R>| {
            let rules = rules.into_iter().map(&mut make).collect();
            Table { name, span, chains, rules }
        };
        Rules { family, backend, format, tables: tables.into_iter().map(table).collect() }
    }
}

/// One table of a rules text.
#[derive(Clone, Debug)]
pub struct Table<'a, R = Rule<'a>> {
    /// Which table.
    pub name: TableName,
    /// The place of its header, or of its first line where it has none.
    pub span: Span,
    /// The chains that are declared, in order.
    pub chains: Vec<Chain<'a>>,
    /// The rules of all chains, in order.
    pub rules: Vec<R>,
}

/// Packet and byte counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The policy of a built-in chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// What reaches the end is accepted.
    Accept,
    /// What reaches the end is dropped.
    Drop,
}

/// A declared chain.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// The policy of a built-in chain; user chains have none.
    pub policy: Option<Policy>,
    /// The counters behind the policy.
    pub counters: Option<Counters>,
    /// Where it is declared.
    pub span: Span,
}

/// What a rule line does with its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// `-A`.
    Append,
    /// `-I` with its position, counted from 1.
    Insert(u32),
}

/// A value that `!` may stand before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Negatable<T> {
    /// Whether `!` stands before it.
    pub negated: bool,
    /// The value.
    pub value: T,
}

/// What is known of the interface columns of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// The options of the rule say it all.
    Given,
    /// A listing without `-v`: the rule may have `-i` and `-o` that are not shown.
    NotShown,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule<'a> {
    /// The chain it stands in.
    pub chain: Cow<'a, str>,
    /// Where it goes in its chain.
    pub placement: Placement,
    /// Its text, without counters and without the newline.
    pub span: Span,
    /// Its line, counted from 1.
    pub line: u32,
    /// Its counters.
    pub counters: Option<Counters>,
    /// `-s`.
    pub source: Option<Negatable<AddressMask>>,
    /// `-d`.
    pub destination: Option<Negatable<AddressMask>>,
    /// `-i`; a final `+` stands for any suffix.
    pub in_interface: Option<Negatable<Cow<'a, str>>>,
    /// `-o`; a final `+` stands for any suffix.
    pub out_interface: Option<Negatable<Cow<'a, str>>>,
    /// Whether `-i` and `-o` are known at all.
    pub interfaces: Interfaces,
    /// `-p`, as a protocol number; absent for `all`.
    pub protocol: Option<Negatable<u8>>,
    /// `-f`.
    pub fragment: Option<Negatable<()>>,
    /// Its matches in order.
    pub matches: Vec<ExtensionUse<'a>>,
    /// Its target.
    pub target: Target<'a>,
    /// What was not understood; the rule is then kept, and nothing may rely on whether it matches.
    pub unsupported: Vec<Unsupported<'a>>,
    /// Whether its text is exactly one line of the source that means just this rule. False for
    /// listings and for a rule expanded from a list such as `-s a,b`: print it instead of quoting.
    pub verbatim: bool,
    /// Which text it stands in, counted from 0, where that is an earlier one than the text that it
    /// was read with: a script leaves the rules that were there before it.
    pub stands_in: Option<u16>,
}

/// What happens to a packet that a rule matches.
#[derive(Clone, Debug)]
pub enum Target<'a> {
    /// No `-j`: counted, and on to the next rule.
    None,
    /// `-j ACCEPT`.
    Accept,
    /// `-j DROP`.
    Drop,
    /// `-j RETURN`.
    Return,
    /// `-j CHAIN`.
    Jump(Cow<'a, str>, Span),
    /// `-g CHAIN`.
    Goto(Cow<'a, str>, Span),
    /// `-j EXTENSION …`.
    Extension(ExtensionUse<'a>),
    /// A target that is not known.
    Unsupported(Unsupported<'a>),
}

/// Text that was kept because it was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported<'a> {
    /// The words as written.
    pub raw: Cow<'a, str>,
    /// Where they stand.
    pub span: Span,
    /// Where the extension stands whose option it is, if one that is known takes it.
    pub of: Option<u32>,
}

/// One `-m NAME …` or `-j NAME …` with its options.
#[derive(Clone, Debug)]
pub struct ExtensionUse<'a> {
    /// Its declaration.
    pub extension: &'static Extension,
    /// Its options in the order in which they are printed.
    pub options: Vec<OptionUse<'a>>,
    /// The place from its name to its last option.
    pub span: Span,
}

impl<'a> ExtensionUse<'a> {
    /// The option of this canonical long name without its dashes, if it is given.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&OptionUse<'a>> {
        self.options.iter().find(|option| option.option.name == name)
    }
}

/// One option of an extension.
#[derive(Clone, Debug)]
pub struct OptionUse<'a> {
    /// Its declaration.
    pub option: &'static OptionDecl,
    /// Whether `!` stands before it.
    pub negated: bool,
    /// Its argument.
    pub value: Value<'a>,
    /// The place from the option to its argument.
    pub span: Span,
}

/// The argument of an option, checked and typed, but not interpreted.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// An option without an argument.
    Flag,
    /// A number.
    Number(u64),
    /// A range of numbers, both ends inclusive.
    Range(u64, u64),
    /// A value under a mask, as in `--mark 0x1/0xff`.
    Masked(u64, u64),
    /// A list of ranges, as in `--dports 80,443:450`.
    Ranges(Vec<(u16, u16)>),
    /// An address with a mask.
    Address(AddressMask),
    /// A range of addresses, both ends inclusive.
    AddressRange(IpAddr, IpAddr),
    /// A set of named bits, as in `--ctstate NEW,RELATED`; the declaration names the bits.
    Bits(u32),
    /// `--tcp-flags MASK COMPARE` as bits of the TCP header.
    TcpFlags {
        /// The flags that are looked at.
        mask: u8,
        /// The flags of these that must be set.
        compare: u8,
    },
    /// An ICMP or ICMPv6 type with a range of codes, both ends inclusive.
    Icmp {
        /// The type; `None` for `any`.
        kind: Option<u8>,
        /// The codes.
        codes: (u8, u8),
    },
    /// A hardware address.
    Mac([u8; 6]),
    /// A name or a text, unquoted.
    Text(Cow<'a, str>),
    /// A rate, as in `--limit 3/min`: units and the seconds of the unit.
    Rate {
        /// How many.
        count: u64,
        /// Per how many seconds.
        seconds: u32,
    },
    /// Where NAT rewrites to.
    Nat(NatRange),
    /// An ipset with its directions, as in `--match-set NAME src,dst`.
    Set {
        /// The set's name.
        name: Cow<'a, str>,
        /// One direction for each dimension of the set.
        directions: Vec<SetDirection>,
    },
    /// A fixed-point probability in units of 2^-31.
    Probability(u32),
}

/// Whether a dimension of an ipset is looked up with the source or the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SetDirection {
    Source,
    Destination,
}

/// An address and a mask, which need not be contiguous. Host bits are kept as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressMask {
    /// IPv4: address and mask in host byte order.
    V4(u32, u32),
    /// IPv6: address and mask in host byte order.
    V6(u128, u128),
}

/// The argument of a NAT target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatRange {
    /// The addresses, both ends inclusive.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The ports, both ends inclusive.
    pub ports: Option<(u16, u16)>,
    /// The base port behind `/` (kernel-facts B19).
    pub base_port: Option<u16>,
}
