//! The options that every rule has: addresses, interfaces, protocol, target.

use std::borrow::Cow;

use super::{Addresses, Reader};
use crate::arguments::{Fault, address, number};
use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::extension::{ExtensionKind, find};
use crate::protocols;
use crate::recognize::Tool;
use crate::span::Span;
use crate::syntax::{AddressMask, Backend, Counters, Family, Negatable};
use crate::words::{Letter, Word, clip, letters};

/// The longest name of an interface (if.h, `IFNAMSIZ` without its NUL).
const LONGEST_INTERFACE: usize = 15;

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
    /// An option that only listings have.
    Listing,
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
    ("--numeric", Basic::Listing),
    ("--exact", Basic::Listing),
    ("--version", Basic::Command),
    ("--help", Basic::Command),
    ("--line-numbers", Basic::Listing),
];

/// The long names of all options that iptables has without extensions.
pub(crate) fn option_names() -> impl Iterator<Item = &'static str> {
    LONG.iter().map(|(name, _)| name.trim_start_matches('-'))
}

/// Whether the next word is the value of a long option that every rule has; `None` if it is none.
pub(crate) fn basic_takes_value(text: &str) -> Option<bool> {
    let (_, basic) = LONG.iter().find(|(long, _)| *long == text)?;
    Some(match basic {
        Basic::Source
        | Basic::Destination
        | Basic::Protocol
        | Basic::In
        | Basic::Out
        | Basic::Jump
        | Basic::Goto
        | Basic::Match
        | Basic::Counters
        | Basic::Modprobe => true,
        Basic::Fragment
        | Basic::Ipv4
        | Basic::Ipv6
        | Basic::Wait
        | Basic::Quiet
        | Basic::Listing
        | Basic::Command => false,
    })
}

impl Basic {
    fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            's' => Self::Source,
            'd' => Self::Destination,
            'p' => Self::Protocol,
            'i' => Self::In,
            'o' => Self::Out,
            'j' => Self::Jump,
            'g' => Self::Goto,
            'm' => Self::Match,
            'f' => Self::Fragment,
            'c' => Self::Counters,
            '4' => Self::Ipv4,
            '6' => Self::Ipv6,
            'w' => Self::Wait,
            'v' => Self::Quiet,
            'n' | 'x' => Self::Listing,
            'M' => Self::Modprobe,
            _ => return None,
        })
    }
}

