//! The archive: a file or a pipe of segments, as `docs/archive-format.md` defines it. One system is like another here.

mod file;
mod input;
mod loader;
mod pipe;
mod rows;
mod sink;
mod source;

pub use sink::ArchiveSink;
pub use source::{ArchiveSource, Description, describe, read_header};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What these locks guard is whole between any two steps, or says itself that it is not.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
