//! Rules as commands: the output of `iptables -S`, lists of `-A …` lines, lines of a script.

use std::collections::{HashMap, HashSet};

use super::chains;
use super::{Block, Line, LineForm, Origin, RuleLine, lines};
use crate::diagnostic::Diagnostic;
use crate::recognize::{header, invocation, table};
use crate::span::Span;
use crate::syntax::{Chain, Counters, Family, TableName};
use crate::words::{Word, clip, over_lines, split_typed_words, split_words};

/// A command of the text.
struct Command<'a> {
    line: Line<'a>,
    form: LineForm,
    /// The run of commands that it belongs to: one table, if no line of it says otherwise.
    section: usize,
    table: Option<TableName>,
    kind: Kind,
    chain: String,
    words: Vec<Word<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rule,
    Policy,
    NewChain,
    /// `-F`, `-X`, `-Z`: harmless before any rule.
    Clearing,
    /// `-D` and its like, which change what was there before.
    Editing,
}

/// A command other than `-A` and `-I` within a table of iptables-restore's input.
pub(super) fn in_table<'a>(
    block: &mut Block<'a>,
    line: Line<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut words = Vec::new();
    split_words(line.text, line.start, &mut words, diagnostics);
    let kind = match words.first().map(|word| word.text.as_ref()) {
        Some("-N") => Kind::NewChain,
        Some("-P") => Kind::Policy,
        Some("-F" | "-X" | "-Z") => Kind::Clearing,
        _ => Kind::Editing,
    };
    let chain = words.get(1).map_or_else(String::new, |word| word.text.clone().into_owned());
    let (form, section, table) = (LineForm::Command, 0, None);
    let command = Command { line, form, section, table, kind, chain, words };
    add(block, command, diagnostics);
}

/// A run of commands under one heading.
#[derive(Default)]
struct Section {
    table: Option<TableName>,
}

/// What the commands of the last section were.
#[derive(Default)]
struct Seen {
    /// How many sections there were.
    section: usize,
    /// Whether a rule was listed.
    rules: bool,
    /// The chains whose policy was listed.
    policies: HashSet<String>,
    /// The chains whose policy was typed at a shell since the last rule that was listed.
    typed: HashSet<String>,
}

struct Scan<'d, 'a> {
    origin: Origin,
    sections: Vec<Section>,
    seen: Seen,
    commands: Vec<Command<'a>>,
    prose: bool,
    /// The family of the programs that were named so far.
    program: Option<Family>,
    diagnostics: &'d mut Vec<Diagnostic>,
}

/// Reads everything but the rules.
pub(super) fn scan<'a>(
    text: &'a str,
    origin: Origin,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Origin, Vec<Block<'a>>) {
    let mut scan = Scan {
        origin,
        sections: vec![Section::default()],
        seen: Seen::default(),
        commands: Vec::new(),
        prose: false,
        program: None,
        diagnostics,
    };
    let mut continued: Option<Line<'a>> = None;
    for mut line in lines(text) {
        if let Some(first) = continued.take() {
            let end = line.start + line.text.len();
            line = Line { text: text.get(first.start..end).unwrap_or_default(), ..first };
        }
        if line.text.ends_with('\\') {
            continued = Some(line);
            continue;
        }
        scan.line(line);
    }
    if let Some(line) = continued {
        scan.line(line);
    }
    let Scan { origin, sections, commands, diagnostics, .. } = scan;
    (origin, assemble(&sections, commands, diagnostics))
}

