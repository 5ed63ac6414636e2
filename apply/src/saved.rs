//! Rules as lists of lines, on which the commands of iptables-restore can be tried.

use std::fmt::Write as _;

use nattrace_parser::syntax::{Backend, Family, TableName};
use nattrace_parser::{Origin, emit_rule, parse_rules_of};

/// One line of iptables-restore that changes rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `-N`: fails where the chain exists.
    NewChain(String),
    /// `-X`: fails where it does not.
    DropChain(String),
    /// `-I CHAIN POSITION`, from 1.
    Insert { chain: String, position: usize, rule: String },
    /// `-A`.
    Append { chain: String, rule: String },
    /// `-D` of the first rule like this one.
    Delete { chain: String, rule: String },
    /// `-D CHAIN POSITION`, of a rule that iptables does not find by what it is; `alike` rules like
    /// it stand before it.
    DeleteAt { chain: String, position: usize, rule: String, alike: usize },
}

impl Command {
    /// The line, without a newline.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::NewChain(chain) => format!("-N {chain}"),
            Self::DropChain(chain) => format!("-X {chain}"),
            Self::Insert { chain, position, rule } => {
                format!("-I {chain} {position} {}", body(chain, rule))
            }
            Self::Append { chain, rule } => format!("-A {chain} {}", body(chain, rule)),
            Self::Delete { chain, rule } => format!("-D {chain} {}", body(chain, rule)),
            Self::DeleteAt { chain, position, .. } => format!("-D {chain} {position}"),
        }
    }
}

/// A rule without the `-A CHAIN ` in front of it.
pub(crate) fn body<'r>(chain: &str, rule: &'r str) -> &'r str {
    let rest = rule.strip_prefix("-A ").and_then(|rest| rest.strip_prefix(chain));
    rest.and_then(|rest| rest.strip_prefix(' ')).unwrap_or(rule)
}

/// Why a command can't be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandFault {
    /// The chain that is edited does not exist.
    #[error("there is no chain `{0}`")]
    NoChain(String),
    /// The chain that is made exists.
    #[error("there is a chain `{0}` already")]
    ChainExists(String),
    /// The position is none.
    #[error("chain `{0}` has no position {1}")]
    NoPosition(String, usize),
    /// The rule is not there.
    #[error("there is no rule `{0}`")]
    NoRule(String),
}

/// The chains of one table, in the order in which they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    name: String,
    policy: String,
    rules: Vec<String>,
}

impl Table {
    /// The rules of a chain, each a line `-A CHAIN …`.
    pub(crate) fn rules(&self, chain: &str) -> Option<&[String]> {
        let found = self.chains.iter().find(|one| one.name == chain)?;
        Some(&found.rules)
    }

    /// Whether a chain is there.
    pub(crate) fn has(&self, chain: &str) -> bool {
        self.rules(chain).is_some()
    }

    /// Whether a built-in chain decides nothing.
    pub(crate) fn is_idle(&self, chain: &str) -> bool {
        let found = self.chains.iter().find(|one| one.name == chain);
        found.is_some_and(|chain| chain.rules.is_empty() && chain.policy == "ACCEPT")
    }

    /// Every rule with its chain.
    pub(crate) fn all_rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.chains
            .iter()
            .flat_map(|chain| chain.rules.iter().map(|rule| (chain.name.as_str(), rule.as_str())))
    }

    fn chain(&mut self, name: &str) -> Result<&mut Vec<String>, CommandFault> {
        let found = self.chains.iter_mut().find(|chain| chain.name == name);
        let chain = found.ok_or_else(|| CommandFault::NoChain(name.to_owned()))?;
        Ok(&mut chain.rules)
    }

    /// Does what iptables-restore would do.
    pub(crate) fn run(&mut self, command: &Command, forms: &Forms) -> Result<(), CommandFault> {
        match command {
            Command::NewChain(name) if self.has(name) => {
                return Err(CommandFault::ChainExists(name.clone()));
            }
            Command::NewChain(name) => {
                let (name, policy) = (name.clone(), "-".to_owned());
                self.chains.push(Chain { name, policy, rules: Vec::new() });
            }
            Command::DropChain(name) => {
                let place = self.chains.iter().position(|chain| chain.name == *name);
                let place = place.ok_or_else(|| CommandFault::NoChain(name.clone()))?;
                self.chains.remove(place);
            }
            Command::Insert { chain, position, rule } => {
                let rules = self.chain(chain)?;
                match position.checked_sub(1).filter(|index| *index <= rules.len()) {
                    Some(index) => rules.insert(index, rule.clone()),
                    None => return Err(CommandFault::NoPosition(chain.clone(), *position)),
                }
            }
            Command::Append { chain, rule } => self.chain(chain)?.push(rule.clone()),
            Command::Delete { chain, rule } => {
                let rules = self.chain(chain)?;
                let form = forms.of(rule);
                let found = rules.iter().position(|other| forms.of(other) == form);
                rules.remove(found.ok_or_else(|| CommandFault::NoRule(rule.clone()))?);
            }
            Command::DeleteAt { chain, position, rule, .. } => {
                let rules = self.chain(chain)?;
                let index = position.saturating_sub(1);
                if rules.get(index).map(|other| forms.of(other)) != Some(forms.of(rule)) {
                    return Err(CommandFault::NoRule(rule.clone()));
                }
                rules.remove(index);
            }
        }
        Ok(())
    }
}

