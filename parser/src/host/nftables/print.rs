//! Rules as `nft list ruleset` prints them.

use std::fmt;

use super::{
    BinaryOperator, Element, Expression, NatStatement, Relation, Rule, Statement, TableFamily,
    Verdict,
};

/// How a value is written, which its JSON does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// As it is.
    Plain,
    /// A mark: eight hexadecimal digits.
    Mark,
    /// A name in quotes.
    Quoted,
}

impl Style {
    /// How values that are compared with an expression are written.
    fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Meta(key) => match key.as_str() {
                "mark" => Self::Mark,
                "iif" | "oif" | "iifname" | "oifname" | "ibrname" | "obrname" | "ibridgename"
                | "obridgename" | "sdif" | "sdifname" | "iifkind" | "oifkind" | "time" | "hour"
                | "day" => Self::Quoted,
                _ => Self::Plain,
            },
            Expression::Ct { key, .. } => match key.as_str() {
                "mark" => Self::Mark,
                "helper" => Self::Quoted,
                _ => Self::Plain,
            },
            Expression::Fib { result, .. } if result != "type" => Self::Quoted,
            Expression::Binary(_, left, _) => Self::of(left),
            _ => Self::Plain,
        }
    }
}

/// The styles of the parts of a key.
fn styles(key: &Expression) -> Vec<Style> {
    match key {
        Expression::Concatenation(parts) => parts.iter().map(Style::of).collect(),
        single => vec![Style::of(single)],
    }
}

/// A value in the styles of its parts.
struct Styled<'a>(&'a Expression, &'a [Style]);

impl fmt::Display for Styled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, styles) = *self;
        let style = styles.first().copied().unwrap_or(Style::Plain);
        match value {
            Expression::Concatenation(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    let dot = if at == 0 { "" } else { " . " };
                    write!(f, "{dot}{}", Styled(part, styles.get(at..).unwrap_or(&[])))?;
                }
                Ok(())
            }
            Expression::Set(elements) => {
                f.write_str("{ ")?;
                for (at, element) in elements.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}")?;
                    write_element(f, element, styles, Style::Plain)?;
                }
                f.write_str(" }")
            }
            Expression::List(values) => {
                for (at, value) in values.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{}", Styled(value, styles))?;
                }
                Ok(())
            }
            Expression::Range(first, last) => {
                write!(f, "{}-{}", Styled(first, styles), Styled(last, styles))
            }
            Expression::Number(number) if style == Style::Mark => write!(f, "{number:#010x}"),
            Expression::Text(text) if style == Style::Quoted && text != "0" => {
                write!(f, "\"{text}\"")
            }
            Expression::Binary(operator, left, right) => {
                write_operand(f, *operator, left, styles)?;
                write!(f, " {} ", operator.as_str())?;
                match operator {
                    BinaryOperator::Left | BinaryOperator::Right => write!(f, "{right}"),
                    _ => write_operand(f, *operator, right, styles),
                }
            }
            other => write!(f, "{other}"),
        }
    }
}

fn precedence(operator: BinaryOperator) -> u8 {
    match operator {
        BinaryOperator::Left | BinaryOperator::Right => 1,
        BinaryOperator::And => 2,
        BinaryOperator::Xor => 3,
        BinaryOperator::Or => 4,
    }
}

/// An operand, in parentheses where the operator binds closer.
fn write_operand(
    f: &mut fmt::Formatter<'_>,
    outer: BinaryOperator,
    operand: &Expression,
    styles: &[Style],
) -> fmt::Result {
    match operand {
        Expression::Binary(inner, ..) if precedence(outer) < precedence(*inner) => {
            write!(f, "({})", Styled(operand, styles))
        }
        other => write!(f, "{}", Styled(other, styles)),
    }
}

