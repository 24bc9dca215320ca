//! See `metaferry_fuzz::rdb`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metaferry_fuzz::rdb(data));
