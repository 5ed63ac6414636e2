//! The end of a rule: its uses of extensions are completed and checked against what the kernel
//! allows (kernel-facts B18, G4, G17).

use super::{Read, Reader};
use crate::diagnostic::{Diagnostic, Severity};
use crate::extension::{Completion, Extension, ExtensionKind, Repetition, Requirement};
use crate::span::Span;
use crate::syntax::{
    Backend, ExtensionUse, Family, Negatable, OptionUse, Rule, TableName, Target, Unsupported,
};

/// The built-in chains of all tables.
const BUILTIN: &[&str] = &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

impl<'a> Reader<'_, 'a> {
    /// The rule, without its chain.
    pub(super) fn finish(mut self) -> Read<'a> {
        let matches = self.uses();
        if matches!(self.target, Target::Drop) && self.context.table == TableName::Nat {
            // kernel-facts G4.
            self.error(
                "drop-in-nat",
                "DROP can't be used in the nat table, which is not for filtering".to_owned(),
                self.target_span,
            );
        }
        if let Some(index) = self.foreign_piece
            && index >= self.kept_before_target
            && let Target::Unsupported(target) = &mut self.target
        {
            let piece = self.unsupported.remove(index);
            target.raw = std::borrow::Cow::Owned(format!("{} {}", target.raw, piece.raw));
            target.span = target.span.cover(piece.span);
        }
        if self.protocol.is_some() {
            self.check_early_ports();
        }
        self.limit_expansion();
        let rule = Rule {
            chain: std::borrow::Cow::Borrowed(""),
            placement: self.context.placement,
            span: self.context.span,
            line: self.context.line,
            counters: self.counters,
            source: self.source.first,
            destination: self.destination.first,
            in_interface: self.in_interface,
            out_interface: self.out_interface,
            interfaces: self.context.interfaces,
            protocol: self.protocol.or(self.cut_protocol),
            fragment: self.fragment,
            matches,
            target: self.target,
            unsupported: self.unsupported,
            verbatim: self.context.verbatim,
            stands_in: None,
        };
        Read { rule, sources: self.source.more, destinations: self.destination.more }
    }

    /// Refuses ports to translate to that stand before the protocol.
    pub(super) fn check_early_ports(&mut self) {
        if let Some(span) = self.early_ports {
            let message = "ports to translate to need the protocol before them".to_owned();
            self.say(
                Diagnostic::error("missing-protocol", message, span)
                    .help("write `-p` before this option"),
            );
        }
    }

    /// Refuses lists that make more rules than any kernel should hold.
    fn limit_expansion(&mut self) {
        const MOST: usize = 1 << 16;
        let (sources, destinations) = (self.source.more.len() + 1, self.destination.more.len() + 1);
        let negated = [&self.source.first, &self.destination.first]
            .into_iter()
            .flatten()
            .any(|one| one.negated);
        if negated && sources * destinations > 1 {
            let message = "`!` can't stand beside a list of addresses".to_owned();
            self.error("not-negatable", message, self.context.span);
        }
        if sources.saturating_mul(destinations) > MOST {
            let message =
                format!("the lists of addresses make {sources} times {destinations} rules");
            self.error("too-many-rules", message, self.context.span);
            self.source.more.clear();
            self.destination.more.clear();
            let raw = "".into();
            self.unsupported.push(Unsupported { raw, span: self.context.span, of: None });
        }
    }

    /// Divides the options among the uses they belong to.
    fn uses(&mut self) -> Vec<ExtensionUse<'a>> {
        let count = self.scratch.uses.len();
        let mut matches =
            Vec::with_capacity(count.saturating_sub(usize::from(self.target_use.is_some())));
        let place = |(number, used): &(usize, OptionUse<'a>)| {
            let sorted = self
                .scratch
                .uses
                .get(*number)
                .filter(|one| one.extension.repetition == Repetition::Refused);
            let options = sorted.map_or(&[][..], |one| one.extension.options);
            (*number, option_index(options, used))
        };
        if !self.scratch.options.is_sorted_by_key(place) {
            self.scratch.options.sort_by_key(place);
        }
        let mut target = None;
        for number in 0..count {
            let Some(pending) = self.scratch.uses.get(number) else { break };
            let taken = self.scratch.options.iter().take_while(|(of, _)| *of == number).count();
            let mut options = Vec::with_capacity(taken);
            options.extend(self.scratch.options.drain(..taken).map(|(_, option)| option));
            let (extension, faulty) = (pending.extension, pending.faulty);
            let span = options.iter().fold(pending.span, |span, option| span.cover(option.span));
            let one = Use { extension, span, faulty };
            if extension.fills {
                self.fill(&one, &mut options);
            }
            if self.check(&one, &mut options, &matches) {
                continue;
            }
            let open = self.open_options.extract_if(.., |(of, _)| *of == number);
            let open = open.map(|(_, kept)| Unsupported { of: Some(span.start), ..kept });
            self.unsupported.extend(open);
            let used = ExtensionUse { extension, options, span };
            match self.target_use == Some(number) {
                true => target = Some(used),
                false => self.push(used, &mut matches),
            }
        }
        if let Some(used) = target {
            self.target = Target::Extension(used);
        }
        matches
    }

    /// Adds a match. Of a second use of tcp or udp nftables makes no match of its own, so that
    /// iptables-nft prints the two as one; where both say the same thing differently, they stay.
    fn push(&self, used: ExtensionUse<'a>, matches: &mut Vec<ExtensionUse<'a>>) {
        let native = |one: &ExtensionUse<'_>| {
            std::ptr::eq(one.extension, used.extension)
                && crate::matches::native::is_native(one.extension, &one.options)
        };
        let same = |first: &OptionUse<'_>, second: &OptionUse<'_>| {
            std::ptr::eq(first.option, second.option)
        };
        if self.context.backend != Some(Backend::Legacy)
            && let Some(first) = matches.iter_mut().find(|one| native(one))
            && native(&used)
            && !used.options.iter().any(|one| first.options.iter().any(|other| same(one, other)))
        {
            first.options.extend(used.options);
            first.options.sort_by_key(|option| option_index(first.extension.options, option));
            return;
        }
        matches.push(used);
    }

    /// Adds the values of options that are not given but printed.
    fn fill(&mut self, used: &Use, options: &mut Vec<OptionUse<'a>>) {
        let family = self.context.family.unwrap_or(Family::Ipv4);
        for (index, option) in used.extension.options.iter().enumerate() {
            let Some(value) = option.filled else { continue };
            if options.iter().any(|given| std::ptr::eq(given.option, option)) {
                continue;
            }
            let at = options
                .partition_point(|given| option_index(used.extension.options, given) < index);
            let value = value(family);
            options.insert(at, OptionUse { option, negated: false, value, span: used.span });
        }
    }

    /// Checks one use against its declaration; true if nothing of it is left.
    fn check(
        &mut self,
        used: &Use,
        options: &mut Vec<OptionUse<'a>>,
        matches: &[ExtensionUse<'a>],
    ) -> bool {
        let extension = used.extension;
        self.check_place(used);
        if used.faulty {
            return false;
        }
        if !extension.protocols.is_empty() {
            self.check_protocol(used, options);
        }
        let mut vanishes = false;
        for requirement in extension.requirements {
            if let Some(message) = unmet(extension, requirement, options) {
                self.error("missing-option", message, used.span);
            }
        }
        if let Some(complete) = extension.complete {
            complete(&mut Completion {
                extension,
                options,
                context: self.context,
                chain: self.chain,
                protocol: self.protocol,
                matches,
                span: used.span,
                vanishes: &mut vanishes,
                diagnostics: self.diagnostics,
            });
        }
        vanishes
    }

    fn check_place(&mut self, used: &Use) {
        let extension = used.extension;
        let what = match extension.kind {
            ExtensionKind::Match => "match",
            ExtensionKind::Target => "target",
        };
        if !extension.tables.is_empty() && !extension.tables.contains(&self.context.table) {
            let tables: Vec<&str> = extension.tables.iter().map(|table| table.as_str()).collect();
            let message = format!(
                "{what} `{}` can't be used in the {} table, only in {}",
                extension.name,
                self.context.table.as_str(),
                tables.join(" and ")
            );
            self.error("wrong-table", message, used.span);
        } else if !extension.chains.is_empty()
            && BUILTIN.contains(&self.chain)
            && !extension.chains.contains(&self.chain)
        {
            let message = format!(
                "{what} `{}` can't be used in {}, only in {}",
                extension.name,
                self.chain,
                extension.chains.join(" and ")
            );
            self.error("wrong-chain", message, used.span);
        }
        if let (Some(only), Some(family)) = (extension.family, self.context.family)
            && only != family
        {
            let program = if only == Family::Ipv4 { "iptables" } else { "ip6tables" };
            let message = format!("{what} `{}` exists in {program} only", extension.name);
            self.error("wrong-family", message, used.span);
        }
    }

    fn check_protocol(&mut self, used: &Use, options: &[OptionUse<'_>]) {
        let extension = used.extension;
        // iptables-nft turns tcp and udp into expressions of its own and takes `! -p tcp`, too.
        let native = crate::matches::native::is_native(extension, options)
            && self.context.backend != Some(Backend::Legacy);
        let named = matches!(self.protocol, Some(Negatable { negated, value })
            if (native || !negated) && extension.protocols.contains(&value));
        let mut said = self.diagnostics.iter().skip(self.said);
        let refused = self.given & 16 != 0
            && self.protocol.is_none()
            && said.any(|found| found.severity == Severity::Error);
        if named || refused {
            return;
        }
        let names: Vec<String> = extension
            .protocols
            .iter()
            .filter_map(|protocol| crate::protocols::name(*protocol))
            .map(|name| format!("`-p {name}`"))
            .collect();
        let message = format!("`{}` needs {} in the rule", extension.name, names.join(" or "));
        self.say(Diagnostic::error("missing-protocol", message, used.span));
    }
}

/// What is checked of one use.
struct Use {
    extension: &'static Extension,
    span: Span,
    faulty: bool,
}

/// The place of an option in its declaration; all the same where the order of the rule counts.
fn option_index(options: &[crate::extension::OptionDecl], used: &OptionUse<'_>) -> usize {
    options.iter().position(|option| std::ptr::eq(option, used.option)).unwrap_or(usize::MAX)
}

/// What is said of a requirement that does not hold.
fn unmet(
    extension: &Extension,
    requirement: &Requirement,
    options: &[OptionUse<'_>],
) -> Option<String> {
    let has = |name: &&&str| options.iter().any(|option| option.option.name == **name);
    let list = |names: &[&str], word: &str| {
        let names: Vec<String> = names.iter().map(|name| format!("`--{name}`")).collect();
        names.join(word)
    };
    let name = extension.name;
    match requirement {
        Requirement::AnyOption => {
            options.is_empty().then(|| format!("`{name}` needs at least one option"))
        }
        Requirement::OneOf(names) => (!names.iter().any(|name| has(&name)))
            .then(|| format!("`{name}` needs {}", list(names, " or "))),
        Requirement::AtMostOneOf(names) => {
            let given: Vec<&str> = names.iter().filter(has).copied().collect();
            (given.len() > 1).then(|| format!("{} can't stand together", list(&given, " and ")))
        }
        Requirement::Needs(one, other) => {
            (has(&one) && !has(&other)).then(|| format!("`--{one}` of `{name}` needs `--{other}`"))
        }
    }
}
