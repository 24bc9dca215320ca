//! The external aggregator: sums of fixed-size deltas by key, in a bounded table, over runs on disk where they do not
//! fit. It refuses to know what is summed.

use std::cmp::Ordering;

use super::SpillDir;
use super::merge::{Cursor, Merge};
use super::runs::{RunReader, RunWriter, Runs};
use crate::Result;

type Key = [u64; 2];

const KEY_BYTES: usize = size_of::<Key>();
const LEAST_SLOTS: usize = 1 << 10;
/// Slots are a power of two and at most three quarters full, so that an entry has at most 2.7 slots.
const SLOT_BYTES_PER_ENTRY: usize = 22;

/// Sums deltas by key in bounded memory. One thread owns it.
pub struct Aggregator<const N: usize> {
    table: Table<N>,
    runs: Runs,
    most_entries: usize,
}

impl<const N: usize> Aggregator<N> {
    /// An aggregator that holds about `budget_bytes`, and spills to `dir` what is more.
    #[must_use]
    pub fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        let entry = size_of::<Entry<N>>() + SLOT_BYTES_PER_ENTRY;
        // The index of an entry has 32 bits, of which one value marks an empty slot.
        let most_entries = (budget_bytes / entry).clamp(1, u32::MAX as usize - 1);
        Self { table: Table::new(), runs: Runs::new(dir, budget_bytes), most_entries }
    }

    /// Adds to the sums of `key`, each wrapping.
    pub fn add(&mut self, key: Key, delta: [i64; N]) -> Result<()> {
        if let Some(entry) = self.table.find(key) {
            entry.add(delta);
            return Ok(());
        }
        if self.table.entries.len() >= self.most_entries {
            self.spill()?;
        }
        self.table.push(Entry { key, delta });
        Ok(())
    }

    /// Ends the input. Where something was spilled already, the rest is too: the memory is needed to read the runs.
    pub fn finish(mut self) -> Result<Sums<N>> {
        let cursors = if self.runs.is_empty() {
            vec![SumCursor::new(Place::Table(self.table.into_sorted().into_iter()))]
        } else {
            self.spill()?;
            self.table = Table::new();
            self.runs.open()?
        };
        Ok(Sums { merge: Merge::new(cursors)? })
    }

    /// Ends the input of several workers, and merges their sums.
    pub fn finish_all(workers: Vec<Self>) -> Result<Sums<N>> {
        Ok(Sums::merge(workers.into_iter().map(Self::finish).collect::<Result<_>>()?))
    }

    fn spill(&mut self) -> Result<()> {
        self.table.sort();
        let entries = &self.table.entries;
        self.runs.write(|run| entries.iter().try_for_each(|entry| entry.write(run)))?;
        self.table.clear();
        Ok(())
    }
}

/// Sums in ascending order of their keys, each key once.
pub struct Sums<const N: usize> {
    merge: Merge<SumCursor<N>>,
}

impl<const N: usize> Sums<N> {
    /// Merges what several aggregators summed.
    #[must_use]
    pub fn merge(parts: Vec<Self>) -> Self {
        Self { merge: Merge::join(parts.into_iter().map(|part| part.merge)) }
    }

    /// The next key and its sums.
    #[expect(clippy::should_implement_trait, reason = "reading may fail")]
    pub fn next(&mut self) -> Result<Option<(Key, [i64; N])>> {
        let Some(first) = self.merge.peek() else { return Ok(None) };
        let mut sum = first.entry;
        self.merge.pop()?;
        while let Some(more) = self.merge.peek()
            && more.entry.key == sum.key
        {
            sum.add(more.entry.delta);
            self.merge.pop()?;
        }
        Ok(Some((sum.key, sum.delta)))
    }
}

#[derive(Clone, Copy)]
struct Entry<const N: usize> {
    key: Key,
    delta: [i64; N],
}

impl<const N: usize> Entry<N> {
    const BYTES: usize = KEY_BYTES + 8 * N;

    fn add(&mut self, delta: [i64; N]) {
        self.delta.iter_mut().zip(delta).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
    }

    fn write(&self, run: &mut RunWriter) -> Result<()> {
        self.key.iter().try_for_each(|part| run.write(&part.to_le_bytes()))?;
        self.delta.iter().try_for_each(|part| run.write(&part.to_le_bytes()))
    }

    fn read(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let (mut key, mut delta) = ([0; 2], [0; N]);
        key.iter_mut().zip(words).for_each(|(part, word)| *part = u64::from_le_bytes(*word));
        delta.iter_mut().zip(words.iter().skip(2)).for_each(|(part, word)| *part = i64::from_le_bytes(*word));
        Self { key, delta }
    }
}

