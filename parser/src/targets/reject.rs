//! `-j REJECT`: drops and answers (kernel-facts G15, J10).
//!
//! | option | value |
//! |---|---|
//! | `--reject-with` | `Text`; the long name, always there |

use crate::arguments::{Argument, Context, Custom, Fault, names};
use crate::extension::{Completion, Extension, OptionDecl, fixed};
use crate::protocols::TCP;
use crate::syntax::{Family, TableName, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension =
    Extension::of_target("REJECT", OPTIONS).tables(&[TableName::Filter]).complete(check_reset);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("reject-with", Argument::Custom(&WITH)).filled(|family| match family {
        Family::Ipv4 => fixed("icmp-port-unreachable"),
        Family::Ipv6 => fixed("icmp6-port-unreachable"),
    })];

/// The answers of iptables; the first name is printed (kernel-facts G15).
const IPV4: &[&[&str]] = &[
    &["icmp-net-unreachable", "net-unreach"],
    &["icmp-host-unreachable", "host-unreach"],
    &["icmp-proto-unreachable", "proto-unreach"],
    &["icmp-port-unreachable", "port-unreach"],
    &["icmp-net-prohibited", "net-prohib"],
    &["icmp-host-prohibited", "host-prohib"],
    &["tcp-reset", "tcp-rst"],
    &["icmp-admin-prohibited", "admin-prohib"],
];

/// The answers of ip6tables (kernel-facts J10).
const IPV6: &[&[&str]] = &[
    &["icmp6-no-route", "no-route"],
    &["icmp6-adm-prohibited", "adm-prohibited"],
    &["icmp6-addr-unreachable", "addr-unreach"],
    &["icmp6-port-unreachable", "port-unreach"],
    &["tcp-reset"],
    &["icmp6-policy-fail", "policy-fail"],
    &["icmp6-reject-route", "reject-route"],
];

static WITH: Custom = Custom {
    words: 1,
    form: "ANSWER",
    samples: &[
        "icmp-net-unreachable",
        "host-unreach",
        "tcp-reset",
        "icmp-admin-prohibited",
        "icmp6-no-route",
        "adm-prohibited",
        "policy-fail",
        "icmp-proto",
    ],
    parse,
    print,
};

/// A name or its beginning.
fn parse<'a>(words: &[Word<'a>], context: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let tables: &[&[&[&str]]] = match context.family {
        Some(Family::Ipv4) => &[IPV4],
        Some(Family::Ipv6) => &[IPV6],
        None => &[IPV4, IPV6],
    };
    let rows = || tables.iter().copied().flatten();
    let starts =
        |name: &str| name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let exact = rows().find(|row| row.contains(&text));
    exact
        .or_else(|| rows().find(|row| row.iter().any(|name| starts(name))))
        .and_then(|row| row.first())
        .map(|name| fixed(name))
        .ok_or_else(|| names::unknown(text, rows().filter_map(|row| row.first()).copied()))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}

fn check_reset(completion: &mut Completion<'_, '_>) {
    let reset = completion.value("reject-with") == Some(&fixed("tcp-reset"));
    if reset && completion.positive_protocol() != Some(TCP) {
        let span = completion.span_of("reject-with");
        completion.refuse("missing-protocol", "`tcp-reset` needs `-p tcp` in the rule", span);
    }
}
