//! See `quail_tests::fuzz::tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quail_tests::fuzz::tokens(data));
