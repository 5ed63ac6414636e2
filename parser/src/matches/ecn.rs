//! `-m ecn`: explicit congestion notification.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ecn-tcp-ece, --ecn-tcp-cwr` | `Flag` |
//! | `[!] --ecn-ip-ect` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::protocols;

pub(super) static EXTENSION: Extension =
    Extension::of_match("ecn", OPTIONS).requires(&[Requirement::AnyOption]).complete(check);

/// The kernel looks for flags of TCP in TCP only.
fn check(completion: &mut Completion<'_, '_>) {
    for name in ["ecn-tcp-ece", "ecn-tcp-cwr"] {
        if completion.has(name) && completion.positive_protocol() != Some(protocols::TCP) {
            let message = format!("`--{name}` needs `-p tcp` in the rule");
            let span = completion.span_of(name);
            completion.refuse("missing-protocol", message, span);
            return;
        }
    }
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("ecn-tcp-ece").negatable(),
    OptionDecl::flag("ecn-tcp-cwr").negatable(),
    OptionDecl::new("ecn-ip-ect", Argument::Number(3)).negatable(),
];