/// Entries in order of arrival, found by open addressing. A slot is 0 where it is empty, else the high half of the
/// key's hash over the index of the entry plus one: growing looks at no entry, and a probe almost only at its own.
struct Table<const N: usize> {
    entries: Vec<Entry<N>>,
    slots: Vec<u64>,
    /// How many entries have a slot. The rest get theirs when a key comes that is not the greatest so far: a stream in
    /// ascending order never pays for slots.
    indexed: usize,
    greatest: Option<Key>,
    last: usize,
}

impl<const N: usize> Table<N> {
    fn new() -> Self {
        Self { entries: Vec::new(), slots: Vec::new(), indexed: 0, greatest: None, last: 0 }
    }

    /// The entry of `key`, if it has one.
    fn find(&mut self, key: Key) -> Option<&mut Entry<N>> {
        if self.entries.get(self.last).is_none_or(|entry| entry.key != key) {
            if self.greatest.is_none_or(|greatest| key > greatest) {
                return None;
            }
            self.index();
            self.last = self.probe(key)?;
        }
        self.entries.get_mut(self.last)
    }

    /// Adds an entry whose key has none.
    fn push(&mut self, entry: Entry<N>) {
        self.greatest = self.greatest.max(Some(entry.key));
        self.last = self.entries.len();
        self.entries.push(entry);
    }

    fn probe(&self, key: Key) -> Option<usize> {
        let hash = hash(key);
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = home(hash) & mask;
        loop {
            let slot = self.slots.get(at).copied().filter(|slot| *slot != 0)?;
            let found = (slot & LOW) as usize - 1;
            if slot & HIGH == hash & HIGH && self.entries.get(found)?.key == key {
                return Some(found);
            }
            at = (at + 1) & mask;
        }
    }

    /// Gives every entry a slot.
    fn index(&mut self) {
        if self.entries.len() * 4 > self.slots.len() * 3 {
            let room = (self.entries.len() * 4 / 3 + 1).next_power_of_two().max(LEAST_SLOTS);
            let slots = std::mem::replace(&mut self.slots, vec![0; room]);
            slots.into_iter().filter(|slot| *slot != 0).for_each(|slot| occupy(&mut self.slots, slot));
        }
        for (at, entry) in self.entries.iter().enumerate().skip(self.indexed) {
            occupy(&mut self.slots, (hash(entry.key) & HIGH) | (at as u64 + 1));
        }
        self.indexed = self.entries.len();
    }

    fn into_sorted(mut self) -> Vec<Entry<N>> {
        self.slots = Vec::new();
        self.sort();
        self.entries
    }

    /// Sorts the entries. Their slots no longer hold: `clear` follows.
    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.key);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.slots.fill(0);
        (self.indexed, self.greatest) = (0, None);
    }
}

/// Puts `slot` where probing for its key ends.
fn occupy(slots: &mut [u64], slot: u64) {
    let mask = slots.len().wrapping_sub(1);
    let mut at = home(slot) & mask;
    while slots.get(at).is_some_and(|taken| *taken != 0) {
        at = (at + 1) & mask;
    }
    if let Some(empty) = slots.get_mut(at) {
        *empty = slot;
    }
}

const HIGH: u64 = !LOW;
const LOW: u64 = u32::MAX as u64;

fn hash(key: Key) -> u64 {
    let [first, second] = key;
    let mixed = first.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(second);
    let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93;
    (product >> 64) as u64 ^ product as u64
}

/// Where probing begins: only from the half of the hash that a slot keeps.
fn home(hash: u64) -> usize {
    (hash >> 32) as usize
}

/// A position in a sorted table or run.
struct SumCursor<const N: usize> {
    place: Place<N>,
    entry: Entry<N>,
}

enum Place<const N: usize> {
    Table(std::vec::IntoIter<Entry<N>>),
    Run(RunReader),
}

impl<const N: usize> SumCursor<N> {
    fn new(place: Place<N>) -> Self {
        Self { place, entry: Entry { key: [0; 2], delta: [0; N] } }
    }
}

impl<const N: usize> Cursor for SumCursor<N> {
    fn open(run: RunReader) -> Self {
        Self::new(Place::Run(run))
    }

    fn advance(&mut self) -> Result<bool> {
        let next = match &mut self.place {
            Place::Table(entries) => entries.next(),
            Place::Run(run) => {
                let next = run.peek(Entry::<N>::BYTES)?.map(Entry::read);
                run.consume(Entry::<N>::BYTES);
                next
            }
        };
        Ok(next.map(|entry| self.entry = entry).is_some())
    }

    fn order(&self, other: &Self) -> Ordering {
        self.entry.key.cmp(&other.entry.key)
    }

    fn write(&self, run: &mut RunWriter) -> Result<()> {
        self.entry.write(run)
    }
}
