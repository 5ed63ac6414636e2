//! A change as commands of a shell, and as lines for iptables-restore.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use nattrace_model::System;
use nattrace_parser::syntax::{Backend, Family};
use nattrace_verifier::repair::{Edit, Holder, OWN_CHAIN, OWN_PRIORITY, OWN_TABLE, Op, Setting};

/// The program that makes an edit; `None` where it is nft.
pub(crate) fn program(edit: &Edit) -> Option<&'static str> {
    let Holder::Iptables(backend, _) = edit.place.holder else { return None };
    Some(match (edit.place.family, backend) {
        (Family::Ipv4, Backend::Nft) => "iptables",
        (Family::Ipv6, Backend::Nft) => "ip6tables",
        (Family::Ipv4, Backend::Legacy) => "iptables-legacy",
        (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy",
    })
}

/// The same where a host has rules of both backends, and a plain name may mean either.
fn program_on(edit: &Edit, system: &System) -> Option<&'static str> {
    let has = |backend| system.rules.chains.iter().any(|chain| chain.backend == backend);
    let both = has(Backend::Nft) && has(Backend::Legacy);
    match program(edit)? {
        "iptables" if both => Some("iptables-nft"),
        "ip6tables" if both => Some("ip6tables-nft"),
        other => Some(other),
    }
}

/// What comes behind `-t TABLE`, in the words of iptables.
fn words(edit: &Edit) -> Vec<String> {
    let mut spec = split(&edit.rule).into_iter().skip(2);
    let chain = edit.place.chain.clone();
    let position = edit.position.to_string();
    let mut words: Vec<String> = match edit.op {
        Op::Insert => vec!["-I".to_owned(), chain, position],
        Op::Replace => vec!["-R".to_owned(), chain, position],
        Op::Delete => return vec!["-D".to_owned(), chain, position],
        Op::Append => vec!["-A".to_owned(), chain],
    };
    words.extend(&mut spec);
    words
}

/// The words of a rule as iptables-save prints it.
fn split(rule: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = rule.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(letters.next()),
            ' ' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:,=+%@!".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The command of an edit of iptables, without what it needs of the host: for the parser.
pub(crate) fn plain(edit: &Edit, family: Family) -> Option<String> {
    let name = program(edit).filter(|_| edit.place.family == family)?;
    Some(command(edit, name))
}

fn command(edit: &Edit, name: &str) -> String {
    let words: Vec<String> = words(edit).iter().map(|word| quoted(word)).collect();
    format!("{name} -w -t {} {}", edit.place.holder.table(), words.join(" "))
}

/// The words after the name of the program, for lists of arguments.
pub(crate) fn arguments(edit: &Edit, system: &System) -> Vec<String> {
    let Some(name) = program_on(edit, system) else { return Vec::new() };
    let head = [name, "-w", "-t", edit.place.holder.table()].map(str::to_owned);
    head.into_iter().chain(words(edit)).collect()
}

/// The words of a command that prints the rule at the place of an edit.
pub(crate) fn asking(edit: &Edit, system: &System) -> Vec<String> {
    let Some(name) = program_on(edit, system) else { return Vec::new() };
    let position = edit.position.to_string();
    let words = [name, "-w", "-t", edit.place.holder.table(), "-S", &edit.place.chain, &position];
    words.map(str::to_owned).to_vec()
}

/// The commands, one a line.
pub(crate) fn lines(edits: &[Edit], settings: &[Setting], system: &System) -> Vec<String> {
    let mut lines: Vec<String> = settings.iter().map(Setting::command).collect();
    let mut made: Vec<Family> = Vec::new();
    for edit in edits {
        match program_on(edit, system) {
            Some(name) => lines.push(command(edit, name)),
            None => {
                let first = !made.contains(&edit.place.family);
                lines.extend(native(edit, first));
                made.push(edit.place.family);
            }
        }
    }
    lines
}

/// The commands of nft for a rule in the table of our own.
fn native(edit: &Edit, first: bool) -> Vec<String> {
    let family = match edit.place.family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    };
    let table = format!("{family} {OWN_TABLE}");
    let mut lines = Vec::new();
    if first {
        lines.push(format!("nft add table {table}"));
        lines.push(format!(
            "nft 'add chain {table} {OWN_CHAIN} {{ type nat hook postrouting priority \
             {OWN_PRIORITY}; policy accept; }}'"
        ));
    }
    let verb = if edit.op == Op::Insert { "insert" } else { "add" };
    let rule = format!("{verb} rule {table} {OWN_CHAIN} {}", edit.rule);
    lines.push(format!("nft '{}'", rule.replace('\'', r"'\''")));
    lines
}

/// A script of the commands.
pub(crate) fn script(edits: &[Edit], settings: &[Setting], system: &System) -> String {
    lines(edits, settings, system).into_iter().map(|line| line + "\n").collect()
}

/// Edits of several kinds of rules, which one text for iptables-restore can't hold.
#[derive(Debug)]
pub(crate) struct Several(Vec<&'static str>);

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|name| format!("{name}-restore")).collect();
        write!(f, "the edits are for {}, and a text is for one", names.join(" and "))
    }
}

/// The edits as a text for `iptables-restore --noflush`.
pub(crate) fn restore(edits: &[Edit], family: Option<Family>) -> Result<String, Several> {
    let mut programs: BTreeMap<&'static str, BTreeMap<&'static str, Vec<&Edit>>> = BTreeMap::new();
    for edit in edits.iter().filter(|edit| family.is_none_or(|f| f == edit.place.family)) {
        let Some(name) = program(edit) else { continue };
        let tables = programs.entry(name).or_default();
        tables.entry(edit.place.holder.table()).or_default().push(edit);
    }
    if programs.len() > 1 {
        return Err(Several(programs.into_keys().collect()));
    }
    let mut text = String::new();
    for (program, tables) in programs {
        let _ = writeln!(text, "# {program}-restore --noflush -w");
        for (table, edits) in tables {
            let _ = writeln!(text, "*{table}");
            for edit in edits {
                let (op, rule) = (words(edit), edit.rule.splitn(3, ' ').nth(2).unwrap_or(""));
                let head = match edit.op {
                    Op::Insert | Op::Replace => op.get(..3),
                    Op::Append => op.get(..2),
                    Op::Delete => Some(op.as_slice()),
                };
                let head = head.unwrap_or_default().join(" ");
                match edit.op {
                    Op::Delete => {
                        let _ = writeln!(text, "{head}");
                    }
                    Op::Insert | Op::Replace | Op::Append => {
                        let _ = writeln!(text, "{head} {rule}");
                    }
                }
            }
            text.push_str("COMMIT\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_a_shell_as_they_were() {
        let rule = r#"-A INPUT -m comment --comment "it's \"mine\" $x" -j ACCEPT"#;
        let words = split(rule);
        assert_eq!(words.get(5).unwrap(), "it's \"mine\" $x");
        assert_eq!(quoted(words.get(5).unwrap()), r#"'it'\''s "mine" $x'"#);
        assert_eq!(quoted("br-17f69efef4eb"), "br-17f69efef4eb");
        assert_eq!(quoted(""), "''");
    }
}
