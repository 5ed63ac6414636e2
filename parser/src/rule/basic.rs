//! The options that every rule has: addresses, interfaces, protocol, target.

use std::borrow::Cow;

use super::{Addresses, Reader};
use crate::arguments::{Fault, address, number};
use crate::diagnostic::{Diagnostic, nearest};
use crate::extension::{ExtensionKind, find};
use crate::protocols;
use crate::recognize::Tool;
use crate::span::Span;
use crate::syntax::{AddressMask, Backend, Counters, Family, Negatable, Target};
use crate::words::{Word, clip};

/// The longest name of an interface (if.h, `IFNAMSIZ` without its NUL).
const LONGEST_INTERFACE: usize = 15;

/// The longest name of a chain (kernel-facts G7).
const LONGEST_CHAIN: usize = 28;

/// Targets of xtables-addons, which may well exist on a host.
const FOREIGN_TARGETS: &[&str] = &[
    "ACCOUNT",
    "CHAOS",
    "DELUDE",
    "DHCPMAC",
    "DNETMAP",
    "ECHO",
    "IPMARK",
    "LOGMARK",
    "PROTO",
    "QUEUE",
    "SYSRQ",
    "TARPIT",
    "FULLCONENAT",
    "WOL",
    "IMQ",
    "ROUTE",
    "NETFLOW",
];

/// A basic option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basic {
    Source,
    Destination,
    Protocol,
    In,
    Out,
    Jump,
    Goto,
    Match,
    Fragment,
    Counters,
    Ipv4,
    Ipv6,
    Wait,
    Modprobe,
    Quiet,
    /// A command, or an option of another command.
    Command,
}

/// The long names of basic options.
pub(super) const LONG: &[(&str, Basic)] = &[
    ("--source", Basic::Source),
    ("--src", Basic::Source),
    ("--destination", Basic::Destination),
    ("--dst", Basic::Destination),
    ("--protocol", Basic::Protocol),
    ("--proto", Basic::Protocol),
    ("--in-interface", Basic::In),
    ("--out-interface", Basic::Out),
    ("--jump", Basic::Jump),
    ("--goto", Basic::Goto),
    ("--match", Basic::Match),
    ("--fragments", Basic::Fragment),
    ("--set-counters", Basic::Counters),
    ("--ipv4", Basic::Ipv4),
    ("--ipv6", Basic::Ipv6),
    ("--wait", Basic::Wait),
    ("--verbose", Basic::Quiet),
    ("--modprobe", Basic::Modprobe),
    ("--append", Basic::Command),
    ("--delete", Basic::Command),
    ("--check", Basic::Command),
    ("--insert", Basic::Command),
    ("--replace", Basic::Command),
    ("--list", Basic::Command),
    ("--list-rules", Basic::Command),
    ("--flush", Basic::Command),
    ("--zero", Basic::Command),
    ("--new-chain", Basic::Command),
    ("--delete-chain", Basic::Command),
    ("--rename-chain", Basic::Command),
    ("--policy", Basic::Command),
    ("--table", Basic::Command),
    ("--numeric", Basic::Command),
    ("--exact", Basic::Command),
    ("--version", Basic::Command),
    ("--help", Basic::Command),
    ("--line-numbers", Basic::Command),
];

/// The long names of all options that iptables has without extensions.
pub(crate) fn option_names() -> impl Iterator<Item = &'static str> {
    LONG.iter().map(|(name, _)| name.trim_start_matches('-'))
}

impl Basic {
    fn of_short(short: u8) -> Option<Self> {
        Some(match short {
            b's' => Self::Source,
            b'd' => Self::Destination,
            b'p' => Self::Protocol,
            b'i' => Self::In,
            b'o' => Self::Out,
            b'j' => Self::Jump,
            b'g' => Self::Goto,
            b'm' => Self::Match,
            b'f' => Self::Fragment,
            b'c' => Self::Counters,
            b'4' => Self::Ipv4,
            b'6' => Self::Ipv6,
            b'w' => Self::Wait,
            b'v' => Self::Quiet,
            b'M' => Self::Modprobe,
            _ => return None,
        })
    }
}

