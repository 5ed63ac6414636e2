//! The arguments of options: from a word to a [`Value`] and back.
//!
//! An [`Argument`] says both how a value is read and how iptables-save prints it, so that a
//! declaration needs to name it once.

pub(crate) mod address;
pub(crate) mod dscp;
pub(crate) mod flags;
pub(crate) mod float;
pub(crate) mod header_options;
pub(crate) mod icmp;
pub(crate) mod mark;
pub(crate) mod names;
pub(crate) mod nat;
pub(crate) mod number;
pub(crate) mod port;
pub(crate) mod prefix;
pub(crate) mod rate;
pub(crate) mod set;
pub(crate) mod text;
pub(crate) mod tos;

use crate::diagnostic::{Diagnostic, Severity};
use crate::span::Span;
use crate::syntax::{Family, Value};
use crate::words::Word;

/// How the argument of an option is read and printed.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// No argument: [`Value::Flag`].
    Flag,
    /// A number up to this: [`Value::Number`], printed in decimal.
    Number(u64),
    /// A number within these ends: [`Value::Number`], printed in decimal.
    Between(u64, u64),
    /// A number up to this: [`Value::Number`], printed in hexadecimal.
    Hex(u64),
    /// A number up to this: [`Value::Number`], printed with so many hexadecimal digits.
    WideHex(u64, usize),
    /// `N` or `LOW:HIGH`, up to this: [`Value::Range`].
    Range(u64),
    /// `N` or `LOW-HIGH`, up to this: [`Value::Range`].
    DashRange(u64),
    /// A port or service: [`Value::Number`].
    Port,
    /// A port or service, or a range of them: [`Value::Range`].
    PortRange,
    /// A port as getaddrinfo(3) reads it, in decimal or by name: [`Value::Number`].
    DecimalPort,
    /// The same, or a range of them, which may be reversed: [`Value::Range`].
    DecimalPortRange,
    /// A list of ports and ranges: [`Value::Ranges`].
    PortList,
    /// `VALUE[/MASK]` of 32 bits: [`Value::Masked`], a full mask is not printed.
    Mark,
    /// `VALUE[/MASK]` of 32 bits: [`Value::Masked`], the mask is always printed.
    MaskedMark,
    /// The operand of a mark operation, turned into that of `--set-xmark`: [`Value::Masked`].
    MarkOperand(mark::Operation),
    /// A text of at most so many bytes, quoted where needed: [`Value::Text`]. iptables cuts a
    /// longer one in silence.
    Text(usize),
    /// A text of at most so many bytes, never quoted: [`Value::Text`].
    Bare(usize),
    /// A text of which so many bytes are kept, never quoted: [`Value::Text`].
    Cut(usize),
    /// One of some words in whichever case; the first of each row is canonical, the others are
    /// its spellings: [`Value::Text`].
    Keyword(&'static [&'static [&'static str]]),
    /// The same, in exactly this case.
    ExactKeyword(&'static [&'static [&'static str]]),
    /// A list of names in exactly this case, otherwise as [`Self::Bits`].
    ExactBits(&'static [(&'static str, u32)]),
    /// The same, where an empty name between commas is none.
    LooseBits(&'static [(&'static str, u32)]),
    /// A list of names, of each of which the beginning is enough, otherwise as [`Self::Bits`].
    ShortBits(&'static [(&'static str, u32)]),
    /// A list of names in whichever case that stand for bits, printed in the order of the table: [`Value::Bits`].
    Bits(&'static [(&'static str, u32)]),
    /// One address, printed without a mask: [`Value::Address`].
    Host,
    /// An address with a mask, whose host bits are kept: [`Value::Address`].
    Address,
    /// A network, whose host bits are cleared and whose mask is always printed:
    /// [`Value::Address`].
    Network,
    /// `ADDRESS[-ADDRESS]`, always printed as two: [`Value::AddressRange`].
    AddressRange,
    /// A hardware address: [`Value::Mac`].
    Mac,
    /// A rate: [`Value::Rate`].
    Rate,
    /// An ipset and its directions: [`Value::Set`].
    Set,
    /// A probability: [`Value::Probability`].
    Probability,
    /// `[ADDRESS[-ADDRESS]][:PORT[-PORT[/BASE]]]`: [`Value::Nat`].
    Nat,
    /// `PORT[-PORT]`: [`Value::Nat`].
    NatPorts,
    /// `MASK COMPARE`: [`Value::TcpFlags`].
    TcpFlags,
    /// A type with codes, by these names or in numbers: [`Value::Icmp`].
    Icmp(&'static [icmp::Name]),
    /// What no other extension has.
    Custom(&'static Custom),
    /// The same, or nothing at all: [`Value::Flag`].
    Optional(&'static Custom),
}

/// An argument of one extension only.
#[derive(Debug)]
pub struct Custom {
    /// How many words it takes.
    pub(crate) words: usize,
    /// Its form, as a page shows it.
    pub form: &'static str,
    /// Some of what it takes; words are set apart by a blank.
    pub samples: &'static [&'static str],
    /// Reads it.
    pub(crate) parse: for<'a> fn(&[Word<'a>], &Context) -> Result<Value<'a>, Fault>,
    /// Prints it, with a leading blank where it is not empty.
    pub(crate) print: fn(&Value<'_>, &mut String),
}

