//! Criterion benchmarks of the codecs live in the files beside this one; nothing here is a library.
