//! The source: one backup of a repository. A partition is a page of blobs; every blob is proven before it is believed, and
//! what is damaged is named by the rows that are lost with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use metaferry_codecs::Tally;
use metaferry_codecs::archive::Unpacker;
use metaferry_codecs::repository::{Entry, Id, MAX_PAGE, MOST_TEXT, Manifest, Page, Root, blob_rows, hex};
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
/// How many rows are scanned at once, about.
const ROWS_AT_ONCE: u64 = 1 << 16;

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

/// Pages of blobs that follow each other, or the one blob of a kind that has no page: what is scanned at once.
struct Part<K> {
    kind: K,
    pieces: Vec<Piece>,
    are_pages: bool,
}

/// A page or a blob.
struct Piece {
    entry: Entry,
    /// Where what follows begins; nothing where it is the last of its kind.
    next: Option<Vec<u8>>,
}

impl AsRef<Entry> for Piece {
    fn as_ref(&self) -> &Entry {
        &self.entry
    }
}

impl Piece {
    /// What entries say, the last of which is followed by `next`.
    fn all(entries: Vec<Entry>, next: Option<Vec<u8>>) -> Vec<Self> {
        let nexts: Vec<_> = entries.iter().skip(1).map(|entry| Some(entry.first.clone())).chain([next]).collect();
        entries.into_iter().zip(nexts).map(|(entry, next)| Self { entry, next }).collect()
    }
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
            let kind_parts = self::parts::<S>(&blobs, root, &mut unpacker);
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

    fn damaged(&self, kind: S::Kind, piece: &Piece, error: Error, out: &mut dyn Emit<S>) -> Result<()> {
        let place = self.lost(kind, &piece.entry.first, piece.next.as_deref());
        if error.kind() != ErrorKind::Corrupt {
            return Err(error.at(place));
        }
        lock(&self.damaged).insert(piece.entry.id);
        out.damaged(place, metaferry_codecs::Error::malformed("blob", error.to_string()))
    }

    /// The blobs that some pages name.
    fn read_pages(&self, part: &Part<S::Kind>, unpacker: &mut Unpacker, out: &mut dyn Emit<S>) -> Result<Vec<Piece>> {
        let mut blobs = Vec::new();
        self.blobs.each(&part.pieces, unpacker, MAX_PAGE, &mut |piece, text| {
            match text.and_then(|text| page_of::<S>(&text, &piece.entry.id, (part.kind, 1))) {
                Ok(page) => blobs.extend(Piece::all(page.entries, piece.next.clone())),
                Err(error) => self.damaged(part.kind, piece, error, out)?,
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    fn scan_blobs(
        &self,
        kind: S::Kind,
        pieces: &[Piece],
        unpacker: &mut Unpacker,
        out: &mut dyn Emit<S>,
    ) -> Result<Tally<S::Kind>> {
        let (mut batch, mut tally, mut bytes) = (S::Batch::empty(kind), Tally::default(), 0);
        self.blobs.each(pieces, unpacker, S::MAX_SEGMENT, &mut |piece, text| {
            let mut rows = S::Batch::empty(kind);
            bytes += text.as_ref().map_or(0, Vec::len);
            if let Err(error) = text.and_then(|text| read_rows::<S>(&text, kind, &piece.entry, &mut rows)) {
                return self.damaged(kind, piece, error, out);
            }
            rows.tally(&mut tally);
            batch.append(&mut rows);
            if batch.len() >= ROWS || bytes >= MOST_TEXT {
                bytes = 0;
                out.emit(std::mem::replace(&mut batch, S::Batch::empty(kind)))?;
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            out.emit(batch)?;
        }
        Ok(tally)
    }
}

/// A page, which must be of this kind and height.
fn page_of<S: System>(text: &[u8], id: &Id, is: (S::Kind, u8)) -> Result<Page<S::Kind>> {
    let page = Page::read(text).map_err(|error| Error::from(error).at(format!("page {}", hex(id))))?;
    if (page.kind, page.height) != is {
        return Err(Error::corrupt(format!("page {} is not where it belongs", hex(id))));
    }
    Ok(page)
}

/// The lowest pages of a tree in order, so many at a time that they have some rows.
fn parts<S: System>(blobs: &Blobs, root: &Root<S::Kind>, unpacker: &mut Unpacker) -> Result<Vec<Part<S::Kind>>> {
    let mut pieces = Piece::all(vec![Entry { first: Vec::new(), rows: root.rows, id: root.id }], None);
    for height in (2..=root.height).rev() {
        let mut below = Vec::new();
        blobs.each(&pieces, unpacker, MAX_PAGE, &mut |piece, text| {
            let page = page_of::<S>(&text?, &piece.entry.id, (root.kind, height))?;
            below.extend(Piece::all(page.entries, piece.next.clone()));
            Ok(())
        })?;
        pieces = below;
    }
    let part = || Part { kind: root.kind, pieces: Vec::new(), are_pages: root.height > 0 };
    let (mut parts, mut rows) = (Vec::new(), ROWS_AT_ONCE);
    for piece in pieces {
        if rows >= ROWS_AT_ONCE {
            parts.push(part());
            rows = 0;
        }
        rows += piece.entry.rows;
        if let Some(part) = parts.last_mut() {
            part.pieces.push(piece);
        }
    }
    Ok(parts)
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
        let weight = |part: &Part<S::Kind>| part.pieces.iter().map(|piece| piece.entry.rows).sum();
        let partition = |(from, part): (u64, &Part<S::Kind>)| Partition {
            kind: Some(part.kind),
            from,
            to: from + 1,
            weight: weight(part),
        };
        Ok(wanted.map(partition).collect())
    }

    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let index = usize::try_from(partition.from).unwrap_or(usize::MAX);
        let part = self.parts.get(index).ok_or_else(|| bug("a partition that no plan had"))?;
        let mut unpacker = Unpacker::new()?;
        let tally = if part.are_pages {
            let blobs = self.read_pages(part, &mut unpacker, out)?;
            self.scan_blobs(part.kind, &blobs, &mut unpacker, out)?
        } else {
            self.scan_blobs(part.kind, &part.pieces, &mut unpacker, out)?
        };
        self.saw(index, &tally);
        Ok(())
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
