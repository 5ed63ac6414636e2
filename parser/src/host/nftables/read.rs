//! The objects of the JSON: tables, chains, rules, sets.

use crate::Severity;
use crate::diagnostic::{Diagnostic, nearest};
use crate::host::json::{Json, Object};

use super::expression::{Element, elements};
use super::{
    Base, Chain, EXPECTED, NamedObject, Rule, Ruleset, Set, Statement, Table, TableFamily,
    TableName,
};

/// What is found on the way.
type Found = Vec<Diagnostic>;

/// Reads one whole text.
pub(super) fn ruleset(entry: Json<'_>, ruleset: &mut Ruleset, found: &mut Found) {
    let items = entry
        .object(EXPECTED)
        .and_then(|object| object.required("nftables"))
        .and_then(|list| list.list("a list of objects"));
    let items = match items {
        Ok(items) => items,
        Err(diagnostic) => {
            found.push(as_error(diagnostic));
            return;
        }
    };
    for item in items {
        if let Err(diagnostic) = read_item(item, ruleset, found) {
            // An object that can't be read might be the one that decides.
            found.push(as_error(diagnostic));
        }
    }
}

fn as_error(diagnostic: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Error, ..diagnostic }
}

/// The kinds of objects that have no meaning for packets, or are met by name only.
const NAMED: [&str; 10] = [
    "counter",
    "quota",
    "limit",
    "ct helper",
    "ct timeout",
    "ct expectation",
    "synproxy",
    "secmark",
    "tunnel",
    "flowtable",
];

/// The kinds of objects that are read.
const KINDS: [&str; 6] = ["table", "chain", "rule", "set", "map", "element"];

fn read_item(item: Json<'_>, ruleset: &mut Ruleset, found: &mut Found) -> Result<(), Diagnostic> {
    let object = item.object("an object of the ruleset")?;
    let Some((kind, body)) = object.iter().next() else {
        return Err(item.unexpected("an object of the ruleset"));
    };
    match kind {
        "metainfo" => {}
        "table" => ruleset.tables.push(read_table(&body.object("a table")?, found)?),
        "chain" => ruleset.chains.push(read_chain(&body.object("a chain")?, found)?),
        "rule" => ruleset.rules.push(read_rule(&body.object("a rule")?, found)?),
        "set" | "map" | "meter" => ruleset.sets.push(read_set(&body.object("a set")?, found)?),
        "element" => add_elements(&body.object("elements of a set")?, ruleset, found)?,
        kind if NAMED.contains(&kind) => {
            ruleset.objects.push(read_named(kind, &body.object("a named object")?)?);
        }
        kind => {
            let message = format!("`{kind}` is no object of a ruleset that is known");
            let diagnostic = Diagnostic::error("unknown-object", message, item.span);
            let known = KINDS.into_iter().chain(NAMED);
            return Err(match nearest(kind, known) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            });
        }
    }
    Ok(())
}

