//! The options in a word such as `-4vj`, as getopt(3) reads them.

/// What an option of one letter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, so that another option may follow in its word.
    Nothing,
    /// A value: the rest of its word, or else the next word, whatever that looks like.
    Value,
    /// A value that may lack. The next word is none of getopt's concern.
    Attached,
}

/// What the option of a letter takes; `None` where iptables has none.
///
/// `OPTSTRING_COMMON` and `IPT_OPTSTRING` of iptables 1.8.9. Its `-b` is refused, whatever it is.
fn takes(letter: char) -> Option<Takes> {
    match letter {
        '4' | '6' | 'f' | 'n' | 'v' | 'x' | 'V' => Some(Takes::Nothing),
        'A' | 'C' | 'D' | 'E' | 'I' | 'M' | 'N' | 'P' | 'R' | 'c' | 'd' | 'g' | 'i' | 'j' | 'm'
        | 'o' | 'p' | 's' | 't' => Some(Takes::Value),
        'F' | 'L' | 'S' | 'W' | 'X' | 'Z' | 'h' | 'w' => Some(Takes::Attached),
        _ => None,
    }
}

/// One option of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Letter<'w> {
    pub(crate) letter: char,
    /// What it takes; `None` for what is no option, which ends the word.
    pub(crate) takes: Option<Takes>,
    /// The value that is attached to it, or nothing.
    pub(crate) value: &'w str,
}

/// The options of a word; none where it is a long option or no option at all.
pub(crate) fn letters(word: &str) -> impl Iterator<Item = Letter<'_>> {
    let short = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
    let mut rest = short.unwrap_or_default();
    std::iter::from_fn(move || {
        let letter = rest.chars().next()?;
        let behind = rest.get(letter.len_utf8()..).unwrap_or_default();
        let takes = takes(letter);
        let value = if takes == Some(Takes::Nothing) { "" } else { behind };
        rest = if takes == Some(Takes::Nothing) { behind } else { "" };
        Some(Letter { letter, takes, value })
    })
}

/// Whether the word behind this one is its value, however it looks.
pub(crate) fn takes_next(word: &str) -> bool {
    letters(word)
        .last()
        .is_some_and(|last| last.takes == Some(Takes::Value) && last.value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> Vec<(char, &str)> {
        letters(word).map(|one| (one.letter, one.value)).collect()
    }

    #[test]
    fn options_without_a_value_let_others_follow() {
        assert_eq!(read("-4vj"), [('4', ""), ('v', ""), ('j', "")]);
        assert_eq!(read("-v4mcomment"), [('v', ""), ('4', ""), ('m', "comment")]);
        assert_eq!(read("-iv6"), [('i', "v6")]);
        assert_eq!(read("-w5v"), [('w', "5v")]);
        assert_eq!(read("-vé6"), [('v', ""), ('é', "6")]);
        for none in ["--ipv4", "-", "--", "", "4", "!"] {
            assert_eq!(read(none), [], "{none}");
        }
    }

    #[test]
    fn a_value_that_is_not_attached_is_the_next_word() {
        assert!(["-i", "-vi", "-4A", "-c"].iter().all(|word| takes_next(word)));
        assert!(!["-v", "-iv", "-w", "-L", "--in-interface", "-f"].iter().any(|w| takes_next(w)));
    }
}
