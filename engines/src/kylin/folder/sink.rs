//! The sink: a backup that does not exist yet, in a folder of its own, as files or as `metadata.zip`. It refuses to replace
//! anything, and what it has written is no backup before the commit.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use metaferry_codecs::kylin::{Batch, Kind, Kylin, Layout, Resource, Setting, image, key};
use metaferry_codecs::{Error as CodecError, Result as CodecResult};
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, KindSet, Loader, Needs, Result, Sieve, Sink, Snapshot, Stop,
};
use rustix::fs::{mkdirat, renameat};

use super::booked::{Booked, Shared, image_key};
use super::contents::Contents;
use super::files::TreeFiles;
use super::loader::{FolderLoader, write_image};
use super::manifest::Manifest;
use super::roles::{Roles, sift};
use super::snapshot::{BackupSnapshot, Files};
use super::staging::{self, FOLDER_MODE, Staging};
use super::tree::{Tree, open_folder};
use super::zip::{ZipFiles, ZipOutput};
use super::zipped::ZipLoader;
use crate::feed::held;
use crate::place;

/// How many loaders make files at most: folders are locked while a file is made in them.
const LOADERS: usize = 8;

/// How a backup holds its resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A file for each.
    Folder,
    /// All in `metadata.zip`.
    Zip,
}

impl Form {
    /// Its name, as manifests spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Zip => "zip",
        }
    }

    pub(super) fn named(name: &[u8]) -> CodecResult<Self> {
        let known = [Self::Folder, Self::Zip].into_iter().find(|form| form.name().as_bytes() == name);
        known.ok_or_else(|| CodecError::Unsupported { what: "form", found: String::from_utf8_lossy(name).into_owned() })
    }
}

/// Writes a backup.
pub struct BackupSink {
    path: PathBuf,
    form: Form,
    is_ordered: bool,
    writing: Option<Writing>,
}

// In this order they are dropped: the folder goes last.
struct Writing {
    zip: Option<Arc<Mutex<ZipOutput>>>,
    shared: Arc<Shared>,
    staging: Staging,
}

impl BackupSink {
    /// A backup in a folder that shall be at `path`; nothing is touched yet.
    #[must_use]
    pub fn create(path: &Path, form: Form) -> Self {
        Self { path: path.to_owned(), form, is_ordered: form == Form::Zip, writing: None }
    }

    /// A zip whose entries come as they are read: nothing has to be sorted to write it, but to restore it.
    #[must_use]
    pub fn in_any_order(self) -> Self {
        Self { is_ordered: false, ..self }
    }

