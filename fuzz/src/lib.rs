//! The laws that the fuzz targets check. Each is total over its input: a text that breaks one is a
//! fault of nattrace, never of the text.

mod case;
mod host;
mod rules;
mod system;

pub use host::{
    bridge, conntrack, docker_containers, docker_networks, ip_addr, ip_route, ip_rule, ipset,
    nftables, policy, snapshot, ss, sysctl, zones,
};
pub use rules::{listing, rules};
pub use system::{Disturbed, endpoint, why};

use nattrace_parser::{Diagnostic, Span};

/// A place lies in its text, on boundaries of characters.
fn check_span(text: &str, span: Span, what: &str) {
    assert!(text.get(span.range()).is_some(), "{what}: {span:?} is no place in the text");
}

/// Messages are one line without a final period and point into the text.
fn check_diagnostics(text: &str, diagnostics: &[Diagnostic]) {
    for found in diagnostics {
        check_span(text, found.span, found.code);
        assert!(!found.message.is_empty(), "{found:?}");
        let lines = [Some(&found.message), found.label.as_ref(), found.help.as_ref()];
        for line in lines.into_iter().flatten() {
            assert!(!line.contains('\n'), "{found:?}");
        }
        // A message that quotes the text may grow with it, but only so far.
        assert!(found.message.len() < 2_000, "{} bytes: {found:?}", found.message.len());
    }
}
