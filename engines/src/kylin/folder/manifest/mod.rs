//! The manifest of a backup: what it held when it was made. It lies beside the backup and never in it, where Kylin would take
//! it for a resource.

mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use metaferry_codecs::kylin::Layout;
use metaferry_pipeline::{Error, Guarantee, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::sink::Form;
use super::sums::{Sum, Sums};
use super::tree::shown;

/// What its name ends with, behind the name of the backup.
const EXTENSION: &str = "manifest.json";
/// The longest manifest that is read, in bytes: there is a line for each project.
const MOST_BYTES: u64 = 64 << 20;

/// What a backup held when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The program that made it.
    pub writer: String,
    /// When, as RFC 3339 in UTC.
    pub created: String,
    /// Where the metadata came from, without secrets.
    pub origin: String,
    /// Whether that was one point in time.
    pub guarantee: Guarantee,
    /// The layout.
    pub layout: Layout,
    /// Whether files or a zip.
    pub form: Form,
    /// The project that it is of, where it is not of all.
    pub project: Vec<u8>,
    /// What `_image` says, where there is one.
    pub offset: Option<u64>,
    /// The digest of its resources as tallies have it, so that it can be compared with that of a store.
    pub tally: u128,
    /// What each folder at the top holds.
    pub folders: BTreeMap<Vec<u8>, Sum>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            writer: String::new(),
            created: String::new(),
            origin: String::new(),
            guarantee: Guarantee::Exact,
            layout: Layout::Flat,
            form: Form::Folder,
            project: Vec::new(),
            offset: None,
            tally: 0,
            folders: BTreeMap::new(),
        }
    }
}

/// Where the manifest of the backup in `folder` lies.
#[must_use]
pub fn manifest_path(folder: &Path) -> PathBuf {
    folder.with_added_extension(EXTENSION)
}

/// The folder that a backup is in, whichever part of it `path` names: the folder itself, its `core_meta` or its
/// `metadata.zip`; none where it is a zip of another name.
pub(super) fn home(path: &Path) -> Option<PathBuf> {
    let mut path = path.canonicalize().ok()?;
    if path.is_file() && (path.file_name()? != "metadata.zip" || !path.pop()) {
        return None;
    }
    if path.file_name()? == "core_meta" {
        path.pop();
    }
    Some(path)
}

/// The manifest of the backup at `path`; none where it has none.
///
/// # Errors
/// One that cannot be read, or is none.
pub fn manifest(path: &Path) -> Result<Option<Manifest>> {
    let Some(place) = home(path).map(|home| manifest_path(&home)) else { return Ok(None) };
    let name = place.display();
    let failed = |cause: std::io::Error| Error::engine(format!("{name}: it cannot be read"), cause);
    // Whatever is there in its place is neither followed nor waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(CWD, &place, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened.map_err(|cause| failed(cause.into()))?),
    };
    let is_file = file.metadata().map_err(failed)?.is_file();
    let mut text = Vec::new();
    if is_file {
        file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    }
    if !is_file || text.len() as u64 > MOST_BYTES {
        return Err(Error::corrupt(format!("{name}: it is no manifest")));
    }
    let hint = "move it away, if it is not the manifest of this backup";
    Manifest::read(&text).map(Some).map_err(|error| Error::from(error).at(name).hint(hint))
}

impl Manifest {
    /// The sum of everything.
    #[must_use]
    pub fn total(&self) -> Sum {
        Sums(self.folders.clone()).total()
    }

    /// What is otherwise in a backup than it was when it was made, a line for each folder.
    pub(super) fn differences(&self, now: &Sums) -> Vec<String> {
        let mut names: Vec<_> = self.folders.keys().chain(now.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let differs = names.into_iter().filter_map(|name| {
            let (then, now) = (self.folders.get(name).copied(), now.0.get(name).copied());
            (then != now).then(|| difference(name, then.unwrap_or_default(), now.unwrap_or_default()))
        });
        differs.collect()
    }
}

fn difference(name: &[u8], then: Sum, now: Sum) -> String {
    let name = shown(name);
    match () {
        () if now.resources != then.resources => {
            format!("{name} holds {} resources, and held {} when it was made", now.resources, then.resources)
        }
        () if now.bytes != then.bytes => {
            format!("{name} holds {} bytes, and held {} when it was made", now.bytes, then.bytes)
        }
        () => format!("{name} holds other keys or contents than when it was made"),
    }
}
