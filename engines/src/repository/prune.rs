//! Prune: backups that no rule keeps are removed, and in time what only they held. A pack that nothing needs is doomed first, and
//! removed by a later run, when every backup that was under way then has ended; what is mostly dead is packed anew.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use metaferry_codecs::archive::Unpacker;
use metaferry_codecs::repository::{Id, Index, Manifest, Pack, hex};
use metaferry_codecs::system::{Kind, System};
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::Listed;
use super::blobs::Blobs;
use super::known::{Catalog, Known, Location};
use super::opened::{DAMAGED, DOOMED, INDEXES, MANIFESTS, PINS, Repository, SUSPECTS, VERIFIED, pack_path};
use super::packing::{Packing, Sort};
use super::retention::{Dated, Fate, Policy, doubt};

/// No grace is shorter, in seconds.
const LEAST_GRACE: i64 = 3600;
/// Indexes beyond which they are written anew as few.
const MOST_INDEXES: usize = 100;
/// Packs in one of those.
const PACKS_PER_INDEX: usize = 16;
/// What a repack holds, in bytes.
const REPACK_BYTES: usize = 32 << 20;

/// How to prune.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// What is kept.
    pub policy: Policy,
    /// Whether the clock is known to be right.
    pub trust_clock: bool,
    /// How long a pack stays doomed, in seconds; twice the longest backup where none is given.
    pub grace: Option<i64>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Packs that nothing needs, from now on doomed, and their bytes where they are known.
    pub doomed: (u64, u64),
    /// Packs that were removed, and their bytes where they are known.
    pub removed: (u64, u64),
    /// Packs whose live blobs were packed anew, and how many bytes these are.
    pub repacked: (u64, u64),
    /// Why nothing was removed that could have been.
    pub held_back: Option<String>,
}

/// What is to become of each backup. Nothing is changed.
///
/// # Errors
/// Those of the store.
pub fn decide(repository: &Repository, options: &PruneOptions) -> Result<Vec<(Listed, Fate)>> {
    let backups = repository.backups()?;
    let pinned = repository.marks(PINS)?;
    let verified = repository.marks(VERIFIED)?;
    let there = verified.iter().filter(|(name, _)| backups.iter().any(|backup| backup.name == **name));
    let last_verified =
        there.max_by_key(|(name, since)| (since.as_str(), name.as_str())).map(|(name, _)| name.as_str());
    let mut dated = Vec::new();
    for backup in &backups {
        // What is named so and is no moment is from no time at all: it stays.
        let at = backup.begun.parse().unwrap_or(Timestamp::MAX);
        let stays = match backup.name.as_str() {
            name if pinned.contains_key(name) => Some("it is pinned"),
            name if last_verified == Some(name) => Some("it is the last that was verified"),
            _ => None,
        };
        dated.push(Dated { at, stays });
    }
    let now = Timestamp::now();
    let suspect = suspect(repository, &backups)?.map(|name| Fate::Kept(format!("{name} is suspect")));
    let fates = if options.trust_clock { options.policy.sure(&dated, now) } else { options.policy.decide(&dated, now) };
    let held = |fate| suspect.clone().filter(|_| fate == Fate::Removed).unwrap_or(fate);
    Ok(backups.into_iter().zip(fates.into_iter().map(held)).collect())
}

/// The first of the backups that is suspect.
fn suspect(repository: &Repository, backups: &[Listed]) -> Result<Option<String>> {
    let suspects = repository.marks(SUSPECTS)?;
    Ok(backups.iter().map(|backup| &backup.name).find(|name| suspects.contains_key(*name)).cloned())
}

