//! A rule line cut into words, as iptables-restore cuts it.
//!
//! Only double quotes quote; inside of them a backslash keeps the next character (kernel-facts I6,
//! H7), and the one that closes ends the word: `ab"cd"ef` is `abcd` and `ef` (`add_param_to_argv`).
//! What a web page or a word processor did to a pasted rule is undone, with a note: long
//! dashes for `--`, typographic quotes for `"`.

mod letters;

use std::borrow::Cow;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

pub(crate) use letters::{Letter, Takes, letters, takes_next};

/// One word of a rule line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// The word without its quotes.
    pub(crate) text: Cow<'a, str>,
    /// Its place, with its quotes.
    pub(crate) span: Span,
    /// Whether any of it stood in quotes, which iptables never learns.
    pub(crate) quoted: bool,
}

impl Word<'_> {
    /// Whether this is an option or a negation rather than an argument.
    pub(crate) fn is_option(&self) -> bool {
        !self.quoted && (self.text.starts_with('-') && self.text.len() > 1 || self.text == "!")
    }
}

/// How many words a line may have, which is far more than iptables-restore takes.
const MOST_WORDS: usize = 10_000;

/// What a quote does that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// It ends the word.
    Ends,
    /// The word goes on, as in a shell.
    GoesOn,
}

/// Appends the words of `line`, which starts at byte `offset` of its text, to `words`.
pub(crate) fn split_words<'a>(
    line: &'a str,
    offset: usize,
    words: &mut Vec<Word<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    split(line, offset, Closing::Ends, words, diagnostics);
}

/// The same for a line that was typed at a shell.
pub(crate) fn split_typed_words<'a>(
    line: &'a str,
    offset: usize,
    words: &mut Vec<Word<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    split(line, offset, Closing::GoesOn, words, diagnostics);
}

fn split<'a>(
    line: &'a str,
    offset: usize,
    closing: Closing,
    words: &mut Vec<Word<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte <= b' ' {
            at += 1;
            continue;
        }
        if words.len() >= MOST_WORDS {
            let message = format!("more than {MOST_WORDS} words in one line");
            let place = Span::new(offset + at, offset + bytes.len());
            diagnostics.push(
                Diagnostic::error("too-long", message, place)
                    .help("iptables-restore takes at most 255 words a line"),
            );
            break;
        }
        let start = at;
        let plain = start + plain_length(bytes.get(start..).unwrap_or_default());
        at = plain;
        match bytes.get(plain) {
            None | Some(0..=b' ') => words.push(Word {
                text: Cow::Borrowed(line.get(start..plain).unwrap_or_default()),
                span: Span::new(offset + start, offset + plain),
                quoted: false,
            }),
            Some(_) => at = odd_word((line, start), offset, closing, words, diagnostics),
        }
    }
}

/// How many bytes stand before the first blank, control character, quote or byte beyond ASCII.
///
/// Looks at eight bytes at a time: a dump has millions of words, of about eight bytes each.
fn plain_length(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    const QUOTES: u64 = b'"' as u64 * EACH;
    const ABOVE_BLANK: u64 = (b' ' as u64 + 1) * EACH;
    let mut length = 0;
    while let Some(&eight) = bytes.get(length..).and_then(<[u8]>::first_chunk::<8>) {
        let eight = u64::from_le_bytes(eight);
        // The high bit of each byte tells; with it set beforehand, no byte borrows from the next.
        let blanks = !(eight | HIGH).wrapping_sub(ABOVE_BLANK);
        let unquoted = ((eight ^ QUOTES) & !HIGH).wrapping_add(!HIGH);
        let found = (eight | blanks | !unquoted) & HIGH;
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = bytes.get(length..).unwrap_or_default();
    let odd = |byte: &u8| *byte <= b' ' || *byte == b'"' || *byte >= 0x80;
    length + rest.iter().position(odd).unwrap_or(rest.len())
}

/// Reads a word with quotes or with characters beyond ASCII; returns where it ends.
fn odd_word<'a>(
    (line, start): (&'a str, usize),
    offset: usize,
    closing: Closing,
    words: &mut Vec<Word<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> usize {
    let rest = line.get(start..).unwrap_or_default();
    // A pasted line may hold non-breaking spaces.
    if let Some(blank) = rest.chars().next().filter(|char| char.is_whitespace()) {
        return start + blank.len_utf8();
    }
    if let Some(end) = simple_quoted(rest, closing) {
        words.push(Word {
            text: Cow::Borrowed(rest.get(1..end - 1).unwrap_or_default()),
            span: Span::new(offset + start, offset + start + end),
            quoted: true,
        });
        return start + end;
    }

    let mut text = String::new();
    let mut quoted = false;
    let mut inside = false;
    let mut repaired = None;
    let mut end = rest.len();
    let mut chars = rest.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' if inside && closing == Closing::Ends => {
                inside = false;
                end = index + 1;
                break;
            }
            '"' => {
                inside = !inside;
                quoted = true;
            }
            // Typographic quotes only count at the ends of a word, so that a comment may hold them.
            '“' | '”' if !inside && index == 0 => {
                inside = true;
                quoted = true;
                repaired = Some("typographic quotes");
            }
            '”' | '“' if inside && repaired.is_some() => inside = false,
            '\\' if inside => {
                // Before the end of a line it is how a shell goes on with the next.
                let escaped = chars.next().map(|(_, escaped)| escaped);
                text.extend(escaped.filter(|escaped| *escaped != '\n'));
            }
            _ if !inside && char.is_whitespace() => {
                end = index;
                break;
            }
            '–' | '—' | '−' if index == 0 => {
                let single = rest.chars().nth(2).is_none_or(char::is_whitespace);
                text.push_str(if single || char == '−' { "-" } else { "--" });
                repaired = Some("a long dash");
            }
            _ => text.push(char),
        }
    }
    let span = Span::new(offset + start, offset + start + end);
    if let Some(what) = repaired {
        diagnostics.push(
            Diagnostic::note("repaired-text", format!("{what} read as ASCII"), span)
                .label(format!("read as `{}`", clip(&text))),
        );
    }
    if inside {
        let message = "the quote is not closed: all that follows belongs to the text";
        diagnostics.push(Diagnostic::warning("unclosed-quote", message, span));
    }
    words.push(Word { text: Cow::Owned(text), span, quoted });
    start + end
}

