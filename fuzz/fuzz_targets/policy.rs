#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| nattrace_fuzz::policy(text));
