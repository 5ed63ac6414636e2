//! `-m conntrack`: the state and the addresses of the connection (kernel-facts F).
//!
//! | option | value |
//! |---|---|
//! | `[!] --ctstate` | `Bits` of [`state`] |
//! | `[!] --ctproto` | `Number` |
//! | `[!] --ctorigsrc, --ctorigdst, --ctreplsrc, --ctrepldst` | `Address` |
//! | `[!] --ctorigsrcport, --ctorigdstport, --ctreplsrcport, --ctrepldstport` | `Range` |
//! | `[!] --ctstatus` | `Bits` of [`status`] |
//! | `[!] --ctexpire` | `Range` of seconds |
//! | `--ctdir` | `Text`: `ORIGINAL` or `REPLY` |

use crate::arguments::{Argument, Context, Custom, Fault, number, port};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::Value;
use crate::words::{Word, clip};

pub(super) static EXTENSION: Extension =
    Extension::of_match("conntrack", OPTIONS).requires(&[Requirement::AnyOption]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ctstate", Argument::ShortBits(STATES)).negatable(),
    OptionDecl::new("ctproto", Argument::Custom(&PROTOCOL)).negatable(),
    OptionDecl::new("ctorigsrc", Argument::Address).negatable(),
    OptionDecl::new("ctorigdst", Argument::Address).negatable(),
    OptionDecl::new("ctreplsrc", Argument::Address).negatable(),
    OptionDecl::new("ctrepldst", Argument::Address).negatable(),
    OptionDecl::new("ctorigsrcport", Argument::Custom(&PORTS)).negatable(),
    OptionDecl::new("ctorigdstport", Argument::Custom(&PORTS)).negatable(),
    OptionDecl::new("ctreplsrcport", Argument::Custom(&PORTS)).negatable(),
    OptionDecl::new("ctrepldstport", Argument::Custom(&PORTS)).negatable(),
    OptionDecl::new("ctstatus", Argument::ShortBits(STATUSES)).negatable(),
    OptionDecl::new("ctexpire", Argument::Range(u32::MAX as u64)).negatable(),
    OptionDecl::new("ctdir", Argument::Keyword(&[&["ORIGINAL"], &["REPLY"]])),
];

static PORTS: Custom = Custom {
    words: 1,
    form: "PORT[:PORT]",
    samples: &["80", "1:1024", "0", "5:3", ":99", "http", "7:"],
    parse: |words, _| port::decimal_range(words.first().map_or("", |word| word.text.as_ref())),
    // A range that ends with 0 is taken for one port.
    print: |value, out| {
        if let Value::Range(low, high) = value {
            out.push(' ');
            number::print_range(*low, if *high == 0 { *low } else { *high }, ':', out);
        }
    },
};

/// The states; the bits are those of the kernel (xt_conntrack.h).
pub mod state {
    /// `INVALID`.
    pub const INVALID: u32 = 1;
    /// `ESTABLISHED`.
    pub const ESTABLISHED: u32 = 1 << 1;
    /// `RELATED`.
    pub const RELATED: u32 = 1 << 2;
    /// `NEW`.
    pub const NEW: u32 = 1 << 3;
    /// `SNAT`: the source is rewritten.
    pub const SNAT: u32 = 1 << 6;
    /// `DNAT`: the destination is rewritten.
    pub const DNAT: u32 = 1 << 7;
    /// `UNTRACKED`.
    pub const UNTRACKED: u32 = 1 << 8;
}

/// The states by name, in the order in which they are printed (kernel-facts F14).
const STATES: &[(&str, u32)] = &[
    ("INVALID", state::INVALID),
    ("NEW", state::NEW),
    ("RELATED", state::RELATED),
    ("ESTABLISHED", state::ESTABLISHED),
    ("UNTRACKED", state::UNTRACKED),
    ("SNAT", state::SNAT),
    ("DNAT", state::DNAT),
];

/// The bits of `--ctstatus` (nf_conntrack_common.h).
pub mod status {
    /// `NONE`, which never matches (kernel-facts F9).
    pub const NONE: u32 = 0;
    /// `EXPECTED`.
    pub const EXPECTED: u32 = 1;
    /// `SEEN_REPLY`.
    pub const SEEN_REPLY: u32 = 1 << 1;
    /// `ASSURED`.
    pub const ASSURED: u32 = 1 << 2;
    /// `CONFIRMED`.
    pub const CONFIRMED: u32 = 1 << 3;
}

const STATUSES: &[(&str, u32)] = &[
    ("EXPECTED", status::EXPECTED),
    ("SEEN_REPLY", status::SEEN_REPLY),
    ("ASSURED", status::ASSURED),
    ("CONFIRMED", status::CONFIRMED),
    ("NONE", status::NONE),
];

pub(super) static PROTOCOL: Custom = Custom {
    words: 1,
    form: "PROTOCOL",
    samples: &["tcp", "6", "udp", "99", "icmp"],
    parse: protocol,
    print: print_number,
};

fn protocol<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    number::parse(text)
        .filter(|&number| number < 256)
        .or_else(|| protocols::number(text).map(u64::from))
        .map(Value::Number)
        .ok_or_else(|| Fault::new("unknown-protocol", format!("unknown protocol `{}`", clip(text))))
}

fn print_number(value: &Value<'_>, out: &mut String) {
    if let Value::Number(number) = value {
        out.push(' ');
        number::print(*number, out);
    }
}
