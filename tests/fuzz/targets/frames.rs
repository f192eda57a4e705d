//! See `quail_tests::fuzz::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quail_tests::fuzz::frames(data));
