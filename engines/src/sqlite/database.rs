//! A database opened for reading: several connections in read transactions that see the same point in time, lent to
//! whoever reads a page. It knows no table.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metaferry_pipeline::{Result, Stop};
use rusqlite::{Connection, ErrorCode};

use super::failure;
use super::traces::{Access, Traces};

/// How long several readers are brought to one point in time before one has to do.
const ALIGN_TIME: Duration = Duration::from_secs(2);
/// How long a further reader of a file without a log tries to begin.
const HOLD_TIME: Duration = Duration::from_millis(20);
/// More readers than this gain nothing on one file.
const MAX_READERS: usize = 16;

/// A point in time of a file.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    readers: usize,
    mode: String,
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
    /// Dropped after every connection.
    traces: Traces,
}

impl Database {
    /// Opens a file with as many readers as can be had at one point in time, at least one.
    pub(super) fn open(path: &Path, readers: usize, stop: &Stop) -> Result<Self> {
        let failed = |error| failure(path, error);
        let mut traces = Traces::look(path)?;
        let first = match first(&traces) {
            Err(error) if !is_access(&error) => return Err(failed(error)),
            Err(_) if traces.access == Access::Shared => {
                traces.access = Access::Plain;
                first(&traces).map_err(failed)?
            }
            Err(_) => {
                traces.seal()?;
                first(&traces).map_err(failed)?
            }
            Ok(first) => first,
        };
        let mode: String = first.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
        let mut idle = vec![first];
        for _ in 1..readers.clamp(1, MAX_READERS) {
            idle.push(traces.connect().map_err(failed)?);
        }
        if mode == "wal" {
            let control = traces.connect().map_err(failed)?;
            while !align(&idle, &control, &traces, stop)? {
                idle.truncate(1);
            }
        } else {
            hold(&mut idle).map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            readers: idle.len(),
            mode,
            idle: Mutex::new(idle),
            returned: Condvar::new(),
            traces,
        })
    }

    /// Runs something on the next connection that is free. Never called from within itself.
    pub(super) fn with<T>(&self, run: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = loop {
            match idle.pop() {
                Some(connection) => break connection,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        let done = run(&connection);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        self.returned.notify_one();
        done
    }

    /// What the user should know of how it is read.
    pub(super) fn notes(&self) -> Vec<String> {
        let (path, readers) = (self.path.display(), self.readers);
        let how = match (&self.traces.access, self.mode.as_str()) {
            (Access::Immutable(_), _) => {
                "the file cannot be written from here: it fails in the end if the file has changed"
            }
            (_, "wal") => "clients are not held up",
            _ => "it is in rollback-journal mode: commits of clients wait until it is read",
        };
        let readers =
            if readers == 1 { "one reader".to_owned() } else { format!("{readers} readers see one point in time") };
        vec![format!("{path}: {readers}; {how}")]
    }

    /// Fails where what was read cannot be trusted.
    pub(super) fn verify(&self) -> Result<()> {
        self.traces.verify()
    }
}

/// The first connection, proven to work.
fn first(traces: &Traces) -> rusqlite::Result<Connection> {
    let connection = traces.connect()?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

/// Whether another way of opening the file may do.
fn is_access(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    let extended = error.sqlite_error().map(|error| error.extended_code);
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
        && extended != Some(super::READONLY_ROLLBACK)
}

/// Begins a read transaction on every reader, and again until nothing was committed between the first and the last; says
/// whether that came to be. Nobody is held up by it. While there is a reader, nobody can bring commits from the log into
/// the file: a log that is still empty when the last one has begun has had none, whatever SQLite's number says, which
/// changes all the time where the log was left empty and its index is not to be written.
fn align(readers: &[Connection], control: &Connection, traces: &Traces, stop: &Stop) -> Result<bool> {
    let failed = |error| failure(Path::new(control.path().unwrap_or_default()), error);
    let start = Instant::now();
    while start.elapsed() < ALIGN_TIME {
        stop.check()?;
        let before = version(control).map_err(failed)?;
        readers.iter().try_for_each(begin).map_err(failed)?;
        if readers.len() == 1 || traces.has_empty_log() || version(control).map_err(failed)? == before {
            return Ok(true);
        }
        readers
            .iter()
            .try_for_each(|reader| reader.prepare_cached("ROLLBACK")?.execute([]).map(drop))
            .map_err(failed)?;
    }
    Ok(false)
}

/// Without a log, a reader keeps every commit from ending, so all that begin while the first one reads see what it sees.
/// A client that waits to commit lets no further reader begin, and waits for those that have: whoever cannot begin at
/// once is left out.
fn hold(readers: &mut Vec<Connection>) -> rusqlite::Result<()> {
    let mut holding = Vec::new();
    for reader in readers.drain(..) {
        if !holding.is_empty() {
            reader.busy_timeout(HOLD_TIME)?;
        }
        match begin(&reader) {
            Err(error) if !holding.is_empty() && error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => break,
            begun => begun?,
        }
        holding.push(reader);
    }
    *readers = holding;
    Ok(())
}

/// A number that differs between two calls if anything was committed in between.
fn version(control: &Connection) -> rusqlite::Result<i64> {
    control.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn begin(reader: &Connection) -> rusqlite::Result<()> {
    reader.prepare_cached("BEGIN")?.execute([])?;
    // The transaction takes its point in time with the first page that is read.
    reader.prepare_cached("SELECT count(*) FROM sqlite_master WHERE rowid = 1")?.query_row([], |_| Ok(()))
}
