//! What is no directory: which slot names what, how long it is, and which slots are second names of a file.

use std::ops::Range;

use metaferry_codecs::juicefs::{CHUNK_SIZE, FileType};

use super::dice::{Purpose, pick, skewed};
use super::shape::Shape;

/// Slots in a block; each whole one has two second names.
pub(super) const BLOCK: u64 = 100;

/// What a slot names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    /// The slot of its first name.
    pub(super) slot: u64,
    /// Its type.
    pub(super) kind: FileType,
    /// Whether it has more than one name.
    pub(super) linked: bool,
}

/// The hard links of a block: `near` is a second name of `near_target`, in the same block; `far_target` has its second
/// name in another block, and `far` is a second name of a file there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub(super) near: u64,
    pub(super) near_target: u64,
    pub(super) far: u64,
    pub(super) far_target: u64,
}

impl Shape {
    /// How many blocks have links.
    pub(super) fn blocks(&self) -> u64 {
        self.slots / BLOCK
    }

    /// The links of a block. The four slots are four, or three where one file has both second names.
    #[inline]
    pub(super) fn links(&self, block: u64) -> Links {
        let roll = self.dice.roll(Purpose::Links, block);
        let first = block * BLOCK;
        let near_target = first + 50 + (roll & 0xffff) % 25;
        Links {
            near: if roll >> 62 == 0 { first + (roll >> 16 & 0xffff) % 25 } else { near_target - 1 },
            near_target,
            far: first + 25 + (roll >> 32 & 0xfff) % 24,
            far_target: if roll >> 60 & 3 == 0 { near_target } else { first + 75 + (roll >> 44 & 0xfff) % 25 },
        }
    }

    /// How far away the other block of a far link is, in blocks.
    fn shift(&self) -> u64 {
        let blocks = self.blocks().max(1);
        self.dice.roll(Purpose::Shift, 0) % blocks
    }

    /// What a slot names.
    #[inline]
    pub(super) fn leaf(&self, slot: u64) -> Leaf {
        let block = slot / BLOCK;
        if block < self.blocks() {
            let links = self.links(block);
            let target = match slot {
                _ if slot == links.near => Some(links.near_target),
                _ if slot == links.far => Some(self.links((block + self.shift()) % self.blocks()).far_target),
                _ if slot == links.near_target || slot == links.far_target => Some(slot),
                _ => None,
            };
            if let Some(slot) = target {
                return Leaf { slot, kind: FileType::REGULAR, linked: true };
            }
        }
        Leaf { slot, kind: self.kind(slot), linked: false }
    }

    #[inline]
    fn kind(&self, slot: u64) -> FileType {
        let roll = self.dice.roll(Purpose::Role, slot);
        // Those with two names are all files, so the rest has to have a few more.
        match roll % 1000 {
            0..21 => FileType::SYMLINK,
            21 => FileType::new(4 + (roll >> 32) % 4).unwrap_or_default(),
            _ => FileType::REGULAR,
        }
    }

    /// Every slot that names this linked file, its own first.
    pub(super) fn names_of(&self, slot: u64) -> [Option<u64>; 3] {
        let block = slot / BLOCK;
        let links = self.links(block);
        let other = (block + self.blocks() - self.shift()) % self.blocks().max(1);
        [
            Some(slot),
            (slot == links.near_target).then_some(links.near),
            (slot == links.far_target).then(|| self.links(other).far),
        ]
    }

    /// The linked files of a block, ascending.
    pub(super) fn linked(&self, block: u64) -> impl Iterator<Item = u64> + use<> {
        let links = self.links(block);
        let second = (links.far_target != links.near_target).then_some(links.far_target);
        [Some(links.near_target), second].into_iter().flatten()
    }

    /// The length of a regular file, in bytes.
    #[inline]
    pub(super) fn length(&self, slot: u64) -> u64 {
        let roll = self.dice.roll(Purpose::Length, slot);
        match self.slices.step(slot) {
            0 if roll >> 40 & 3 > 0 => 0,
            count if self.is_spread(slot) => CHUNK_SIZE * (2 * count - 1) + roll % CHUNK_SIZE,
            _ => skewed(roll, 32),
        }
    }

    /// Whether a file has each of its slices in another chunk, with holes between them.
    #[inline]
    pub(super) fn is_spread(&self, slot: u64) -> bool {
        self.slices.step(slot) > 1 && self.dice.roll(Purpose::Pieces, slot) >> 60 == 0
    }

    /// The length a leaf counts for in directory statistics: only that of a file does.
    #[inline]
    pub(super) fn size_of(&self, leaf: Leaf) -> u64 {
        if leaf.kind == FileType::REGULAR { self.length(leaf.slot) } else { 0 }
    }

    /// The device number, where it is a device.
    pub(super) fn device(&self, leaf: Leaf) -> u32 {
        let is_device = matches!(leaf.kind.number(), 5 | 6);
        if is_device { pick(&[0x0103, 0x0501, 0x0800, 0x0801], leaf.slot) } else { 0 }
    }

    /// The slots among these inodes, counted from the root.
    pub(super) fn inodes_from(&self, range: &Range<u64>) -> Range<u64> {
        let slot = |ordinal: u64| ordinal.saturating_sub(self.trash_root()).min(self.slots);
        slot(range.start)..slot(range.end)
    }
}
