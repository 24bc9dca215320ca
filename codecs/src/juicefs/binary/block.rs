//! What a splitter hands out: blocks of messages, pieces of segments that nobody knows, and a count of what it passed over.

use super::segment::SegmentType;

/// Messages of one segment that stand one behind the other: all of them, or as many as there is room for. Or a piece of a
/// segment of an unknown type.
#[derive(Debug)]
pub struct Block {
    pub(super) content: Content,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) messages: usize,
    pub(super) bytes: Vec<u8>,
}

/// What the bytes of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Messages of a segment of this sort.
    Messages(SegmentType),
    /// A piece of a segment of an unknown type: which of these it is, and which of its pieces.
    Piece(u64, u64),
}

impl Block {
    /// The sort of the segment; `None` where its type is not known.
    #[must_use]
    pub fn sort(&self) -> Option<SegmentType> {
        match self.content {
            Content::Messages(sort) => Some(sort),
            Content::Piece(..) => None,
        }
    }

    /// Where the segment begins in the dump, in bytes.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// Where the first of the messages begins, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// What was read and is not carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Lines of the change log.
    pub log_lines: u64,
    /// Fields in segments that they do not belong to.
    pub strays: u64,
}
