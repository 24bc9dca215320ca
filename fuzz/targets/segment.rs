//! See `metaferry_fuzz::segment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metaferry_fuzz::segment(data));
