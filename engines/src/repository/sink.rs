//! The sink: one more backup in a repository. Blobs, pages and indexes go there while rows come; the manifest goes last, and
//! with it the backup exists. What is abandoned is found and used by the next one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use metaferry_codecs::repository::Manifest;
use metaferry_codecs::system::{Kind as _, System};
use metaferry_pipeline::{
    About, Commit, Error, Findings, Guarantee, KindSet, Loader, Needs, Result, Sink, Snapshot, Stop,
};

use super::known::{Catalog, Known};
use super::loader::{Handle, Left, RepositoryLoader};
use super::opened::{Repository, bug, now};
use super::packing::Packing;
use super::{Listed, RepositoryAddress, RepositoryKeys, lock};

/// How often it is looked whether another second has begun.
const TICK: Duration = Duration::from_millis(50);

/// How a backup is made.
#[derive(Debug, Clone)]
pub struct RepositoryOptions {
    /// Leave secrets in; else they are taken out.
    pub keep_secrets: bool,
    /// Workers that compress.
    pub threads: usize,
    /// What may be held in memory, in bytes.
    pub memory_bytes: usize,
    /// What a repository is encrypted with; where there are any, secrets stay in.
    pub keys: RepositoryKeys,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub listed: Listed,
    /// What it added to the repository, in bytes.
    pub new_bytes: u64,
    /// What all of its blobs and pages take, in bytes.
    pub total_bytes: u64,
}

/// Writes a backup.
pub struct RepositorySink<S: System> {
    address: RepositoryAddress,
    options: RepositoryOptions,
    made: Arc<Mutex<Option<Made>>>,
    writing: Option<Writing<S>>,
}

struct Writing<S: System> {
    repository: Arc<Repository>,
    packing: Arc<Packing>,
    left: Left<S>,
    manifest: Manifest<S::Kind>,
    stop: Stop,
}

impl<S: System> RepositorySink<S> {
    /// One more backup in the repository at an address. What it turned into is known after the commit.
    #[must_use]
    pub fn new(address: RepositoryAddress, options: RepositoryOptions) -> (Self, Arc<Mutex<Option<Made>>>) {
        let made = Arc::default();
        (Self { address, options, made: Arc::clone(&made), writing: None }, made)
    }

    fn writing(&self) -> Result<&Writing<S>> {
        self.writing.as_ref().ok_or_else(|| bug("a backup is written before it is prepared"))
    }
}

/// This moment, once it is another second than that of the newest backup: names are ordered by it. A clock that is behind by
/// more is not waited for.
fn moment_of_its_own(repository: &Repository, stop: &Stop) -> Result<String> {
    let newest = repository.backups()?.pop().map(|backup| backup.begun);
    while newest.as_ref() == Some(&now()) {
        stop.check()?;
        std::thread::sleep(TICK);
    }
    Ok(now())
}

impl<S: System> Sink<S> for RepositorySink<S> {
    fn needs(&self) -> Needs {
        Needs {
            loaders: 1,
            ordered: KindSet::ALL,
            affine: false,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: !self.options.keep_secrets && !self.options.keys.are_given(),
        }
    }

    fn prepare(&mut self, about: &About, stop: &Stop) -> Result<()> {
        let repository = Arc::new(Repository::open_or_make(&self.address, &self.options.keys, stop)?);
        let known = Known::to_write(&Catalog::of(&repository)?);
        let packing = Arc::new(Packing::new(&repository, known, self.options.memory_bytes, stop)?);
        let mut manifest = Manifest::of(S::NAME);
        manifest.origin.clone_from(&about.origin);
        manifest.is_exact = about.guarantee == Guarantee::Exact;
        manifest.begun = moment_of_its_own(&repository, stop)?;
        manifest.writer = concat!("metaferry ", env!("CARGO_PKG_VERSION")).to_owned();
        self.writing = Some(Writing { repository, packing, left: Left::default(), manifest, stop: stop.clone() });
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<S>>> {
        let Writing { repository, packing, left, stop, .. } = self.writing()?;
        let loader = RepositoryLoader::new(packing, repository.vault.cutter(), self.options.threads, stop)?;
        Ok(Box::new(Handle { loader, left: Arc::clone(left) }))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<S>>> {
        Err(Error::unsupported(format!("{}: a backup is read back once it is there", self.address)))
    }

    fn commit(mut self: Box<Self>, commit: Commit<S>) -> Result<Findings> {
        let writing = self.writing.take().ok_or_else(|| bug("a backup is committed twice"))?;
        let Writing { repository, packing, left, mut manifest, stop } = writing;
        let mut loader = lock(&left).take().ok_or_else(|| bug("a backup is committed while it is written"))?;
        loader.take(&commit.seal)?;
        (manifest.roots, manifest.largest) = loader.roots()?;
        packing.finish()?;
        let cells = S::Kind::all().iter().map(|&kind| (kind, commit.tally.of(kind)));
        manifest.tally = cells.filter(|(_, cell)| cell.rows > 0).collect();
        repository.check_config()?;
        let totals = packing.settle()?;
        (manifest.new_bytes, manifest.total_bytes) = (totals.new, totals.all);
        manifest.ended = now();
        stop.check()?;
        let listed = repository.put_manifest::<S>(&manifest)?;
        *lock(&self.made) = Some(Made { listed, new_bytes: totals.new, total_bytes: totals.all });
        Ok(Findings::default())
    }
}
