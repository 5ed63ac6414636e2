//! The table of nf_tables that is our own, which nobody else writes to.

use nattrace_parser::syntax::Family;
use serde::Deserialize;

use crate::change::{Step, marker, tag};
use crate::command::{self, CommandError};
use crate::plan::{OWN_CHAIN, OWN_PRIORITY, OWN_TABLE, Op};

/// What of the table has to be known to change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnTable {
    /// The names of its chains.
    pub(crate) chains: Vec<String>,
    /// The handles and comments of its rules, in order.
    pub(crate) rules: Vec<(u64, String)>,
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    chain: Option<Named>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Rule {
    handle: u64,
    comment: Option<String>,
}

/// What nft calls a family.
pub(crate) fn nft_family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    }
}

impl OwnTable {
    /// The table as it is now; `None` where there is none.
    pub(crate) fn read(family: Family) -> Result<Option<Self>, CommandError> {
        let tables = match command::run("nft", &["list", "tables"]) {
            // Without nft, nobody has made one.
            Err(CommandError::Missing(_)) => return Ok(None),
            other => other?.text,
        };
        let wanted = format!("table {} {OWN_TABLE}", nft_family(family));
        if !tables.lines().any(|line| line.trim() == wanted) {
            return Ok(None);
        }
        let arguments = ["-j", "list", "table", nft_family(family), OWN_TABLE];
        let text = command::run("nft", &arguments)?.text;
        let failed = |error: serde_json::Error| CommandError::Failed {
            command: format!("nft {}", arguments.join(" ")),
            message: error.to_string(),
        };
        let listing: Listing = serde_json::from_str(&text).map_err(failed)?;
        let mut table = Self::default();
        for object in listing.nftables {
            table.chains.extend(object.chain.map(|chain| chain.name));
            let rule = object.rule;
            table.rules.extend(rule.map(|rule| (rule.handle, rule.comment.unwrap_or_default())));
        }
        Ok(Some(table))
    }

    /// Whether a change is there.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.chains.contains(&marker(id))
    }

    /// The handle of the rule of an edit.
    pub(crate) fn handle(&self, id: &str, number: usize) -> Option<u64> {
        let wanted = tag(id, number);
        self.rules.iter().find(|(_, comment)| *comment == wanted).map(|(handle, _)| *handle)
    }
}

/// The text for `nft -f` that makes a change.
///
/// The marker comes first: even of a text that is cut off, nothing is left that could not be found.
pub(crate) fn load(family: Family, id: &str, steps: &[Step]) -> String {
    let table = format!("{} {OWN_TABLE}", nft_family(family));
    let create = format!("add table {table}\ncreate chain {table} {}\n", marker(id));
    create + &skeleton(family) + &rules(family, steps)
}

/// The lines that make the table and its chain where they are missing.
pub(crate) fn skeleton(family: Family) -> String {
    let table = format!("{} {OWN_TABLE}", nft_family(family));
    format!(
        "add table {table}\nadd chain {table} {OWN_CHAIN} {{ type nat hook postrouting priority \
         {OWN_PRIORITY}; policy accept; }}\n"
    )
}

/// The lines that add the rules of edits.
pub(crate) fn rules(family: Family, steps: &[Step]) -> String {
    let table = format!("{} {OWN_TABLE}", nft_family(family));
    let line = |step: &Step| {
        let rule = step.new.as_deref().unwrap_or_default();
        match (step.op, step.alike) {
            (Op::Insert, 0 | 1) => format!("insert rule {table} {OWN_CHAIN} {rule}\n"),
            (Op::Insert, position) => {
                format!("insert rule {table} {OWN_CHAIN} index {} {rule}\n", position - 1)
            }
            (Op::Append | Op::Replace | Op::Delete, _) => {
                format!("add rule {table} {OWN_CHAIN} {rule}\n")
            }
        }
    };
    steps.iter().map(line).collect()
}

/// The text that takes a change back; the whole table goes where nothing else is in it.
pub(crate) fn undo(family: Family, id: &str, steps: &[Step], now: &OwnTable) -> String {
    let table = format!("{} {OWN_TABLE}", nft_family(family));
    let handles: Vec<u64> = steps.iter().filter_map(|step| now.handle(id, step.number)).collect();
    let others = now.rules.iter().any(|(handle, _)| !handles.contains(handle))
        || now.chains.iter().any(|chain| chain != OWN_CHAIN && *chain != marker(id));
    if !others {
        return format!("delete table {table}\n");
    }
    let mut text = String::new();
    for handle in handles {
        text.push_str(&format!("delete rule {table} {OWN_CHAIN} handle {handle}\n"));
    }
    if now.holds(id) {
        text.push_str(&format!("delete chain {table} {}\n", marker(id)));
    }
    text
}
