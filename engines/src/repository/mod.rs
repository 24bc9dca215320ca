//! The repository: backups that share what is equal in them, in a folder or an object store, as `docs/repository-format.md`
//! defines it. One system is like another here.

mod address;
mod blobs;
mod hurt;
mod keys;
mod known;
mod lease;
mod loader;
mod opened;
mod packing;
mod prune;
pub mod retention;
mod sink;
mod source;

pub use address::{RepositoryAddress, Which};
pub use hurt::{hurt, mark_damaged};
pub use keys::RepositoryKeys;
pub use lease::{Lease, Taking};
pub use opened::{Listed, Repository};
pub use prune::{PruneOptions, Pruned, decide, prune};
pub use sink::{Made, RepositoryOptions, RepositorySink};
pub use source::{Damaged, RepositorySource};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What these locks guard is whole between any two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
