//! Tally: rows, bytes and an order-free digest per kind and bucket of inodes, over the canonical form.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::system::{Class, Kind};

/// How many buckets of inodes there are.
pub const BUCKETS: u16 = 4096;

/// The version of the canonical form and the digest, written beside every tally.
pub const DIGEST_VERSION: u32 = 1;

/// The bucket of an inode or a slice id.
#[must_use]
pub fn bucket_of(id: u64) -> u16 {
    ((id >> 16) & u64::from(BUCKETS - 1)) as u16
}

/// A number in whose bucket a row falls that has bytes for a key: those of one key are always the same one.
#[must_use]
pub fn spread(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// What is counted of the rows of one kind in one bucket. Sums wrap: a doubled row shows, which it would not under xor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// The number of rows.
    pub rows: u64,
    /// The length of their canonical forms, in bytes.
    pub bytes: u64,
    /// The sum of the digests of what the rows are.
    pub digest: u128,
    /// The sum of the digests of the fields that can be worked out, such as link counts.
    pub derived: u128,
}

impl Cell {
    /// Adds another cell.
    pub fn add(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.digest = self.digest.wrapping_add(other.digest);
        self.derived = self.derived.wrapping_add(other.derived);
    }

    /// Takes another cell away again.
    pub fn subtract(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_sub(other.rows);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.digest = self.digest.wrapping_sub(other.digest);
        self.derived = self.derived.wrapping_sub(other.derived);
    }
}

/// The digest of one canonical form.
#[must_use]
pub fn digest(canonical: &[u8]) -> u128 {
    xxh3_128(canonical)
}

/// Cells by kind and bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally<K: Kind> {
    cells: BTreeMap<(K, u16), Cell>,
}

impl<K: Kind> Default for Tally<K> {
    fn default() -> Self {
        Self { cells: BTreeMap::new() }
    }
}

impl<K: Kind> Tally<K> {
    /// The cell of one kind and bucket, to be added to.
    pub fn cell(&mut self, kind: K, bucket: u16) -> &mut Cell {
        self.cells.entry((kind, bucket)).or_default()
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        for (&(kind, bucket), cell) in &other.cells {
            self.cell(kind, bucket).add(cell);
        }
    }

    /// Takes another tally away again.
    pub fn subtract(&mut self, other: &Self) {
        for (&(kind, bucket), cell) in &other.cells {
            self.cell(kind, bucket).subtract(cell);
        }
        self.cells.retain(|_, cell| *cell != Cell::default());
    }

    /// Every cell, by kind and bucket.
    pub fn cells(&self) -> impl Iterator<Item = (K, u16, &Cell)> {
        self.cells.iter().map(|(&(kind, bucket), cell)| (kind, bucket, cell))
    }

    /// The sum over the buckets of one kind.
    #[must_use]
    pub fn of(&self, kind: K) -> Cell {
        let mut sum = Cell::default();
        for cell in self.cells.range((kind, 0)..=(kind, u16::MAX)) {
            sum.add(cell.1);
        }
        sum
    }

    /// The sum over everything that is compared.
    #[must_use]
    pub fn total(&self) -> Cell {
        let mut sum = Cell::default();
        for cell in self.cells.values() {
            sum.add(cell);
        }
        sum
    }

    /// The kinds and buckets in which two tallies differ, and whether what differs is [`Class::Primary`] or only
    /// [`Class::Derived`].
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(K, u16, Class)> {
        let absent = Cell::default();
        let mut keys: Vec<_> = self.cells.keys().chain(other.cells.keys()).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter_map(|key| {
                let ours = self.cells.get(&key).unwrap_or(&absent);
                let theirs = other.cells.get(&key).unwrap_or(&absent);
                let primary = (ours.rows, ours.digest) != (theirs.rows, theirs.digest);
                let class = if primary { key.0.info().class } else { Class::Derived };
                (primary || ours.derived != theirs.derived).then_some((key.0, key.1, class))
            })
            .collect()
    }
}
