//! Which form a rules text has, and what its comments tell.

use crate::syntax::{Backend, Family, RulesFormat, TableName};

/// The form of a rules text: a `*table` line makes it iptables-save, a `Chain … (…)` line a
/// listing, whichever is first; else commands of a shell make it a script, and lines such as
/// `-A …` a list of commands as of `iptables -S`.
#[must_use]
pub fn recognize(text: &str) -> RulesFormat {
    let mut script = is_shell(text);
    let mut listed = false;
    let mut joined = false;
    // A command of which several lines are one, and the families of such commands.
    let mut command = String::new();
    let mut families = (false, false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if script && feeds_restore(line) {
            return RulesFormat::Script;
        }
        script |= !joined && changes(line);
        if script && feeds_restore(line) {
            return RulesFormat::Script;
        }
        let front = line.trim_start();
        listed |= !joined && ["-A ", "-I ", "-P ", "-N "].iter().any(|one| front.starts_with(one));
        let whole = line.trim_end();
        let goes_on = whole.ends_with('\\');
        if goes_on || joined {
            command.push_str(whole.trim_end_matches('\\'));
            command.push(' ');
        }
        if joined && !goes_on {
            if let Some(found) = invocation(&command).filter(|_| changes(&command)) {
                match found.family {
                    Family::Ipv4 => families.0 = true,
                    Family::Ipv6 => families.1 = true,
                }
            }
            command.clear();
        }
        joined = goes_on;
        // Lists are read in quotations as well.
        let unquoted = line.trim_start_matches(['>', ' ', '\t']).trim_end();
        let line = line.trim();
        if line.strip_prefix('*').is_some_and(is_table_header) {
            let replayed = crate::replay::is_ufw(text) || crate::replay::is_edited(text);
            return if replayed { RulesFormat::Script } else { RulesFormat::Save };
        }
        if is_listing_header(unquoted) {
            let columns = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
            let verbose = columns.split_whitespace().any(|column| column == "pkts");
            return RulesFormat::Listing { verbose };
        }
    }
    // A list of commands is of one family.
    script |= families == (true, true);
    if script && !listed { RulesFormat::Script } else { RulesFormat::Commands }
}

/// Whether the first line names a shell.
fn is_shell(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("#!") && first.contains("sh") && !first.contains("tables")
}

/// Whether a line gives iptables-restore its input.
pub(crate) fn feeds_restore(line: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with('#') && line.contains("tables-") && line.contains("restore")
        || line.starts_with("cat ") && line.contains("<<")
        || ["echo ", "printf "].iter().any(|start| line.starts_with(start)) && line.contains('*')
}

/// Whether a line is a command of a shell that changes rules.
pub(crate) fn changes(line: &str) -> bool {
    if !line.contains("tables") && !line.contains('$') {
        return false;
    }
    let line = line.trim_start();
    if feeds_restore(line) && (line.contains("<<") || line.contains('|')) {
        return true;
    }
    let mut words = line.split_ascii_whitespace();
    // `# iptables -A …` may be behind the prompt of root.
    let comment = line.starts_with('#');
    let mut found = false;
    for (index, word) in words.by_ref().enumerate() {
        let word = word.trim_matches(['"', '\'', '`', '(', '{', '}', ';']);
        let variable = word.strip_prefix('$').map(|name| name.trim_start_matches('{'));
        let named = program(word).is_some_and(|program| program.tool == Tool::Rules)
            || variable.is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                name.contains("ipt") || name.contains("ip6t") || name.contains("tables")
            })
            || word.rsplit(['$', '#', ':']).next().is_some_and(|name| {
                program(name).is_some_and(|program| program.tool == Tool::Rules)
            });
        if named && (!comment || index == 1) {
            found = true;
            break;
        }
    }
    found && words.any(crate::replay::changes_rules)
}

/// Whether this stands behind the `*` of a table: `*nat`, or `* nat` as iptables-restore also
/// takes it; a table that does not exist only without the blank, which is otherwise prose.
pub(crate) fn is_table_header(rest: &str) -> bool {
    let glued = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase());
    // What stands behind the name does not count.
    glued
        || table(rest.trim()).is_some()
        || rest.split([' ', '\t']).next().is_some_and(|name| table(name).is_some())
}

/// `Chain NAME (policy …)` or `Chain NAME (1 references)`.
pub(crate) fn is_listing_header(line: &str) -> bool {
    line.strip_prefix("Chain ").and_then(|rest| rest.split_once(" (")).is_some_and(
        |(name, rest)| {
            !name.trim().contains(' ')
                && (rest.starts_with("policy ") || rest.contains("reference"))
        },
    )
}

/// What the first comment of iptables-save tells (kernel-facts H8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) family: Option<Family>,
    pub(crate) backend: Option<Backend>,
}

/// Reads `# Generated by PROGRAM vVERSION [(nf_tables)] on DATE`. iptables-legacy has no tag.
pub(crate) fn header(line: &str) -> Option<Header> {
    let rest = line.strip_prefix('#')?.trim_start().strip_prefix("Generated by ")?;
    let program = rest.split_whitespace().next()?;
    let family = if program.contains("ip6tables") {
        Some(Family::Ipv6)
    } else {
        program.contains("iptables").then_some(Family::Ipv4)
    };
    let backend = match rest {
        _ if rest.contains("(nf_tables)") || program.contains("nft") => Some(Backend::Nft),
        _ => family.map(|_| Backend::Legacy),
    };
    Some(Header { family, backend })
}

