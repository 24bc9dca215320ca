//! Manifest: what an archive holds: its segments, its tally, the largest values. Its last frame of data; without it an
//! archive is incomplete.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::{Entry, MAX_MANIFEST, line, read_kind};
use crate::lines::{read_end, read_largest, read_sum, write_largest, write_sums};
use crate::system::{Kind, Largest};
use crate::tally::Cell;
use crate::{Error, Result, Tally};

const WHAT: &str = "manifest";
/// The longest line of a manifest, in bytes: two keys and what stands around them fit.
const MAX_LINE: u64 = 1 << 14;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest<K: Kind> {
    /// Its segments, in the order of the file.
    pub segments: Vec<Entry<K>>,
    /// The tally of all rows.
    pub tally: Tally<K>,
    /// The largest values.
    pub largest: Vec<Largest<K>>,
}

impl<K: Kind> Default for Manifest<K> {
    fn default() -> Self {
        Self { segments: Vec::new(), tally: Tally::default(), largest: Vec::new() }
    }
}

/// Whether this is the beginning of a manifest's text.
#[must_use]
pub fn is_manifest(text: &[u8]) -> bool {
    text.starts_with(b"{\"manifest\":")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    segments: u64,
    rows: u64,
    bytes: u64,
    cells: u64,
    largest: u64,
}

impl Totals {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { segments, rows, bytes, cells, largest } = self;
        out.extend_from_slice(format!("{{\"manifest\":{{\"segments\":{segments},\"rows\":{rows},").as_bytes());
        out.extend_from_slice(format!("\"bytes\":{bytes},\"cells\":{cells},\"largest\":{largest}}}}}\n").as_bytes());
    }

    fn read(text: &[u8]) -> Result<Self> {
        let mut totals = Self::default();
        line(text, WHAT, 5..=5, |name, reader| {
            let place = match name {
                b"segments" => &mut totals.segments,
                b"rows" => &mut totals.rows,
                b"bytes" => &mut totals.bytes,
                b"cells" => &mut totals.cells,
                b"largest" => &mut totals.largest,
                _ => return Ok(false),
            };
            *place = reader.u64()?;
            Ok(true)
        })?;
        Ok(totals)
    }
}