impl<'a> Scan<'_, 'a> {
    fn line(&mut self, line: Line<'a>) {
        if let Some(header) = header(line.text) {
            self.origin.family = self.origin.family.or(header.family);
            self.origin.backend = self.origin.backend.or(header.backend);
            return;
        }
        if chains::is_command(line.text) {
            self.command(line, LineForm::Command);
            return;
        }
        if let Some(found) = invocation(line.text) {
            let mentions =
                |option: &str| found.arguments.split_whitespace().any(|word| word == option);
            let lists = mentions("-S") || mentions("-L") || mentions("--list-rules");
            if !lists && !found.comment {
                if self.program.is_some_and(|family| family != found.family) {
                    self.mixed(line);
                    return;
                }
                self.program = Some(found.family);
                self.origin.family = self.origin.family.or(Some(found.family));
                self.origin.backend = self.origin.backend.or(found.backend);
                let arguments = found.arguments.trim_start();
                let start = line.start + line.text.len() - arguments.len();
                self.command(Line { text: arguments, start, ..line }, LineForm::Shell);
                return;
            }
            if lists {
                if self.program.is_some_and(|family| family != found.family) {
                    self.mixed(line);
                }
                self.program = self.program.or(Some(found.family));
                self.origin.family = self.origin.family.or(Some(found.family));
                self.origin.backend = self.origin.backend.or(found.backend);
                self.sections.push(Section { table: Some(named_table(found.arguments)) });
                return;
            }
        }
        if line.text.starts_with('#') {
            self.commented(line);
            return;
        }
        self.other(line);
    }

    /// A comment, or a command behind the prompt of root: among lines of a listing nobody can tell.
    fn commented(&mut self, line: Line<'a>) {
        let command = invocation(line.text).filter(|found| {
            found.arguments.split_ascii_whitespace().any(crate::replay::changes_rules)
        });
        if command.is_none() {
            return;
        }
        let message = format!("`{}` is taken for a comment", clip(line.text));
        self.diagnostics.push(
            Diagnostic::note("ignored-text", message, line.span())
                .help("if `#` is a prompt, the listing may be older than this command"),
        );
    }

    /// A line that is no command: prose, or the rest of a line that was wrapped.
    fn other(&mut self, line: Line<'a>) {
        let wrapped = line.text.starts_with('-')
            && line
                .text
                .trim_start_matches('-')
                .starts_with(|char: char| char.is_ascii_alphabetic());
        let found = clip(line.text);
        if wrapped {
            self.diagnostics.push(
                Diagnostic::error(
                    "unexpected-line",
                    format!("expected `-A CHAIN …`, found `{found}`"),
                    line.span(),
                )
                .help("if it is the rest of the line before, join the two"),
            );
        } else if !self.prose {
            let message = format!("`{found}` is taken for prose");
            self.diagnostics.push(Diagnostic::note("ignored-text", message, line.span()));
        }
        self.prose = !wrapped;
    }

    /// A command of the other family than those before it.
    fn mixed(&mut self, line: Line<'a>) {
        let message = "rules of iptables and of ip6tables stand in one text";
        self.diagnostics.push(
            Diagnostic::error("mixed-families", message, line.span())
                .help("give them as two files"),
        );
    }

    fn command(&mut self, line: Line<'a>, form: LineForm) {
        self.prose = false;
        let mut words = Vec::new();
        let text = line.text;
        let skipped = match text.starts_with('[') {
            true => text.find(']').map_or(0, |bracket| bracket + 1),
            false => 0,
        };
        let inner = text.get(skipped..).unwrap_or_default();
        let split = match form {
            LineForm::Shell => split_typed_words,
            LineForm::Save | LineForm::Command => split_words,
        };
        split(inner, line.start + skipped, &mut words, &mut Vec::new());
        let table = self.take_table(&mut words);
        clean(form, &mut words, &mut Vec::new());
        let Some(first) = words.first() else { return };
        let option = first.text.as_ref();
        let kind = match option {
            "-A" | "--append" | "-I" | "--insert" => Kind::Rule,
            "-P" | "--policy" => Kind::Policy,
            "-N" | "--new-chain" | "--new" => Kind::NewChain,
            "-F" | "-X" | "-Z" | "--flush" | "--delete-chain" | "--zero" => Kind::Clearing,
            _ if option.starts_with("-A") || option.starts_with("-I") => Kind::Rule,
            "-D" | "-R" | "-E" | "--delete" | "--replace" | "--rename-chain" => Kind::Editing,
            _ => {
                self.other(line);
                return;
            }
        };
        if kind == Kind::Rule
            && let Some(chain) = words.get(1)
            && !chain.text.starts_with(['-', '!'])
        {
            // Nothing declares it here.
            crate::rule::check_chain_name(&chain.text, chain.span, self.diagnostics);
        }
        let chain = match words.get(1) {
            Some(chain) => chain.text.clone().into_owned(),
            None => option.get(2..).unwrap_or_default().to_owned(),
        };
        self.section_for(kind, form, &chain);
        let section = self.sections.len() - 1;
        self.commands.push(Command { line, form, section, table, kind, chain, words });
    }

    /// Begins a new section where `-P` names a chain again, as in several `-S` pasted in a row.
    fn section_for(&mut self, kind: Kind, form: LineForm, chain: &str) {
        if self.seen.section != self.sections.len() {
            self.seen = Seen { section: self.sections.len(), ..Seen::default() };
        }
        match kind {
            Kind::Rule if form == LineForm::Command => {
                self.seen.rules = true;
                // What comes first, going back, tells.
                self.seen.typed.clear();
            }
            Kind::Policy => {
                let typed = self.seen.typed.contains(chain);
                if !typed && (self.seen.rules || self.seen.policies.contains(chain)) {
                    self.sections.push(Section::default());
                    self.seen = Seen { section: self.sections.len(), ..Seen::default() };
                }
                if form == LineForm::Shell {
                    self.seen.typed.insert(chain.to_owned());
                } else {
                    self.seen.typed.remove(chain);
                    self.seen.policies.insert(chain.to_owned());
                }
            }
            Kind::Rule | Kind::NewChain | Kind::Clearing | Kind::Editing => {}
        }
    }

    /// Takes `-t TABLE` out of the words.
    fn take_table(&mut self, words: &mut Vec<Word<'a>>) -> Option<TableName> {
        let at = words
            .iter()
            .position(|word| !word.quoted && matches!(word.text.as_ref(), "-t" | "--table"))?;
        let name = words.get(at + 1)?;
        let found = table(&name.text);
        if found.is_none() {
            let message = format!("unknown table `{}`", clip(&name.text));
            self.diagnostics.push(Diagnostic::error("unknown-table", message, name.span));
        }
        words.drain(at..at + 2);
        found
    }
}

