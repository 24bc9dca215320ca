//! Sink and Loader: what can be written, by many workers, and made usable once. Implemented by the engines.

use metaferry_codecs::system::System;
use metaferry_codecs::tally::Tally;

use crate::preflight::{Outlook, Remark, Room};
use crate::{About, Findings, KindSet, Result, Snapshot, Stop};

/// What a sink needs of the copy that feeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// How many loaders it takes at most.
    pub loaders: usize,
    /// The kinds whose rows it needs ascending by key. Several loaders share them, each a stretch of the keys at a time, about
    /// in order: what is faster so may ask for that.
    pub ordered: KindSet,
    /// Whether the batches of a partition must all come to one loader, in their order.
    pub affine: bool,
    /// The kinds it has no rows of and works out from the others: what it says of them need not be what it was given.
    pub works_out: KindSet,
    /// Whether it mends: wants what a census works out, and amends rows. Files do not; they carry rows as they are.
    pub mends: bool,
    /// Whether it wants derived rows at their default too, such as reference counts of one.
    pub defaults: bool,
    /// Whether it leaves the machine's databases, so that secrets are taken out unless they are asked for.
    pub strips_secrets: bool,
}

/// Takes out of a canonical batch the rows that a target has no room for, and books every one of them: as left behind
/// where that is how the format is, as found where it is a loss.
pub type Sieve<S> = fn(&mut <S as System>::Batch, &mut Findings);

/// What a commit makes true.
#[derive(Debug)]
pub struct Commit<S: System> {
    /// The row that makes the target usable.
    pub seal: S::Batch,
    /// The tally of everything that was loaded, the seal included.
    pub tally: Tally<S::Kind>,
    /// What the source said of itself.
    pub about: About,
}

/// Something that can be written once, from empty.
pub trait Sink<S: System>: Send {
    /// What it needs; asked before anything else.
    fn needs(&self) -> Needs;

    /// What every batch goes through before it is tallied and loaded; `None` where the target holds whatever there is.
    fn sieve(&self) -> Option<Sieve<S>> {
        None
    }

    /// What it has room for, where that is less than a row may need.
    fn rooms(&self) -> Vec<Room<S::Kind>> {
        Vec::new()
    }

    /// What stands in the way of a load of what `outlook` describes, and what it costs. Nothing is changed.
    ///
    /// # Errors
    /// A store that cannot be looked at.
    fn preflight(&self, _outlook: &Outlook<S::Kind>, _stop: &Stop) -> Result<Vec<Remark>> {
        Ok(Vec::new())
    }

    /// Makes the target ready: looks that it is empty, locks and marks it. Called once, before the first loader.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] where anything is in it; it is untouched then.
    fn prepare(&mut self, about: &About, stop: &Stop) -> Result<()>;

    /// One loader, for one worker.
    ///
    /// # Errors
    /// Those of the store.
    fn loader(&mut self) -> Result<Box<dyn Loader<S>>>;

    /// The target as it stands, to be proven before the commit. Called after every loader has finished.
    ///
    /// # Errors
    /// Those of the store; [`crate::ErrorKind::Unsupported`] where it cannot be read back.
    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<S>>>;

    /// Makes the target usable and durable: writes the seal. What is dropped without a commit leaves nothing that could
    /// be taken for a volume. Returns what it could not carry, where that is known only now.
    ///
    /// # Errors
    /// Those of the store.
    fn commit(self: Box<Self>, commit: Commit<S>) -> Result<Findings>;
}

/// A worker's hand on a [`Sink`].
pub trait Loader<S: System>: Send {
    /// Writes the rows of a canonical batch. Rows come once.
    ///
    /// # Errors
    /// Those of the store, and what the store cannot hold.
    fn load(&mut self, batch: S::Batch) -> Result<()>;

    /// Replaces rows by key. Called after the last `load` of every worker, on one loader.
    ///
    /// # Errors
    /// Those of the store.
    fn amend(&mut self, batch: S::Batch) -> Result<()>;

    /// No batch has come for some seconds: what would lapse, such as a lock, is renewed.
    ///
    /// # Errors
    /// Those of the store; a lock that someone else has taken.
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// The batches of one partition have all come, and those of another will follow. Called only where the sink is affine.
    ///
    /// # Errors
    /// Those of the store.
    fn end_partition(&mut self) -> Result<()> {
        Ok(())
    }

    /// Writes out whatever is held back. Called once, last.
    ///
    /// # Errors
    /// Those of the store.
    fn finish(self: Box<Self>) -> Result<()>;
}
