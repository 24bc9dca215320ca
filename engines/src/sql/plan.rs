//! Cutting a table into ranges of about as many rows, by few probes of its key: keys are sparse, unevenly, and those of
//! the trash lie far away. It counts no table, and knows no dialect.

use metaferry_codecs::juicefs::{JuiceFs, Kind};
use metaferry_pipeline::Partition;

/// Rows in a range, about.
const RANGE_ROWS: u64 = 1 << 16;
/// Keys that a range may cover unseen: it cannot hold more rows.
const FAR: u64 = 8 * RANGE_ROWS;
/// Rows by which a density is measured.
const SAMPLE_ROWS: u64 = 1024;

/// What can be asked of a table about its key.
pub(crate) trait Probe {
    /// Why it does not answer.
    type Error;

    /// The key `rows` rows behind the first one at or after `from`.
    fn after(&mut self, from: i64, rows: u64) -> Result<Option<i64>, Self::Error>;

    /// How many rows are at or after `from`; asked only where they are few.
    fn count(&mut self, from: i64) -> Result<u64, Self::Error>;
}

/// A range of keys that begins at `from` and ends where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    from: i64,
    rows: u64,
}

/// The ranges of a table, by key.
pub(crate) fn ranges<P: Probe>(probe: &mut P) -> Result<Vec<Range>, P::Error> {
    let mut ranges = Vec::new();
    let mut next = probe.after(i64::MIN, 0)?;
    while let Some(from) = next {
        let Some(sample) = probe.after(from, SAMPLE_ROWS)? else {
            ranges.push(Range { from, rows: probe.count(from)? });
            break;
        };
        next = match end(probe, from, sample.abs_diff(from))? {
            Some(end) => probe.after(end, 0)?,
            None => None,
        };
        ranges.push(Range { from, rows: RANGE_ROWS });
    }
    Ok(ranges)
}

/// Where a range ends that begins with a sample so wide; `None` where that is beyond all keys. As far as the sample
/// reaches; but where that is far, there may be more than it promises, and rows are stepped over to see.
fn end<P: Probe>(probe: &mut P, from: i64, width: u64) -> Result<Option<i64>, P::Error> {
    let reach = width.max(1).saturating_mul(RANGE_ROWS / SAMPLE_ROWS);
    let end = from.checked_add_unsigned(reach);
    if reach <= FAR {
        return Ok(end);
    }
    let most = probe.after(from, 2 * RANGE_ROWS)?;
    Ok(most.into_iter().chain(end).min())
}

/// The partitions of a kind that is read by these ranges.
pub(crate) fn partitions(kind: Kind, ranges: &[Range]) -> impl Iterator<Item = Partition<JuiceFs>> {
    let ends = ranges.iter().skip(1).map(|range| ordinal(range.from)).chain([u64::MAX]);
    // Few nodes have parents of their own.
    let weight = move |rows: u64| if kind == Kind::Parent { rows / 8 } else { rows };
    ranges.iter().zip(ends).map(move |(range, to)| Partition {
        kind: Some(kind),
        from: ordinal(range.from),
        to,
        weight: weight(range.rows).max(1),
    })
}

/// The first and the last key of a partition.
pub(crate) fn keys((from, to): (u64, u64)) -> (i64, i64) {
    let last = if to == u64::MAX { i64::MAX } else { key(to.saturating_sub(1)) };
    (key(from), last)
}

/// A key as a number of a partition, in the same order.
pub(crate) fn ordinal(key: i64) -> u64 {
    key.cast_unsigned() ^ 1 << 63
}

/// The key of a number of a partition.
fn key(ordinal: u64) -> i64 {
    (ordinal ^ 1 << 63).cast_signed()
}
