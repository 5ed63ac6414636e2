//! Expressions: values, and where they are read from.

use crate::diagnostic::Diagnostic;
use crate::host::json::{Json, Object};

use super::Verdict;

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BinaryOperator {
    And,
    Or,
    Xor,
    Left,
    Right,
}

impl BinaryOperator {
    /// How nft writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
            Self::Left => "<<",
            Self::Right => ">>",
        }
    }

    fn of(key: &str) -> Option<Self> {
        [Self::And, Self::Or, Self::Xor, Self::Left, Self::Right]
            .into_iter()
            .find(|operator| operator.as_str() == key)
    }
}

/// An element of a set, or an entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its key.
    pub key: Expression,
    /// What a map maps it to.
    pub data: Option<Expression>,
    /// Whether it goes away by itself.
    pub expires: bool,
}

/// A value, or where it is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// A number.
    Number(u64),
    /// A word: an address, a name, a constant's name.
    Text(String),
    /// Whether something is there (`exists`, `missing`).
    Flag(bool),
    /// Several values of a set of flags.
    List(Vec<Expression>),
    /// An anonymous set or map.
    Set(Vec<Element>),
    /// A named set or map, without its `@`.
    SetReference(String),
    /// `addr/len`.
    Prefix(Box<Expression>, u8),
    /// `first-last`.
    Range(Box<Expression>, Box<Expression>),
    /// `a . b`.
    Concatenation(Vec<Expression>),
    /// A field of a header, such as `tcp dport`.
    Payload {
        /// The header.
        protocol: String,
        /// The field.
        field: String,
    },
    /// Bits of a header: `@th,0,16`.
    RawPayload {
        /// `ll`, `nh`, `th` or `ih`.
        base: String,
        /// The first bit.
        offset: u32,
        /// How many bits.
        length: u32,
    },
    /// What the kernel knows of a packet besides its bytes.
    Meta(String),
    /// What connection tracking knows of it.
    Ct {
        /// What is asked.
        key: String,
        /// `original` or `reply`.
        direction: Option<String>,
    },
    /// A lookup in the routing tables.
    Fib {
        /// `oif`, `oifname` or `type`.
        result: String,
        /// What is looked up: `saddr` or `daddr`, with `mark`, `iif`, `oif`.
        flags: Vec<String>,
    },
    /// A number that counts or is drawn.
    Numgen {
        /// `inc` or `random`.
        mode: String,
        /// How many there are.
        modulus: u64,
        /// The first.
        offset: u64,
    },
    /// Something else that is read from the packet and is not looked into: its kind and how it is
    /// written in JSON.
    Other {
        /// The kind: `exthdr`, `tcp option`, `socket`, `rt`, `jhash`, …
        kind: String,
        /// What stands behind, as it is written.
        text: String,
        /// How nft would write it, as well as that is known.
        printed: String,
    },
    /// Two values and an operator.
    Binary(BinaryOperator, Box<Expression>, Box<Expression>),
    /// What a map gives for a key.
    Map(Box<Expression>, Box<Expression>),
    /// What a verdict map maps to.
    Verdict(Verdict),
}

/// The elements of a set or the entries of a map.
pub(super) fn elements(value: Json<'_>) -> Result<Vec<Element>, Diagnostic> {
    if !value.text().starts_with('[') {
        return Ok(vec![element(value)?]);
    }
    value.list("a list of elements")?.into_iter().map(element).collect()
}

fn element(value: Json<'_>) -> Result<Element, Diagnostic> {
    if value.text().starts_with('[') {
        let pair = value.list("a pair of key and value")?;
        let [key, data] = pair.as_slice() else {
            return Err(value.unexpected("a pair of key and value"));
        };
        let (key, expires) = key_of(*key)?;
        return Ok(Element { key, data: Some(data_of(*data)?), expires });
    }
    let (key, expires) = key_of(value)?;
    Ok(Element { key, data: None, expires })
}

/// A key, which may carry a timeout, a comment, a counter.
fn key_of(value: Json<'_>) -> Result<(Expression, bool), Diagnostic> {
    if value.text().starts_with('{')
        && let Some(inner) = value.object("an element")?.get("elem")
    {
        let inner = inner.object("an element")?;
        let expires = inner.get("timeout").is_some() || inner.get("expires").is_some();
        return Ok((Expression::read(inner.required("val")?)?, expires));
    }
    Ok((Expression::read(value)?, false))
}

fn data_of(value: Json<'_>) -> Result<Expression, Diagnostic> {
    if value.text().starts_with('{') {
        let object = value.object("a value")?;
        if let Some((key, body)) = object.iter().next()
            && let Some(verdict) = Verdict::read(key, body)?
        {
            return Ok(Expression::Verdict(verdict));
        }
    }
    Expression::read(value)
}

impl Expression {
    /// Reads an expression.
    pub(super) fn read(value: Json<'_>) -> Result<Self, Diagnostic> {
        let expected = "a value or an expression";
        match value.text().as_bytes().first() {
            Some(b'"') => {
                let text = value.string()?.into_owned();
                Ok(match text.strip_prefix('@') {
                    Some(name) => Self::SetReference(name.to_owned()),
                    None => Self::Text(text),
                })
            }
            Some(b't' | b'f') => Ok(Self::Flag(value.flag()?)),
            Some(b'[') => {
                let list = value.list(expected)?;
                Ok(Self::List(list.into_iter().map(Self::read).collect::<Result<_, _>>()?))
            }
            Some(b'{') => {
                let object = value.object(expected)?;
                let Some((key, body)) = object.iter().next() else {
                    return Err(value.unexpected(expected));
                };
                Self::read_object(key, body)
            }
            _ => value.parse(expected).map(Self::Number),
        }
    }

