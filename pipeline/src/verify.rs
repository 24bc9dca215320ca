//! Verify: the tallies of two sources are compared, then the rows of the kinds and buckets in which they differ, and those
//! with what a load of the first would have mended. Nothing is written.

mod changes;
mod mends;
mod rows;

use std::sync::atomic::{AtomicUsize, Ordering};

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Census, CensusOptions, Class, System};

use crate::sort::Sorting;
use crate::spill::{Sorted, SpillDir};
use crate::stage;
use crate::survey::Survey;
use crate::{About, Emit, Error, ErrorKind, KindSet, Result, Scope, Snapshot, Source, Stop};

pub use changes::{Change, changes, read_rows};
use mends::{Mends, mends};

/// Opens a source, as often as it is asked.
pub type Open<'a, S> = &'a dyn Fn() -> Result<Box<dyn Source<S>>>;

/// What a verification found.
#[derive(Debug)]
pub struct Verdict<S: System> {
    /// What the first source said of its snapshot.
    pub left: About,
    /// What the second one said.
    pub right: About,
    /// The tally of the first.
    pub left_tally: Tally<S::Kind>,
    /// The tally of the second.
    pub right_tally: Tally<S::Kind>,
    /// The kinds and buckets that differ, and how they are to be judged.
    pub differences: Vec<(S::Kind, u16, Class)>,
    /// The first rows that differ; those that were mended come last.
    pub rows: Vec<Difference>,
    /// How many rows differ; none where none were to be told.
    pub differing: Differing,
}

/// How many rows differ, by how that is to be judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differing {
    /// In what the volume is.
    pub primary: u64,
    /// In what can be worked out.
    pub derived: u64,
    /// As a load mends them.
    pub mended: u64,
}

impl Differing {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.primary + self.derived + self.mended
    }
}

/// How a difference is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// A loss: what the volume is differs.
    Primary,
    /// What differs can be worked out.
    Derived,
    /// The second source has what a load of the first makes of the row.
    Mended,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The kind of the row.
    pub kind: &'static str,
    /// Whether it is a loss.
    pub judgement: Judgement,
    /// The row as the first source has it, as JSON; `None` where it has none.
    pub left: Option<String>,
    /// The row as the second has it.
    pub right: Option<String>,
}

/// How a verification is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Workers for each source.
    pub threads: usize,
    /// What may be held in memory, in bytes.
    pub memory_bytes: usize,
    /// Where what does not fit goes.
    pub spill: SpillDir,
    /// How many rows that differ are told.
    pub limit: usize,
}

impl Options {
    /// What one worker may hold of the rows of one source, and of its census, in bytes.
    fn share(&self) -> usize {
        self.memory_bytes / 4 / self.threads.max(1)
    }
}

/// Compares two sources; a row of the second that is what a load of the first would have made of it is told apart.
///
/// # Errors
/// Those of the sources.
pub fn verify<S: System>(left: Open<'_, S>, right: Open<'_, S>, options: &Options, stop: &Stop) -> Result<Verdict<S>> {
    let read = |open: Open<'_, S>| {
        let snapshot = open()?.snapshot(options.threads, stop)?;
        let tally = tally(snapshot.as_ref(), &Scope::default(), options.threads, stop)?;
        snapshot.finish()?;
        Ok::<_, Error>((snapshot.about(), tally))
    };
    let (left_about, left_tally) = read(left)?;
    let (right_about, right_tally) = read(right)?;
    let differences = left_tally.differences(&right_tally);
    let mut verdict = Verdict {
        left: left_about,
        right: right_about,
        left_tally,
        right_tally,
        differences,
        rows: Vec::new(),
        differing: Differing::default(),
    };
    if !verdict.differences.is_empty() && options.limit > 0 {
        let scope = Scope {
            kinds: Some(verdict.differences.iter().map(|&(kind, ..)| kind).collect()),
            buckets: Some(verdict.differences.iter().map(|&(_, bucket, _)| bucket).collect()),
        };
        let (left, mends) = surveyed(left, &scope, options, stop)?;
        let right = sorted(right, &scope, options, stop)?;
        rows::differing([left, right], mends, options.limit, &mut verdict, stop)?;
    }
    Ok(verdict)
}

