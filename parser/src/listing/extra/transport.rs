//! Matches of one protocol: tcp, udp, sctp, dccp, icmp, multiport, and the headers of IPv6.

use std::borrow::Cow;

use super::{Extra, Head, Setting};
use crate::listing::piece::Cursor;

/// The chunks of SCTP as `-n` prints them, by number (xt_sctp).
const CHUNKS: &[(u8, &str)] = &[
    (0, "DATA"),
    (1, "INIT"),
    (2, "INIT_ACK"),
    (3, "SACK"),
    (4, "HEARTBEAT"),
    (5, "HEARTBEAT_ACK"),
    (6, "ABORT"),
    (7, "SHUTDOWN"),
    (8, "SHUTDOWN_ACK"),
    (9, "ERROR"),
    (10, "COOKIE_ECHO"),
    (11, "COOKIE_ACK"),
    (12, "ECN_ECNE"),
    (13, "ECN_CWR"),
    (14, "SHUTDOWN_COMPLETE"),
    (64, "I_DATA"),
    (128, "ASCONF_ACK"),
    (130, "RE_CONFIG"),
    (132, "PAD"),
    (192, "FORWARD_TSN"),
    (193, "ASCONF"),
    (194, "I_FORWARD_TSN"),
];

/// The types of DCCP by number (xt_dccp).
const DCCP_TYPES: &[&str] = &[
    "REQUEST", "RESPONSE", "DATA", "ACK", "DATAACK", "CLOSEREQ", "CLOSE", "RESET", "SYNC",
    "SYNCACK", "INVALID",
];

/// The keys of `key:VALUE` parts, or whole words, with the option that each stands for.
type Parts = &'static [(&'static str, &'static str)];

/// The word that a match prints, its name, and its parts.
const PARTS: &[(&str, &str, Parts)] = &[
    ("tcp", "tcp", PORTS),
    ("udp", "udp", PORTS),
    ("udplite", "udplite", PORTS),
    ("sctp", "sctp", PORTS),
    ("dccp", "dccp", PORTS),
    (
        "ah",
        "ah",
        &[("spi:", "ahspi"), ("spis:", "ahspi"), ("length:", "ahlen"), ("reserved", "ahres")],
    ),
    ("esp", "esp", &[("spi:", "espspi"), ("spis:", "espspi")]),
    ("comp", "ipcomp", &[("spi:", "ipcompspi"), ("spis:", "ipcompspi")]),
    (
        "rt",
        "rt",
        &[
            ("type:", "rt-type"),
            ("segsleft:", "rt-segsleft"),
            ("segslefts:", "rt-segsleft"),
            ("length:", "rt-len"),
            ("reserved", "rt-0-res"),
        ],
    ),
    (
        "frag",
        "frag",
        &[
            ("id:", "fragid"),
            ("ids:", "fragid"),
            ("length:", "fraglen"),
            ("reserved", "fragres"),
            ("first", "fragfirst"),
            ("more", "fragmore"),
            ("last", "fraglast"),
        ],
    ),
    ("hbh", "hbh", &[("length:", "hbh-len"), ("opts", "hbh-opts")]),
    ("dst", "dst", &[("length:", "dst-len"), ("opts", "dst-opts")]),
    ("ipv6header", "ipv6header", &[("flags:", "header"), ("soft", "soft")]),
];

const PORTS: Parts = &[
    ("spt:", "sport"),
    ("spts:", "sport"),
    ("dpt:", "dport"),
    ("dpts:", "dport"),
    ("option=", "tcp-option"),
    ("flags:", "tcp-flags"),
];

impl<'a> Extra<'a> {
    pub(super) fn transport(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        if head.negated {
            return None;
        }
        match head.word.text {
            "multiport" => self.multiport(cursor, head),
            "mh" => {
                let (negated, types) = cursor.negatable()?;
                let numbers = mobility_types(types.text)?;
                self.begin("mh", head.word.span());
                self.set(Setting::new("mh-type", numbers, types.span()).negated(negated));
                Some(())
            }
            text if text.starts_with("icmp") => self.icmp(cursor, head, "icmp"),
            text if text.starts_with("ipv6-icmp") => self.icmp(cursor, head, "ipv6-icmp"),
            text => {
                let (printed, name, parts) = PARTS.iter().find(|(printed, _, parts)| {
                    text.strip_prefix(printed).is_some_and(|rest| starts_part(rest, parts))
                })?;
                self.begin(name, head.word.take(printed.len()).span());
                if text.len() > printed.len() {
                    // `tcpflags: 0x17/0x02`, as old versions had it.
                    *cursor = head.from.words();
                    cursor.jump_behind(head.word.take(printed.len()));
                }
                while self.attempt(cursor, |this, cursor| this.part(cursor, name, parts)) {}
                match *name {
                    "sctp" => self.chunks(cursor),
                    "dccp" => self.dccp_types(cursor),
                    _ => {}
                }
                Some(())
            }
        }
    }