    fn read_object(key: &str, body: Json<'_>) -> Result<Self, Diagnostic> {
        if let Some(operator) = BinaryOperator::of(key) {
            return read_binary(operator, body);
        }
        let object = || body.object("the parts of an expression");
        Ok(match key {
            "prefix" => {
                let object = object()?;
                let length = object.required("len")?.parse("a prefix length")?;
                Self::Prefix(Box::new(Self::read(object.required("addr")?)?), length)
            }
            "range" => {
                let ends = body.list("the two ends of a range")?;
                let [first, last] = ends.as_slice() else {
                    return Err(body.unexpected("the two ends of a range"));
                };
                Self::Range(Box::new(Self::read(*first)?), Box::new(Self::read(*last)?))
            }
            "concat" => {
                let parts = body.list("the parts of a concatenation")?;
                Self::Concatenation(parts.into_iter().map(Self::read).collect::<Result<_, _>>()?)
            }
            "set" => Self::Set(elements(body)?),
            "elem" => Self::read(object()?.required("val")?)?,
            "map" => {
                let object = object()?;
                let key = Self::read(object.required("key")?)?;
                Self::Map(Box::new(key), Box::new(Self::read(object.required("data")?)?))
            }
            "payload" => read_payload(&object()?)?,
            "meta" => Self::Meta(word(&object()?, "key")?),
            "ct" => {
                let object = object()?;
                let key = match (object.get("family"), word(&object, "key")?) {
                    (Some(family), key) => format!("{} {key}", family.string()?),
                    (None, key) => key,
                };
                Self::Ct { key, direction: optional(&object, "dir")? }
            }
            "fib" => {
                let object = object()?;
                let flags = match object.required("flags")? {
                    one if one.string().is_ok() => vec![one.string()?.into_owned()],
                    list => list
                        .list("what is looked up")?
                        .into_iter()
                        .map(|flag| Ok(flag.string()?.into_owned()))
                        .collect::<Result<_, Diagnostic>>()?,
                };
                Self::Fib { result: word(&object, "result")?, flags }
            }
            "numgen" => {
                let object = object()?;
                let offset = object.get("offset").map_or(Ok(0), |value| value.parse("a number"))?;
                let modulus = object.required("mod")?.parse("a number")?;
                Self::Numgen { mode: word(&object, "mode")?, modulus, offset }
            }
            kind => Self::Other {
                kind: kind.to_owned(),
                text: body.text().to_owned(),
                printed: printed_other(kind, body),
            },
        })
    }
}

fn word(object: &Object<'_>, key: &str) -> Result<String, Diagnostic> {
    Ok(object.required(key)?.string()?.into_owned())
}

fn optional(object: &Object<'_>, key: &str) -> Result<Option<String>, Diagnostic> {
    Ok(object.get(key).map(|value| value.string()).transpose()?.map(Into::into))
}

/// An operator with two operands, or with more, which newer versions print.
fn read_binary(operator: BinaryOperator, body: Json<'_>) -> Result<Expression, Diagnostic> {
    let operands = body.list("the operands")?;
    let mut operands = operands.into_iter().map(Expression::read);
    let (Some(first), Some(second)) = (operands.next(), operands.next()) else {
        return Err(body.unexpected("two operands"));
    };
    let join = |left: Expression, right: Expression| {
        Expression::Binary(operator, Box::new(left), Box::new(right))
    };
    let mut joined = join(first?, second?);
    for operand in operands {
        joined = join(joined, operand?);
    }
    Ok(joined)
}

fn read_payload(object: &Object<'_>) -> Result<Expression, Diagnostic> {
    if object.get("tunnel").is_some() {
        let text = format!("{} {}", word(object, "protocol")?, word(object, "field")?);
        return Ok(Expression::Other { kind: "tunnel".to_owned(), printed: text.clone(), text });
    }
    if object.get("base").is_some() {
        return Ok(Expression::RawPayload {
            base: word(object, "base")?,
            offset: object.required("offset")?.parse("a bit's number")?,
            length: object.required("len")?.parse("a number of bits")?,
        });
    }
    Ok(Expression::Payload { protocol: word(object, "protocol")?, field: word(object, "field")? })
}

/// How nft writes what is not looked into, as well as its words tell.
fn printed_other(kind: &str, body: Json<'_>) -> String {
    let Ok(object) = body.object("the parts of an expression") else {
        return format!("{kind} {}", body.text());
    };
    let get = |key: &str| object.get(key).and_then(|value| value.word().ok().map(String::from));
    let words: Vec<String> =
        ["family", "name", "key", "field"].into_iter().filter_map(get).collect();
    match (kind, get("name")) {
        ("exthdr", Some(name)) => match get("field") {
            Some(field) => format!("{name} {field}"),
            None => format!("exthdr {name}"),
        },
        ("jhash" | "symhash", _) => {
            let key = object.get("expr").and_then(|value| Expression::read(value).ok());
            let key = key.map(|key| format!(" {key}")).unwrap_or_default();
            let offset = get("offset").map(|offset| format!(" offset {offset}"));
            let seed = get("seed").map(|seed| format!(" seed {seed}")).unwrap_or_default();
            let modulus = get("mod").unwrap_or_default();
            format!("{kind}{key} mod {modulus}{seed}{}", offset.unwrap_or_default())
        }
        _ => format!("{kind} {}", words.join(" ")).trim_end().to_owned(),
    }
}
