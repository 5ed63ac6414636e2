//! What kind of line a line of a paste is.

use super::piece::Piece;
use super::row::{Columns, count, fragment};
use crate::span::Span;
use crate::syntax::{Backend, Counters, Family, Policy, TableName};

/// A command line that lists rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) table: TableName,
    pub(super) family: Family,
    pub(super) backend: Option<Backend>,
    pub(super) span: Span,
}

/// `Chain NAME (…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) name: Piece<'a>,
    pub(super) policy: Option<Policy>,
    pub(super) counters: Option<Counters>,
    pub(super) span: Span,
}

/// A line, as far as it can be told without what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Blank,
    /// A shell command that lists rules.
    Command(Command),
    /// A heading that names a table.
    Table(TableName, Span),
    Chain(Header<'a>),
    Columns(Columns),
    /// The warning of iptables-nft about rules of iptables-legacy (kernel-facts H9).
    Legacy(Span),
    /// A prompt, a fence of Markdown, or a comment: no part of a chain.
    Boundary,
    /// A row or prose.
    Other,
}

/// The line without the marks of a quotation.
pub(super) fn unquoted(line: Piece<'_>) -> Piece<'_> {
    let mut line = line;
    while let Some(inner) = line.trim().strip_prefix(">") {
        line = inner;
    }
    line
}

/// Tells what a line is.
pub(super) fn classify(line: Piece<'_>) -> Line<'_> {
    let trimmed = line.trim();
    if trimmed.text.is_empty() {
        return Line::Blank;
    }
    if let Some(header) = header(trimmed) {
        return Line::Chain(header);
    }
    if let Some(columns) = Columns::of(line) {
        return Line::Columns(columns);
    }
    if trimmed.text.contains("iptables-legacy tables present")
        || trimmed.text.contains("ip6tables-legacy tables present")
    {
        return Line::Legacy(trimmed.span());
    }
    if let Some(command) = command(trimmed) {
        return Line::Command(command);
    }
    if let Some(table) = heading(trimmed) {
        return Line::Table(table, trimmed.span());
    }
    if is_boundary(trimmed.text) {
        return Line::Boundary;
    }
    Line::Other
}

/// `Chain INPUT (policy DROP 12 packets, 3456 bytes)`, `Chain DOCKER (2 references)`.
fn header(line: Piece<'_>) -> Option<Header<'_>> {
    let mut words = line.words();
    if !words.eat("Chain") {
        return None;
    }
    let name = words.next()?;
    let mut header = Header { name, policy: None, counters: None, span: line.span() };
    if words.is_done() {
        return Some(header);
    }
    let mut words = words.rest().strip_prefix("(")?.trim().words();
    if words.eat("policy") {
        let policy = words.next()?.text;
        header.policy = match policy.trim_end_matches(')') {
            "ACCEPT" => Some(Policy::Accept),
            "DROP" => Some(Policy::Drop),
            _ => return None,
        };
        if let (Some(packets), Some(_), Some(bytes)) =
            (words.next().and_then(count), words.next(), words.next().and_then(count))
        {
            header.counters = Some(Counters { packets, bytes });
        }
        return Some(header);
    }
    let rest = words.rest().text;
    (rest.contains("references") || rest.contains("ERROR")).then_some(header)
}

/// The table, family and backend of `… iptables -t nat -nvL …`.
fn command(line: Piece<'_>) -> Option<Command> {
    let mut words = line.words();
    let (family, backend) = words.by_ref().find_map(|word| program(word.text))?;
    let mut table = TableName::Filter;
    let mut lists = false;
    while let Some(word) = words.next() {
        let text = word.text.trim_end_matches([';', '`', '\'', '"', ':', ',', '.', ')']);
        let named = match text {
            "-t" | "--table" => words.next().map(|name| name.text),
            _ => text
                .strip_prefix("--table=")
                .or(text.strip_prefix("-t").filter(|name| !name.is_empty())),
        };
        if let Some(name) = named {
            table = table_named(name)?;
        } else if let Some(long) = text.strip_prefix("--") {
            lists |= long == "list";
        } else if let Some(short) = text.strip_prefix('-') {
            // A cluster such as `-nvL` or `-vnxt`, whose `t` takes the next word.
            let letters = short.bytes().all(|byte| byte.is_ascii_alphanumeric());
            lists |= letters && short.contains('L');
            if letters && short.len() > 1 && short.ends_with('t') && !short.starts_with('t') {
                table = table_named(words.next()?.text)?;
            }
        } else if matches!(text, "|" | "&&" | "||" | ">") && lists {
            break;
        }
    }
    lists.then_some(Command { table, family, backend, span: line.span() })
}

fn program(word: &str) -> Option<(Family, Option<Backend>)> {
    let word = word.trim_matches(['`', '\'', '"', '(', '*']);
    let name = word.rsplit('/').next()?;
    let (family, rest) = match name.strip_prefix("ip6tables") {
        Some(rest) => (Family::Ipv6, rest),
        None => (Family::Ipv4, name.strip_prefix("iptables")?),
    };
    match rest {
        "" => Some((family, None)),
        "-nft" => Some((family, Some(Backend::Nft))),
        "-legacy" => Some((family, Some(Backend::Legacy))),
        _ => None,
    }
}

fn table_named(name: &str) -> Option<TableName> {
    let name = name.trim_matches(|char: char| !char.is_ascii_alphanumeric());
    TableName::ALL.into_iter().find(|table| table.as_str().eq_ignore_ascii_case(name))
}

/// `Table: nat`, `NAT table:`, and the like: the word, a table, and little else.
fn heading(line: Piece<'_>) -> Option<TableName> {
    if line.text.len() > 60 || line.words().count() > 4 {
        return None;
    }
    let word = |name: &str| {
        line.words().any(|word| {
            word.text
                .trim_matches(|char: char| !char.is_ascii_alphanumeric())
                .eq_ignore_ascii_case(name)
        })
    };
    if !word("table") {
        return None;
    }
    TableName::ALL.into_iter().find(|table| word(table.as_str()))
}

fn is_boundary(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    text.starts_with("```")
        || text.starts_with("~~~")
        || text.starts_with('#') && !text.starts_with("#conn")
        || matches!(first, "$" | "%")
        || first.ends_with(['$', '#']) && !first.ends_with("##")
        || text.ends_with("]#")
        || text.ends_with("]$")
        || text.contains("]# ")
        || text.contains("]$ ")
        || text.contains(":~# ")
        || text.contains(":~$ ")
}

/// Whether a line is a rule as `iptables -S` and scripts have it.
pub(super) fn is_rule_command(line: Piece<'_>) -> bool {
    let mut words =
        line.words().skip_while(|word| word.text == "sudo" || program(word.text).is_some());
    let mut first = words.next();
    if first.is_some_and(|word| word.text == "-t") {
        first = words.nth(1);
    }
    let Some(first) = first else { return false };
    let command = matches!(first.text, "-A" | "-I" | "--append" | "--insert");
    command && words.any(|word| matches!(word.text, "-j" | "-g" | "--jump" | "--goto"))
}

/// Targets that prose hardly has beside an address.
const TARGETS: &[&str] =
    &["ACCEPT", "DROP", "REJECT", "LOG", "RETURN", "MASQUERADE", "DNAT", "SNAT", "REDIRECT"];

/// Whether a line that is no row should have been one.
pub(super) fn looks_like_row(line: Piece<'_>) -> bool {
    let opt =
        |text: &str| matches!(text, "--" | "-f" | "!f" | "–" | "—") && fragment(text).is_some();
    let address = |text: &str| {
        let text = text.trim_start_matches('!');
        text == "anywhere"
            || matches!(super::names::place(text, None), Some(super::names::Place::Address(_)))
            || matches!(text, "0.0.0.0/0" | "::/0")
    };
    let first = line.words().next().map_or("", |word| word.text);
    if first.starts_with('-') {
        return false;
    }
    let mut target = false;
    let mut addresses = 0;
    let mut before = "";
    for word in line.words().take(12) {
        let protocol = super::row::is_protocol(before.trim_start_matches('!'));
        if opt(word.text) && (protocol || target || addresses > 0) {
            return true;
        }
        target |= TARGETS.contains(&word.text);
        addresses += u32::from(address(word.text));
        before = word.text;
    }
    target && addresses >= 1 || addresses >= 2 && !is_of_other_tool(line)
}

/// Whether a line with addresses is one of `ip addr`, `ip route`, `ifconfig` or `route -n`, which
/// people paste beside their rules.
fn is_of_other_tool(line: Piece<'_>) -> bool {
    const WORDS: [&str; 10] = [
        "inet",
        "inet6",
        "via",
        "dev",
        "scope",
        "brd",
        "peer",
        "broadcast",
        "netmask",
        "link/ether",
    ];
    // The fourth column of `route -n`.
    const FLAGS: [&str; 4] = ["U", "UG", "UH", "UGH"];
    line.words().any(|word| WORDS.contains(&word.text))
        || line.words().nth(3).is_some_and(|word| FLAGS.contains(&word.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece<'_> {
        Piece { text, start: 0 }
    }

    #[track_caller]
    fn lists(text: &str, table: TableName, family: Family) {
        match classify(piece(text)) {
            Line::Command(command) => {
                assert_eq!((command.table, command.family), (table, family), "{text}")
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn commands_name_the_table() {
        use TableName::{Filter, Mangle, Nat, Raw};
        lists("# iptables -t nat -L -n", Nat, Family::Ipv4);
        lists("root@host:~$ sudo iptables -nL -t nat --line-numbers", Nat, Family::Ipv4);
        lists("$ sudo /sbin/iptables -nvL", Filter, Family::Ipv4);
        lists("[root@localhost ~]# ip6tables --list --table=mangle", Mangle, Family::Ipv6);
        lists("$ iptables-legacy -vnLt raw", Raw, Family::Ipv4);
        lists("Here is the output of `iptables -tnat -L`:", Nat, Family::Ipv4);
        for none in [
            "iptables -A INPUT -j ACCEPT",
            "iptables -t nat -S",
            "iptables-save",
            "the iptables list",
        ] {
            assert!(!matches!(classify(piece(none)), Line::Command(_)), "{none}");
        }
    }

    #[test]
    fn what_other_tools_print_is_no_row() {
        for other in [
            "    inet 173.208.194.202/29 brd 173.208.194.207 scope global eth0",
            "172.17.0.0/16 dev docker0  proto kernel  scope link  src 172.17.0.1",
            "    ip route add 172.17.0.0/16 via 192.168.12.107",
            "0.0.0.0         192.168.1.1     0.0.0.0         UG    0      0        0 eth0",
            "        inet 10.0.0.2  netmask 255.255.255.0  broadcast 10.0.0.255",
        ] {
            assert!(!looks_like_row(piece(other)), "{other}");
        }
        for row in [
            "ACCEPT     10.0.0.0/8           192.168.1.1          /* via dev */",
            "0    --  10.0.0.0/8           192.168.1.1            /* via dev */",
            "10.0.0.0/8           192.168.1.1            state NEW",
        ] {
            assert!(looks_like_row(piece(row)), "{row}");
        }
    }

    #[test]
    fn headings_name_the_table() {
        assert!(matches!(classify(piece("Table: nat")), Line::Table(TableName::Nat, _)));
        assert!(matches!(classify(piece("### NAT table:")), Line::Table(TableName::Nat, _)));
        assert_eq!(classify(piece("the table stands near the filter coffee")), Line::Other);
    }

    #[test]
    fn chain_headers_have_many_forms() {
        let header = |text| match classify(piece(text)) {
            Line::Chain(header) => (header.name.text.to_owned(), header.policy, header.counters),
            other => panic!("{text}: {other:?}"),
        };
        let counters = |packets, bytes| Some(Counters { packets, bytes });
        assert_eq!(header("Chain X (policy ACCEPT)"), ("X".into(), Some(Policy::Accept), None));
        assert_eq!(
            header("Chain X (policy DROP 12 packets, 3456 bytes)"),
            ("X".into(), Some(Policy::Drop), counters(12, 3456))
        );
        assert_eq!(
            header("Chain X (policy DROP 12M packets, 34G bytes)"),
            ("X".into(), Some(Policy::Drop), counters(12_000_000, 34_000_000_000))
        );
        assert_eq!(header("Chain X (2 references)"), ("X".into(), None, None));
        assert_eq!(header("Chain X (0 references)"), ("X".into(), None, None));
        assert_eq!(classify(piece("Chain reactions are dangerous")), Line::Other);
    }
}
