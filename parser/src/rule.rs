//! One rule from its words.
//!
//! Takes what iptables-restore takes: long options may be abbreviated, options of a protocol's
//! match load that match, and the order of options is free (kernel-facts H2, H12). A fault never
//! ends the rule: what was not understood is kept in [`Rule::unsupported`].

mod basic;
mod chain_name;
mod extended;
mod finish;
mod jump;

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, Severity};
use crate::extension::Extension;
use crate::recognize::Tool;
use crate::span::Span;
use crate::syntax::{
    AddressMask, Backend, Counters, Family, Interfaces, Negatable, OptionUse, Placement, Rule,
    TableName, Target, Unsupported,
};
use crate::words::{Word, clip};

pub(crate) use basic::{basic_takes_value, option_names};
pub(crate) use chain_name::{check_chain_name, is_chain_name};

/// What surrounds a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleContext {
    /// The table it stands in.
    pub table: TableName,
    /// The family, where it is known.
    pub family: Option<Family>,
    /// The backend, where it is known.
    pub backend: Option<Backend>,
    /// Where it goes in its chain.
    pub placement: Placement,
    /// Its text.
    pub span: Span,
    /// Its line, counted from 1.
    pub line: u32,
    /// Its counters, where they stand outside of its words.
    pub counters: Option<Counters>,
    /// The tool that takes it.
    pub tool: Tool,
    /// Whether a missing `-i` or `-o` means any interface.
    pub interfaces: Interfaces,
    /// Whether the words are exactly one line that means just this rule.
    pub verbatim: bool,
}

/// Buffers that are used again for every rule.
#[derive(Debug, Default)]
pub(crate) struct Scratch<'a> {
    uses: Vec<Pending>,
    options: Vec<(usize, OptionUse<'a>)>,
    /// What was advised for unknown options, since a mistake is seldom made only once.
    advice: Vec<(String, Option<String>)>,
    /// The option at which the reading of the last rule stopped: it asks for the other family.
    stopped: Option<Span>,
}

impl Scratch<'_> {
    /// Whether the last rule is for the other family, so that iptables-restore passes over it.
    pub(crate) fn is_of_other_family(&self) -> bool {
        self.stopped.is_some()
    }
}

/// How many messages one rule may cause; a line can be of any length.
const MESSAGES_A_RULE: usize = 20;

/// How many extensions one rule may use; the kernel's rule of 64 KiB holds fewer.
const USES_A_RULE: usize = 256;

/// How many different mistakes are looked into for what was meant.
const ADVISED: usize = 64;

/// An extension that the rule uses and whose options are still being read.
#[derive(Debug)]
struct Pending {
    extension: &'static Extension,
    span: Span,
    /// A bit for each option that was given.
    seen: u64,
    /// Whether an option of it was not understood, so that nothing can be said of missing ones.
    faulty: bool,
}

/// The rules of one line: `words` are what stands behind `-A CHAIN`.
///
/// A list such as `-s a,b` makes several rules, in the order in which iptables adds them.
pub(crate) fn rule_from_words<'a>(
    context: &RuleContext,
    chain: Cow<'a, str>,
    words: &[Word<'a>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Rule<'a>> {
    let mut rules = Vec::with_capacity(1);
    let mut more = Vec::new();
    rules.push(read_rule(context, chain, words, &mut Scratch::default(), &mut more, diagnostics));
    rules.append(&mut more);
    rules
}

/// The first rule of one line; the others of a list go to `more`. Whether the line is for the other
/// family, the scratch tells.
pub(crate) fn read_rule<'a>(
    context: &RuleContext,
    chain: Cow<'a, str>,
    words: &[Word<'a>],
    scratch: &mut Scratch<'a>,
    more: &mut Vec<Rule<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Rule<'a> {
    let mut reader = Reader::new(context, &chain, words, scratch, diagnostics);
    reader.read();
    if let Some(protocol) = reader.late_protocol() {
        reader = reader.again(protocol);
    }
    if reader.scratch.is_of_other_family() {
        reader.check_early_ports();
        let said = reader.diagnostics.len();
        let rest = reader.finish();
        // Nobody looks at it as a whole, but its extensions are loaded.
        let whole = diagnostics.split_off(said);
        diagnostics.extend(whole.into_iter().filter(|one| one.code == "wrong-family"));
        return rest.rule;
    }
    for later in std::mem::take(&mut reader.later) {
        reader.say(later);
    }
    let rest = reader.finish();
    expand(context, chain, rest, more)
}

/// Says what is wrong with the first words of a rule, whose rest nobody reads.
pub(crate) fn check_words<'a>(
    context: &RuleContext,
    chain: &str,
    words: &[Word<'a>],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut scratch = Scratch::default();
    let mut reader = Reader::new(context, chain, words, &mut scratch, diagnostics);
    reader.read();
    reader.check_early_ports();
}

/// The addresses of `-s` or `-d`: nearly always one.
#[derive(Debug, Default)]
struct Addresses {
    first: Option<Negatable<AddressMask>>,
    more: Vec<Option<AddressMask>>,
}

/// A rule before its address lists are expanded.
struct Read<'a> {
    rule: Rule<'a>,
    sources: Vec<Option<AddressMask>>,
    destinations: Vec<Option<AddressMask>>,
}

