//! Writing a metastore: several loaders fill tables that Kylin does not know, which then get their keys and can be read back; the
//! commit gives them the names that it does know.

use std::sync::Arc;

use metaferry_codecs::kylin::{Batch, Kind, Kylin};
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, KindSet, Loader, Needs, Result, Sink, Snapshot, Stop,
};

use super::address::StoreAddress;
use super::loader::KylinLoader;
use super::preflight;
use super::source::KylinSnapshot;
use super::tables::Located;
use super::target::Target;

/// More than these would only wait for each other's writes.
const LOADERS: usize = 4;

/// How a metastore is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// Content is compressed, as Kylin does unless `kylin.metadata.compress.enabled` is off.
    pub compress: bool,
}

/// A database to write a metastore to.
pub struct KylinSink {
    address: StoreAddress,
    writing: Writing,
    stop: Stop,
    target: Option<Target>,
}

impl KylinSink {
    /// A store at an address, whose identifier has no table yet; nothing is touched before it is prepared.
    #[must_use]
    pub fn new(address: StoreAddress, writing: Writing) -> Self {
        Self { address, writing, stop: Stop::new(), target: None }
    }

    fn target(&mut self) -> Result<&mut Target> {
        self.target.as_mut().ok_or_else(|| Error::new(ErrorKind::Bug, "a sink that was not prepared"))
    }
}

impl Sink<Kylin> for KylinSink {
    fn needs(&self) -> Needs {
        Needs {
            loaders: LOADERS,
            ordered: KindSet::NONE,
            affine: false,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: false,
        }
    }

    fn preflight(&self, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
        preflight::target(&self.address, outlook, stop)
    }

    fn prepare(&mut self, _about: &About, stop: &Stop) -> Result<()> {
        self.stop = stop.clone();
        self.target = Some(Target::claim(&self.address, self.writing.compress, stop)?);
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<Kylin>>> {
        let shared = Arc::clone(&self.target()?.shared);
        Ok(Box::new(KylinLoader::new(&shared)?))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<Kylin>>> {
        let target = self.target()?;
        target.settle()?;
        // Where no row came there is no table.
        let located = target.shared.made().map_or_else(Located::none, |made| Located::clone(&made));
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Box::new(KylinSnapshot::uncommitted(&self.address, located, readers, &self.stop)?))
    }

    fn commit(mut self: Box<Self>, commit: Commit<Kylin>) -> Result<Findings> {
        let setting = match &commit.seal {
            Batch::Setting(rows) => rows.first(),
            _ => None,
        };
        let none = || Error::new(ErrorKind::Bug, "committed with something else than a setting");
        self.target()?.commit(setting.ok_or_else(none)?)?;
        Ok(Findings::default())
    }
}
