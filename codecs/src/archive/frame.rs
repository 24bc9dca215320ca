//! Frame: one zstd frame, packed, found in a stream without being decompressed, and unpacked within a bound. It knows
//! nothing of what is in it.

use std::io;

use sha2::Digest;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::trailer::{SKIPPABLE, TRAILER_BYTES};
use crate::{Error, Result};

/// The largest segment, decompressed, in bytes, unless a single row needs a larger one.
pub const MAX_SEGMENT: usize = 16 << 20;
/// The largest segment of a single row, decompressed, in bytes: 256 MiB of content, each byte as two hexadecimal digits.
pub const MAX_LONE: usize = 513 << 20;
/// The largest manifest, decompressed, in bytes.
pub const MAX_MANIFEST: usize = 64 << 20;
/// The largest header, decompressed, in bytes.
pub const MAX_HEADER: usize = 64 << 10;

const WHAT: &str = "zstd frame";
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
const LEVEL: i32 = 1;
const MAX_BLOCK: usize = 128 << 10;

/// A SHA-256 checksum.
pub type Sha256 = [u8; 32];

/// The SHA-256 checksum of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256 {
    sha2::Sha256::digest(bytes).into()
}

/// The largest frame that may hold `content` bytes, in bytes.
#[must_use]
pub const fn frame_bound(content: usize) -> usize {
    content + (content >> 8) + 1024
}

/// Finds the end of a frame while its bytes arrive.
#[derive(Debug)]
pub struct FrameScan {
    state: State,
    /// The frame is at least this long.
    length: usize,
    content: usize,
    bound: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Header,
    Block,
    Last,
    Trailer,
}

impl FrameScan {
    /// A scan that has seen nothing, of a frame that declares at most `bound` bytes.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { state: State::Start, length: 5, content: 0, bound }
    }

    /// How many bytes must follow `frame`, which is what there is of it so far; 0 where it is whole.
    ///
    /// # Errors
    /// What is no frame of an archive: without a declared size or a checksum, over every bound, of a strange magic.
    pub fn more(&mut self, frame: &[u8]) -> Result<usize> {
        loop {
            let missing = self.length.saturating_sub(frame.len());
            if missing > 0 || matches!(self.state, State::Last | State::Trailer) {
                return Ok(missing);
            }
            self.step(frame).ok_or(Error::Truncated(WHAT))??;
        }
    }

    /// Whether the frame is the trailer.
    #[must_use]
    pub fn is_trailer(&self) -> bool {
        self.state == State::Trailer
    }

    /// The declared size of what the frame holds, in bytes; known once it is whole.
    #[must_use]
    pub fn content(&self) -> usize {
        self.content
    }

    fn step(&mut self, frame: &[u8]) -> Option<Result<()>> {
        Some(match self.state {
            State::Start => self.start(frame.first_chunk()?),
            State::Header => self.header(frame.get(4..self.length)?),
            State::Block | State::Last | State::Trailer => {
                self.block(frame.get(self.length.checked_sub(3)?..)?.first_chunk()?)
            }
        })
    }

    fn start(&mut self, [a, b, c, d, descriptor]: &[u8; 5]) -> Result<()> {
        let magic = [*a, *b, *c, *d];
        if magic == SKIPPABLE {
            (self.state, self.length) = (State::Trailer, TRAILER_BYTES);
            return Ok(());
        }
        if magic != MAGIC {
            return Err(Error::malformed(WHAT, format!("it begins with {magic:02x?}")));
        }
        let single = descriptor & 0x20 != 0;
        let size = match descriptor >> 6 {
            0 => usize::from(single),
            power => 1 << power,
        };
        if size == 0 || descriptor & 0x04 == 0 || descriptor & 0x0b != 0 {
            return Err(Error::malformed(WHAT, "no declared size, no checksum, or a dictionary"));
        }
        self.length = 5 + usize::from(!single) + size;
        self.state = State::Header;
        Ok(())
    }

    fn header(&mut self, header: &[u8]) -> Result<()> {
        let (descriptor, fields) = header.split_first().ok_or(Error::Truncated(WHAT))?;
        let size = fields.get(usize::from(descriptor & 0x20 == 0)..).ok_or(Error::Truncated(WHAT))?;
        let mut bytes = [0_u8; 8];
        bytes.iter_mut().zip(size).for_each(|(to, from)| *to = *from);
        let content = u64::from_le_bytes(bytes).saturating_add(if size.len() == 2 { 256 } else { 0 });
        self.content = bounded(content, self.bound)?;
        self.length += 3;
        self.state = State::Block;
        Ok(())
    }

    fn block(&mut self, [a, b, c]: &[u8; 3]) -> Result<()> {
        let header = u32::from_le_bytes([*a, *b, *c, 0]);
        let size = (header >> 3) as usize;
        let stored = match header >> 1 & 3 {
            1 => 1,
            3 => return Err(Error::malformed(WHAT, "a block of the reserved type")),
            _ => size,
        };
        let last = header & 1 == 1;
        self.length += stored + if last { 4 } else { 3 };
        if size > MAX_BLOCK || self.length > frame_bound(self.content) {
            return Err(Error::TooLarge { what: WHAT, bound: frame_bound(self.content) as u64 });
        }
        self.state = if last { State::Last } else { State::Block };
        Ok(())
    }
}

