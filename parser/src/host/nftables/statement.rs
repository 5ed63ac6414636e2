//! Statements: what a rule asks, and what it does.

use crate::diagnostic::Diagnostic;
use crate::host::json::{Json, Object};

use super::Expression;

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `==`, which nft does not write; for a set, membership.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `>`.
    Greater,
    /// `<=`.
    AtMost,
    /// `>=`.
    AtLeast,
    /// For flags: one of them is set.
    In,
    /// For flags: none of them is set (`!`).
    Without,
}

impl Relation {
    /// How JSON writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::Greater => ">",
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::In => "in",
            Self::Without => "!",
        }
    }

    const ALL: [Self; 8] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::Greater,
        Self::AtMost,
        Self::AtLeast,
        Self::In,
        Self::Without,
    ];
}

/// Where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are nft's own")]
pub enum Verdict {
    Accept,
    Drop,
    Continue,
    Return,
    Jump(String),
    Goto(String),
}

impl Verdict {
    pub(super) fn read(key: &str, body: Json<'_>) -> Result<Option<Self>, Diagnostic> {
        let target = || -> Result<String, Diagnostic> {
            Ok(body.object("a target")?.required("target")?.string()?.into_owned())
        };
        Ok(Some(match key {
            "accept" => Self::Accept,
            "drop" => Self::Drop,
            "continue" => Self::Continue,
            "return" => Self::Return,
            "jump" => Self::Jump(target()?),
            "goto" => Self::Goto(target()?),
            _ => return Ok(None),
        }))
    }
}

/// Which NAT statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are nft's own")]
pub enum NatKind {
    Snat,
    Dnat,
    Masquerade,
    Redirect,
}

impl NatKind {
    /// The word that nft uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snat => "snat",
            Self::Dnat => "dnat",
            Self::Masquerade => "masquerade",
            Self::Redirect => "redirect",
        }
    }
}

/// `snat`, `dnat`, `masquerade`, `redirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatStatement {
    /// Which.
    pub kind: NatKind,
    /// `ip` or `ip6`, where it is told.
    pub family: Option<String>,
    /// The address.
    pub address: Option<Expression>,
    /// The port.
    pub port: Option<Expression>,
    /// `random`, `fully-random`, `persistent`.
    pub flags: Vec<String>,
    /// `interval`, `prefix`, `concat`.
    pub type_flags: Vec<String>,
}

/// What a statement does to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are nft's own")]
pub enum SetOperation {
    Add,
    Update,
    Delete,
}

