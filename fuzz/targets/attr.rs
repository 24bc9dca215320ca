//! See `metaferry_fuzz::attr`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metaferry_fuzz::attr(data));
