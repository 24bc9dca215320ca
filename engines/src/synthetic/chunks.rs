//! The data of files: slices in chunks, holes, slices shared by two files, and what waits to be freed.

use std::ops::Range;

use metaferry_codecs::juicefs::{
    CHUNK_SIZE, Chunk, DelFile, DelSlices, DelayedSlices, FileType, Slice, SliceRef, Slices,
};
use metaferry_pipeline::Result;

use super::dice::Purpose;
use super::nodes::BIRTH;
use super::rows::Rows;
use super::shape::Shape;

const CHUNK: u32 = CHUNK_SIZE as u32;
/// When files were removed and slices compacted.
const REMOVED: i64 = BIRTH + 210_000_000;
/// Slice ids that each removed file, and each list of delayed slices, has for itself.
const RESERVED: u64 = 4;

fn whole(id: u64, length: u64) -> Slice {
    let size = length.min(CHUNK_SIZE) as u32;
    Slice { pos: 0, id, size, off: 0, len: size }
}

impl Shape {
    /// Removed files whose chunks are still there.
    pub(super) fn removed_files(&self) -> u64 {
        32.min(self.slots / 50)
    }

    /// Lists of delayed slices.
    pub(super) fn delayed(&self) -> u64 {
        8.min(self.slots / 100)
    }

    /// The first slice id of a slot; past the last slot, the first that no file has.
    fn slice_id(&self, slot: u64) -> u64 {
        1 + self.slices.before(slot)
    }

    /// The first slice id never used.
    pub(super) fn slices_end(&self) -> u64 {
        self.slice_id(self.slots) + RESERVED * (self.removed_files() + self.delayed())
    }

    /// The chunks of files, then those of removed files.
    pub(super) fn chunks(&self, range: Range<u64>, rows: &mut Rows<'_, Chunk>) -> Result<()> {
        for slot in range.start..range.end.min(self.slots) {
            let leaf = self.leaf(slot);
            if leaf.slot == slot && leaf.kind == FileType::REGULAR {
                self.file_chunks(slot, leaf.linked, rows)?;
            }
        }
        for removed in range.start.max(self.slots)..range.end {
            self.removed_chunks(removed - self.slots, rows)?;
        }
        Ok(())
    }

    fn file_chunks(&self, slot: u64, linked: bool, rows: &mut Rows<'_, Chunk>) -> Result<()> {
        let (first, count) = (self.slice_id(slot), self.slices.step(slot));
        if count == 0 {
            return Ok(());
        }
        let (inode, length) = (self.slot_inode(slot), self.length(slot));
        if self.is_spread(slot) {
            for place in 0..count {
                let rest = length - 2 * place * CHUNK_SIZE;
                let mut slices = vec![whole(first + place, rest)];
                if place == 1 {
                    slices.push(Slice { len: CHUNK / 4, ..Slice::default() });
                }
                self.share(slot, linked && place == 0, &mut slices);
                rows.push(Chunk { inode, index: (2 * place) as u32, slices: Slices(slices) })?;
            }
            return Ok(());
        }
        let mut slices = self.pieces(slot, first..first + count, length.min(CHUNK_SIZE));
        self.share(slot, linked, &mut slices);
        rows.push(Chunk { inode, index: 0, slices: Slices(slices) })
    }

    /// The slices of one chunk: side by side, or written over one another, some with a hole punched, some trimmed.
    fn pieces(&self, slot: u64, ids: Range<u64>, length: u64) -> Vec<Slice> {
        let count = ids.end - ids.start;
        let roll = self.dice.roll(Purpose::Pieces, slot);
        let mut slices = Vec::with_capacity(count as usize);
        if count == 1 {
            let mut only = whole(ids.start, length);
            if roll & 15 == 0 && length < CHUNK_SIZE / 2 {
                only.off = 4096;
                only.size += 8192;
            }
            slices.push(only);
        } else if roll & 1 == 0 && length >= count {
            for place in 0..count {
                let (from, to) = (length * place / count, length * (place + 1) / count);
                slices.push(Slice { pos: from as u32, ..whole(ids.start + place, to - from) });
            }
        } else {
            slices.push(whole(ids.start, length));
            for id in ids.start + 1..ids.end {
                let roll = self.dice.roll(Purpose::Share, !id);
                let from = roll % length.max(1);
                slices.push(Slice { pos: from as u32, ..whole(id, 1 + (roll >> 32) % (length - from).max(1)) });
            }
        }
        if roll >> 8 & 63 == 0 {
            slices.push(Slice { pos: (length / 2) as u32, len: (length / 4 + 1) as u32, ..Slice::default() });
        }
        slices
    }

