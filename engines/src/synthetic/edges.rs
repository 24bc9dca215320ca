//! The entries of directories, and what follows from them: directory statistics and quotas.

use std::ops::Range;

use metaferry_codecs::juicefs::{DirStat, Edge, FileType, Limit, Quota, quota_class, used_space};
use metaferry_pipeline::Result;

use super::dice::Purpose;
use super::names;
use super::rows::Rows;
use super::shape::Shape;

/// How many directories outside of the chain may have a quota.
const QUOTAS: u64 = 64;
const GIB: i64 = 1 << 30;

impl Shape {
    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        self.entries_before(self.all_directories())
    }

    /// Entries, in the order of directories and names.
    pub(super) fn edges(&self, range: &Range<u64>, rows: &mut Rows<'_, Edge>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut directory = self.directory_with(range.start);
        let mut before = self.entries_before(directory);
        while before < range.end {
            let after = self.entries_before(directory + 1);
            if directory > self.trash_root() {
                // An hour is sorted as a whole, by whoever has its first entry.
                if before >= range.start {
                    self.hour_edges(directory, rows)?;
                }
            } else {
                let places = range.start.max(before) - before..range.end.min(after) - before;
                self.directory_edges(directory, places, rows)?;
            }
            (directory, before) = (directory + 1, after);
        }
        Ok(())
    }

    fn directory_edges(&self, directory: u64, places: Range<u64>, rows: &mut Rows<'_, Edge>) -> Result<()> {
        let parent = self.directory_inode(directory);
        let (directories, slots) = (self.subdirectories(directory), self.slots_of(directory));
        let width = names::width_of(directories + slots.end - slots.start);
        for place in places.start..places.end.min(directories) {
            let child = self.subdirectory(directory, place);
            let name = if child > self.trash_root() {
                names::hour_name(place)
            } else {
                names::name(place, width, self.dice.roll(Purpose::Name, !child), true)
            };
            rows.push(Edge { parent, name, inode: self.directory_inode(child), kind: FileType::DIRECTORY })?;
        }
        for place in places.start.max(directories)..places.end {
            let slot = slots.start + place - directories;
            let leaf = self.leaf(slot);
            let name = names::name(place, width, self.dice.roll(Purpose::Name, slot), false);
            rows.push(Edge { parent, name, inode: self.slot_inode(leaf.slot), kind: leaf.kind })?;
        }
        Ok(())
    }

    fn hour_edges(&self, hour: u64, rows: &mut Rows<'_, Edge>) -> Result<()> {
        let parent = self.directory_inode(hour);
        let mut edges: Vec<Edge> = self
            .slots_of(hour)
            .map(|slot| {
                let leaf = self.leaf(slot);
                let inode = self.slot_inode(leaf.slot);
                let name = names::name(slot, 1, self.dice.roll(Purpose::Name, slot), false);
                let origin = self.dice.roll(Purpose::Origin, slot) % self.trash_root();
                let name = names::trash_name(self.directory_inode(origin), inode, &name);
                Edge { parent, name, inode, kind: leaf.kind }
            })
            .collect();
        edges.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        edges.into_iter().try_for_each(|edge| rows.push(edge))
    }

    /// What JuiceFS keeps of a directory: every entry counts, second names too.
    pub(super) fn statistics(&self, directory: u64) -> DirStat {
        let directories = self.subdirectories(directory) as i64;
        let inode = self.directory_inode(directory);
        let mut stat = DirStat { inode, length: 0, space: 4096 * directories, inodes: directories };
        for slot in self.slots_of(directory) {
            let leaf = self.leaf(slot);
            let length = self.size_of(leaf);
            stat.length += length as i64;
            stat.space += used_space(leaf.kind, length);
            stat.inodes += 1;
        }
        stat
    }

    /// Directory statistics. The trash root has none, and the root none before its first entry.
    pub(super) fn statistics_of(&self, directories: Range<u64>, rows: &mut Rows<'_, DirStat>) -> Result<()> {
        for directory in directories {
            let is_untouched = directory == 0 && self.directories + self.slots == 0;
            if directory != self.trash_root() && !is_untouched {
                rows.push(self.statistics(directory))?;
            }
        }
        Ok(())
    }

    /// Quotas, within one another on the chain, and on directories that have none under them.
    pub(super) fn quotas(&self, rows: &mut Rows<'_, Quota>) -> Result<()> {
        for top in [1, 10, 20].into_iter().filter(|&top| top <= self.chain) {
            let below = (top..=self.chain).map(|directory| self.statistics(directory));
            let used = below.fold((0, 0), |sum, stat| (sum.0 + stat.space, sum.1 + stat.inodes));
            rows.push(self.quota(top, used))?;
        }
        let step = (self.directories / QUOTAS).max(1) as usize;
        for directory in (self.chain + 1..self.directories).step_by(step) {
            if self.subdirectories(directory) == 0 {
                let stat = self.statistics(directory);
                rows.push(self.quota(directory, (stat.space, stat.inodes)))?;
            }
        }
        Ok(())
    }

    fn quota(&self, directory: u64, (used_space, used_inodes): (i64, i64)) -> Quota {
        let roll = self.dice.roll(Purpose::Quota, directory);
        Quota {
            class: quota_class::DIRECTORY,
            id: self.directory_inode(directory),
            max_space: Limit(if roll.is_multiple_of(3) { -1 } else { used_space / GIB * 2 * GIB + 10 * GIB }),
            max_inodes: Limit(if roll % 3 == 1 { -1 } else { used_inodes * 2 + 1000 }),
            used_space,
            used_inodes,
        }
    }
}