impl<K: Kind> Manifest<K> {
    /// How many rows the segments hold.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.segments.iter().fold(0, |sum, entry| sum.saturating_add(entry.head.rows))
    }

    /// How long the text of the segments is, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes))
    }

    fn totals(&self) -> Totals {
        Totals {
            segments: self.segments.len() as u64,
            rows: self.rows(),
            bytes: self.bytes(),
            cells: self.tally.cells().count() as u64,
            largest: self.largest.len() as u64,
        }
    }

    /// Appends its lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.totals().write(out);
        self.segments.iter().for_each(|entry| entry.write(out));
        for (kind, bucket, cell) in self.tally.cells() {
            write_cell(kind, bucket, cell, out);
        }
        self.largest.iter().for_each(|largest| write_largest(largest, out));
        out.extend_from_slice(b"{\"end\":{\"of\":\"manifest\"}}\n");
    }

    /// Reads what [`Manifest::write`] wrote, line by line.
    ///
    /// # Errors
    /// Totals that do not hold, segments that do not follow each other, unknown kinds and fields, anything after the end.
    pub fn read(mut text: impl BufRead) -> Result<Self> {
        let mut lines = Lines { left: MAX_MANIFEST, line: Vec::new() };
        let totals = Totals::read(lines.next(&mut text)?)?;
        let mut manifest = Self::default();
        loop {
            let line = lines.next(&mut text)?;
            if line.starts_with(b"{\"segment\"") {
                manifest.segments.push(Entry::read(line)?);
            } else if line.starts_with(b"{\"cell\"") {
                read_cell(line, &mut manifest.tally)?;
            } else if line.starts_with(b"{\"largest\"") {
                manifest.largest.push(read_largest(line)?);
            } else {
                read_end(line, "manifest")?;
                break;
            }
        }
        if !text.fill_buf().map_err(|error| Error::malformed(WHAT, error.to_string()))?.is_empty() {
            return Err(Error::malformed(WHAT, "something after its end"));
        }
        if manifest.totals() != totals {
            return Err(Error::malformed(WHAT, "its first line promises something else than its lines hold"));
        }
        manifest.check_numbers()?;
        Ok(manifest)
    }

    fn check_numbers(&self) -> Result<()> {
        let numbers: BTreeSet<u64> = self.segments.iter().map(|entry| entry.head.number).collect();
        let count = self.segments.len();
        if numbers.len() != count || numbers.last().is_some_and(|last| *last != count as u64 - 1) {
            return Err(Error::malformed(WHAT, "the numbers of its segments do not count from 0 on"));
        }
        Ok(())
    }

    /// Fails unless the segments fill exactly what lies between the header and the manifest.
    ///
    /// # Errors
    /// A gap, an overlap, or more than there is.
    pub fn check_layout(&self, header_length: u64, manifest_offset: u64) -> Result<()> {
        let mut end = header_length;
        for entry in &self.segments {
            if entry.offset != end {
                let why = format!("segment {} is said to begin at byte {}, not {end}", entry.head.number, entry.offset);
                return Err(Error::malformed(WHAT, why));
            }
            end = end.saturating_add(entry.length);
        }
        if end != manifest_offset {
            let why = format!("its segments end at byte {end}, while it begins at byte {manifest_offset}");
            return Err(Error::malformed(WHAT, why));
        }
        Ok(())
    }

    /// Whether the rows of a kind ascend, where its segments are taken by their first keys: each segment ascends, and no
    /// two overlap.
    #[must_use]
    pub fn is_by_key(&self, kind: K) -> bool {
        let segments = || self.segments.iter().filter(|entry| entry.head.kind == kind);
        let mut spans: Vec<_> = segments().map(|entry| &entry.span).collect();
        spans.sort_unstable();
        let apart = spans.windows(2).all(|pair| match pair {
            [Some(before), Some(after)] => before.last < after.first,
            _ => false,
        });
        apart && segments().all(|entry| entry.span.is_some() || entry.head.rows <= 1)
    }
}

/// The lines of a text, within the bounds of a manifest.
struct Lines {
    left: usize,
    line: Vec<u8>,
}

impl Lines {
    fn next(&mut self, text: &mut impl BufRead) -> Result<&[u8]> {
        self.line.clear();
        let mut bounded = std::io::Read::take(text, MAX_LINE);
        let length =
            bounded.read_until(b'\n', &mut self.line).map_err(|error| Error::malformed(WHAT, error.to_string()))?;
        self.left = self.left.checked_sub(length).ok_or(Error::TooLarge { what: WHAT, bound: MAX_MANIFEST as u64 })?;
        self.line.strip_suffix(b"\n").ok_or(Error::Truncated(WHAT))
    }
}

fn write_cell<K: Kind>(kind: K, bucket: u16, cell: &Cell, out: &mut Vec<u8>) {
    let kind = kind.info().name;
    out.extend_from_slice(format!("{{\"cell\":{{\"kind\":\"{kind}\",\"bucket\":{bucket}").as_bytes());
    write_sums(cell, out);
    out.extend_from_slice(b"}}\n");
}

fn read_cell<K: Kind>(text: &[u8], tally: &mut Tally<K>) -> Result<()> {
    let (mut kind, mut bucket, mut cell) = (None, 0, Cell::default());
    line(text, "cell", 6..=6, |name, reader| {
        match name {
            b"kind" => kind = Some(read_kind(reader)?),
            b"bucket" => bucket = reader.u64()?,
            _ => return read_sum(name, reader, &mut cell),
        }
        Ok(true)
    })?;
    let kind = kind.ok_or(Error::Truncated("cell"))?;
    let bucket = u16::try_from(bucket).ok().filter(|bucket| *bucket < crate::tally::BUCKETS);
    let place = tally.cell(kind, bucket.ok_or_else(|| Error::malformed("cell", "there is no such bucket"))?);
    if *place != Cell::default() {
        return Err(Error::malformed("cell", "it comes twice"));
    }
    *place = cell;
    Ok(())
}
