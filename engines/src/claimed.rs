//! A name in a folder that one process at a time writes to: locked, cleared of what dead ones have left, and filled under
//! another name beside it. It knows no format.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use metaferry_pipeline::{Error, Result};

use crate::place::folder_of;

/// A claimed name.
#[derive(Debug)]
pub(crate) struct Claimed {
    folder: PathBuf,
    temporary: PathBuf,
    _lock: Lock,
}

impl Claimed {
    /// Locks a path, and removes what processes that died have left beside it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| Error::config(format!("{}: it names no file", path.display())))?;
        let folder = folder_of(path)?;
        let mut ours = OsString::from(".");
        ours.push(name);
        ours.push(".metaferry");
        let lock = Lock::take(folder.join(&ours).with_added_extension("lock"), path)?;
        ours.push("-");
        clear(&folder, &ours);
        ours.push(std::process::id().to_string());
        Ok(Self { temporary: folder.join(ours), folder, _lock: lock })
    }

    /// The folder that the name is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file to fill; nothing is there yet.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes the names in the folder durable.
    pub(crate) fn sync_folder(&self) -> std::io::Result<()> {
        File::open(&self.folder).and_then(|folder| folder.sync_all())
    }
}

/// Removes the files and folders of processes that died: none lives, since the lock is ours.
fn clear(folder: &Path, ours: &OsString) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(ours.as_encoded_bytes()));
    left.for_each(|entry| match entry.file_type() {
        Ok(found) if found.is_dir() => drop(fs::remove_dir_all(entry.path())),
        _ => drop(fs::remove_file(entry.path())),
    });
}

/// Removes what processes that died have left in a folder under any name, where it is a folder: names with a time in them are
/// never claimed again. What another process has claimed stays. The paths that they had claimed.
pub(crate) fn clear_dead(folder: &Path) -> Vec<PathBuf> {
    let mut dead = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|found| found.is_dir())) {
        let found = entry.file_name();
        let Some((name, process)) = found.to_str().and_then(|found| found.rsplit_once(".metaferry-")) else { continue };
        let is_number = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(name) = name.strip_prefix('.').filter(|name| is_number && !name.is_empty()) {
            let path = folder.join(name);
            if Claimed::take(&path).is_ok() {
                dead.push(path);
            }
        }
    }
    dead
}

/// A lock that dies with its process, on a file that does not outlive its use.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: PathBuf, target: &Path) -> Result<Self> {
        loop {
            let opened = File::options().create(true).truncate(false).write(true).open(&path);
            let failed = |error| Error::engine(format!("{}: nothing can be written there", target.display()), error);
            let file = opened.map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let what = format!("{}: another load into it is under way", target.display());
                    return Err(Error::refused(what).hint("wait until it has ended, or name another file"));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The one who had it before may have removed it between the two.
            let is_same =
                |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
            if let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(&path))
                && is_same(&ours, &there)
            {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    /// The lock is still held while its file is removed.
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}
