//! `-m ipvs`: connections of the kernel's load balancer.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ipvs` | `Flag`; only where nothing else is asked |
//! | `[!] --vproto` | `Number` |
//! | `[!] --vaddr` | `Address` |
//! | `[!] --vport, --vportctl` | `Number` |
//! | `--vdir` | `Text`: `ORIGINAL` or `REPLY` |
//! | `[!] --vmethod` | `Text`: `GATE`, `IPIP` or `MASQ` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("ipvs", OPTIONS).requires(&[Requirement::AnyOption]).complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("ipvs").negatable(),
    OptionDecl::new("vproto", Argument::Custom(&super::conntrack::PROTOCOL)).negatable(),
    OptionDecl::new("vaddr", Argument::Address).negatable(),
    OptionDecl::new("vport", Argument::DecimalPort).negatable(),
    OptionDecl::new("vdir", Argument::Keyword(&[&["ORIGINAL"], &["REPLY"]])),
    OptionDecl::new("vmethod", Argument::Keyword(&[&["GATE"], &["IPIP"], &["MASQ"]])).negatable(),
    OptionDecl::new("vportctl", Argument::DecimalPort).negatable(),
];

/// Every other option implies `--ipvs`, which is then not printed.
fn complete(completion: &mut Completion<'_, '_>) {
    if completion.options.len() < 2 || !completion.has("ipvs") {
        return;
    }
    let negated = completion.options.iter().any(|one| one.option.name == "ipvs" && one.negated);
    if negated {
        let span = completion.span_of("ipvs");
        completion.refuse("wrong-option", "`! --ipvs` can't stand with other options", span);
    }
    completion.remove("ipvs");
}
