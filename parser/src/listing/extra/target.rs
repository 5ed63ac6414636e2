//! What targets print of themselves, at the end of a row.

use std::borrow::Cow;

use super::{Extra, Setting};
use crate::listing::piece::{Cursor, Piece};

/// Words, the option that each stands for, and whether a value follows.
type Words = &'static [(&'static str, &'static str, bool)];

/// Options of targets that stand as words before their value or alone: the target, the word that
/// introduces them, and the words.
const WORDED: &[(&str, &str, Words)] = &[
    ("REJECT", "", &[("reject-with", "reject-with", true)]),
    ("CHECKSUM", "CHECKSUM", &[("fill", "checksum-fill", false)]),
    ("AUDIT", "AUDIT", &[]),
    (
        "CT",
        "CT",
        &[
            ("notrack", "notrack", false),
            ("helper", "helper", true),
            ("timeout", "timeout", true),
            ("ctevents", "ctevents", true),
            ("expevents", "expevents", true),
            ("zone-orig", "zone-orig", true),
            ("zone-reply", "zone-reply", true),
            ("zone", "zone", true),
        ],
    ),
    (
        "SYNPROXY",
        "SYNPROXY",
        &[
            ("sack-perm", "sack-perm", false),
            ("timestamp", "timestamp", false),
            ("wscale", "wscale", true),
            ("mss", "mss", true),
            ("ecn", "ecn", false),
        ],
    ),
    (
        "NFQUEUE",
        "NFQUEUE",
        &[
            ("num", "queue-num", true),
            ("balance", "queue-balance", true),
            ("bypass", "queue-bypass", false),
            ("cpu-fanout", "queue-cpu-fanout", false),
        ],
    ),
    (
        "RATEEST",
        "",
        &[
            ("name", "rateest-name", true),
            ("interval", "rateest-interval", true),
            ("ewmalog", "rateest-ewmalog", true),
        ],
    ),
    (
        "HMARK",
        "HMARK",
        &[
            ("mod", "hmark-mod", true),
            ("src-prefix", "hmark-src-prefix", true),
            ("dst-prefix", "hmark-dst-prefix", true),
            ("sport-mask", "hmark-sport-mask", true),
            ("dport-mask", "hmark-dport-mask", true),
            ("spi-mask", "hmark-spi-mask", true),
            ("sport", "hmark-sport", true),
            ("dport", "hmark-dport", true),
            ("spi", "hmark-spi", true),
            ("proto-mask", "hmark-proto-mask", true),
            ("rnd", "hmark-rnd", true),
        ],
    ),
    ("SNPT", "SNPT", &[("src-pfx", "src-pfx", true), ("dst-pfx", "dst-pfx", true)]),
    ("DNPT", "DNPT", &[("src-pfx", "src-pfx", true), ("dst-pfx", "dst-pfx", true)]),
];

/// The TCP options that TCPOPTSTRIP prints by name.
const TCP_OPTIONS: &[(&str, &str)] = &[
    ("mss", "2"),
    ("wscale", "3"),
    ("sack-permitted", "4"),
    ("sack", "5"),
    ("timestamp", "8"),
    ("md5", "19"),
];

/// The bits of `LOG flags` (xt_LOG.h).
const LOG_FLAGS: &[(u32, &str, &str)] = &[
    (0x01, "tcp-sequence", "log-tcp-sequence"),
    (0x02, "tcp-options", "log-tcp-options"),
    (0x04, "ip-options", "log-ip-options"),
    (0x08, "uid", "log-uid"),
    (0x20, "macdecode", "log-macdecode"),
];