/// The table that a listing command names, `filter` if none.
fn named_table(arguments: &str) -> TableName {
    let mut words = arguments.split_whitespace();
    words
        .find(|word| matches!(*word, "-t" | "--table"))
        .and_then(|_| words.next())
        .and_then(table)
        .unwrap_or(TableName::Filter)
}

/// The chain of a line such as `-A CHAIN …`.
pub(super) fn chain_of(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    words.find(|word| matches!(*word, "-A" | "-I" | "--append" | "--insert" | "–A" | "—A"))?;
    words.next()
}

/// Takes out what does not belong to the rule: the table, and what only a shell understands.
pub(super) fn clean(form: LineForm, words: &mut Vec<Word<'_>>, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(at) =
        words.iter().position(|word| !word.quoted && matches!(word.text.as_ref(), "-t" | "--table"))
    {
        words.drain(at..(at + 2).min(words.len()));
    }
    words.retain(|word| word.quoted || word.text != "\\");
    if form == LineForm::Shell {
        let end = words.iter().position(|word| {
            !word.quoted
                && (word.text.starts_with(['#', '|', '&', ';', '>']) || word.text.starts_with("2>"))
        });
        words.truncate(end.unwrap_or(words.len()));
        single_quotes(words);
        for word in words.iter().filter(|word| word.text.contains('$')) {
            let message = format!("`{}` holds a variable of the shell", clip(&word.text));
            diagnostics.push(
                Diagnostic::warning("shell-variable", message, word.span)
                    .help("give the rules as the kernel has them: `iptables-save`"),
            );
        }
    }
    for word in words.iter().filter(|word| word.quoted && word.text.contains('\n')) {
        diagnostics.push(over_lines(word));
    }
    // Options such as `-w` may stand before the command.
    let command = words.iter().position(|word| {
        !word.quoted
            && (matches!(word.text.as_ref(), "--append" | "--insert" | "--policy" | "--new-chain" | "--new")
                || matches!(word.text.as_bytes(), [b'-', command, ..] if b"AIPNDFXRZE".contains(command)))
    });
    if let Some(at) = command
        && at > 0
    {
        let front: Vec<Word<'_>> = words.drain(..at).collect();
        words.extend(front);
    }
}

