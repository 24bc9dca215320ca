//! The external sorter: opaque rows by opaque keys, in a bounded arena, over runs on disk where they do not fit. It
//! refuses to know what a key means beyond the order of its bytes.

use std::cmp::Ordering;

use super::SpillDir;
use super::merge::{Cursor, Merge};
use super::runs::{RunReader, RunWriter, Runs};
use crate::{Error, Result};

/// A record is the lengths of its key and its row, each as four bytes, then the key, then the row.
const HEADER: usize = 8;
/// How deep into equal keys prefixes are taken, before comparing the rest is left to comparison.
const MOST_DEPTH: usize = 256;

/// Sorts rows by key in bounded memory; equal keys stay in order of arrival. One thread owns it.
pub struct Sorter {
    arena: Arena,
    runs: Runs,
    budget: usize,
}

impl Sorter {
    /// A sorter that holds about `budget_bytes`, and spills to `dir` what is more.
    #[must_use]
    pub fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        Self { arena: Arena::default(), runs: Runs::new(dir, budget_bytes), budget: budget_bytes }
    }

    /// Takes one row. A row that is larger than the budget is taken, and spilled alone.
    pub fn push(&mut self, key: &[u8], row: &[u8]) -> Result<()> {
        let bytes = HEADER + key.len() + row.len();
        if !self.arena.has_room(bytes, self.budget) {
            self.spill()?;
        }
        self.arena.push(key, row)
    }

    /// Ends the input. Where something was spilled already, the rest is too: the memory is needed to read the runs.
    pub fn finish(mut self) -> Result<Sorted> {
        let cursors = if self.runs.is_empty() {
            self.arena.sort();
            vec![RowCursor::new(Place::Arena { arena: self.arena, next: 0, at: 0 })]
        } else {
            self.spill()?;
            self.arena = Arena::default();
            self.runs.open()?
        };
        Ok(Sorted { merge: Merge::new(cursors)?, is_read: false })
    }

    fn spill(&mut self) -> Result<()> {
        if self.arena.index.is_empty() {
            return Ok(());
        }
        self.arena.sort();
        let arena = &self.arena;
        self.runs.write(|run| arena.index.iter().try_for_each(|entry| run.write(arena.record(entry.at))))?;
        self.arena.bytes.clear();
        self.arena.index.clear();
        Ok(())
    }
}

/// Rows in order of their keys, of one sorter or of several.
pub struct Sorted {
    merge: Merge<RowCursor>,
    /// Whether the smallest row was handed out already.
    is_read: bool,
}

impl Sorted {
    /// Merges what several sorters sorted; equal keys come in the order of `parts`.
    pub fn merge(parts: Vec<Self>) -> Result<Self> {
        let rest = |mut part: Self| part.step().map(|()| part.merge);
        let merges = parts.into_iter().map(rest).collect::<Result<Vec<_>>>()?;
        Ok(Self { merge: Merge::join(merges), is_read: false })
    }

    /// The next key and its row.
    #[expect(clippy::should_implement_trait, reason = "a row is lent until the next call")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.step()?;
        self.is_read = true;
        Ok(self.merge.peek().map(|row| (row.key(), row.row())))
    }

    fn step(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_read) {
            self.merge.pop()?;
        }
        Ok(())
    }
}

/// Records behind each other, and where each begins.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    index: Vec<Entry>,
}

/// A record by the first bytes of its key, so that most comparisons are one of integers.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u64,
    at: u32,
}

impl Arena {
    fn has_room(&self, record: usize, budget: usize) -> bool {
        let index = (self.index.len() + 1) * size_of::<Entry>();
        self.bytes.len() + record + index <= budget && u32::try_from(self.bytes.len() + record).is_ok()
    }

    fn push(&mut self, key: &[u8], row: &[u8]) -> Result<()> {
        let too_large = |_| Error::unsupported(format!("a row of {} bytes to sort", key.len() + row.len()));
        let at = u32::try_from(self.bytes.len()).map_err(too_large)?;
        let key_len = u32::try_from(key.len()).map_err(too_large)?;
        let row_len = u32::try_from(row.len()).map_err(too_large)?;
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&row_len.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(row);
        self.index.push(Entry { prefix: prefix(Some(key)), at });
        Ok(())
    }

