//! JuiceFS's binary dump, as `juicefs dump --binary` writes it and `juicefs load --binary` reads it: a file or a pipe of
//! segments.

mod foreign;
mod loader;
mod sieve;
mod sink;
mod source;
mod stream;

pub use sink::{BinaryOptions, BinarySink};
pub use source::BinarySource;
