//! The arguments of `iptables`: which command they give, on which table and chain.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, nearest};
use crate::extension::{Argument, EXTENSIONS};
use crate::recognize::{Tool, table};
use crate::rule::option_names as rule_options;
use crate::span::Span;
use crate::syntax::{Family, TableName};
use crate::words::{Word, clip};

/// An argument.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    /// Its text; as written, where its value is not known.
    pub(crate) word: Word<'a>,
    /// Whether its value is known.
    pub(crate) known: bool,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Append,
    Insert,
    Delete,
    Replace,
    Check,
    New,
    DeleteChain,
    Rename,
    Flush,
    Zero,
    Policy,
    /// `-L`, `-S`, `-h`, `-V`: what only prints.
    Print,
}

/// The long options of commands.
const LONG: [(&str, Verb); 15] = [
    ("append", Verb::Append),
    ("insert", Verb::Insert),
    ("delete", Verb::Delete),
    ("replace", Verb::Replace),
    ("check", Verb::Check),
    ("new-chain", Verb::New),
    ("delete-chain", Verb::DeleteChain),
    ("rename-chain", Verb::Rename),
    ("flush", Verb::Flush),
    ("zero", Verb::Zero),
    ("policy", Verb::Policy),
    ("list", Verb::Print),
    ("list-rules", Verb::Print),
    ("version", Verb::Print),
    ("help", Verb::Print),
];

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
    /// `-4` or `-6`, which the tool of the other family refuses.
    pub(crate) family: Option<Family>,
}

/// The verb of a word, and what is attached to it.
fn verb_of(text: &str) -> Option<(Verb, Option<&str>)> {
    if let Some(long) = text.strip_prefix("--") {
        if let Some(verb) = long_verb(long) {
            return Some((verb, None));
        }
        let (name, value) = long.split_once('=')?;
        return Some((long_verb(name)?, Some(value)));
    }
    let letters = text.strip_prefix('-')?;
    let first = letters.chars().next()?;
    let attached = letters.get(first.len_utf8()..).filter(|rest| !rest.is_empty());
    let verb = match first {
        'A' => Verb::Append,
        'I' => Verb::Insert,
        'D' => Verb::Delete,
        'R' => Verb::Replace,
        'C' => Verb::Check,
        'N' => Verb::New,
        'X' => Verb::DeleteChain,
        'E' => Verb::Rename,
        'F' => Verb::Flush,
        'Z' => Verb::Zero,
        'P' => Verb::Policy,
        'L' | 'S' | 'V' | 'h' => Verb::Print,
        // `-nL`, `-vnL`.
        'n' | 'v' | 'x' if letters.contains(['L', 'S']) => Verb::Print,
        _ => return None,
    };
    Some((verb, attached))
}