impl<'a> Extra<'a> {
    /// Reads the own text of this target; `None` if it does not stand here.
    pub(super) fn target(&mut self, cursor: &mut Cursor<'a>, name: &str) -> Option<()> {
        if name == "CT" && cursor.eat("NOTRACK") {
            // NOTRACK is an alias of CT, which the column shows.
            self.renamed = Some("NOTRACK");
            return Some(());
        }
        if let Some((_, head, words)) = WORDED.iter().find(|(target, ..)| *target == name) {
            return self.worded(cursor, name, head, words);
        }
        match name {
            "DNAT" => self.translation(cursor, "to-destination"),
            "SNAT" => self.translation(cursor, "to-source"),
            "MASQUERADE" => self.ports_only(cursor, "masq ports:"),
            "REDIRECT" => self.ports_only(cursor, "redir ports"),
            "NETMAP" => {
                let network = match cursor.eat_prefix("to:") {
                    Some(network) => network,
                    None => cursor.next().filter(|word| word.text.contains(['.', ':']))?,
                };
                self.set(Setting::new("to", network.text, network.span()));
                Some(())
            }
            "LOG" => self.log(cursor),
            "NFLOG" => self.netlink_log(cursor),
            "MARK" => cursor.eat("MARK").then(|| self.mark_operation(cursor))?,
            "CONNMARK" => cursor.eat("CONNMARK").then(|| self.connection_mark(cursor))?,
            "TOS" => self.set_tos(cursor),
            "DSCP" => {
                let value = cursor.eat("DSCP set").then(|| cursor.next())??;
                self.set(Setting::new("set-dscp", value.text, value.span()));
                Some(())
            }
            "TTL" => self.set_hops(cursor, "TTL", ["ttl-set", "ttl-inc", "ttl-dec"]),
            "HL" => self.set_hops(cursor, "HL", ["hl-set", "hl-inc", "hl-dec"]),
            "TCPMSS" => self.segment_size(cursor),
            "TCPOPTSTRIP" => self.strip_options(cursor),
            "CLASSIFY" => {
                let class = cursor.eat("CLASSIFY set").then(|| cursor.next())??;
                self.set(Setting::new("set-class", class.text, class.span()));
                Some(())
            }
            "ECN" => {
                let whole = cursor.rest();
                cursor.eat("ECN TCP remove").then_some(())?;
                self.set(Setting::flag("ecn-tcp-remove", whole.take(14).span()));
                Some(())
            }
            "TPROXY" => self.transparent_proxy(cursor),
            "TEE" => {
                let gateway = cursor.eat("TEE").then(|| cursor.eat_prefix("gw:"))??;
                let address = self.host(gateway)?;
                self.set(Setting::new("gateway", address, gateway.span()));
                if let Some(interface) = cursor.eat_prefix("oif=") {
                    self.set(Setting::new("oif", interface.text, interface.span()));
                }
                Some(())
            }
            "IDLETIMER" => {
                let timeout = cursor.eat_prefix("timeout:")?;
                let label = cursor.eat_prefix("label:")?;
                self.set(Setting::new("timeout", timeout.text, timeout.span()));
                self.set(Setting::new("label", label.text, label.span()));
                self.flags(cursor, &["alarm"], "");
                Some(())
            }
            "SET" => self.set_target(cursor),
            _ => None,
        }
    }

