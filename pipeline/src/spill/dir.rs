//! The directory that runs are spilled to, and the count of what was. It knows nothing of what is in a run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::file::SpillFile;
use crate::{Error, Result};

/// Where runs go, shared by every sorter and aggregator of one command. Nothing is touched until something spills, and
/// a spilled file has no name from the moment it exists and is encrypted: whichever way the process ends, nothing is left
/// behind that could be found or read.
#[derive(Debug, Clone)]
pub struct SpillDir {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    spilled: AtomicU64,
}

impl SpillDir {
    /// Spills to `path`, a directory that exists by the time something spills.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { shared: Arc::new(Shared { path: path.into(), spilled: AtomicU64::new(0) }) }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The bytes written so far, those that merging wrote again included.
    #[must_use]
    pub fn spilled_bytes(&self) -> u64 {
        self.shared.spilled.load(Ordering::Relaxed)
    }

    pub(super) fn create_file(&self) -> Result<Arc<SpillFile>> {
        SpillFile::create(self.path()).map(Arc::new).map_err(|error| self.error(error))
    }

    pub(super) fn count(&self, bytes: usize) {
        self.shared.spilled.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn error(&self, cause: io::Error) -> Error {
        let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let hint = if full {
            "free space there, or name another directory with --spill-dir"
        } else {
            "name a directory that can be written with --spill-dir"
        };
        Error::engine(format!("spill directory {}", self.path().display()), cause).hint(hint)
    }
}

impl Default for SpillDir {
    /// Spills to the system's directory for temporary files.
    fn default() -> Self {
        Self::new(std::env::temp_dir())
    }
}