impl<'a> Reader<'_, 'a> {
    /// `-x`, or several in one word such as `-vj`.
    pub(super) fn short_options(&mut self, start: usize, word: &Word<'a>) {
        // Behind an extension that is not known, such a word may be one of its options: whole. So is
        // one that names such an extension itself.
        let is_known = |one: Letter<'_>| match Basic::of_letter(one.letter) {
            Some(Basic::Match) => {
                let next = self.words.get(self.at).map_or("", |next| next.text.as_ref());
                let name = if one.value.is_empty() { next } else { one.value };
                letters(&word.text).nth(1).is_none() || find(ExtensionKind::Match, name).is_some()
            }
            known => known.is_some() || !self.foreign,
        };
        if !letters(&word.text).all(is_known) {
            return self.unknown_option(start, word);
        }
        let mut given = letters(&word.text).peekable();
        let mut first = true;
        while let Some(one) = given.next() {
            let Some(basic) = Basic::of_letter(one.letter) else {
                return self.unknown_option(start, word);
            };
            if !one.value.is_empty() {
                self.attached(start, word, basic, one);
            } else if first && given.peek().is_none() {
                self.basic(start, word, basic);
            } else {
                let text = Cow::Owned(format!("-{}", one.letter));
                self.basic(start, &Word { text, ..word.clone() }, basic);
            }
            first = false;
            // Each takes the `!` before it for its own.
            self.negation = None;
            if self.scratch.stopped.is_some() {
                return;
            }
        }
    }

    /// `-xVALUE`, which iptables 1.8.9 takes from `-m`, `-g` and `-c` only; others take the whole
    /// word for their value (kernel-facts H12).
    fn attached(&mut self, start: usize, word: &Word<'a>, basic: Basic, one: Letter<'_>) {
        let value = || Word { text: Cow::Owned(one.value.to_owned()), ..word.clone() };
        match basic {
            Basic::Match => self.load_match(start, &value()),
            Basic::Wait => self.wait(start, word),
            Basic::Modprobe => {}
            Basic::In => self.interface_named(start, word, word, 4),
            Basic::Out => self.interface_named(start, word, word, 8),
            // iptables takes the whole word for the address, which does not count if the mask is none.
            Basic::Source | Basic::Destination if self.is_one_network(word) => {
                self.once(if basic == Basic::Source { 1 } else { 2 }, word);
            }
            Basic::Goto => self.goto(start, word, &value()),
            Basic::Counters => self.counters(start, Some(&value())),
            _ => {
                let letter = one.letter;
                let message = format!("`-{letter}` needs its argument as a word of its own");
                let fault = Fault::new("attached-value", message)
                    .help(format!("write `-{letter} {}`", clip(one.value)));
                self.attached_fault(start, word.span, basic, fault);
            }
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
            Basic::Listing => {
                self.refuse_negation(&word.text);
                let message = format!("`{}` does not belong to this command", clip(&word.text));
                let fault = Fault::new("unexpected-word", message);
                self.fault_of_rule(start, word.span, fault);
            }
            Basic::Command => self.unknown_option(start, word),
        }
    }

    /// Reports a fault at a word and keeps the option's words.
    pub(super) fn fault(&mut self, start: usize, span: Span, fault: Fault) {
        self.say(fault.at(span));
        self.keep(start);
    }

    /// The same for what iptables looks at when it has read the whole rule.
    fn fault_of_rule(&mut self, start: usize, span: Span, fault: Fault) {
        self.later.push(fault.at(span));
        self.keep(start);
    }

    /// The fault of a value that is not a word of its own. Addresses are looked up at the end, and
    /// so are chains by iptables-nft.
    pub(super) fn attached_fault(&mut self, start: usize, span: Span, basic: Basic, fault: Fault) {
        match basic {
            Basic::Source | Basic::Destination => self.fault_of_rule(start, span, fault),
            Basic::Jump if self.context.backend != Some(Backend::Legacy) => {
                self.fault_of_rule(start, span, fault);
            }
            _ => self.fault(start, span, fault),
        }
    }

    pub(super) fn is_one_network(&self, word: &Word<'_>) -> bool {
        !word.text.contains(',') && address::network(&word.text, self.context.family).is_ok()
    }

    fn address(&mut self, start: usize, word: &Word<'a>, bit: u16) {
        let first = self.once(bit, word);
        let negation = self.negation;
        // `-x/0` is an address, too, whatever `-x` is.
        let none = |word: &Word<'_>| word.text.starts_with('-') && self.is_one_network(word);
        let odd = self.words.get(self.at).is_some_and(none);
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
                return self.fault_of_rule(start, span, Fault::new("not-negatable", message));
            }
            for (index, item) in argument.text.split(',').enumerate() {
                match address::network(item.trim(), family) {
                    Ok(address) if index == 0 => {
                        found.first = significant(address, false);
                    }
                    Ok(address) => {
                        found.more.push(significant(address, false).map(|found| found.value));
                    }
                    Err(fault) => return self.bad_address(start, bit, argument, fault),
                }
            }
        } else {
            match address::network(&argument.text, family) {
                Ok(address) => found.first = significant(address, negation.is_some()),
                Err(fault) => return self.bad_address(start, bit, argument, fault),
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
                return self.fault_of_rule(start, argument.span, fault);
            }
        }
        match bit {
            1 => self.source = found,
            _ => self.destination = found,
        }
    }

    /// Reports what is no address. A name that may be one is kept as it is printed: among the
    /// addresses.
    fn bad_address(&mut self, start: usize, bit: u16, argument: &Word<'a>, fault: Fault) {
        if fault.severity == Severity::Error {
            return self.fault_of_rule(start, argument.span, fault);
        }
        self.later.push(fault.at(argument.span));
        let span = self.words.get(start).map_or(argument.span, |word| word.span);
        let text = Cow::Borrowed(if bit == 1 { "-s" } else { "-d" });
        let option = Word { text, span, quoted: false };
        let kept = super::raw(&[option, argument.clone()], self.negation.take());
        self.unsupported.extend(kept);
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
    /// and iptables-legacy a rule that never matches. Extensions of tcp are refused by both.
    fn mptcp(&mut self, start: usize, argument: &Word<'a>) {
        let negated = self.negation.is_some();
        let message = if self.context.backend == Some(Backend::Legacy) {
            self.keep(start);
            if let Some(kept) = self.unsupported.last_mut() {
                // It is saved by the first name of its number.
                let raw = kept.raw.to_mut();
                let before = raw.len().saturating_sub(argument.text.len());
                if let Some(name) = raw.get_mut(before..) {
                    name.make_ascii_lowercase();
                }
            }
            "protocol `mptcp` has the number 262, which no packet has"
        } else {
            self.cut_protocol = Some(Negatable { negated, value: protocols::TCP });
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
    pub(super) fn interface_named(
        &mut self,
        start: usize,
        word: &Word<'a>,
        argument: &Word<'a>,
        bit: u16,
    ) {
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
            let fault = Fault::new("interface-in-chain", message);
            return self.fault_of_rule(start, word.span, fault);
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
                // Unlike a value of getopt(3), it may be no option, however short.
                let option = |word: &Word<'_>| word.text.starts_with(['-', '!']);
                if self.words.get(self.at).is_some_and(option) {
                    let message = "`-c` needs packets and bytes".to_owned();
                    self.error("missing-argument", message, first.span);
                    return self.keep(start);
                }
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

    /// `-4` or `-6`, which makes nothing of a `!`. iptables-restore passes over a rule that is for
    /// the other family, and reads no further (kernel-facts I6).
    fn family(&mut self, start: usize, word: &Word<'a>, basic: Basic) {
        let wrong = match self.context.family {
            Some(Family::Ipv4) | None => basic == Basic::Ipv6,
            Some(Family::Ipv6) => basic == Basic::Ipv4,
        };
        if wrong && self.context.tool == Tool::Restore {
            self.scratch.stopped = Some(word.span);
        } else if wrong {
            let message = format!("`{}` makes this a rule of the other family", word.text);
            self.fault(start, word.span, Fault::new("wrong-family", message));
        }
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