impl<'a> Reader<'_, 'a> {
    /// `-x`.
    pub(super) fn short_option(&mut self, start: usize, word: &Word<'a>, short: u8) {
        match Basic::of_short(short) {
            Some(basic) => self.basic(start, word, basic),
            None => self.unknown_option(start, word),
        }
    }

    /// `-xVALUE`, which iptables 1.8.9 takes from `-m` only (kernel-facts H12).
    pub(super) fn attached(&mut self, start: usize, word: &Word<'a>, short: u8) {
        match (Basic::of_short(short), word.text.get(2..)) {
            (Some(Basic::Match), Some(name)) => {
                let name = Word { text: Cow::Owned(name.to_owned()), ..word.clone() };
                self.load_match(start, &name);
            }
            (Some(Basic::Wait), _) => self.wait(start, word),
            // `-vj TARGET`: an option without a value lets others follow in its word.
            (Some(flag @ (Basic::Quiet | Basic::Ipv4 | Basic::Ipv6)), Some(more)) => {
                self.basic(start, word, flag);
                let more = more.trim_start_matches('v');
                let next = Word { text: Cow::Owned(format!("-{more}")), ..word.clone() };
                match *more.as_bytes() {
                    [short] => self.short_option(start, &next, short),
                    // Their value is the whole word.
                    [short @ (b'i' | b'o'), ..] => self.attached(start, word, short),
                    [short, ..] => self.attached(start, &next, short),
                    [] => {}
                }
            }
            (Some(Basic::Modprobe), _) => {}
            (Some(basic @ (Basic::In | Basic::Out)), _) => {
                let bit = if basic == Basic::In { 4 } else { 8 };
                self.interface_named(start, word, word, bit);
            }
            // iptables takes the whole word for the address, which does not count if the mask is none.
            (Some(basic @ (Basic::Source | Basic::Destination)), _)
                if address::network(&word.text, self.context.family).is_ok() =>
            {
                self.once(if basic == Basic::Source { 1 } else { 2 }, word);
            }
            (Some(Basic::Goto), Some(name)) => {
                let name = Word { text: Cow::Owned(name.to_owned()), ..word.clone() };
                self.goto(start, word, &name);
            }
            (Some(Basic::Counters), Some(first)) => {
                let first = Word { text: Cow::Owned(first.to_owned()), ..word.clone() };
                self.counters(start, Some(&first));
            }
            (Some(_), Some(value)) => {
                let option = word.text.get(..2).unwrap_or_default();
                self.say(
                    Diagnostic::error(
                        "attached-value",
                        format!("`{option}` needs its argument as a word of its own"),
                        word.span,
                    )
                    .help(format!("write `{option} {}`", clip(value))),
                );
                self.keep(start);
            }
            _ => self.unknown_option(start, word),
        }
    }

    /// Reads one basic option.
    pub(super) fn basic(&mut self, start: usize, word: &Word<'a>, basic: Basic) {
        match basic {
            Basic::Source => self.address(start, word, 1),
            Basic::Destination => self.address(start, word, 2),
            Basic::Protocol => self.protocol(start, word),
            Basic::In => self.interface(start, word, 4),
            Basic::Out => self.interface(start, word, 8),
            Basic::Jump => self.jump(start, word),
            Basic::Goto => {
                if let Some([name]) = self.arguments(start, 1, false) {
                    self.goto(start, word, name);
                }
            }
            Basic::Match => {
                self.refuse_negation(&word.text);
                if let Some([name]) = self.arguments(start, 1, false) {
                    self.load_match(start, name);
                }
            }
            Basic::Fragment => self.fragment(start, word),
            Basic::Counters => self.counters(start, None),
            Basic::Ipv4 | Basic::Ipv6 => self.family(start, word, basic),
            Basic::Wait => {
                let number = self.words.get(self.at).and_then(|word| number::parse(&word.text));
                self.at += usize::from(number.is_some());
                self.wait(start, word);
            }
            Basic::Modprobe => {
                let _ = self.arguments(start, 1, true);
            }
            Basic::Quiet => self.refuse_negation(&word.text),
            Basic::Command => self.unknown_option(start, word),
        }
    }

    /// Reports a fault at a word and keeps the option's words.
    pub(super) fn fault(&mut self, start: usize, span: Span, fault: Fault) {
        self.say(Diagnostic {
            severity: fault.severity,
            help: fault.help,
            // A value from a script may hold ends of lines.
            ..Diagnostic::error(fault.code, fault.message, span)
        });
        self.keep(start);
    }

    fn address(&mut self, start: usize, word: &Word<'a>, bit: u16) {
        let first = self.once(bit, word);
        let negation = self.negation;
        // `-x/0` is an address, too.
        let odd = self.words.get(self.at).is_some_and(|word| word.text.ends_with("/0"));
        let Some([argument]) = self.arguments(start, 1, odd) else { return };
        if !first {
            self.keep(start);
            return;
        }
        let family = self.context.family;
        let mut found = Addresses::default();
        if argument.text.as_bytes().contains(&b',') {
            if let Some(span) = negation {
                let message = "`!` can't stand before a list of addresses";
                self.error("not-negatable", message.to_owned(), span);
                self.keep(start);
                return;
            }
            for (index, item) in argument.text.split(',').enumerate() {
                match address::network(item.trim(), family) {
                    Ok(address) if index == 0 => {
                        found.first = significant(address, false);
                    }
                    Ok(address) => {
                        found.more.push(significant(address, false).map(|found| found.value));
                    }
                    Err(fault) => return self.fault(start, argument.span, fault),
                }
            }
        } else {
            match address::network(&argument.text, family) {
                Ok(address) => found.first = significant(address, negation.is_some()),
                Err(fault) => return self.fault(start, argument.span, fault),
            }
            if negation.is_some()
                && matches!(
                    found.first,
                    Some(Negatable { value: AddressMask::V4(_, 0) | AddressMask::V6(_, 0), .. })
                )
                && self.context.backend != Some(Backend::Legacy)
            {
                // kernel-facts H1: iptables-nft refuses what can never match.
                let message = format!("`! {}` matches no address at all", clip(&argument.text));
                let fault = Fault::new("never-matches", message);
                return self.fault(start, argument.span, fault);
            }
        }
        match bit {
            1 => self.source = found,
            _ => self.destination = found,
        }
    }

    fn protocol(&mut self, start: usize, word: &Word<'a>) {
        let first = self.once(16, word);
        let negated = self.negation.is_some();
        let Some([argument]) = self.arguments(start, 1, false) else { return };
        if !first {
            self.keep(start);
            return;
        }
        let number = match number::parse(&argument.text) {
            Some(number) => u8::try_from(number).ok(),
            None if argument.text.eq_ignore_ascii_case("mptcp") => {
                return self.mptcp(start, argument);
            }
            None => protocols::number(&argument.text),
        };
        match number {
            Some(0) if negated => {
                let fault = Fault::new("never-matches", "`! -p all` matches no packet at all");
                self.fault(start, argument.span, fault);
            }
            Some(0) => {}
            Some(value) => self.protocol = Some(Negatable { negated, value }),
            None => {
                let name = clip(&argument.text);
                let fault = Fault::new("unknown-protocol", format!("unknown protocol `{name}`"));
                let fault = match nearest(&name, protocols::names()) {
                    Some(near) => fault.help(format!("did you mean `{near}`?")),
                    None => fault,
                };
                self.fault(start, argument.span, fault);
            }
        }
    }

    /// `-p mptcp`, whose number 262 no packet has: iptables-nft keeps 8 bits of it, which are tcp,
    /// and iptables-legacy a rule that never matches.
    fn mptcp(&mut self, start: usize, argument: &Word<'a>) {
        let negated = self.negation.is_some();
        let message = if self.context.backend == Some(Backend::Legacy) {
            self.keep(start);
            "protocol `mptcp` has the number 262, which no packet has"
        } else {
            self.protocol = Some(Negatable { negated, value: protocols::TCP });
            "iptables-nft reads protocol `mptcp`, whose number is 262, as tcp"
        };
        self.say(Diagnostic::warning("odd-protocol", message, argument.span));
    }

    fn interface(&mut self, start: usize, word: &Word<'a>, bit: u16) {
        if let Some([argument]) = self.arguments(start, 1, true) {
            self.interface_named(start, word, argument, bit);
        }
    }

    /// The interface of `-i NAME`; of `-iNAME`, iptables takes the whole word (kernel-facts H12).
    fn interface_named(&mut self, start: usize, word: &Word<'a>, argument: &Word<'a>, bit: u16) {
        let first = self.once(bit, word);
        let negated = self.negation.is_some();
        if !first {
            self.keep(start);
            return;
        }
        if argument.is_option() {
            // getopt(3) takes whatever stands behind `-i`.
            let name = clip(&argument.text);
            let message = format!("`{name}` is taken for the name of an interface");
            self.say(Diagnostic::warning("odd-interface", message, argument.span));
        }
        let input = bit == 4;
        let refused = match self.chain {
            "INPUT" | "PREROUTING" => !input,
            "OUTPUT" | "POSTROUTING" => input,
            _ => false,
        };
        if refused {
            // kernel-facts G8: refused by the name of the chain, in every table.
            let (option, which) = if input { ("-i", "incoming") } else { ("-o", "outgoing") };
            let message = format!(
                "`{option}` can't be used in {}, where no {which} interface is known",
                self.chain
            );
            return self.fault(start, word.span, Fault::new("interface-in-chain", message));
        }
        if let Some(fault) = bad_interface(&argument.text) {
            return self.fault(start, argument.span, fault);
        }
        if argument.text == "+" && !negated {
            return;
        }
        let interface = Some(Negatable { negated, value: argument.text.clone() });
        match input {
            true => self.in_interface = interface,
            false => self.out_interface = interface,
        }
    }

    fn fragment(&mut self, start: usize, word: &Word<'a>) {
        let negated = self.negation.is_some();
        if self.context.family == Some(Family::Ipv6) {
            let message = "`-f` does not exist in ip6tables";
            let fault = Fault::new("wrong-family", message).help("use `-m frag`");
            return self.fault(start, word.span, fault);
        }
        if self.once(32, word) {
            self.fragment = Some(Negatable { negated, value: () });
        }
    }

    /// `-w`, which iptables-restore has as an option of its own only (kernel-facts I6).
    fn wait(&mut self, start: usize, word: &Word<'a>) {
        if self.context.tool == Tool::Restore {
            let message = format!("`{}` can't stand in the input of iptables-restore", word.text);
            self.fault(start, word.span, Fault::new("not-in-restore", message));
        }
    }

    /// `-c PACKETS BYTES` or `-c PACKETS,BYTES`; what stands behind a number does not count.
    pub(super) fn counters(&mut self, start: usize, attached: Option<&Word<'a>>) {
        self.refuse_negation("-c");
        if let Some(word) = self.words.get(start) {
            self.once(128, word);
        }
        let first = match attached {
            Some(first) => first.clone(),
            None => match self.arguments(start, 1, true) {
                Some([first]) => first.clone(),
                _ => return,
            },
        };
        // The comma is looked for behind the first character.
        let comma = first.text.char_indices().skip(1).find(|(_, char)| *char == ',');
        let (packets, bytes, span) = match comma {
            Some((at, _)) => {
                let (packets, bytes) = first.text.split_at_checked(at).unwrap_or_default();
                (packets, bytes.get(1..).unwrap_or_default(), first.span)
            }
            None => {
                let Some([bytes]) = self.arguments(start, 1, false) else { return };
                (first.text.as_ref(), bytes.text.as_ref(), first.span.cover(bytes.span))
            }
        };
        match (number::scanned(packets), number::scanned(bytes)) {
            (Some((packets, _)), Some((bytes, _))) => {
                self.counters = Some(Counters { packets, bytes });
            }
            _ => {
                let fault =
                    Fault::new("invalid-counters", "expected packets and bytes behind `-c`");
                self.fault(start, span, fault);
            }
        }
    }

    fn family(&mut self, start: usize, word: &Word<'a>, basic: Basic) {
        let wrong = match self.context.family {
            Some(Family::Ipv4) | None => basic == Basic::Ipv6,
            Some(Family::Ipv6) => basic == Basic::Ipv4,
        };
        if wrong {
            let message = format!("`{}` makes this a rule of the other family", word.text);
            self.fault(start, word.span, Fault::new("wrong-family", message));
        }
    }

    /// `-g`, `--goto=CHAIN` or `-gCHAIN`.
    pub(super) fn goto(&mut self, start: usize, word: &Word<'a>, name: &Word<'a>) {
        self.refuse_negation(&word.text);
        if !self.once(64, word) {
            self.keep(start);
            return;
        }
        self.target_span = word.span.cover(name.span);
        self.target = Target::Goto(name.text.clone(), name.span);
        self.check_jump(start);
    }

    fn jump(&mut self, start: usize, word: &Word<'a>) {
        self.refuse_negation(&word.text);
        let first = self.once(64, word);
        let Some([name]) = self.arguments(start, 1, false) else { return };
        if !first {
            self.keep(start);
            return;
        }
        self.target_span = word.span.cover(name.span);
        self.target = match name.text.as_ref() {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            text => match find(ExtensionKind::Target, text) {
                Some(extension) => {
                    self.target_use = Some(self.scratch.uses.len());
                    self.load(extension, name.span);
                    Target::None
                }
                None if FOREIGN_TARGETS.contains(&text) => self.foreign_target(start, name),
                None => Target::Jump(name.text.clone(), name.span),
            },
        };
        self.check_jump(start);
    }

    /// Refuses a jump to what can't be the name of a chain.
    fn check_jump(&mut self, start: usize) {
        if let Target::Jump(text, span) | Target::Goto(text, span) = &self.target
            && let Some(fault) = bad_chain_name(text)
        {
            let span = *span;
            self.fault(start, span, fault);
        }
    }

    fn foreign_target(&mut self, start: usize, name: &Word<'a>) -> Target<'a> {
        let message = format!("target `{}` is not known", clip(&name.text));
        self.say(
            Diagnostic::warning("unknown-target", message, name.span)
                .help("the rule is kept, but what it does can't be said"),
        );
        self.foreign = true;
        let words = self.words.get(start..self.at).unwrap_or_default();
        super::raw(words, None).map_or(Target::None, Target::Unsupported)
    }
}

