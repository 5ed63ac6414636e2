//! How match and target extensions are declared.
//!
//! An extension is declared once, in a file of its own under [`crate::matches`] or
//! [`crate::targets`]. From the declaration come its parser, its printer, the check where it is
//! allowed, and its line in the table of what is supported.

mod example;
mod registry;

use std::borrow::Cow;

use crate::arguments::Fault;
use crate::diagnostic::Diagnostic;
use crate::rule::RuleContext;
use crate::span::Span;
use crate::syntax::{Family, Negatable, OptionUse, TableName, Value};
use crate::words::Word;

pub use crate::arguments::{Argument, Custom};
pub use example::{Example, example};
pub use registry::{EXTENSIONS, find};

/// Whether an extension is used with `-m` or with `-j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionKind {
    /// Used with `-m`.
    Match,
    /// Used with `-j`.
    Target,
}

/// A match or target extension (iptables-extensions(8)).
#[derive(Debug)]
pub struct Extension {
    /// The name behind `-m` or `-j`, as iptables-save prints it.
    pub name: &'static str,
    /// Match or target.
    pub kind: ExtensionKind,
    /// Its options in the order in which iptables-save prints them.
    pub options: &'static [OptionDecl],
    /// The tables it is allowed in; empty for any.
    pub tables: &'static [TableName],
    /// The built-in chains it is allowed in; empty for any.
    pub chains: &'static [&'static str],
    /// The only family it exists in.
    pub family: Option<Family>,
    /// The protocols of which the rule must name one with `-p`; empty for any.
    pub protocols: &'static [u8],
    /// What else must hold for its options.
    pub requirements: &'static [Requirement],
    /// How options that are given more than once are taken.
    pub repetition: Repetition,
    /// Whether any option is filled in where it is not given.
    pub(crate) fills: bool,
    /// Checks and completes what the declaration can't say.
    pub complete: Option<fn(&mut Completion<'_, '_>)>,
}

/// How an extension takes an option that is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// It is refused, and options print in the order of the declaration.
    Refused,
    /// It is kept, and options print in the order of the rule.
    InOrder,
}

/// One option of an extension.
#[derive(Debug)]
pub struct OptionDecl {
    /// The canonical long name without its dashes, as iptables-save prints it.
    pub name: &'static str,
    /// Whether `!` may stand before it.
    pub negatable: bool,
    /// Whether it may be given again; the last one counts.
    pub again: bool,
    /// Whether iptables refuses an empty text as it reads the option.
    pub not_empty: bool,
    /// Whether iptables refuses a text that goes over several lines.
    pub one_line: bool,
    /// Its argument.
    pub argument: Argument,
    /// Its other spellings, which may take another argument for the same value.
    pub aliases: &'static [Alias],
    /// The value that iptables-save does not print unless it is negated.
    pub omitted: Option<&'static Value<'static>>,
    /// The value that iptables-save never prints, not even negated.
    pub hidden: Option<&'static Value<'static>>,
    /// The only family in which it exists.
    pub family: Option<Family>,
    /// The value that it has, and that is printed, where the option is not given.
    pub filled: Option<fn(Family) -> Value<'static>>,
}

/// Another spelling of an option.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// The long name without its dashes.
    pub name: &'static str,
    /// How its argument becomes the value of the canonical option; `None` for the same way.
    pub argument: Option<Argument>,
}

/// Something that iptables demands of the options of one use of an extension.
#[derive(Clone, Copy, Debug)]
pub enum Requirement {
    /// At least one option, whichever.
    AnyOption,
    /// At least one of these.
    OneOf(&'static [&'static str]),
    /// No two of these.
    AtMostOneOf(&'static [&'static str]),
    /// The first only together with the second.
    Needs(&'static str, &'static str),
}

impl Extension {
    /// A match with these options.
    #[must_use]
    pub const fn of_match(name: &'static str, options: &'static [OptionDecl]) -> Self {
        Self {
            name,
            kind: ExtensionKind::Match,
            options,
            tables: &[],
            chains: &[],
            family: None,
            protocols: &[],
            requirements: &[],
            repetition: Repetition::Refused,
            fills: any_filled(options),
            complete: None,
        }
    }

    /// A target with these options.
    #[must_use]
    pub const fn of_target(name: &'static str, options: &'static [OptionDecl]) -> Self {
        let mut target = Self::of_match(name, options);
        target.kind = ExtensionKind::Target;
        target
    }

    /// Allowed in these tables only.
    #[must_use]
    pub const fn tables(mut self, tables: &'static [TableName]) -> Self {
        self.tables = tables;
        self
    }