fn bounded(content: u64, bound: usize) -> Result<usize> {
    let content = usize::try_from(content).unwrap_or(usize::MAX);
    if content > bound { Err(Error::TooLarge { what: WHAT, bound: bound as u64 }) } else { Ok(content) }
}

fn zstd_error(error: &io::Error) -> Error {
    Error::malformed(WHAT, error.to_string())
}

/// Packs frames, one after another, in one context.
pub struct Packer {
    context: Compressor<'static>,
    frame: Vec<u8>,
}

impl Packer {
    /// A packer at level 1 that declares sizes and adds checksums.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn new() -> Result<Self> {
        let mut context = Compressor::new(LEVEL).map_err(|error| zstd_error(&error))?;
        context.set_parameter(CParameter::ChecksumFlag(true)).map_err(|error| zstd_error(&error))?;
        context.set_parameter(CParameter::ContentSizeFlag(true)).map_err(|error| zstd_error(&error))?;
        Ok(Self { context, frame: Vec::new() })
    }

    /// One frame of `text`.
    ///
    /// # Errors
    /// A text over `bound`.
    pub fn pack(&mut self, text: &[u8], bound: usize) -> Result<&[u8]> {
        bounded(text.len() as u64, bound)?;
        self.frame.clear();
        self.frame.reserve(frame_bound(text.len()));
        self.context.compress_to_buffer(text, &mut self.frame).map_err(|error| zstd_error(&error))?;
        Ok(&self.frame)
    }
}

/// Unpacks frames, one after another, in one context.
pub struct Unpacker {
    context: Decompressor<'static>,
    text: Vec<u8>,
}

impl Unpacker {
    /// An unpacker.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn new() -> Result<Self> {
        Ok(Self { context: Decompressor::new().map_err(|error| zstd_error(&error))?, text: Vec::new() })
    }

    /// What one whole frame holds, if it declares no more than `bound` bytes.
    ///
    /// # Errors
    /// What is not exactly one frame, what is over the bound, and what was altered.
    pub fn unpack(&mut self, frame: &[u8], bound: usize) -> Result<&[u8]> {
        let mut scan = FrameScan::new(bound);
        let missing = scan.more(frame)?;
        if missing > 0 {
            return Err(Error::Truncated(WHAT));
        }
        if scan.is_trailer() || scan.length != frame.len() {
            return Err(Error::malformed(WHAT, "not exactly one frame of data"));
        }
        let content = scan.content;
        self.text.clear();
        self.text.reserve(content);
        self.context.decompress_to_buffer(frame, &mut self.text).map_err(|error| zstd_error(&error))?;
        if self.text.len() != content {
            return Err(Error::malformed(WHAT, "it does not hold what it declares"));
        }
        Ok(&self.text)
    }
}
