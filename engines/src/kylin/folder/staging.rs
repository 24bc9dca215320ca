//! Where a backup comes to be: a folder under another name beside its own, which takes its own name last, when everything in it
//! is durable. What is dropped before leaves nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind as IoKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metaferry_pipeline::{Error, Result};
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fsync, mkdirat, openat, renameat, renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::Errno;

use super::manifest::manifest_path;
use super::tree::{open_folder, open_top};
use crate::claimed::{self, Claimed};

/// A backup holds hashes of users' passwords: it is as secret as the store.
pub(super) const FOLDER_MODE: Mode = Mode::RWXU;
/// The same for files.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// How a file is made: where nothing is, and behind no link.
pub(super) const NEW: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that is not yet what it shall be.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) path: PathBuf,
    name: OsString,
    parent: OwnedFd,
    pub(super) top: Arc<OwnedFd>,
    /// Its name until then.
    temporary: OsString,
    is_published: bool,
    claimed: Claimed,
}

impl Staging {
    /// Makes the folder; nothing may be at `path`.
    ///
    /// # Errors
    /// [`metaferry_pipeline::ErrorKind::Refused`] where something is, in Kylin's words.
    pub(super) fn create(path: &Path) -> Result<Self> {
        look(path)?;
        let shown = path.display();
        // What looked harmless there is gone once the name is claimed.
        let left = Some(manifest_path(path)).filter(|left| left.symlink_metadata().is_ok());
        let claimed = Claimed::take(path)?;
        let (folder, temporary) = (claimed.folder().to_owned(), claimed.temporary().to_owned());
        // Only who was about to give the folder its name has written a manifest.
        for dead in claimed::clear_dead(&folder) {
            if dead.symlink_metadata().is_err() {
                drop(std::fs::remove_file(manifest_path(&dead)));
            }
        }
        left.map_or(Ok(()), std::fs::remove_file).map_err(|cause| {
            Error::engine(format!("{shown}: remove the manifest left by a backup that was killed"), cause)
        })?;
        look(path)?;
        let name = path.file_name().unwrap_or_default().to_owned();
        let temporary = temporary.file_name().unwrap_or_default().to_owned();
        let failed = |cause| Error::engine(format!("{shown}: no folder can be made beside it"), cause);
        let parent = open_top(&folder).map_err(failed)?;
        mkdirat(&parent, &temporary, FOLDER_MODE).map_err(failed)?;
        let opened = open_folder(&parent, temporary.as_encoded_bytes());
        let top = opened.inspect_err(|_| remove(&parent, &temporary, AtFlags::REMOVEDIR)).map_err(failed)?;
        let top = Arc::new(top);
        Ok(Self { path: path.to_owned(), name, parent, top, temporary, is_published: false, claimed })
    }

    /// Makes a file at the top.
    pub(super) fn file(&self, name: &[u8]) -> Result<File> {
        let made = openat(&*self.top, name, NEW, FILE_MODE);
        made.map(File::from).map_err(|cause| self.failed("make a file in it", cause))
    }

    /// A file without a name, for what is put aside.
    pub(super) fn scratch(&self) -> Result<File> {
        let file = self.file(b".aside")?;
        unlinkat(&*self.top, ".aside", AtFlags::empty()).map_err(|cause| self.failed("remove a file in it", cause))?;
        Ok(file)
    }

    fn failed(&self, what: &str, cause: Errno) -> Error {
        Error::engine(format!("{}: {what}", self.path.display()), cause).hint("look at the disk")
    }

    /// Makes everything in it durable, writes the manifest beside it, and gives it its name.
    pub(super) fn publish(mut self, manifest: &[u8]) -> Result<()> {
        // One call for all files: each by itself would take longer than everything else.
        syncfs(&*self.top).map_err(|cause| self.failed("make it durable", cause))?;
        let beside = manifest_path(&self.path);
        let beside = beside.file_name().unwrap_or_default();
        self.write_manifest(beside, manifest)?;
        if let Err(cause) = self.rename(&self.temporary, &self.name) {
            remove(&self.parent, beside, AtFlags::empty());
            return Err(match cause {
                Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR => exists(&self.path),
                cause => self.failed("give it its name", cause),
            });
        }
        self.is_published = true;
        self.claimed
            .sync_folder()
            .map_err(|cause| Error::engine(format!("{}: sync its folder", self.path.display()), cause))
    }

    /// Gives something beside it another name, which nothing has.
    fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        let parent = &self.parent;
        match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
            // Not every file system knows that.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if statat(parent, to, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    return Err(Errno::EXIST);
                }
                renameat(parent, from, parent, to)
            }
            renamed => renamed,
        }
    }

    fn write_manifest(&self, beside: &OsStr, text: &[u8]) -> Result<()> {
        let mut growing = self.temporary.clone();
        growing.push(".manifest");
        let failed = |cause| Error::io(format!("{}: write its manifest", self.path.display()), cause);
        let write = || {
            let mut file = File::from(openat(&self.parent, &growing, NEW, FILE_MODE)?);
            file.write_all(text)?;
            fsync(file.as_fd())?;
            Ok(self.rename(&growing, beside)?)
        };
        write().inspect_err(|_: &std::io::Error| remove(&self.parent, &growing, AtFlags::empty())).map_err(failed)
    }
}

/// Removes what was made, where it is another error that is told.
fn remove(parent: &OwnedFd, name: &OsStr, flags: AtFlags) {
    unlinkat(parent, name, flags).unwrap_or_default();
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            drop(std::fs::remove_dir_all(self.claimed.temporary()));
        }
    }
}

/// What stands in the way of a backup at `path`.
///
/// # Errors
/// Something that is there; a manifest that is no backup's; the folder from which a Kylin boots.
pub(super) fn look(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let parent = crate::place::folder_of(path)?;
    let of_kylin = parent.canonicalize().is_ok_and(|parent| parent.file_name().is_some_and(|name| name == "_backup"));
    if of_kylin {
        let what = format!("{}: the folder _backup is Kylin's own", path.display());
        let hint = "its nodes start from what is newest there, and remove what is oldest; name another folder";
        return Err(Error::refused(what).hint(hint));
    }
    let beside = manifest_path(path);
    match beside.symlink_metadata() {
        Err(cause) if cause.kind() == IoKind::NotFound => Ok(()),
        // A process that died in between has left both.
        Ok(_) if is_left(path, &parent) => Ok(()),
        _ => {
            let what = format!("{}: there is a {} beside it, of another backup", path.display(), beside.display());
            Err(Error::refused(what).hint("move it away, or choose another name"))
        }
    }
}

/// Whether a process that died has left what it had begun of a backup.
fn is_left(path: &Path, parent: &Path) -> bool {
    let mut begun = OsString::from(".");
    begun.push(path.file_name().unwrap_or_default());
    begun.push(".metaferry-");
    let mut entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().as_encoded_bytes().starts_with(begun.as_encoded_bytes()))
}

/// In Kylin's words.
fn exists(path: &Path) -> Error {
    Error::refused(format!("KE-050041202: The path already exists: {}.", path.display()))
        .hint("choose another name, or move it away")
}
