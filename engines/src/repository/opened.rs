//! A repository that is open: its config is understood, its backups can be listed and found. It knows no row.

use std::collections::BTreeMap;
use std::sync::Arc;

use metaferry_codecs::archive::{MAX_HEADER, Packer, Unpacker, frame_bound, sha256};
use metaferry_codecs::json::read_hex;
use metaferry_codecs::repository::{
    CONFIG_NAME, Config, Id, Index, MAX_BACKUP, MAX_INDEX, Manifest, Mark, SEALED_BYTES, Vault, hex, moment_of,
    name_of, system_of,
};
use metaferry_codecs::system::System;
use metaferry_pipeline::stage::Crew;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use zeroize::Zeroizing;

use super::{RepositoryAddress, RepositoryKeys, Which};
use crate::objects::{Address, Store};

pub(super) const MANIFESTS: &str = "manifests";
pub(super) const PACKS: &str = "packs";
pub(super) const INDEXES: &str = "index";
pub(super) const PINS: &str = "pins";
pub(super) const VERIFIED: &str = "verified";
pub(super) const SUSPECTS: &str = "suspects";
pub(super) const DOOMED: &str = "doomed";
pub(super) const DAMAGED: &str = "damaged";
/// Objects read at a time.
const READERS: usize = 8;
const MOMENT: &str = "%Y-%m-%dT%H:%M:%SZ";
const MANIFEST_LABEL: &[u8] = b"manifest";
const INDEX_LABEL: &[u8] = b"index";

/// A repository that is there.
pub struct Repository {
    pub(super) store: Arc<Store>,
    pub(super) vault: Vault,
    id: [u8; 16],
    address: RepositoryAddress,
}

/// A backup, as its name tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// When it was begun, as RFC 3339 in UTC.
    pub begun: String,
    /// The name of its manifest.
    pub name: String,
}

impl Listed {
    /// Its id: what comes behind the moment in its name.
    #[must_use]
    pub fn id(&self) -> &str {
        self.name.rsplit_once('-').map_or("", |(_, id)| id)
    }
}

impl Repository {
    /// Opens the repository at an address; none where there is none.
    ///
    /// # Errors
    /// Those of the store; a newer format.
    pub fn find(address: &RepositoryAddress, keys: &RepositoryKeys, stop: &Stop) -> Result<Option<Self>> {
        // Whoever opens a folder makes it.
        if matches!(&address.place, Address::Folder(path) if !path.join(CONFIG_NAME).exists()) {
            return Ok(None);
        }
        let store = Arc::new(store(address, stop)?);
        let Some(text) = store.find(CONFIG_NAME, MAX_HEADER)? else { return Ok(None) };
        let config = Config::read(&text).map_err(|error| Error::from(error).at(store.shown()))?;
        let vault = match &config.wrapped_key {
            None => Vault::plain(),
            Some(wrapped) => Vault::encrypted(&keys.unwrap(wrapped).map_err(|error| error.at(store.shown()))?),
        };
        Ok(Some(Self { store, vault, id: config.id, address: address.clone() }))
    }

    /// Opens the repository at an address.
    ///
    /// # Errors
    /// As [`Repository::find`]; where there is none, or the keys do not open it.
    pub fn open(address: &RepositoryAddress, keys: &RepositoryKeys, stop: &Stop) -> Result<Self> {
        let none = || Error::corrupt(format!("{address}: there is no repository")).hint("backup makes one");
        Self::find(address, keys, stop)?.ok_or_else(none)
    }

    /// Opens the repository at an address to write to it, or makes one there: encrypted where there are keys, and only there.
    ///
    /// # Errors
    /// As [`Repository::open`]; where keys are given for one that is not encrypted.
    pub fn open_or_make(address: &RepositoryAddress, keys: &RepositoryKeys, stop: &Stop) -> Result<Self> {
        let repository = match Self::find(address, keys, stop)? {
            Some(repository) => repository,
            None => Self::make(address, keys, stop)?,
        };
        if keys.are_given() && !repository.vault.is_encrypted() {
            return Err(Error::refused(format!("{}: it is not encrypted, and keys are given", repository.shown()))
                .hint("all of a repository is encrypted or nothing; name another one, or give no keys"));
        }
        Ok(repository)
    }