/// Removes the backups whose fate that is, and what nothing needs since longer than the grace.
///
/// # Errors
/// Those of the store; a backup that is suspect; one that stays and cannot be read: nothing it may need is removed then.
pub fn prune<S: System>(
    repository: &Arc<Repository>,
    decided: &[(Listed, Fate)],
    options: &PruneOptions,
    stop: &Stop,
) -> Result<Pruned> {
    let backups: Vec<_> = decided.iter().map(|(backup, _)| backup.clone()).collect();
    if let Some(name) = suspect(repository, &backups)? {
        return Err(Error::refused(format!(
            "{}: the backup {name} is suspect, so nothing is removed",
            repository.shown()
        ))
        .hint(format!("look at it; if it is right, metaferry acknowledge '{}@{name}'", repository.shown())));
    }
    let (gone, kept): (Vec<_>, Vec<_>) = decided.iter().partition(|(_, fate)| *fate == Fate::Removed);
    let manifests = repository.manifests::<S>(kept.iter().map(|(backup, _)| backup.name.clone()).collect())?;
    for (backup, _) in &gone {
        repository.store.remove(&format!("{MANIFESTS}/{}", backup.name))?;
        repository.unmark(VERIFIED, &backup.name)?;
    }
    let mut sweep = Sweep::open::<S>(repository, &manifests, stop)?;
    sweep.spare()?;
    sweep.repack(stop)?;
    sweep.doom()?;
    let moments: Vec<Timestamp> = kept.iter().filter_map(|(backup, _)| backup.begun.parse().ok()).collect();
    let doubt = doubt(&moments, Timestamp::now()).filter(|_| !options.trust_clock);
    let names: BTreeSet<&str> = kept.iter().map(|(backup, _)| backup.name.as_str()).collect();
    let is_new = |backup: &Listed| !names.contains(backup.name.as_str());
    if let Some(doubt) = doubt {
        sweep.pruned.held_back = Some(doubt.to_string());
    } else if repository.backups()?.iter().any(is_new) {
        sweep.pruned.held_back = Some("a backup came meanwhile".to_owned());
    } else {
        sweep.remove(options.grace.unwrap_or_else(|| grace(&manifests)))?;
    }
    Ok(sweep.pruned)
}

/// Twice the longest backup, in seconds.
fn grace<K: Kind>(manifests: &[Manifest<K>]) -> i64 {
    let seconds = |text: &str| text.parse::<Timestamp>().map(Timestamp::as_second).unwrap_or_default();
    let took = manifests.iter().map(|manifest| seconds(&manifest.ended) - seconds(&manifest.begun));
    took.max().unwrap_or_default().saturating_mul(2).max(LEAST_GRACE)
}

/// What is there, and what of it is needed.
struct Sweep {
    blobs: Blobs,
    catalog: Catalog,
    /// The needed blobs of each pack; of a blob that is in several, only one has it.
    live: BTreeMap<Id, Vec<Id>>,
    /// How long each pack is, in bytes.
    lengths: BTreeMap<Id, u64>,
    /// Packs that were packed anew in this run.
    emptied: BTreeSet<Id>,
    pruned: Pruned,
}

impl Sweep {
    fn open<S: System>(repository: &Arc<Repository>, manifests: &[Manifest<S::Kind>], stop: &Stop) -> Result<Self> {
        // What is doomed later than this is seen by the next run.
        let catalog = Catalog::of(repository)?;
        let blobs = Blobs { repository: Arc::clone(repository), known: Known::to_read(&catalog) };
        let mut needed = HashSet::new();
        let mut unpacker = Unpacker::new()?;
        for manifest in manifests {
            for root in &manifest.roots {
                stop.check()?;
                need::<S>(&blobs, (root.id, root.height), &mut needed, &mut unpacker)?;
            }
        }
        let mut live = BTreeMap::<Id, Vec<Id>>::new();
        for id in needed {
            let location = blobs.known.location(&id).ok_or_else(|| super::blobs::unindexed(&id))?;
            live.entry(location.pack).or_default().push(id);
        }
        let lengths = catalog.packs().map(|pack| (pack.id, pack.length())).collect();
        Ok(Self { blobs, catalog, live, lengths, emptied: BTreeSet::new(), pruned: Pruned::default() })
    }

    fn length(&self, id: &Id) -> u64 {
        self.lengths.get(id).copied().unwrap_or(0)
    }

    /// Packs that were doomed and are needed again are no longer.
    fn spare(&mut self) -> Result<()> {
        let again: Vec<Id> = self.catalog.doomed.keys().filter(|pack| self.live.contains_key(*pack)).copied().collect();
        for pack in again {
            self.blobs.repository.unmark(DOOMED, &hex(&pack))?;
            self.catalog.doomed.remove(&pack);
        }
        Ok(())
    }

