//! Sets of inodes or slices: compressed bitmaps in shards that all workers share. Each worker adds runs of ids of one shard
//! under one lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roaring::RoaringTreemap;

const SHARDS: usize = 64;

/// A set of ids that many workers add to.
#[derive(Debug)]
pub(super) struct IdSet {
    shards: Vec<Mutex<RoaringTreemap>>,
}

impl Default for IdSet {
    fn default() -> Self {
        Self::new()
    }
}

impl IdSet {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// A worker's hand on the set: it keeps the shard it last used locked.
    pub(super) fn hand(&self) -> Hand<'_> {
        Hand { set: self, held: None }
    }

    /// The ids that are in `self` and in none of `others`, shard by shard.
    pub(super) fn without(&self, others: &[&Self]) -> impl Iterator<Item = u64> {
        let left: Vec<RoaringTreemap> = self
            .shards
            .iter()
            .enumerate()
            .map(|(index, shard)| {
                let mut left = lock(shard).clone();
                for other in others.iter().filter_map(|other| other.shards.get(index)) {
                    left -= &*lock(other);
                }
                left
            })
            .collect();
        left.into_iter().flatten()
    }

    /// Takes an id out where it is in, puts it in where it is not; true where it is in now.
    fn flip(&self, id: u64) -> bool {
        self.shards.get(shard_of(id)).is_some_and(|shard| {
            let mut shard = lock(shard);
            let is_new = shard.insert(id);
            if !is_new {
                shard.remove(id);
            }
            is_new
        })
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.shards.get(shard_of(id)).is_some_and(|shard| lock(shard).contains(id))
    }
}

/// A small number for each id, in binary: bit `n` of it is whether set `n` has the id.
#[derive(Debug)]
pub(super) struct Counts {
    bits: [IdSet; u32::BITS as usize],
}

impl Default for Counts {
    fn default() -> Self {
        Self { bits: std::array::from_fn(|_| IdSet::new()) }
    }
}

impl Counts {
    /// Adds one: flips bits up to the first that was not set. Whichever worker carries on first, the sum is the same.
    pub(super) fn increment(&self, id: u64) {
        self.bits.iter().any(|bit| bit.flip(id));
    }

    pub(super) fn of(&self, id: u64) -> u32 {
        self.bits.iter().rev().fold(0, |count, bit| count << 1 | u32::from(bit.contains(id)))
    }
}

pub(super) struct Hand<'a> {
    set: &'a IdSet,
    held: Option<(usize, MutexGuard<'a, RoaringTreemap>)>,
}

impl Hand<'_> {
    /// Adds an id; false where it was there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let shard = shard_of(id);
        if !matches!(&self.held, Some((held, _)) if *held == shard) {
            self.held = None;
            self.held = self.set.shards.get(shard).map(|mutex| (shard, lock(mutex)));
        }
        self.held.as_mut().is_some_and(|(_, set)| set.insert(id))
    }
}

fn shard_of(id: u64) -> usize {
    (id >> 16) as usize % SHARDS
}

/// A set stays whole whatever a worker was doing when it stopped: each insertion is one step.
fn lock(mutex: &Mutex<RoaringTreemap>) -> MutexGuard<'_, RoaringTreemap> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