impl SetOperation {
    /// The word that nft uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A comparison: where it fails, the rule ends.
    Match {
        /// How it is compared.
        relation: Relation,
        /// What is read from the packet.
        left: Expression,
        /// What it is compared with.
        right: Expression,
    },
    /// A verdict.
    Verdict(Verdict),
    /// A verdict map.
    VerdictMap {
        /// What is looked up.
        key: Expression,
        /// The map.
        data: Expression,
    },
    /// Counts packets; with a name where the counter is a named one.
    Counter {
        /// The name.
        name: Option<String>,
        /// Packets and bytes so far.
        counted: Option<(u64, u64)>,
    },
    /// Sets a field or a mark.
    Mangle {
        /// What is set.
        key: Expression,
        /// To what.
        value: Expression,
    },
    /// NAT.
    Nat(NatStatement),
    /// Refuses the packet with an answer.
    Reject {
        /// `tcp reset`, `icmp`, `icmpv6`, `icmpx`; none for the usual answer.
        kind: Option<String>,
        /// The error.
        code: Option<Expression>,
    },
    /// Writes to a log, with its options as nft writes them.
    Log(String),
    /// Matches as often as a rate allows.
    Limit {
        /// The name, or the rate as nft writes it.
        printed: String,
        /// The name of a limit object.
        name: Option<String>,
        /// Whether it matches what is above the rate.
        over: bool,
    },
    /// Matches until so much has passed, or from then on.
    Quota {
        /// As nft writes it.
        printed: String,
        /// The name of a quota object.
        name: Option<String>,
        /// Whether it matches from then on.
        over: bool,
    },
    /// The packet gets no connection.
    Notrack,
    /// Changes a set or a map.
    Set {
        /// What is done.
        operation: SetOperation,
        /// The element.
        element: Expression,
        /// What a map maps it to.
        data: Option<Expression>,
        /// The set.
        set: String,
        /// The statements that the element carries.
        statements: Vec<Statement>,
    },
    /// Keeps a limit for each value (`meter`), which later versions write as [`Self::Set`].
    Meter {
        /// Of what.
        key: Expression,
        /// The limit.
        statement: Box<Statement>,
        /// Its name and size, as nft writes them.
        printed: String,
    },
    /// Limits the connections: matches as long as there are no more, or (`over`) where there are.
    ConnectionCount {
        /// How many.
        count: u64,
        /// Whether it matches more.
        over: bool,
    },
    /// Assigns a named object to the connection (`ct helper set "ftp"`), with its words.
    ConnectionObject(String),
    /// Hands the packet to a program.
    Queue {
        /// As nft writes it.
        printed: String,
        /// Whether it is accepted where no program listens.
        bypass: bool,
    },
    /// Hands the packet to a local socket.
    Tproxy {
        /// `ip` or `ip6`, where it is told.
        family: Option<String>,
        /// The address.
        address: Option<Expression>,
        /// The port.
        port: Option<Expression>,
    },
    /// Hands established connections to a flowtable.
    Flow(String),
    /// An extension of iptables, which only iptables shows.
    Xt {
        /// `match` or `target`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A statement that lets packets go on as they are, as nft writes it: `dup`, `last`, …
    Passing {
        /// Its first word.
        name: String,
        /// As nft writes it.
        printed: String,
    },
    /// Another statement, of which nothing is known.
    Unknown {
        /// Its first word.
        name: String,
        /// As it is written in JSON.
        text: String,
    },
}

impl Statement {
    /// Reads a statement.
    pub(super) fn read(value: Json<'_>) -> Result<Self, Diagnostic> {
        let expected = "a statement";
        let object = value.object(expected)?;
        let mut fields = object.iter();
        let (Some((key, body)), None) = (fields.next(), fields.next()) else {
            return Err(value.unexpected(expected));
        };
        if let Some(verdict) = Verdict::read(key, body)? {
            return Ok(Self::Verdict(verdict));
        }
        let parts = || body.object("the parts of a statement");
        Ok(match key {
            "match" => read_match(&parts()?)?,
            "vmap" => {
                let parts = parts()?;
                let key = Expression::read(parts.required("key")?)?;
                Self::VerdictMap { key, data: Expression::read(parts.required("data")?)? }
            }
            "counter" => read_counter(body)?,
            "mangle" => {
                let parts = parts()?;
                let key = Expression::read(parts.required("key")?)?;
                Self::Mangle { key, value: Expression::read(parts.required("value")?)? }
            }
            "snat" => read_nat(NatKind::Snat, &parts()?)?,
            "dnat" => read_nat(NatKind::Dnat, &parts()?)?,
            "masquerade" => read_nat(NatKind::Masquerade, &parts()?)?,
            "redirect" => read_nat(NatKind::Redirect, &parts()?)?,
            "reject" => {
                let parts = parts()?;
                Self::Reject { kind: text(&parts, "type")?, code: expression(&parts, "expr")? }
            }
            "log" => Self::Log(options(&parts()?)?),
            "limit" => read_limit(body)?,
            "quota" => read_quota(body)?,
            "notrack" => Self::Notrack,
            "set" | "map" => read_set(&parts()?)?,
            "meter" => {
                let parts = parts()?;
                let mut printed = text(&parts, "name")?.unwrap_or_default();
                if let Some(size) = parts.get("size") {
                    printed += &format!(" size {}", size.word()?);
                }
                Self::Meter {
                    key: Expression::read(parts.required("key")?)?,
                    statement: Box::new(Self::read(parts.required("stmt")?)?),
                    printed,
                }
            }
            "ct count" => {
                let parts = parts()?;
                let count = parts.required("val")?.parse("a number")?;
                Self::ConnectionCount { count, over: flag(&parts, "inv")? }
            }
            "ct helper" | "ct timeout" | "ct expectation" => {
                Self::ConnectionObject(format!("{key} set \"{}\"", plain(body)))
            }
            "queue" => read_queue(&parts()?)?,
            "tproxy" => {
                let parts = parts()?;
                Self::Tproxy {
                    family: text(&parts, "family")?,
                    address: expression(&parts, "addr")?,
                    port: expression(&parts, "port")?,
                }
            }
            "flow" => Self::Flow(plain(parts()?.required("flowtable")?)),
            "xt" => {
                let parts = parts()?;
                Self::Xt {
                    kind: text(&parts, "type")?.unwrap_or_default(),
                    name: text(&parts, "name")?.unwrap_or_else(|| "xt".to_owned()),
                }
            }
            "dup" => {
                let parts = parts()?;
                let to = expression(&parts, "addr")?;
                let device = expression(&parts, "dev")?;
                let mut printed = "dup".to_owned();
                if let Some(to) = to {
                    printed += &format!(" to {to}");
                }
                if let Some(device) = device {
                    printed += &format!(" device {device}");
                }
                Self::Passing { name: key.to_owned(), printed }
            }
            "last" | "secmark" | "tunnel" => {
                Self::Passing { name: key.to_owned(), printed: passing(key, body) }
            }
            name => Self::Unknown { name: name.to_owned(), text: body.text().to_owned() },
        })
    }
}

fn passing(key: &str, body: Json<'_>) -> String {
    match body.string() {
        Ok(name) => format!("{key} name \"{name}\""),
        Err(_) => key.to_owned(),
    }
}

/// A word without its quotes and `@`, or whatever else stands there.
fn plain(value: Json<'_>) -> String {
    let word = value.string().map_or_else(|_| value.text().to_owned(), Into::into);
    word.strip_prefix('@').unwrap_or(&word).to_owned()
}

fn text(object: &Object<'_>, key: &str) -> Result<Option<String>, Diagnostic> {
    Ok(object.get(key).map(|value| value.string()).transpose()?.map(Into::into))
}

fn flag(object: &Object<'_>, key: &str) -> Result<bool, Diagnostic> {
    Ok(object.get(key).map(|value| value.flag()).transpose()?.unwrap_or(false))
}

fn expression(object: &Object<'_>, key: &str) -> Result<Option<Expression>, Diagnostic> {
    object.get(key).map(Expression::read).transpose()
}

/// A word, or a list of words.
fn flags(object: &Object<'_>, key: &str) -> Result<Vec<String>, Diagnostic> {
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    if let Ok(one) = value.string() {
        return Ok(vec![one.into_owned()]);
    }
    let list = value.list("a list of flags")?;
    list.into_iter().map(|flag| Ok(flag.string()?.into_owned())).collect()
}

fn read_match(parts: &Object<'_>) -> Result<Statement, Diagnostic> {
    let relation = match parts.get("op") {
        None => Relation::In,
        Some(value) => {
            let word = value.string()?;
            Relation::ALL
                .into_iter()
                .find(|relation| relation.as_str() == word)
                .ok_or_else(|| value.unexpected("a relation such as `==` or `in`"))?
        }
    };
    let left = Expression::read(parts.required("left")?)?;
    Ok(Statement::Match { relation, left, right: Expression::read(parts.required("right")?)? })
}

fn read_counter(body: Json<'_>) -> Result<Statement, Diagnostic> {
    if let Ok(name) = body.string() {
        return Ok(Statement::Counter { name: Some(name.into_owned()), counted: None });
    }
    let parts = body.object("a counter")?;
    let number = |key: &str| parts.get(key).map(|value| value.parse("a number")).transpose();
    let counted = number("packets")?.zip(number("bytes")?);
    Ok(Statement::Counter { name: None, counted })
}

fn read_nat(kind: NatKind, parts: &Object<'_>) -> Result<Statement, Diagnostic> {
    Ok(Statement::Nat(NatStatement {
        kind,
        family: text(parts, "family")?,
        address: expression(parts, "addr")?,
        port: expression(parts, "port")?,
        flags: flags(parts, "flags")?,
        type_flags: flags(parts, "type_flags")?,
    }))
}

fn read_limit(body: Json<'_>) -> Result<Statement, Diagnostic> {
    if let Ok(name) = body.string() {
        let printed = format!("limit name \"{name}\"");
        return Ok(Statement::Limit { printed, name: Some(name.into_owned()), over: false });
    }
    let parts = body.object("a limit")?;
    let over = flag(&parts, "inv")?;
    let rate: u64 = parts.required("rate")?.parse("a rate")?;
    let per = text(&parts, "per")?.unwrap_or_else(|| "second".to_owned());
    let unit = text(&parts, "rate_unit")?.filter(|unit| unit != "packets");
    let burst: Option<u64> = parts.get("burst").map(|value| value.parse("a number")).transpose()?;
    let burst_unit = text(&parts, "burst_unit")?;
    let mut printed = format!("limit rate {}{rate}", if over { "over " } else { "" });
    if let Some(unit) = &unit {
        printed += &format!(" {unit}");
    }
    printed += &format!("/{per}");
    // nft leaves out the usual burst of five packets.
    match (burst, &unit) {
        (None | Some(0 | 5), None) | (None | Some(0), Some(_)) => {}
        (Some(burst), None) => printed += &format!(" burst {burst} packets"),
        (Some(burst), Some(unit)) => {
            printed += &format!(" burst {burst} {}", burst_unit.as_ref().unwrap_or(unit));
        }
    }
    Ok(Statement::Limit { printed, name: None, over })
}

fn read_quota(body: Json<'_>) -> Result<Statement, Diagnostic> {
    if let Ok(name) = body.string() {
        let printed = format!("quota name \"{name}\"");
        return Ok(Statement::Quota { printed, name: Some(name.into_owned()), over: false });
    }
    let parts = body.object("a quota")?;
    let over = flag(&parts, "inv")?;
    let amount: u64 = parts.required("val")?.parse("a number")?;
    let unit = text(&parts, "val_unit")?.unwrap_or_else(|| "bytes".to_owned());
    let mut printed = format!("quota {}{amount} {unit}", if over { "over " } else { "" });
    if let Some(used) = parts.get("used") {
        let unit = text(&parts, "used_unit")?.unwrap_or_else(|| "bytes".to_owned());
        printed += &format!(" used {} {unit}", used.word()?);
    }
    Ok(Statement::Quota { printed, name: None, over })
}

fn read_set(parts: &Object<'_>) -> Result<Statement, Diagnostic> {
    let value = parts.required("op")?;
    let operation = match &*value.string()? {
        "add" => SetOperation::Add,
        "update" => SetOperation::Update,
        "delete" => SetOperation::Delete,
        _ => return Err(value.unexpected("`add`, `update` or `delete`")),
    };
    let set = parts.get("set").map_or_else(|| parts.required("map"), Ok)?;
    let statements = match parts.get("stmt") {
        None => Vec::new(),
        Some(list) => list
            .list("a list of statements")?
            .into_iter()
            .map(Statement::read)
            .collect::<Result<_, _>>()?,
    };
    Ok(Statement::Set {
        operation,
        element: Expression::read(parts.required("elem")?)?,
        data: expression(parts, "data")?,
        set: plain(set),
        statements,
    })
}

fn read_queue(parts: &Object<'_>) -> Result<Statement, Diagnostic> {
    let flags = flags(parts, "flags")?;
    let mut printed = "queue".to_owned();
    if !flags.is_empty() {
        printed += &format!(" flags {}", flags.join(","));
    }
    if let Some(number) = expression(parts, "num")? {
        printed += &format!(" to {number}");
    }
    Ok(Statement::Queue { printed, bypass: flags.iter().any(|flag| flag == "bypass") })
}

/// The options of `log` as nft writes them.
fn options(parts: &Object<'_>) -> Result<String, Diagnostic> {
    let mut printed = "log".to_owned();
    for (key, value) in parts.iter() {
        let value = match key {
            "prefix" => format!("\"{}\"", value.string()?),
            "flags" => flags(parts, "flags")?.join(","),
            _ => value.word()?.into_owned(),
        };
        printed += &format!(" {key} {value}");
    }
    Ok(printed)
}
