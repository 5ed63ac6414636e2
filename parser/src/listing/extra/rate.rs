//! Matches of how much and when: limit, hashlimit, statistic, quota, connlimit, connbytes, time.

use super::{Extra, Head, Setting};
use crate::listing::piece::Cursor;

impl<'a> Extra<'a> {
    pub(super) fn rate(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        match head.word.text {
            "connbytes" => self.connection_bytes(cursor, head),
            _ if head.negated => None,
            "limit:" if cursor.eat("avg") => {
                let rate = cursor.next()?;
                self.begin("limit", head.word.span());
                self.set(Setting::new("limit", rate.text, head.word.span().cover(rate.span())));
                if cursor.eat("burst") {
                    let burst = cursor.next()?;
                    self.set(Setting::new("limit-burst", burst.text, burst.span()));
                }
                Some(())
            }
            "limit:" => self.hash_limit(cursor, head),
            "statistic" if cursor.eat("mode") => self.statistic(cursor, head),
            "quota:" => {
                let (negated, bytes) = cursor.negatable()?;
                bytes.text.parse::<u64>().ok()?;
                cursor.eat("bytes");
                self.begin("quota", head.word.span());
                self.set(Setting::new("quota", bytes.text, head.to(cursor)).negated(negated));
                self.lossy("a listing does not show whether `quota` is negated", head.to(cursor));
                Some(())
            }
            "#conn" | "#conn/32" | "#conn/128" => self.connection_limit(cursor, head),
            text if text.starts_with("#conn/") => self.connection_limit(cursor, head),
            "TIME" => self.time(cursor, head),
            _ => None,
        }
    }

    /// `limit: up to 10/sec burst 20 mode srcip-dstport htable-size 100 …`.
    ///
    /// The name of its table, which rules may share, is not shown; so it is kept as not understood.
    fn hash_limit(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        const PARTS: &[&str] = &[
            "burst",
            "mode",
            "htable-size",
            "htable-max",
            "htable-gcinterval",
            "htable-expire",
            "srcmask",
            "dstmask",
            "rate-interval",
        ];
        if !(cursor.eat("up to") || cursor.eat("above")) {
            return None;
        }
        let mut last = cursor.next()?;
        while let Some(word) = cursor.peek() {
            if word.text == "rate-match" {
                last = cursor.next()?;
            } else if PARTS.contains(&word.text) {
                cursor.next();
                last = cursor.next()?;
            } else {
                break;
            }
        }
        let span = head.whole.span().cover(last.span());
        self.lossy("a listing does not show the `--hashlimit-name`", span);
        self.keep(head.line_to(last));
        Some(())
    }

    /// `statistic mode random probability 0.5`, `statistic mode nth ! every 3 packet 2`.
    fn statistic(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let mode = cursor.next()?;
        let negated = cursor.eat("!");
        let (key, value) = (cursor.next()?, cursor.next()?);
        let option = match (mode.text, key.text) {
            ("random", "probability") => "probability",
            ("nth", "every") => "every",
            _ => return None,
        };
        self.begin("statistic", head.word.span());
        self.set(Setting::new("mode", mode.text, mode.span()));
        let span = key.span().cover(value.span());
        self.set(Setting::new(option, value.text, span).negated(negated));
        if option == "every" {
            let packet = if cursor.eat("packet") { cursor.next()?.text } else { "0" };
            self.set(Setting::new("packet", packet, span));
        }
        Some(())
    }

    /// `#conn src/32 > 3`, `#conn dst/24 <= 3`, and `#conn/32 > 3` of old.
    fn connection_limit(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let side = match head.word.strip_prefix("#conn/") {
            Some(_) => head.word.skip("#conn".len()),
            None => cursor.next()?,
        };
        let (side, mask) = side.split_once('/')?;
        let (operator, limit) = (cursor.next()?, cursor.next()?);
        let option = match operator.text {
            ">" => "connlimit-above",
            "<=" => "connlimit-upto",
            _ => return None,
        };
        let side = match side.text {
            "src" | "" => "connlimit-saddr",
            "dst" => "connlimit-daddr",
            _ => return None,
        };
        self.begin("connlimit", head.word.span());
        self.set(Setting::new(option, limit.text, operator.span().cover(limit.span())));
        self.set(Setting::new("connlimit-mask", mask.text, mask.span()));
        self.set(Setting::flag(side, mask.span()));
        Some(())
    }

    /// `! connbytes 1000:2000 connbytes mode packets connbytes direction original`.
    fn connection_bytes(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let amount = cursor.next()?;
        let mode = cursor.eat("connbytes mode").then(|| cursor.next())??;
        let direction = cursor.eat("connbytes direction").then(|| cursor.next())??;
        self.begin("connbytes", head.word.span());
        let span = head.whole.span().cover(amount.span());
        self.set(Setting::new("connbytes", amount.text, span).negated(head.negated));
        self.set(Setting::new("connbytes-mode", mode.text, mode.span()));
        self.set(Setting::new("connbytes-dir", direction.text, direction.span()));
        Some(())
    }

    /// `TIME from 08:00:00 to 17:00:00 on Mon,Fri on 1st,2nd starting from 2020-01-01 00:00:00
    /// until date 2025-01-01 00:00:00 contiguous UTC`.
    fn time(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        self.begin("time", head.word.span());
        let mut universal = false;
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.peek()?;
            let setting = if cursor.eat("from") {
                let start = cursor.next()?;
                let stop = cursor.eat("to").then(|| cursor.next())??;
                this.set(Setting::new("timestart", start.text, start.span()));
                Setting::new("timestop", stop.text, stop.span())
            } else if cursor.eat("on") {
                let (negated, days) = cursor.negatable()?;
                if days.text.starts_with(|char: char| char.is_ascii_digit()) {
                    let numbers: Vec<&str> = days
                        .text
                        .split(',')
                        .map(|day| day.trim_end_matches(|char: char| char.is_ascii_alphabetic()))
                        .collect();
                    Setting::new("monthdays", numbers.join(","), days.span()).negated(negated)
                } else {
                    Setting::new("weekdays", days.text, days.span()).negated(negated)
                }
            } else if cursor.eat("starting from") {
                let (date, time) = (cursor.next()?, cursor.next()?);
                Setting::new("datestart", format!("{}T{}", date.text, time.text), date.span())
            } else if cursor.eat("until date") {
                let (date, time) = (cursor.next()?, cursor.next()?);
                Setting::new("datestop", format!("{}T{}", date.text, time.text), date.span())
            } else if cursor.eat("contiguous") {
                Setting::flag("contiguous", word.span())
            } else if cursor.eat("UTC") {
                universal = true;
                return Some(());
            } else {
                return None;
            };
            this.set(setting);
            Some(())
        }) {}
        if !universal {
            self.set(Setting::flag("kerneltz", head.word.span()));
        }
        Some(())
    }
}
