//! Patch: a store that is not empty takes another state. Rows are inserted, replaced and deleted, all at once or none, and each
//! only if it is still as it was seen.

mod merge;
mod ordered;

#[cfg(test)]
mod tests;

use metaferry_codecs::system::{Class, Kind, System};

use crate::scan::Load;
use crate::spill::SpillDir;
use crate::stage::{self, Inbox};
use crate::{About, Findings, Monitor, Result, Scope, Sieve, Snapshot, Source, Stop};

use merge::Merge;
use ordered::{InOrder, Rows};

/// What becomes of some rows, all of one kind and ascending by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes<B> {
    /// Rows that are not there.
    Insert(B),
    /// Rows that are there, each as it was seen and as it shall be.
    Replace {
        /// As [`Patch::current`] had them.
        before: B,
        /// As many, with the same keys.
        after: B,
    },
    /// Rows that are there and shall not be.
    Delete(B),
    /// Rows that are left alone because they are equal, as they were seen: they have to be so still.
    Keep(B),
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
    fn take(&mut self, changes: Changes<S::Batch>) -> Result<()>;

    /// Makes all changes at once, durably; or none, where rows are no longer as they were seen: those it returns. What is
    /// dropped without it leaves the store as it was.
    ///
    /// # Errors
    /// Those of the store.
    fn apply(self: Box<Self>) -> Result<Vec<Conflict>>;
}

/// How a patch is to be made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Workers that read the wanted state.
    pub threads: usize,
    /// What may be held in memory on the way, in bytes.
    pub memory_bytes: usize,
    /// Where what does not fit goes.
    pub spill: SpillDir,
    /// Delete the rows in reach that the wanted state has not.
    pub delete: bool,
    /// Leave rows alone that are equal already; else they are replaced like the others.
    pub skip_equal: bool,
    /// Only find out what would change.
    pub dry_run: bool,
}

/// Is shown every change.
pub type Note<'a, B> = &'a mut (dyn FnMut(&Changes<B>) + Send);

/// What a patch did, or would do.
#[derive(Debug)]
pub struct Report {
    /// What the wanted state's source said of its snapshot.
    pub about: About,
    /// Rows that were not there.
    pub inserted: u64,
    /// Rows that were there, and were replaced.
    pub replaced: u64,
    /// Rows that were there, and are no more.
    pub deleted: u64,
    /// Rows that are equal, and were left alone.
    pub equal: u64,
    /// Rows that the wanted state has not, and that were left alone.
    pub kept: u64,
    /// What somebody else has written meanwhile: nothing was changed then.
    pub conflicts: Vec<Conflict>,
    /// What was seen on the way.
    pub findings: Findings,
}

/// Makes a store what `wanted` is, in the rows that are in reach of the patch; `note` is shown every change, and nothing of
/// what is kept.
///
/// # Errors
/// The first error of any worker; nothing was changed then.
pub fn patch<S: System>(
    wanted: Box<dyn Source<S>>,
    mut target: Box<dyn Patch<S>>,
    (options, note): (&Options, Note<'_, S::Batch>),
    monitor: &Monitor,
    stop: &Stop,
) -> Result<Report> {
    monitor.begin("open", 0);
    let wanted = wanted.snapshot(options.threads, stop)?;
    let current = target.current(options.skip_equal, stop)?;
    monitor.begin("compare", 0);
    let mut report = Report {
        about: wanted.about(),
        inserted: 0,
        replaced: 0,
        deleted: 0,
        equal: 0,
        kept: 0,
        conflicts: Vec::new(),
        findings: Findings::default(),
    };
    let sieve = target.sieve();
    let compared = |kind: &&S::Kind| **kind != S::SEAL && kind.info().class != Class::Volatile;
    for (index, &kind) in S::Kind::all().iter().filter(compared).enumerate() {
        // Once all of it is read, so that its end can prove what was.
        let scope = || match index {
            0 => Scope::default(),
            _ => Scope { kinds: Some([kind].into()), buckets: None },
        };
        let readers = options.threads;
        let wanted = Rows { snapshot: wanted.as_ref(), kind, options, readers, scope: scope(), sieve, monitor };
        let current =
            Rows { snapshot: current.as_ref(), kind, options, readers: 1, scope: scope(), sieve: None, monitor };
        let mut apply = |changes: Changes<S::Batch>| {
            if !matches!(changes, Changes::Keep(_)) {
                note(&changes);
            }
            if options.dry_run { Ok(()) } else { target.take(changes) }
        };
        one_kind(wanted, current, &mut report, &mut apply, stop)?;
    }
    wanted.finish()?;
    current.finish()?;
    if !options.dry_run {
        stop.check()?;
        monitor.begin("apply", 0);
        report.conflicts = target.apply()?;
    }
    Ok(report)
}

type Apply<'a, B> = &'a mut (dyn FnMut(Changes<B>) -> Result<()> + Send);

/// Merges the rows of one kind: one queue for each state, and one worker that takes from both.
fn one_kind<S: System>(
    wanted: Rows<'_, S>,
    current: Rows<'_, S>,
    report: &mut Report,
    apply: Apply<'_, S::Batch>,
    stop: &Stop,
) -> Result<()> {
    let (kind, options) = (wanted.kind, wanted.options);
    let queue_bytes = options.memory_bytes / 8;
    let (mut wanted, mut current) = (InOrder::new(wanted, stop)?, InOrder::new(current, stop)?);
    let there = current.producers();
    let merge = |ours: &Inbox<Load<S>>| {
        let merge = |theirs: &Inbox<Load<S>>| Merge::<S>::new(kind, options, report).run(ours, theirs, apply);
        stage::run(queue_bytes, stop, there, vec![merge]).map(|(seen, _)| seen)
    };
    let (seen, seen_there) = stage::run(queue_bytes, stop, wanted.producers(), vec![merge])?;
    seen.into_iter().chain(seen_there.into_iter().flatten()).for_each(|found| report.findings.merge(found));
    Ok(())
}
