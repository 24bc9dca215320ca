//! Rows: what is in the frame of a segment, checked against what is known of it and cut into batches. It reads from
//! memory.

use std::sync::Mutex;

use memchr::memchr;
use metaferry_codecs::archive::{Head, Unpacker};
use metaferry_codecs::system::{Batch, Kind, System};
use metaferry_codecs::{Error as CodecError, Tally};
use metaferry_pipeline::{Emit, Error, Result};

use super::lock;

/// How many rows a batch has at most.
const ROWS: usize = 4096;

/// What a worker needs for one frame, used again for the next.
pub(super) struct Scratch {
    pub(super) frame: Vec<u8>,
    pub(super) unpacker: Unpacker,
}

/// Scratches that no worker is using.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<Scratch>>,
}

impl Pool {
    pub(super) fn take(&self) -> Result<Scratch> {
        match lock(&self.idle).pop() {
            Some(scratch) => Ok(scratch),
            None => Ok(Scratch { frame: Vec::new(), unpacker: Unpacker::new()? }),
        }
    }

    pub(super) fn give_back(&self, scratch: Scratch) {
        lock(&self.idle).push(scratch);
    }
}

/// The first line of a segment's text, and the rest.
pub(super) fn split_head<K: Kind>(text: &[u8]) -> Result<(Head<K>, &[u8]), CodecError> {
    let end = memchr(b'\n', text).ok_or(CodecError::Truncated("segment"))?;
    let (head, rows) = text.split_at(end);
    Ok((Head::read(head)?, rows.get(1..).unwrap_or_default()))
}

/// Emits the rows of a segment and adds them to a tally.
pub(super) fn emit_rows<S: System>(
    head: &Head<S::Kind>,
    mut text: &[u8],
    tally: &mut Tally<S::Kind>,
    out: &mut dyn Emit<S>,
) -> Result<()> {
    let mut row = 0_u64;
    let place = |row: u64| format!("segment {} of kind {}, row {row}", head.number, head.kind.info().name);
    let mut batch = S::Batch::empty(head.kind);
    while !text.is_empty() {
        let end = memchr(b'\n', text)
            .ok_or(CodecError::Truncated("row"))
            .map_err(|error| Error::from(error).at(place(row)))?;
        let (line, rest) = text.split_at(end);
        batch.read_line(line).map_err(|error| Error::from(error).at(place(row)))?;
        text = rest.get(1..).unwrap_or_default();
        row += 1;
        if batch.len() == ROWS || text.is_empty() {
            batch.tally(tally);
            out.emit(std::mem::replace(&mut batch, S::Batch::empty(head.kind)))?;
        }
    }
    if row != head.rows {
        return Err(Error::corrupt(format!("{}: the segment promises {} rows", place(row), head.rows)));
    }
    Ok(())
}

/// Fails unless the rows that were read are those that the manifest promises.
pub(super) fn compare<K: Kind>(promised: &Tally<K>, read: &Tally<K>) -> Result<()> {
    match promised.differences(read).first() {
        None => Ok(()),
        Some((kind, bucket, _)) => Err(Error::corrupt(format!(
            "the rows of kind {} in bucket {bucket} are not those that the manifest promises",
            kind.info().name
        ))),
    }
}
