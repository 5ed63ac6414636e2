//! Commits to iptables, and the few rules that it does not find.
//!
//! `-D` with a rule finds it by what iptables printed of it, but not always: where defaults were
//! left out (`--connlimit-above 3`), they are printed, and what is read back is another rule. Such
//! a rule goes by its number where nobody can come between (legacy, under its lock), and by its
//! handle where somebody can (nft).

use std::fs::OpenOptions;
use std::thread;
use std::time::{Duration, Instant};

use nattrace_parser::syntax::{Backend, TableName};
use serde::Deserialize;

use crate::change::{forms, script};
use crate::command::{self, CommandError};
use crate::live::Store;
use crate::own::nft_family;
use crate::saved::{Command, Forms, Saved, body};

/// How iptables-restore is called, and how long it waits for others that hold the lock of legacy
/// (kernel-facts I8).
pub(crate) const RESTORE: [&str; 3] = ["--noflush", "-w", "10"];

/// How long others may hold that lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often handles and rules are read until both are of the same moment.
const LOOKS: usize = 20;

/// Gives a text to iptables-restore.
pub(crate) fn restore(store: Store, text: &str) -> Result<(), CommandError> {
    let program = store.program("restore")?;
    command::feed(&program, &RESTORE, text).map(drop)
}

/// Whether iptables finds a rule by what it prints of it; asking changes nothing.
pub(crate) fn finds(forms: &Forms, chain: &str, rule: &str) -> bool {
    let store = Store { family: forms.family, backend: forms.backend };
    let check = format!("*{}\n-C {chain} {}\nCOMMIT\n", forms.table.as_str(), body(chain, rule));
    // A program that does nothing at all says nothing about the rule.
    let nothing = script(forms.table, &[]);
    restore(store, &check).is_ok() || restore(store, &nothing).is_err()
}

/// Carries out commands on a table, all of them or none, but for what has to go by its handle.
pub(crate) fn commit(store: Store, table: TableName, commands: &[Command]) -> Result<(), String> {
    let is_exact = |command: &Command| matches!(command, Command::DeleteAt { .. });
    let text = |error: CommandError| error.to_string();
    if !commands.iter().any(is_exact) {
        return restore(store, &script(table, commands)).map_err(text);
    }
    if store.backend == Backend::Legacy {
        return commit_locked(store, table, commands);
    }
    // In order: a change is marked by its first command and unmarked by its last one, so that
    // whatever is cut off in between can be taken back.
    for part in commands.split_inclusive(is_exact) {
        let (exact, together): (Vec<&Command>, Vec<&Command>) =
            part.iter().partition(|command| is_exact(command));
        let together: Vec<Command> = together.into_iter().cloned().collect();
        if !together.is_empty() {
            restore(store, &script(table, &together)).map_err(text)?;
        }
        for command in exact {
            if let Command::DeleteAt { chain, rule, alike, .. } = command {
                delete_by_handle(store, table, chain, rule, *alike)?;
            }
        }
    }
    Ok(())
}

/// Holds the lock of legacy from the last look at the rules until they are changed.
fn commit_locked(store: Store, table: TableName, commands: &[Command]) -> Result<(), String> {
    let path = std::env::var("XTABLES_LOCKFILE").unwrap_or_else(|_| "/run/xtables.lock".to_owned());
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| format!("can't lock `{path}`: {error}"))?;
    let start = Instant::now();
    while file.try_lock().is_err() {
        if start.elapsed() > PATIENCE {
            return Err(format!("somebody else holds `{path}`"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let text = |error: CommandError| error.to_string();
    let mut now = Saved::read(&store.read().map_err(text)?).table(table);
    let forms = forms(store, table, finds);
    for command in commands {
        now.run(command, &forms).map_err(|fault| format!("the rules changed: {fault}"))?;
    }
    let program = store.program("restore").map_err(text)?;
    let script = script(table, commands);
    // The lock is ours already.
    let elsewhere = [("XTABLES_LOCKFILE", "/dev/null")];
    command::feed_with(&program, &RESTORE, &script, &elsewhere).map(drop).map_err(text)
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    handle: u64,
}

/// Deletes one rule by what nobody else can take over.
fn delete_by_handle(
    store: Store,
    table: TableName,
    chain: &str,
    rule: &str,
    alike: usize,
) -> Result<(), String> {
    let text = |error: CommandError| error.to_string();
    let handles = || -> Result<Vec<u64>, String> {
        let family = nft_family(store.family);
        let words = ["-j", "list", "chain", family, table.as_str(), chain];
        let listed = command::run("nft", &words).map_err(text)?.text;
        let listing: Listing = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        Ok(listing.nftables.into_iter().filter_map(|one| Some(one.rule?.handle)).collect())
    };
    let forms = forms(store, table, finds);
    let wanted = forms.of(rule);
    for _ in 0..LOOKS {
        let before = handles()?;
        let saved = Saved::read(&store.read().map_err(text)?).table(table);
        let rules = saved.rules(chain).unwrap_or_default();
        if before != handles()? || before.len() != rules.len() {
            continue;
        }
        let mut found = rules.iter().zip(&before).filter(|(one, _)| forms.of(one) == wanted);
        let Some((_, handle)) = found.nth(alike) else {
            return Err(format!("`{rule}` is not there any more"));
        };
        let (family, handle) = (nft_family(store.family), handle.to_string());
        let words = ["delete", "rule", family, table.as_str(), chain, "handle", &handle];
        return command::run("nft", &words).map(drop).map_err(text);
    }
    Err(format!("`{chain}` changes all the time"))
}