/// The verb of a long option, which may be abbreviated as long as no other option of iptables
/// begins alike.
fn long_verb(name: &str) -> Option<Verb> {
    if name.is_empty() {
        return None;
    }
    if let Some((_, verb)) = LONG.iter().find(|(long, _)| *long == name) {
        return Some(*verb);
    }
    let mut near = LONG.iter().filter(|(long, _)| long.starts_with(name));
    let (only, verb) = near.next().filter(|_| near.next().is_none())?;
    let others = rule_options().filter(|long| long.starts_with(name));
    others.into_iter().all(|long| long == *only).then_some(*verb)
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

/// Whether a word is a command.
pub(crate) fn is_command(word: &str) -> bool {
    verb_of(word).is_some()
}

/// Whether a word is a command that changes rules.
pub(crate) fn changes_rules(word: &str) -> bool {
    let known = word.len() == 2 || word.starts_with("--");
    known && verb_of(word).is_some_and(|(verb, _)| !matches!(verb, Verb::Print | Verb::Check))
}

/// The reading of arguments.
struct Arguments<'f, 'a> {
    fields: std::iter::Peekable<std::slice::Iter<'f, Field<'a>>>,
    tool: Tool,
    invocation: Invocation<'a>,
    verb: Option<Verb>,
    /// An option that only listings have.
    lists: Option<Word<'a>>,
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
}

/// Reads the arguments of `iptables`; what is no part of a command is its rule.
pub(crate) fn read<'a>(
    fields: &[Field<'a>],
    tool: Tool,
    program: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Invocation<'a>> {
    let invocation = Invocation {
        table: TableName::Filter,
        verb: Verb::Print,
        option: program,
        chain: None,
        value: None,
        rule: Vec::new(),
        family: None,
    };
    let fields = fields.iter().peekable();
    let mut arguments = Arguments { fields, tool, invocation, verb: None, lists: None };
    while let Some(field) = arguments.fields.next() {
        let is_text = arguments.invocation.rule.last().is_some_and(takes_text);
        if is_text || !option(&mut arguments, field, diagnostics)? {
            arguments.invocation.rule.push(field.clone());
        }
    }
    let Arguments { mut invocation, verb, lists, .. } = arguments;
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

/// The family that a line is for, if it names one.
pub(crate) fn family_of(fields: &[Field<'_>]) -> Option<Family> {
    let mut before: Option<&Field<'_>> = None;
    for field in fields {
        // `--set-dscp -6` asks for a value, which is wrong.
        let is_value = before.is_some_and(|option| {
            matches!(*option.word.text.as_bytes(), [b'-', letter] if b"sdpiojgmAIDR".contains(&letter))
                || takes(option, |argument| argument.words() > 0)
        });
        match field.word.text.as_ref() {
            word if !is_value && named_family(word).is_some() => return named_family(word),
            _ => before = Some(field),
        }
    }
    None
}

/// The family that a word asks for. Other options may follow in `-6x`; none of them is read where
/// the line is not for this family.
pub(super) fn named_family(word: &str) -> Option<Family> {
    let letters = |rest: &str| rest.chars().all(|letter| "46vfxnjgpsdiomcw".contains(letter));
    match (word, word.get(..2), word.get(2..)) {
        ("--ipv4", ..) => Some(Family::Ipv4),
        ("--ipv6", ..) => Some(Family::Ipv6),
        (_, Some("-4"), Some(rest)) if letters(rest) => Some(Family::Ipv4),
        (_, Some("-6"), Some(rest)) if letters(rest) => Some(Family::Ipv6),
        _ => None,
    }
}

/// Whether what stands behind an option is its text, however it looks: `--comment -A`.
fn takes_text(option: &Field<'_>) -> bool {
    takes(option, Argument::takes_any_word)
}

/// Whether an option of some extension takes such an argument.
fn takes(option: &Field<'_>, such: impl Fn(Argument) -> bool) -> bool {
    let Some(name) = option.word.text.strip_prefix("--") else { return false };
    let mut extensions = EXTENSIONS.iter().copied().flatten();
    extensions
        .any(|extension| extension.option_named(name).is_some_and(|(_, argument)| such(argument)))
}

/// Takes an option that is not one of the rule; `None` where the command can't be used.
fn option<'a>(
    arguments: &mut Arguments<'_, 'a>,
    field: &Field<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<bool> {
    let (word, text) = (&field.word, field.word.text.as_ref());
    if !field.known || !text.starts_with('-') {
        return Some(false);
    }
    let waits = text.starts_with("-w") || text.starts_with("-W") || text.starts_with("--wait");
    if arguments.tool == Tool::Restore
        && (waits || !word.quoted && (text.starts_with("-t") || text.starts_with("--table")))
    {
        let message = format!("`{}` can't stand in the input of iptables-restore", clip(text));
        diagnostics.push(
            Diagnostic::error("not-in-restore", message, word.span)
                .help("leave it out; the line that begins with `*` names the table"),
        );
        return None;
    }
    if let Some(name) = table_option(arguments, text) {
        arguments.invocation.table = named_table(name.as_ref(), word.span, diagnostics)?;
        return Some(true);
    }
    match text {
        "-4" | "--ipv4" => arguments.invocation.family = Some(Family::Ipv4),
        "-6" | "--ipv6" => arguments.invocation.family = Some(Family::Ipv6),
        "-w" | "--wait" | "-W" | "--wait-interval" => {
            arguments.number();
        }
        "-v" | "--verbose" | "-vv" => {}
        "-n" | "--numeric" | "-x" | "--exact" | "--line-numbers" => {
            arguments.lists = Some(word.clone());
        }
        "-M" | "--modprobe" => {
            arguments.fields.next();
        }
        _ if text.starts_with("--modprobe=") || text.starts_with("--wait=") => {}
        _ if text.starts_with("-w") && text.bytes().skip(2).all(|byte| byte.is_ascii_digit()) => {}
        _ => {
            // A short option that is no command belongs to the rule, and so does `-c 1 2`.
            let Some((verb, attached)) = verb_of(text) else { return Some(false) };
            if arguments.verb.is_some() && is_of_extension(text) {
                return Some(false);
            }
            command(arguments, field, verb, attached, diagnostics)?;
        }
    }
    Some(true)
}

/// The name behind `-t`, however it is attached.
fn table_option<'a>(arguments: &mut Arguments<'_, 'a>, text: &str) -> Option<Option<Field<'a>>> {
    let attached = |name: &str| {
        let word = Word { text: Cow::Owned(name.to_owned()), span: Span::default(), quoted: false };
        Some(Some(Field { word, known: true }))
    };
    match text {
        "-t" | "--table" => Some(arguments.fields.next().cloned()),
        _ => {
            if let Some(name) = text.strip_prefix("--table=") {
                return attached(name);
            }
            let name = text.strip_prefix("-t").filter(|name| table(name).is_some())?;
            attached(name)
        }
    }
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
    let span = if name.word.span == Span::default() { option } else { name.word.span };
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

fn command<'a>(
    arguments: &mut Arguments<'_, 'a>,
    field: &Field<'a>,
    verb: Verb,
    attached: Option<&str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<()> {
    let option = &field.word;
    let negated = match arguments.invocation.rule.as_slice() {
        [.., before, last] => last.word.text == "!" && !takes_text(before),
        [last] => last.word.text == "!",
        [] => false,
    };
    if negated {
        let message = format!("`!` can't stand before `{}`", clip(&option.text));
        diagnostics.push(Diagnostic::error("not-negatable", message, option.span));
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
        return Some(());
    }
    if let Some(before) = arguments.verb
        && (before == verb || before != Verb::Print && before != Verb::Zero && verb != Verb::Zero)
        && before != Verb::Print
    {
        let message = format!("`{}` is a second command", clip(&option.text));
        diagnostics.push(
            Diagnostic::error("two-commands", message, option.span)
                .label("iptables takes one command at a time"),
        );
        return None;
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
    Some(())
}
