//! A pipe that is read while nobody stops: whoever waits for its writer looks up now and then.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use metaferry_pipeline::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// How often.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Opens a file, or a pipe without waiting for its writer.
///
/// # Errors
/// What cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let at_once = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(at_once).open(path)
}

/// A pipe, or anything else that is read in order.
pub struct Awaited {
    pipe: File,
    stop: Stop,
}

impl Awaited {
    /// Reads `pipe` until `stop` says no.
    #[must_use]
    pub fn new(pipe: File, stop: &Stop) -> Self {
        Self { pipe, stop: stop.clone() }
    }
}

impl Read for Awaited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stop.check().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&LOOK_UP)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.pipe.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                read => return read,
            }
        }
    }
}