    /// One `dpt:80`, `flags:!0x17/0x02`, or `soft`.
    fn part(&mut self, cursor: &mut Cursor<'a>, name: &'static str, parts: Parts) -> Option<()> {
        let before = *cursor;
        let word = cursor.next()?;
        let (key, option) = parts.iter().find(|(key, _)| match key.ends_with([':', '=']) {
            true => word.text.starts_with(key),
            false => word.text == *key,
        })?;
        if !key.ends_with([':', '=']) {
            let setting = match *key {
                "opts" => Setting::new(option, cursor.next()?.text, word.span()),
                _ => Setting::flag(option, word.span()),
            };
            self.set(setting);
            return Some(());
        }
        let (mut negated, mut value) = word.skip(key.len()).negatable();
        let mut whole = word;
        if value.text.is_empty() {
            // `flags: 0x17/0x02`, as old versions had it.
            (negated, value) = cursor.negatable()?;
        }
        // `dpt:22flags: 0x17/0x02` and `spi:5length:4`: the next part touches this one.
        let glued = ["flags:", "length:"].iter().filter_map(|key| value.text.find(key)).min();
        if let Some(glued) = glued.filter(|_| value.start < word.start + word.text.len()) {
            whole = word.take(value.start + glued - word.start);
            value = value.take(glued);
            *cursor = before;
            cursor.jump_behind(whole);
        }
        let span = whole.span().cover(value.span());
        match *option {
            "sport" | "dport" => {
                if let Some(ports) = self.ports(value, whole) {
                    self.set(Setting::new(option, ports, span).negated(negated));
                }
            }
            "tcp-option" if name == "dccp" => {
                self.set(Setting::new("dccp-option", value.text, span).negated(negated));
            }
            "tcp-flags" => {
                let (mask, compare) = value.split_once('/')?;
                if negated {
                    self.push("!", span);
                }
                self.push("--tcp-flags", span);
                self.push(flag_names(mask.text)?, span);
                self.push(flag_names(compare.text)?, span);
            }
            "header" => {
                let names = header_names(value.text)?;
                self.set(Setting::new("header", names, span).negated(negated));
            }
            _ => self.set(Setting::new(option, value.text, span).negated(negated)),
        }
        Some(())
    }

    /// `multiport dports 80,443`, `multiport ports  !1,2`.
    fn multiport(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let option = match cursor.next()?.text {
            "sports" => "sports",
            "dports" => "dports",
            "ports" => "ports",
            _ => return None,
        };
        let (negated, list) = cursor.negatable()?;
        self.begin("multiport", head.word.span());
        if let Some(ports) = self.ports(list, list) {
            let span = head.word.span().cover(list.span());
            self.set(Setting::new(option, ports, span).negated(negated));
        }
        Some(())
    }

    /// `icmptype 3 code 4`, `icmp !type 8`, `icmp type 8`, `icmp !echo-request`.
    fn icmp(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>, printed: &str) -> Option<()> {
        let (name, option) = match printed {
            "icmp" => ("icmp", "icmp-type"),
            _ => ("icmp6", "icmpv6-type"),
        };
        let (negated, numeric) = match head.word.skip(printed.len()).text {
            "type" => (false, None),
            "" => {
                let (negated, word) = cursor.negatable()?;
                (negated, (word.text != "type").then_some(word))
            }
            _ => return None,
        };
        let kind = match numeric {
            Some(word) => Cow::Borrowed(word.text),
            None => {
                let kind = cursor.next()?.text;
                kind.parse::<u8>().ok()?;
                if cursor.eat("code") || cursor.eat("codes") {
                    Cow::Owned(format!("{kind}/{}", cursor.next()?.text))
                } else {
                    Cow::Borrowed(kind)
                }
            }
        };
        self.begin(name, head.word.span());
        self.set(Setting::new(option, kind, head.to(cursor)).negated(negated));
        Some(())
    }