/// Says which keys are not known; what they mean may matter.
fn check_keys(object: &Object<'_>, known: &[&str], found: &mut Found) {
    for (key, value) in object.iter().filter(|(key, _)| !known.contains(key)) {
        let message = format!("`{key}` is not known here, and is not looked at");
        let diagnostic = Diagnostic::warning("unread-key", message, value.span);
        found.push(match nearest(key, known.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
}

fn word(object: &Object<'_>, key: &str) -> Result<String, Diagnostic> {
    Ok(object.required(key)?.string()?.into_owned())
}

fn family(object: &Object<'_>) -> Result<TableFamily, Diagnostic> {
    let value = object.required("family")?;
    let word = value.string()?;
    let known = TableFamily::ALL.into_iter().find(|family| family.as_str() == word);
    known.ok_or_else(|| {
        let names = TableFamily::ALL.map(TableFamily::as_str);
        let diagnostic = value.unexpected("a family of nftables");
        match nearest(&word, names) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("the families are {}", names.join(", "))),
        }
    })
}

fn table_of(object: &Object<'_>) -> Result<TableName, Diagnostic> {
    Ok(TableName { family: family(object)?, name: word(object, "table")? })
}

fn handle(object: &Object<'_>) -> Result<Option<u64>, Diagnostic> {
    object.get("handle").map(|handle| handle.parse("a handle")).transpose()
}

/// A word, or a list of words.
fn words(value: Option<Json<'_>>) -> Result<Vec<String>, Diagnostic> {
    let Some(value) = value else { return Ok(Vec::new()) };
    if let Ok(word) = value.string() {
        return Ok(vec![word.into_owned()]);
    }
    let list = value.list("a word or a list of words")?;
    list.into_iter().map(|word| Ok(word.string()?.into_owned())).collect()
}

fn read_table(object: &Object<'_>, found: &mut Found) -> Result<Table, Diagnostic> {
    check_keys(object, &["family", "name", "handle", "flags", "comment", "use"], found);
    let name = TableName { family: family(object)?, name: word(object, "name")? };
    let flags = words(object.get("flags"))?;
    let dormant = flags.iter().any(|flag| flag == "dormant");
    Ok(Table { name, handle: handle(object)?, dormant, span: object.span })
}

const CHAIN_KEYS: [&str; 12] = [
    "family", "table", "name", "newname", "handle", "type", "hook", "prio", "dev", "policy",
    "comment", "flags",
];

fn read_chain(object: &Object<'_>, found: &mut Found) -> Result<Chain, Diagnostic> {
    check_keys(object, &CHAIN_KEYS, found);
    let base = match object.get("hook") {
        Some(hook) => Some(read_base(object, &hook)?),
        None => None,
    };
    Ok(Chain {
        table: table_of(object)?,
        name: word(object, "name")?,
        handle: handle(object)?,
        base,
        span: object.span,
    })
}

fn read_base(object: &Object<'_>, hook: &Json<'_>) -> Result<Base, Diagnostic> {
    let name = hook.string()?.into_owned();
    const HOOKS: [&str; 7] =
        ["prerouting", "input", "forward", "output", "postrouting", "ingress", "egress"];
    if !HOOKS.contains(&name.as_str()) {
        let diagnostic = hook.unexpected("a hook");
        return Err(match nearest(&name, HOOKS) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("the hooks are {}", HOOKS.join(", "))),
        });
    }
    let kind = one_of(object, "type", &["filter", "nat", "route"])?;
    let policy = one_of(object, "policy", &["accept", "drop"])?;
    let priority = match object.get("prio") {
        None => 0,
        Some(value) => priority(&value, &name)?,
    };
    Ok(Base {
        kind: kind.unwrap_or_else(|| "filter".to_owned()),
        hook: name,
        priority,
        drops: policy.is_some_and(|policy| policy == "drop"),
        devices: words(object.get("dev"))?,
    })
}

/// A word that must be one of a few, where it is there.
fn one_of(object: &Object<'_>, key: &str, known: &[&str]) -> Result<Option<String>, Diagnostic> {
    let Some(value) = object.get(key) else { return Ok(None) };
    let word = value.string()?;
    if known.contains(&&*word) {
        return Ok(Some(word.into_owned()));
    }
    Err(value.unexpected(&format!("`{}`", known.join("`, `"))))
}

/// A priority: a number, or a name with a number added, as nft(8) has them.
fn priority(value: &Json<'_>, hook: &str) -> Result<i32, Diagnostic> {
    if let Ok(number) = value.parse::<i32>("a priority") {
        return Ok(number);
    }
    let wrong = || value.unexpected("a priority");
    let text = value.string()?;
    let (name, offset) = match text.find(['+', '-']) {
        Some(at) => text.split_at_checked(at).ok_or_else(wrong)?,
        None => (&*text, "0"),
    };
    let base = match name.trim() {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" if hook == "prerouting" || hook == "output" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => 100,
        _ => return Err(wrong()),
    };
    let offset: String = offset.chars().filter(|c| !c.is_whitespace()).collect();
    let offset: i32 = offset.parse().map_err(|_| wrong())?;
    Ok(base + offset.clamp(-1_000_000, 1_000_000))
}

