//! Writing a volume: several loaders fill the tables, which then get their indexes and can be read back; the commit
//! writes the setting.

use std::sync::Arc;

use metaferry_codecs::juicefs::tables::Widths;
use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind};
use metaferry_pipeline::preflight::{Outlook, Remark, Room};
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, KindSet, Loader, Needs, Result, Sieve, Sink, Snapshot, Stop,
};

use super::address::MysqlAddress;
use super::cells::most;
use super::loader::MysqlLoader;
use super::preflight;
use super::source::MysqlSnapshot;
use super::target::Target;
use crate::foreign::sift;
use crate::sql::loader::SqlLoader;
use crate::sql::room::rooms;

/// More loaders than this gain nothing on one server.
const LOADERS: usize = 8;

/// A volume in MySQL or MariaDB, to be written.
pub struct MysqlSink {
    address: MysqlAddress,
    widths: Widths,
    stop: Stop,
    target: Option<Target>,
}

impl MysqlSink {
    /// A volume at an address, where nothing may be yet, in columns so wide; nothing is touched before it is prepared.
    #[must_use]
    pub fn new(address: MysqlAddress, widths: Widths) -> Self {
        Self { address, widths, stop: Stop::new(), target: None }
    }

    fn target(&mut self) -> Result<&mut Target> {
        self.target.as_mut().ok_or_else(|| Error::new(ErrorKind::Bug, "a sink that was not prepared"))
    }
}

impl Sink<JuiceFs> for MysqlSink {
    fn needs(&self) -> Needs {
        Needs {
            loaders: LOADERS,
            // InnoDB keeps tables in the order of their primary keys; those of the other tables are given out as rows come.
            ordered: KindSet::of([Kind::Node, Kind::SliceRef, Kind::Symlink, Kind::DirStat]),
            affine: false,
            works_out: KindSet::of([Kind::Parent]),
            mends: true,
            defaults: true,
            strips_secrets: false,
        }
    }

    fn sieve(&self) -> Option<Sieve<JuiceFs>> {
        Some(sift)
    }

    fn rooms(&self) -> Vec<Room<Kind>> {
        rooms(&self.address.prefix(), self.widths, most)
    }

    fn preflight(&self, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
        preflight::target(&self.address, outlook, stop)
    }

    fn prepare(&mut self, _about: &About, stop: &Stop) -> Result<()> {
        self.stop = stop.clone();
        self.target = Some(Target::claim(&self.address, self.widths, stop)?);
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        let shared = Arc::clone(&self.target()?.shared);
        Ok(Box::new(SqlLoader(MysqlLoader::new(&shared)?)))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        self.target()?.settle()?;
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Box::new(MysqlSnapshot::uncommitted(&self.address, readers, &self.stop)?))
    }

    fn commit(mut self: Box<Self>, commit: Commit<JuiceFs>) -> Result<Findings> {
        let Batch::Setting(setting) = &commit.seal else {
            return Err(Error::new(ErrorKind::Bug, "committed with something else than a setting"));
        };
        self.target()?.seal(setting)?;
        Ok(Findings::default())
    }
}
