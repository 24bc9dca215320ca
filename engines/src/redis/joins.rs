//! What is spread over several keys, or over several parts of one, and becomes rows only at the end: directory statistics
//! and quotas, in bounded memory, and chunks of very many slices.

use std::collections::BTreeMap;

use metaferry_codecs::juicefs::redis_keys::{self as keys, Key};
use metaferry_codecs::juicefs::{Counter, DirStat, JuiceFs, Limit, Quota, Slice, counter};
use metaferry_codecs::system::Sum;
use metaferry_codecs::{Error, Result};
use metaferry_pipeline::spill::{Aggregator, SpillDir};
use metaferry_pipeline::{self as pipeline, Emit};

use super::rows::Rows;

/// What directory statistics and quotas may hold in memory before they spill, in bytes.
const BUDGET_BYTES: usize = 24 << 20;
/// A directory's statistics that all three hashes have, counted in one number.
const ALL_THREE: i64 = 1 | 1 << 20 | 1 << 40;
/// The section of directory statistics; quotas follow, two sections a class.
const STATS: u64 = 0;

/// Which part of a value: whole values are part 0, and their last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) last: bool,
}

impl Part {
    /// All of a value.
    pub(super) const WHOLE: Self = Self { number: 0, last: true };
}

/// A part of a chunk; none where it is damaged.
type ChunkPart = ((u64, u32), Part, Option<Vec<Slice>>);
/// The slices of a part, by its number.
type Slices = (u64, Option<Vec<Slice>>);

/// What one worker found since it last handed it over.
#[derive(Default)]
pub(super) struct Pending {
    sums: Vec<Sum>,
    pub(super) parts: Vec<ChunkPart>,
    pub(super) settings: u64,
    pub(super) has_next_inode: bool,
    pub(super) has_next_chunk: bool,
}

impl Pending {
    /// Books a field of one of the hashes of directory statistics or quotas.
    pub(super) fn sum(&mut self, key: Key, id: u64, value: &[u8]) -> Result<()> {
        let (section, delta) = match key {
            Key::DirStats(0) => (STATS, [keys::signed(value)?, 0, 0, 1]),
            Key::DirStats(1) => (STATS, [0, keys::signed(value)?, 0, 1 << 20]),
            Key::DirStats(_) => (STATS, [0, 0, keys::signed(value)?, 1 << 40]),
            Key::Quotas(class, 0) => {
                let (space, inodes) = keys::limits(value)?;
                (limits_of(class), [space, inodes, 1, 0])
            }
            Key::Quotas(class, 1) => (limits_of(class) + 1, [keys::signed(value)?, 0, 0, 0]),
            Key::Quotas(class, _) => (limits_of(class) + 1, [0, keys::signed(value)?, 1, 0]),
            _ => return Err(Error::malformed("redis value", "it is no sum")),
        };
        self.sums.push(([id, section], delta));
        Ok(())
    }
}

fn limits_of(class: u8) -> u64 {
    2 + 2 * u64::from(class)
}

/// What all workers found, until the end.
pub(super) struct Joins {
    sums: Aggregator<4>,
    chunks: BTreeMap<(u64, u32), Vec<Slices>>,
    lengths: BTreeMap<(u64, u32), usize>,
    settings: u64,
    has_next_inode: bool,
    has_next_chunk: bool,
}

impl Joins {
    pub(super) fn new(spill: &SpillDir) -> Self {
        Self {
            sums: Aggregator::new(spill, BUDGET_BYTES),
            chunks: BTreeMap::new(),
            lengths: BTreeMap::new(),
            settings: 0,
            has_next_inode: false,
            has_next_chunk: false,
        }
    }

    /// How many settings came by.
    pub(super) fn settings(&self) -> u64 {
        self.settings
    }

    /// Takes over what a worker found; chunks that are whole now become rows.
    pub(super) fn take(&mut self, rows: &mut Rows) -> pipeline::Result<()> {
        let pending = &mut rows.pending;
        self.settings += std::mem::take(&mut pending.settings);
        self.has_next_inode |= pending.has_next_inode;
        self.has_next_chunk |= pending.has_next_chunk;
        pending.sums.drain(..).try_for_each(|(key, delta)| self.sums.add(key, delta))?;
        for (chunk, part, slices) in std::mem::take(&mut pending.parts) {
            if part.last {
                self.lengths.insert(chunk, usize::try_from(part.number).unwrap_or(usize::MAX).saturating_add(1));
            }
            let parts = self.chunks.entry(chunk).or_default();
            parts.push((part.number, slices));
            if self.lengths.get(&chunk) == Some(&parts.len()) {
                let mut parts = std::mem::take(parts);
                self.chunks.remove(&chunk);
                self.lengths.remove(&chunk);
                parts.sort_unstable_by_key(|(number, _)| *number);
                // A damaged part was reported where it was found.
                if let Some(slices) = parts.into_iter().map(|(_, slices)| slices).collect::<Option<Vec<_>>>() {
                    rows.chunk(chunk.0, chunk.1, slices.concat());
                }
            }
        }
        Ok(())
    }

    /// Ends the input: what was joined becomes rows.
    pub(super) fn finish(self, rows: &mut Rows, out: &mut dyn Emit<JuiceFs>) -> pipeline::Result<()> {
        for (name, has) in [(counter::NEXT_INODE, self.has_next_inode), (counter::NEXT_CHUNK, self.has_next_chunk)] {
            if !has {
                rows.counters.push(Counter { name: name.to_vec(), value: counter::redis_offset(name) });
            }
        }
        let mut sums = self.sums.finish()?;
        let mut limits = None;
        while let Some(([id, section], sum)) = sums.next()? {
            match section {
                STATS => stat(id, sum, rows),
                _ if section % 2 == 0 => {
                    rows.leave("quotas without usage", u64::from(limits.is_some()));
                    limits = Some((id, section, sum));
                }
                _ => {
                    let own = limits.take_if(|(of, which, _)| *of == id && *which + 1 == section);
                    rows.leave("quotas without usage", u64::from(limits.take().is_some()));
                    let [max_space, max_inodes, ..] = own.map_or([-1, -1, 0, 0], |(_, _, limits)| limits);
                    let [used_space, used_inodes, is_there, _] = sum;
                    let class = u8::try_from(section / 2 - 1).unwrap_or(u8::MAX);
                    if is_there > 0 {
                        rows.quotas.push(Quota {
                            class,
                            id,
                            max_space: Limit(max_space),
                            max_inodes: Limit(max_inodes),
                            used_space,
                            used_inodes,
                        });
                    } else {
                        rows.leave("quotas without usage", 1);
                    }
                }
            }
            rows.flush(false, out)?;
        }
        rows.leave("quotas without usage", u64::from(limits.is_some()));
        Ok(())
    }
}

/// JuiceFS takes a directory to have statistics only where all three are there.
fn stat(inode: u64, [length, space, inodes, there]: [i64; 4], rows: &mut Rows) {
    if there == ALL_THREE {
        rows.stats.push(DirStat { inode, length, space, inodes });
    } else {
        rows.leave("incomplete directory statistics", 1);
    }
}
