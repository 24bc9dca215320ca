//! Source and Snapshot: what can be read at one point in time, by many workers. Implemented by the engines.

use std::collections::BTreeSet;
use std::fmt;

use metaferry_codecs::system::{Batch, Finding, Kind, System};

use crate::preflight::{Outlook, Room};
use crate::{Result, Stop};

/// Whether a snapshot is one point in time for the whole volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// It is, whatever writers do.
    Exact,
    /// It is only if nobody writes meanwhile.
    Fuzzy,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Fuzzy => "fuzzy",
        })
    }
}

/// A set of kinds, of any system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindSet(u64);

impl KindSet {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self(u64::MAX);

    /// Those kinds.
    pub fn of<K: Kind>(kinds: impl IntoIterator<Item = K>) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1_u64 << kind.info().number))
    }

    /// Whether a kind is in it.
    #[must_use]
    pub fn contains(self, kind: impl Kind) -> bool {
        self.0 >> kind.info().number & 1 == 1
    }

    /// The kinds that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The kinds that are in either.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether no kind is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Where it comes from, an address or a path, without secrets.
    pub origin: String,
    /// What is promised.
    pub guarantee: Guarantee,
    /// The kinds whose rows come ascending by key where partitions are taken in the order of the plan.
    pub ordered: KindSet,
    /// What the user should know: how the snapshot was had, and what it does to the server.
    pub notes: Vec<String>,
    /// Sessions of clients that have not expired, as far as the source can tell.
    pub live_sessions: u64,
    /// Whether its partitions can be scanned again. What cannot may disregard the scope of a plan.
    pub is_repeatable: bool,
    /// Whether rows were left out on purpose, so that stored sums do not fit, or are not there.
    pub is_partial: bool,
}

/// Which part of a volume is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope<S: System> {
    /// The kinds wanted; all where `None`.
    pub kinds: Option<BTreeSet<S::Kind>>,
    /// The buckets of inodes wanted; all where `None`. A snapshot may yield more; the caller filters.
    pub buckets: Option<BTreeSet<u16>>,
}

impl<S: System> Default for Scope<S> {
    fn default() -> Self {
        Self { kinds: None, buckets: None }
    }
}

impl<S: System> Scope<S> {
    /// Whether rows of this kind are asked for.
    #[must_use]
    pub fn wants(&self, kind: S::Kind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// Leaves the rows of a batch that are in the buckets asked for.
    pub(crate) fn narrow(&self, batch: &mut S::Batch) {
        if let Some(buckets) = &self.buckets {
            batch.retain_buckets(&mut |bucket| buckets.contains(&bucket));
        }
    }
}

/// A part of a snapshot that one worker scans at a time. It can be written down: the same plan gives the same partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition<S: System> {
    /// Its kind; `None` where a stream mixes them.
    pub kind: Option<S::Kind>,
    /// Where it begins, in the engine's own terms: a key, an offset, a share of a stream.
    pub from: u64,
    /// Where it ends, exclusive.
    pub to: u64,
    /// About how much work it is, in rows.
    pub weight: u64,
}

/// Takes the batches of a scan, in their order. An error stops the scan and is returned by it.
pub trait Emit<S: System> {
    /// Takes one batch; blocks while the queue is full.
    ///
    /// # Errors
    /// Whatever stops the copy.
    fn emit(&mut self, batch: S::Batch) -> Result<()>;

    /// Takes a damaged row: where it is and what is wrong. Fails unless damage is to be skipped.
    ///
    /// # Errors
    /// The damage, where it is not to be skipped.
    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()>;

    /// Counts something that is seen and not carried, such as a lock.
    fn left_behind(&mut self, what: &'static str, count: u64);

    /// Takes something that is wrong with the whole, and with no row. Whoever only looks at rows lets it pass.
    fn found(&mut self, _finding: Finding) {}
}

/// Something that can be read.
pub trait Source<S: System>: Send {
    /// Opens one point in time, once. `readers` workers will scan it. `stop` is asked for in long waits.
    ///
    /// # Errors
    /// What is no volume of the system is [`crate::ErrorKind::Corrupt`] or [`crate::ErrorKind::Config`].
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<S>>>;

    /// The row that makes it usable, read by itself; none where there is none.
    ///
    /// # Errors
    /// As [`Source::snapshot`], and those of a scan.
    fn seal(self: Box<Self>, stop: &Stop) -> Result<Option<S::Batch>> {
        crate::scan::seal(self.snapshot(1, stop)?.as_ref())
    }

    /// What can be said of it before it is opened; of the largest values, those that `rooms` are about.
    ///
    /// # Errors
    /// Those of the store, and what is no volume.
    fn outlook(&self, _rooms: &[Room<S::Kind>], _stop: &Stop) -> Result<Outlook<S::Kind>> {
        Ok(Outlook::default())
    }
}

/// One point in time of a [`Source`].
pub trait Snapshot<S: System>: Send + Sync {
    /// What it says of itself, known before the first row.
    fn about(&self) -> About;

    /// The partitions that together hold every row in scope exactly once, in key order within a kind.
    ///
    /// # Errors
    /// Those of the store.
    fn plan(&self, scope: &Scope<S>) -> Result<Vec<Partition<S>>>;

    /// Reads one partition, batch by batch. Called from as many workers as there are readers, each partition once.
    ///
    /// # Errors
    /// Those of the store, and those of `out`.
    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()>;

    /// What could be known only when everything was read, such as the tally a manifest promises. Called once, after the
    /// last scan of a full plan; fails where the end shows that what was read cannot be trusted.
    ///
    /// # Errors
    /// A manifest that promises something else, a checksum over the whole.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}
