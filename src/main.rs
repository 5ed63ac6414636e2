//! The command line of nattrace.
fn main() {}
