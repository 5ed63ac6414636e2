//! `-m physdev`: the ports of a bridge (kernel-facts E4).
//!
//! | option | value |
//! |---|---|
//! | `[!] --physdev-is-in, --physdev-is-out, --physdev-is-bridged` | `Flag` |
//! | `[!] --physdev-in, --physdev-out` | `Text`; a final `+` stands for any suffix |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("physdev", OPTIONS).requires(&[Requirement::AnyOption]).complete(check);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("physdev-is-in").negatable(),
    OptionDecl::new("physdev-in", Argument::Bare(15)).negatable(),
    OptionDecl::flag("physdev-is-out").negatable(),
    OptionDecl::new("physdev-out", Argument::Bare(15)).negatable(),
    OptionDecl::flag("physdev-is-bridged").negatable(),
];

/// The kernel knows no outgoing port of what is not bridged (kernel-facts E4).
fn check(completion: &mut Completion<'_, '_>) {
    let out = completion.has("physdev-out") || completion.has("physdev-is-out");
    let bridged = completion
        .options
        .iter()
        .any(|option| option.option.name == "physdev-is-bridged" && !option.negated);
    if completion.chain == "OUTPUT" && out && !bridged {
        let message = "`--physdev-out` can't be used in OUTPUT without `--physdev-is-bridged`";
        completion.refuse("wrong-chain", message, completion.span);
    }
}