/// The tally of what a snapshot holds within a scope.
///
/// # Errors
/// Those of the snapshot; damage is an error.
pub fn tally<S: System>(
    snapshot: &dyn Snapshot<S>,
    scope: &Scope<S>,
    threads: usize,
    stop: &Stop,
) -> Result<Tally<S::Kind>> {
    let tallies = each_worker(snapshot, scope, threads, stop, |scan| {
        let mut tally = Tally::default();
        scan(&mut |batch: S::Batch| {
            batch.tally(&mut tally);
            Ok(())
        })?;
        Ok(tally)
    })?;
    let mut all = Tally::default();
    tallies.iter().for_each(|tally| all.add(tally));
    Ok(all)
}

/// The rows in scope, in the order of keys.
fn sorted<S: System>(open: Open<'_, S>, scope: &Scope<S>, options: &Options, stop: &Stop) -> Result<Sorted> {
    let snapshot = open()?.snapshot(options.threads, stop)?;
    let shares = each_worker(snapshot.as_ref(), scope, options.threads, stop, |scan| {
        let mut sorting = Sorting::<S>::new(&options.spill, options.share());
        scan(&mut |batch: S::Batch| sorting.push(&batch))?;
        sorting.finish()
    })?;
    Sorted::merge(shares)
}

/// The same, and what a load of the source mends within the scope: for that, everything is read.
fn surveyed<S: System>(open: Open<'_, S>, scope: &Scope<S>, options: &Options, stop: &Stop) -> Result<(Sorted, Mends)> {
    let snapshot = open()?.snapshot(options.threads, stop)?;
    let census = S::Census::new(CensusOptions { mend: true, amend: true, ..CensusOptions::default() });
    let census = std::sync::Mutex::new(census);
    let shares = each_worker(snapshot.as_ref(), &Scope::default(), options.threads, stop, |scan| {
        let share = census.lock().unwrap_or_else(std::sync::PoisonError::into_inner).share();
        let mut survey = Survey::<S>::new(share, &options.spill, options.share());
        let (mut sorting, mut withheld) = (Sorting::<S>::new(&options.spill, options.share()), KindSet::NONE);
        scan(&mut |mut batch: S::Batch| {
            if survey.observe(&batch)? {
                withheld = withheld.with(KindSet::of([batch.kind()]));
            }
            scope.narrow(&mut batch);
            if scope.wants(batch.kind()) { sorting.push(&batch) } else { Ok(()) }
        })?;
        Ok((sorting.finish()?, survey.finish()?, withheld))
    })?;
    let (mut rows, mut all, mut withheld) = (Vec::new(), None, KindSet::NONE);
    for (sorted, survey, kinds) in shares {
        rows.push(sorted);
        withheld = withheld.with(kinds);
        match &mut all {
            None => all = Some(survey),
            Some(all) => all.add(survey),
        }
    }
    let all = all.ok_or_else(|| Error::new(ErrorKind::Bug, "a source was read by nobody"))?;
    Ok((Sorted::merge(rows)?, mends(all, withheld, scope, options)?))
}

type Take<'a, B> = &'a mut dyn FnMut(B) -> Result<()>;
type Scanning<'a, B> = &'a mut dyn FnMut(Take<'_, B>) -> Result<()>;

/// Scans a snapshot with many workers, none of which hands anything on.
fn each_worker<S: System, R: Send>(
    snapshot: &dyn Snapshot<S>,
    scope: &Scope<S>,
    threads: usize,
    stop: &Stop,
    work: impl Fn(Scanning<'_, S::Batch>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let mut partitions = snapshot.plan(scope)?;
    partitions.sort_by_key(|partition| std::cmp::Reverse(partition.weight));
    let (next, partitions, work) = (&AtomicUsize::new(0), &partitions, &work);
    let worker = |_| {
        move || {
            work(&mut |take| {
                let mut filter = Filter { scope, take, stop };
                while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    snapshot.scan(partition, &mut filter)?;
                }
                Ok(())
            })
        }
    };
    stage::run_alone(stop, (0..threads.max(1)).map(worker).collect())
}

/// Passes on what is in scope, in canonical form.
struct Filter<'a, S: System> {
    scope: &'a Scope<S>,
    take: Take<'a, S::Batch>,
    stop: &'a Stop,
}

impl<S: System> Emit<S> for Filter<'_, S> {
    fn emit(&mut self, mut batch: S::Batch) -> Result<()> {
        self.stop.check()?;
        if !self.scope.wants(batch.kind()) {
            return Ok(());
        }
        batch.canonicalize();
        self.scope.narrow(&mut batch);
        (self.take)(batch)
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}
