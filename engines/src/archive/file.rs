//! An archive in a file, read in parallel: each segment is a partition, found by its offset and proven by its checksum.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use metaferry_codecs::archive::{Entry, Header, Manifest, sha256};
use metaferry_codecs::system::{Kind, System};
use metaferry_codecs::{Error as CodecError, Tally};
use metaferry_pipeline::{About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot};

use super::lock;
use super::rows::{Pool, Scratch, compare, emit_rows, split_head};

/// An archive in a file.
pub(super) struct FileSnapshot<S: System> {
    name: String,
    file: File,
    about: About,
    segments: Vec<Entry<S::Kind>>,
    /// What the manifest promises; `None` before the commit.
    promised: Option<Tally<S::Kind>>,
    seen: Mutex<Seen<S::Kind>>,
    pool: Pool,
}

struct Seen<K: Kind> {
    segments: Vec<bool>,
    tally: Tally<K>,
}

impl<S: System> FileSnapshot<S> {
    /// A finished archive.
    pub(super) fn new(name: String, file: File, header: &Header, manifest: Manifest<S::Kind>) -> Self {
        let promised = Some(manifest.tally.clone());
        Self { promised, ..Self::uncommitted(name, file, header, manifest) }
    }

    /// An archive that has no manifest yet.
    pub(super) fn uncommitted(name: String, file: File, header: &Header, manifest: Manifest<S::Kind>) -> Self {
        let about = about(&name, header, ordered(&manifest));
        let mut segments = manifest.segments;
        segments.sort_by(|one, other| (one.head.kind, &one.span).cmp(&(other.head.kind, &other.span)));
        let seen = Mutex::new(Seen { segments: vec![false; segments.len()], tally: Tally::default() });
        Self { name, file, about, segments, promised: None, seen, pool: Pool::default() }
    }

    fn read(&self, index: u64, scratch: &mut Scratch, out: &mut dyn Emit<S>) -> Result<()> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let entry = self.segments.get(index);
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::Bug, format!("there is no segment {index}")))?;
        let Scratch { frame, unpacker } = scratch;
        frame.resize(usize::try_from(entry.length).unwrap_or(0), 0);
        let place = || format!("segment {} at byte {}", entry.head.number, entry.offset);
        self.file
            .read_exact_at(frame, entry.offset)
            .map_err(|cause| Error::engine(format!("read {}", place()), cause))?;
        if sha256(frame) != entry.sha256 {
            return Err(Error::from(CodecError::Checksum("segment")).at(place()));
        }
        let text = unpacker.unpack(frame, S::MAX_SEGMENT).map_err(|error| Error::from(error).at(place()))?;
        let (head, rows) = split_head(text).map_err(|error| Error::from(error).at(place()))?;
        if head != entry.head || text.len() as u64 != entry.bytes {
            return Err(Error::corrupt(format!("{}: it is not what the manifest says", place())));
        }
        let mut tally = Tally::default();
        emit_rows(&head, rows, &mut tally, out)?;
        let mut seen = lock(&self.seen);
        if let Some(seen_before) = seen.segments.get_mut(index)
            && !std::mem::replace(seen_before, true)
        {
            seen.tally.add(&tally);
        }
        Ok(())
    }
}

/// What an archive says of itself.
/// The kinds whose segments follow each other in key order.
pub(super) fn ordered<K: Kind>(manifest: &Manifest<K>) -> KindSet {
    KindSet::of(K::all().iter().copied().filter(|&kind| manifest.is_by_key(kind)))
}

pub(super) fn about(name: &str, header: &Header, ordered: KindSet) -> About {
    About {
        origin: header.origin.clone(),
        guarantee: if header.is_exact { Guarantee::Exact } else { Guarantee::Fuzzy },
        ordered,
        notes: vec![format!("read from the archive {name}, which {} wrote at {}", header.writer, header.created)],
        live_sessions: 0,
        is_repeatable: true,
        is_partial: false,
    }
}

impl<S: System> Snapshot<S> for FileSnapshot<S> {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, scope: &Scope<S>) -> Result<Vec<Partition<S>>> {
        let wanted = (0_u64..).zip(&self.segments).filter(|(_, entry)| scope.wants(entry.head.kind));
        Ok(wanted
            .map(|(from, entry)| Partition { kind: Some(entry.head.kind), from, to: from + 1, weight: entry.head.rows })
            .collect())
    }

    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let mut scratch = self.pool.take()?;
        for index in partition.from..partition.to {
            self.read(index, &mut scratch, out).map_err(|error| error.at(&self.name))?;
        }
        self.pool.give_back(scratch);
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        let seen = lock(&self.seen);
        if let Some(missed) = seen.segments.iter().position(|seen| !seen) {
            return Err(Error::new(
                ErrorKind::Bug,
                format!("{}: segment {missed} of the plan was not scanned", self.name),
            ));
        }
        match &self.promised {
            Some(promised) => compare(promised, &seen.tally).map_err(|error| error.at(&self.name)),
            None => Ok(()),
        }
    }
}
