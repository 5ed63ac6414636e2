//! `-j MARK`: changes the mark of the packet (kernel-facts G14).
//!
//! | option | value |
//! |---|---|
//! | `--set-xmark, --set-mark, --and-mark, --or-mark, --xor-mark` | `Masked`: clear the mask, then xor the value |

use crate::arguments::Argument;
use crate::arguments::mark::Operation;
use crate::extension::{Alias, Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_target("MARK", OPTIONS).requires(&[Requirement::OneOf(&["set-xmark"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("set-xmark", Argument::MaskedMark).aliases(&[
    Alias::reading("set-mark", Argument::MarkOperand(Operation::Set)),
    Alias::reading("and-mark", Argument::MarkOperand(Operation::And)),
    Alias::reading("or-mark", Argument::MarkOperand(Operation::Or)),
    Alias::reading("xor-mark", Argument::MarkOperand(Operation::Xor)),
])];
