//! The arguments of `iptables`: which command they give, on which table and chain.

use std::borrow::Cow;

use super::verb::Verb;
use crate::arguments::number;
use crate::diagnostic::{Diagnostic, nearest};
use crate::extension::{EXTENSIONS, Extension};
use crate::recognize::{Tool, table};
use crate::rule::basic_takes_value;
use crate::span::Span;
use crate::syntax::{Family, TableName};
use crate::words::{Word, clip, letters, takes_next};

/// An argument.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    /// Its text; as written, where its value is not known.
    pub(crate) word: Word<'a>,
    /// Whether its value is known.
    pub(crate) known: bool,
}

/// One command of iptables.
#[derive(Clone, Debug)]
pub(crate) struct Invocation<'a> {
    pub(crate) table: TableName,
    pub(crate) verb: Verb,
    /// The word that says the verb.
    pub(crate) option: Span,
    /// The chain.
    pub(crate) chain: Option<Field<'a>>,
    /// What stands behind the chain: a number, a policy, another name.
    pub(crate) value: Option<Field<'a>>,
    /// The rule.
    pub(crate) rule: Vec<Field<'a>>,
    /// The option by which iptables-restore stopped reading: it asks for the other family.
    pub(crate) stopped: Option<Span>,
}

/// Whether an extension has an option that is written so: `--pol` of the match of this name is not
/// short for `--policy`.
fn is_of_extension(text: &str) -> bool {
    let Some(name) = text.strip_prefix("--").and_then(|text| text.split('=').next()) else {
        return false;
    };
    let mut extensions = EXTENSIONS.iter().copied().flatten();
    extensions.any(|extension| extension.option_named(name).is_some())
}

/// The reading of arguments.
struct Arguments<'f, 'a> {
    fields: std::iter::Peekable<std::slice::Iter<'f, Field<'a>>>,
    tool: Tool,
    /// The family of the tool.
    family: Family,
    invocation: Invocation<'a>,
    verb: Option<Verb>,
    /// Whether the last word of the rule is a `!` that waits for its option.
    negated: bool,
    /// Whether the last word of the rule is an option, and no value.
    last_is_option: bool,
    /// An option that only listings have.
    lists: Option<Word<'a>>,
    /// Whether `-w` is given.
    waits: bool,
    /// The place of a `-W`.
    interval: Option<Span>,
}

/// What became of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It is a part of the command.
    Here,
    /// It is a part of the rule.
    Rule,
    /// Nothing behind it is read.
    Ends,
}

impl<'a> Arguments<'_, 'a> {
    /// The next word, if it is an argument.
    fn argument(&mut self) -> Option<Field<'a>> {
        let next = self.fields.peek()?;
        let plain = !next.word.text.starts_with('-') && next.word.text != "!";
        if plain { self.fields.next().cloned() } else { None }
    }

    /// The next word, if it stands where a number does.
    fn number(&mut self) -> Option<Field<'a>> {
        let next = self.fields.peek()?;
        if next.known { self.argument() } else { None }
    }

    /// Adds a word to the rule.
    fn push(&mut self, field: &Field<'a>, is_option: bool) {
        self.invocation.rule.push(field.clone());
        self.last_is_option = is_option;
    }

    /// Whether the next word is a value of the rule, however it looks.
    fn is_value(&self) -> bool {
        self.last_is_option && takes_value(&self.invocation.rule)
    }

    /// Takes away the `!` before an option that makes nothing of it.
    fn swallow_negation(&mut self) {
        if std::mem::take(&mut self.negated) {
            self.invocation.rule.pop();
        }
    }

    /// Refuses the `!` before an option; `None` if there is one.
    fn refuse_negation(&self, word: &Word<'a>, diagnostics: &mut Vec<Diagnostic>) -> Option<()> {
        if !self.negated {
            return Some(());
        }
        let message = format!("`!` can't stand before `{}`", clip(&word.text));
        diagnostics.push(Diagnostic::error("not-negatable", message, word.span));
        None
    }
}

/// Reads the arguments of `iptables` for a family, as getopt(3) does; what is no part of a command
/// is its rule.
pub(crate) fn read<'a>(
    fields: &[Field<'a>],
    tool: Tool,
    family: Family,
    program: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Invocation<'a>> {
    let mut arguments = Arguments {
        fields: fields.iter().peekable(),
        tool,
        family,
        invocation: Invocation {
            table: TableName::Filter,
            verb: Verb::Print,
            option: program,
            chain: None,
            value: None,
            rule: Vec::new(),
            stopped: None,
        },
        verb: None,
        negated: false,
        last_is_option: false,
        lists: None,
        waits: false,
        interval: None,
    };
    while let Some(field) = arguments.fields.next() {
        let text = field.word.text.as_ref();
        let is_option = field.known && text.starts_with('-') && text.len() > 1;
        if !is_option || arguments.is_value() {
            arguments.negated = field.known && text == "!" && !arguments.is_value();
            arguments.push(field, false);
            continue;
        }
        let taken = match text {
            // Nothing behind it is an option.
            "--" => {
                arguments.push(field, false);
                while let Some(field) = arguments.fields.next() {
                    arguments.push(field, false);
                }
                break;
            }
            _ if text.starts_with("--") => long_option(&mut arguments, field, diagnostics)?,
            _ => short_options(&mut arguments, field, diagnostics)?,
        };
        match taken {
            Taken::Here => {}
            Taken::Rule => {
                arguments.push(field, true);
                arguments.negated = false;
            }
            Taken::Ends => break,
        }
    }
    finished(arguments, program, diagnostics)
}

