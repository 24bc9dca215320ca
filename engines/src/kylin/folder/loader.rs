//! A loader: writes resources as files, below folders that are held open. On a disk of this machine it waits for none of
//! them: the commit makes all durable at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use metaferry_codecs::kylin::{Batch, Kylin, Layout, Resource, key};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};
use rustix::fs::{AtFlags, FileType, Timespec, Timestamps, UTIME_OMIT, futimens, mkdirat, openat, statat};
use rustix::io::Errno;

use super::booked::{Booked, Shared};
use super::staging::{FILE_MODE, FOLDER_MODE, NEW};
use super::tree::{list, open_folder, shown};

/// How many folders one loader holds open, at most; in the order of keys, it needs few.
const HELD: usize = 64;

/// A worker's hand on a folder.
pub(super) struct FolderLoader {
    shared: Arc<Shared>,
    booked: Booked,
    folders: HashMap<Vec<u8>, OwnedFd>,
}

impl FolderLoader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, booked: Booked::default(), folders: HashMap::new() }
    }

    fn write(&mut self, row: &Resource) -> Result<()> {
        let path = self.shared.path(&row.key, row.content.len())?;
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => path.split_at(slash + 1),
            None => (&[][..], path.as_slice()),
        };
        self.enter(folder, &row.key)?;
        let top = self.shared.top.as_fd();
        let folder = self.folders.get(folder).map_or(top, |folder| folder.as_fd());
        write_file(folder, name, row, self.shared.syncs_each)
            .map_err(|cause| refused(folder, name, &row.key, cause))?;
        self.booked.book(row);
        Ok(())
    }

    /// Opens a folder, and makes it where it is not there; its path ends with a slash, and is empty at the top.
    fn enter(&mut self, path: &[u8], key: &[u8]) -> Result<()> {
        if path.is_empty() || self.folders.contains_key(path) {
            return Ok(());
        }
        if self.folders.len() >= HELD {
            self.folders.clear();
        }
        // The nearest one above that is open.
        let slashes = path.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'/');
        let mut above = slashes.map(|(at, _)| at + 1);
        let is_open = |begin: &usize| path.get(..*begin).is_some_and(|above| self.folders.contains_key(above));
        let mut begin = above.find(is_open).unwrap_or(0);
        while let Some(length) = path.get(begin..).and_then(|rest| rest.iter().position(|byte| *byte == b'/')) {
            let (above, name) =
                (path.get(..begin).unwrap_or_default(), path.get(begin..begin + length).unwrap_or_default());
            let above = self.folders.get(above).map_or(self.shared.top.as_fd(), |above| above.as_fd());
            let made = match mkdirat(above, name, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => open_folder(above, name),
                Err(cause) => Err(cause),
            };
            let folder = made.map_err(|cause| refused(above, name, key, cause.into()))?;
            begin += length + 1;
            self.folders.insert(path.get(..begin).unwrap_or_default().to_vec(), folder);
        }
        Ok(())
    }
}

/// The file of a resource, with its time.
fn write_file(folder: BorrowedFd<'_>, name: &[u8], row: &Resource, syncs: bool) -> std::io::Result<()> {
    let mut file = File::from(openat(folder, name, NEW, FILE_MODE)?);
    file.write_all(&row.content)?;
    futimens(&file, &times(row.ts))?;
    if syncs { file.sync_all() } else { Ok(()) }
}

/// When a resource was written, in milliseconds since 1970.
pub(super) fn times(millis: i64) -> Timestamps {
    let written = Timespec { tv_sec: millis.div_euclid(1000), tv_nsec: millis.rem_euclid(1000) * 1_000_000 };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: written }
}

/// Why a file cannot be made, by what is there.
fn refused(folder: BorrowedFd<'_>, name: &[u8], key: &[u8], cause: std::io::Error) -> Error {
    let errno = Errno::from_io_error(&cause);
    let unsupported = |why: &str| Error::unsupported(format!("the key {}: {why}", shown(key)));
    match errno {
        Some(Errno::NAMETOOLONG) => unsupported("a part of it is longer than names of files may be"),
        Some(Errno::ILSEQ | Errno::INVAL) => unsupported("a part of it is no name that this file system holds"),
        Some(Errno::NOTDIR) => unsupported("it needs a folder where another key has a file"),
        Some(Errno::EXIST) => match is_there(folder, name) {
            Some(FileType::Directory) => unsupported("it needs a file where other keys have a folder"),
            Some(_) => Error::corrupt(format!("the key {} comes twice", shown(key))),
            None => {
                unsupported("this file system takes its name for that of another key, as where case is not told apart")
            }
        },
        Some(Errno::NOSPC | Errno::DQUOT) => {
            Error::engine(format!("write {}", shown(key)), cause).hint("make room, or choose another place")
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            Error::engine(format!("write {}", shown(key)), cause).hint("allow more open files, or use fewer threads")
        }
        _ => Error::engine(format!("write {}", shown(key)), cause).hint("look at the disk"),
    }
}

/// What is there under this very name, byte for byte.
fn is_there(folder: BorrowedFd<'_>, name: &[u8]) -> Option<FileType> {
    let entries = list(folder, Layout::Flat).ok()?;
    entries.iter().find(|entry| entry.name() == name)?;
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

impl Loader<Kylin> for FolderLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        let Batch::Resource(rows) = batch else {
            return Err(Error::new(ErrorKind::Bug, "a backup is given more than resources"));
        };
        for row in &rows {
            self.shared.stop.check()?;
            self.write(row)?;
        }
        Ok(())
    }

    fn amend(&mut self, _batch: Batch) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "a backup carries rows as they are and amends none"))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.shared.finish(self.booked);
        Ok(())
    }
}

/// Makes the file of `_image`, and the folders above it.
pub(super) fn write_image(shared: &Arc<Shared>, layout: Layout, content: Vec<u8>, millis: i64) -> Result<()> {
    let mut last = FolderLoader::new(Arc::clone(shared));
    let key = super::booked::image_key(layout).to_vec();
    let path = key::path(layout, &key)?;
    let folder = path.get(..path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)).unwrap_or_default();
    last.enter(folder, &key)?;
    let name = path.get(folder.len()..).unwrap_or_default();
    let folder = last.folders.get(folder).map_or(shared.top.as_fd(), |folder| folder.as_fd());
    let row = Resource { key, content, ts: millis, mvcc: 0 };
    write_file(folder, name, &row, shared.syncs_each).map_err(|cause| refused(folder, name, &row.key, cause))
}