    /// A target whose options are words, as in `NFQUEUE num 3 bypass`.
    fn worded(
        &mut self,
        cursor: &mut Cursor<'a>,
        target: &str,
        head: &str,
        words: Words,
    ) -> Option<()> {
        let headed = !head.is_empty() && cursor.eat(head);
        if !head.is_empty() && !headed {
            return None;
        }
        if target == "AUDIT" {
            let kind = cursor.next()?;
            self.set(Setting::new("type", kind.text, kind.span()));
            return Some(());
        }
        let mut any = headed;
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.next()?;
            let (_, option, valued) = words.iter().find(|(printed, ..)| *printed == word.text)?;
            let setting = match valued {
                true => {
                    let value = cursor.next()?;
                    Setting::new(option, value.text, word.span().cover(value.span()))
                }
                false => Setting::flag(option, word.span()),
            };
            this.set(setting);
            Some(())
        }) {
            any = true;
        }
        any.then_some(())
    }

    /// `to:10.0.0.1-10.0.0.9:80-90 random persistent`.
    fn translation(&mut self, cursor: &mut Cursor<'a>, option: &'static str) -> Option<()> {
        let to = cursor.eat_prefix("to:").filter(|to| !to.text.is_empty())?;
        self.set(Setting::new(option, to.text, to.span()));
        self.flags(cursor, &["random", "random-fully", "persistent"], "");
        Some(())
    }

    /// `masq ports: 1000-2000 random-fully`, `redir ports 80 random`, or only `random`.
    fn ports_only(&mut self, cursor: &mut Cursor<'a>, phrase: &str) -> Option<()> {
        let from = self.words.len();
        if cursor.eat(phrase) {
            let ports = cursor.next()?;
            self.set(Setting::new("to-ports", ports.text, ports.span()));
        }
        self.flags(cursor, &["random", "random-fully"], "");
        (self.words.len() > from).then_some(())
    }

    /// `LOG flags 14 level 4 prefix "foo: "`, `LOG level warn tcp-options prefix "foo: "`.
    fn log(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let head = cursor.peek()?;
        cursor.eat("LOG").then_some(())?;
        if cursor.eat("flags") {
            let word = cursor.next()?;
            let bits: u32 = word.text.parse().ok()?;
            for (bit, _, option) in LOG_FLAGS {
                if bits & bit != 0 {
                    self.set(Setting::flag(option, word.span()));
                }
            }
        }
        if cursor.eat("level") {
            let level = cursor.next()?;
            // The names that iptables lists are not all names that it takes.
            let name = match level.text {
                "err" => "error",
                "warn" => "warning",
                name => name,
            };
            self.set(Setting::new("log-level", name, level.span()));
        }
        while let Some(word) = cursor.peek()
            && let Some((.., option)) = LOG_FLAGS.iter().find(|(_, name, _)| *name == word.text)
        {
            self.set(Setting::flag(option, word.span()));
            cursor.jump_behind(word);
        }
        if cursor.eat("prefix") {
            let prefix = log_prefix(cursor)?;
            self.set(Setting::new("log-prefix", prefix.text, head.span().cover(prefix.span())));
        }
        Some(())
    }

    /// `nflog-prefix "x y" nflog-group 5 nflog-threshold 2`.
    fn netlink_log(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let from = self.words.len();
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.next()?;
            let option = match word.text {
                "nflog-prefix" => {
                    let prefix = saved_string(cursor)?;
                    this.set(Setting::new("nflog-prefix", prefix, word.span()));
                    return Some(());
                }
                "nflog-group" => "nflog-group",
                "nflog-range" => "nflog-range",
                "nflog-size" => "nflog-size",
                "nflog-threshold" => "nflog-threshold",
                _ => return None,
            };
            let value = cursor.next()?;
            this.set(Setting::new(option, value.text, word.span().cover(value.span())));
            Some(())
        }) {}
        (self.words.len() > from).then_some(())
    }

    /// `set 0x1`, `xset 0x1/0xff`, `and 0x1`, `or 0x1`, `xor 0x1`.
    fn mark_operation(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let option = match cursor.next()?.text {
            "set" => "set-mark",
            "xset" => "set-xmark",
            "and" => "and-mark",
            "or" => "or-mark",
            "xor" => "xor-mark",
            _ => return None,
        };
        let value = cursor.next()?;
        self.set(Setting::new(option, value.text, value.span()));
        Some(())
    }

    /// `save mask 0xff`, `restore ctmask 0xff00 nfmask ~0xff`, or an operation as of MARK.
    fn connection_mark(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let word = cursor.peek()?;
        let option = match word.text {
            "save" => "save-mark",
            "restore" => "restore-mark",
            _ => return self.mark_operation(cursor),
        };
        cursor.next();
        self.set(Setting::flag(option, word.span()));
        while let Some(word) = cursor.peek() {
            let option = match word.text {
                "mask" => "mask",
                "nfmask" => "nfmask",
                "ctmask" => "ctmask",
                _ => break,
            };
            cursor.next();
            let value = cursor.next()?;
            let value = value.strip_prefix("~").unwrap_or(value);
            self.set(Setting::new(option, value.text, value.span()));
        }
        Some(())
    }

    /// `TOS set 0x10/0xff`, `TOS and 0x0f`, `TOS setMinimize-Delay`.
    fn set_tos(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        cursor.eat("TOS").then_some(())?;
        let word = cursor.next()?;
        let (option, value) = match word.text {
            "set" => ("set-tos", cursor.next()?),
            "and" => ("and-tos", cursor.next()?),
            "or" => ("or-tos", cursor.next()?),
            "xor" => ("xor-tos", cursor.next()?),
            _ => ("set-tos", word.strip_prefix("set")?),
        };
        self.set(Setting::new(option, value.text, value.span()));
        Some(())
    }

    /// `TTL set to 64`, `TTL increment by 1`, `TTL decrement by 1`.
    fn set_hops(
        &mut self,
        cursor: &mut Cursor<'a>,
        head: &str,
        [set, increment, decrement]: [&'static str; 3],
    ) -> Option<()> {
        cursor.eat(head).then_some(())?;
        let option = if cursor.eat("set to") {
            set
        } else if cursor.eat("increment by") {
            increment
        } else if cursor.eat("decrement by") {
            decrement
        } else {
            return None;
        };
        let value = cursor.next()?;
        self.set(Setting::new(option, value.text, value.span()));
        Some(())
    }

    /// `TCPMSS clamp to PMTU`, `TCPMSS set 1400`.
    fn segment_size(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let whole = cursor.rest();
        if cursor.eat("TCPMSS clamp to PMTU") {
            self.set(Setting::flag("clamp-mss-to-pmtu", whole.take(20).span()));
            return Some(());
        }
        let size = cursor.eat("TCPMSS set").then(|| cursor.next())??;
        self.set(Setting::new("set-mss", size.text, size.span()));
        Some(())
    }

    /// `TCPOPTSTRIP options 3,8`, `TCPOPTSTRIP options wscale,timestamp`.
    fn strip_options(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let list = cursor.eat("TCPOPTSTRIP options").then(|| cursor.next())??;
        let number = |name: &'a str| {
            let known = TCP_OPTIONS.iter().find(|(known, _)| *known == name);
            known.map_or(name, |(_, number)| *number)
        };
        let numbers: Vec<&str> = list.text.split(',').map(number).collect();
        self.set(Setting::new("strip-options", numbers.join(","), list.span()));
        Some(())
    }

    /// `TPROXY redirect 127.0.0.1:8080 mark 0x1/0xffffffff`.
    fn transparent_proxy(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let to = cursor.eat("TPROXY redirect").then(|| cursor.next())??;
        let (address, port) = to.text.rsplit_once(':')?;
        self.set(Setting::new("on-port", port, to.span()));
        self.set(Setting::new("on-ip", address, to.span()));
        if cursor.eat("mark") {
            let mark = cursor.next()?;
            self.set(Setting::new("tproxy-mark", mark.text, mark.span()));
        }
        Some(())
    }

    /// `add-set NAME src exist timeout 60`, `del-set NAME src`.
    fn set_target(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        let from = self.words.len();
        while self.attempt(cursor, |this, cursor| {
            let word = cursor.next()?;
            let text = match word.text {
                "exist" => "exist",
                "timeout" => "timeout",
                "map-mark" => "map-mark",
                "map-prio" => "map-prio",
                "map-queue" => "map-queue",
                option @ ("add-set" | "del-set" | "map-set") => {
                    let (name, directions) = (cursor.next()?, cursor.next()?);
                    this.push(format!("--{option}"), word.span());
                    this.push(name.text, name.span());
                    this.push(directions.text, directions.span());
                    return Some(());
                }
                _ => return None,
            };
            let setting = match text {
                "timeout" => Setting::new("timeout", cursor.next()?.text, word.span()),
                _ => Setting::flag(text, word.span()),
            };
            this.set(setting);
            Some(())
        }) {}
        (self.words.len() > from).then_some(())
    }
}

/// The prefix of LOG, which may hold quotes and ends the row; `` `foo' `` in old versions.
fn log_prefix<'a>(cursor: &mut Cursor<'a>) -> Option<Piece<'a>> {
    let rest = cursor.rest().trim();
    let quotes = [("\"", '"'), ("“", '”'), ("`", '\'')];
    let (inner, close) =
        quotes.iter().find_map(|(open, close)| Some((rest.strip_prefix(open)?, *close)))?;
    let end = inner.text.rfind(close)?;
    cursor.jump_behind(inner.take(end + close.len_utf8()));
    Some(inner.take(end))
}

/// A string as iptables-save prints it: in quotes, with backslashes, where it has to be.
fn saved_string<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    let Some(inner) = cursor.rest().strip_prefix("\"") else {
        return cursor.next().map(|word| Cow::Borrowed(word.text));
    };
    let mut text = String::new();
    let mut chars = inner.text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                cursor.jump_behind(inner.take(at + 1));
                return Some(Cow::Owned(text));
            }
            '\\' => text.push(chars.next()?.1),
            char => text.push(char),
        }
    }
    None
}