/// An `iptables` command on a line: a prompt with a command, a heading, a line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invocation<'a> {
    pub(crate) family: Family,
    pub(crate) backend: Option<Backend>,
    /// What stands behind the name of the program.
    pub(crate) arguments: &'a str,
    /// Whether the line is a comment.
    pub(crate) comment: bool,
}

/// What a program of iptables does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `iptables`.
    Rules,
    /// `iptables-restore`.
    Restore,
    /// `iptables-save`.
    Save,
}

/// A program of iptables, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) family: Family,
    pub(crate) backend: Option<Backend>,
    pub(crate) tool: Tool,
}

/// The program that a word names, with or without its folder.
pub(crate) fn program(word: &str) -> Option<Program> {
    let name = word.rsplit('/').next()?;
    let (family, rest) = match (name.strip_prefix("iptables"), name.strip_prefix("ip6tables")) {
        (Some(rest), _) => (Family::Ipv4, rest),
        (_, Some(rest)) => (Family::Ipv6, rest),
        _ => return None,
    };
    let (backend, rest) = match (rest.strip_prefix("-nft"), rest.strip_prefix("-legacy")) {
        (Some(rest), _) => (Some(Backend::Nft), rest),
        (_, Some(rest)) => (Some(Backend::Legacy), rest),
        _ => (None, rest),
    };
    let tool = match rest {
        "" => Tool::Rules,
        "-restore" => Tool::Restore,
        "-save" => Tool::Save,
        _ => return None,
    };
    Some(Program { family, backend, tool })
}

/// Whether a word names a program of iptables.
pub(crate) fn is_rules_program(word: &str) -> bool {
    program(word).is_some()
}

/// Finds an `iptables` command on a line, behind a prompt, `sudo` or a path.
pub(crate) fn invocation(line: &str) -> Option<Invocation<'_>> {
    let at = memchr::memmem::find(line.as_bytes(), b"tables")?;
    let start =
        line.get(..at)?.rfind(|char: char| char.is_whitespace()).map_or(0, |blank| blank + 1);
    let rest = line.get(start..)?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, arguments) = rest.split_at_checked(end)?;
    let program = word.rsplit(['/', '`', '$', '#', '"', '\'', ':', '(']).next()?;
    let (family, suffix) =
        match (program.strip_prefix("iptables"), program.strip_prefix("ip6tables")) {
            (Some(suffix), _) => (Family::Ipv4, suffix),
            (_, Some(suffix)) => (Family::Ipv6, suffix),
            _ => return None,
        };
    let backend = match suffix {
        "" => None,
        "-nft" => Some(Backend::Nft),
        "-legacy" => Some(Backend::Legacy),
        _ => return None,
    };
    let comment = line.trim_start().starts_with('#') && !line.trim_start().starts_with("#!");
    Some(Invocation { family, backend, arguments, comment })
}

/// The table of this name.
pub(crate) fn table(name: &str) -> Option<TableName> {
    TableName::ALL.into_iter().find(|table| table.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_recognised_in_prose() {
        let check = |text: &str, expected| assert_eq!(recognize(text), expected, "{text}");
        check("hello\n# x\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", RulesFormat::Save);
        check("-P INPUT ACCEPT\n-A INPUT -j DROP\n", RulesFormat::Commands);
        check("* nat\n:X - [0:0]\nCOMMIT\n", RulesFormat::Save);
        check("* this is prose\n-A INPUT -j DROP", RulesFormat::Commands);
        check(
            "see:\nChain INPUT (policy ACCEPT)\ntarget     prot opt source destination\n",
            RulesFormat::Listing { verbose: false },
        );
        check(
            "Chain DOCKER (1 references)\r\n pkts bytes target     prot opt in     out\r\n",
            RulesFormat::Listing { verbose: true },
        );
        check(
            "> > Chain INPUT (policy ACCEPT)\n> > target prot opt source destination\n",
            RulesFormat::Listing { verbose: false },
        );
        let joined = "iptables \\\n-w \\\n--insert INPUT \\\n--jump ACCEPT\n";
        check(joined, RulesFormat::Commands);
        check(&format!("{joined}{}", joined.replace("ip", "ip6")), RulesFormat::Script);
        check("", RulesFormat::Commands);
    }

    #[test]
    fn the_header_tells_family_and_backend() {
        let nft = header("# Generated by ip6tables-save v1.8.9 (nf_tables) on Mon").expect("nft");
        assert_eq!((nft.family, nft.backend), (Some(Family::Ipv6), Some(Backend::Nft)));
        let legacy = header("# Generated by iptables-save v1.6.1 on Mon").expect("legacy");
        assert_eq!((legacy.family, legacy.backend), (Some(Family::Ipv4), Some(Backend::Legacy)));
        assert_eq!(header("# Completed on Mon"), None);
    }

    #[test]
    fn a_command_is_found_behind_a_prompt() {
        let found = |line| invocation(line).map(|found| (found.family, found.arguments));
        assert_eq!(found("root@h:~# iptables -t nat -S"), Some((Family::Ipv4, " -t nat -S")));
        assert_eq!(found("sudo /sbin/ip6tables -A INPUT"), Some((Family::Ipv6, " -A INPUT")));
        assert_eq!(found("# iptables -t nat -S").map(|(_, rest)| rest), Some(" -t nat -S"));
        assert_eq!(found("$ iptables-save"), None);
        assert_eq!(found("no such thing"), None);
    }
}