/// The tables of one family and backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    tables: Vec<(TableName, Table)>,
}

impl Saved {
    /// Reads what iptables-save printed, with counters or without.
    pub(crate) fn read(text: &str) -> Self {
        let mut saved = Self::default();
        let mut current: Option<(TableName, Table)> = None;
        for line in text.lines() {
            let line = line.trim_end_matches('\r');
            if let Some(name) = line.strip_prefix('*') {
                saved.tables.extend(current.take());
                let found = TableName::ALL.into_iter().find(|table| table.as_str() == name.trim());
                current = found.map(|name| (name, Table::default()));
            } else if let Some((_, table)) = &mut current {
                table.read(line);
            }
        }
        saved.tables.extend(current);
        saved
    }

    /// A table; where it is not there, one whose built-in chains are empty, as the kernel makes it.
    pub(crate) fn table(&self, name: TableName) -> Table {
        let found = self.tables.iter().find(|(other, _)| *other == name);
        let mut table = found.map_or_else(Table::default, |(_, table)| table.clone());
        for builtin in name.builtin_chains() {
            if !table.has(builtin) {
                let (name, policy) = ((*builtin).to_owned(), "ACCEPT".to_owned());
                table.chains.push(Chain { name, policy, rules: Vec::new() });
            }
        }
        table
    }

    /// Puts a table in place of the one with its name.
    pub(crate) fn set(&mut self, name: TableName, table: Table) {
        match self.tables.iter_mut().find(|(other, _)| *other == name) {
            Some((_, place)) => *place = table,
            None => self.tables.push((name, table)),
        }
    }

    /// The tables that are there.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (TableName, &Table)> {
        self.tables.iter().map(|(name, table)| (*name, table))
    }

    /// The text, as iptables-save prints it, without counters.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (name, table) in &self.tables {
            // Writing into a string can't fail.
            let _ = writeln!(out, "*{}", name.as_str());
            for Chain { name, policy, .. } in &table.chains {
                let _ = writeln!(out, ":{name} {policy} [0:0]");
            }
            for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
                let _ = writeln!(out, "{rule}");
            }
            out.push_str("COMMIT\n");
        }
        out
    }
}

impl Table {
    /// Reads one line of a table.
    fn read(&mut self, line: &str) {
        if let Some(declared) = line.strip_prefix(':') {
            let mut words = declared.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let policy = words.next().unwrap_or("-").to_owned();
            self.chains.push(Chain { name, policy, rules: Vec::new() });
            return;
        }
        // `[3:180] -A FORWARD …`
        let rule = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((_, rule)) => rule,
            None => line,
        };
        let Some(rest) = rule.strip_prefix("-A ") else { return };
        let name = rest.split(' ').next().unwrap_or(rest);
        match self.chains.iter_mut().find(|chain| chain.name == name) {
            Some(chain) => chain.rules.push(rule.to_owned()),
            None => self.chains.push(Chain {
                name: name.to_owned(),
                policy: "-".to_owned(),
                rules: vec![rule.to_owned()],
            }),
        }
    }
}

/// How iptables prints rules, whatever way they were written in.
#[derive(Clone, Debug)]
pub(crate) struct Forms {
    pub(crate) family: Family,
    pub(crate) backend: Backend,
    pub(crate) table: TableName,
    pub(crate) finds: Finds,
}

/// Whether iptables finds a rule by what it prints of it, which it does not always
/// ([`crate::commit`]).
pub(crate) type Finds = fn(&Forms, chain: &str, rule: &str) -> bool;

impl Forms {
    /// The rule as iptables-save prints it; as it is where it can't be read.
    pub(crate) fn of(&self, rule: &str) -> String {
        let text = format!("*{}\n{rule}\n", self.table.as_str());
        let origin = Origin { family: Some(self.family), backend: Some(self.backend) };
        let (rules, _) = parse_rules_of(&text, origin);
        let mut found = rules.tables.iter().flat_map(|table| &table.rules);
        match (found.next(), found.next()) {
            (Some(rule), None) => {
                let mut out = String::new();
                emit_rule(rule, &mut out);
                out
            }
            _ => rule.to_owned(),
        }
    }
}

