//! A loader: turns batches into segments, each of one kind, and appends them. It encodes in its own worker, and holds the
//! lock for the write alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metaferry_codecs::juicefs::binary::{HEAD_BYTES, SegmentType, encode, head};
use metaferry_codecs::juicefs::{Batch, JuiceFs};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::sink::Shared;
use crate::feed::held;

/// The messages at which a segment is full.
const FULL_ITEMS: u64 = 10_000;
/// The size at which it is, in bytes.
const FULL_BYTES: usize = 2 << 20;
/// The size from which on JuiceFS cannot read a segment, in bytes.
const MOST_BYTES: usize = 1 << 30;

/// A worker's hand on a binary dump.
pub(super) struct BinaryLoader {
    shared: Arc<Shared>,
    segments: BTreeMap<SegmentType, Segment>,
}

/// A segment that grows: room for its head, then its messages.
pub(super) struct Segment {
    bytes: Vec<u8>,
    items: u64,
}

impl Default for Segment {
    fn default() -> Self {
        Self { bytes: vec![0; HEAD_BYTES], items: 0 }
    }
}

impl Segment {
    /// Adds what `write` appends, so many messages.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> u64) {
        self.items += write(&mut self.bytes);
    }

    fn is_full(&self) -> bool {
        self.items >= FULL_ITEMS || self.bytes.len() >= FULL_BYTES
    }

    /// Appends it to the dump and empties it; its memory is kept for the next.
    pub(super) fn append(&mut self, sort: SegmentType, shared: &Shared) -> Result<()> {
        shared.stop.check()?;
        let Self { bytes, items } = self;
        if bytes.len() > MOST_BYTES {
            let what = format!("rows of kind {} that take {} bytes at once", sort.name(), bytes.len());
            return Err(Error::unsupported(format!("{what}, while JuiceFS reads at most {MOST_BYTES}")));
        }
        let length = (bytes.len() - HEAD_BYTES) as u64;
        if let Some(room) = bytes.first_chunk_mut() {
            *room = head(sort, length);
        }
        let mut growing = held(&shared.growing);
        let offset = growing.output.append(bytes)?;
        growing.footer.add(sort, offset, std::mem::take(items));
        bytes.truncate(HEAD_BYTES);
        Ok(())
    }
}

impl BinaryLoader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::AcqRel);
        Self { shared, segments: BTreeMap::new() }
    }
}

impl Loader<JuiceFs> for BinaryLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        if let Batch::Counter(rows) = batch {
            held(&self.shared.counters).extend(rows);
            return Ok(());
        }
        if let Batch::Foreign(_) = batch {
            return held(&self.shared.pieces).put(&batch);
        }
        let no_room = || {
            let name = batch.kind().info().name;
            Error::new(ErrorKind::Bug, format!("rows of kind {name} came to a binary dump, which has no room for them"))
        };
        let sort = SegmentType::holding(batch.kind()).ok_or_else(no_room)?;
        let segment = self.segments.entry(sort).or_default();
        segment.add(|out| encode(&batch, out));
        if segment.is_full() { segment.append(sort, &self.shared) } else { Ok(()) }
    }

    fn amend(&mut self, _batch: Batch) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "a binary dump carries rows as they are and amends none"))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for (sort, segment) in self.segments.iter_mut().filter(|(_, segment)| segment.items > 0) {
            segment.append(*sort, &self.shared)?;
        }
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }
}
