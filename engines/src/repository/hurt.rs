//! Hurt: which backups need what is damaged. What backups share is looked at once. What lies in a damaged pack is marked, so that
//! the next backup that needs it sends it again; then it is whole in the earlier ones too.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use metaferry_codecs::archive::Unpacker;
use metaferry_codecs::repository::{Id, Root, hex};
use metaferry_codecs::system::System;
use metaferry_pipeline::Result;

use super::blobs::Blobs;
use super::opened::DAMAGED;
use super::{Listed, Repository};

/// Marks the packs in which damaged blobs and pages lie.
///
/// # Errors
/// Those of the store.
pub fn mark_damaged(repository: &Arc<Repository>, damaged: &BTreeSet<Id>) -> Result<()> {
    let known = Blobs::of(Arc::clone(repository))?.known;
    let packs: BTreeSet<Id> = damaged.iter().filter_map(|id| Some(known.location(id)?.pack)).collect();
    packs.iter().try_for_each(|pack| repository.mark(DAMAGED, &hex(pack)))
}

/// The backups that need any of some damaged blobs and pages, the oldest first.
///
/// # Errors
/// Those of the store; a manifest that cannot be read.
pub fn hurt<S: System>(repository: &Arc<Repository>, damaged: &BTreeSet<Id>) -> Result<Vec<Listed>> {
    let blobs = Blobs::of(Arc::clone(repository))?;
    let mut pages = Pages { blobs, unpacker: Unpacker::new()?, damaged, known: HashMap::new() };
    let mut hurt = Vec::new();
    for backup in repository.backups()? {
        let manifest = repository.manifest::<S>(&backup.name)?;
        if manifest.roots.iter().any(|Root { id, height, .. }| pages.are_damaged::<S>(*id, *height)) {
            hurt.push(backup);
        }
    }
    Ok(hurt)
}

/// Pages, and whether anything below them is damaged.
struct Pages<'a> {
    blobs: Blobs,
    unpacker: Unpacker,
    damaged: &'a BTreeSet<Id>,
    known: HashMap<Id, bool>,
}

impl Pages<'_> {
    /// A page that cannot be had is damaged too. There are as many heights as a tree has, which is few.
    fn are_damaged<S: System>(&mut self, id: Id, height: u8) -> bool {
        if self.damaged.contains(&id) {
            return true;
        }
        if height == 0 {
            return false;
        }
        if let Some(&known) = self.known.get(&id) {
            return known;
        }
        let is_damaged = match self.blobs.page::<S>(&id, &mut self.unpacker) {
            Ok(page) => page.entries.iter().any(|entry| self.are_damaged::<S>(entry.id, height - 1)),
            Err(_) => true,
        };
        self.known.insert(id, is_damaged);
        is_damaged
    }
}