/// The command, if what was read makes one.
fn finished<'a>(
    arguments: Arguments<'_, 'a>,
    program: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Invocation<'a>> {
    let Arguments { mut invocation, verb, lists, waits, interval, .. } = arguments;
    if verb == Some(Verb::Help) || invocation.stopped.is_some() {
        invocation.verb = verb.unwrap_or(Verb::Help);
        return Some(invocation);
    }
    let Some(verb) = verb else {
        let message = "no command is given, such as `-A CHAIN`";
        diagnostics.push(
            Diagnostic::error("no-command", message, program)
                .label("iptables: no command specified"),
        );
        return None;
    };
    invocation.verb = verb;
    if let Some(word) = lists.filter(|_| !matches!(verb, Verb::Print | Verb::Zero)) {
        let message = format!("`{}` does not belong to this command", clip(&word.text));
        diagnostics.push(Diagnostic::error("unexpected-word", message, word.span));
        return None;
    }
    if let Some(span) = interval.filter(|_| !waits) {
        let message = "`-W` does nothing without `-w`";
        diagnostics.push(
            Diagnostic::error("missing-option", message, span)
                .label("iptables: --wait-interval requires --wait"),
        );
        return None;
    }
    let takes_rule = matches!(
        verb,
        Verb::Append | Verb::Insert | Verb::Delete | Verb::Replace | Verb::Check | Verb::Print
    );
    let stray = invocation.rule.first().filter(|field| field.known && !takes_rule);
    // `-P INPUT DROP -c 1 2` gives counters.
    if let Some(stray) = stray
        && (verb != Verb::Policy || stray.word.text != "-c")
    {
        let message = format!("`{}` does not belong to this command", clip(&stray.word.text));
        diagnostics.push(Diagnostic::error("unexpected-word", message, stray.word.span));
        return None;
    }
    Some(invocation)
}

/// Whether the next word is the value of the last word of a rule, which is an option.
fn takes_value(rule: &[Field<'_>]) -> bool {
    let Some(last) = rule.last().filter(|last| last.known) else { return false };
    let Some(name) = last.word.text.strip_prefix("--") else {
        return takes_next(&last.word.text);
    };
    if let Some(basic) = basic_takes_value(&last.word.text) {
        return basic;
    }
    let named = |extension: &Extension| {
        let mut words = rule.iter().map(|field| field.word.text.as_ref());
        words.any(|word| word.strip_prefix("-m").unwrap_or(word) == extension.name)
    };
    let takes = |extension: &&Extension| {
        let (_, argument) = extension.option_named(name)?;
        Some(argument.words() > 0)
    };
    let all = || EXTENSIONS.iter().copied().flatten().copied();
    let mut loaded = all().filter(|extension| named(extension)).filter_map(|one| takes(&one));
    loaded.next().unwrap_or_else(|| all().any(|extension| takes(&extension) == Some(true)))
}

/// Takes a long option that is not one of the rule; `None` where the command can't be used.
fn long_option<'a>(
    arguments: &mut Arguments<'_, 'a>,
    field: &Field<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Taken> {
    let word = &field.word;
    let (name, value) = match word.text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word.text.as_ref(), None),
    };
    match name {
        "--ipv4" if value.is_none() => return asks(arguments, Family::Ipv4, word, diagnostics),
        "--ipv6" if value.is_none() => return asks(arguments, Family::Ipv6, word, diagnostics),
        "--ta" | "--tab" | "--tabl" | "--table" => {
            table_option(arguments, field, value, diagnostics)?;
        }
        "--wait" => wait(arguments, word, value, diagnostics)?,
        "--wait-interval" => interval(arguments, word, value, diagnostics)?,
        "--modprobe" => modprobe(arguments, value),
        "--verbose" if value.is_none() => arguments.refuse_negation(word, diagnostics)?,
        "--numeric" | "--exact" | "--line-numbers" if value.is_none() => {
            arguments.refuse_negation(word, diagnostics)?;
            arguments.lists = Some(word.clone());
        }
        _ => {
            let Some((verb, attached)) = Verb::of_long(&word.text) else {
                return Some(Taken::Rule);
            };
            if arguments.verb.is_some() && is_of_extension(&word.text) {
                return Some(Taken::Rule);
            }
            return command(arguments, field, verb, attached, diagnostics);
        }
    }
    Some(Taken::Here)
}

