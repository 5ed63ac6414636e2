//! Matches of what the kernel remembers: conntrack, state, marks, sets, recent, policy.

use super::{Extra, Head, Setting};
use crate::listing::piece::Cursor;

/// Words of conntrack and state, which stand before their value, with the match.
const KEYED: &[(&str, &str, &str)] = &[
    ("ctstate", "conntrack", "ctstate"),
    ("ctproto", "conntrack", "ctproto"),
    ("ctorigsrc", "conntrack", "ctorigsrc"),
    ("ctorigdst", "conntrack", "ctorigdst"),
    ("ctreplsrc", "conntrack", "ctreplsrc"),
    ("ctrepldst", "conntrack", "ctrepldst"),
    ("ctorigsrcport", "conntrack", "ctorigsrcport"),
    ("ctorigdstport", "conntrack", "ctorigdstport"),
    ("ctreplsrcport", "conntrack", "ctreplsrcport"),
    ("ctrepldstport", "conntrack", "ctrepldstport"),
    ("ctstatus", "conntrack", "ctstatus"),
    ("ctexpire", "conntrack", "ctexpire"),
    ("ctdir", "conntrack", "ctdir"),
    ("state", "state", "state"),
    ("src-group", "devgroup", "src-group"),
    ("dst-group", "devgroup", "dst-group"),
];

/// What `match-set NAME DIRECTIONS` may add, and whether a value follows.
const SET_PARTS: &[(&str, bool)] = &[
    ("return-nomatch", false),
    ("update-counters", false),
    ("update-subcounters", false),
    ("packets-eq", true),
    ("packets-lt", true),
    ("packets-gt", true),
    ("bytes-eq", true),
    ("bytes-lt", true),
    ("bytes-gt", true),
];

impl<'a> Extra<'a> {
    pub(super) fn state(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        if let Some((_, name, option)) = KEYED.iter().find(|(word, ..)| *word == head.word.text) {
            let value = cursor.next()?;
            let span = head.whole.span().cover(value.span());
            let text = match *option {
                "ctorigsrc" | "ctorigdst" | "ctreplsrc" | "ctrepldst" => self.host(value),
                _ => Some(value.text.into()),
            };
            if let Some(text) = text {
                self.of_match(name, Setting::new(option, text, span).negated(head.negated));
            }
            return Some(());
        }
        match head.word.text {
            "match-set" => self.match_set(cursor, head),
            "recent:" => self.recent(cursor, head),
            "mark" | "MARK" | "connmark" | "CONNMARK" if !head.negated && cursor.eat("match") => {
                let name =
                    if head.word.text.eq_ignore_ascii_case("mark") { "mark" } else { "connmark" };
                let (negated, value) = cursor.negatable()?;
                self.begin(name, head.word.span());
                self.set(Setting::new("mark", value.text, head.to(cursor)).negated(negated));
                Some(())
            }
            "policy" if !head.negated && cursor.eat("match") => self.policy(cursor, head),
            _ => None,
        }
    }

    /// `! match-set NAME src,dst return-nomatch ! update-counters packets-gt 5`.
    fn match_set(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let (name, directions) = (cursor.next()?, cursor.next()?);
        self.begin("set", head.word.span());
        let span = head.whole.span().cover(directions.span());
        if head.negated {
            self.push("!", span);
        }
        self.push("--match-set", span);
        self.push(name.text, name.span());
        self.push(directions.text, directions.span());
        while self.attempt(cursor, |this, cursor| {
            let negated = cursor.eat("!");
            let word = cursor.next()?;
            let (part, valued) = SET_PARTS.iter().find(|(part, _)| *part == word.text)?;
            let setting = match valued {
                true => Setting::new(part, cursor.next()?.text, word.span()),
                false => Setting::flag(part, word.span()),
            };
            this.set(setting.negated(negated));
            Some(())
        }) {}
        Some(())
    }

    /// `recent: UPDATE seconds: 60 hit_count: 4 TTL-Match name: x side: source mask: 255.255.255.255`.
    fn recent(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let action = match cursor.next()?.text {
            "SET" => "set",
            "CHECK" => "rcheck",
            "UPDATE" => "update",
            "REMOVE" => "remove",
            _ => return None,
        };
        self.begin("recent", head.word.span());
        self.set(Setting::flag(action, head.to(cursor)).negated(head.negated));
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.next()?;
            let option = match word.text {
                "reap" => Setting::flag("reap", word.span()),
                "TTL-Match" => Setting::flag("rttl", word.span()),
                "side:" => match cursor.next()?.text {
                    "source" => Setting::flag("rsource", word.span()),
                    "dest" => Setting::flag("rdest", word.span()),
                    _ => return None,
                },
                key => {
                    let option = match key {
                        "seconds:" => "seconds",
                        "hit_count:" => "hitcount",
                        "name:" => "name",
                        "mask:" => "mask",
                        _ => return None,
                    };
                    let value = cursor.next()?;
                    Setting::new(option, value.text, word.span().cover(value.span()))
                }
            };
            this.set(option);
            Some(())
        }) {}
        Some(())
    }

    /// `policy match dir in pol ipsec strict [0] reqid 1 ! spi 0x5 [1] proto 51`.
    fn policy(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        self.begin("policy", head.word.span());
        while self.attempt(cursor, |this, cursor| {
            let negated = cursor.eat("!");
            let word = cursor.next()?;
            let setting = match word.text {
                "strict" => Setting::flag("strict", word.span()),
                "[0]" => return (!negated).then_some(()),
                number if number.starts_with('[') && number.ends_with(']') => {
                    number.get(1..number.len() - 1)?.parse::<u8>().ok()?;
                    Setting::flag("next", word.span())
                }
                key => {
                    let option =
                        ["dir", "pol", "reqid", "spi", "proto", "mode", "tunnel-dst", "tunnel-src"]
                            .into_iter()
                            .find(|option| *option == key)?;
                    let value = cursor.next()?;
                    let text = match (option, value.text) {
                        ("proto", "50") => "esp",
                        ("proto", "51") => "ah",
                        ("proto", "108") => "ipcomp",
                        (_, text) => text,
                    };
                    let span = word.span().cover(value.span());
                    if option.starts_with("tunnel") {
                        let Some(host) = this.host(value) else { return Some(()) };
                        Setting::new(option, host, span)
                    } else {
                        Setting::new(option, text, span)
                    }
                }
            };
            this.set(setting.negated(negated));
            Some(())
        }) {}
        Some(())
    }
}
