//! Redis RDB streams, read in two steps: [`Splitter`] cuts the stream into blocks of pieces, which is cheap and has to
//! be done in order; [`Piece::each`] decodes a piece, which any thread can do.

mod block;
mod bytes;
mod encoding;
mod intset;
mod listpack;
mod lzf;
mod packed;
mod split;
mod value;
mod walk;
mod ziplist;
mod zipmap;

#[cfg(test)]
mod tests;

pub use block::{Block, Piece};
pub use bytes::MAX_STRING_BYTES;
pub use encoding::{Encoding, Kind};
pub use split::Splitter;
pub use value::{Element, Scratch};