    /// Packs anew what lives in packs that are mostly dead.
    fn repack(&mut self, stop: &Stop) -> Result<()> {
        let repository = Arc::clone(&self.blobs.repository);
        let packing = Packing::new(&repository, Known::default(), REPACK_BYTES, stop)?;
        for (pack, ids) in &self.live {
            let locations = ids.iter().filter_map(|id| Some((*id, self.blobs.known.location(id)?)));
            let mut locations: Vec<_> = locations.collect();
            let live: u64 = locations.iter().map(|(_, location)| location.length).sum();
            if self.catalog.doomed.contains_key(pack) || live * 2 >= self.length(pack) {
                continue;
            }
            locations.sort_by_key(|(_, location)| location.offset);
            match self.pack_anew(&packing, &locations, stop) {
                // What is damaged stays where it is: it may be whole again, and the rest of its pack is.
                Err(error) if error.kind() == ErrorKind::Corrupt => continue,
                packed => packed?,
            }
            self.emptied.insert(*pack);
            self.pruned.repacked.0 += 1;
            self.pruned.repacked.1 += live;
        }
        if !self.emptied.is_empty() {
            packing.finish()?;
        }
        Ok(())
    }

    fn pack_anew(&self, packing: &Packing, locations: &[(Id, Location)], stop: &Stop) -> Result<()> {
        for (id, location) in locations {
            stop.check()?;
            let object =
                self.blobs.repository.store.part(&pack_path(&location.pack), location.offset, location.length)?;
            self.blobs.prove(id, &object)?;
            packing.put_object(Sort::Blob, *id, &object)?;
        }
        Ok(())
    }

    /// Dooms what nothing needs, packs that are in no index among it: those of a run that was killed, or is under way. What has
    /// come since this run began, such as what it packed anew, is left to the next.
    fn doom(&mut self) -> Result<()> {
        let repository = &self.blobs.repository;
        let there = std::mem::take(&mut self.catalog.there);
        let is_needed = |pack: &Id| self.live.contains_key(pack) && !self.emptied.contains(pack);
        let dead: Vec<Id> = there.into_keys().filter(|pack| !is_needed(pack)).collect();
        for pack in dead.into_iter().filter(|pack| !self.catalog.doomed.contains_key(pack)) {
            repository.mark(DOOMED, &hex(&pack))?;
            self.pruned.doomed.0 += 1;
            self.pruned.doomed.1 += self.length(&pack);
        }
        Ok(())
    }

    /// Removes the packs that were doomed before this run, and longer ago than the grace; from the indexes first.
    fn remove(&mut self, grace: i64) -> Result<()> {
        let now = Timestamp::now().as_second();
        let is_due = |since: &str| since.parse::<Timestamp>().is_ok_and(|since| now - since.as_second() >= grace);
        let due = self.catalog.doomed.iter().filter(|(_, since)| is_due(since)).map(|(pack, _)| *pack);
        let due: BTreeSet<Id> = due.collect();
        self.rewrite_indexes(&due)?;
        let repository = &self.blobs.repository;
        for pack in &due {
            repository.store.remove(&pack_path(pack))?;
            repository.unmark(DAMAGED, &hex(pack))?;
            repository.unmark(DOOMED, &hex(pack))?;
            self.pruned.removed.0 += 1;
            self.pruned.removed.1 += self.length(pack);
        }
        Ok(())
    }

    /// Writes the indexes anew without those packs. The new ones are there before the old ones go.
    fn rewrite_indexes(&self, without: &BTreeSet<Id>) -> Result<()> {
        if self.catalog.indexes.len() <= MOST_INDEXES && self.catalog.packs().all(|pack| !without.contains(&pack.id)) {
            return Ok(());
        }
        let repository = &self.blobs.repository;
        let staying = self.catalog.packs().filter(|pack| !without.contains(&pack.id));
        let staying: BTreeMap<Id, &Pack> = staying.map(|pack| (pack.id, pack)).collect();
        let staying: Vec<Pack> = staying.into_values().cloned().collect();
        let mut written = BTreeSet::new();
        for packs in staying.chunks(PACKS_PER_INDEX) {
            written.insert(repository.put_index(&Index { packs: packs.to_vec() })?.0);
        }
        for name in self.catalog.indexes.keys().filter(|name| !written.contains(*name)) {
            repository.store.remove(&format!("{INDEXES}/{name}"))?;
        }
        Ok(())
    }
}

/// Everything below a root; what was seen before is not looked at again.
fn need<S: System>(blobs: &Blobs, root: (Id, u8), needed: &mut HashSet<Id>, unpacker: &mut Unpacker) -> Result<()> {
    let mut open = vec![root];
    while let Some((id, height)) = open.pop() {
        if needed.insert(id) && height > 0 {
            let page = blobs.page::<S>(&id, unpacker)?;
            open.extend(page.entries.iter().map(|entry| (entry.id, height - 1)));
        }
    }
    Ok(())
}
