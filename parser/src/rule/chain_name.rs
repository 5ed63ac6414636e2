//! Names that chains may have.

use crate::arguments::Fault;
use crate::diagnostic::Diagnostic;
use crate::extension::{ExtensionKind, find};
use crate::span::Span;
use crate::words::clip;

/// The longest name of a chain (kernel-facts G7).
const LONGEST_CHAIN: usize = 28;

/// What is wrong with the name of a chain (kernel-facts G7).
pub(crate) fn bad_chain_name(name: &str) -> Option<Fault> {
    if name.is_empty() || name.starts_with(['-', '!']) {
        let message = format!("expected the name of a chain, found `{}`", clip(name));
        return Some(Fault::new("invalid-chain-name", message));
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain && name.contains(|char: char| char.is_whitespace() || char.is_control()) {
        let message = format!("chain name `{}` holds a blank or control character", clip(name));
        return Some(Fault::new("invalid-chain-name", message));
    }
    if name.len() > LONGEST_CHAIN {
        let message = format!(
            "chain name `{}` is too long: at most {LONGEST_CHAIN} characters, these are {}",
            clip(name),
            name.len()
        );
        return Some(Fault::new("invalid-chain-name", message));
    }
    None
}

/// Whether a chain may have this name.
pub(crate) fn is_chain_name(name: &str) -> bool {
    bad_chain_name(name).is_none()
}

/// Reports what is wrong with the name of a chain that is declared.
pub(crate) fn check_chain_name(name: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(fault) = bad_chain_name(name) {
        diagnostics.push(Diagnostic::error(fault.code, fault.message, span));
    } else if matches!(name, "ACCEPT" | "DROP" | "RETURN")
        || find(ExtensionKind::Target, name).is_some()
    {
        let message = format!("chain name `{name}` is the name of a target");
        diagnostics.push(Diagnostic::error("invalid-chain-name", message, span));
    }
}
