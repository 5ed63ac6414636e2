//! `-j NFQUEUE`: hands the packet to a program (kernel-facts G16).
//!
//! | option | value |
//! |---|---|
//! | `--queue-num` | `Number`; there unless `--queue-balance` is |
//! | `--queue-balance` | `Range` |
//! | `--queue-bypass, --queue-cpu-fanout` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_target("NFQUEUE", OPTIONS)
    .requires(&[
        Requirement::AtMostOneOf(&["queue-num", "queue-balance"]),
        Requirement::Needs("queue-cpu-fanout", "queue-balance"),
    ])
    .complete(fill_queue);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("queue-num", Argument::Number(65_535)),
    OptionDecl::new("queue-balance", Argument::Range(65_535)),
    OptionDecl::flag("queue-bypass"),
    OptionDecl::flag("queue-cpu-fanout"),
];

fn fill_queue(completion: &mut Completion<'_, '_>) {
    match completion.value("queue-balance") {
        // The kernel counts the queues in 16 bits.
        Some(Value::Range(low, high)) if low >= high || (*low, *high) == (0, 65_535) => {
            let span = completion.span_of("queue-balance");
            completion.refuse("invalid-range", "expected a range `LOW:HIGH` of queues", span);
        }
        Some(_) => {}
        None => completion.fill("queue-num", Value::Number(0)),
    }
}
