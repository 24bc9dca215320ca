//! See `metaferry_fuzz::envelope`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metaferry_fuzz::envelope(data));
