//! Writing a volume: one loader fills a new file under another name, which can be read back; the commit writes the
//! setting and puts the file in its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind};
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, KindSet, Loader, Needs, Result, Sieve, Sink, Snapshot, Stop,
};

use super::address::SqliteAddress;
use super::source::SqliteSnapshot;
use super::target::{Target, inspect};
use super::write::{self, Writer};
use crate::{foreign, place};

/// What a row takes with its share of indexes, about, in bytes.
const ROW_BYTES: u64 = 70;

/// A volume in a SQLite file, to be written.
#[derive(Debug)]
pub struct SqliteSink {
    address: SqliteAddress,
    writer: Shared,
    stop: Stop,
    target: Option<Target>,
}

type Shared = Arc<Mutex<Option<Writer>>>;

fn lock(writer: &Shared) -> MutexGuard<'_, Option<Writer>> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bug(what: &str) -> Error {
    Error::new(ErrorKind::Bug, what)
}

impl SqliteSink {
    /// A volume at an address, where nothing may be yet; nothing is touched before it is prepared.
    #[must_use]
    pub fn new(address: SqliteAddress) -> Self {
        Self { address, writer: Shared::default(), stop: Stop::new(), target: None }
    }

    /// Finishes the file, once.
    fn settle(&mut self) -> Result<&Target> {
        if let Some(writer) = lock(&self.writer).take() {
            writer.finish(&self.stop)?;
        }
        self.target.as_ref().ok_or_else(|| bug("a sink that was not prepared"))
    }
}

impl Sink<JuiceFs> for SqliteSink {
    fn needs(&self) -> Needs {
        // Tables keyed by a number grow at their end, or are read and written all over.
        let ordered = KindSet::of([Kind::Node, Kind::SliceRef, Kind::Symlink, Kind::DirStat]);
        Needs {
            loaders: 1,
            ordered,
            affine: false,
            works_out: KindSet::of([Kind::Parent]),
            mends: true,
            defaults: true,
            strips_secrets: false,
        }
    }

    fn sieve(&self) -> Option<Sieve<JuiceFs>> {
        Some(foreign::sift)
    }

    fn preflight(&self, outlook: &Outlook<Kind>, _stop: &Stop) -> Result<Vec<Remark>> {
        let path = self.address.path();
        let mut remarks = place::look(path, outlook.rows.map(|rows| rows.saturating_mul(ROW_BYTES)))?;
        remarks.push(match inspect(&self.address) {
            Ok(_) => Remark::ok("target", "no volume is there"),
            Err(error) if error.kind() == ErrorKind::Refused => Remark::of("target", &error),
            Err(error) => return Err(error),
        });
        Ok(remarks)
    }

    fn prepare(&mut self, _about: &About, stop: &Stop) -> Result<()> {
        self.stop = stop.clone();
        let target = Target::claim(&self.address)?;
        let writer = Writer::create(target.temporary(), &self.address.prefix())?;
        self.target = Some(target);
        *lock(&self.writer) = Some(writer);
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        Ok(Box::new(SqliteLoader { writer: Arc::clone(&self.writer) }))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = self.stop.clone();
        let temporary = self.settle()?.temporary().to_owned();
        let address = self.address.with_path(&temporary);
        Ok(Box::new(SqliteSnapshot::open(&address, readers, &stop)?))
    }

    fn commit(mut self: Box<Self>, commit: Commit<JuiceFs>) -> Result<Findings> {
        let Batch::Setting(setting) = &commit.seal else {
            return Err(bug("committed with something else than a setting"));
        };
        let prefix = self.address.prefix();
        write::seal(self.settle()?.temporary(), &prefix, setting)?;
        self.target.take().map_or(Ok(()), Target::publish)?;
        Ok(Findings::default())
    }
}

struct SqliteLoader {
    writer: Shared,
}

impl SqliteLoader {
    fn with(&self, run: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
        lock(&self.writer).as_mut().map_or_else(|| Err(bug("a row came after the end")), run)
    }
}

impl Loader<JuiceFs> for SqliteLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        self.with(|writer| writer.load(batch))
    }

    fn amend(&mut self, batch: Batch) -> Result<()> {
        self.with(|writer| writer.amend(&batch))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
