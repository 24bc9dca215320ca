//! The shelf: records put away in ascending order of an id, any number of them under one id, and found again by it. In
//! memory up to a bound, in a file beyond it. It knows bytes and integers, and no record.

use std::sync::Arc;

use super::SpillDir;
use super::file::SpillFile;
use crate::{Error, ErrorKind, Result};

/// Bytes of records in a block, about.
const BLOCK_BYTES: usize = 16 << 10;
/// Blocks of the file that a reader keeps.
const SLOTS: usize = 64;
/// The id and the length before each record.
const HEAD_BYTES: usize = 12;

/// Records in order, once all of them are there. Many read it at a time, each through a [`ShelfReader`].
pub struct Shelf {
    dir: SpillDir,
    file: Option<Arc<SpillFile>>,
    blocks: Vec<Block>,
    records: u64,
}

/// Some records.
struct Block {
    /// The id of the first.
    first: u64,
    place: Place,
}

enum Place {
    Memory(Vec<u8>),
    File { at: u64, length: usize },
}

/// Puts records onto a [`Shelf`].
pub struct ShelfWriter {
    shelf: Shelf,
    budget: usize,
    first: u64,
    last: u64,
    block: Vec<u8>,
    end: u64,
}

impl ShelfWriter {
    /// Holds `budget_bytes` in memory, and spills to `dir` what is more.
    #[must_use]
    pub fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        let shelf = Shelf { dir: dir.clone(), file: None, blocks: Vec::new(), records: 0 };
        Self { shelf, budget: budget_bytes, first: 0, last: 0, block: Vec::new(), end: 0 }
    }

    /// Adds one record, whose id is none before the last one's.
    ///
    /// # Errors
    /// A record out of order or over 4 GiB, and those of the spill folder.
    pub fn push(&mut self, id: u64, record: &[u8]) -> Result<()> {
        if id < self.last {
            return Err(Error::new(ErrorKind::Bug, format!("a shelf got {id} after {}", self.last)));
        }
        let length = u32::try_from(record.len()).map_err(|_| Error::unsupported("a row over 4 GiB"))?;
        if self.block.is_empty() {
            self.first = id;
        }
        self.last = id;
        self.block.extend_from_slice(&id.to_le_bytes());
        self.block.extend_from_slice(&length.to_le_bytes());
        self.block.extend_from_slice(record);
        self.shelf.records += 1;
        if self.block.len() >= BLOCK_BYTES { self.put_away() } else { Ok(()) }
    }

    fn put_away(&mut self) -> Result<()> {
        let Self { shelf, block, .. } = self;
        let length = block.len();
        let place = if length <= self.budget {
            self.budget -= length;
            Place::Memory(std::mem::take(block))
        } else {
            let file = match &shelf.file {
                Some(file) => file,
                None => shelf.file.insert(shelf.dir.create_file()?),
            };
            file.write(block, self.end).map_err(|cause| shelf.dir.error(cause))?;
            shelf.dir.count(length);
            let at = self.end;
            self.end += length as u64;
            block.clear();
            Place::File { at, length }
        };
        shelf.blocks.push(Block { first: self.first, place });
        Ok(())
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// Those of the spill folder.
    pub fn finish(mut self) -> Result<Arc<Shelf>> {
        if !self.block.is_empty() {
            self.put_away()?;
        }
        Ok(Arc::new(self.shelf))
    }
}

impl Shelf {
    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The first place where a record of `id` may be.
    fn seek(&self, id: u64) -> Spot {
        let after = self.blocks.partition_point(|block| block.first < id);
        Spot { block: after.saturating_sub(1), at: 0 }
    }
}

/// A place on a shelf, to go on from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spot {
    block: usize,
    at: usize,
}

/// Reads a shelf, and keeps the blocks it came by last.
pub struct ShelfReader {
    shelf: Arc<Shelf>,
    slots: Vec<Slot>,
    /// An id that was looked for, and the place of the first record that is not before it: what is looked for next is
    /// mostly behind it.
    last: (u64, Spot),
}

