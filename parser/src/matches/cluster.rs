//! `-m cluster`: the node of a cluster that the flow belongs to.
//!
//! | option | value |
//! |---|---|
//! | `[!] --cluster-local-nodemask, --cluster-local-node` | `Number`, a mask |
//! | `--cluster-total-nodes, --cluster-hash-seed` | `Number` |

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Alias, Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("cluster", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["cluster-local-nodemask"]),
        Requirement::OneOf(&["cluster-total-nodes"]),
        Requirement::OneOf(&["cluster-hash-seed"]),
    ])
    .complete(check);

const ALIASES: &[Alias] = &[Alias::reading("cluster-local-node", Argument::Custom(&NODE))];

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("cluster-local-nodemask", Argument::Custom(&MASK)).negatable().aliases(ALIASES),
    OptionDecl::new("cluster-total-nodes", Argument::Between(1, 32)),
    OptionDecl::new("cluster-hash-seed", Argument::WideHex(u32::MAX as u64, 8)),
];

static MASK: Custom = Custom {
    words: 1,
    form: "1-32",
    samples: &["1", "3", "0x1f"],
    parse: |words, _| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        number::between(text, 1, 32).map(Value::Number)
    },
    print: |value, out| {
        if let Value::Number(mask) = value {
            out.push(' ');
            number::print_wide_hex(*mask, 8, out);
        }
    },
};

/// The mask must lie within the nodes that there are.
fn check(completion: &mut Completion<'_, '_>) {
    if let (Some(Value::Number(mask)), Some(Value::Number(total))) =
        (completion.value("cluster-local-nodemask"), completion.value("cluster-total-nodes"))
        && *total < 64
        && mask >> total > 0
    {
        let message = format!("there are only {total} nodes");
        let span = completion.span_of("cluster-local-nodemask");
        completion.refuse("invalid-number", message, span);
    }
}

static NODE: Custom =
    Custom { words: 1, form: "1-32", samples: &["1", "2", "32"], parse: node, print: |_, _| {} };

/// The number of a node, counted from 1, as a mask.
fn node<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    match number::number(text, 32)? {
        0 => Err(Fault::expected("invalid-number", "a number from 1 to 32", text)),
        node => Ok(Value::Number(1 << (node - 1))),
    }
}