/// Joins words that stand in single quotes, as a shell does.
fn single_quotes(words: &mut Vec<Word<'_>>) {
    let mut joined: Vec<Word<'_>> = Vec::with_capacity(words.len());
    let mut open = false;
    for word in words.drain(..) {
        let quotes = if word.quoted { 0 } else { word.text.matches('\'').count() };
        match joined.last_mut() {
            Some(last) if open => {
                last.text = format!("{} {}", last.text, word.text.replace('\'', "")).into();
                last.span = last.span.cover(word.span);
            }
            _ if quotes > 0 => {
                let text = word.text.replace('\'', "");
                let quoted = text != "!";
                joined.push(Word { text: text.into(), quoted, ..word });
            }
            _ => joined.push(word),
        }
        open ^= quotes % 2 == 1;
    }
    *words = joined;
}

/// Makes tables of the commands.
fn assemble<'a>(
    sections: &[Section],
    commands: Vec<Command<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Block<'a>> {
    let guess = Guess::new(sections, &commands);
    let mut blocks: Vec<(usize, Block<'a>)> = Vec::new();
    let mut noted = false;
    for command in commands {
        let (name, guessed) = guess.table(&command);
        if guessed && !noted && name != TableName::Filter {
            noted = true;
            diagnostics.push(
                Diagnostic::note(
                    "guessed-table",
                    format!("no table is named; this belongs to {}", name.as_str()),
                    command.line.span(),
                )
                .help("name the table with a line such as `# iptables -t nat -S`"),
            );
        }
        let section = command.section;
        // Sections come in order, and each has few tables.
        let in_section = blocks.iter().rev().take_while(|(of, _)| *of == section);
        let back = in_section.map(|(_, block)| block.name).position(|known| known == name);
        if back.is_none() {
            let span = command.line.span();
            let block =
                Block { name, span, chains: Vec::new(), lines: Vec::new(), declared: false };
            blocks.push((section, block));
        }
        let at = blocks.len() - 1 - back.unwrap_or(0);
        if let Some((_, block)) = blocks.get_mut(at) {
            add(block, command, diagnostics);
        }
    }
    blocks.into_iter().map(|(_, block)| block).collect()
}

/// Adds a command to its table.
fn add<'a>(block: &mut Block<'a>, command: Command<'a>, diagnostics: &mut Vec<Diagnostic>) {
    let span = command.line.span();
    match command.kind {
        Kind::Rule => {
            block.lines.push(RuleLine { line: command.line, form: command.form, cleared: false })
        }
        Kind::Policy | Kind::NewChain => {
            // A script need not declare what exists; the output of -S does.
            block.declared |= command.form == LineForm::Command;
            block.chains.extend(declare(&command, block.name, span, diagnostics));
        }
        Kind::Clearing if block.lines.is_empty() => {}
        Kind::Clearing | Kind::Editing => {
            let option = command.words.first().map_or("", |word| word.text.as_ref());
            let message = format!("`{option}` changes earlier rules, and is not carried out");
            diagnostics.push(
                Diagnostic::error("editing-command", message, span)
                    .help("give the rules as the kernel has them: `iptables-save`"),
            );
        }
    }
}

fn declare<'a>(
    command: &Command<'a>,
    table: TableName,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Chain<'a>> {
    let name = command.words.get(1)?;
    crate::rule::check_chain_name(&name.text, name.span, diagnostics);
    let mut chain = Chain { name: name.text.clone(), policy: None, counters: None, span };
    if command.kind == Kind::Policy {
        let Some(word) = command.words.get(2) else {
            let message = "`-P` needs a chain and a policy";
            diagnostics.push(Diagnostic::error("missing-argument", message, span));
            return Some(chain);
        };
        // `-P` of a user chain is refused by both backends (kernel-facts G6).
        chain.policy = chains::policy(&word.text, &name.text, table, word.span, diagnostics);
        // `-S -v` has `-c PACKETS BYTES`.
        if let Some([option, packets, bytes]) = command.words.get(3..6)
            && option.text == "-c"
            && let (Ok(packets), Ok(bytes)) = (packets.text.parse(), bytes.text.parse())
        {
            chain.counters = Some(Counters { packets, bytes });
        }
    }
    Some(chain)
}

