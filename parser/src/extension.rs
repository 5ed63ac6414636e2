//! How match and target extensions are declared.
//!
//! An extension is declared once, in a file of its own. From the declaration come its parser, its
//! printer, the check where it is allowed, and its line in the table of what is supported.

use crate::syntax::TableName;

/// Whether an extension is used with `-m` or with `-j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionKind {
    /// Used with `-m`.
    Match,
    /// Used with `-j`.
    Target,
}

/// A match or target extension (iptables-extensions(8)).
#[derive(Debug)]
pub struct Extension {
    /// The name behind `-m` or `-j`, as iptables-save prints it.
    pub name: &'static str,
    /// Match or target.
    pub kind: ExtensionKind,
    /// Its options in the order in which iptables-save prints them.
    pub options: &'static [OptionDecl],
    /// The tables it is allowed in; empty for any.
    pub tables: &'static [TableName],
}

/// One option of an extension.
#[derive(Debug)]
pub struct OptionDecl {
    /// The canonical long name without its dashes, as iptables-save prints it.
    pub name: &'static str,
    /// Whether `!` may stand before it.
    pub negatable: bool,
}
