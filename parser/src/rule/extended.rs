//! The options of extensions: finding the extension that an option belongs to.

use std::borrow::Cow;

use super::basic::{Basic, LONG};
use super::{ADVISED, Pending, Reader, USES_A_RULE};
use crate::arguments::{Argument, Context, Fault};
use crate::diagnostic::{Diagnostic, nearest};
use crate::extension::{EXTENSIONS, Extension, ExtensionKind, Repetition, find};
use crate::protocols;
use crate::span::Span;
use crate::syntax::{Backend, Family, OptionUse, Value};
use crate::words::{Word, clip};

/// The names under which ip6tables and iptables know the same match by another name.
const MATCH_ALIASES: &[(&str, &str)] =
    &[("icmpv6", "icmp6"), ("ipv6-icmp", "icmp6"), ("mobility-header", "mh")];

/// What an option turned out to be.
enum Found {
    /// An option of the use of this number, with its index.
    Extended(usize, usize, Argument),
    Basic(Basic),
    Ambiguous(&'static str, &'static str),
    Nothing,
}

impl<'a> Reader<'_, 'a> {
    /// `-m NAME`.
    pub(super) fn load_match(&mut self, start: usize, name: &Word<'a>) {
        let alias = MATCH_ALIASES.iter().find(|(alias, _)| *alias == name.text);
        let known = alias.map_or(name.text.as_ref(), |(_, canonical)| *canonical);
        match find(ExtensionKind::Match, known) {
            Some(extension) => self.load(extension, name.span),
            None => {
                let known = EXTENSIONS[0].iter().map(|extension| extension.name);
                let near = (name.text.len() < 40).then(|| nearest(&name.text, known)).flatten();
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "the rule is kept, but whether it matches can't be said".to_owned(),
                };
                let message = format!("match `{}` is not known", clip(&name.text));
                self.say(Diagnostic::warning("unknown-match", message, name.span).help(help));
                self.foreign = true;
                self.keep(start);
            }
        }
    }

    /// Adds a use of an extension.
    pub(super) fn load(&mut self, extension: &'static Extension, span: Span) {
        if self.scratch.uses.len() >= USES_A_RULE {
            let message = format!("more than {USES_A_RULE} extensions in one rule");
            self.error("too-many-matches", message, span);
            return;
        }
        self.scratch.uses.push(Pending { extension, span, seen: 0, faulty: false });
    }

    /// `--name` of whatever is loaded.
    pub(super) fn long_option(&mut self, start: usize, word: &Word<'a>) {
        let text = word.text.as_ref();
        match self.look_up(text) {
            Found::Nothing => {}
            found => return self.found(start, word, found, None),
        }
        // `--dport=80` (kernel-facts H12).
        if let Some((name, value)) = text.split_once('=') {
            let value = Word { text: Cow::Owned(value.to_owned()), ..word.clone() };
            match self.look_up(name) {
                Found::Nothing => {}
                found => return self.found(start, word, found, Some(value)),
            }
        }
        self.unknown_option(start, word);
    }

    /// Finds an option in what is loaded, then in the match of the protocol.
    fn look_up(&mut self, text: &str) -> Found {
        match self.look_up_loaded(text) {
            Found::Nothing => {}
            found => return found,
        }
        if self.implied {
            return Found::Nothing;
        }
        let cut = self.cut_protocol.as_ref().filter(|_| self.foreign);
        let given = self.protocol.as_ref().or(cut).map(|given| given.value);
        let protocol = given.or(self.announced);
        let Some(protocol) = protocol else { return Found::Nothing };
        let Some(extension) = match_of_protocol(protocol) else { return Found::Nothing };
        let name = text.strip_prefix("--").unwrap_or(text);
        let knows = |(spelling, index, _): (&str, usize, Argument)| {
            spelling.starts_with(name) && self.has(extension, index)
        };
        if !extension.spellings().any(knows) {
            return Found::Nothing;
        }
        self.implied = true;
        let span = self.words.get(self.at - 1).map_or(self.context.span, |word| word.span);
        self.load(extension, span);
        self.look_up_loaded(text)
    }

    fn look_up_loaded(&self, text: &str) -> Found {
        let Some(name) = text.strip_prefix("--") else { return Found::Nothing };
        for (number, pending) in self.scratch.uses.iter().enumerate().rev() {
            if let Some((index, argument)) = pending.extension.option_named(name)
                && self.has(pending.extension, index)
            {
                return Found::Extended(number, index, argument);
            }
        }
        if let Some((_, basic)) = LONG.iter().find(|(long, _)| *long == text) {
            return Found::Basic(*basic);
        }
        self.look_up_abbreviated(text, name)
    }

    /// Whether an option exists in the family of the rules.
    fn has(&self, extension: &Extension, index: usize) -> bool {
        let only = extension.options.get(index).and_then(|option| option.family);
        only.is_none_or(|only| self.context.family.is_none_or(|family| family == only))
    }

    /// Whether a use is one of an extension.
    fn is_of(&self, number: usize, extension: &Extension) -> bool {
        self.scratch.uses.get(number).is_some_and(|used| std::ptr::eq(used.extension, extension))
    }

    /// The one option that begins like this.
    fn look_up_abbreviated(&self, text: &str, name: &str) -> Found {
        let mut found = Found::Nothing;
        let mut found_name = "";
        // ip6tables-legacy has no `--fragments`.
        let fragments = self.context.family != Some(Family::Ipv6)
            || self.context.backend != Some(Backend::Legacy);
        let known = |basic: Basic| fragments || basic != Basic::Fragment;
        for (long, basic) in
            LONG.iter().filter(|(long, basic)| long.starts_with(text) && known(*basic))
        {
            match found {
                Found::Basic(other) if other == *basic => {}
                Found::Nothing => (found, found_name) = (Found::Basic(*basic), *long),
                _ => return Found::Ambiguous(found_name, long),
            }
        }
        for (number, pending) in self.scratch.uses.iter().enumerate().rev() {
            for (spelling, index, argument) in pending.extension.spellings() {
                if !spelling.starts_with(name) || !self.has(pending.extension, index) {
                    continue;
                }
                match found {
                    Found::Nothing => {
                        (found, found_name) = (Found::Extended(number, index, argument), spelling);
                    }
                    // The same extension twice, or two names of one option; options of two
                    // extensions differ though they have one name.
                    Found::Extended(first, other, _)
                        if self.is_of(first, pending.extension)
                            && (found_name == spelling
                                || other == index
                                    && !reads_otherwise(pending.extension, index)) => {}
                    _ => return Found::Ambiguous(found_name, spelling),
                }
            }
        }
        found
    }

    fn found(&mut self, start: usize, word: &Word<'a>, found: Found, value: Option<Word<'a>>) {
        match (found, value) {
            (Found::Extended(number, index, argument), value) => {
                self.extended(start, word, (number, index, argument), value);
            }
            (Found::Basic(basic), None) => self.basic(start, word, basic),
            (Found::Basic(Basic::Match), Some(value)) => self.load_match(start, &value),
            (Found::Basic(Basic::Goto), Some(value)) => self.goto(start, word, &value),
            (Found::Basic(Basic::Counters), Some(value)) => self.counters(start, Some(&value)),
            (Found::Basic(Basic::Modprobe), Some(_)) => {}
            // The whole word is the value, as that of `-oeth1` is.
            (Found::Basic(Basic::In), Some(_)) => self.interface_named(start, word, word, 4),
            (Found::Basic(Basic::Out), Some(_)) => self.interface_named(start, word, word, 8),
            (Found::Basic(Basic::Source), Some(_)) if self.is_one_network(word) => {
                self.once(1, word);
            }
            (Found::Basic(Basic::Destination), Some(_)) if self.is_one_network(word) => {
                self.once(2, word);
            }
            (Found::Basic(basic), Some(_)) => {
                let message =
                    format!("`{}` needs its argument as a word of its own", clip(&word.text));
                let fault =
                    Fault::new("attached-value", message).help("write a blank instead of `=`");
                self.attached_fault(start, word.span, basic, fault);
            }
            (Found::Ambiguous(one, other), _) => {
                let dashes = |name: &str| name.trim_start_matches('-').to_owned();
                let message = format!(
                    "option `{}` is ambiguous: `--{}` or `--{}`",
                    clip(&word.text),
                    dashes(one),
                    dashes(other)
                );
                self.error("ambiguous-option", message, word.span);
                self.keep(start);
            }
            (Found::Nothing, _) => self.unknown_option(start, word),
        }
    }

    /// Reads one option of an extension.
    fn extended(
        &mut self,
        start: usize,
        word: &Word<'a>,
        (number, index, argument): (usize, usize, Argument),
        value: Option<Word<'a>>,
    ) {
        let Some(pending) = self.scratch.uses.get_mut(number) else { return };
        let extension = pending.extension;
        let Some(option) = extension.options.get(index) else { return };
        let bit = 1_u64 << index.min(63);
        let again = pending.seen & bit != 0 && extension.repetition == Repetition::Refused;
        let duplicate = again && !option.again;
        let mut stays_negated = false;
        if again && option.again {
            self.scratch.options.retain(|(of, one)| {
                let earlier = *of == number && std::ptr::eq(one.option, option);
                // Without an argument, nothing takes back what `!` said.
                stays_negated |= earlier && one.negated && one.value == Value::Flag;
                !earlier
            });
        }
        pending.seen |= bit;
        if self.negation.is_some() && !option.negatable {
            self.refuse_negation(&word.text);
        }
        let negation = self.negation;

        let any_text = argument.takes_any_word();
        let given = self.words.get(self.at).is_some_and(|next| !next.text.starts_with(['-', '!']));
        let count = match argument {
            Argument::Optional(_) => usize::from(given || value.is_some()),
            _ => argument.words(),
        };
        if let (0, Some(value)) = (count, &value) {
            let message =
                format!("`--{}` takes no argument, found `{}`", option.name, clip(&value.text));
            self.error("unexpected-word", message, word.span);
            self.keep(start);
            return;
        }
        let storage;
        let words = match value {
            Some(value) if count > 0 => {
                let Some(more) = self.arguments(start, count - 1, any_text) else {
                    if let Some(pending) = self.scratch.uses.get_mut(number) {
                        pending.faulty = true;
                    }
                    return;
                };
                storage = [&[value], more].concat();
                &storage[..]
            }
            _ => match self.arguments(start, count, any_text) {
                Some(words) => words,
                None => {
                    if let Some(pending) = self.scratch.uses.get_mut(number) {
                        pending.faulty = true;
                    }
                    return;
                }
            },
        };
        if duplicate {
            let message = format!("`{}` is given more than once", clip(&word.text));
            self.error("duplicate-option", message, word.span);
            self.keep(start);
            return;
        }
        let protocol = match extension.protocols {
            [only] => Some(*only),
            _ => self.protocol.map(|protocol| protocol.value),
        };
        let context = Context { family: self.context.family, protocol };
        match argument.parse(words, &context).and_then(|value| option.admit(value, words)) {
            Ok(value) => {
                let end = words.last().map_or(word.span, |last| last.span);
                let span = negation.unwrap_or(word.span).cover(end);
                if self.protocol.is_none()
                    && matches!(&value, Value::Nat(range) if range.ports.is_some())
                {
                    self.early_ports = Some(span);
                }
                let negated = negation.is_some() || stays_negated;
                self.scratch.options.push((number, OptionUse { option, negated, value, span }));
                self.negation = None;
            }
            Err(fault) => {
                if let Some(pending) = self.scratch.uses.get_mut(number) {
                    pending.faulty = true;
                }
                let span = words.first().map_or(word.span, |first| first.span);
                let span = words.last().map_or(span, |last| span.cover(last.span));
                self.say(fault.at(span));
                self.keep_option(start, number);
            }
        }
    }

    /// An option that nothing loaded knows.
    pub(super) fn unknown_option(&mut self, start: usize, word: &Word<'a>) {
        while self.words.get(self.at).is_some_and(|next| !next.is_option()) {
            self.at += 1;
        }
        if !self.foreign {
            let message = format!("unknown option `{}`", clip(&word.text));
            let mut diagnostic = Diagnostic::error("unknown-option", message, word.span);
            diagnostic.help = self.remembered_advice(&word.text);
            self.say(diagnostic);
        }
        self.kept_option |= self.foreign && self.protocol.is_none();
        self.keep(start);
    }

    /// The advice for an unknown option, worked out once for each.
    fn remembered_advice(&mut self, text: &str) -> Option<String> {
        let known = self.scratch.advice.iter().find(|(option, _)| option == text);
        if let Some((_, advice)) = known {
            return advice.clone();
        }
        if self.scratch.advice.len() >= ADVISED || text.len() > 60 {
            return None;
        }
        let advice = self.advice(text);
        self.scratch.advice.push((text.to_owned(), advice.clone()));
        advice
    }

    /// What was probably meant by an unknown option.
    fn advice(&self, text: &str) -> Option<String> {
        let name = text.split('=').next()?.strip_prefix("--")?;
        let all = || EXTENSIONS.iter().copied().flatten();
        if ["dport", "sport", "destination-port", "source-port"].contains(&name) {
            return Some(match self.protocol {
                None => "ports need a protocol: write `-p tcp` or `-p udp` before it".to_owned(),
                Some(_) => "only a protocol with ports has them: tcp, udp, sctp, dccp".to_owned(),
            });
        }
        if let Some(owner) = all().find(|extension| extension.option_named(name).is_some()) {
            return Some(match owner.kind {
                ExtensionKind::Match => format!("it belongs to `-m {}`", owner.name),
                ExtensionKind::Target => format!("it belongs to `-j {}`", owner.name),
            });
        }
        if name.len() > 40 {
            return None;
        }
        let protocol = self.protocol.and_then(|protocol| match_of_protocol(protocol.value));
        let loaded = self.scratch.uses.iter().map(|pending| pending.extension).chain(protocol);
        let near = loaded.flat_map(Extension::spellings).map(|(spelling, ..)| spelling);
        let basic = LONG.iter().map(|(long, _)| long.trim_start_matches('-'));
        nearest(name, near.chain(basic))
            .or_else(|| nearest(name, all().flat_map(|one| one.spellings()).map(|(name, ..)| name)))
            .map(|near| format!("did you mean `--{near}`?"))
    }
}

/// Whether spellings of an option are options of their own for getopt(3).
fn reads_otherwise(extension: &Extension, index: usize) -> bool {
    let option = extension.options.get(index);
    option.is_some_and(|option| option.aliases.iter().any(|alias| alias.argument.is_some()))
}

/// The match that options without `-m` belong to.
fn match_of_protocol(protocol: u8) -> Option<&'static Extension> {
    let name = match protocol {
        protocols::TCP => "tcp",
        protocols::UDP => "udp",
        protocols::ICMP => "icmp",
        protocols::ICMPV6 => "icmp6",
        protocols::SCTP => "sctp",
        protocols::DCCP => "dccp",
        protocols::ESP => "esp",
        protocols::AH => "ah",
        protocols::IPCOMP => "ipcomp",
        protocols::MOBILITY => "mh",
        _ => return None,
    };
    find(ExtensionKind::Match, name)
}