    /// Allowed in these built-in chains only, and in user chains.
    #[must_use]
    pub const fn chains(mut self, chains: &'static [&'static str]) -> Self {
        self.chains = chains;
        self
    }

    /// In this family only.
    #[must_use]
    pub const fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Only with `-p` and one of these.
    #[must_use]
    pub const fn protocols(mut self, protocols: &'static [u8]) -> Self {
        self.protocols = protocols;
        self
    }

    /// What else must hold.
    #[must_use]
    pub const fn requires(mut self, requirements: &'static [Requirement]) -> Self {
        self.requirements = requirements;
        self
    }

    /// Options may be given more than once.
    #[must_use]
    pub const fn repeats(mut self) -> Self {
        self.repetition = Repetition::InOrder;
        self
    }

    /// Checked and completed by a function.
    #[must_use]
    pub const fn complete(mut self, complete: fn(&mut Completion<'_, '_>)) -> Self {
        self.complete = Some(complete);
        self
    }

    /// The index of an option, and the argument that this spelling of it takes.
    pub(crate) fn option_named(&self, name: &str) -> Option<(usize, Argument)> {
        self.options.iter().enumerate().find_map(|(index, option)| {
            if option.name == name {
                return Some((index, option.argument));
            }
            let alias = option.aliases.iter().find(|alias| alias.name == name)?;
            Some((index, alias.argument.unwrap_or(option.argument)))
        })
    }

    /// Every spelling of every option, with the index of the option.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = (&'static str, usize, Argument)> {
        self.options.iter().enumerate().flat_map(|(index, option)| {
            let aliases = option
                .aliases
                .iter()
                .map(move |alias| (alias.name, index, alias.argument.unwrap_or(option.argument)));
            std::iter::once((option.name, index, option.argument)).chain(aliases)
        })
    }
}

impl OptionDecl {
    /// An option with this argument, which can't be negated.
    #[must_use]
    pub const fn new(name: &'static str, argument: Argument) -> Self {
        Self {
            name,
            negatable: false,
            again: false,
            not_empty: false,
            one_line: false,
            argument,
            aliases: &[],
            omitted: None,
            hidden: None,
            family: None,
            filled: None,
        }
    }

    /// An option without an argument.
    #[must_use]
    pub const fn flag(name: &'static str) -> Self {
        Self::new(name, Argument::Flag)
    }

    /// `!` may stand before it.
    #[must_use]
    pub const fn negatable(mut self) -> Self {
        self.negatable = true;
        self
    }

    /// May be given again; the last one counts.
    #[must_use]
    pub const fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Takes a text of at least one character.
    #[must_use]
    pub const fn not_empty(mut self) -> Self {
        self.not_empty = true;
        self
    }

    /// Takes a text without line ends.
    #[must_use]
    pub const fn one_line(mut self) -> Self {
        self.one_line = true;
        self
    }

    /// Has other spellings.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [Alias]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Is not printed with this value.
    #[must_use]
    pub const fn omitted(mut self, value: &'static Value<'static>) -> Self {
        self.omitted = Some(value);
        self
    }

    /// Is never printed with this value, not even negated.
    #[must_use]
    pub const fn hidden(mut self, value: &'static Value<'static>) -> Self {
        self.omitted = Some(value);
        self.hidden = Some(value);
        self
    }

    /// Exists in this family only.
    #[must_use]
    pub const fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Has this value where it is not given.
    #[must_use]
    pub const fn filled(mut self, value: fn(Family) -> Value<'static>) -> Self {
        self.filled = Some(value);
        self
    }

    /// The value of these words, unless it is a text without a character where there must be one,
    /// or with a line end where there may be none.
    pub(crate) fn admit<'a>(
        &self,
        value: Value<'a>,
        words: &[Word<'a>],
    ) -> Result<Value<'a>, Fault> {
        if self.one_line && words.iter().any(|word| word.text.contains('\n')) {
            let message = format!("`--{}` needs a text on one line", self.name);
            return Err(Fault::new("invalid-text", message));
        }
        if self.not_empty && matches!(&value, Value::Text(text) if text.is_empty()) {
            let message = format!("`--{}` needs a text of at least one character", self.name);
            return Err(Fault::new("invalid-text", message));
        }
        Ok(value)
    }
}

impl Alias {
    /// Another name for the same.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, argument: None }
    }

    /// Another name whose argument is read in another way.
    #[must_use]
    pub const fn reading(name: &'static str, argument: Argument) -> Self {
        Self { name, argument: Some(argument) }
    }
}

/// One use of an extension after its rule was read, for [`Extension::complete`].
pub struct Completion<'c, 'a> {
    pub(crate) extension: &'static Extension,
    pub(crate) options: &'c mut Vec<OptionUse<'a>>,
    pub(crate) context: &'c RuleContext,
    pub(crate) chain: &'c str,
    pub(crate) protocol: Option<Negatable<u8>>,
    pub(crate) matches: &'c [crate::syntax::ExtensionUse<'a>],
    pub(crate) span: Span,
    /// Set where nothing of the use is left, not even its name.
    pub(crate) vanishes: &'c mut bool,
    pub(crate) diagnostics: &'c mut Vec<Diagnostic>,
}