    fn make(address: &RepositoryAddress, keys: &RepositoryKeys, stop: &Stop) -> Result<Self> {
        let failed = |cause: getrandom::Error| Error::engine("random bytes", cause);
        let (mut id, mut master) = ([0; 16], Zeroizing::new([0; 32]));
        getrandom::fill(&mut id).map_err(failed)?;
        getrandom::fill(master.as_mut_slice()).map_err(failed)?;
        let wrapped_key = keys.are_given().then(|| keys.wrap(&master)).transpose()?;
        // Where another was first, its config is the one.
        store(address, stop)?.put_new(CONFIG_NAME, Config { id, created: now(), wrapped_key }.write())?;
        Self::open(address, keys, stop)
    }

    /// Fails where another config has come in place of the one that was read: two made a repository at one moment, in a
    /// store that cannot keep them apart.
    pub(super) fn check_config(&self) -> Result<()> {
        let config = Config::read(&self.store.get(CONFIG_NAME, MAX_HEADER)?)?;
        if config.id != self.id {
            return Err(
                Error::refused(format!("{}: another made it at the same moment", self.shown())).hint("run again")
            );
        }
        Ok(())
    }

    /// Its address, for messages.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.store.shown()
    }

    /// Its backups, the oldest first. What is not named like one is passed over.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backups(&self) -> Result<Vec<Listed>> {
        let objects = self.store.list(MANIFESTS)?;
        let listed = |name: String| Some(Listed { begun: moment_of(&name)?, name });
        let mut backups: Vec<_> = objects.into_iter().filter_map(|object| listed(object.name)).collect();
        backups.sort();
        Ok(backups)
    }

    /// The backup that its address names.
    ///
    /// # Errors
    /// Those of the store; where there is none, or more than one.
    pub fn chosen(&self) -> Result<Listed> {
        let mut backups = self.backups()?;
        let is_meant = |backup: &Listed| match &self.address.which {
            Which::Newest => true,
            Which::At(moment) => backup.begun.get(..moment.len()).unwrap_or(&backup.begun) <= moment.as_str(),
            Which::Id(id) => backup.id().starts_with(id),
        };
        backups.retain(is_meant);
        if matches!(self.address.which, Which::Id(_)) && backups.len() > 1 {
            return Err(Error::config(format!("{}: {} backups have such an id", self.address, backups.len())));
        }
        let none = || Error::corrupt(format!("{}: there is no such backup", self.address));
        backups.pop().ok_or_else(none)
    }

    /// The name of the system whose metadata the newest backup holds; none where there is no backup.
    ///
    /// # Errors
    /// Those of the store; a manifest that was altered or is of a newer format.
    pub fn system(&self) -> Result<Option<String>> {
        let Some(newest) = self.backups()?.pop() else { return Ok(None) };
        let at = |error: metaferry_codecs::Error| Error::from(error).at(format!("{}: {}", self.shown(), newest.name));
        let text = manifest_text(&self.store, &self.vault, &newest.name)?;
        system_of(&text).map(Some).map_err(at)
    }

    /// The manifest of a backup.
    ///
    /// # Errors
    /// Those of the store; one that was altered, is of a newer format or another system.
    pub fn manifest<S: System>(&self, name: &str) -> Result<Manifest<S::Kind>> {
        read_manifest::<S>(&self.store, &self.vault, name)
    }

    /// The manifests of some backups, in their order; several are read at a time.
    ///
    /// # Errors
    /// As [`Repository::manifest`].
    pub fn manifests<S: System>(&self, names: Vec<String>) -> Result<Vec<Manifest<S::Kind>>> {
        self.side_by_side(names, |store, vault, name| read_manifest::<S>(store, vault, name))
    }

    /// Reads several objects at a time; what they hold, in the order of their names.
    fn side_by_side<T: Send + 'static>(
        &self,
        names: Vec<String>,
        read: fn(&Store, &Vault, &str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (store, vault) = (Arc::clone(&self.store), self.vault.clone());
        let worker = move || {
            let (store, vault) = (Arc::clone(&store), vault.clone());
            move |name: String| read(&store, &vault, &name)
        };
        let mut crew = Crew::start("read", READERS.min(names.len()), self.store.stop(), worker)?;
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            found.extend(crew.put(name)?);
        }
        while let Some(last) = crew.take()? {
            found.push(last);
        }
        Ok(found)
    }

    /// Puts the manifest of a backup: with that, it exists.
    pub(super) fn put_manifest<S: System>(&self, manifest: &Manifest<S::Kind>) -> Result<Listed> {
        let frame = Packer::new()?.pack(&manifest.write(), MAX_BACKUP)?.to_vec();
        let object = self.vault.seal(MANIFEST_LABEL, &frame)?;
        let name = name_of(&manifest.begun, &sha256(&object));
        self.store.put(&format!("{MANIFESTS}/{name}"), object)?;
        Ok(Listed { begun: manifest.begun.clone(), name })
    }

    /// Puts an index; its name, and its length in bytes.
    pub(super) fn put_index(&self, index: &Index) -> Result<(String, u64)> {
        let frame = Packer::new()?.pack(&index.write(), MAX_INDEX)?.to_vec();
        let object = self.vault.seal(INDEX_LABEL, &frame)?;
        let (name, length) = (hex(&sha256(&object)), object.len() as u64);
        self.store.put(&format!("{INDEXES}/{name}"), object)?;
        Ok((name, length))
    }

    /// All of its indexes, by name.
    pub(super) fn indexes(&self) -> Result<BTreeMap<String, Index>> {
        let names = self.store.list(INDEXES)?.into_iter().map(|object| object.name).filter(|name| name.len() == 64);
        let names: Vec<String> = names.collect();
        let indexes = self.side_by_side(names.clone(), read_index)?;
        Ok(names.into_iter().zip(indexes).collect())
    }

    /// The packs that are there, and how long each is, in bytes.
    pub(super) fn packs(&self) -> Result<BTreeMap<Id, u64>> {
        let objects = self.store.list(PACKS)?.into_iter();
        Ok(objects.filter_map(|object| Some((pack_of(&object.name)?, object.length))).collect())
    }

    /// The packs that are marked as that, and since when.
    pub(super) fn marked_packs(&self, sort: &str) -> Result<BTreeMap<Id, String>> {
        let marks = self.marks(sort)?.into_iter();
        Ok(marks.filter_map(|(name, since)| Some((read_hex(name.as_bytes())?.try_into().ok()?, since))).collect())
    }

    /// The marks of a sort: what they are about, and since when.
    pub(super) fn marks(&self, sort: &str) -> Result<BTreeMap<String, String>> {
        let mut marks = BTreeMap::new();
        for object in self.store.list(sort)? {
            let path = format!("{sort}/{}", object.name);
            // It may have gone since it was listed.
            if let Some(text) = self.store.find(&path, MAX_HEADER)? {
                let mark =
                    Mark::read(&text).map_err(|error| Error::from(error).at(format!("{}: {path}", self.shown())));
                marks.insert(object.name, mark?.since);
            }
        }
        Ok(marks)
    }

    /// Sets a mark.
    pub(super) fn mark(&self, sort: &str, name: &str) -> Result<()> {
        self.store.put(&format!("{sort}/{name}"), Mark { since: now() }.write())
    }

    /// Takes a mark away; true where there was one.
    pub(super) fn unmark(&self, sort: &str, name: &str) -> Result<bool> {
        let path = format!("{sort}/{name}");
        let was = self.store.has(&path)?;
        self.store.remove(&path).map(|()| was)
    }

    /// Pins a backup, so that no rule removes it, or no longer; false where that was so.
    ///
    /// # Errors
    /// Those of the store.
    pub fn pin(&self, backup: &Listed, is_pinned: bool) -> Result<bool> {
        if is_pinned {
            let was = self.store.has(&format!("{PINS}/{}", backup.name))?;
            self.mark(PINS, &backup.name).map(|()| !was)
        } else {
            self.unmark(PINS, &backup.name)
        }
    }

    /// Notes that a backup was proven.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_verified(&self, backup: &Listed) -> Result<()> {
        self.mark(VERIFIED, &backup.name)
    }

    /// Marks a backup as suspect: nothing is pruned while it is.
    ///
    /// # Errors
    /// Those of the store.
    pub fn suspect(&self, backup: &Listed) -> Result<()> {
        self.mark(SUSPECTS, &backup.name)
    }

    /// Takes a backup for what it is, though it was suspect; false where it was not.
    ///
    /// # Errors
    /// Those of the store.
    pub fn acknowledge(&self, backup: &Listed) -> Result<bool> {
        self.unmark(SUSPECTS, &backup.name)
    }

    /// The backups that are suspect, and since when.
    ///
    /// # Errors
    /// Those of the store.
    pub fn suspects(&self) -> Result<BTreeMap<String, String>> {
        self.marks(SUSPECTS)
    }

    /// The backups that are pinned, and since when.
    ///
    /// # Errors
    /// Those of the store.
    pub fn pinned(&self) -> Result<BTreeMap<String, String>> {
        self.marks(PINS)
    }

    /// When each backup was proven last.
    ///
    /// # Errors
    /// Those of the store.
    pub fn verified(&self) -> Result<BTreeMap<String, String>> {
        self.marks(VERIFIED)
    }
}

