//! Matches that ask the host: its addresses, routes, bridges, sockets and sets.

use nattrace_parser::matches::addrtype as written;
use nattrace_parser::syntax::{ExtensionUse, OptionUse, Value};

use crate::condition::{
    Condition, InterfacePattern, OwnerCondition, PhysdevCondition, Sense, SetCondition, TypeLimit,
    address_type as meant,
};
use crate::lower::conditions::Conditions;
use crate::lower::value::{named_bits, range, sense, text};

/// The types of addresses as they are written, and as the model has them.
const TYPES: [(u32, u16); 12] = [
    (written::UNSPEC, meant::UNSPEC),
    (written::UNICAST, meant::UNICAST),
    (written::LOCAL, meant::LOCAL),
    (written::BROADCAST, meant::BROADCAST),
    (written::ANYCAST, meant::ANYCAST),
    (written::MULTICAST, meant::MULTICAST),
    (written::BLACKHOLE, meant::BLACKHOLE),
    (written::UNREACHABLE, meant::UNREACHABLE),
    (written::PROHIBIT, meant::PROHIBIT),
    (written::THROW, meant::THROW),
    (written::NAT, meant::NAT),
    (written::XRESOLVE, meant::XRESOLVE),
];

/// `addrtype`. The limit counts for the source and for the destination type (kernel-facts C3).
pub(super) fn address_type(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let limit = if given.option("limit-iface-in").is_some() {
        TypeLimit::InInterface
    } else if given.option("limit-iface-out").is_some() {
        TypeLimit::OutInterface
    } else {
        TypeLimit::None
    };
    for option in &given.options {
        let condition = match option.option.name {
            "limit-iface-in" | "limit-iface-out" => continue,
            "src-type" => named_bits(&option.value, &TYPES)
                .map(|types| Condition::SourceType(sense(option), types, limit)),
            "dst-type" => named_bits(&option.value, &TYPES)
                .map(|types| Condition::DestinationType(sense(option), types, limit)),
            _ => None,
        };
        out.push_or_unsupported(condition);
    }
}

/// `owner`. With `--suppl-groups` the groups of the process count, which nobody knows.
pub(super) fn owner(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let all_groups = given.option("suppl-groups").is_some();
    for option in &given.options {
        let asked = match option.option.name {
            "uid-owner" => range(&option.value).map(|(low, high)| OwnerCondition::User(low, high)),
            "gid-owner" if all_groups => None,
            "gid-owner" => range(&option.value).map(|(low, high)| OwnerCondition::Group(low, high)),
            "socket-exists" => Some(OwnerCondition::SocketExists),
            "suppl-groups" => continue,
            _ => None,
        };
        out.push_or_unsupported(
            asked.map(|asked| Condition::Owner(sense(option), Box::new(asked))),
        );
    }
}

/// `rpfilter`.
pub(super) fn reverse_path(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let has = |name| given.option(name).is_some();
    let known = ["loose", "validmark", "accept-local", "invert"];
    if given.options.iter().any(|option| !known.contains(&option.option.name)) {
        out.unsupported();
    }
    out.push(Condition::ReversePath {
        sense: Sense::of_negation(has("invert")),
        loose: has("loose"),
        valid_mark: has("validmark"),
        accept_local: has("accept-local"),
    });
}

/// `set`. Options that only keep the counters of an entry up to date ask nothing.
pub(super) fn set(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let asks_counters = given.options.iter().any(|option| {
        matches!(
            option.option.name,
            "packets-eq" | "packets-lt" | "packets-gt" | "bytes-eq" | "bytes-lt" | "bytes-gt"
        )
    });
    let return_nomatch = given.option("return-nomatch").is_some();
    let mut found = false;
    for option in &given.options {
        match (option.option.name, &option.value) {
            ("match-set", Value::Set { name, directions }) => {
                found = true;
                let set = SetCondition {
                    name: name.as_ref().into(),
                    directions: directions.as_slice().into(),
                    return_nomatch,
                    asks_counters,
                };
                out.push(Condition::Set(sense(option), Box::new(set)));
            }
            (
                "return-nomatch" | "update-counters" | "update-subcounters" | "packets-eq"
                | "packets-lt" | "packets-gt" | "bytes-eq" | "bytes-lt" | "bytes-gt",
                _,
            ) => {}
            _ => out.unsupported(),
        }
    }
    if !found {
        out.unsupported();
    }
}

/// `physdev` (kernel-facts E4).
pub(super) fn physdev(option: &OptionUse<'_>) -> Option<Condition> {
    let pattern = || text(&option.value).map(InterfacePattern::parse);
    let asked = match option.option.name {
        "physdev-in" => PhysdevCondition::In(pattern()?),
        "physdev-out" => PhysdevCondition::Out(pattern()?),
        "physdev-is-in" => PhysdevCondition::IsIn,
        "physdev-is-out" => PhysdevCondition::IsOut,
        "physdev-is-bridged" => PhysdevCondition::IsBridged,
        _ => return None,
    };
    Some(Condition::Physdev(sense(option), Box::new(asked)))
}