fn read_rule(object: &Object<'_>, found: &mut Found) -> Result<Rule, Diagnostic> {
    const KEYS: [&str; 8] =
        ["family", "table", "chain", "handle", "expr", "comment", "index", "position"];
    check_keys(object, &KEYS, found);
    let statements = match object.get("expr") {
        None => Vec::new(),
        Some(list) => list
            .list("a list of statements")?
            .into_iter()
            .map(|statement| {
                let read = Statement::read(statement)?;
                if let Statement::Unknown { name, .. } = &read {
                    let message = format!("the statement `{name}` is not known");
                    found.push(
                        Diagnostic::warning("unknown-statement", message, statement.span)
                            .help("what meets this rule is undetermined"),
                    );
                }
                Ok(read)
            })
            .collect::<Result<_, Diagnostic>>()?,
    };
    Ok(Rule {
        table: table_of(object)?,
        chain: word(object, "chain")?,
        handle: handle(object)?,
        statements,
        comment: object.get("comment").map(|text| text.string()).transpose()?.map(Into::into),
        span: object.span,
    })
}

const SET_KEYS: [&str; 16] = [
    "family",
    "table",
    "name",
    "handle",
    "type",
    "map",
    "flags",
    "elem",
    "timeout",
    "gc-interval",
    "size",
    "policy",
    "comment",
    "stmt",
    "auto-merge",
    "desc",
];

fn read_set(object: &Object<'_>, found: &mut Found) -> Result<Set, Diagnostic> {
    check_keys(object, &SET_KEYS, found);
    let flags = words(object.get("flags"))?;
    let elements = object.get("elem").map_or(Ok(Vec::new()), elements)?;
    let types = type_words(object.get("type"))?;
    let map = match object.get("map") {
        None => None,
        some => Some(type_words(some)?),
    };
    let changes = object.get("timeout").is_some()
        || flags.iter().any(|flag| flag == "dynamic" || flag == "timeout");
    Ok(Set {
        table: table_of(object)?,
        name: word(object, "name")?,
        types,
        map,
        changes,
        elements,
        span: object.span,
    })
}

/// The types of a key: one word, a list of words, `a . b`, or `{"typeof": …}`, of which nothing is
/// needed.
fn type_words(value: Option<Json<'_>>) -> Result<Vec<String>, Diagnostic> {
    if let Some(value) = value
        && value.text().starts_with('{')
    {
        return Ok(vec!["typeof".to_owned()]);
    }
    let listed = words(value)?;
    Ok(listed.iter().flat_map(|word| word.split(" . ")).map(str::to_owned).collect())
}

/// Elements that are listed apart from their set, as in the output of older versions.
fn add_elements(
    object: &Object<'_>,
    ruleset: &mut Ruleset,
    found: &mut Found,
) -> Result<(), Diagnostic> {
    check_keys(object, &["family", "table", "name", "elem"], found);
    let (table, name) = (table_of(object)?, word(object, "name")?);
    let added: Vec<Element> = object.get("elem").map_or(Ok(Vec::new()), elements)?;
    match ruleset.sets.iter_mut().find(|set| set.table == table && set.name == name) {
        Some(set) => set.elements.extend(added),
        None => {
            let message = format!("set `{name}` does not exist in table `{table}`");
            return Err(Diagnostic::error("unknown-set", message, object.span));
        }
    }
    Ok(())
}

fn read_named(kind: &str, object: &Object<'_>) -> Result<NamedObject, Diagnostic> {
    let over = object.get("inv").map(|value| value.flag()).transpose()?.unwrap_or(false);
    Ok(NamedObject {
        table: table_of(object)?,
        kind: kind.to_owned(),
        name: word(object, "name")?,
        over,
        span: object.span,
    })
}
