//! The loader: rows in key order become blobs, cut where their keys say so; blobs are compressed and put away by a crew, and
//! stand in trees, kind by kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use memchr::memchr;
use metaferry_codecs::archive::{MAX_SEGMENT, Packer};
use metaferry_codecs::repository::{Cutter, Entry, Id, Root, Tree, begin_blob, ends_blob, short};
use metaferry_codecs::system::{Batch, Kind, Largest, System};
use metaferry_pipeline::stage::Crew;
use metaferry_pipeline::{Error, Loader, Result, Stop};

use super::lock;
use super::opened::bug;
use super::packing::{Packing, Sort};

/// What a loader leaves for the commit.
pub(super) type Left<S> = Arc<Mutex<Option<RepositoryLoader<S>>>>;

/// The roots of all trees, and the largest values.
pub(super) type Roots<K> = (Vec<Root<K>>, Vec<Largest<K>>);

/// The one hand on a backup that is being made.
pub(super) struct RepositoryLoader<S: System> {
    cutter: Cutter,
    packing: Arc<Packing>,
    crew: Crew<Blob<S::Kind>, Stored<S::Kind>>,
    growing: BTreeMap<S::Kind, Growing>,
    trees: BTreeMap<S::Kind, Tree<S::Kind>>,
    /// For pages.
    packer: Packer,
    largest: BTreeMap<(S::Kind, &'static str), u64>,
    lines: Vec<u8>,
    key: Vec<u8>,
}

/// The rows of a blob that is not full yet.
#[derive(Default)]
struct Growing {
    text: Vec<u8>,
    rows: u64,
    first: Vec<u8>,
    /// The digest of the first key.
    digest: u64,
    last: Vec<u8>,
}

/// A blob to be put away.
struct Blob<K> {
    kind: K,
    text: Vec<u8>,
    entry: Entry,
    digest: u64,
}

/// A blob that was.
struct Stored<K> {
    kind: K,
    entry: Entry,
    digest: u64,
}

impl<S: System> RepositoryLoader<S> {
    pub(super) fn new(packing: &Arc<Packing>, cutter: Cutter, threads: usize, stop: &Stop) -> Result<Self> {
        let shared = Arc::clone(packing);
        let worker = move || {
            let (packing, mut packer) = (Arc::clone(&shared), None);
            move |blob: Blob<S::Kind>| {
                let packer = match &mut packer {
                    Some(packer) => packer,
                    none => none.insert(Packer::new()?),
                };
                let id = packing.put(Sort::Blob, &blob.text, packer)?;
                Ok(Stored { kind: blob.kind, entry: Entry { id, ..blob.entry }, digest: blob.digest })
            }
        };
        Ok(Self {
            cutter,
            packing: Arc::clone(packing),
            crew: Crew::start("pack", threads, stop, worker)?,
            growing: BTreeMap::new(),
            trees: BTreeMap::new(),
            packer: Packer::new()?,
            largest: BTreeMap::new(),
            lines: Vec::new(),
            key: Vec::new(),
        })
    }

    /// Takes the rows of a batch in.
    pub(super) fn take(&mut self, batch: &S::Batch) -> Result<()> {
        let kind = batch.kind();
        let largest = &mut self.largest;
        batch.largest(&mut |field, value| {
            let place = largest.entry((kind, field)).or_default();
            *place = value.max(*place);
        });
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        batch.write_lines(&mut lines);
        let mut growing = self.growing.remove(&kind).unwrap_or_default();
        let mut rest = lines.as_slice();
        for index in 0..batch.len() {
            let end = memchr(b'\n', rest).ok_or_else(|| bug("a batch with fewer lines than rows"))?;
            let (line, after) = rest.split_at_checked(end + 1).unwrap_or_default();
            rest = after;
            self.key.clear();
            batch.put_key(index, &mut self.key);
            if growing.rows > 0 && growing.last >= self.key {
                return Err(bug(&format!("a {} row came twice or out of order", kind.info().name)));
            }
            let digest = self.cutter.digest(kind, &self.key);
            if ends_blob(growing.rows, growing.text.len(), digest) {
                self.put(kind, &mut growing)?;
            }
            if growing.rows > 0 && growing.text.len() + line.len() > MAX_SEGMENT {
                self.put(kind, &mut growing)?;
            }
            if line.len() > S::MAX_SEGMENT - 1024 {
                let what = format!("a row of kind {} is {} bytes long", kind.info().name, line.len());
                return Err(Error::unsupported(format!("{what}, which no blob has room for")));
            }
            growing.add(kind, line, &self.key, digest);
        }
        self.growing.insert(kind, growing);
        self.lines = lines;
        Ok(())
    }

