//! Packing: blobs become packs, packs are sent side by side, and indexes of them are written as they are there. What is
//! known to be there is not sent again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use metaferry_codecs::archive::{MAX_LONE, Packer, sha256};
use metaferry_codecs::repository::{Id, Index, MAX_PAGE, Pack, Placed, SALT};
use metaferry_pipeline::stage::Crew;
use metaferry_pipeline::{Error, Result, Stop};

use super::known::{Known, Location};
use super::lock;
use super::opened::{DOOMED, Repository, bug, pack_path};

/// The length at which a pack is full, in bytes.
const FULL: usize = 8 << 20;
/// After so many packs an index of them is written: a run that is killed has to send no more than these again.
const INDEX_EVERY: usize = 4;
/// Packs sent side by side at most.
const MOST_SENDERS: usize = 8;

/// Puts blobs away; its owners may be many.
pub(super) struct Packing {
    repository: Arc<Repository>,
    state: Mutex<State>,
}

struct State {
    /// What is there.
    known: Known,
    /// How long each blob is that is not there yet; 0 while it is being made.
    coming: HashMap<Id, u32>,
    /// The packs that are open: that of blobs, and that of pages, so that those lie close to each other.
    open: [Open; 2],
    senders: Crew<(Vec<u8>, Vec<Placed>), Pack>,
    /// Packs that are there, and in no index yet.
    sent: Vec<Pack>,
    totals: Totals,
}

/// A pack that is not full yet.
#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    blobs: Vec<Placed>,
}

/// What is put away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Blob,
    Page,
}

impl Sort {
    /// How long it is at most before it is compressed, in bytes.
    fn bound(self) -> usize {
        match self {
            Self::Blob => MAX_LONE,
            Self::Page => MAX_PAGE,
        }
    }
}

/// What a run put away, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// What was not there.
    pub(super) new: u64,
    /// All of it.
    pub(super) all: u64,
}

impl Packing {
    /// Puts into a repository what is not `known`, and holds some `memory_bytes`.
    pub(super) fn new(repository: &Arc<Repository>, known: Known, memory_bytes: usize, stop: &Stop) -> Result<Self> {
        let senders = (memory_bytes / (4 * FULL)).clamp(1, MOST_SENDERS);
        let store = Arc::clone(&repository.store);
        let sender = move || {
            let store = Arc::clone(&store);
            move |(bytes, blobs): (Vec<u8>, Vec<Placed>)| {
                let id = sha256(&bytes);
                store.put(&pack_path(&id), bytes)?;
                Ok(Pack { id, blobs })
            }
        };
        let state = State {
            known,
            coming: HashMap::new(),
            open: <[Open; 2]>::default(),
            senders: Crew::start("send", senders, stop, sender)?,
            sent: Vec::new(),
            totals: Totals::default(),
        };
        Ok(Self { repository: Arc::clone(repository), state: Mutex::new(state) })
    }

    /// Puts some content away, where it is not there yet; which it is.
    pub(super) fn put(&self, sort: Sort, content: &[u8], packer: &mut Packer) -> Result<Id> {
        let vault = &self.repository.vault;
        let id = vault.id(content);
        {
            let mut state = lock(&self.state);
            if let Some(Location { length, .. }) = state.known.take(&id) {
                state.totals.all += length;
                return Ok(id);
            }
            if let Some(&length) = state.coming.get(&id) {
                state.totals.all += u64::from(length);
                return Ok(id);
            }
            // From here on it is being made; nobody else makes it.
            state.coming.insert(id, 0);
        }
        let object = vault.seal(&id, packer.pack(content, sort.bound())?)?;
        lock(&self.state).totals.all += object.len() as u64;
        self.put_object(sort, id, &object)?;
        Ok(id)
    }

    /// Puts away what is compressed and sealed.
    pub(super) fn put_object(&self, sort: Sort, id: Id, object: &[u8]) -> Result<()> {
        let length = u32::try_from(object.len()).map_err(|_| Error::unsupported("a blob over 4 GiB"))?;
        let mut state = lock(&self.state);
        let state = &mut *state;
        state.coming.insert(id, length);
        let [blobs, pages] = &mut state.open;
        let open = if sort == Sort::Page { pages } else { blobs };
        if open.blobs.is_empty() {
            let mut salt = [0; SALT.length as usize];
            getrandom::fill(&mut salt).map_err(|cause| Error::engine("random bytes", cause))?;
            open.bytes.reserve(if sort == Sort::Page { 0 } else { FULL + FULL / 8 });
            open.bytes.extend_from_slice(&salt);
            open.blobs.push(SALT);
        }
        open.bytes.extend_from_slice(object);
        open.blobs.push(Placed { id, length });
        if open.bytes.len() < FULL {
            return Ok(());
        }
        let full = std::mem::take(open);
        self.send(state, full)
    }

    /// Sends a pack.
    fn send(&self, state: &mut State, pack: Open) -> Result<()> {
        let sent = state.senders.put((pack.bytes, pack.blobs))?;
        sent.map_or(Ok(()), |pack| self.note(state, pack))
    }

    /// Takes note of a pack that is there.
    fn note(&self, state: &mut State, pack: Pack) -> Result<()> {
        state.totals.new += pack.length();
        state.known.add_written(&pack);
        for blob in &pack.blobs {
            state.coming.remove(&blob.id);
        }
        state.sent.push(pack);
        if state.sent.len() >= INDEX_EVERY { self.index(state) } else { Ok(()) }
    }

    fn index(&self, state: &mut State) -> Result<()> {
        let packs = std::mem::take(&mut state.sent);
        if !packs.is_empty() {
            state.totals.new += self.repository.put_index(&Index { packs })?.1;
        }
        Ok(())
    }

    /// Sends what is left, and waits until all of it is there.
    pub(super) fn finish(&self) -> Result<Totals> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        for pack in std::mem::take(&mut state.open).into_iter().filter(|pack| !pack.blobs.is_empty()) {
            self.send(state, pack)?;
        }
        while let Some(pack) = state.senders.take()? {
            self.note(state, pack)?;
        }
        self.index(state)?;
        if !state.coming.is_empty() {
            return Err(bug("a blob that was on its way is not there"));
        }
        Ok(state.totals)
    }

    /// Sees that every pack that is used is there, whole, and not doomed; what lies in doomed ones is sent again. Whoever
    /// dooms one from here on leaves it for the grace, and then finds the manifest.
    pub(super) fn settle(&self) -> Result<Totals> {
        let repository = &self.repository;
        let doomed = repository.marked_packs(DOOMED)?;
        let (used, in_doomed) = {
            let known = &lock(&self.state).known;
            let used: BTreeSet<Id> = known.used_in(|_| true).into_iter().map(|(_, location)| location.pack).collect();
            (used, known.used_in(|pack| doomed.contains_key(pack)))
        };
        let there = repository.packs()?;
        for pack in used.iter().filter(|pack| !there.contains_key(*pack)) {
            // It may have been put after the list was made, in a store whose lists lag behind.
            if !repository.store.has(&pack_path(pack))? {
                let what = format!("{}: {} was removed while it was used", repository.shown(), pack_path(pack));
                return Err(Error::refused(what).hint("run again: what is missing is sent then"));
            }
        }
        for (id, location) in in_doomed {
            let object = repository.store.part(&pack_path(&location.pack), location.offset, location.length)?;
            self.put_object(Sort::Blob, id, &object)?;
        }
        self.finish()
    }
}
