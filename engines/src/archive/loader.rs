//! A loader: turns batches into segments, each of one kind, and appends them. It encodes, compresses and checksums in its
//! own worker, and holds the lock for the write alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metaferry_codecs::archive::{Entry, Head, MAX_KEY, MAX_SEGMENT, Packer, Span, sha256};
use metaferry_codecs::system::{Batch, Kind, System};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::lock;
use super::sink::Shared;

/// The text at which a segment is full, in bytes.
const FULL: usize = 2 << 20;
/// The text from which on memory for a full segment is taken, in bytes.
const GROWN: usize = 256 << 10;
/// What one loader holds back at most, in bytes; the largest segment is written out above it.
const HELD: usize = 8 << 20;
/// The most text a segment of several rows takes, in bytes, with room for its first line.
const MOST: usize = MAX_SEGMENT - 1024;

/// A worker's hand on an archive.
pub(super) struct ArchiveLoader<S: System> {
    shared: Arc<Shared<S::Kind>>,
    packer: Packer,
    segments: BTreeMap<S::Kind, Segment>,
    largest: BTreeMap<(S::Kind, &'static str), u64>,
    held: usize,
}

/// Room in front of a segment's rows for its first line, which is known last, in bytes.
const ROOM: usize = 128;

/// A segment that grows: room for its first line, then its rows.
struct Segment {
    text: Vec<u8>,
    rows: u64,
    span: Option<Span>,
}

impl Default for Segment {
    fn default() -> Self {
        Self { text: vec![0; ROOM], rows: 0, span: None }
    }
}

impl Segment {
    /// What its rows take, in bytes.
    fn rows_bytes(&self) -> usize {
        self.text.len() - ROOM
    }
}

impl<S: System> ArchiveLoader<S> {
    pub(super) fn new(shared: Arc<Shared<S::Kind>>) -> Result<Self> {
        let packer = Packer::new()?;
        Ok(Self { shared, packer, segments: BTreeMap::new(), largest: BTreeMap::new(), held: 0 })
    }

    /// Appends one segment to the archive and empties it; its memory is kept for the next.
    fn write(&mut self, kind: S::Kind, segment: &mut Segment) -> Result<()> {
        let Segment { text, rows, span } = segment;
        self.shared.stop.check()?;
        let head = Head { number: self.shared.next.fetch_add(1, Ordering::Relaxed), kind, rows: std::mem::take(rows) };
        let line = head.line();
        let too_long = || Error::new(ErrorKind::Bug, "the first line of a segment has no room");
        let start = ROOM.checked_sub(line.len()).ok_or_else(too_long)?;
        text.get_mut(start..ROOM).ok_or_else(too_long)?.copy_from_slice(&line);
        let whole = text.get(start..).ok_or_else(too_long)?;
        let bytes = whole.len() as u64;
        let frame = self.packer.pack(whole, S::MAX_SEGMENT)?;
        let (length, sha256) = (frame.len() as u64, sha256(frame));
        let mut growing = lock(&self.shared.growing);
        let offset = growing.output.append(frame)?;
        growing.segments.push(Entry { head, offset, length, bytes, sha256, span: span.take() });
        text.truncate(ROOM);
        Ok(())
    }

    /// Writes out the rows of a batch that is too large for one segment, as many as there is room for at a time.
    fn write_lines(&mut self, kind: S::Kind, lines: &[u8]) -> Result<()> {
        let mut segment = Segment::default();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if segment.text.len() + line.len() > MOST.min(FULL.max(line.len())) && segment.rows > 0 {
                self.write(kind, &mut segment)?;
            }
            let most = S::MAX_SEGMENT - 1024;
            if line.len() > most {
                let what = format!("a row of kind {} is {} bytes long", kind.info().name, line.len());
                return Err(Error::unsupported(format!("{what}, while an archive has room for {most}")));
            }
            segment.text.extend_from_slice(line);
            segment.rows += 1;
        }
        self.write(kind, &mut segment)
    }

    /// Writes out the segments of some kinds, full or not.
    fn write_out(&mut self, which: impl Fn(S::Kind) -> bool) -> Result<()> {
        let mut segments = std::mem::take(&mut self.segments);
        let mut due = segments.iter_mut().filter(|(kind, segment)| which(**kind) && segment.rows > 0);
        let written = due.try_for_each(|(&kind, segment)| {
            self.held -= segment.rows_bytes();
            self.write(kind, segment)
        });
        self.segments = segments;
        written
    }

    fn fill(&mut self, batch: &S::Batch, segment: &mut Segment) -> Result<()> {
        let before = segment.text.len();
        if before >= GROWN {
            // Once, in place of doubling up to it: fresh memory costs more than what is written into it.
            segment.text.reserve(FULL + GROWN - before.min(FULL));
        }
        batch.write_lines(&mut segment.text);
        if segment.text.len() > MOST {
            let lines = segment.text.split_off(before);
            if segment.rows > 0 {
                self.write(batch.kind(), segment)?;
            }
            return self.write_lines(batch.kind(), &lines);
        }
        let span = if self.shared.ordered.contains(batch.kind()) { span_of(batch) } else { None };
        segment.span = if segment.rows == 0 { span } else { joined(segment.span.take(), span) };
        segment.rows += batch.len() as u64;
        if segment.text.len() >= FULL { self.write(batch.kind(), segment) } else { Ok(()) }
    }
}

impl<S: System> Loader<S> for ArchiveLoader<S> {
    fn load(&mut self, batch: S::Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let kind = batch.kind();
        let largest = &mut self.largest;
        batch.largest(&mut |field, value| {
            let place = largest.entry((kind, field)).or_default();
            *place = value.max(*place);
        });
        let begun = self.segments.remove(&kind);
        let mut segment = begun.unwrap_or_default();
        self.held -= segment.rows_bytes();
        self.fill(&batch, &mut segment)?;
        self.held += segment.rows_bytes();
        self.segments.insert(kind, segment);
        while self.held > HELD {
            let Some((&kind, _)) = self.segments.iter().max_by_key(|(_, segment)| segment.rows_bytes()) else { break };
            self.write_out(|which| which == kind)?;
        }
        Ok(())
    }

    fn amend(&mut self, _batch: S::Batch) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "an archive carries rows as they are and amends none"))
    }

    /// Rows of another partition may lie anywhere: a segment that held both would overlap others.
    fn end_partition(&mut self) -> Result<()> {
        let ordered = self.shared.ordered;
        self.write_out(|kind| ordered.contains(kind))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.write_out(|_| true)?;
        let mut growing = lock(&self.shared.growing);
        for (key, value) in std::mem::take(&mut self.largest) {
            let place = growing.largest.entry(key).or_default();
            *place = value.max(*place);
        }
        drop(growing);
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }
}

/// The keys of an ascending batch, unless they are too long to be written down.
fn span_of<B: Batch>(batch: &B) -> Option<Span> {
    let (mut first, mut last, mut row) = (Vec::new(), Vec::new(), Vec::new());
    batch.pack(0, &mut first, &mut row);
    batch.pack(batch.len().checked_sub(1)?, &mut last, &mut row);
    (first.len() <= MAX_KEY && last.len() <= MAX_KEY && first <= last).then_some(Span { first, last })
}

fn joined(before: Option<Span>, after: Option<Span>) -> Option<Span> {
    let (before, after) = (before?, after?);
    (before.last < after.first).then_some(Span { first: before.first, last: after.last })
}
