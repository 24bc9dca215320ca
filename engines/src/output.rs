//! Output: where the parts of a file go, strictly one after another. A file grows under another name beside its own and
//! takes its own name last; a pipe gets the bytes as they are. It knows no format.

use std::fs::File;
use std::io::{ErrorKind as IoKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use metaferry_pipeline::{Error, Result};
use tempfile::{Builder, NamedTempFile};

use crate::claimed::Claimed;

/// Where a file is to be written; nothing was touched yet.
pub(crate) enum Destination {
    File(PathBuf),
    Pipe(String, Box<dyn Write + Send>),
}

impl Destination {
    /// A file that shall be at `path`; where a pipe or a device is there, it is written straight.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let is_pipe = path.metadata().is_ok_and(|found| {
            let sort = found.file_type();
            sort.is_fifo() || sort.is_char_device() || sort.is_socket()
        });
        if !is_pipe {
            return Ok(Self::File(path.to_owned()));
        }
        let name = path.display().to_string();
        let out = std::fs::OpenOptions::new().write(true).open(path);
        let out = out.map_err(|cause| Error::engine(format!("{name}: open for writing"), cause))?;
        Ok(Self::Pipe(name, Box::new(out)))
    }

    /// Begins to write.
    pub(crate) fn open(self) -> Result<Output> {
        match self {
            Self::File(path) => Output::file(&path),
            Self::Pipe(name, out) => Ok(Output::pipe(name, out)),
        }
    }
}

/// Something that parts are appended to.
pub(crate) struct Output {
    name: String,
    target: Target,
    written: u64,
    is_broken: bool,
}

enum Target {
    // In this order they are dropped: the lock goes last.
    File { path: PathBuf, temporary: NamedTempFile, claimed: Claimed },
    Pipe(Box<dyn Write + Send>),
}

impl Output {
    /// A file that shall be at `path`, where nothing may be.
    fn file(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        if path.symlink_metadata().is_ok() {
            return Err(exists(&name));
        }
        let claimed = Claimed::take(path)?;
        let beside = claimed.temporary();
        let (folder, own) = (beside.parent().unwrap_or(beside), beside.file_name().unwrap_or_default());
        let temporary = Builder::new().prefix(own).rand_bytes(0).tempfile_in(folder);
        let temporary =
            temporary.map_err(|cause| Error::engine(format!("{name}: no file can be made beside it"), cause))?;
        let target = Target::File { path: path.to_owned(), temporary, claimed };
        Ok(Self { name, target, written: 0, is_broken: false })
    }

    /// A pipe.
    fn pipe(name: String, out: Box<dyn Write + Send>) -> Self {
        Self { name, target: Target::Pipe(out), written: 0, is_broken: false }
    }

    /// Appends a part and says where it begins.
    pub(crate) fn append(&mut self, part: &[u8]) -> Result<u64> {
        if self.is_broken {
            return Err(Error::engine(self.name.clone(), "an earlier write went wrong"));
        }
        let written = match &mut self.target {
            Target::File { temporary, .. } => temporary.as_file_mut().write_all(part),
            Target::Pipe(out) => out.write_all(part),
        };
        if let Err(cause) = written {
            self.is_broken = true;
            let hint = match cause.kind() {
                IoKind::BrokenPipe => "the reader of the pipe went away",
                IoKind::StorageFull | IoKind::QuotaExceeded => "make room, or choose another place",
                _ => "look at the disk or the pipe",
            };
            return Err(Error::engine(format!("{}: write at byte {}", self.name, self.written), cause).hint(hint));
        }
        let offset = self.written;
        self.written += part.len() as u64;
        Ok(offset)
    }

    /// The file as it stands, for reading; `None` where it is a pipe.
    pub(crate) fn reopen(&self) -> Result<Option<File>> {
        match &self.target {
            Target::File { temporary, .. } => {
                let file =
                    temporary.reopen().map_err(|cause| Error::engine(format!("{}: open again", self.name), cause))?;
                Ok(Some(file))
            }
            Target::Pipe(_) => Ok(None),
        }
    }

    /// The name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes everything durable and gives the file its name.
    pub(crate) fn publish(self) -> Result<()> {
        let Self { name, target, .. } = self;
        let failed = |what: &str| format!("{name}: {what}");
        match target {
            Target::File { path, temporary, claimed } => {
                temporary.as_file().sync_all().map_err(|cause| Error::engine(failed("sync"), cause))?;
                temporary.persist_noclobber(&path).map_err(|error| match error.error.kind() {
                    IoKind::AlreadyExists => exists(&name),
                    _ => Error::engine(failed("give the finished file its name"), error.error),
                })?;
                claimed.sync_folder().map_err(|cause| Error::engine(failed("sync its folder"), cause))
            }
            Target::Pipe(mut out) => out.flush().map_err(|cause| Error::engine(failed("flush"), cause)),
        }
    }
}

fn exists(name: &str) -> Error {
    Error::refused(format!("{name} exists")).hint("choose another name, or move it away")
}
