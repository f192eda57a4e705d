//! See `quail_tests::fuzz::bodies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quail_tests::fuzz::bodies(data));