fn write_element(
    f: &mut fmt::Formatter<'_>,
    element: &Element,
    styles: &[Style],
    data: Style,
) -> fmt::Result {
    write!(f, "{}", Styled(&element.key, styles))?;
    match &element.data {
        Some(value) => write!(f, " : {}", Styled(value, &[data])),
        None => Ok(()),
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Flag(true) => f.write_str("exists"),
            Self::Flag(false) => f.write_str("missing"),
            Self::SetReference(name) => write!(f, "@{name}"),
            Self::Prefix(address, length) => write!(f, "{address}/{length}"),
            Self::Payload { protocol, field } => write!(f, "{protocol} {field}"),
            Self::RawPayload { base, offset, length } => write!(f, "@{base},{offset},{length}"),
            Self::Meta(key) => match key.as_str() {
                "iif" | "oif" | "iifname" | "oifname" | "iifgroup" | "oifgroup" => f.write_str(key),
                _ => write!(f, "meta {key}"),
            },
            Self::Ct { key, direction: None } => write!(f, "ct {key}"),
            Self::Ct { key, direction: Some(direction) } => write!(f, "ct {direction} {key}"),
            Self::Fib { result, flags } => write!(f, "fib {} {result}", flags.join(" . ")),
            Self::Numgen { mode, modulus, offset } => {
                write!(f, "numgen {mode} mod {modulus}")?;
                if *offset == 0 { Ok(()) } else { write!(f, " offset {offset}") }
            }
            Self::Other { printed, .. } => f.write_str(printed),
            Self::Map(key, data) => {
                write!(f, "{key} map ")?;
                write_map(f, key, data, Style::Plain)
            }
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::List(_)
            | Self::Set(_)
            | Self::Range(..)
            | Self::Concatenation(_)
            | Self::Binary(..) => {
                let own = match self {
                    Self::Binary(_, left, _) => vec![Style::of(left)],
                    _ => Vec::new(),
                };
                write!(f, "{}", Styled(self, &own))
            }
        }
    }
}

/// The entries of a map in the styles of key and value.
fn write_map(
    f: &mut fmt::Formatter<'_>,
    key: &Expression,
    data: &Expression,
    style: Style,
) -> fmt::Result {
    let Expression::Set(elements) = data else { return write!(f, "{data}") };
    let keys = styles(key);
    f.write_str("{ ")?;
    for (at, element) in elements.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { ", " })?;
        write_element(f, element, &keys, style)?;
    }
    f.write_str(" }")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

/// Whether values of an expression are sets of flags, of which nft writes `==` out.
fn holds_flags(expression: &Expression) -> bool {
    match expression {
        Expression::Payload { protocol, field } => protocol == "tcp" && field == "flags",
        Expression::Ct { key, .. } => key == "state" || key == "status" || key == "label",
        _ => false,
    }
}

fn write_match(
    f: &mut fmt::Formatter<'_>,
    relation: Relation,
    left: &Expression,
    right: &Expression,
) -> fmt::Result {
    let styles = styles(left);
    let equal = matches!(relation, Relation::Equal | Relation::NotEqual);
    // `tcp flags syn / fin,syn,rst,ack`
    if let (true, Expression::Binary(BinaryOperator::And, field, mask)) = (equal, left)
        && holds_flags(field)
        && !matches!(right, Expression::Number(_))
    {
        let not = if relation == Relation::NotEqual { "!= " } else { "" };
        let (value, mask) = (comma_flags(right), comma_flags(mask));
        return write!(f, "{field} {not}{value} / {mask}");
    }
    let value = matches!(right, Expression::Text(_) | Expression::Number(_))
        || matches!(right, Expression::Binary(..));
    let told = match relation {
        Relation::Equal => {
            (matches!(left, Expression::Binary(..)) || (holds_flags(left) && value)).then_some("==")
        }
        Relation::In => None,
        other => Some(other.as_str()),
    };
    match told {
        Some(word) => write!(f, "{left} {word} {}", Styled(right, &styles)),
        None => write!(f, "{left} {}", Styled(right, &styles)),
    }
}

/// Flags that are joined by `|` in JSON, joined by commas.
fn comma_flags(expression: &Expression) -> String {
    match expression {
        Expression::Binary(BinaryOperator::Or, left, right) => {
            format!("{},{}", comma_flags(left), comma_flags(right))
        }
        other => other.to_string(),
    }
}

fn write_nat(f: &mut fmt::Formatter<'_>, nat: &NatStatement) -> fmt::Result {
    f.write_str(nat.kind.as_str())?;
    if let Some(family) = &nat.family {
        write!(f, " {family}")?;
    }
    let is = |flag: &str| nat.type_flags.iter().any(|given| given == flag);
    if is("concat") {
        f.write_str(" addr . port")?;
    } else if is("prefix") {
        f.write_str(" prefix")?;
    } else if is("interval") {
        f.write_str(" interval")?;
    }
    write_target(f, nat.address.as_ref(), nat.port.as_ref())?;
    if nat.flags.is_empty() { Ok(()) } else { write!(f, " {}", nat.flags.join(",")) }
}

