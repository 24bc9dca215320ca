//! The source: a backup in a folder or a zip, of either layout, made by Kylin or by us. What it is, is told by what is in it;
//! what Kylin would not restore, or would read otherwise than it looks, is refused.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use metaferry_codecs::kylin::key::CORE_META;
use metaferry_codecs::kylin::layout::Verification;
use metaferry_codecs::kylin::types::MetadataType;
use metaferry_codecs::kylin::{Kind, Kylin, Layout};
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{Error, Result, Snapshot, Source, Stop};
use rustix::fs::{Mode, OFlags, openat};

use super::checked;
use super::contents::Contents;
use super::files::TreeFiles;
use super::manifest::{Manifest, manifest};
use super::roles::Roles;
use super::sink::Form;
use super::snapshot::{BackupSnapshot, Files};
use super::tree::{Entry, Sort, Tree, list, no_file, open_folder, open_top, shown};
use super::zip::{Zip, ZipFiles, layout as zip_layout};
use crate::awaited;

const ZIP: &[u8] = b"metadata.zip";

/// Which part of a backup is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// One project alone, with what Kylin restores of it; everything where `None`.
    pub project: Option<Vec<u8>>,
    /// Leave out samples and statistics of tables.
    pub without_table_exd: bool,
    /// Read it though Kylin would not restore it as it is, though it holds nothing, or is not what its manifest says.
    pub unchecked: bool,
}

/// Reads a backup.
#[derive(Debug)]
pub struct BackupSource {
    name: String,
    path: PathBuf,
    place: Place,
    reading: Reading,
}

#[derive(Debug)]
enum Place {
    Tree {
        top: OwnedFd,
        layout: Layout,
        /// How many files and folders lie beside the one that is read.
        beside: u64,
    },
    Zip {
        file: File,
        beside: u64,
    },
}