/// How many rules are like one.
pub(crate) fn count(rules: &[String], forms: &Forms, wanted: &str) -> usize {
    let wanted = forms.of(wanted);
    rules.iter().filter(|rule| forms.of(rule) == wanted).count()
}

/// The commands that take one rule out of a chain, whichever of several alike it is.
///
/// A rule is never deleted by its number: somebody may insert another one at the same moment, and
/// then the wrong one would go. `-D` takes the first of several alike; to take a later one, all up
/// to it go, and the others come back. A rule that iptables does not find is left to
/// [`crate::commit`].
pub(crate) fn removal(rules: &[String], index: usize, chain: &str, forms: &Forms) -> Vec<Command> {
    let Some(rule) = rules.get(index) else { return Vec::new() };
    let form = forms.of(rule);
    let alike: Vec<usize> = rules
        .iter()
        .enumerate()
        .take(index)
        .filter(|(_, other)| forms.of(other) == form)
        .map(|(place, _)| place)
        .collect();
    let name = chain;
    let chain = || chain.to_owned();
    if !(forms.finds)(forms, name, rule) {
        let (position, rule, alike) = (index + 1, rule.clone(), alike.len());
        return vec![Command::DeleteAt { chain: chain(), position, rule, alike }];
    }
    let delete = Command::Delete { chain: chain(), rule: rule.clone() };
    let mut commands = vec![delete; alike.len() + 1];
    commands.extend(alike.into_iter().map(|place| Command::Insert {
        chain: chain(),
        position: place + 1,
        rule: rule.clone(),
    }));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: Forms = Forms {
        family: Family::Ipv4,
        backend: Backend::Nft,
        table: TableName::Filter,
        finds: |_, _, _| true,
    };

    fn table(rules: &[&str]) -> Table {
        let mut text = "*filter\n:FORWARD ACCEPT [1:2]\n".to_owned();
        for rule in rules {
            text.push_str(&format!("[4:5] -A FORWARD {rule}\n"));
        }
        Saved::read(&text).table(TableName::Filter)
    }

    #[test]
    fn what_is_read_is_printed_without_counters() {
        let text = "*filter\n:INPUT ACCEPT [1:2]\n:X - [0:0]\n[1:2] -A INPUT -j X\n\
            -A X -m comment --comment \"[1:2] -A INPUT\" -j DROP\nCOMMIT\n# done\n*nat\nCOMMIT\n";
        let saved = Saved::read(text);
        let plain = text.replace("[1:2] -A INPUT -j", "-A INPUT -j").replace("[1:2]\n", "[0:0]\n");
        assert_eq!(saved.text(), plain.replace("# done\n", ""));
        assert_eq!(saved.table(TableName::Nat).rules("POSTROUTING"), Some(&[][..]));
    }

    #[test]
    fn the_right_one_of_several_alike_goes() {
        let rules = ["-j ACCEPT", "-p tcp -j DROP", "-j ACCEPT", "-p udp -j DROP", "-j ACCEPT"];
        for index in 0..rules.len() {
            let mut table = table(&rules);
            let all = table.rules("FORWARD").unwrap().to_vec();
            for command in removal(&all, index, "FORWARD", &FORMS) {
                table.run(&command, &FORMS).unwrap();
            }
            let mut expected = all.clone();
            expected.remove(index);
            assert_eq!(table.rules("FORWARD").unwrap(), expected, "{index}");
        }
    }

    #[test]
    fn what_can_not_be_done_is_refused() {
        let mut table = table(&["-j ACCEPT"]);
        let chain = || "FORWARD".to_owned();
        let rule = || "-A FORWARD -j DROP".to_owned();
        let faults = [
            Command::Delete { chain: chain(), rule: rule() },
            Command::Insert { chain: chain(), position: 3, rule: rule() },
            Command::Insert { chain: chain(), position: 0, rule: rule() },
            Command::Append { chain: "NOPE".into(), rule: rule() },
            Command::NewChain(chain()),
            Command::DropChain("NOPE".into()),
        ];
        for command in faults {
            assert!(table.run(&command, &FORMS).is_err(), "{command:?}");
        }
        // A rule is found in whatever form it is written.
        let other = Command::Delete { chain: chain(), rule: "-A FORWARD -p all -j ACCEPT".into() };
        table.run(&other, &FORMS).unwrap();
    }

    #[test]
    fn a_chain_whose_name_starts_like_another_is_another() {
        assert_eq!(body("X", "-A X -j DROP"), "-j DROP");
        assert_eq!(body("X", "-A XY -j DROP"), "-A XY -j DROP");
    }
}
