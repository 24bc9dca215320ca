//! The example of JuiceFS 1.4.1 byte for byte, every message against another implementation of protobuf, and dumps that
//! are cut, altered, or hold what nobody knows.

use super::*;
use crate::Error;
use crate::juicefs::{Batch, Foreign};
use crate::system::Batch as _;

mod damage;
mod example;
mod foreign;
mod oracle;

/// A dump as it was read.
#[derive(Debug, Default)]
struct Read {
    batches: Vec<(SegmentType, u64, Batch)>,
    /// Segments of unknown types, by key.
    foreign: Vec<Foreign>,
    damaged: Vec<(u64, Error)>,
    left: Left,
}

impl Read {
    /// The rows of a sort, in the order of the dump, one JSON line each.
    fn rows(&self, sort: SegmentType) -> Vec<String> {
        let mut lines = Vec::new();
        let own = self.batches.iter().filter(|(found, ..)| *found == sort);
        own.for_each(|(.., batch)| batch.write_lines(&mut lines));
        String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Reads a dump that comes in parts of `step` bytes, in blocks of about `block` bytes.
fn read(dump: &[u8], block: usize, step: usize) -> Result<Read, (String, Error)> {
    let mut splitter = Splitter::new().with_block_bytes(block);
    let (mut read, mut held) = (Read::default(), Vec::new());
    for part in dump.chunks(step) {
        held.extend_from_slice(part);
        let mut rest = held.as_slice();
        loop {
            match splitter.split(&mut rest) {
                Ok(Some(block)) => {
                    let batch = decode(&block, &mut |place, error| read.damaged.push((place, error)));
                    match (batch, block.sort()) {
                        (Batch::Foreign(rows), None) => read.foreign.extend(rows),
                        (batch, sort) => read.batches.push((sort.unwrap(), block.segment(), batch)),
                    }
                    splitter.recycle(block);
                }
                Ok(None) => break,
                Err(error) => return Err((splitter.place(0), error)),
            }
        }
        held = rest.to_vec();
    }
    splitter.finish(&held).map_err(|error| (splitter.place(held.len()), error))?;
    read.left = splitter.left();
    read.foreign.extend(splitter.foreign());
    read.foreign.sort_by_key(|row| (row.segment, row.piece));
    Ok(read)
}

/// A dump of these segments with the footer that belongs to them.
fn dump(segments: &[(SegmentType, Vec<u8>, u64)]) -> Vec<u8> {
    let (mut dump, mut footer) = (Vec::new(), Footer::default());
    for (sort, payload, items) in segments {
        footer.add(*sort, dump.len() as u64, *items);
        dump.extend_from_slice(&head(*sort, payload.len() as u64));
        dump.extend_from_slice(payload);
    }
    dump.extend_from_slice(&footer.encode());
    dump
}

/// A segment of the rows of a batch.
fn segment(batch: &Batch) -> (SegmentType, Vec<u8>, u64) {
    let mut payload = Vec::new();
    let items = encode(batch, &mut payload);
    (SegmentType::holding(batch.kind()).unwrap(), payload, items)
}
