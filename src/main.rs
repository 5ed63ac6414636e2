//! The command line of nattrace: reads what was asked, asks the model, and prints the answer.

mod args;
mod arrow;
mod codes;
mod command;
mod exit;
mod fault;
mod input;
mod output;

use std::process::ExitCode;

use args::{Arguments, Command};
use command::{
    apply, audit, check, completions, confirm, diff, explain, fix, fmt, graph, man, matrix, redact,
    selftest, snapshot, status, uninstall, why,
};
use exit::{Result, Status};
use output::diagnostic;

fn main() -> ExitCode {
    fault::guard(|| {
        let arguments = args::read(std::env::args_os());
        arguments.global.color.set();
        let exit_zero = arguments.global.exit_zero;
        let status = run(&arguments).unwrap_or_else(|failure| {
            diagnostic::print_failure(&failure);
            failure.status()
        });
        status.with_exit_zero(exit_zero)
    })
    .into()
}

fn run(arguments: &Arguments) -> Result<Status> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Why(why) => why::run(global, why),
        Command::Audit(audit) => audit::run(global, audit),
        Command::Check(check) => check::run(global, check),
        Command::Diff(diff) => diff::run(global, diff),
        Command::Apply(apply) => apply::run(global, apply),
        Command::Confirm(confirm) => confirm::run(global, confirm),
        Command::Rollback(rollback) => confirm::roll(global, rollback),
        Command::Status(status) => status::run(global, status),
        Command::Uninstall(uninstall) => uninstall::run(global, uninstall),
        Command::Watchdog(watchdog) => uninstall::watchdog(watchdog),
        Command::Fix(fix) => fix::run(global, fix),
        Command::Matrix(matrix) => matrix::run(global, matrix),
        Command::Graph(graph) => graph::run(global, graph),
        Command::Fmt(fmt) => fmt::run(global, fmt),
        Command::Snapshot(snapshot) => snapshot::run(global, snapshot),
        Command::Redact(redact) => redact::run(global, redact),
        Command::Selftest(selftest) => selftest::run(global, selftest),
        Command::Explain(explain) => explain::run(global, explain),
        Command::Completions(completions) => completions::run(global, completions),
        Command::Man(man) => man::run(global, man),
    }
}
