//! The archive's codecs: frames, the header, segments, the manifest and the trailer, as `docs/archive-format.md` defines
//! them. They take and give bytes in memory and know neither files nor pipes.

mod frame;
mod header;
mod manifest;
mod segment;
mod trailer;

pub use frame::{
    FrameScan, MAX_HEADER, MAX_LONE, MAX_MANIFEST, MAX_SEGMENT, Packer, Sha256, Unpacker, frame_bound, sha256,
};
pub use header::Header;
pub use manifest::{Manifest, is_manifest};
pub use segment::{Entry, Head, MAX_KEY, Span};
pub use trailer::{TRAILER_BYTES, Trailer};

use crate::lines::{line, read_digits, read_kind, understood};

/// The newest version of the format: the one that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

#[cfg(test)]
mod tests;
