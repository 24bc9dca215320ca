//! Verify: the tallies of two sources are compared, then the rows of the kinds and buckets in which they differ. Nothing is
//! written.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Class, Kind, System};

use crate::sort::Sorting;
use crate::spill::{Sorted, SpillDir};
use crate::stage;
use crate::{About, Emit, Error, Result, Scope, Snapshot, Source, Stop};

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
    /// The first rows that differ.
    pub rows: Vec<Difference>,
    /// How many rows differ, at most as many as were looked at.
    pub rows_differing: u64,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The kind of the row.
    pub kind: &'static str,
    /// Whether the difference is a loss, or one of what can be worked out.
    pub class: Class,
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

/// Compares two sources.
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
        rows_differing: 0,
    };
    if !verdict.differences.is_empty() && options.limit > 0 {
        let scope = Scope {
            kinds: Some(verdict.differences.iter().map(|&(kind, ..)| kind).collect()),
            buckets: Some(verdict.differences.iter().map(|&(_, bucket, _)| bucket).collect()),
        };
        let left = sorted(left, &scope, options, stop)?;
        let right = sorted(right, &scope, options, stop)?;
        rows_that_differ(left, right, options.limit, &mut verdict)?;
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

fn sorted<S: System>(open: Open<'_, S>, scope: &Scope<S>, options: &Options, stop: &Stop) -> Result<Sorted> {
    let snapshot = open()?.snapshot(options.threads, stop)?;
    let share = options.memory_bytes / 2 / options.threads.max(1);
    let shares = each_worker(snapshot.as_ref(), scope, options.threads, stop, |scan| {
        let mut sorting = Sorting::<S>::new(&options.spill, share);
        scan(&mut |batch: S::Batch| sorting.push(&batch))?;
        sorting.finish()
    })?;
    Sorted::merge(shares)
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
        if let Some(buckets) = &self.scope.buckets {
            batch.retain_buckets(&mut |bucket| buckets.contains(&bucket));
        }
        (self.take)(batch)
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

/// Walks two sorted streams side by side and books what is in one only, or differs.
fn rows_that_differ<S: System>(
    mut left: Sorted,
    mut right: Sorted,
    limit: usize,
    verdict: &mut Verdict<S>,
) -> Result<()> {
    let differing: BTreeSet<(S::Kind, u16)> =
        verdict.differences.iter().map(|&(kind, bucket, _)| (kind, bucket)).collect();
    let owned = |next: Option<(&[u8], &[u8])>| next.map(|(key, row)| (key.to_vec(), row.to_vec()));
    let (mut ours, mut theirs) = (owned(left.next()?), owned(right.next()?));
    loop {
        let (take_left, take_right) = match (&ours, &theirs) {
            (None, None) => return Ok(()),
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some((ours, _)), Some((theirs, _))) => (ours <= theirs, theirs <= ours),
        };
        let one = if take_left { std::mem::replace(&mut ours, owned(left.next()?)) } else { None };
        let two = if take_right { std::mem::replace(&mut theirs, owned(right.next()?)) } else { None };
        compare::<S>(one, two, &differing, limit, verdict)?;
    }
}

type PackedRow = Option<(Vec<u8>, Vec<u8>)>;

fn compare<S: System>(
    left: PackedRow,
    right: PackedRow,
    differing: &BTreeSet<(S::Kind, u16)>,
    limit: usize,
    verdict: &mut Verdict<S>,
) -> Result<()> {
    let number = left.as_ref().or(right.as_ref()).and_then(|(key, _)| key.first().copied());
    let Some(&kind) = S::Kind::all().iter().find(|kind| Some(kind.info().number) == number) else { return Ok(()) };
    let unpacked = |row: &PackedRow| -> Result<Option<(Tally<S::Kind>, String)>> {
        let Some((_, row)) = row else { return Ok(None) };
        let mut batch = S::Batch::empty(kind);
        batch.unpack(row)?;
        let (mut tally, mut text) = (Tally::default(), Vec::new());
        batch.tally(&mut tally);
        S::strip_secrets(&mut batch);
        batch.write_lines(&mut text);
        Ok(Some((tally, String::from_utf8_lossy(&text).trim_end().to_owned())))
    };
    let (left, right) = (unpacked(&left)?, unpacked(&right)?);
    let absent = Tally::default();
    let tally_of =
        |side: &Option<(Tally<S::Kind>, String)>| side.as_ref().map_or(absent.clone(), |side| side.0.clone());
    let differences = tally_of(&left).differences(&tally_of(&right));
    let Some(&(kind, bucket, class)) = differences.first() else { return Ok(()) };
    if !differing.contains(&(kind, bucket)) {
        return Ok(());
    }
    verdict.rows_differing += 1;
    if verdict.rows.len() < limit {
        let text = |side: Option<(Tally<S::Kind>, String)>| side.map(|side| side.1);
        let kind = kind.info().name;
        verdict.rows.push(Difference { kind, class, left: text(left), right: text(right) });
    }
    Ok(())
}
