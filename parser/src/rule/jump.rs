//! Where a rule sends what matches it: `-j` and `-g`.

use super::Reader;
use super::chain_name::bad_chain_name;
use crate::diagnostic::Diagnostic;
use crate::extension::{ExtensionKind, find};
use crate::syntax::{Target, Unsupported};
use crate::words::{Word, clip};

/// Targets of xtables-addons, which may well exist on a host.
const FOREIGN_TARGETS: &[&str] = &[
    "ACCOUNT",
    "CHAOS",
    "DELUDE",
    "DHCPMAC",
    "DNETMAP",
    "ECHO",
    "IPMARK",
    "LOGMARK",
    "PROTO",
    "QUEUE",
    "SYSRQ",
    "TARPIT",
    "FULLCONENAT",
    "WOL",
    "IMQ",
    "ROUTE",
    "NETFLOW",
];

impl<'a> Reader<'_, 'a> {
    /// `-g`, `--goto=CHAIN` or `-gCHAIN`.
    pub(super) fn goto(&mut self, start: usize, word: &Word<'a>, name: &Word<'a>) {
        self.refuse_negation(&word.text);
        if !self.once(64, word) {
            self.keep(start);
            return;
        }
        self.target_span = word.span.cover(name.span);
        self.target = Target::Goto(name.text.clone(), name.span);
        self.check_jump(start);
    }

    pub(super) fn jump(&mut self, start: usize, word: &Word<'a>) {
        self.refuse_negation(&word.text);
        let first = self.once(64, word);
        let Some([name]) = self.arguments(start, 1, false) else { return };
        if !first {
            self.keep(start);
            return;
        }
        self.target_span = word.span.cover(name.span);
        self.target = match name.text.as_ref() {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            text => match find(ExtensionKind::Target, text) {
                Some(extension) => {
                    self.target_use = Some(self.scratch.uses.len());
                    self.load(extension, name.span);
                    Target::None
                }
                None if FOREIGN_TARGETS.contains(&text) => self.foreign_target(start, name),
                None => Target::Jump(name.text.clone(), name.span),
            },
        };
        self.check_jump(start);
    }

    /// Refuses a jump to what can't be the name of a chain.
    fn check_jump(&mut self, start: usize) {
        if let Target::Jump(text, span) | Target::Goto(text, span) = &self.target
            && let Some(fault) = bad_chain_name(text)
        {
            let span = *span;
            self.fault(start, span, fault);
        }
    }

    fn foreign_target(&mut self, start: usize, name: &Word<'a>) -> Target<'a> {
        let message = format!("target `{}` is not known", clip(&name.text));
        self.say(
            Diagnostic::warning("unknown-target", message, name.span)
                .help("the rule is kept, but what it does can't be said"),
        );
        self.foreign = true;
        self.foreign_piece = None;
        self.kept_before_target = self.unsupported.len();
        let span = self.words.get(start).map_or(name.span, |word| word.span.cover(name.span));
        Target::Unsupported(Unsupported { raw: format!("-j {}", name.text).into(), span, of: None })
    }
}
