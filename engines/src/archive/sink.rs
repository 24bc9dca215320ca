//! The sink: an archive that does not exist yet. Loaders append segments to it; the commit adds the seal, the manifest
//! and the trailer. It refuses to replace anything.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use metaferry_codecs::archive::{Entry, Header, MAX_HEADER, MAX_MANIFEST, Manifest, Packer, Trailer, sha256};
use metaferry_codecs::system::{Kind, Largest, System};
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, Guarantee, KindSet, Loader, Needs, Result, Sink, Snapshot, Stop,
};

use crate::output::{Destination, Output};

use super::file::FileSnapshot;
use super::loader::ArchiveLoader;
use super::lock;

/// How many loaders an archive takes at most: they compress; one at a time appends.
const LOADERS: usize = 16;

/// Writes an archive.
pub struct ArchiveSink<S: System> {
    place: Option<Destination>,
    keep_secrets: bool,
    writing: Option<Writing<S::Kind>>,
}

struct Writing<K> {
    header: Header,
    header_frame: Vec<u8>,
    shared: Arc<Shared<K>>,
}

/// What the loaders of one archive share.
pub(super) struct Shared<K> {
    pub(super) growing: Mutex<Growing<K>>,
    /// The number of the next segment.
    pub(super) next: AtomicU64,
    /// How many loaders have not finished.
    pub(super) open: AtomicUsize,
    /// Whether the rows of a batch ascend by key.
    pub(super) ordered: KindSet,
    pub(super) stop: Stop,
}

/// What is appended to: the file, and what the manifest will say of it.
pub(super) struct Growing<K> {
    pub(super) output: Output,
    pub(super) segments: Vec<Entry<K>>,
    pub(super) largest: BTreeMap<(K, &'static str), u64>,
}

impl<S: System> ArchiveSink<S> {
    /// An archive that shall be at `path`; where a pipe or a device is there, it is written straight.
    ///
    /// # Errors
    /// A pipe that cannot be opened.
    pub fn create(path: &Path, keep_secrets: bool) -> Result<Self> {
        Ok(Self { place: Some(Destination::at(path)?), keep_secrets, writing: None })
    }

    /// An archive that goes into a pipe, such as the standard output.
    #[must_use]
    pub fn pipe(name: impl Into<String>, out: Box<dyn Write + Send>, keep_secrets: bool) -> Self {
        Self { place: Some(Destination::pipe(name, out)), keep_secrets, writing: None }
    }

    fn writing(&self) -> Result<&Writing<S::Kind>> {
        self.writing.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "an archive is written before it is prepared"))
    }
}

impl<S: System> Sink<S> for ArchiveSink<S> {
    fn needs(&self) -> Needs {
        Needs {
            loaders: LOADERS,
            ordered: KindSet::NONE,
            affine: true,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: !self.keep_secrets,
        }
    }

    fn preflight(&self, _outlook: &Outlook<S::Kind>, _stop: &Stop) -> Result<Vec<Remark>> {
        self.place.as_ref().map_or_else(|| Ok(Vec::new()), Destination::look)
    }

    fn prepare(&mut self, about: &About, stop: &Stop) -> Result<()> {
        let place = self.place.take().ok_or_else(|| Error::new(ErrorKind::Bug, "an archive is prepared twice"))?;
        let mut output = place.open(stop)?;
        let header = Header {
            system: S::NAME.to_owned(),
            is_exact: about.guarantee == Guarantee::Exact,
            origin: about.origin.clone(),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            writer: concat!("metaferry ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let mut text = Vec::new();
        header.write(&mut text);
        let header_frame = Packer::new()?.pack(&text, MAX_HEADER)?.to_vec();
        output.append(&header_frame)?;
        let growing = Growing { output, segments: Vec::new(), largest: BTreeMap::new() };
        let shared = Shared {
            growing: Mutex::new(growing),
            next: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            ordered: about.ordered,
            stop: stop.clone(),
        };
        self.writing = Some(Writing { header, header_frame, shared: Arc::new(shared) });
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<S>>> {
        let shared = Arc::clone(&self.writing()?.shared);
        shared.open.fetch_add(1, Ordering::AcqRel);
        Ok(Box::new(ArchiveLoader::<S>::new(shared)?))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<S>>> {
        let writing = self.writing()?;
        writing.shared.check_finished()?;
        let growing = lock(&writing.shared.growing);
        let name = growing.output.name().to_owned();
        let Some(file) = growing.output.reopen()? else {
            return Err(Error::unsupported(format!("{name}: a pipe cannot be read back")));
        };
        let manifest = Manifest { segments: growing.segments.clone(), ..Manifest::default() };
        Ok(Box::new(FileSnapshot::<S>::uncommitted(name, file, &writing.header, manifest)))
    }

    fn commit(mut self: Box<Self>, commit: Commit<S>) -> Result<Findings> {
        let mut last = self.loader()?;
        last.load(commit.seal)?;
        last.finish()?;
        let writing = self.writing.take().ok_or_else(|| Error::new(ErrorKind::Bug, "an archive is committed twice"))?;
        let Writing { header_frame, shared, .. } = writing;
        shared.check_finished()?;
        shared.stop.check()?;
        let shared = Arc::into_inner(shared);
        let shared = shared.ok_or_else(|| Error::new(ErrorKind::Bug, "an archive is committed while it is written"))?;
        let growing = shared.growing.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Growing { mut output, segments, largest } = growing;
        let largest = largest
            .into_iter()
            .map(|((kind, field), value)| Largest { kind, field: field.to_owned(), value })
            .collect();
        let mut text = Vec::new();
        Manifest { segments, tally: commit.tally, largest }.write(&mut text);
        let mut packer = Packer::new()?;
        let manifest = packer.pack(&text, MAX_MANIFEST).map_err(|error| {
            Error::unsupported("an archive of more segments than a manifest has room for").because(error)
        })?;
        let trailer = Trailer {
            header_length: header_frame.len() as u64,
            header_sha256: sha256(&header_frame),
            manifest_offset: output.append(manifest)?,
            manifest_length: manifest.len() as u64,
            manifest_sha256: sha256(manifest),
        };
        output.append(&trailer.encode())?;
        output.publish()?;
        Ok(Findings::default())
    }
}

impl<K: Kind> Shared<K> {
    fn check_finished(&self) -> Result<()> {
        match self.open.load(Ordering::Acquire) {
            0 => Ok(()),
            open => Err(Error::new(ErrorKind::Bug, format!("{open} loaders of an archive have not finished"))),
        }
    }
}
