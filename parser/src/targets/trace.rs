//! `-j TRACE`: logs every rule that the packet meets.

use crate::extension::{Completion, Extension, OptionDecl};
use crate::syntax::{Backend, TableName};

pub(super) static EXTENSION: Extension =
    Extension::of_target("TRACE", OPTIONS).complete(check_table);

const OPTIONS: &[OptionDecl] = &[];

/// iptables-legacy has it in the raw table only (kernel-facts G17).
fn check_table(completion: &mut Completion<'_, '_>) {
    let context = completion.context;
    if context.backend == Some(Backend::Legacy) && context.table != TableName::Raw {
        let message = "target `TRACE` can't be used outside of the raw table in iptables-legacy";
        completion.refuse("wrong-table", message, completion.span);
    }
}