/// What is at an address; nothing is read yet.
pub(super) fn store(address: &RepositoryAddress, stop: &Stop) -> Result<Store> {
    Store::open(&address.place.service()?, address.meaning(Which::Newest).to_string(), stop)
}

fn read_manifest<S: System>(store: &Store, vault: &Vault, name: &str) -> Result<Manifest<S::Kind>> {
    let path = format!("{MANIFESTS}/{name}");
    let at = |error: metaferry_codecs::Error| Error::from(error).at(format!("{}: {path}", store.shown()));
    let text = manifest_text(store, vault, name)?;
    let system = system_of(&text).map_err(at)?;
    if system != S::NAME {
        return Err(Error::unsupported(format!("{}: {path}: it is a backup of {system}", store.shown())));
    }
    Manifest::read(&text).map_err(at)
}

fn manifest_text(store: &Store, vault: &Vault, name: &str) -> Result<Vec<u8>> {
    let path = format!("{MANIFESTS}/{name}");
    let at = |error: metaferry_codecs::Error| Error::from(error).at(format!("{}: {path}", store.shown()));
    let object = store.get(&path, frame_bound(MAX_BACKUP) + SEALED_BYTES)?;
    if !name.ends_with(&hex(sha256(&object).get(..8).unwrap_or_default())) {
        return Err(at(metaferry_codecs::Error::Checksum("manifest")));
    }
    let frame = vault.open(MANIFEST_LABEL, &object).map_err(at)?;
    let mut unpacker = Unpacker::new()?;
    unpacker.unpack(&frame, MAX_BACKUP).map(<[u8]>::to_vec).map_err(at)
}

