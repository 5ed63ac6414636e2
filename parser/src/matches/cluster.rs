//! `-m cluster`: the node of a cluster that the flow belongs to.
//!
//! | option | value |
//! |---|---|
//! | `[!] --cluster-local-nodemask, --cluster-local-node` | `Number`, a mask |
//! | `--cluster-total-nodes, --cluster-hash-seed` | `Number` |

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("cluster", OPTIONS).requires(&[
    Requirement::OneOf(&["cluster-local-nodemask"]),
    Requirement::OneOf(&["cluster-total-nodes"]),
    Requirement::OneOf(&["cluster-hash-seed"]),
]);

const ALIASES: &[Alias] = &[Alias::reading("cluster-local-node", Argument::Custom(&NODE))];

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("cluster-local-nodemask", Argument::WideHex).negatable().aliases(ALIASES),
    OptionDecl::new("cluster-total-nodes", Argument::Number(32)),
    OptionDecl::new("cluster-hash-seed", Argument::WideHex),
];

static NODE: Custom = Custom { words: 1, parse: node, print: |_, _| {} };

/// The number of a node, counted from 1, as a mask.
fn node<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    match number::number(text, 32)? {
        0 => Err(Fault::expected("invalid-number", "a number from 1 to 32", text)),
        node => Ok(Value::Number(1 << (node - 1))),
    }
}
