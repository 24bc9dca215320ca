//! The sink: a dump that comes to be, in a file or a pipe. Loaders append segments to it; the commit adds the counters, the
//! setting, what nobody knows, and the footer, so that what was cut never looks like a volume. It refuses to replace anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metaferry_codecs::juicefs::binary::{Footer, SegmentType, encode, setting_message};
use metaferry_codecs::juicefs::{Batch, Counter, JuiceFs, Kind, counter};
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, KindSet, Loader, Needs, Result, Sieve, Sink, Snapshot, Stop,
};

use super::foreign::Pieces;
use super::loader::{BinaryLoader, Segment};
use super::sieve::sift;
use crate::output::{Destination, Output};

/// How many loaders a dump takes at most: they encode; one at a time appends.
const LOADERS: usize = 16;
/// The counters of every dump (`utils.go: counterNames`), and what each is at least: JuiceFS's SQL engines change them
/// without looking whether they are there.
const COUNTERS: [(&[u8], i64); 6] = [
    (counter::USED_SPACE, 0),
    (counter::TOTAL_INODES, 0),
    (counter::NEXT_INODE, 2),
    (counter::NEXT_CHUNK, 1),
    (counter::NEXT_SESSION, 0),
    (counter::NEXT_TRASH, 0),
];

/// Of the memory there is, pieces of segments of unknown types get a share like this.
const SHARES: usize = 8;

/// How a dump is written.
#[derive(Debug, Clone)]
pub struct BinaryOptions {
    /// Leave secrets in it.
    pub keep_secrets: bool,
    /// What may be held in memory, in bytes.
    pub memory_bytes: usize,
    /// Where what does not fit goes.
    pub spill: SpillDir,
}

/// Writes a binary dump.
pub struct BinarySink {
    place: Option<Destination>,
    options: BinaryOptions,
    shared: Option<Arc<Shared>>,
}

/// What the loaders of one dump share.
pub(super) struct Shared {
    pub(super) growing: Mutex<Growing>,
    /// Counters wait for the commit.
    pub(super) counters: Mutex<Vec<Counter>>,
    /// So does what nobody knows.
    pub(super) pieces: Mutex<Pieces>,
    /// How many loaders have not finished.
    pub(super) open: AtomicUsize,
    pub(super) stop: Stop,
}

/// What is appended to, and what the footer will say of it.
pub(super) struct Growing {
    pub(super) output: Output,
    pub(super) footer: Footer,
}

impl BinarySink {
    /// A dump that shall be at `place`.
    #[must_use]
    pub fn new(place: Destination, options: BinaryOptions) -> Self {
        Self { place: Some(place), options, shared: None }
    }
}

impl Sink<JuiceFs> for BinarySink {
    fn needs(&self) -> Needs {
        Needs {
            loaders: LOADERS,
            ordered: KindSet::NONE,
            affine: true,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: !self.options.keep_secrets,
        }
    }

    fn sieve(&self) -> Option<Sieve<JuiceFs>> {
        Some(sift)
    }

    fn preflight(&self, _outlook: &Outlook<Kind>, _stop: &Stop) -> Result<Vec<Remark>> {
        self.place.as_ref().map_or_else(|| Ok(Vec::new()), Destination::look)
    }

    fn prepare(&mut self, _about: &About, stop: &Stop) -> Result<()> {
        let place = self.place.take().ok_or_else(|| Error::new(ErrorKind::Bug, "a binary dump is prepared twice"))?;
        let growing = Mutex::new(Growing { output: place.open(stop)?, footer: Footer::default() });
        let (counters, open) = (Mutex::default(), AtomicUsize::new(0));
        let pieces = Mutex::new(Pieces::new(&self.options.spill, self.options.memory_bytes / SHARES));
        self.shared = Some(Arc::new(Shared { growing, counters, pieces, open, stop: stop.clone() }));
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        let unprepared = || Error::new(ErrorKind::Bug, "a binary dump is written before it is prepared");
        let shared = self.shared.as_ref().ok_or_else(unprepared)?;
        Ok(Box::new(BinaryLoader::new(Arc::clone(shared))))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        Err(Error::unsupported("a binary dump cannot be read back before it is whole").hint("verify compares it after"))
    }

    fn commit(self: Box<Self>, commit: Commit<JuiceFs>) -> Result<Findings> {
        let bug = |what: &str| Error::new(ErrorKind::Bug, what);
        let shared = self.shared.ok_or_else(|| bug("a binary dump is committed before it is prepared"))?;
        if shared.open.load(Ordering::Acquire) > 0 {
            return Err(bug("a loader of a binary dump has not finished"));
        }
        let Batch::Setting(rows) = &commit.seal else { return Err(bug("the seal is no setting")) };
        let document = rows.first().map(|row| row.document.0.as_slice()).unwrap_or_default();
        let mut segment = Segment::default();
        segment.add(|out| encode(&all_counters(&shared).into(), out));
        segment.append(SegmentType::Counter, &shared)?;
        segment.add(|out| {
            setting_message(document, out);
            1
        });
        segment.append(SegmentType::Format, &shared)?;
        let shared = Arc::into_inner(shared).ok_or_else(|| bug("a binary dump is committed while it is written"))?;
        let Shared { growing, pieces, stop, .. } = shared;
        let mut growing = growing.into_inner().unwrap_or_else(PoisonError::into_inner);
        pieces.into_inner().unwrap_or_else(PoisonError::into_inner).append(&mut growing, &stop)?;
        let Growing { mut output, footer } = growing;
        output.append(&footer.encode())?;
        output.publish()?;
        Ok(Findings::default())
    }
}

/// The counters that came, and those that every dump has.
fn all_counters(shared: &Shared) -> Vec<Counter> {
    let mut counters = std::mem::take(&mut *crate::feed::held(&shared.counters));
    for (name, value) in COUNTERS {
        if !counters.iter().any(|row| row.name == name) {
            counters.push(Counter { name: name.to_vec(), value });
        }
    }
    counters
}
