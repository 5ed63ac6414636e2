//! `-j CLUSTERIP`: shares an address among nodes.
//!
//! | option | value |
//! |---|---|
//! | `--new` | `Flag` |
//! | `--hashmode` | `Text` |
//! | `--clustermac` | `Mac` |
//! | `--total-nodes, --local-node, --hash-init` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension =
    Extension::of_target("CLUSTERIP", OPTIONS).family(Family::Ipv4).chains(&["INPUT"]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("new"),
    OptionDecl::new(
        "hashmode",
        Argument::Keyword(&[
            &["sourceip"],
            &["sourceip-sourceport"],
            &["sourceip-sourceport-destport"],
        ]),
    ),
    OptionDecl::new("clustermac", Argument::Mac),
    OptionDecl::new("total-nodes", Argument::Number(65_535)),
    OptionDecl::new("local-node", Argument::Number(65_535)),
    OptionDecl::new("hash-init", Argument::Number(u32::MAX as u64)),
];
