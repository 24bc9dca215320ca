//! Blocks of pieces: what the splitter hands out, to be decoded on any thread.

use super::encoding::Encoding;

/// Consecutive pieces of the stream, in one buffer.
#[derive(Debug, Default)]
pub struct Block {
    pub(super) bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// Where a piece lies in its block: its key and then its bytes, behind the piece before.
#[derive(Debug, Clone, Copy)]
struct Entry {
    facts: Facts,
    key_end: usize,
    end: usize,
}

/// What is known of a piece beside its key and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) db: u32,
    pub(super) encoding: Encoding,
    pub(super) expires_ms: Option<u64>,
    pub(super) part: u64,
    pub(super) last: bool,
    pub(super) elements: u64,
}

/// The value of a key, or a part of it that holds whole elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The number of the database.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// How the value is encoded.
    pub encoding: Encoding,
    /// When the key expires, in milliseconds since 1970, if ever. It may have done so already.
    pub expires_ms: Option<u64>,
    /// Which part of the value this is, from 0. The parts come in the order of the stream.
    pub part: u64,
    /// Whether it is the last part of the value.
    pub last: bool,
    /// How many elements `bytes` holds: strings, pairs or nodes of a quicklist; one for a string or a packed blob; none
    /// for a stream or a module's value, whose bytes are left out.
    pub elements: u64,
    /// The elements as they are in the stream.
    pub bytes: &'a [u8],
}

impl Block {
    /// The pieces, in the order of the stream.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut begin = 0;
        self.entries.iter().map(move |entry| {
            let part = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default();
            let key = part(begin, entry.key_end);
            begin = entry.end;
            let Facts { db, encoding, expires_ms, part: number, last, elements } = entry.facts;
            let bytes = part(entry.key_end, entry.end);
            Piece { db, key, encoding, expires_ms, part: number, last, elements, bytes }
        })
    }

    /// Whether it holds no piece.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of pieces.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What it holds in memory, in bytes.
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Empties it, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Ends a piece whose key ends at `key_end` and whose bytes are all there.
    pub(super) fn close(&mut self, facts: Facts, key_end: usize) {
        self.entries.push(Entry { facts, key_end, end: self.bytes.len() });
    }

    /// The key of the piece that is open and ends at `key_end`.
    pub(super) fn open_key(&self, key_end: usize) -> &[u8] {
        let begin = self.entries.last().map_or(0, |entry| entry.end);
        self.bytes.get(begin..key_end).unwrap_or_default()
    }
}