/// A block of the file.
#[derive(Default)]
struct Slot {
    /// Which one, counted from 1.
    number: usize,
    bytes: Vec<u8>,
}

impl ShelfReader {
    /// A reader of its own.
    #[must_use]
    pub fn new(shelf: &Arc<Shelf>) -> Self {
        let slots = if shelf.file.is_some() { SLOTS } else { 0 };
        let slots = (0..slots).map(|_| Slot::default()).collect();
        Self { shelf: Arc::clone(shelf), slots, last: (0, Spot::default()) }
    }

    /// The place of the first record that is not before `id`.
    ///
    /// # Errors
    /// Those of the spill folder.
    pub fn seek(&mut self, id: u64) -> Result<Spot> {
        let ((last, found), begin) = (self.last, self.shelf.seek(id));
        let mut spot = if last <= id && found.block == begin.block { found } else { begin };
        if self.length(spot.block).is_some() {
            let mut rest = self.block(spot.block)?.get(spot.at..).unwrap_or_default();
            while let Some((_, length, record)) = head(rest).filter(|(found, ..)| *found < id) {
                spot.at += HEAD_BYTES + length;
                rest = record.get(length..).ok_or_else(broken)?;
            }
        }
        self.last = (id, spot);
        Ok(spot)
    }

    /// What is read.
    #[must_use]
    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// The next record at or after `spot`, with its id; `spot` is behind it then.
    ///
    /// # Errors
    /// Those of the spill folder.
    pub fn next(&mut self, spot: &mut Spot) -> Result<Option<(u64, &[u8])>> {
        while self.length(spot.block).is_some_and(|length| spot.at >= length) {
            *spot = Spot { block: spot.block + 1, at: 0 };
        }
        if self.length(spot.block).is_none() {
            return Ok(None);
        }
        let rest = self.block(spot.block)?.get(spot.at..).unwrap_or_default();
        let (id, length, rest) = head(rest).ok_or_else(broken)?;
        spot.at += HEAD_BYTES + length;
        Ok(Some((id, rest.get(..length).ok_or_else(broken)?)))
    }

    /// The next record of `id` at or after `spot`, which is behind it then; none where what follows is of another.
    ///
    /// # Errors
    /// Those of the spill folder.
    pub fn next_of(&mut self, id: u64, spot: &mut Spot) -> Result<Option<&[u8]>> {
        let mut next = *spot;
        let record = self.next(&mut next)?.filter(|(found, _)| *found == id).map(|(_, record)| record);
        if record.is_some() {
            *spot = next;
        }
        Ok(record)
    }

    /// The first record of `id`.
    ///
    /// # Errors
    /// Those of the spill folder.
    pub fn find(&mut self, id: u64) -> Result<Option<&[u8]>> {
        let mut spot = self.seek(id)?;
        self.next_of(id, &mut spot)
    }

    fn length(&self, number: usize) -> Option<usize> {
        self.shelf.blocks.get(number).map(|block| match &block.place {
            Place::Memory(bytes) => bytes.len(),
            Place::File { length, .. } => *length,
        })
    }

    fn block(&mut self, number: usize) -> Result<&[u8]> {
        let place = self.shelf.blocks.get(number).map(|block| &block.place);
        let (at, length) = match place {
            Some(Place::Memory(bytes)) => return Ok(bytes),
            Some(Place::File { at, length }) => (*at, *length),
            None => return Err(broken()),
        };
        let slot = self.slots.get_mut(number % SLOTS).ok_or_else(broken)?;
        if slot.number != number + 1 {
            slot.number = 0;
            slot.bytes.resize(length, 0);
            let file = self.shelf.file.as_ref().ok_or_else(broken)?;
            file.read(&mut slot.bytes, at).map_err(|cause| self.shelf.dir.error(cause))?;
            slot.number = number + 1;
        }
        Ok(&slot.bytes)
    }
}

/// The id and the length of the record at the beginning of `bytes`, and what follows its head.
fn head(bytes: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some((u64::from_le_bytes(*id), usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

fn broken() -> Error {
    Error::new(ErrorKind::Bug, "a shelf is not what was put onto it")
}