impl BackupSource {
    /// The backup at `path`: its folder, the `core_meta` in it, or its `metadata.zip`. No more than the names at the top are
    /// looked at.
    ///
    /// # Errors
    /// [`metaferry_pipeline::ErrorKind::Config`] where nothing is there; `Refused` where it is empty, has links in it, or is of
    /// two sorts; `Unsupported` where it is of another Kylin, or of something else.
    pub fn open(path: &Path, reading: Reading) -> Result<Self> {
        let name = path.display().to_string();
        let found = path.metadata().map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => {
                Error::config(format!("{name}: there is no such backup")).hint("name a folder, or a metadata.zip")
            }
            _ => Error::engine(format!("{name}: look at it"), cause),
        })?;
        let place = if found.is_dir() {
            let top = open_top(path).map_err(|cause| Error::engine(format!("{name}: open"), cause))?;
            Self::in_folder(&name, top)?
        } else {
            let opened = awaited::open(path).map_err(|cause| Error::engine(format!("{name}: open"), cause))?;
            Place::Zip { file: a_zip(&name, opened)?, beside: 0 }
        };
        Ok(Self { name, path: path.to_owned(), place, reading })
    }

    fn in_folder(name: &str, top: OwnedFd) -> Result<Place> {
        let entries = entries(name, &top)?;
        if let Some(zip) = zip_in(name, &top, &entries)? {
            return Ok(zip);
        }
        let layout = layout_of(name, &entries)?;
        let core_meta = |entry: &&Entry| entry.sort == Sort::Folder && entry.name() == CORE_META;
        if layout == Layout::Flat || !entries.iter().any(|entry| core_meta(&entry)) {
            return Ok(Place::Tree { top, layout, beside: 0 });
        }
        if let Some(entry) = entries.iter().find(|entry| MetadataType::named(entry.name()).is_some()) {
            let what =
                format!("{name}: it holds {} beside core_meta, where Kylin does not read it", shown(entry.name()));
            return Err(Error::refused(what).hint("name the core_meta that is meant, or move the other away"));
        }
        let core_meta =
            open_folder(&top, CORE_META).map_err(|cause| Error::engine(format!("{name}: open core_meta"), cause))?;
        Self::in_core_meta(&format!("{name}/core_meta"), core_meta, entries.len() as u64 - 1)
    }

    fn in_core_meta(name: &str, core_meta: OwnedFd, beside: u64) -> Result<Place> {
        let entries = entries(name, &core_meta)?;
        if let Some(Place::Zip { file, beside: more }) = zip_in(name, &core_meta, &entries)? {
            return Ok(Place::Zip { file, beside: beside + more });
        }
        match layout_of(name, &entries)? {
            Layout::Typed => Ok(Place::Tree { top: core_meta, layout: Layout::Typed, beside }),
            Layout::Flat => {
                let what = format!("{name}: it holds metadata in the flat layout, which has no core_meta");
                Err(Error::refused(what).hint("move what is in it to a folder of its own, and name that"))
            }
        }
    }

    /// What Kylin's own check says of it, and whether the parts are there that a whole backup has. No content is read.
    ///
    /// # Errors
    /// What cannot be looked at: links, what is no file, names that are no keys.
    pub fn verification(&self) -> Result<Verification> {
        Ok(self.look(&Stop::new())?.0.verification)
    }

    /// Looks at every file.
    fn look(&self, stop: &Stop) -> Result<(Contents, Box<dyn Files>)> {
        let again = |cause| Error::engine(format!("{}: open again", self.name), cause);
        let Reading { project, without_table_exd, .. } = self.reading.clone();
        let contents = |layout, beside: u64| {
            let mut contents = Contents::new(Roles { layout, project, without_table_exd });
            if beside > 0 {
                contents.aside.insert("files and folders beside the metadata", beside);
            }
            contents
        };
        match &self.place {
            Place::Tree { top, layout, beside } => {
                let tree = Tree::new(self.name.clone(), top.try_clone().map_err(again)?, *layout);
                let mut contents = contents(*layout, *beside);
                let files = TreeFiles::look(tree, &mut contents, stop)?;
                Ok((contents, Box::new(files)))
            }
            Place::Zip { file, beside } => {
                let zip = Zip::open(self.name.clone(), file.try_clone().map_err(again)?)?;
                let layout = zip_layout(&zip).map_err(|error| explained(error.at(&self.name)))?;
                let mut contents = contents(layout, *beside);
                let files = ZipFiles::look(zip, &mut contents, stop)?;
                Ok((contents, Box::new(files)))
            }
        }
    }

    /// Looks at every file, and refuses what is to be refused. What the manifest promises where all of it is read.
    fn checked(&self, stop: &Stop) -> Result<(Contents, Box<dyn Files>, Option<Manifest>)> {
        let (contents, files) = self.look(stop)?;
        let Reading { project, without_table_exd, unchecked } = &self.reading;
        let mut promised = None;
        if !unchecked {
            contents.check().map_err(|error| error.at(&self.name))?;
            promised = if *without_table_exd { None } else { manifest(&self.path)? };
        }
        if let Some(promised) = &promised {
            let (then, now) = (promised.total(), contents.whole);
            if (then.resources, then.bytes) != (now.resources, now.bytes) {
                let of = |resources, bytes| format!("{resources} resources of {bytes} bytes");
                let (then, now) = (of(then.resources, then.bytes), of(now.resources, now.bytes));
                return Err(checked::changed(&self.name, &format!("it holds {now}, and held {then} when it was made")));
            }
        }
        let Some(project) = project else { return Ok((contents, files, promised)) };
        if !contents.verification.projects().any(|known| known == project) {
            return Err(no_project(&self.name, project, &contents.verification));
        }
        Ok((contents, files, None))
    }

    /// The same for whoever sums it.
    pub(super) fn summed(self, stop: &Stop) -> Result<(BackupSnapshot, Form)> {
        let (contents, files) = self.look(stop)?;
        let mut snapshot = BackupSnapshot::new(self.name, contents, files, None);
        snapshot.sum();
        let form = if matches!(self.place, Place::Zip { .. }) { Form::Zip } else { Form::Folder };
        Ok((snapshot, form))
    }
}