    /// `any 0x0001`, `! all DATA:Be,ABORT:t`, `only ALL`.
    fn chunks(&mut self, cursor: &mut Cursor<'a>) {
        self.attempt(cursor, |this, cursor| {
            let negated = cursor.eat("!");
            let scope = cursor.next()?;
            if !matches!(scope.text, "any" | "all" | "only") {
                return None;
            }
            let list = cursor.next()?;
            let mut names = String::new();
            for chunk in list.text.split(',') {
                let (number, flags) = match chunk.split_once(':') {
                    Some((number, _)) => (number, chunk.get(number.len()..).unwrap_or_default()),
                    None => (chunk, ""),
                };
                let name = match number.strip_prefix("0x") {
                    None => number,
                    Some(hex) => {
                        let number =
                            u8::from_str_radix(hex.trim_start_matches('0'), 16).unwrap_or(0);
                        CHUNKS.iter().find(|(known, _)| *known == number)?.1
                    }
                };
                names.push_str(if names.is_empty() { "" } else { "," });
                names.push_str(name);
                names.push_str(flags);
            }
            let span = scope.span().cover(list.span());
            if negated {
                this.push("!", span);
            }
            this.push("--chunk-types", span);
            this.push(scope.text, span);
            this.push(names, span);
            Some(())
        });
    }

    /// `0,1`, `! REQUEST,RESPONSE`, with `option=5` behind them.
    fn dccp_types(&mut self, cursor: &mut Cursor<'a>) {
        self.attempt(cursor, |this, cursor| {
            let (negated, list) = cursor.negatable()?;
            let names: Option<Vec<&str>> = list
                .text
                .split(',')
                .map(|item| match item.parse::<usize>() {
                    Ok(number) => DCCP_TYPES.get(number).copied(),
                    Err(_) => DCCP_TYPES.iter().find(|name| **name == item).copied(),
                })
                .collect();
            this.set(Setting::new("dccp-types", names?.join(","), list.span()).negated(negated));
            Some(())
        });
        self.attempt(cursor, |this, cursor| this.part(cursor, "dccp", PORTS));
    }
}

/// Whether nothing, or a part with a value, follows the word of a match.
fn starts_part(rest: &str, parts: Parts) -> bool {
    rest.is_empty() || parts.iter().any(|(key, _)| key.ends_with(':') && rest.starts_with(key))
}

/// The flags of `0x17`, or of `FIN,SYN,RST,ACK`, by name.
fn flag_names(text: &str) -> Option<Cow<'_, str>> {
    let Some(hex) = text.strip_prefix("0x") else { return Some(Cow::Borrowed(text)) };
    let bits = u8::from_str_radix(hex, 16).ok()?;
    let names: Vec<&str> = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits & 1 << bit != 0)
        .map(|(_, name)| name)
        .collect();
    if bits & 0xc0 != 0 {
        return None;
    }
    Some(match names.is_empty() {
        true => Cow::Borrowed("NONE"),
        false => Cow::Owned(names.join(",")),
    })
}

/// The headers of `0x82`, or of `hop-by-hop,ipv6-nonxt`, by name (ip6t_ipv6header.h).
fn header_names(text: &str) -> Option<Cow<'_, str>> {
    let Some(hex) = text.strip_prefix("0x") else { return Some(Cow::Borrowed(text)) };
    let bits = u8::from_str_radix(hex, 16).ok()?;
    let names: Vec<&str> = [
        (0x80, "hop-by-hop"),
        (0x40, "ipv6-opts"),
        (0x20, "ipv6-route"),
        (0x10, "ipv6-frag"),
        (0x08, "ah"),
        (0x04, "esp"),
        (0x02, "ipv6-nonxt"),
        (0x01, "prot"),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .map(|(_, name)| name)
    .collect();
    Some(Cow::Owned(names.join(",")))
}

/// The types of `1:2`, or of `home-test-init:careof-test-init`, in numbers (ip6t_mh).
fn mobility_types(text: &str) -> Option<String> {
    const TYPES: [&str; 8] = [
        "binding-refresh-request",
        "home-test-init",
        "careof-test-init",
        "home-test",
        "careof-test",
        "binding-update",
        "binding-acknowledgement",
        "binding-error",
    ];
    let numbers: Option<Vec<String>> = text
        .split(':')
        .map(|name| match name.parse::<u8>() {
            Ok(number) => Some(number.to_string()),
            Err(_) => {
                TYPES.iter().position(|known| *known == name).map(|number| number.to_string())
            }
        })
        .collect();
    Some(numbers?.join(":"))
}