    fn writing(&self) -> Result<&Writing> {
        self.writing.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "a backup is written before it is prepared"))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Sink<Kylin> for BackupSink {
    fn needs(&self) -> Needs {
        let loaders = if self.form == Form::Zip { 1 } else { LOADERS };
        let ordered = if self.is_ordered { KindSet::of([Kind::Resource]) } else { KindSet::NONE };
        Needs {
            loaders,
            ordered,
            affine: false,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: false,
        }
    }

    fn sieve(&self) -> Option<Sieve<Kylin>> {
        Some(sift)
    }

    fn preflight(&self, _outlook: &Outlook<Kind>, _stop: &Stop) -> Result<Vec<Remark>> {
        let mut remarks = place::look(&self.path, None)?;
        remarks.push(match staging::look(&self.path) {
            Ok(()) => Remark::ok("target", "nothing is there"),
            Err(error) => Remark::of("target", &error),
        });
        Ok(remarks)
    }

    fn prepare(&mut self, _about: &About, stop: &Stop) -> Result<()> {
        if self.writing.is_some() {
            return Err(Error::new(ErrorKind::Bug, "a backup is prepared twice"));
        }
        let staging = Staging::create(&self.path)?;
        let shared = Arc::new(Shared::new(Arc::clone(&staging.top), stop));
        let zip = match self.form {
            Form::Folder => None,
            Form::Zip => {
                let out = ZipOutput::new(self.name(), staging.file(b"metadata.zip")?, staging.scratch()?);
                Some(Arc::new(Mutex::new(out)))
            }
        };
        self.writing = Some(Writing { zip, shared, staging });
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<Kylin>>> {
        let Writing { zip, shared, .. } = self.writing()?;
        shared.open.fetch_add(1, Ordering::AcqRel);
        Ok(match zip {
            None => Box::new(FolderLoader::new(Arc::clone(shared))),
            Some(zip) => Box::new(ZipLoader::new(Arc::clone(shared), Arc::clone(zip), self.is_ordered)),
        })
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<Kylin>>> {
        let Writing { zip, shared, .. } = self.writing()?;
        shared.check_finished()?;
        let layout = shared.layout.get().copied().unwrap_or_default();
        let mut contents = Contents::new(Roles::of(layout));
        let files: Box<dyn Files> = match zip {
            Some(zip) => Box::new(ZipFiles::look(held(zip).reopen()?, &mut contents, &shared.stop)?),
            None => {
                let failed = |cause| Error::engine(format!("{}: open again", self.name()), cause);
                let top = match layout {
                    Layout::Flat => shared.top.try_clone().map_err(failed)?,
                    Layout::Typed => open_folder(&*shared.top, key::CORE_META).map_err(|cause| failed(cause.into()))?,
                };
                Box::new(TreeFiles::look(Tree::new(self.name(), top, layout), &mut contents, &shared.stop)?)
            }
        };
        Ok(Box::new(BackupSnapshot::uncommitted(self.name(), contents, files)))
    }

    fn commit(mut self: Box<Self>, commit: Commit<Kylin>) -> Result<Findings> {
        let name = self.name();
        let bug = |what: &str| Error::new(ErrorKind::Bug, format!("{name}: {what}"));
        let Writing { zip, shared, staging } = self.writing.take().ok_or_else(|| bug("it is committed twice"))?;
        shared.check_finished()?;
        shared.stop.check()?;
        let Batch::Setting(seal) = &commit.seal else { return Err(bug("it is committed without a setting")) };
        let [seal] = seal.as_slice() else { return Err(bug("it is committed with no setting, or several")) };
        if *shared.layout.get_or_init(|| seal.layout) != seal.layout {
            let what =
                format!("{name}: its setting says the {} layout, and its keys are of the other", seal.layout.name());
            return Err(Error::corrupt(what));
        }
        let booked = std::mem::take(&mut *held(&shared.booked));
        let (findings, manifest) = (booked.findings(seal.layout, zip.is_some()), self.manifest(seal, booked, &commit));
        let now = Timestamp::now().as_millisecond();
        match zip {
            None => {
                let write = |offset| write_image(&shared, seal.layout, image::write_image(offset), now);
                manifest.offset.map_or(Ok(()), write)?;
            }
            Some(zip) => {
                let zip = Arc::into_inner(zip).ok_or_else(|| bug("it is committed while it is written"))?;
                let mut zip = zip.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                let key = image_key(seal.layout).to_vec();
                let row = |offset| Resource { key, content: image::write_image(offset), ts: now, mvcc: 0 };
                manifest.offset.map(row).map_or(Ok(()), |row| zip.append(&entry_name(&row.key), &row))?;
                zip.finish()?;
                place_zip(&shared, seal.layout)
                    .map_err(|cause| Error::engine(format!("{name}: place its zip"), cause))?;
            }
        }
        shared.stop.check()?;
        staging.publish(&manifest.write())?;
        Ok(findings)
    }
}

impl BackupSink {
    fn manifest(&self, seal: &Setting, booked: Booked, commit: &Commit<Kylin>) -> Manifest {
        let offset = match seal.layout {
            // A backup of one project has none.
            Layout::Flat => seal.offset.filter(|_| seal.project.is_empty()),
            Layout::Typed => Some(seal.offset.unwrap_or(0)),
        };
        Manifest {
            writer: concat!("metaferry ", env!("CARGO_PKG_VERSION")).to_owned(),
            created: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            origin: commit.about.origin.clone(),
            guarantee: commit.about.guarantee,
            layout: seal.layout,
            form: self.form,
            project: seal.project.clone(),
            offset,
            tally: commit.tally.of(Kind::Resource).digest,
            folders: booked.sums.0,
        }
    }
}

/// The name of a resource's entry: keys of the flat layout are names as they are.
pub(super) fn entry_name(key: &[u8]) -> Vec<u8> {
    match Layout::of_key(key) {
        Layout::Flat => key.to_vec(),
        Layout::Typed => [key, b".json"].concat(),
    }
}

/// The typed layout has its zip where it has its files.
fn place_zip(shared: &Shared, layout: Layout) -> rustix::io::Result<()> {
    if layout == Layout::Flat {
        return Ok(());
    }
    mkdirat(&*shared.top, key::CORE_META, FOLDER_MODE)?;
    let core_meta = open_folder(&*shared.top, key::CORE_META)?;
    renameat(&*shared.top, "metadata.zip", &core_meta, "metadata.zip")
}
