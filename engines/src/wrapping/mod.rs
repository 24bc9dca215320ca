//! What files are wrapped in: gzip, zstd, the encryption of JuiceFS's objects, in any nesting. Read by what is in them,
//! never by their name; written compressed on all cores. It knows of an archive only that it is none of its wrappings.

mod gzip;
mod key;
mod layer;
mod peeked;
mod sealing;
mod unwrap;
mod writer;

pub use key::EnvelopeKey;
pub use layer::Layer;
pub use sealing::Sealing;
pub use unwrap::{Unwrapped, unwrap};
pub use writer::{Compression, Compressor};

#[cfg(test)]
mod tests;
