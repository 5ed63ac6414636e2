//! `-j NFLOG`: logs through netlink and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--nflog-prefix` | `Text` |
//! | `--nflog-group, --nflog-size, --nflog-range, --nflog-threshold` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{Backend, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("NFLOG", OPTIONS)
    .requires(&[Requirement::AtMostOneOf(&["nflog-range", "nflog-size"])])
    .complete(forget_range);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("nflog-prefix", Argument::Text(127)).not_empty().one_line(),
    OptionDecl::new("nflog-group", Argument::Number(65_535)).omitted(&Value::Number(0)),
    OptionDecl::new("nflog-size", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("nflog-range", Argument::Number(u32::MAX as u64)).omitted(&Value::Number(0)),
    OptionDecl::new("nflog-threshold", Argument::Number(65_535)).omitted(&Value::Number(0)),
];

/// `--nflog-range` never worked, and iptables-nft forgets it with a warning.
fn forget_range(completion: &mut Completion<'_, '_>) {
    if completion.context.backend == Some(Backend::Legacy) {
        // xt_NFLOG.h has room for 63 bytes, the expression of nftables for 127.
        completion.shorten("nflog-prefix", 63);
    } else {
        completion.options.retain(|option| option.option.name != "nflog-range");
    }
}