    /// The files of a block that share a slice, if any: the one that took it, then its owner.
    fn sharers(&self, block: u64) -> Option<(u64, u64)> {
        let links = self.links(block);
        let (taker, owner) = (links.near_target, links.far_target);
        let have_data = taker != owner && self.slices.step(taker) > 0 && self.slices.step(owner) > 0;
        (have_data && self.dice.roll(Purpose::Share, block).is_multiple_of(16)).then_some((taker, owner))
    }

    /// The slice that the owner of a shared slice has first.
    fn first_slice(&self, slot: u64) -> Slice {
        let (first, length) = (self.slice_id(slot), self.length(slot));
        if self.is_spread(slot) {
            return whole(first, length);
        }
        let ids = first..first + self.slices.step(slot);
        self.pieces(slot, ids, length.min(CHUNK_SIZE)).first().copied().unwrap_or_default()
    }

    /// Adds what this file took from another.
    fn share(&self, slot: u64, linked: bool, slices: &mut Vec<Slice>) {
        if !linked {
            return;
        }
        if let Some((taker, owner)) = self.sharers(slot / super::leaf::BLOCK)
            && taker == slot
        {
            let slice = self.first_slice(owner);
            slices.push(Slice { pos: 0, ..slice });
        }
    }

    /// References of slices that two files share; all others have one, and no row.
    pub(super) fn slice_refs(&self, blocks: Range<u64>, rows: &mut Rows<'_, SliceRef>) -> Result<()> {
        for (_, owner) in blocks.filter_map(|block| self.sharers(block)) {
            let slice = self.first_slice(owner);
            rows.push(SliceRef { id: slice.id, size: slice.size, refs: 2 })?;
        }
        Ok(())
    }

    fn removed_length(&self, removed: u64) -> u64 {
        if removed.is_multiple_of(4) { CHUNK_SIZE * 3 / 2 } else { 1 << 20 }
    }

    fn removed_chunks(&self, removed: u64, rows: &mut Rows<'_, Chunk>) -> Result<()> {
        let inode = self.slot_inode(self.slots + removed);
        let first = self.slice_id(self.slots) + RESERVED * removed;
        let length = self.removed_length(removed);
        for index in 0..length.div_ceil(CHUNK_SIZE) {
            let slices = vec![whole(first + index, length - index * CHUNK_SIZE)];
            rows.push(Chunk { inode, index: index as u32, slices: Slices(slices) })?;
        }
        Ok(())
    }

    /// Removed files whose data waits to be freed.
    pub(super) fn del_files(&self, range: Range<u64>, rows: &mut Rows<'_, DelFile>) -> Result<()> {
        for removed in range {
            let inode = self.slot_inode(self.slots + removed);
            let expire = REMOVED + removed as i64;
            rows.push(DelFile { inode, length: self.removed_length(removed), expire })?;
        }
        Ok(())
    }

    /// Slices kept after compactions, whose results are gone again.
    pub(super) fn del_slices(&self, range: Range<u64>, rows: &mut Rows<'_, DelSlices>) -> Result<()> {
        for list in range {
            let id = self.slice_id(self.slots) + RESERVED * (self.removed_files() + list);
            let slices = DelayedSlices((1..RESERVED).map(|place| (id + place, 4096 * place as u32)).collect());
            rows.push(DelSlices { id, deleted: REMOVED + list as i64, slices })?;
        }
        Ok(())
    }
}
