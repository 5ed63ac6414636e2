//! Matches of addresses, interfaces and owners: addrtype, iprange, mac, physdev, owner, socket,
//! rpfilter.

use super::{Extra, Head, Setting};
use crate::listing::piece::Cursor;

impl<'a> Extra<'a> {
    pub(super) fn address_match(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        match head.word.text {
            "owner" | "OWNER" => return self.owner(cursor, head),
            _ if head.negated => return None,
            "ADDRTYPE" if cursor.eat("match") => self.address_types(cursor, head),
            "source" if cursor.eat("IP range") => return self.ip_range(cursor, head, "src-range"),
            "destination" if cursor.eat("IP range") => {
                return self.ip_range(cursor, head, "dst-range");
            }
            "PHYSDEV" if cursor.eat("match") => self.physdev(cursor, head),
            "rpfilter" => {
                self.begin("rpfilter", head.word.span());
                self.flags(cursor, &["loose", "validmark", "accept-local", "invert"], "");
            }
            "socket" => {
                self.begin("socket", head.word.span());
                self.flags(cursor, &["transparent", "nowildcard", "restore-skmark"], "--");
            }
            "eui64" => self.begin("eui64", head.word.span()),
            text if text.starts_with("MAC") => return self.mac(cursor, head),
            _ => return None,
        }
        Some(())
    }

    /// Options without values, as long as they come.
    pub(super) fn flags(&mut self, cursor: &mut Cursor<'a>, known: &[&'static str], dashes: &str) {
        while let Some(word) = cursor.peek()
            && let Some(text) = word.text.strip_prefix(dashes)
            && let Some(name) = known.iter().find(|name| **name == text)
        {
            self.set(Setting::flag(name, word.span()));
            cursor.jump_behind(word);
        }
    }

    /// `ADDRTYPE match src-type !LOCAL dst-type LOCAL limit-in`.
    fn address_types(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) {
        self.begin("addrtype", head.word.span());
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.next()?;
            let option = match word.text {
                "src-type" => "src-type",
                "dst-type" => "dst-type",
                "limit-in" => {
                    this.set(Setting::flag("limit-iface-in", word.span()));
                    return Some(());
                }
                "limit-out" => {
                    this.set(Setting::flag("limit-iface-out", word.span()));
                    return Some(());
                }
                _ => return None,
            };
            let (negated, types) = cursor.negatable()?;
            let span = word.span().cover(types.span());
            this.set(Setting::new(option, types.text, span).negated(negated));
            Some(())
        }) {}
    }

    /// `source IP range ! 10.0.0.1-10.0.0.9`.
    fn ip_range(
        &mut self,
        cursor: &mut Cursor<'a>,
        head: Head<'a>,
        option: &'static str,
    ) -> Option<()> {
        let (negated, range) = cursor.negatable()?;
        self.of_match(
            "iprange",
            Setting::new(option, range.text, head.to(cursor)).negated(negated),
        );
        Some(())
    }

    /// `MAC 00:11:22:33:44:aa`, `MAC ! …`, and with the address touching the word.
    fn mac(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let glued = head.word.skip("MAC".len());
        let (negated, address) = match glued.text {
            "" => cursor.negatable()?,
            _ => glued.negatable(),
        };
        let pairs = address.text.split(':').count() == 6;
        let hex = address.text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        if !pairs || !hex {
            return None;
        }
        self.begin("mac", head.word.span());
        self.set(Setting::new("mac-source", address.text, head.to(cursor)).negated(negated));
        Some(())
    }

    /// `PHYSDEV match --physdev-is-in ! --physdev-in eth0`.
    fn physdev(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) {
        self.begin("physdev", head.word.span());
        while self.attempt(cursor, |this, cursor| {
            let negated = cursor.eat("!");
            let word = cursor.next()?;
            let setting = match word.text.strip_prefix("--")? {
                "physdev-is-in" => Setting::flag("physdev-is-in", word.span()),
                "physdev-is-out" => Setting::flag("physdev-is-out", word.span()),
                "physdev-is-bridged" => Setting::flag("physdev-is-bridged", word.span()),
                "physdev-in" => Setting::new("physdev-in", cursor.next()?.text, word.span()),
                "physdev-out" => Setting::new("physdev-out", cursor.next()?.text, word.span()),
                _ => return None,
            };
            this.set(setting.negated(negated));
            Some(())
        }) {}
    }

    /// `! owner UID match 0`, `owner GID match 5 incl. suppl. groups`, `owner socket exists`.
    fn owner(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        if cursor.eat("socket exists") {
            let setting = Setting::flag("socket-exists", head.to(cursor)).negated(head.negated);
            self.of_match("owner", setting);
            return Some(());
        }
        let option = if cursor.eat("UID match") {
            "uid-owner"
        } else if cursor.eat("GID match") {
            "gid-owner"
        } else {
            return None;
        };
        let value = cursor.next()?;
        let span = head.whole.span().cover(value.span());
        self.of_match("owner", Setting::new(option, value.text, span).negated(head.negated));
        let groups = cursor.rest();
        if cursor.eat("incl. suppl. groups") {
            self.of_match("owner", Setting::flag("suppl-groups", groups.take(19).span()));
        }
        Some(())
    }
}
