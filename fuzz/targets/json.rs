//! See `metaferry_fuzz::json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metaferry_fuzz::json(data));
