//! Which engine answers `check`, and what is written for other solvers.

use std::fs;
use std::path::Path;

use nattrace_model::System;
use nattrace_parser::policy::{Given, Policy};
use nattrace_verifier::check::{Between, Engine, Finding, check_each};
use nattrace_verifier::smt;

use super::at_odds;
use crate::args::{self, Check};
use crate::exit::{Failure, Result};
use crate::input;
use crate::output::diagnostic::print_failure;

/// Fails where an engine is asked for that this program was built without.
pub(super) fn refuse_missing(arguments: &Check) -> Result<()> {
    if cfg!(feature = "z3") || arguments.engine == args::Engine::Classes {
        return Ok(());
    }
    Err(Failure::input("this nattrace was built without Z3")
        .help("build it with `cargo build --features z3` (needs libz3), or use `--engine classes`"))
}

/// Answers by the engine that was asked for.
#[cfg(feature = "z3")]
pub(super) fn check(
    arguments: &Check,
    policy: &Policy,
    system: &System,
    given: &Given,
) -> Result<Vec<Finding>> {
    let solver = smt::Z3 { seconds: arguments.z3_timeout };
    let engine = match arguments.engine {
        args::Engine::Classes => Engine::Classes,
        args::Engine::Z3 => Engine::Solver(&solver),
        args::Engine::Both => Engine::Both(&solver),
    };
    told(check_each(policy, system, given, engine))
}

/// Answers by the only engine that there is.
#[cfg(not(feature = "z3"))]
pub(super) fn check(
    _: &Check,
    policy: &Policy,
    system: &System,
    given: &Given,
) -> Result<Vec<Finding>> {
    told(check_each(policy, system, given, Engine::Classes))
}

/// Says where nattrace contradicts itself. What it says of other entries stands, unless it was asked
/// whether its engines agree.
fn told(findings: Vec<Finding>) -> Result<Vec<Finding>> {
    for fault in findings.iter().filter_map(|finding| finding.fault.as_deref()) {
        let failure = at_odds(fault.clone());
        if fault.between == Between::Engines {
            return Err(failure);
        }
        print_failure(&failure);
    }
    Ok(findings)
}

/// Writes the obligations of a policy.
pub(super) fn emit(folder: &Path, policy: &Policy, system: &System, given: &Given) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| input::unwritable(folder, &error))?;
    for script in smt::scripts(policy, system, given) {
        let path = folder.join(&script.file_name);
        fs::write(&path, &script.text).map_err(|error| input::unwritable(&path, &error))?;
    }
    Ok(())
}
