//! What rules say in their own comments that it is put up with: `nattrace:allow(CODE) reason`.
//!
//! Such a comment lives in the kernel with its rule, and goes with it.

use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_parser::diagnostic::nearest;

use super::codes;

/// How it begins in a comment.
const MARK: &str = "nattrace:allow(";

/// A finding that a rule's comment allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The rule.
    pub rule: RuleId,
    /// The lint.
    pub code: String,
    /// Why.
    pub reason: String,
}

/// A comment that allows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// The rule.
    pub rule: RuleId,
    /// What is wrong with it, in one line.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// What the comments of all rules allow, and those that allow nothing although they are meant to.
#[must_use]
pub fn allowances(rules: &Ruleset) -> (Vec<Allowance>, Vec<Unclear>) {
    let (mut allowed, mut unclear) = (Vec::new(), Vec::new());
    if !rules.sources.iter().any(|source| source.text.contains(MARK)) {
        return (allowed, unclear);
    }
    for (chain, own) in (0u32..).map(ChainId).zip(&rules.chains) {
        for (index, rule) in (0u32..).zip(&own.rules) {
            let id = RuleId { chain, index };
            for (codes, reason) in marks(rules.text(rule)) {
                read(id, &codes, &reason, &mut allowed, &mut unclear);
            }
        }
    }
    (allowed, unclear)
}

/// Takes one comment for what it allows.
fn read(
    rule: RuleId,
    named: &str,
    reason: &str,
    allowed: &mut Vec<Allowance>,
    unclear: &mut Vec<Unclear>,
) {
    let known = codes();
    for code in named.split(',').map(str::trim) {
        let found = if !known.contains(&code) {
            let near = nearest(code, known.iter().copied());
            Err((
                format!("`{MARK}{code})` allows nothing: unknown lint `{code}`"),
                near.map_or_else(
                    || "`nattrace explain` lists all codes".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            ))
        } else if reason.is_empty() {
            Err((
                format!("`{MARK}{code})` allows nothing: expected a reason behind it"),
                format!("--comment \"{MARK}{code}) why it is put up with\""),
            ))
        } else {
            Ok(())
        };
        match found {
            Ok(()) => {
                allowed.push(Allowance { rule, code: code.to_owned(), reason: reason.to_owned() })
            }
            Err((message, help)) => unclear.push(Unclear { rule, message, help }),
        }
    }
}

/// The codes and the reason of each such comment in a rule's text.
fn marks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // `--comment VALUE` in rules of iptables, `comment "VALUE"` in those of nft.
    for rest in text.split("comment ").skip(1) {
        let comment = value(rest);
        let Some((_, behind)) = comment.split_once(MARK) else { continue };
        let (codes, reason) = behind.split_once(')').unwrap_or((behind, ""));
        found.push((codes.to_owned(), reason.trim_start_matches(':').trim().to_owned()));
    }
    found
}

/// The first word of a text as a shell and iptables-save take it: quoted, or up to a space.
fn value(text: &str) -> String {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let mut word = String::new();
    let mut letters = text.chars().skip(usize::from(quote.is_some()));
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', Some('"') | None) => word.extend(letters.next()),
            (own, Some(quote)) if own == quote => break,
            (own, None) if own.is_whitespace() => break,
            (own, _) => word.push(own),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_however_it_is_quoted() {
        let reason = |text: &str| marks(text).pop();
        let one = Some(("volatile-match".to_owned(), "fixed by compose".to_owned()));
        for text in [
            r#"-A INPUT -m comment --comment "nattrace:allow(volatile-match) fixed by compose" -j DROP"#,
            "-A INPUT -m comment --comment 'nattrace:allow(volatile-match) fixed by compose' -j DROP",
            r#"-A INPUT -m comment --comment "ours; nattrace:allow(volatile-match): fixed by compose""#,
            r#"tcp dport 80 drop comment "nattrace:allow(volatile-match) fixed by compose""#,
        ] {
            assert_eq!(reason(text), one, "{text}");
        }
        let bare = "-A INPUT -m comment --comment nattrace:allow(volatile-match) -j DROP";
        assert_eq!(reason(bare), Some(("volatile-match".to_owned(), String::new())));
        let quoted = r#"--comment "nattrace:allow(a) \"b\" c" -j DROP"#;
        assert_eq!(reason(quoted), Some(("a".to_owned(), "\"b\" c".to_owned())));
        assert_eq!(reason("-A INPUT -m comment --comment other -j DROP"), None);
    }

    #[test]
    fn what_allows_nothing_is_told() {
        let rule = RuleId { chain: ChainId(0), index: 0 };
        let (mut allowed, mut unclear) = (Vec::new(), Vec::new());
        read(rule, "volatile-match, volatil-match", "so", &mut allowed, &mut unclear);
        read(rule, "duplicate-rule", "", &mut allowed, &mut unclear);
        assert_eq!(allowed.len(), 1);
        assert_eq!(unclear.len(), 2);
        assert_eq!(unclear[0].help, "did you mean `volatile-match`?");
        assert!(unclear[1].message.ends_with("expected a reason behind it"));
    }
}
