//! Monitor: what a running command counts, for a terminal, a log or a test to look at. It draws nothing.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that workers add to and anyone may read at any time.
#[derive(Debug, Default)]
pub struct Monitor {
    phase: Mutex<&'static str>,
    expected: AtomicU64,
    scanned: AtomicU64,
    loaded: AtomicU64,
    loaded_bytes: AtomicU64,
}

/// What a [`Monitor`] showed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Glance {
    /// What is being done.
    pub phase: &'static str,
    /// About how many rows there are; 0 where nobody knows.
    pub expected: u64,
    /// Rows read so far.
    pub scanned: u64,
    /// Rows written so far.
    pub loaded: u64,
    /// What they weigh in memory, in bytes.
    pub loaded_bytes: u64,
}

impl Monitor {
    /// Begins another phase; rows start from nothing.
    pub fn begin(&self, phase: &'static str, expected: u64) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.expected.store(expected, Ordering::Relaxed);
        for counter in [&self.scanned, &self.loaded, &self.loaded_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Counts rows that were read.
    pub fn scanned(&self, rows: usize) {
        self.scanned.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts rows that were written.
    pub fn loaded(&self, rows: usize, bytes: usize) {
        self.loaded.fetch_add(rows as u64, Ordering::Relaxed);
        self.loaded_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What it shows now.
    #[must_use]
    pub fn glance(&self) -> Glance {
        Glance {
            phase: *self.phase.lock().unwrap_or_else(PoisonError::into_inner),
            expected: self.expected.load(Ordering::Relaxed),
            scanned: self.scanned.load(Ordering::Relaxed),
            loaded: self.loaded.load(Ordering::Relaxed),
            loaded_bytes: self.loaded_bytes.load(Ordering::Relaxed),
        }
    }
}
