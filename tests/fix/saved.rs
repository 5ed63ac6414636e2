//! Rules as iptables-save prints them, as far as they mean something, and settings as sysctl does.

/// Rules without what counts on.
pub(crate) fn steady(rules: &str) -> Vec<String> {
    let lines = rules.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| match (line.split_once(" ["), line.split_once("] -A")) {
        (Some((chain, _)), _) if line.starts_with(':') => chain.to_owned(),
        (_, Some((_, rule))) if line.starts_with('[') => format!("-A{rule}"),
        _ => line.to_owned(),
    });
    lines.collect()
}

/// Tables in the order of their names, their chains and rules as they are, without tables in which
/// nothing stands.
pub(crate) fn sorted(lines: &[String]) -> Vec<Vec<String>> {
    let mut tables: Vec<Vec<String>> = Vec::new();
    for line in lines {
        match line.starts_with('*') {
            true => tables.push(vec![line.clone()]),
            false => tables.last_mut().unwrap().push(line.clone()),
        }
    }
    tables.retain(|table| {
        table
            .iter()
            .any(|line| line.starts_with("-A") || line.ends_with(" -") || line.ends_with("DROP"))
    });
    for table in &mut tables {
        // Chains that the rules do not name may stand in another order.
        let chains = table.iter().filter(|line| line.starts_with(':')).count();
        table[1..=chains].sort();
    }
    tables.sort();
    tables
}

/// A text with a unified diff of it applied; `None` where it does not fit.
pub(crate) fn patched(text: &str, diff: &str) -> Option<String> {
    let old: Vec<&str> = text.lines().collect();
    let (mut new, mut at) = (Vec::new(), 0);
    let told = diff.lines().skip_while(|line| line.starts_with('#'));
    for line in told.skip(2) {
        if let Some(numbers) = line.strip_prefix("@@ -") {
            let number = numbers.split([',', ' ']).next()?.parse::<usize>().ok()?;
            // A hunk of no old lines names the line before it.
            let none = numbers.split(' ').next()?.ends_with(",0");
            let from = if none { number } else { number - 1 };
            new.extend_from_slice(old.get(at..from)?);
            at = from;
            continue;
        }
        let (sign, rest) = line.split_at(1);
        if sign != "+" {
            if *old.get(at)? != rest {
                return None;
            }
            at += 1;
        }
        if sign != "-" {
            new.push(rest);
        }
    }
    new.extend_from_slice(old.get(at..)?);
    Some(new.iter().map(|line| format!("{line}\n")).collect())
}

/// A text with its tables in an order.
pub(crate) fn ordered(text: &str, order: &[String]) -> String {
    let mut tables: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match tables.last_mut().filter(|_| !line.starts_with('*')) {
            Some(table) => *table += &format!("{line}\n"),
            None => tables.push(format!("{line}\n")),
        }
    }
    tables.sort_by_key(|table| {
        order.iter().position(|name| Some(name.as_str()) == table.lines().next())
    });
    tables.concat()
}

/// A setting among others.
pub(crate) fn set(text: &str, name: &str, value: &str) -> String {
    let mut all: Vec<String> = Vec::new();
    // The one of IPv6 writes all interfaces, that of IPv4 as well.
    let every = match name {
        "net.ipv4.ip_forward" => Some("net.ipv4.conf."),
        "net.ipv6.conf.all.forwarding" => Some("net.ipv6.conf."),
        _ => None,
    };
    for line in text.lines() {
        let own = line.split_once(" = ").map_or(line, |(own, _)| own);
        let written =
            every.is_some_and(|every| own.starts_with(every) && own.ends_with(".forwarding"));
        match (own == name, written) {
            (true, _) => {}
            (_, true) => all.push(format!("{own} = {value}")),
            _ => all.push(line.to_owned()),
        }
    }
    all.push(format!("{name} = {value}"));
    all.join("\n") + "\n"
}