impl<'a> Completion<'_, 'a> {
    /// Whether the option is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option.
    pub(crate) fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.options.iter().find(|option| option.option.name == name).map(|option| &option.value)
    }

    /// The place of an option.
    pub(crate) fn span_of(&self, name: &str) -> Span {
        let option = self.options.iter().find(|option| option.option.name == name);
        option.map_or(self.span, |option| option.span)
    }

    /// The family, IPv4 where nothing tells.
    pub(crate) fn family(&self) -> Family {
        self.context.family.unwrap_or(Family::Ipv4)
    }

    /// The protocol, where the rule names one without `!`.
    pub(crate) fn positive_protocol(&self) -> Option<u8> {
        self.protocol.filter(|protocol| !protocol.negated).map(|protocol| protocol.value)
    }

    /// Sets a value where the option is not given; it has no place of its own.
    pub(crate) fn fill(&mut self, name: &str, value: Value<'static>) {
        self.fill_at(name, value, self.span);
    }

    /// Sets a value that has this place where the option is not given.
    pub(crate) fn fill_at(&mut self, name: &str, value: Value<'static>, span: Span) {
        if self.has(name) {
            return;
        }
        let Some(index) = self.extension.options.iter().position(|option| option.name == name)
        else {
            return;
        };
        let at = self.options.partition_point(|option| {
            let declared = self.extension.options.iter();
            declared.take(index).any(|earlier| std::ptr::eq(earlier, option.option))
        });
        if let Some(option) = self.extension.options.get(index) {
            self.options.insert(at, OptionUse { option, negated: false, value, span });
        }
    }

    /// Refuses what can't be the name of a file of the kernel (proc).
    pub(crate) fn refuse_file_name(&mut self, name: &str) {
        if let Some(Value::Text(text)) = self.value(name)
            && (text.is_empty() || text == "." || text == ".." || text.contains('/'))
        {
            let message = format!("`{text}` can't be the name of a file");
            let span = self.span_of(name);
            self.refuse("invalid-text", message, span);
        }
    }

    /// Refuses a range whose first end is above the second.
    pub(crate) fn refuse_reversed(&mut self, name: &str) {
        if let Some(Value::Range(low, high)) = self.value(name)
            && low > high
        {
            let message = format!("the range of `--{name}` is empty");
            let span = self.span_of(name);
            self.refuse("invalid-range", message, span);
        }
    }

    /// Takes an option out if it has this value, negated or not.
    pub(crate) fn forget(&mut self, name: &str, value: &Value<'static>) {
        self.options.retain(|option| option.option.name != name || option.value != *value);
    }

    /// Cuts a text to so many bytes.
    pub(crate) fn shorten(&mut self, name: &str, most: usize) {
        for option in self.options.iter_mut().filter(|option| option.option.name == name) {
            if let Value::Text(text) = &mut option.value {
                let end = text.floor_char_boundary(most);
                text.to_mut().truncate(end);
            }
        }
    }

    /// Takes an option out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.options.retain(|option| option.option.name != name);
    }

    /// Reports that an option needs another one.
    pub(crate) fn refuse_option(&mut self, name: &str, needs: &str) {
        let span = self.span_of(name);
        self.refuse("missing-option", format!("`--{name}` needs {needs}"), span);
    }

    /// Refuses the option in these built-in chains (and, in iptables-legacy, in chains that they
    /// lead to).
    pub(crate) fn refuse_in(&mut self, name: &str, chains: &[&str]) {
        if self.has(name) && chains.contains(&self.chain) {
            let message = format!("`--{name}` can't be used in {}", self.chain);
            let span = self.span_of(name);
            self.refuse("wrong-chain", message, span);
        }
    }

    /// Reports that the kernel or iptables refuses this.
    pub(crate) fn refuse(&mut self, code: &'static str, message: impl Into<String>, span: Span) {
        self.diagnostics.push(Diagnostic::error(code, message, span));
    }
}

impl std::fmt::Debug for Completion<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completion")
            .field("extension", &self.extension.name)
            .finish_non_exhaustive()
    }
}

/// Whether any of the options is filled in.
#[expect(clippy::indexing_slicing, reason = "a const fn; the index is below the length")]
const fn any_filled(options: &[OptionDecl]) -> bool {
    let mut index = 0;
    while index < options.len() {
        if options[index].filled.is_some() {
            return true;
        }
        index += 1;
    }
    false
}

/// A value that is a text known beforehand.
pub(crate) const fn fixed(text: &'static str) -> Value<'static> {
    Value::Text(Cow::Borrowed(text))
}