    /// Sorts the index, by key and then by arrival.
    fn sort(&mut self) {
        let mut index = std::mem::take(&mut self.index);
        self.sort_from(0, &mut index);
        self.index = index;
    }

    /// Sorts entries whose keys are equal before `depth`, and whose prefixes begin there: by prefix first, which looks
    /// at no record, then where prefixes are equal by what follows them.
    fn sort_from(&self, depth: usize, entries: &mut [Entry]) {
        entries.sort_unstable_by_key(|entry| (entry.prefix, entry.at));
        let depth = depth + size_of::<u64>();
        for equal in entries.chunk_by_mut(|one, other| one.prefix == other.prefix).filter(|equal| equal.len() > 1) {
            // A shorter key looks like one that goes on with zeroes: only a comparison tells them apart.
            let goes_on = depth < MOST_DEPTH && equal.iter().all(|entry| self.key(entry.at).len() >= depth);
            if goes_on {
                equal.iter_mut().for_each(|entry| entry.prefix = prefix(self.key(entry.at).get(depth..)));
                self.sort_from(depth, equal);
            } else {
                equal.sort_unstable_by(|one, other| {
                    self.key(one.at).cmp(self.key(other.at)).then(one.at.cmp(&other.at))
                });
            }
        }
    }

    fn key(&self, at: u32) -> &[u8] {
        let from = self.bytes.get(at as usize..).unwrap_or_default();
        from.get(HEADER..HEADER + lengths(from).0).unwrap_or_default()
    }

    fn record(&self, at: u32) -> &[u8] {
        let from = self.bytes.get(at as usize..).unwrap_or_default();
        let (key, row) = lengths(from);
        from.get(..HEADER + key + row).unwrap_or_default()
    }
}

fn lengths(record: &[u8]) -> (usize, usize) {
    let length = |at: usize| record.get(at..).and_then(|bytes| bytes.first_chunk()).copied().map(u32::from_le_bytes);
    (length(0).unwrap_or(0) as usize, length(4).unwrap_or(0) as usize)
}

/// The first bytes of what there is of a key, in the order of keys.
fn prefix(key: Option<&[u8]>) -> u64 {
    let key = key.unwrap_or_default();
    if let Some(first) = key.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    first.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(first)
}

/// A position in a sorted arena or run.
struct RowCursor {
    place: Place,
    prefix: u64,
    key_len: usize,
    /// The whole record; 0 before the first.
    len: usize,
}

enum Place {
    Arena { arena: Arena, next: usize, at: usize },
    Run(RunReader),
}

impl RowCursor {
    fn new(place: Place) -> Self {
        Self { place, prefix: 0, key_len: 0, len: 0 }
    }

    fn record(&self) -> &[u8] {
        match &self.place {
            Place::Arena { arena, at, .. } => arena.bytes.get(*at..*at + self.len).unwrap_or_default(),
            Place::Run(run) => run.peeked(self.len),
        }
    }

    fn key(&self) -> &[u8] {
        self.record().get(HEADER..HEADER + self.key_len).unwrap_or_default()
    }

    fn row(&self) -> &[u8] {
        self.record().get(HEADER + self.key_len..).unwrap_or_default()
    }

    /// Finds the lengths of the next record and stands at it; none past the last.
    fn step(&mut self) -> Result<Option<(usize, usize)>> {
        match &mut self.place {
            Place::Arena { arena, next, at } => {
                let Some(entry) = arena.index.get(*next) else { return Ok(None) };
                (*next, *at) = (*next + 1, entry.at as usize);
                Ok(Some(lengths(arena.record(entry.at))))
            }
            Place::Run(run) => {
                run.consume(self.len);
                let Some(header) = run.peek(HEADER)? else { return Ok(None) };
                let (key, row) = lengths(header);
                Ok(run.peek(HEADER + key + row)?.map(|_| (key, row)))
            }
        }
    }
}

impl Cursor for RowCursor {
    fn open(run: RunReader) -> Self {
        Self::new(Place::Run(run))
    }

    fn advance(&mut self) -> Result<bool> {
        let Some((key, row)) = self.step()? else { return Ok(false) };
        (self.key_len, self.len) = (key, HEADER + key + row);
        self.prefix = prefix(Some(self.key()));
        Ok(true)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| self.key().cmp(other.key()))
    }

    fn write(&self, run: &mut RunWriter) -> Result<()> {
        run.write(self.record())
    }
}