/// What tells the table of commands that do not name it.
struct Guess<'s> {
    sections: &'s [Section],
    /// The table that the policies of a section show.
    policies: Vec<Option<TableName>>,
    /// The table of a chain of a section, from a line of it that shows it.
    chains: HashMap<(usize, String), TableName>,
}

impl<'s> Guess<'s> {
    fn new(sections: &'s [Section], commands: &[Command<'_>]) -> Self {
        let mut named: Vec<Vec<&str>> = vec![Vec::new(); sections.len()];
        let mut chains = HashMap::new();
        for command in commands {
            if command.kind == Kind::Policy
                && let Some(named) = named.get_mut(command.section)
            {
                named.push(&command.chain);
            }
            if let Some(table) = command.table.or_else(|| shown(command)) {
                chains.entry((command.section, command.chain.clone())).or_insert(table);
                if let Some(jump) = jump(command) {
                    chains.entry((command.section, jump.to_owned())).or_insert(table);
                }
            }
        }
        let policies = named.iter().map(|names| table_of_policies(names)).collect();
        Self { sections, policies, chains }
    }

    /// The table of a command, and whether nothing names it.
    fn table(&self, command: &Command<'_>) -> (TableName, bool) {
        let heading = self.sections.get(command.section).and_then(|section| section.table);
        if let Some(table) = command.table.or(heading) {
            return (table, false);
        }
        if command.form == LineForm::Shell {
            return (TableName::Filter, false);
        }
        let policies = self.policies.get(command.section).copied().flatten();
        let key = (command.section, command.chain.clone());
        let table = policies
            .or_else(|| shown(command))
            .or_else(|| self.chains.get(&key).copied())
            .or_else(|| {
                jump(command).and_then(|name| self.chains.get(&(key.0, name.to_owned())).copied())
            });
        (table.unwrap_or(TableName::Filter), true)
    }
}

/// The table whose built-in chains are exactly these.
fn table_of_policies(names: &[&str]) -> Option<TableName> {
    let mut tables =
        [TableName::Filter, TableName::Nat, TableName::Mangle, TableName::Raw].into_iter();
    tables.find(|table| {
        let chains = table.builtin_chains();
        chains.len() == names.len() && chains.iter().all(|chain| names.contains(chain))
    })
}

/// The name behind `-j` or `-g`.
fn jump<'w>(command: &'w Command<'_>) -> Option<&'w str> {
    let at = command.words.iter().position(|word| {
        !word.quoted && matches!(word.text.as_ref(), "-j" | "-g" | "--jump" | "--goto")
    })?;
    command.words.get(at + 1).map(|word| word.text.as_ref())
}

/// The table that a command shows by its chain or by its target.
fn shown(command: &Command<'_>) -> Option<TableName> {
    match jump(command) {
        Some("SNAT" | "DNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP") => {
            return Some(TableName::Nat);
        }
        Some("CT" | "NOTRACK" | "TRACE") => return Some(TableName::Raw),
        Some("TTL" | "HL" | "DSCP" | "TOS" | "TPROXY" | "CHECKSUM" | "ECN" | "SNPT" | "DNPT") => {
            return Some(TableName::Mangle);
        }
        Some("REJECT") => return Some(TableName::Filter),
        Some("MARK" | "CONNMARK" | "TCPMSS" | "CLASSIFY")
            if matches!(command.chain.as_str(), "PREROUTING" | "POSTROUTING") =>
        {
            return Some(TableName::Mangle);
        }
        _ => {}
    }
    match command.chain.as_str() {
        "PREROUTING" | "POSTROUTING" => Some(TableName::Nat),
        "FORWARD" => Some(TableName::Filter),
        _ => None,
    }
}
