//! How a test says that it can't run here.
//!
//! What a test needs may be missing: root, a kernel feature, a program, the data beside the
//! repository. Then it is skipped visibly: one line on standard error, which the test harness does
//! not hide, and one in the file that `NATTRACE_SKIPS` names, whose lines `scripts/test.sh` counts.
//! With `CI=true` nothing of the machine may be missing.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says that `what` is not tested, because `missing` is not there: root, a kernel feature, a program.
///
/// # Panics
///
/// With `CI=true`: there all of it has to be there.
#[track_caller]
pub fn skip(what: &str, missing: &str) {
    assert!(!in_ci(), "in CI nothing may be missing, but {what} is skipped: {missing}");
    tell(&format!("skipped {what}: {missing}\n"));
}

/// Says that `what` is not tested, because there is no data beside the repository.
///
/// Not everybody may have it, so this never fails.
pub fn skip_without_data(what: &str) {
    tell(&format!("skipped {what}: no data beside the repository\n"));
}

fn tell(line: &str) {
    // Not by `eprint!`, whose text the harness shows for tests that fail only. Where standard error
    // or the file can't be written there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("NATTRACE_SKIPS") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Whether this is a run of CI, in which a skip is a failure.
#[must_use]
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