/// What the reading of an argument may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// The family of the rules, where it is known.
    pub family: Option<Family>,
    /// The protocol whose service names count.
    pub protocol: Option<u8>,
}

/// Why an argument was not understood.
#[derive(Debug)]
pub(crate) struct Fault {
    /// [`Severity::Error`] where iptables refuses it as well.
    pub severity: Severity,
    /// A stable name in kebab case.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    /// A fault that iptables refuses as well.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), help: None }
    }

    /// "expected X, found `Y`".
    pub(crate) fn expected(code: &'static str, expected: &str, found: &str) -> Self {
        Self::new(code, format!("expected {expected}, found `{}`", crate::words::clip(found)))
    }

    /// The same with advice.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is said of it at its place.
    pub(crate) fn at(self, span: Span) -> Diagnostic {
        let said = match self.severity {
            Severity::Error => Diagnostic::error(self.code, self.message, span),
            Severity::Warning => Diagnostic::warning(self.code, self.message, span),
            Severity::Note => Diagnostic::note(self.code, self.message, span),
        };
        match self.help {
            Some(help) => said.help(help),
            None => said,
        }
    }

    /// The same, but iptables may know better.
    pub(crate) fn unsure(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl Argument {
    /// Whether it takes a word that looks like an option.
    pub(crate) fn takes_any_word(self) -> bool {
        match self {
            Self::Text(_) | Self::Bare(_) | Self::Cut(_) => true,
            Self::Custom(custom) => custom.form.starts_with("TEXT"),
            _ => false,
        }
    }

    /// How many words it takes.
    #[must_use]
    pub fn words(self) -> usize {
        match self {
            Self::Flag | Self::Optional(_) => 0,
            Self::TcpFlags | Self::Set => 2,
            Self::Custom(custom) => custom.words,
            _ => 1,
        }
    }

    /// Reads the value from exactly [`Self::words`] words.
    pub(crate) fn parse<'a>(
        self,
        words: &[Word<'a>],
        context: &Context,
    ) -> Result<Value<'a>, Fault> {
        let Some(word) = words.first() else {
            return match self {
                Self::Custom(custom) => (custom.parse)(words, context),
                _ => Ok(Value::Flag),
            };
        };
        let found = word.text.as_ref();
        match self {
            Self::Flag => Ok(Value::Flag),
            Self::Number(max) | Self::Hex(max) => number::number(found, max).map(Value::Number),
            Self::Between(low, high) => number::between(found, low, high).map(Value::Number),
            Self::WideHex(max, _) => number::number(found, max).map(Value::Number),
            Self::Range(max) => number::range(found, ':', max),
            Self::DashRange(max) => number::range(found, '-', max),
            Self::Port => port::port(found, context).map(|port| Value::Number(u64::from(port))),
            Self::PortRange => port::range(found, context),
            Self::DecimalPort => port::decimal(found).map(|port| Value::Number(u64::from(port))),
            Self::DecimalPortRange => port::decimal_range(found),
            Self::PortList => port::list(found, context),
            Self::Mark | Self::MaskedMark => mark::mark(found),
            Self::MarkOperand(operation) => mark::operand(found, operation),
            Self::Text(max) => Ok(text::text(word, max)),
            Self::Bare(max) => text::bare(word, max),
            Self::Cut(max) => Ok(text::text(word, max)),
            Self::Keyword(table) => names::keyword(found, table),
            Self::ExactKeyword(table) => names::exact_keyword(found, table),
            Self::Bits(table) => names::bits(found, table),
            Self::ExactBits(table) => names::exact_bits(found, table),
            Self::LooseBits(table) => names::loose_bits(found, table),
            Self::ShortBits(table) => names::short_bits(found, table),
            Self::Host => address::host(found, context.family),
            Self::Address => address::guided(found, context.family).map(Value::Address),
            Self::Network => address::guided_network(found, context.family).map(Value::Address),
            Self::AddressRange => address::range(found, context.family),
            Self::Mac => text::mac(found),
            Self::Rate => rate::rate(found),
            Self::Set => set::set(words),
            Self::Probability => rate::probability(found),
            Self::Nat => nat::nat(found, context),
            Self::NatPorts => nat::ports_only(found),
            Self::TcpFlags => flags::tcp_flags(words),
            Self::Icmp(table) => icmp::icmp(found, table),
            Self::Custom(custom) | Self::Optional(custom) => (custom.parse)(words, context),
        }
    }

    /// Prints a value as iptables-save does, with a blank before it.
    pub(crate) fn print(self, value: &Value<'_>, out: &mut String) {
        if let Self::Custom(custom) | Self::Optional(custom) = self {
            (custom.print)(value, out);
            return;
        }
        if *value != Value::Flag {
            out.push(' ');
        }
        match (self, value) {
            (Self::Hex(_), Value::Number(number)) => number::print_hex(*number, out),
            (Self::WideHex(_, digits), Value::Number(number)) => {
                number::print_wide_hex(*number, digits, out);
            }
            (Self::DashRange(_), Value::Range(low, high)) => {
                number::print_range(*low, *high, '-', out);
            }
            (Self::MaskedMark, Value::Masked(value, mask)) => {
                mark::print_masked(*value, *mask, out)
            }
            (
                Self::Bare(_) | Self::Cut(_) | Self::Keyword(_) | Self::ExactKeyword(_),
                Value::Text(text),
            ) => out.push_str(text),
            (
                Self::Bits(table)
                | Self::ExactBits(table)
                | Self::LooseBits(table)
                | Self::ShortBits(table),
                Value::Bits(bits),
            ) => names::print_bits(*bits, table, out),
            (Self::Network, Value::Address(address)) => address::print_network(*address, out),
            (Self::NatPorts, Value::Nat(range)) => nat::print_ports(range, out),
            (_, value) => print(value, out),
        }
    }
}

/// Prints a value in the way that most options have.
fn print(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Flag | Value::Bits(_) => {}
        Value::Number(number) => number::print(*number, out),
        Value::Range(low, high) => number::print_range(*low, *high, ':', out),
        Value::Masked(value, mask) => mark::print(*value, *mask, out),
        Value::Ranges(ranges) => port::print_list(ranges, out),
        Value::Address(address) => address::print_address(*address, out),
        Value::AddressRange(first, last) => address::print_range(*first, *last, out),
        Value::TcpFlags { mask, compare } => flags::print_tcp_flags(*mask, *compare, out),
        Value::Icmp { kind, codes } => icmp::print(*kind, *codes, out),
        Value::Mac(mac) => text::print_mac(*mac, out),
        Value::Text(text) => text::print_quoted(text, out),
        Value::Rate { count, seconds } => rate::print_rate(*count, *seconds, out),
        Value::Nat(range) => nat::print(range, out),
        Value::Set { name, directions } => set::print(name, directions, out),
        Value::Probability(probability) => rate::print_probability(*probability, out),
    }
}
