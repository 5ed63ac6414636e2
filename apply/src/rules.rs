//! The rules of a host, of both backends.
//!
//! `iptables-save` is one of two programs behind one name, and a host may hold rules of both
//! (kernel-facts A13). Listing must not create anything: `iptables-legacy -L` would instantiate
//! the table it lists, `iptables-legacy-save` only reads those that `/proc/net/ip_tables_names`
//! tells, and it is run only where that file names any.

use std::fs;

use nattrace_model::host::Part;
use nattrace_parser::syntax::{Backend, Family};

use crate::capture::Capture;
use crate::command::{self, CommandError};

/// The names that differ between the families.
struct Names {
    save: &'static str,
    nft_save: &'static str,
    legacy_save: &'static str,
    legacy_tables: &'static str,
    part: Part,
    legacy_part: Part,
}

const IPV4: Names = Names {
    save: "iptables-save",
    nft_save: "iptables-nft-save",
    legacy_save: "iptables-legacy-save",
    legacy_tables: "/proc/net/ip_tables_names",
    part: Part::Rules4,
    legacy_part: Part::LegacyRules4,
};

const IPV6: Names = Names {
    save: "ip6tables-save",
    nft_save: "ip6tables-nft-save",
    legacy_save: "ip6tables-legacy-save",
    legacy_tables: "/proc/net/ip6_tables_names",
    part: Part::Rules6,
    legacy_part: Part::LegacyRules6,
};

/// Adds the rules of a family to a capture.
pub(crate) fn capture_rules(family: Family, capture: &mut Capture) {
    let names = match family {
        Family::Ipv4 => IPV4,
        Family::Ipv6 => IPV6,
    };
    let legacy_in_use =
        fs::read_to_string(names.legacy_tables).is_ok_and(|tables| !tables.trim().is_empty());
    match backend_of(names.save) {
        Err(error) => capture.leave_out(names.part, &error),
        Ok(Backend::Nft) => {
            capture.add_command(names.part, names.save, &["-c"]);
            if legacy_in_use {
                capture.add_command(names.legacy_part, names.legacy_save, &["-c"]);
            }
        }
        Ok(Backend::Legacy) => capture_beside_legacy(&names, capture),
    }
}

/// The default program is the legacy one: rules of nft may hide behind it.
fn capture_beside_legacy(names: &Names, capture: &mut Capture) {
    match command::run(names.nft_save, &["-c"]) {
        Ok(nft) if nft.text.lines().any(|line| line.starts_with('*')) => {
            capture.add(names.part, nft);
            capture.add_command(names.legacy_part, names.save, &["-c"]);
        }
        Ok(_) | Err(CommandError::Missing(_)) => {
            capture.add_command(names.part, names.save, &["-c"]);
        }
        Err(error) => {
            capture.add_command(names.part, names.save, &["-c"]);
            capture.complain(names.part, error.to_string());
        }
    }
}

/// Which backend a program talks to. Before 1.8 there was only the legacy one, and no word of it.
fn backend_of(program: &str) -> Result<Backend, CommandError> {
    match command::run(program, &["--version"]) {
        Ok(printed) if printed.text.contains("nf_tables") => Ok(Backend::Nft),
        Ok(_) | Err(CommandError::Failed { .. }) => Ok(Backend::Legacy),
        Err(
            error @ (CommandError::Missing(_)
            | CommandError::Start { .. }
            | CommandError::Timeout { .. }),
        ) => Err(error),
    }
}
