//! `route -n` and `netstat -rn`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{Draft, NextHop, Route, RouteKind, Table};
use crate::diagnostic::Diagnostic;
use crate::host::line::{Line, Word, lines};
use crate::span::Span;

/// Whether a text has the heading of such a table.
pub(super) fn is_legacy(text: &str) -> bool {
    lines(text).any(|line| heading(&line).is_some())
}

/// What the columns of a table are.
#[derive(Clone, Copy)]
enum Columns {
    /// `route -n`, where the fifth cell is the metric.
    Metric,
    /// `netstat -rn`, where the fifth cell is an MSS and there is no metric.
    NoMetric,
    /// `route -6n` and `netstat -6rn`.
    Ipv6,
}

/// The columns that a heading tells.
fn heading(line: &Line<'_>) -> Option<Columns> {
    let mut words = line.words();
    if words.next()?.text != "Destination" {
        return None;
    }
    match words.next()?.text {
        "Gateway" if words.any(|word| word.text == "Metric") => Some(Columns::Metric),
        "Gateway" => Some(Columns::NoMetric),
        "Next" => Some(Columns::Ipv6),
        _ => None,
    }
}

/// The routes of such a table, all of them taken to stand in `main`: the programs know no other.
pub(super) fn routes(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut columns = None;
    for line in lines(text).filter(|line| !line.is_blank()) {
        if let Some(found) = heading(&line) {
            columns = Some(found);
            let message = "this form shows neither tables, types nor source addresses of routes";
            diagnostics.push(
                Diagnostic::warning("legacy-routes", message, line.span)
                    .help("paste `ip route show table all` instead"),
            );
            continue;
        }
        let result = match columns {
            Some(Columns::Ipv6) => ipv6(&line),
            Some(columns) => ipv4(&line, columns),
            None => continue,
        };
        match result {
            Ok(draft) => routes.push(draft.finish(None)),
            Err(_) if line.text.starts_with("Kernel ") => {}
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    routes
}

/// `10.0.0.0  0.0.0.0  255.255.255.0  U  0  0  0  eth0`.
fn ipv4(line: &Line<'_>, columns: Columns) -> Result<Draft, Diagnostic> {
    let cells: Vec<Word<'_>> = line.words().collect();
    let [destination, gateway, mask, flags, metric, _, _, device] = cells.as_slice() else {
        return Err(line.not_understood("a route, as `route -n` prints"));
    };
    let address = match destination.text {
        "default" => Ipv4Addr::UNSPECIFIED,
        _ => destination.parse("an IPv4 address; `route -n` prints no names")?,
    };
    let mask_address: Ipv4Addr = mask.parse("a netmask")?;
    let net = IpNet::with_netmask(address.into(), mask_address.into())
        .map_err(|_| mask.unexpected("a netmask"))?;
    let mut draft = draft(net, *flags, *device, line.span);
    if gateway.text != "-" && gateway.text != "*" {
        let gateway: IpAddr = gateway.parse("the address of a gateway")?;
        draft.next_hop.gateway = Some(gateway).filter(|gateway| !gateway.is_unspecified());
    }
    if matches!(columns, Columns::Metric) {
        draft.metric = metric.parse("a metric")?;
    }
    Ok(draft)
}

/// `2001:db8::/64  ::  U  256  2  0  eth0`.
fn ipv6(line: &Line<'_>) -> Result<Draft, Diagnostic> {
    let cells: Vec<Word<'_>> = line.words().collect();
    let [destination, gateway, flags, metric, _, _, device] = cells.as_slice() else {
        return Err(line.not_understood("a route, as `route -6n` prints"));
    };
    let net = match destination.text {
        "[::]/0" => IpNet::V6(ipnet::Ipv6Net::default()),
        _ => destination.parse("a prefix")?,
    };
    let mut draft = draft(net, *flags, *device, line.span);
    // The entry that stands for having no route at all.
    if metric.text == "-1" {
        draft.metric = u32::MAX;
    } else {
        draft.metric = metric.parse("a metric")?;
    }
    let gateway: IpAddr = gateway.parse("the address of a gateway")?;
    draft.next_hop.gateway = Some(gateway).filter(|gateway| !gateway.is_unspecified());
    Ok(draft)
}

/// A route from the cells that both families have.
fn draft(net: IpNet, flags: Word<'_>, device: Word<'_>, span: Span) -> Draft {
    let own = flags.text.contains('n') && flags.text.starts_with('U');
    let refused = flags.text.starts_with('!') || device.text == "*";
    let device = Some(device.text).filter(|name| !matches!(*name, "-" | "*")).map(str::to_owned);
    // The kernel keeps the routes to groups of IPv6 there, and this form shows no types.
    let group = matches!(net, IpNet::V6(net) if net.addr().is_multicast());
    Draft {
        destination: Some(net),
        kind: match (own, refused) {
            (true, _) => RouteKind::Local,
            (false, true) => RouteKind::Unreachable,
            (false, false) if group => RouteKind::Multicast,
            (false, false) => RouteKind::Unicast,
        },
        table: (own || group).then_some(Table::Local),
        next_hop: NextHop { device, ..NextHop::default() },
        span,
        ..Draft::default()
    }
}
