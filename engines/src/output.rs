//! Output: where the parts of a file go, strictly one after another. A file grows under another name beside its own and
//! takes its own name last; a pipe gets the bytes as they come. It knows no format.

use std::fs::File;
use std::io::{self, ErrorKind as IoKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use metaferry_pipeline::preflight::Remark;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use tempfile::{Builder, NamedTempFile};

use crate::claimed::Claimed;
use crate::place;
use crate::wrapping::{Compression, Compressor};

/// Where a file is to be written, and whether it is compressed on the way; nothing was touched yet.
pub struct Destination {
    place: Place,
    compression: Option<Compression>,
    threads: usize,
}

enum Place {
    File(PathBuf),
    Pipe(String, Box<dyn Write + Send>),
}

impl Destination {
    /// A file that shall be at `path`; where a pipe or a device is there, it is written straight.
    ///
    /// # Errors
    /// A pipe that cannot be opened.
    pub fn at(path: &Path) -> Result<Self> {
        let is_pipe = path.metadata().is_ok_and(|found| {
            let sort = found.file_type();
            sort.is_fifo() || sort.is_char_device() || sort.is_socket()
        });
        if !is_pipe {
            return Ok(Self::new(Place::File(path.to_owned())));
        }
        let name = path.display().to_string();
        let out = std::fs::OpenOptions::new().write(true).open(path);
        let out = out.map_err(|cause| Error::engine(format!("{name}: open for writing"), cause))?;
        Ok(Self::pipe(name, Box::new(out)))
    }

    /// A pipe, such as the standard output.
    #[must_use]
    pub fn pipe(name: impl Into<String>, out: Box<dyn Write + Send>) -> Self {
        Self::new(Place::Pipe(name.into(), out))
    }

    fn new(place: Place) -> Self {
        Self { place, compression: None, threads: 1 }
    }

    /// Compresses what is written with `threads` workers, where a compression is named.
    #[must_use]
    pub fn compressed(self, compression: Option<Compression>, threads: usize) -> Self {
        Self { compression, threads, ..self }
    }

    /// What stands in the way of writing there.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn look(&self) -> Result<Vec<Remark>> {
        let Place::File(path) = &self.place else { return Ok(Vec::new()) };
        let mut remarks = place::look(path, None)?;
        let is_there = path.symlink_metadata().is_ok();
        let taken = || Remark::of("target", &exists(&path.display().to_string()));
        remarks.push(if is_there { taken() } else { Remark::ok("target", "no file is there") });
        Ok(remarks)
    }

    /// Begins to write.
    pub(crate) fn open(self, stop: &Stop) -> Result<Output> {
        let (name, target) = match self.place {
            Place::File(path) => (path.display().to_string(), Target::file(path)?),
            Place::Pipe(name, out) => (name, Target::Pipe(out)),
        };
        let out = Compressor::new(target, self.compression, self.threads, stop)?;
        Ok(Output { name, out, written: 0, is_broken: false })
    }
}

/// Something that parts are appended to.
pub(crate) struct Output {
    name: String,
    out: Compressor<Target>,
    written: u64,
    is_broken: bool,
}

enum Target {
    // In this order they are dropped: the lock goes last.
    File { path: PathBuf, temporary: NamedTempFile, claimed: Claimed },
    Pipe(Box<dyn Write + Send>),
}

impl Target {
    /// A file that shall be at `path`, where nothing may be.
    fn file(path: PathBuf) -> Result<Self> {
        let name = path.display();
        if path.symlink_metadata().is_ok() {
            return Err(exists(&name.to_string()));
        }
        let claimed = Claimed::take(&path)?;
        let beside = claimed.temporary();
        let (folder, own) = (beside.parent().unwrap_or(beside), beside.file_name().unwrap_or_default());
        let temporary = Builder::new().prefix(own).rand_bytes(0).tempfile_in(folder);
        let temporary =
            temporary.map_err(|cause| Error::engine(format!("{name}: no file can be made beside it"), cause))?;
        Ok(Self::File { path, temporary, claimed })
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { temporary, .. } => temporary.as_file_mut().write(bytes),
            Self::Pipe(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { temporary, .. } => temporary.as_file_mut().flush(),
            Self::Pipe(out) => out.flush(),
        }
    }
}

impl Output {
    /// Appends a part and says where it begins, before compression.
    pub(crate) fn append(&mut self, part: &[u8]) -> Result<u64> {
        if self.is_broken {
            // Whoever wrote then has the error.
            return Err(Error::new(ErrorKind::Stopped, format!("{}: an earlier write went wrong", self.name)));
        }
        if let Err(cause) = self.out.write_all(part) {
            self.is_broken = true;
            return Err(self.failed(format!("write at byte {}", self.written), cause));
        }
        let offset = self.written;
        self.written += part.len() as u64;
        Ok(offset)
    }

    fn failed(&self, what: String, cause: io::Error) -> Error {
        let below = cause.get_ref().and_then(|ours| ours.source()?.downcast_ref::<io::Error>());
        let hint = match below.unwrap_or(&cause).kind() {
            IoKind::BrokenPipe => "the reader of the pipe went away",
            IoKind::StorageFull | IoKind::QuotaExceeded => "make room, or choose another place",
            _ => "look at the disk or the pipe",
        };
        Error::io(format!("{}: {what}", self.name), cause).hint(hint)
    }

    /// The file as it stands, for reading; `None` where it is a pipe or compressed.
    pub(crate) fn reopen(&self) -> Result<Option<File>> {
        match self.out.plain() {
            Some(Target::File { temporary, .. }) => {
                let file =
                    temporary.reopen().map_err(|cause| Error::engine(format!("{}: open again", self.name), cause))?;
                Ok(Some(file))
            }
            _ => Ok(None),
        }
    }

    /// The name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes everything durable and gives the file its name.
    pub(crate) fn publish(self) -> Result<()> {
        let Self { name, out, .. } = self;
        let failed = |what: &str| format!("{name}: {what}");
        match out.finish().map_err(|error| error.at(&name))? {
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
