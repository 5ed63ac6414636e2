//! `-j NFLOG`: logs through netlink and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--nflog-prefix` | `Text` |
//! | `--nflog-group, --nflog-size, --nflog-range, --nflog-threshold` | `Number` |

use std::borrow::Cow;

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_target("NFLOG", OPTIONS)
    .requires(&[Requirement::AtMostOneOf(&["nflog-size", "nflog-range"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("nflog-prefix", Argument::Text(127)).omitted(&Value::Text(Cow::Borrowed(""))),
    OptionDecl::new("nflog-group", Argument::Number(65_535)).omitted(&Value::Number(0)),
    OptionDecl::new("nflog-size", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("nflog-range", Argument::Number(u32::MAX as u64)).omitted(&Value::Number(0)),
    OptionDecl::new("nflog-threshold", Argument::Number(65_535)).omitted(&Value::Number(0)),
];