/// The address unless it is any address (kernel-facts H3).
fn significant(address: AddressMask, negated: bool) -> Option<Negatable<AddressMask>> {
    let any = matches!(address, AddressMask::V4(_, 0) | AddressMask::V6(_, 0));
    (negated || !any).then_some(Negatable { negated, value: address })
}

/// What is wrong with the name of an interface (kernel-facts G8).
pub(crate) fn bad_interface(name: &str) -> Option<Fault> {
    if name.is_empty() {
        return Some(Fault::new("invalid-interface", "the name of the interface is empty"));
    }
    (name.len() > LONGEST_INTERFACE).then(|| {
        let message = format!(
            "interface name `{}` is too long: at most {LONGEST_INTERFACE} characters, these are {}",
            clip(name),
            name.len()
        );
        Fault::new("invalid-interface", message)
    })
}

/// What is wrong with the name of a chain (kernel-facts G7).
pub(crate) fn bad_chain_name(name: &str) -> Option<Fault> {
    if name.is_empty() || name.starts_with(['-', '!']) {
        let message = format!("expected the name of a chain, found `{}`", clip(name));
        return Some(Fault::new("invalid-chain-name", message));
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain && name.contains(|char: char| char.is_whitespace() || char.is_control()) {
        let message = format!("chain name `{}` holds a blank or control character", clip(name));
        return Some(Fault::new("invalid-chain-name", message));
    }
    if name.len() > LONGEST_CHAIN {
        let message = format!(
            "chain name `{}` is too long: at most {LONGEST_CHAIN} characters, these are {}",
            clip(name),
            name.len()
        );
        return Some(Fault::new("invalid-chain-name", message));
    }
    None
}

/// Whether a chain may have this name.
pub(crate) fn is_chain_name(name: &str) -> bool {
    bad_chain_name(name).is_none()
}

/// Reports what is wrong with the name of a chain that is declared.
pub(crate) fn check_chain_name(name: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(fault) = bad_chain_name(name) {
        diagnostics.push(Diagnostic::error(fault.code, fault.message, span));
    } else if matches!(name, "ACCEPT" | "DROP" | "RETURN")
        || find(ExtensionKind::Target, name).is_some()
    {
        let message = format!("chain name `{name}` is the name of a target");
        diagnostics.push(Diagnostic::error("invalid-chain-name", message, span));
    }
}
