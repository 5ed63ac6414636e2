//! `-j SET`: changes an ipset, or maps with one.
//!
//! | option | value |
//! |---|---|
//! | `--add-set, --del-set, --map-set` | `Set` |
//! | `--exist, --map-mark, --map-prio, --map-queue` | `Flag` |
//! | `--timeout` | `Number` of seconds |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("SET", OPTIONS)
    .requires(&[
        Requirement::Needs("exist", "add-set"),
        Requirement::Needs("timeout", "add-set"),
        Requirement::Needs("map-mark", "map-set"),
        Requirement::Needs("map-prio", "map-set"),
        Requirement::Needs("map-queue", "map-set"),
        Requirement::OneOf(&["add-set", "del-set", "map-set"]),
    ])
    .complete(check_map);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("add-set", Argument::Set).negatable(),
    OptionDecl::flag("exist").negatable().again(),
    OptionDecl::new("timeout", Argument::Number(u32::MAX as u64 - 1)).negatable().again(),
    OptionDecl::new("del-set", Argument::Set).negatable(),
    OptionDecl::new("map-set", Argument::Set).negatable(),
    OptionDecl::flag("map-mark").negatable().again(),
    OptionDecl::flag("map-prio").negatable().again(),
    OptionDecl::flag("map-queue").negatable().again(),
];

fn check_map(completion: &mut Completion<'_, '_>) {
    // `!` is taken, and forgotten.
    for option in completion.options.iter_mut() {
        option.negated = false;
    }
    let what = ["map-mark", "map-prio", "map-queue"].iter().any(|name| completion.has(name));
    if completion.has("map-set") && !what {
        let message = "`--map-set` needs `--map-mark`, `--map-prio` or `--map-queue`";
        completion.refuse("missing-option", message, completion.span);
    }
    if completion.has("map-set") && completion.context.table != TableName::Mangle {
        let span = completion.span_of("map-set");
        completion.refuse("wrong-table", "`--map-set` can be used in the mangle table only", span);
    }
    for name in ["map-prio", "map-queue"] {
        completion.refuse_in(name, &["PREROUTING", "INPUT"]);
    }
}
