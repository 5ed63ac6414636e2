//! Matches of what a packet holds: ttl, hl, tos, dscp, length, ecn, string, u32, bpf.

use super::{Extra, Head, Setting};
use crate::listing::piece::{Cursor, Piece};

/// The longest pattern of `-m string` or `-m u32` that is looked for.
const LONGEST_QUOTED: usize = 4096;

impl<'a> Extra<'a> {
    pub(super) fn packet(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        if head.negated {
            return None;
        }
        match head.word.text {
            "TTL" if cursor.eat("match TTL") => self.hops(cursor, head, "ttl"),
            "HL" if cursor.eat("match HL") => self.hops(cursor, head, "hl"),
            "tos" | "TOS" => self.tos(cursor, head),
            "DSCP" if cursor.eat("match") => self.simple(cursor, head, "dscp", "dscp"),
            "length" => self.simple(cursor, head, "length", "length"),
            "tcpmss" if cursor.eat("match") => self.simple(cursor, head, "tcpmss", "mss"),
            "ECN" if cursor.eat("match") => self.congestion(cursor, head),
            "STRING" if cursor.eat("match") => self.string(cursor, head),
            "u32" => {
                let negated = cursor.eat("!");
                let expression = quoted(cursor, "\"")?;
                self.begin("u32", head.word.span());
                let span = expression.span();
                self.set(Setting::new("u32", expression.text, span).negated(negated));
                Some(())
            }
            "match" if cursor.eat("bpf") => self.bpf(cursor, head),
            _ => None,
        }
    }

    /// A match with one option, whose value may be negated.
    pub(super) fn simple(
        &mut self,
        cursor: &mut Cursor<'a>,
        head: Head<'a>,
        name: &'static str,
        option: &'static str,
    ) -> Option<()> {
        let (negated, value) = cursor.negatable()?;
        self.begin(name, head.word.span());
        let span = head.whole.span().cover(value.span());
        self.set(Setting::new(option, value.text, span).negated(negated));
        Some(())
    }

    /// `TTL match TTL == 5`.
    fn hops(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>, name: &'static str) -> Option<()> {
        let (operator, value) = (cursor.next()?, cursor.next()?);
        let (negated, option) = match (operator.text, name) {
            ("==", "ttl") => (false, "ttl-eq"),
            ("!=", "ttl") => (true, "ttl-eq"),
            ("<", "ttl") => (false, "ttl-lt"),
            (">", "ttl") => (false, "ttl-gt"),
            ("==", _) => (false, "hl-eq"),
            ("!=", _) => (true, "hl-eq"),
            ("<", _) => (false, "hl-lt"),
            (">", _) => (false, "hl-gt"),
            _ => return None,
        };
        self.begin(name, head.word.span());
        self.set(Setting::new(option, value.text, head.to(cursor)).negated(negated));
        Some(())
    }

    /// `tos match0x10/0xff`, `tos match!0x10/0xff`, `tos match! Minimize-Delay`.
    fn tos(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let (mut negated, mut value) = cursor.eat_prefix("match")?.negatable();
        if value.text.is_empty() {
            let (more, next) = cursor.negatable()?;
            (negated, value) = (negated || more, next);
        }
        self.begin("tos", head.word.span());
        self.set(Setting::new("tos", value.text, head.to(cursor)).negated(negated));
        Some(())
    }

    /// `ECN match ECE !CWR ECT=2`.
    fn congestion(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        self.begin("ecn", head.word.span());
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.next()?;
            let (negated, part) = word.negatable();
            let setting = match part.text {
                "ECE" => Setting::flag("ecn-tcp-ece", word.span()),
                "CWR" => Setting::flag("ecn-tcp-cwr", word.span()),
                text => Setting::new("ecn-ip-ect", text.strip_prefix("ECT=")?, word.span()),
            };
            this.set(setting.negated(negated));
            Some(())
        }) {}
        Some(())
    }

    /// `STRING match ! "GET /" ALGO name bm FROM 10 TO 100 ICASE`.
    fn string(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let negated = cursor.eat("!");
        let pattern = quoted(cursor, "\" ALGO name ")?;
        cursor.eat("ALGO name").then_some(())?;
        let algorithm = cursor.next()?;
        self.begin("string", head.word.span());
        let hex =
            pattern.text.len() > 1 && pattern.text.starts_with('|') && pattern.text.ends_with('|');
        let option = if hex { "hex-string" } else { "string" };
        self.set(Setting::new(option, pattern.text, pattern.span()).negated(negated));
        self.set(Setting::new("algo", algorithm.text, algorithm.span()));
        for (key, option) in [("FROM", "from"), ("TO", "to")] {
            if cursor.eat(key) {
                let value = cursor.next()?;
                self.set(Setting::new(option, value.text, value.span()));
            }
        }
        if let Some(word) = cursor.peek().filter(|word| word.text == "ICASE") {
            self.set(Setting::flag("icase", word.span()));
            cursor.jump_behind(word);
        }
        Some(())
    }

    /// `match bpf 48 0 0 9,21 0 1 6,…`; the number of instructions is not printed.
    fn bpf(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        if cursor.eat("pinned") {
            let path = cursor.next()?;
            self.begin("bpf", head.word.span());
            self.set(Setting::new("object-pinned", path.text, path.span()));
            return Some(());
        }
        let mut count = 1_usize;
        let mut program = String::new();
        let mut operand = 0;
        loop {
            let word = cursor.next()?;
            program.push_str(if program.is_empty() { "" } else { " " });
            program.push_str(word.text);
            operand += 1;
            if operand < 4 {
                word.text.parse::<u32>().ok()?;
                continue;
            }
            // The last operand of an instruction touches the first of the next one.
            match word.text.split_once(',') {
                Some((last, next)) => {
                    let _: (u32, u32) = (last.parse().ok()?, next.parse().ok()?);
                    (count, operand) = (count + 1, 1);
                }
                None => {
                    word.text.parse::<u32>().ok()?;
                    break;
                }
            }
        }
        self.begin("bpf", head.word.span());
        self.set(Setting::new("bytecode", format!("{count},{program}"), head.to(cursor)));
        Some(())
    }
}

/// The text between `"` and `end`, which may hold quotes; goes on behind its closing quote.
fn quoted<'a>(cursor: &mut Cursor<'a>, end: &str) -> Option<Piece<'a>> {
    let inner = cursor.rest().strip_prefix("\"")?;
    let window = inner.text.as_bytes().get(..inner.text.len().min(LONGEST_QUOTED))?;
    let length = memchr::memmem::find(window, end.as_bytes())?;
    cursor.jump_behind(inner.take(length + 1));
    Some(inner.take(length))
}