/// Makes the rules of an address list: for each source every destination (kernel-facts G10).
fn expand<'a>(
    context: &RuleContext,
    chain: Cow<'a, str>,
    read: Read<'a>,
    more: &mut Vec<Rule<'a>>,
) -> Rule<'a> {
    let Read { mut rule, sources, destinations } = read;
    rule.chain = chain;
    if sources.is_empty() && destinations.is_empty() {
        rule.verbatim = context.verbatim;
        return rule;
    }
    rule.verbatim = false;
    let positive =
        |value: Option<AddressMask>| value.map(|value| Negatable { negated: false, value });
    let all = |first: Option<Negatable<AddressMask>>, rest: Vec<Option<AddressMask>>| {
        let mut all = vec![first];
        all.extend(rest.into_iter().map(positive));
        all
    };
    let sources = all(rule.source, sources);
    let destinations = all(rule.destination, destinations);
    for (outer, source) in sources.iter().enumerate() {
        for (inner, destination) in destinations.iter().enumerate() {
            if outer + inner > 0 {
                more.push(Rule { source: *source, destination: *destination, ..rule.clone() });
            }
        }
    }
    rule
}

/// The reading of one rule.
struct Reader<'r, 'a> {
    context: &'r RuleContext,
    chain: &'r str,
    words: &'r [Word<'a>],
    at: usize,
    /// The place of a `!` that waits for its option.
    negation: Option<Span>,
    source: Addresses,
    destination: Addresses,
    in_interface: Option<Negatable<Cow<'a, str>>>,
    out_interface: Option<Negatable<Cow<'a, str>>>,
    protocol: Option<Negatable<u8>>,
    /// What iptables-nft makes of a protocol whose number does not fit, when the rule is read.
    cut_protocol: Option<Negatable<u8>>,
    fragment: Option<Negatable<()>>,
    counters: Option<Counters>,
    target: Target<'a>,
    /// The number of the target among the uses, if it is an extension.
    target_use: Option<usize>,
    target_span: Span,
    /// A bit for each basic option that was given.
    given: u16,
    /// Whether the match of the protocol was looked for.
    implied: bool,
    /// Ports to translate to that stood before the protocol.
    early_ports: Option<Span>,
    /// Whether an unknown extension was loaded, whose options can't be known.
    foreign: bool,
    /// The number of what is kept of it, with all that no other extension knows behind it.
    foreign_piece: Option<usize>,
    /// The protocol that stands behind an option of its match, where an extension that is not known
    /// lets such an option stand.
    announced: Option<u8>,
    /// Whether an option that nothing loaded knows was kept before any protocol.
    kept_option: bool,
    /// How much was kept as not understood before a target that is not known.
    kept_before_target: usize,
    unsupported: Vec<Unsupported<'a>>,
    /// Options of extensions whose values are not known, with the number of the use.
    open_options: Vec<(usize, Unsupported<'a>)>,
    /// How many messages there were before this rule.
    said: usize,
    /// What is to be said when the whole rule is read.
    later: Vec<Diagnostic>,
    scratch: &'r mut Scratch<'a>,
    diagnostics: &'r mut Vec<Diagnostic>,
}

