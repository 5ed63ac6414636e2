//! Faults of nattrace itself: one line instead of a backtrace, and a status of their own.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use crate::exit::Status;

/// Runs the program; a panic in it ends with one line and the status of a fault.
pub(crate) fn guard(run: impl FnOnce() -> Status) -> Status {
    panic::set_hook(Box::new(tell));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Status::Fault)
}

fn tell(fault: &PanicHookInfo<'_>) {
    let place = fault.location().map_or_else(String::new, |place| format!(" at {place}"));
    let line = format!(
        "fault: nattrace {}{place}: {}; please report it with the command that you ran\n",
        env!("CARGO_PKG_VERSION"),
        message(fault.payload()),
    );
    // Where standard error is closed, the status has to say it all.
    drop(io::stderr().write_all(line.as_bytes()));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guard(|| panic!("on purpose")), Status::Fault);
        assert_eq!(guard(|| Status::Fails), Status::Fails);
        // The other tests of this process keep the usual hook.
        drop(panic::take_hook());
    }
}