/// Takes the options of a word such as `-vt` that are not those of the rule.
fn short_options<'a>(
    arguments: &mut Arguments<'_, 'a>,
    field: &Field<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Taken> {
    let word = &field.word;
    // Whether the word holds options of the rule, and what only the command understands.
    let (mut of_rule, mut of_command) = (false, false);
    for one in letters(&word.text) {
        let value = Some(one.value).filter(|value| !value.is_empty());
        let mut taken = Taken::Here;
        match one.letter {
            '4' => taken = asks(arguments, Family::Ipv4, word, diagnostics)?,
            '6' => taken = asks(arguments, Family::Ipv6, word, diagnostics)?,
            'v' => arguments.refuse_negation(word, diagnostics)?,
            'n' | 'x' => {
                arguments.refuse_negation(word, diagnostics)?;
                arguments.lists = Some(word.clone());
                of_command = true;
            }
            'w' => wait(arguments, word, value, diagnostics)?,
            'W' => interval(arguments, word, value, diagnostics)?,
            't' => table_option(arguments, field, value, diagnostics)?,
            'M' => modprobe(arguments, value),
            letter => match Verb::of_letter(letter) {
                Some(verb) => taken = command(arguments, field, verb, value, diagnostics)?,
                None => {
                    of_rule = true;
                    // `! -f4`: it belongs to the first.
                    arguments.negated = false;
                    continue;
                }
            },
        }
        if taken == Taken::Ends {
            return Some(taken);
        }
        of_command |= !matches!(one.letter, '4' | '6' | 'v');
    }
    if of_rule && of_command {
        // What takes nothing can only be `-f`, and what else it was is read.
        let text = Cow::Borrowed("-f");
        arguments.push(&Field { word: Word { text, ..word.clone() }, known: true }, true);
        return Some(Taken::Here);
    }
    Some(if of_rule { Taken::Rule } else { Taken::Here })
}

