#![no_main]

libfuzzer_sys::fuzz_target!(|question: nattrace_fuzz::Disturbed| nattrace_fuzz::why(&question));
