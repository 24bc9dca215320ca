//! What the indexes of a repository say: where each blob lies. It is held in memory whole: some 60 bytes a blob.

use std::collections::{BTreeSet, HashMap};

use metaferry_codecs::repository::{Id, Index, Pack};

/// The blobs of a repository.
#[derive(Debug, Default)]
pub(super) struct Known {
    packs: Vec<Id>,
    blobs: HashMap<Id, Spot>,
}

#[derive(Debug, Clone, Copy)]
struct Spot {
    pack: u32,
    offset: u32,
    length: u32,
}

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) pack: Id,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Known {
    /// What some indexes say but for `doomed` packs, whose blobs are sent again.
    pub(super) fn to_write(indexes: &[Index], doomed: &BTreeSet<Id>) -> Self {
        let mut known = Self::default();
        let packs = indexes.iter().flat_map(|index| &index.packs);
        packs.filter(|pack| !doomed.contains(&pack.id)).for_each(|pack| known.add(pack));
        known
    }

    /// What some indexes say; a blob is looked for in a doomed pack only where it is nowhere else.
    pub(super) fn to_read(indexes: &[Index], doomed: &BTreeSet<Id>) -> Self {
        let mut known = Self::to_write(indexes, doomed);
        let packs = indexes.iter().flat_map(|index| &index.packs);
        packs.filter(|pack| doomed.contains(&pack.id)).for_each(|pack| known.add(pack));
        known
    }

    /// Takes in a pack. A blob that lies in two is taken from the first.
    fn add(&mut self, pack: &Pack) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.id);
        let mut offset = 0_u32;
        for blob in &pack.blobs {
            self.blobs.entry(blob.id).or_insert(Spot { pack: number, offset, length: blob.length });
            offset = offset.saturating_add(blob.length);
        }
    }

    /// Where a blob lies; none where no index has it.
    pub(super) fn location(&self, id: &Id) -> Option<Location> {
        let spot = self.blobs.get(id)?;
        let pack = *self.packs.get(spot.pack as usize)?;
        Some(Location { pack, offset: spot.offset.into(), length: spot.length.into() })
    }
}
