//! What a repository holds: its packs, and by its indexes where each blob lies. That is held in memory whole: some 60 bytes a
//! blob.

use std::collections::{BTreeMap, HashMap};

use metaferry_codecs::repository::{Id, Index, Pack, Placed, SALT};
use metaferry_pipeline::Result;

use super::opened::{DAMAGED, DOOMED, Repository};

/// The packs of a repository.
pub(super) struct Catalog {
    /// What its indexes say, by their names.
    pub(super) indexes: BTreeMap<String, Index>,
    /// The packs that are doomed, and since when.
    pub(super) doomed: BTreeMap<Id, String>,
    /// The packs in which something was found that is not what it was.
    damaged: BTreeMap<Id, String>,
    /// The packs that are there, and how long each is, in bytes.
    pub(super) there: BTreeMap<Id, u64>,
}

impl Catalog {
    /// Of a pack that comes while this is read, too little is known rather than too much.
    pub(super) fn of(repository: &Repository) -> Result<Self> {
        let (doomed, damaged) = (repository.marked_packs(DOOMED)?, repository.marked_packs(DAMAGED)?);
        Ok(Self { indexes: repository.indexes()?, doomed, damaged, there: repository.packs()? })
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = &Pack> {
        self.indexes.values().flat_map(|index| &index.packs)
    }

    /// Whether what lies in a pack may be relied on: it is there, as long as it must be, and neither doomed nor damaged.
    fn is_sound(&self, pack: &Pack) -> bool {
        let is_marked = self.doomed.contains_key(&pack.id) || self.damaged.contains_key(&pack.id);
        !is_marked && self.there.get(&pack.id) == Some(&pack.length())
    }
}

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
    /// Whether a backup that is being made needs it.
    is_used: bool,
}

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) pack: Id,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Known {
    /// The blobs of sound packs; what lies in others alone is sent again.
    pub(super) fn to_write(catalog: &Catalog) -> Self {
        let mut known = Self::default();
        catalog.packs().filter(|pack| catalog.is_sound(pack)).for_each(|pack| known.add(pack));
        known
    }

    /// All blobs; one is looked for in a pack that is not sound only where it is nowhere else.
    pub(super) fn to_read(catalog: &Catalog) -> Self {
        let mut known = Self::to_write(catalog);
        catalog.packs().filter(|pack| !catalog.is_sound(pack)).for_each(|pack| known.add(pack));
        known
    }

    /// Takes in a pack. A blob that lies in two is taken from the first.
    fn add(&mut self, pack: &Pack) {
        for (id, spot) in self.spots(pack, false) {
            self.blobs.entry(id).or_insert(spot);
        }
    }

    /// Takes in a pack that was just written: its blobs are used, and in no other pack from now on.
    pub(super) fn add_written(&mut self, pack: &Pack) {
        let spots = self.spots(pack, true);
        self.blobs.extend(spots);
    }

    fn spots(&mut self, pack: &Pack, is_used: bool) -> Vec<(Id, Spot)> {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.id);
        let mut offset = 0_u32;
        let spot = |blob: &Placed| {
            let spot = Spot { pack: number, offset, length: blob.length, is_used };
            offset = offset.saturating_add(blob.length);
            (blob.id, spot)
        };
        pack.blobs.iter().map(spot).filter(|(id, _)| *id != SALT.id).collect()
    }

    /// Where a blob lies; none where no index has it.
    pub(super) fn location(&self, id: &Id) -> Option<Location> {
        self.located(self.blobs.get(id)?)
    }

    /// The same of one that is used from now on.
    pub(super) fn take(&mut self, id: &Id) -> Option<Location> {
        let spot = self.blobs.get_mut(id)?;
        spot.is_used = true;
        let spot = *spot;
        self.located(&spot)
    }

    /// The used blobs that lie in a pack of those, as they lie there.
    pub(super) fn used_in(&self, packs: impl Fn(&Id) -> bool) -> Vec<(Id, Location)> {
        let used = self.blobs.iter().filter(|(_, spot)| spot.is_used);
        let located = used.filter_map(|(id, spot)| Some((*id, self.located(spot)?)));
        let mut found: Vec<_> = located.filter(|(_, location)| packs(&location.pack)).collect();
        found.sort_by_key(|(_, location)| (location.pack, location.offset));
        found
    }

    fn located(&self, spot: &Spot) -> Option<Location> {
        let pack = *self.packs.get(spot.pack as usize)?;
        Some(Location { pack, offset: spot.offset.into(), length: spot.length.into() })
    }
}
