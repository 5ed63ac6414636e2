//! Matches that look at the packet's connection.

use nattrace_parser::matches::conntrack::{state as written_state, status as written_status};
use nattrace_parser::syntax::{ExtensionUse, OptionUse, Value};

use crate::address::Prefix;
use crate::condition::{
    Condition, ConnectionCondition, Direction, Sense, TupleField, connection_state,
    connection_status,
};
use crate::lower::conditions::Conditions;
use crate::lower::value::{masked, named_bits, number, range, sense, text};

/// The states as they are written, and as the model has them.
const STATES: [(u32, u16); 7] = [
    (written_state::INVALID, connection_state::INVALID),
    (written_state::NEW, connection_state::NEW),
    (written_state::RELATED, connection_state::RELATED),
    (written_state::ESTABLISHED, connection_state::ESTABLISHED),
    (written_state::UNTRACKED, connection_state::UNTRACKED),
    (written_state::SNAT, connection_state::SNAT),
    (written_state::DNAT, connection_state::DNAT),
];

/// The status bits as they are written, and as the model has them. `NONE` is no bit at all.
const STATUSES: [(u32, u16); 4] = [
    (written_status::EXPECTED, connection_status::EXPECTED),
    (written_status::SEEN_REPLY, connection_status::SEEN_REPLY),
    (written_status::ASSURED, connection_status::ASSURED),
    (written_status::CONFIRMED, connection_status::CONFIRMED),
];

/// `connmark`.
pub(super) fn mark(option: &OptionUse<'_>) -> Option<Condition> {
    if option.option.name != "mark" {
        return None;
    }
    let (value, mask) = masked(&option.value, u32::MAX)?;
    Some(Condition::ConnectionMark { sense: sense(option), value, mask })
}

/// `state`, an older face of `--ctstate`.
pub(super) fn state(option: &OptionUse<'_>) -> Option<Condition> {
    if option.option.name != "state" {
        return None;
    }
    let asked = ConnectionCondition::State(named_bits(&option.value, &STATES)?);
    Some(Condition::Connection(sense(option), Box::new(asked)))
}

/// `conntrack`: all options must hold, each with its own `!`.
///
/// A packet without a connection satisfies none of them but `--ctstate`, and where it satisfies
/// that, the others are not asked at all (measured; `conntrack_mt`).
pub(super) fn conntrack(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let skips = given.option("ctstate").is_some_and(|option| {
        let bits = named_bits(&option.value, &STATES).unwrap_or(0);
        [connection_state::INVALID, connection_state::UNTRACKED]
            .iter()
            .any(|own| sense(option).apply(bits & own != 0))
    });
    for option in &given.options {
        let Some(asked) = asked(option) else {
            out.unsupported();
            continue;
        };
        let sense = sense(option);
        let condition = if skips && !matches!(asked, ConnectionCondition::State(_)) {
            let inner = ConnectionCondition::OrUntracked(sense, Box::new(asked));
            Condition::Connection(Sense::Is, Box::new(inner))
        } else {
            Condition::Connection(sense, Box::new(asked))
        };
        out.push(condition);
    }
}

fn asked(option: &OptionUse<'_>) -> Option<ConnectionCondition> {
    use TupleField::{OriginalDestination, OriginalSource, ReplyDestination, ReplySource};
    let value = &option.value;
    match option.option.name {
        "ctstate" => named_bits(value, &STATES).map(ConnectionCondition::State),
        // `NONE` is no bit, so it never holds (kernel-facts F9).
        "ctstatus" => named_bits(value, &STATUSES).map(ConnectionCondition::Status),
        "ctdir" => direction(value).map(ConnectionCondition::Direction),
        "ctproto" => number(value).map(ConnectionCondition::Protocol),
        "ctexpire" => {
            let (low, high) = range(value)?;
            Some(ConnectionCondition::Expire(low, high))
        }
        "ctorigsrc" => address(OriginalSource, value),
        "ctorigdst" => address(OriginalDestination, value),
        "ctreplsrc" => address(ReplySource, value),
        "ctrepldst" => address(ReplyDestination, value),
        "ctorigsrcport" => port(OriginalSource, value),
        "ctorigdstport" => port(OriginalDestination, value),
        "ctreplsrcport" => port(ReplySource, value),
        "ctrepldstport" => port(ReplyDestination, value),
        _ => None,
    }
}

fn direction(value: &Value<'_>) -> Option<Direction> {
    let name = text(value)?;
    if name.eq_ignore_ascii_case("ORIGINAL") {
        Some(Direction::Original)
    } else if name.eq_ignore_ascii_case("REPLY") {
        Some(Direction::Reply)
    } else {
        None
    }
}

fn address(field: TupleField, value: &Value<'_>) -> Option<ConnectionCondition> {
    let &Value::Address(address) = value else { return None };
    // The kernel compares under the mask, though iptables-save prints host bits (kernel-facts H3).
    Some(ConnectionCondition::Address(field, Prefix::from(address)))
}

fn port(field: TupleField, value: &Value<'_>) -> Option<ConnectionCondition> {
    let (low, high) = range(value)?;
    Some(ConnectionCondition::Port(field, low, high))
}