impl<'r, 'a> Reader<'r, 'a> {
    fn new(
        context: &'r RuleContext,
        chain: &'r str,
        words: &'r [Word<'a>],
        scratch: &'r mut Scratch<'a>,
        diagnostics: &'r mut Vec<Diagnostic>,
    ) -> Self {
        scratch.uses.clear();
        scratch.options.clear();
        scratch.stopped = None;
        Self {
            context,
            chain,
            words,
            at: 0,
            negation: None,
            source: Addresses::default(),
            destination: Addresses::default(),
            in_interface: None,
            out_interface: None,
            protocol: None,
            cut_protocol: None,
            fragment: None,
            counters: context.counters,
            target: Target::None,
            target_use: None,
            target_span: Span::default(),
            given: 0,
            implied: false,
            early_ports: None,
            foreign: false,
            foreign_piece: None,
            announced: None,
            kept_option: false,
            kept_before_target: 0,
            unsupported: Vec::new(),
            open_options: Vec::new(),
            said: diagnostics.len(),
            later: Vec::new(),
            scratch,
            diagnostics,
        }
    }

    /// The protocol, if options were kept before it that may be those of its match: the rule is
    /// printed with the protocol first, and has to be read alike then.
    fn late_protocol(&self) -> Option<u8> {
        let given = self.protocol.as_ref().or(self.cut_protocol.as_ref());
        given.filter(|_| self.kept_option).map(|given| given.value)
    }

    /// Reads the rule once more, with its protocol known from the beginning.
    fn again(self, protocol: u8) -> Self {
        let Self { context, chain, words, said, scratch, diagnostics, .. } = self;
        diagnostics.truncate(said);
        let mut reader = Self::new(context, chain, words, scratch, diagnostics);
        reader.announced = Some(protocol);
        reader.read();
        reader
    }

    fn read(&mut self) {
        while let Some(word) = self.words.get(self.at) {
            let start = self.at;
            self.at += 1;
            if word.quoted && self.foreign {
                // Part of what is kept of a match that is not known.
                self.stray(start);
                continue;
            }
            match word.text.as_bytes() {
                // Nothing behind it is an option.
                b"--" => {
                    if let Some(next) = self.words.get(self.at) {
                        self.at = self.words.len();
                        let message = format!("`{}` stands behind `--`", clip(&next.text));
                        self.error("unexpected-word", message, next.span);
                        self.keep(start);
                    }
                }
                [b'-', b'-', _, ..] => self.long_option(start, word),
                [b'-', _, ..] => self.short_options(start, word),
                b"!" => {
                    if self.negation.replace(word.span).is_some() {
                        self.error("double-negation", "`!` is given twice".to_owned(), word.span);
                    }
                    continue;
                }
                _ => self.stray(start),
            }
            self.negation = None;
            if self.scratch.stopped.is_some() {
                return;
            }
        }
        if let Some(span) = self.negation.take() {
            self.error("stray-negation", "`!` has no option behind it".to_owned(), span);
        }
    }

    /// A word that belongs to no option.
    fn stray(&mut self, start: usize) {
        if self.foreign {
            self.keep(start);
            return;
        }
        if let Some(word) = self.words.get(start) {
            let message = format!("expected an option, found `{}`", clip(&word.text));
            self.error("unexpected-word", message, word.span);
        }
        self.keep(start);
    }

    /// Takes the argument words of the option at `start`; `None`, and a message, if they lack.
    fn arguments(&mut self, start: usize, count: usize, any_text: bool) -> Option<&'r [Word<'a>]> {
        let words: &'r [Word<'a>] = self.words;
        let from = self.at;
        let found = words.get(from..from + count).unwrap_or_default();
        let missing = found.len() < count
            || !any_text && found.iter().any(|word| word.is_option() && !is_argument(&word.text));
        if !missing {
            self.at += count;
            return Some(found);
        }
        let option = words.get(start)?;
        let next = words.get(from);
        if let Some(negation) = next.filter(|word| word.text == "!") {
            // `--dport ! 80`, as old versions had it (kernel-facts H3).
            let message = format!("`!` must stand before `{}`", clip(&option.text));
            self.error("misplaced-negation", message, negation.span);
            self.at = (from + 1 + count).min(words.len());
        } else {
            let message = format!("`{}` needs an argument", clip(&option.text));
            self.error("missing-argument", message, option.span);
        }
        self.keep(start);
        None
    }

    /// Keeps the words from `start` to here as not understood.
    fn keep(&mut self, start: usize) {
        let Some(kept) = self.kept(start) else { return };
        if let Some(index) = self.foreign_piece
            && let Some(piece) = self.unsupported.get_mut(index)
        {
            let raw = piece.raw.to_mut();
            raw.push(' ');
            raw.push_str(&kept.raw);
            piece.span = piece.span.cover(kept.span);
            return;
        }
        if self.foreign {
            self.foreign_piece = Some(self.unsupported.len());
        }
        self.unsupported.push(kept);
    }

    /// Keeps the words of an option that a use of an extension takes, and whose value is not known.
    fn keep_option(&mut self, start: usize, number: usize) {
        let kept = self.kept(start);
        self.open_options.extend(kept.map(|kept| (number, kept)));
    }

    fn kept(&mut self, start: usize) -> Option<Unsupported<'a>> {
        let words = self.words.get(start..self.at).unwrap_or_default();
        let mut said = self.diagnostics.iter().skip(self.said);
        if let Some(word) = words.iter().find(|word| word.text.contains('\n'))
            && said.all(|found| found.severity != Severity::Error)
        {
            // It could only be printed as several lines, too.
            let message = format!("`{}` goes over several lines", clip(&word.text));
            self.say(
                Diagnostic::error("text-over-lines", message, word.span)
                    .label("it can't be kept, since what it belongs to is not known")
                    .help("write it on one line"),
            );
        }
        raw(words, self.negation.take())
    }

    fn error(&mut self, code: &'static str, message: String, span: Span) {
        self.say(Diagnostic::error(code, message, span));
    }

    /// Adds a message, if there is room.
    fn say(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < self.said + MESSAGES_A_RULE {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Says that `!` may not stand before this option.
    fn refuse_negation(&mut self, name: &str) {
        if let Some(span) = self.negation.take() {
            let message = format!("`!` can't stand before `{}`", clip(name));
            self.error("not-negatable", message, span);
            if let Some(unsupported) = raw(&[], Some(span)) {
                self.unsupported.push(unsupported);
            }
        }
    }

    /// Takes note that a basic option is given; false, and a message, if it was before.
    fn once(&mut self, bit: u16, word: &Word<'a>) -> bool {
        let first = self.given & bit == 0;
        self.given |= bit;
        if !first {
            let message = format!("`{}` is given more than once", clip(&word.text));
            self.error("duplicate-option", message, word.span);
        }
        first
    }
}

/// Whether a word is taken for an argument although it begins with a dash.
fn is_argument(text: &str) -> bool {
    text == "--" || text.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

/// Whether iptables-restore takes a word of a shell for another: a control character ends it, and a
/// quotation mark begins a text.
fn needs_quotes(word: &Word<'_>) -> bool {
    word.text.bytes().any(|byte| byte < b' ' || byte == b'"')
}

/// Words as one piece of text, with a `!` before them.
fn raw<'a>(words: &[Word<'a>], negation: Option<Span>) -> Option<Unsupported<'a>> {
    let first = words.first().map(|word| word.span).or(negation)?;
    let span = words.last().map_or(first, |last| first.cover(last.span));
    let span = negation.map_or(span, |negation| negation.cover(span));
    let raw = match words {
        [word] if negation.is_none() && !word.quoted && !needs_quotes(word) => word.text.clone(),
        _ => {
            let mut text = String::new();
            for word in words {
                text.push_str(if text.is_empty() { "" } else { " " });
                if word.quoted && word.text.starts_with('-') || needs_quotes(word) {
                    // Without quotes it would be an option, or several words; what needs more than
                    // quotes has a character that makes them be printed.
                    let start = text.len();
                    crate::arguments::text::print_quoted(&word.text, &mut text);
                    if text.get(start..).is_some_and(|printed| !printed.starts_with('"')) {
                        text.insert(start, '"');
                        text.push('"');
                    }
                } else if word.quoted {
                    crate::arguments::text::print_quoted(&word.text, &mut text);
                } else {
                    text.push_str(&word.text);
                }
            }
            if negation.is_some() {
                text.insert_str(0, if text.is_empty() { "!" } else { "! " });
            }
            Cow::Owned(text)
        }
    };
    Some(Unsupported { raw, span, of: None })
}
