//! The source: one backup of a repository. A partition is a page of blobs; every blob is proven before it is believed, and
//! what is damaged is named by the rows that are lost with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use metaferry_codecs::Tally;
use metaferry_codecs::archive::{MAX_SEGMENT, Unpacker};
use metaferry_codecs::repository::{Entry, Id, Manifest, Root, blob_rows, hex};
use metaferry_codecs::system::{Batch, Kind, System};
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{
    About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop,
};

use super::blobs::Blobs;
use super::opened::{Repository, bug};
use super::{Listed, RepositoryAddress, RepositoryKeys, lock};

/// How many rows a batch has at most, but for those of its last blob.
const ROWS: usize = 4096;

/// Reads a backup.
pub struct RepositorySource {
    address: RepositoryAddress,
    keys: RepositoryKeys,
    damaged: Damaged,
}

/// The blobs and pages that were found damaged.
pub type Damaged = Arc<Mutex<BTreeSet<Id>>>;

impl RepositorySource {
    /// The backup at an address.
    #[must_use]
    pub fn new(address: RepositoryAddress, keys: RepositoryKeys) -> Self {
        Self { address, keys, damaged: Arc::default() }
    }

    /// What its snapshots find damaged, from now on.
    #[must_use]
    pub fn damaged(&self) -> Damaged {
        Arc::clone(&self.damaged)
    }
}

impl<S: System> Source<S> for RepositorySource {
    fn snapshot(self: Box<Self>, _readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<S>>> {
        let repository = Arc::new(Repository::open(&self.address, &self.keys, stop)?);
        let backup = repository.chosen()?;
        let manifest = repository.manifest::<S>(&backup.name)?;
        Ok(Box::new(BackupSnapshot::<S>::new(Blobs::of(repository)?, (backup, manifest), self.damaged)?))
    }

    fn outlook(&self, _rooms: &[Room<S::Kind>], stop: &Stop) -> Result<Outlook<S::Kind>> {
        let repository = Repository::open(&self.address, &self.keys, stop)?;
        let manifest = repository.manifest::<S>(&repository.chosen()?.name)?;
        Ok(Outlook { rows: Some(manifest.rows()), largest: manifest.largest, ..Outlook::default() })
    }
}

/// One backup.
struct BackupSnapshot<S: System> {
    blobs: Blobs,
    backup: Listed,
    manifest: Manifest<S::Kind>,
    parts: Vec<Part<S::Kind>>,
    seen: Mutex<Seen<S::Kind>>,
    damaged: Damaged,
}

/// A page of blobs, or the one blob of a kind that has no page.
struct Part<K> {
    kind: K,
    entry: Entry,
    is_page: bool,
    /// Where what follows begins; nothing where it is the last of its kind.
    next: Option<Vec<u8>>,
}

struct Seen<K: Kind> {
    /// Which parts; one that is scanned again counts once.
    parts: Vec<bool>,
    tally: Tally<K>,
}

impl<S: System> BackupSnapshot<S> {
    fn new(blobs: Blobs, (backup, manifest): (Listed, Manifest<S::Kind>), damaged: Damaged) -> Result<Self> {
        let mut unpacker = Unpacker::new()?;
        let mut parts = Vec::new();
        for root in &manifest.roots {
            let kind_parts = lowest_pages::<S>(&blobs, root, &mut unpacker);
            parts.extend(kind_parts.map_err(|error| error.at(format!("backup {}", backup.name)))?);
        }
        let seen = Mutex::new(Seen { parts: vec![false; parts.len()], tally: Tally::default() });
        Ok(Self { blobs, backup, manifest, parts, seen, damaged })
    }

    /// Takes note of the tally of a part.
    fn saw(&self, index: usize, tally: &Tally<S::Kind>) {
        let mut seen = lock(&self.seen);
        if let Some(before) = seen.parts.get_mut(index)
            && !std::mem::replace(before, true)
        {
            seen.tally.add(tally);
        }
    }

    /// What is lost with some rows: `node inode 1 to 256`.
    fn lost(&self, kind: S::Kind, first: &[u8], next: Option<&[u8]>) -> String {
        let name = kind.info().name;
        let key = kind.info().fields.iter().find(|field| field.role == "key");
        let number = |key: &[u8]| key.first_chunk().copied().map(u64::from_be_bytes);
        let rows = match key.filter(|field| field.is_number).zip(number(first)) {
            None => format!("rows of kind {name}"),
            Some((field, from)) => {
                let to = next.and_then(number).map_or_else(String::new, |to| to.to_string());
                format!("rows of kind {name} from {} {from} to {to}", field.name)
            }
        };
        let rows = rows.strip_suffix(" to ").map_or_else(|| rows.clone(), |open| format!("{open} on"));
        format!("backup {}: {rows}", self.backup.name)
    }