/// ` to ADDRESS:PORT`.
fn write_target(
    f: &mut fmt::Formatter<'_>,
    address: Option<&Expression>,
    port: Option<&Expression>,
) -> fmt::Result {
    match (address, port) {
        (None, None) => Ok(()),
        (Some(address), None) => write!(f, " to {address}"),
        (None, Some(port)) => write!(f, " to :{port}"),
        (Some(Expression::Text(address)), Some(port)) if address.contains(':') => {
            write!(f, " to [{address}]:{port}")
        }
        (Some(Expression::Range(first, last)), Some(port)) if first.to_string().contains(':') => {
            write!(f, " to [{first}]-[{last}]:{port}")
        }
        (Some(address), Some(port)) => write!(f, " to {address}:{port}"),
    }
}

fn write_reject(
    f: &mut fmt::Formatter<'_>,
    family: Option<TableFamily>,
    kind: Option<&str>,
    code: Option<&Expression>,
) -> fmt::Result {
    let usual = match family {
        Some(TableFamily::Ip) => "icmp",
        Some(TableFamily::Ip6) => "icmpv6",
        _ => "icmpx",
    };
    match (kind, code) {
        (None, _) => f.write_str("reject"),
        (Some(kind), Some(Expression::Text(code)))
            if kind == usual && code == "port-unreachable" =>
        {
            f.write_str("reject")
        }
        (Some(kind), None) => write!(f, "reject with {kind}"),
        (Some(kind), Some(code)) => write!(f, "reject with {kind} {code}"),
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

impl Statement {
    fn write(&self, f: &mut fmt::Formatter<'_>, family: Option<TableFamily>) -> fmt::Result {
        match self {
            Self::Match { relation, left, right } => write_match(f, *relation, left, right),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::VerdictMap { key, data } => {
                write!(f, "{key} vmap ")?;
                write_map(f, key, data, Style::Plain)
            }
            Self::Counter { name: Some(name), .. } => write!(f, "counter name \"{name}\""),
            Self::Counter { counted: Some((packets, bytes)), .. } => {
                write!(f, "counter packets {packets} bytes {bytes}")
            }
            Self::Counter { .. } => f.write_str("counter"),
            Self::Mangle { key, value } => {
                write!(f, "{key} set ")?;
                let style = Style::of(key);
                match value {
                    Expression::Map(from, data) => {
                        write!(f, "{from} map ")?;
                        write_map(f, from, data, style)
                    }
                    value => write!(f, "{}", Styled(value, &[style])),
                }
            }
            Self::Nat(nat) => write_nat(f, nat),
            Self::Reject { kind, code } => write_reject(f, family, kind.as_deref(), code.as_ref()),
            Self::Log(printed) | Self::ConnectionObject(printed) => f.write_str(printed),
            Self::Limit { printed, .. }
            | Self::Quota { printed, .. }
            | Self::Queue { printed, .. }
            | Self::Passing { printed, .. } => f.write_str(printed),
            Self::Notrack => f.write_str("notrack"),
            Self::Set { operation, element, data, set, statements } => {
                write!(f, "{} @{set} {{ {element}", operation.as_str())?;
                for statement in statements {
                    write!(f, " {statement}")?;
                }
                match data {
                    Some(data) => write!(f, " : {data} }}"),
                    None => f.write_str(" }"),
                }
            }
            Self::Meter { key, statement, printed } => {
                write!(f, "meter {printed} {{ {key} {statement} }}")
            }
            Self::ConnectionCount { count, over } => {
                write!(f, "ct count {}{count}", if *over { "over " } else { "" })
            }
            Self::Tproxy { family, address, port } => {
                f.write_str("tproxy")?;
                if let Some(family) = family {
                    write!(f, " {family}")?;
                }
                write_target(f, address.as_ref(), port.as_ref())
            }
            Self::Flow(table) => write!(f, "flow add @{table}"),
            Self::Xt { kind, name } => {
                let kind = if kind.is_empty() { String::new() } else { format!("{kind} ") };
                write!(f, "xt {kind}\"{name}\"")
            }
            Self::Unknown { name, text } => write!(f, "{name} {text}"),
        }
    }
}

/// A statement in a table of a family.
struct InFamily<'a>(&'a Statement, TableFamily);

impl fmt::Display for InFamily<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, Some(self.1))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, statement) in self.statements.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{}", InFamily(statement, self.table.family))?;
        }
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}
