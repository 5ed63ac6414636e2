//! `-j ULOG`: logs the way of old kernels, and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--ulog-prefix` | `Text` |
//! | `--ulog-nlgroup, --ulog-cprange, --ulog-qthreshold` | `Number` |

use std::borrow::Cow;

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("ULOG", OPTIONS).family(Family::Ipv4);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ulog-prefix", Argument::Text(31))
        .one_line()
        .omitted(&Value::Text(Cow::Borrowed(""))),
    OptionDecl::new("ulog-nlgroup", Argument::Number(32)).omitted(&Value::Number(1)),
    OptionDecl::new("ulog-cprange", Argument::Number(u32::MAX as u64)).omitted(&Value::Number(0)),
    OptionDecl::new("ulog-qthreshold", Argument::Number(50)).omitted(&Value::Number(1)),
];
