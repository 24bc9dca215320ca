//! How a file can be opened for reading so that nothing of it or beside it is changed, and what is taken away again. The
//! files beside a database are its log (`-wal`), the log's index (`-shm`) and its rollback journal (`-journal`). It reads no row.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use metaferry_pipeline::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure;

/// The file beside a database whose name ends so.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn is_empty(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0)
}

/// How a database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// As other readers do. What that creates beside the file is swept away at the end.
    Plain,
    /// With the index of the log read, never written: clients have it open, or it was left behind.
    Shared,
    /// As a file that nobody changes, where it cannot be opened otherwise; that it did not change is looked at in the end.
    Immutable(Stamp),
}

/// What shows that a file changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    log: bool,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let log = beside(path, "-wal").exists() || beside(path, "-journal").exists();
        Some(Self { bytes: metadata.len(), modified: metadata.modified().ok(), log })
    }
}

/// The way a file is read, and what will be swept away behind it.
#[derive(Debug)]
pub(super) struct Traces {
    path: PathBuf,
    pub(super) access: Access,
    had_log: bool,
    had_index: bool,
}

impl Traces {
    /// Looks at what lies beside a file, and decides how to read it.
    pub(super) fn look(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::Engine, format!("{}: there is no such file", path.display()))
            }
            _ => Error::engine(format!("{}: it cannot be looked at", path.display()), error),
        })?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Engine, format!("{}: it is no file", path.display())));
        }
        let (had_log, had_index) = (beside(path, "-wal").exists(), beside(path, "-shm").exists());
        let mut traces = Self { path: path.to_owned(), access: Access::Plain, had_log, had_index };
        if had_log && had_index {
            traces.access = Access::Shared;
        } else if !traces.is_writable()? {
            traces.seal()?;
        }
        Ok(traces)
    }

    /// Whether the file could be written. Asked of SQLite, since closing a file of one's own would drop the locks that this
    /// process has on it.
    fn is_writable(&self) -> Result<bool> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let probe = Connection::open_with_flags(&self.path, flags).map_err(|error| failure(&self.path, error))?;
        probe.is_readonly("main").map(|readonly| !readonly).map_err(|error| failure(&self.path, error))
    }

    /// Falls back to reading the file as one that nobody changes; only where there is no log that would be overlooked.
    pub(super) fn seal(&mut self) -> Result<()> {
        let path = self.path.display();
        let stamp =
            Stamp::of(&self.path).ok_or_else(|| Error::engine(format!("{path}: it went away"), "no such file"))?;
        if stamp.log {
            let what = format!("{path}: it has a log beside it, which cannot be read without the right to write there");
            return Err(Error::new(ErrorKind::Engine, what)
                .hint("copy the file and its -wal to a folder of your own, and read that"));
        }
        self.access = Access::Immutable(stamp);
        Ok(())
    }

    /// One connection that reads, and never writes or checkpoints, not even when it is closed.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        let mut uri = String::from("file:");
        for &byte in self.path.as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
                _ => uri += &format!("%{byte:02x}"),
            }
        }
        uri.push_str(match self.access {
            Access::Plain => "",
            Access::Shared => "?readonly_shm=1",
            Access::Immutable(_) => "?immutable=1",
        });
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(uri, flags)?;
        connection.busy_handler(Some(wait))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch("PRAGMA query_only = 1; PRAGMA cache_size = -4096; PRAGMA mmap_size = 0")?;
        Ok(connection)
    }

    /// Whether there is a log, and nothing in it.
    pub(super) fn has_empty_log(&self) -> bool {
        is_empty(&beside(&self.path, "-wal"))
    }

    /// Fails where a file that was taken as unchanging has changed.
    pub(super) fn verify(&self) -> Result<()> {
        match &self.access {
            Access::Immutable(stamp) if Stamp::of(&self.path).as_ref() != Some(stamp) => {
                let what = format!("{}: it was changed while it was read", self.path.display());
                Err(Error::corrupt(what).hint("stop every client and read it again"))
            }
            _ => Ok(()),
        }
    }

    /// Takes away what reading has created beside the file, if nobody else uses it: the exclusive lock on the database,
    /// which everyone shares who has it open, keeps others out meanwhile.
    fn sweep(&self) -> rusqlite::Result<()> {
        let (log, index) = (beside(&self.path, "-wal"), beside(&self.path, "-shm"));
        let created = [(&log, self.had_log), (&index, self.had_index)];
        if self.access != Access::Plain || !created.iter().any(|(file, had)| !had && file.exists()) {
            return Ok(());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let lock = Connection::open_with_flags(&self.path, flags)?;
        lock.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN; SELECT 1 FROM sqlite_master")?;
        if !self.had_index && (self.had_log || is_empty(&log)) {
            drop(fs::remove_file(&index));
        }
        if !self.had_log && is_empty(&log) {
            drop(fs::remove_file(&log));
        }
        Ok(())
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // Whoever holds the lock sweeps, or what is left is harmless: the next client takes it away.
        drop(self.sweep());
    }
}

/// Waits for a lock in short steps, for half a minute: a client without a log that commits all the time leaves gaps that
/// SQLite's own, longer steps hardly ever hit.
fn wait(tries: i32) -> bool {
    std::thread::sleep(std::time::Duration::from_micros(500));
    tries < 60_000
}