fn read_index(store: &Store, vault: &Vault, name: &str) -> Result<Index> {
    let path = format!("{INDEXES}/{name}");
    let at = |error: metaferry_codecs::Error| Error::from(error).at(format!("{}: {path}", store.shown()));
    let object = store.get(&path, frame_bound(MAX_INDEX) + SEALED_BYTES)?;
    if hex(&sha256(&object)) != name {
        return Err(at(metaferry_codecs::Error::Checksum("index")));
    }
    let frame = vault.open(INDEX_LABEL, &object).map_err(at)?;
    let mut unpacker = Unpacker::new()?;
    Index::read(unpacker.unpack(&frame, MAX_INDEX).map_err(at)?).map_err(at)
}

/// The name of a pack's object: by its first two digits in folders, which some stores need.
pub(super) fn pack_path(id: &Id) -> String {
    let name = hex(id);
    format!("{PACKS}/{}/{name}", name.get(..2).unwrap_or_default())
}

/// The pack of an object's name; none where it is no name of a pack.
fn pack_of(name: &str) -> Option<Id> {
    let (folder, name) = name.split_once('/')?;
    let is_lower = name.bytes().all(|byte| !byte.is_ascii_uppercase());
    (name.starts_with(folder) && is_lower).then(|| read_hex(name.as_bytes())?.try_into().ok())?
}

/// This moment, as RFC 3339 in UTC, in whole seconds.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime(MOMENT).to_string()
}

/// A bug of ours.
pub(super) fn bug(what: &str) -> Error {
    Error::new(ErrorKind::Bug, what)
}
