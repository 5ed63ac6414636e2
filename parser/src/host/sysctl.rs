//! Kernel parameters, as `sysctl -a` prints them.

use super::Read;
use super::line::{Line, lines};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::Family;

/// Kernel parameters in the order of their text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// Each of them once.
    pub entries: Vec<Sysctl>,
}

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Its path below `/proc/sys`, such as `net/ipv4/conf/eth0.100/forwarding`: with slashes,
    /// because an interface name may contain dots.
    pub path: String,
    /// Its value without surrounding white space.
    pub value: String,
    /// The line it stands in.
    pub span: Span,
}

impl Sysctls {
    /// The value of a parameter, such as `net.ipv4.ip_forward` or `net/ipv4/ip_forward`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let path = path(name);
        self.entries.iter().find(|entry| entry.path == path).map(|entry| entry.value.as_str())
    }

    /// The value of a parameter, where it is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// The number of a parameter of an interface, such as `forwarding` of `eth0`; `all` and
    /// `default` are interfaces here.
    #[must_use]
    pub fn interface(&self, family: Family, interface: &str, name: &str) -> Option<i64> {
        let family = match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        self.number(&format!("net/{family}/conf/{interface}/{name}"))
    }
}

/// Reads what `sysctl -a` printed: `a.b.c = v`, also `a/b/c = v` and `a.b.c=v` of `sysctl.conf`.
///
/// An interface name with a dot is understood in all the forms that are about:
/// `net.ipv4.conf.eth0/100.forwarding` of procps, `net.ipv4.conf.eth0.100.forwarding` of busybox and
/// `net/ipv4/conf/eth0.100/forwarding`. What sysctl says of parameters that it may not read is a
/// note. The last value counts where a parameter is there twice.
#[must_use]
pub fn parse(text: &str) -> Read<Sysctls> {
    let mut diagnostics = Vec::new();
    let mut entries: Vec<Sysctl> = Vec::new();
    let mut known = std::collections::HashMap::<String, usize>::new();
    for line in lines(text).filter(|line| !line.is_blank()) {
        let content = line.text.trim();
        if content.starts_with(['#', ';']) {
            continue;
        }
        let Some(entry) = entry(&line) else {
            diagnostics.push(refused(&line));
            continue;
        };
        match known.get(&entry.path).and_then(|&at| entries.get_mut(at)) {
            None => {
                known.insert(entry.path.clone(), entries.len());
                entries.push(entry);
            }
            Some(earlier) => {
                if earlier.value != entry.value {
                    let message = format!(
                        "`{}` is `{}` here and `{}` above",
                        entry.path, entry.value, earlier.value
                    );
                    diagnostics.push(Diagnostic::warning("duplicate-sysctl", message, entry.span));
                }
                *earlier = entry;
            }
        }
    }
    (Sysctls { entries }, diagnostics)
}

/// `net.ipv4.ip_forward = 1`.
fn entry(line: &Line<'_>) -> Option<Sysctl> {
    let (key, value) = line.text.split_once('=')?;
    let key = key.trim();
    // `-` before a key in sysctl.conf: its failure does not matter.
    let key = key.strip_prefix('-').unwrap_or(key);
    let shape = key.contains(['.', '/'])
        && !key.contains(char::is_whitespace)
        && !key.ends_with([':', '.', '/']);
    shape.then(|| Sysctl { path: path(key), value: value.trim().to_owned(), span: line.span })
}

/// The diagnostic of a line that holds no parameter.
fn refused(line: &Line<'_>) -> Diagnostic {
    let text = line.text.trim();
    let says_so = ["sysctl: ", "error: ", "warning: "].iter().any(|start| text.starts_with(start));
    if says_so || text.contains("permission denied on key") {
        Diagnostic::note("sysctl-unreadable", "sysctl could not read a parameter", line.span)
    } else {
        line.not_understood("a kernel parameter, as `sysctl -a` prints: `net.ipv4.ip_forward = 1`")
    }
}

/// The path of a parameter from its name.
fn path(name: &str) -> String {
    let name = name.strip_prefix("/proc/sys/").unwrap_or(name);
    // As in procps, the first separator is the one that counts, and the other one stands for a
    // dot or a slash in a name.
    let dot = name.find('.').unwrap_or(name.len());
    let slash = name.find('/').unwrap_or(name.len());
    if slash < dot {
        return name.to_owned();
    }
    for prefix in
        ["net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.neigh.", "net.ipv6.neigh.", "net.mpls.conf."]
    {
        if let Some((interface, parameter)) =
            name.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('.'))
        {
            let prefix = prefix.replace('.', "/");
            return format!("{prefix}{}/{parameter}", interface.replace('/', "."));
        }
    }
    name.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_name_with_a_dot_is_found_in_every_form() {
        for text in [
            "net.ipv4.conf.eth0/100.forwarding = 1\n",
            "net.ipv4.conf.eth0.100.forwarding = 1\n",
            "net/ipv4/conf/eth0.100/forwarding=1\r\n",
            "/proc/sys/net/ipv4/conf/eth0.100/forwarding = 1",
        ] {
            let (sysctls, complaints) = parse(text);
            assert_eq!(complaints, [], "{text}");
            assert_eq!(
                sysctls.interface(Family::Ipv4, "eth0.100", "forwarding"),
                Some(1),
                "{text}"
            );
            assert_eq!(sysctls.interface(Family::Ipv6, "eth0.100", "forwarding"), None);
            assert_eq!(sysctls.get("net.ipv4.conf.eth0/100.forwarding"), Some("1"));
        }
    }

    #[test]
    fn what_could_not_be_read_is_a_note_and_what_is_not_understood_a_warning() {
        let text = "sysctl: cannot stat /proc/sys/net/foo: No such file or directory\n\
                    sysctl: permission denied on key 'net.ipv4.tcp_fastopen_key'\n\
                    net.ipv4.ip_forward = 1\nnet.ipv4.ip_local_port_range = 32768\t60999\nhello world\n";
        let (sysctls, complaints) = parse(text);
        assert_eq!(sysctls.number("net.ipv4.ip_forward"), Some(1));
        assert_eq!(sysctls.get("net.ipv4.ip_local_port_range"), Some("32768\t60999"));
        assert_eq!(sysctls.number("net.ipv4.ip_local_port_range"), None);
        let severities: Vec<_> = complaints.iter().map(|found| found.severity).collect();
        use crate::Severity::{Note, Warning};
        assert_eq!(severities, [Note, Note, Warning]);
        assert_eq!(complaints[2].span.slice(text), "hello world");
    }

    #[test]
    fn the_last_of_two_values_counts_and_is_reported() {
        let (sysctls, complaints) = parse("net.ipv4.ip_forward = 1\nnet.ipv4.ip_forward = 0\n");
        assert_eq!(sysctls.number("net/ipv4/ip_forward"), Some(0));
        assert_eq!(sysctls.entries.len(), 1);
        assert_eq!(complaints.len(), 1);
    }
}