fn no_project(name: &str, project: &[u8], verification: &Verification) -> Error {
    let known: Vec<_> = verification.projects().take(16).map(shown).collect();
    let known = if known.is_empty() { "it holds none".to_owned() } else { format!("it holds {}", known.join(", ")) };
    Error::config(format!("{name}: there is no project {} in it", shown(project))).hint(known)
}

/// What is at the top of a backup; what a desktop leaves there is passed over.
fn entries(name: &str, folder: &OwnedFd) -> Result<Vec<Entry>> {
    let mut entries = list(folder, Layout::Flat).map_err(|cause| Error::engine(format!("{name}: list"), cause))?;
    for entry in &entries {
        if let Sort::Other(what) = entry.sort {
            return Err(no_file(name, entry.name(), what));
        }
    }
    entries.retain(|entry| entry.name() != b".DS_Store");
    if entries.is_empty() {
        let what = format!("the directory \"{name}\" is an empty directory, please check");
        return Err(Error::refused(what).hint("look whether it is the backup that was meant"));
    }
    Ok(entries)
}

fn layout_of(name: &str, entries: &[Entry]) -> Result<Layout> {
    let layout = Layout::of_backup(entries.iter().map(Entry::name));
    layout.map_err(|error| explained(Error::from(error).at(name)))
}

fn explained(error: Error) -> Error {
    error.hint("name a backup of Kylin 5: the folder that holds _global or core_meta, or a metadata.zip")
}

/// The zip in a folder, which then holds nothing else.
fn zip_in(name: &str, folder: &OwnedFd, entries: &[Entry]) -> Result<Option<Place>> {
    let is_zip = |entry: &&Entry| entry.sort == Sort::File && entry.name() == ZIP;
    if !entries.iter().any(|entry| is_zip(&entry)) {
        return Ok(None);
    }
    let beside = |entry: &&Entry| entry.name() != ZIP && entry.name() != b"kylin.properties";
    if let Some(other) = entries.iter().find(beside) {
        let what = format!("{name}: it holds a metadata.zip and {} beside it", shown(other.name()));
        return Err(Error::refused(what).hint("Kylin reads the one or the other; move away what is not the backup"));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let name = format!("{name}/metadata.zip");
    let file = openat(folder.as_fd(), ZIP, flags, Mode::empty());
    let file = file.map_err(|cause| Error::engine(format!("{name}: open"), cause))?;
    Ok(Some(Place::Zip { file: a_zip(&name, file.into())?, beside: entries.len() as u64 - 1 }))
}

/// A file that begins as a zip does.
fn a_zip(name: &str, file: File) -> Result<File> {
    let failed = |cause| Error::engine(format!("{name}: read"), cause);
    let mut head = [0; 4];
    let is_file = file.metadata().map_err(failed)?.is_file();
    if is_file && file.read_at(&mut head, 0).map_err(failed)? == head.len() && Zip::is_one(&head) {
        return Ok(file);
    }
    let what = if is_file { "it is no zip" } else { "it is neither a folder nor a file" };
    Err(explained(Error::unsupported(format!("{name}: {what}"))))
}

impl Source<Kylin> for BackupSource {
    fn snapshot(self: Box<Self>, _readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        let (contents, files, promised) = self.checked(stop)?;
        Ok(Box::new(BackupSnapshot::new(self.name, contents, files, promised)))
    }

    /// What names and lengths tell.
    fn outlook(&self, _rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        let (contents, ..) = self.checked(stop)?;
        Ok(Outlook { rows: Some(contents.wanted.resources + 1), largest: contents.largest(), ..Outlook::default() })
    }
}
