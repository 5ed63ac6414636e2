//! `-j NOTRACK`: leaves the packet untracked (kernel-facts F7).

use crate::extension::{Extension, OptionDecl};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension =
    Extension::of_target("NOTRACK", OPTIONS).tables(&[TableName::Raw]);

const OPTIONS: &[OptionDecl] = &[];