/// The length of a word that is one quoted string without escapes, the usual comment.
fn simple_quoted(rest: &str, closing: Closing) -> Option<usize> {
    let inner = rest.strip_prefix('"')?.as_bytes();
    let close = memchr::memchr2(b'"', b'\\', inner)?;
    let ends = closing == Closing::Ends || inner.get(close + 1).is_none_or(u8::is_ascii_whitespace);
    (inner.get(close) == Some(&b'"') && ends).then_some(close + 2)
}

/// A user's word, cut so that a message stays one readable line.
pub(crate) fn clip(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// Says that iptables takes this word, and prints it as several lines.
pub(crate) fn over_lines(word: &Word<'_>) -> Diagnostic {
    let message = format!("`{}` goes over several lines", clip(&word.text));
    Diagnostic::warning("text-over-lines", message, word.span)
        .label("iptables-restore can't read back what iptables-save prints of it")
        .help("write it on one line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_ends_where_each_of_its_bytes_says() {
        for odd in 0..=255u8 {
            let ends = odd <= b' ' || odd == b'"' || odd >= 0x80;
            for at in 0..20 {
                for before in [b'!', b'#', b'~', 0x7f] {
                    let mut bytes = vec![before; 24];
                    bytes[at] = odd;
                    let expected = if ends { at } else { bytes.len() };
                    assert_eq!(plain_length(&bytes), expected, "{odd} at {at} behind {before}");
                }
            }
        }
    }

    #[test]
    fn a_line_has_only_so_many_words() {
        let line = "a ".repeat(MOST_WORDS + 1);
        let place = 2 * MOST_WORDS;
        let fits = line.split_at(place).0;
        let (mut words, mut diagnostics) = (Vec::new(), Vec::new());
        split_words(fits, 7, &mut words, &mut diagnostics);
        assert_eq!((words.len(), diagnostics.len()), (MOST_WORDS, 0));
        words.clear();
        split_words(&line, 7, &mut words, &mut diagnostics);
        assert_eq!((words.len(), diagnostics.len()), (MOST_WORDS, 1));
        assert_eq!(diagnostics[0].span, Span::new(7 + place, 7 + place + 2));
    }

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let mut words = Vec::new();
        split_words(line, 0, &mut words, &mut Vec::new());
        let found: Vec<&str> = words.iter().map(|word| word.text.as_ref()).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn words_are_cut_as_by_iptables_restore() {
        check("-A  FORWARD\t-j ACCEPT ", &["-A", "FORWARD", "-j", "ACCEPT"]);
        check(r#"--comment "a b" x"#, &["--comment", "a b", "x"]);
        check(r#"--comment "it\'s \"x\"" x"#, &["--comment", "it's \"x\"", "x"]);
        check(r#"--comment "" x"#, &["--comment", "", "x"]);
        check(r#"--comment "open end"#, &["--comment", "open end"]);
        check(r#"ab"cd"ef "g""h" i"#, &["abcd", "ef", "g", "h", "i"]);
        check(r"--comment 'a b'", &["--comment", "'a", "b'"]);
        check("--comment grüße x", &["--comment", "grüße", "x"]);
        check("a\u{a0}b \u{a0} c\u{b}d\u{1}", &["a", "b", "c", "d"]);
    }

    #[test]
    fn typography_is_repaired_with_a_note() {
        let mut words = Vec::new();
        let mut diagnostics = Vec::new();
        split_words("–A INPUT –dport 80 —comment “a b” -j X", 0, &mut words, &mut diagnostics);
        let found: Vec<&str> = words.iter().map(|word| word.text.as_ref()).collect();
        assert_eq!(found, ["-A", "INPUT", "--dport", "80", "--comment", "a b", "-j", "X"]);
        assert_eq!(diagnostics.len(), 4);
    }

    #[test]
    fn spans_hold_the_quotes() {
        let line = r#"x "a b" y"#;
        let mut words = Vec::new();
        split_words(line, 0, &mut words, &mut Vec::new());
        assert_eq!(words[1].span.slice(line), r#""a b""#);
        assert!(words[1].quoted);
    }
}