    /// Hands a blob to the crew; its last key stays.
    fn put(&mut self, kind: S::Kind, growing: &mut Growing) -> Result<()> {
        let room = growing.text.len();
        let text = std::mem::replace(&mut growing.text, Vec::with_capacity(room + room / 8));
        let entry = Entry { first: std::mem::take(&mut growing.first), rows: growing.rows, id: Id::default() };
        growing.rows = 0;
        let oldest = self.crew.put(Blob { kind, text, entry, digest: growing.digest })?;
        oldest.map_or(Ok(()), |stored| self.stored(stored))
    }

    fn stored(&mut self, stored: Stored<S::Kind>) -> Result<()> {
        let Stored { kind, entry, digest } = stored;
        let Self { trees, packing, packer, .. } = self;
        let tree = trees.entry(kind).or_insert_with(|| Tree::new(kind));
        tree.push(entry, digest, &mut |page| packing.put(Sort::Page, &page, packer))
    }

    /// Puts everything away that is held back.
    pub(super) fn flush(&mut self) -> Result<()> {
        let kinds: Vec<S::Kind> = self.growing.keys().copied().collect();
        for kind in kinds {
            if let Some(mut growing) = self.growing.remove(&kind).filter(|growing| growing.rows > 0) {
                self.put(kind, &mut growing)?;
            }
        }
        while let Some(stored) = self.crew.take()? {
            self.stored(stored)?;
        }
        Ok(())
    }

    /// The roots of all trees, and the largest values.
    pub(super) fn roots(mut self) -> Result<Roots<S::Kind>> {
        self.flush()?;
        let Self { trees, packing, mut packer, largest, .. } = self;
        let mut roots = Vec::new();
        for tree in trees.into_values() {
            roots.extend(tree.finish(&mut |page: Vec<u8>| packing.put(Sort::Page, &page, &mut packer))?);
        }
        let largest = largest.into_iter().filter(|(_, value)| *value > 0);
        let largest = largest.map(|((kind, field), value)| Largest { kind, field: field.to_owned(), value });
        Ok((roots, largest.collect()))
    }
}

impl Growing {
    fn add<K: Kind>(&mut self, kind: K, line: &[u8], key: &[u8], digest: u64) {
        if self.rows == 0 {
            begin_blob(kind, &mut self.text);
            self.first = short(key).to_vec();
            self.digest = digest;
        }
        self.text.extend_from_slice(line);
        self.rows += 1;
        self.last.clear();
        self.last.extend_from_slice(key);
    }
}

/// What a copy has of the loader, which the commit gets back.
pub(super) struct Handle<S: System> {
    pub(super) loader: RepositoryLoader<S>,
    pub(super) left: Left<S>,
}

impl<S: System> Loader<S> for Handle<S> {
    fn load(&mut self, batch: S::Batch) -> Result<()> {
        self.loader.take(&batch)
    }

    fn amend(&mut self, _batch: S::Batch) -> Result<()> {
        Err(bug("a backup carries rows as they are and amends none"))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.loader.flush()?;
        *lock(&self.left) = Some(self.loader);
        Ok(())
    }
}
