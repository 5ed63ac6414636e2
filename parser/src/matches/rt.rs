//! `-m rt`: the routing header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --rt-type` | `Number` |
//! | `[!] --rt-segsleft` | `Range` |
//! | `[!] --rt-len` | `Number` |
//! | `--rt-0-res, --rt-0-not-strict` | `Flag` |
//! | `--rt-0-addrs` | `Text` |

use std::net::{IpAddr, Ipv6Addr};

use crate::arguments::{Argument, Context, Custom, Fault, address};
use crate::extension::{Completion, Extension, OptionDecl};
use crate::syntax::{Family, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension =
    Extension::of_match("rt", OPTIONS).family(Family::Ipv6).complete(check);

/// What begins with `--rt-0` needs `--rt-type 0` before it.
fn check(completion: &mut Completion<'_, '_>) {
    let zero = completion.options.iter().find(|option| {
        option.option.name == "rt-type" && !option.negated && option.value == Value::Number(0)
    });
    let before = |completion: &Completion<'_, '_>, name: &str, start: Option<u32>| {
        start.is_some_and(|start| start < completion.span_of(name).start)
    };
    let zero = zero.map(|option| option.span.start);
    for name in ["rt-0-res", "rt-0-addrs"] {
        if completion.has(name) && !before(completion, name, zero) {
            completion.refuse_option(name, "`--rt-type 0` before it");
        }
    }
    let strict = "rt-0-not-strict";
    let addresses = completion.has("rt-0-addrs").then(|| completion.span_of("rt-0-addrs").start);
    if completion.has(strict) && !before(completion, strict, addresses) {
        completion.refuse_option(strict, "`--rt-0-addrs` before it");
    }
}

static ADDRESSES: Custom = Custom {
    words: 1,
    form: "ADDRESS,...",
    samples: &["::1", "2001:db8::1,2001:DB8::2"],
    parse: addresses,
    print,
};

/// The most addresses (ip6t_rt.h, `IP6T_RT_HOPS`).
const MOST: usize = 16;

fn addresses<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let mut out = String::new();
    if text.split(',').count() > MOST {
        return Err(Fault::new("too-long", format!("more than {MOST} addresses")));
    }
    for (index, item) in text.split(',').enumerate() {
        let address: Ipv6Addr = item
            .parse()
            .map_err(|_| Fault::expected("invalid-address", "an IPv6 address", item))?;
        out.push_str(if index > 0 { "," } else { "" });
        address::print_ip(IpAddr::V6(address), &mut out);
    }
    Ok(Value::Text(out.into()))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("rt-type", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("rt-segsleft", Argument::Range(u32::MAX as u64))
        .negatable()
        .hidden(&Value::Range(0, u32::MAX as u64)),
    OptionDecl::new("rt-len", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::flag("rt-0-res"),
    OptionDecl::new("rt-0-addrs", Argument::Custom(&ADDRESSES)),
    OptionDecl::flag("rt-0-not-strict"),
];