/// Takes the option of a family. iptables-restore passes over a line that is for the other one,
/// and reads no further (kernel-facts I6).
fn asks(
    arguments: &mut Arguments<'_, '_>,
    family: Family,
    word: &Word<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Taken> {
    arguments.swallow_negation();
    if family == arguments.family {
        return Some(Taken::Here);
    }
    if arguments.tool == Tool::Restore {
        arguments.invocation.stopped = Some(word.span);
        return Some(Taken::Ends);
    }
    let tool = match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    let message = format!("this is a rule for {tool}");
    diagnostics.push(Diagnostic::error("wrong-family", message, word.span));
    None
}

/// Refuses an option that the input of iptables-restore may not have.
fn not_in_restore(
    arguments: &Arguments<'_, '_>,
    word: &Word<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<()> {
    if arguments.tool != Tool::Restore {
        return Some(());
    }
    let message = format!("`{}` can't stand in the input of iptables-restore", clip(&word.text));
    diagnostics.push(
        Diagnostic::error("not-in-restore", message, word.span)
            .help("leave it out; the line that begins with `*` names the table"),
    );
    None
}

/// `-w [SECONDS]`.
fn wait<'a>(
    arguments: &mut Arguments<'_, 'a>,
    word: &Word<'a>,
    value: Option<&str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<()> {
    not_in_restore(arguments, word, diagnostics)?;
    arguments.swallow_negation();
    arguments.waits = true;
    seconds(arguments, word, value, diagnostics)
}

/// `-W MICROSECONDS`, which iptables 1.8.9 reads and does not use.
fn interval<'a>(
    arguments: &mut Arguments<'_, 'a>,
    word: &Word<'a>,
    value: Option<&str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<()> {
    not_in_restore(arguments, word, diagnostics)?;
    arguments.swallow_negation();
    arguments.interval = Some(word.span);
    let lacks = arguments.fields.peek().is_none_or(|next| next.word.text.starts_with(['-', '!']));
    if value.is_none() && lacks {
        let message = format!("`{}` needs an argument", clip(&word.text));
        diagnostics.push(Diagnostic::error("missing-argument", message, word.span));
        return None;
    }
    seconds(arguments, word, value, diagnostics)
}

/// The time behind `-w` or `-W`, which only has to begin with a number.
fn seconds<'a>(
    arguments: &mut Arguments<'_, 'a>,
    word: &Word<'a>,
    value: Option<&str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<()> {
    let next = if value.is_none() { arguments.number() } else { None };
    let (text, span) = match (value, &next) {
        (Some(value), _) => (value, word.span),
        (None, Some(next)) => (next.word.text.as_ref(), next.word.span),
        (None, None) => return Some(()),
    };
    if number::scanned(text).is_none() {
        let message = format!("expected a number, found `{}`", clip(text));
        diagnostics.push(Diagnostic::error("invalid-number", message, span));
        return None;
    }
    Some(())
}

/// `-M PROGRAM`, which is of no concern to the rules.
fn modprobe(arguments: &mut Arguments<'_, '_>, value: Option<&str>) {
    arguments.swallow_negation();
    if value.is_none() {
        arguments.fields.next();
    }
}

/// `-t TABLE`.
fn table_option<'a>(
    arguments: &mut Arguments<'_, 'a>,
    field: &Field<'a>,
    value: Option<&str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<()> {
    let word = &field.word;
    not_in_restore(arguments, word, diagnostics)?;
    arguments.refuse_negation(word, diagnostics)?;
    let name = match value {
        Some(name) => {
            let text = Cow::Owned(name.to_owned());
            Some(Field { word: Word { text, ..word.clone() }, known: true })
        }
        None => arguments.fields.next().cloned(),
    };
    arguments.invocation.table = named_table(name.as_ref(), word.span, diagnostics)?;
    Some(())
}

fn named_table(
    name: Option<&Field<'_>>,
    option: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<TableName> {
    let Some(name) = name else {
        let message = "`-t` needs the name of a table";
        diagnostics.push(Diagnostic::error("missing-argument", message, option));
        return None;
    };
    let span = name.word.span;
    if !name.known {
        let message = format!("which table `{}` names can't be known", clip(&name.word.text));
        diagnostics.push(Diagnostic::error("undetermined-command", message, span));
        return None;
    }
    let found = table(&name.word.text);
    if found.is_none() {
        let message = format!("unknown table `{}`", clip(&name.word.text));
        let mut diagnostic = Diagnostic::error("unknown-table", message, span);
        let known = TableName::ALL.iter().map(|table| table.as_str());
        diagnostic.help =
            nearest(&name.word.text, known).map(|near| format!("did you mean `{near}`?"));
        diagnostics.push(diagnostic);
    }
    found
}

/// Takes the option that says what the command does.
fn command<'a>(
    arguments: &mut Arguments<'_, 'a>,
    field: &Field<'a>,
    verb: Verb,
    attached: Option<&str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Taken> {
    let option = &field.word;
    if verb == Verb::Help {
        // It prints and ends, whatever else stands there.
        arguments.verb = Some(verb);
        return Some(Taken::Ends);
    }
    arguments.refuse_negation(option, diagnostics)?;
    let pair =
        |before| matches!((before, verb), (Verb::Print, Verb::Zero) | (Verb::Zero, Verb::Print));
    if arguments.verb.is_some_and(|before| !pair(before)) {
        let message = format!("`{}` is a second command", clip(&option.text));
        diagnostics.push(
            Diagnostic::error("two-commands", message, option.span)
                .label("iptables takes one command at a time"),
        );
        return None;
    }
    if verb == Verb::Print {
        // Whatever stands behind it changes nothing.
        if arguments.verb.is_none() {
            arguments.verb = Some(verb);
            arguments.invocation.chain = match attached {
                Some(_) => None,
                None => arguments.argument(),
            };
        }
        while arguments.argument().is_some() {}
        return Some(Taken::Here);
    }
    arguments.verb = Some(verb);
    arguments.invocation.option = option.span;
    let chain = match attached {
        Some(name) => {
            let text = Cow::Owned(name.to_owned());
            Some(Field { word: Word { text, ..option.clone() }, known: true })
        }
        None => arguments.argument(),
    };
    let needs_chain = !matches!(verb, Verb::DeleteChain | Verb::Flush | Verb::Zero);
    if chain.is_none() && needs_chain {
        let message = format!("`{}` needs the name of a chain", clip(&option.text));
        diagnostics.push(Diagnostic::error("missing-argument", message, option.span));
        return None;
    }
    arguments.invocation.chain = chain;
    arguments.invocation.value = match verb {
        Verb::Insert | Verb::Delete | Verb::Zero | Verb::Replace => arguments.number(),
        Verb::Policy | Verb::Rename => arguments.argument(),
        _ => None,
    };
    let needs_value = matches!(verb, Verb::Policy | Verb::Rename | Verb::Replace);
    if needs_value && arguments.invocation.value.is_none() {
        let what = match verb {
            Verb::Policy => "a chain and a policy",
            Verb::Rename => "the old and the new name of a chain",
            _ => "a chain and the number of a rule",
        };
        let message = format!("`{}` needs {what}", clip(&option.text));
        diagnostics.push(Diagnostic::error("missing-argument", message, option.span));
        return None;
    }
    Some(Taken::Here)
}
