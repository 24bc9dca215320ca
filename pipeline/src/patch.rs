//! Patch: a store that is not empty takes another state. Rows are inserted, replaced and deleted, all at once or none, and each
//! only if it is still as it was seen.

use metaferry_codecs::system::System;

use crate::{Result, Sieve, Snapshot, Stop};

/// What becomes of some rows, all of one kind and ascending by key.
#[derive(Debug)]
pub enum Changes<S: System> {
    /// Rows that are not there.
    Insert(S::Batch),
    /// Rows that are there, each as it was seen and as it shall be.
    Replace {
        /// As [`Patch::current`] had them.
        before: S::Batch,
        /// As many, with the same keys.
        after: S::Batch,
    },
    /// Rows that are there and shall not be.
    Delete(S::Batch),
}

/// A row that somebody else has written since it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which row, and what has become of it.
    pub text: String,
}

/// Something that is not empty and can be changed.
pub trait Patch<S: System>: Send {
    /// What every batch of the wanted state goes through: rows that this store does not take from elsewhere.
    fn sieve(&self) -> Option<Sieve<S>> {
        None
    }

    /// The rows in reach of the patch as they stand, ascending by key; where they need not be `whole`, with no more than tells
    /// whether a row is still as it was. Called once, before the first change.
    ///
    /// # Errors
    /// Those of the store.
    fn current(&mut self, whole: bool, stop: &Stop) -> Result<Box<dyn Snapshot<S>>>;

    /// Takes changes; nothing of them is to be seen yet.
    ///
    /// # Errors
    /// Those of the store, and what it cannot hold.
    fn take(&mut self, changes: Changes<S>) -> Result<()>;

    /// Makes all changes at once, durably; or none, where rows are no longer as they were seen: those it returns. What is
    /// dropped without it leaves the store as it was.
    ///
    /// # Errors
    /// Those of the store.
    fn apply(self: Box<Self>) -> Result<Vec<Conflict>>;
}