    fn damaged(&self, id: Id, (place, error): (String, Error), out: &mut dyn Emit<S>) -> Result<()> {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error.at(place));
        }
        lock(&self.damaged).insert(id);
        out.damaged(place, metaferry_codecs::Error::malformed("blob", error.to_string()))
    }

    fn scan_blobs(&self, part: &Part<S::Kind>, entries: &[Entry], out: &mut dyn Emit<S>) -> Result<Tally<S::Kind>> {
        let mut unpacker = Unpacker::new()?;
        let (mut batch, mut tally) = (S::Batch::empty(part.kind), Tally::default());
        self.blobs.each(entries, &mut unpacker, MAX_SEGMENT, &mut |number, text| {
            let Some(entry) = entries.get(number) else { return Ok(()) };
            let mut rows = S::Batch::empty(part.kind);
            let read = text.and_then(|text| read_rows::<S>(&text, part.kind, entry, &mut rows));
            if let Err(error) = read {
                let next = entries.get(number + 1).map(|entry| entry.first.as_slice()).or(part.next.as_deref());
                return self.damaged(entry.id, (self.lost(part.kind, &entry.first, next), error), out);
            }
            rows.tally(&mut tally);
            batch.append(&mut rows);
            if batch.len() >= ROWS {
                out.emit(std::mem::replace(&mut batch, S::Batch::empty(part.kind)))?;
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            out.emit(batch)?;
        }
        Ok(tally)
    }
}

/// The lowest pages of a tree, in order.
fn lowest_pages<S: System>(blobs: &Blobs, root: &Root<S::Kind>, unpacker: &mut Unpacker) -> Result<Vec<Part<S::Kind>>> {
    let mut entries = vec![Entry { first: Vec::new(), rows: root.rows, id: root.id }];
    for height in (2..=root.height).rev() {
        let mut below = Vec::new();
        for entry in &entries {
            let page = blobs.page::<S>(&entry.id, unpacker)?;
            if (page.kind, page.height) != (root.kind, height) {
                return Err(Error::corrupt(format!("page {} is not where it belongs", hex(&entry.id))));
            }
            below.extend(page.entries);
        }
        entries = below;
    }
    let next: Vec<_> = entries.iter().skip(1).map(|entry| Some(entry.first.clone())).chain([None]).collect();
    let part = |(entry, next)| Part { kind: root.kind, entry, is_page: root.height > 0, next };
    Ok(entries.into_iter().zip(next).map(part).collect())
}

fn read_rows<S: System>(text: &[u8], kind: S::Kind, entry: &Entry, rows: &mut S::Batch) -> Result<()> {
    let (found, mut lines) = blob_rows::<S::Kind>(text)?;
    while let Some(end) = memchr::memchr(b'\n', lines) {
        let (line, rest) = lines.split_at(end);
        rows.read_line(line)?;
        lines = rest.get(1..).unwrap_or_default();
    }
    if found != kind || !lines.is_empty() || rows.len() as u64 != entry.rows {
        return Err(Error::corrupt(format!("blob {} is not what its page says", hex(&entry.id))));
    }
    Ok(())
}

impl<S: System> Snapshot<S> for BackupSnapshot<S> {
    fn about(&self) -> About {
        let Manifest { origin, is_exact, writer, begun, .. } = &self.manifest;
        let (name, shown) = (&self.backup.name, self.blobs.repository.shown());
        About {
            origin: origin.clone(),
            guarantee: if *is_exact { Guarantee::Exact } else { Guarantee::Fuzzy },
            ordered: KindSet::ALL,
            notes: vec![format!("read from the backup {name} in {shown}, which {writer} began at {begun}")],
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<S>) -> Result<Vec<Partition<S>>> {
        let wanted = (0_u64..).zip(&self.parts).filter(|(_, part)| scope.wants(part.kind));
        Ok(wanted
            .map(|(from, part)| Partition { kind: Some(part.kind), from, to: from + 1, weight: part.entry.rows })
            .collect())
    }

    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let index = usize::try_from(partition.from).unwrap_or(usize::MAX);
        let part = self.parts.get(index).ok_or_else(|| bug("a partition that no plan had"))?;
        if !part.is_page {
            let tally = self.scan_blobs(part, std::slice::from_ref(&part.entry), out)?;
            self.saw(index, &tally);
            return Ok(());
        }
        match self.blobs.page::<S>(&part.entry.id, &mut Unpacker::new()?) {
            Ok(page) if page.kind == part.kind && page.height == 1 => {
                let tally = self.scan_blobs(part, &page.entries, out)?;
                self.saw(index, &tally);
                Ok(())
            }
            Ok(_) => Err(Error::corrupt(format!("page {} is not where it belongs", hex(&part.entry.id)))),
            Err(error) => {
                let lost = self.lost(part.kind, &part.entry.first, part.next.as_deref());
                self.damaged(part.entry.id, (lost, error), out)
            }
        }
    }

    fn finish(&self) -> Result<()> {
        let seen = lock(&self.seen);
        if !lock(&self.damaged).is_empty() {
            return Ok(());
        }
        for &kind in S::Kind::all() {
            let promised = self.manifest.tally.iter().find(|(other, _)| *other == kind);
            if promised.map(|(_, cell)| *cell).unwrap_or_default() != seen.tally.of(kind) {
                return Err(Error::corrupt(format!(
                    "backup {}: the rows of kind {} are not those that its manifest promises",
                    self.backup.name,
                    kind.info().name
                )));
            }
        }
        Ok(())
    }
}
