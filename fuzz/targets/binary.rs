//! See `metaferry_fuzz::binary`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metaferry_fuzz::binary(data));
