//! Segments of unknown types on their way into a dump. Their pieces come in any order and wait in a sorter, in memory or
//! encrypted in the spill folder; the commit writes one segment after another, each with its length in front.

use metaferry_codecs::juicefs::binary::{MARKER, SegmentType, head};
use metaferry_codecs::juicefs::{Batch, Foreign, Kind};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::spill::{Sorter, SpillDir};
use metaferry_pipeline::{Error, Result, Stop};

use super::sink::Growing;

/// Pieces that wait.
pub(super) struct Pieces {
    sorter: Sorter,
    key: Vec<u8>,
    row: Vec<u8>,
}

impl Pieces {
    /// Holds about `budget_bytes` in memory.
    pub(super) fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        Self { sorter: Sorter::new(dir, budget_bytes), key: Vec::new(), row: Vec::new() }
    }

    pub(super) fn put(&mut self, batch: &Batch) -> Result<()> {
        for index in 0..batch.len() {
            self.key.clear();
            self.row.clear();
            batch.pack(index, &mut self.key, &mut self.row);
            self.sorter.push(&self.key, &self.row)?;
        }
        Ok(())
    }

    /// Appends every segment, in their order.
    pub(super) fn append(self, growing: &mut Growing, stop: &Stop) -> Result<()> {
        let mut sorted = self.sorter.finish()?;
        let mut batch = Batch::empty(Kind::Foreign);
        let mut segment = Segment::default();
        while let Some((_, row)) = sorted.next()? {
            stop.check()?;
            batch.clear();
            batch.unpack(row).map_err(|error| Error::from(error).at("spilled row"))?;
            let Batch::Foreign(rows) = &batch else { continue };
            for row in rows {
                segment = segment.next(row)?;
                if row.piece == 0 {
                    let offset = growing.output.append(&head(row.number, row.length))?;
                    growing.footer.add_unknown(&row.name, offset, row.items);
                } else {
                    growing.output.append(&row.bytes)?;
                }
            }
        }
        segment.end()
    }
}

/// The segment that is being written: what of it is still to come.
#[derive(Default)]
struct Segment {
    number: u64,
    piece: u64,
    /// Bytes.
    left: u64,
}

impl Segment {
    /// What is to come behind this piece.
    fn next(self, row: &Foreign) -> Result<Self> {
        let length = row.bytes.len() as u64;
        if row.piece > 0 {
            return match self.left.checked_sub(length) {
                Some(left) if (row.segment, row.piece) == (self.number, self.piece) => {
                    Ok(Self { piece: row.piece + 1, left, ..self })
                }
                _ => Err(unfit(row.segment)),
            };
        }
        let is_known = row.number == MARKER || SegmentType::of(row.number).is_some();
        if is_known
            || SegmentType::named(&row.name).is_some()
            || length > 0
            || (self.piece, row.segment) == (1, self.number)
        {
            return Err(unfit(row.segment));
        }
        self.end()?;
        Ok(Self { number: row.segment, piece: 1, left: row.length })
    }

    fn end(self) -> Result<()> {
        if self.left == 0 { Ok(()) } else { Err(unfit(self.number)) }
    }
}

fn unfit(segment: u64) -> Error {
    Error::corrupt(format!("segment {segment} of an unknown type: its pieces do not make up what it is said to be"))
}

#[cfg(test)]
mod tests;
