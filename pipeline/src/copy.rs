//! Copy: the one verb. Scans a snapshot with many workers, has every batch observed, loads it with many workers, settles
//! the census, proves the target and commits it. It knows no store; where the orders do not fit, it sorts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Census, CensusOptions, Kind, Outcome, System};

use crate::observe::{Observer, Settled};
use crate::scan::{Load, Scan};
use crate::sort::{self, Sorting};
use crate::spill::SpillDir;
use crate::stage::{self, Inbox, Outbox, Turnstile};
use crate::{
    About, Commit, Error, ErrorKind, Findings, Loader, Monitor, Needs, Order, Partition, Result, Scope, Sink, Snapshot,
    Source, Stop,
};

/// How a copy is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Workers that scan, and workers that load, where the stores take as many.
    pub threads: usize,
    /// What may be held in memory on the way, in bytes.
    pub memory_bytes: usize,
    /// Where what does not fit goes.
    pub spill: SpillDir,
    /// Leave secrets in files.
    pub keep_secrets: bool,
    /// Leave the counters as the source has them.
    pub keep_counters: bool,
    /// Go on past rows that cannot be decoded.
    pub skip_damaged: bool,
    /// Read the target back before it is committed, and compare it with what was loaded.
    pub prove: bool,
}

/// What a copy did.
#[derive(Debug)]
pub struct Report<S: System> {
    /// What the source said of its snapshot.
    pub about: About,
    /// Rows loaded, by kind, before they became canonical ones.
    pub rows: BTreeMap<S::Kind, u64>,
    /// The tally of what was loaded.
    pub tally: Tally<S::Kind>,
    /// What was found.
    pub findings: Findings,
    /// Whether the census mended what it could.
    pub mended: bool,
    /// Whether the target was read back and was equal.
    pub proven: bool,
    /// Bytes that went to the spill folder.
    pub spilled_bytes: u64,
}

/// One copy under way.
pub(crate) struct Copy<'a, S: System> {
    pub(crate) snapshot: &'a dyn Snapshot<S>,
    pub(crate) options: &'a Options,
    pub(crate) needs: Needs,
    pub(crate) monitor: &'a Monitor,
    pub(crate) stop: &'a Stop,
}

/// Copies everything `source` holds into `sink`, and commits it.
///
/// # Errors
/// The first error of any worker; the sink is dropped uncommitted then, and leaves nothing that could be taken for a volume.
pub fn copy<S: System>(
    source: Box<dyn Source<S>>,
    mut sink: Box<dyn Sink<S>>,
    options: &Options,
    monitor: &Monitor,
    stop: &Stop,
) -> Result<Report<S>> {
    let needs = sink.needs();
    monitor.begin("open", 0);
    let snapshot = source.snapshot(options.threads, stop)?;
    let about = snapshot.about();
    sink.prepare(&about, stop)?;
    let copy = Copy { snapshot: snapshot.as_ref(), options, needs, monitor, stop };
    let (observers, mut loaders) = copy.transfer(sink.as_mut(), &about)?;
    snapshot.finish()?;
    let nothing = || Error::new(ErrorKind::Bug, "a copy ran without a scanner");
    let merged = Observer::merge(observers).ok_or_else(nothing)?;
    monitor.begin("settle", 0);
    let first = loaders.first_mut().ok_or_else(nothing)?;
    let mut rows = merged.rows.clone();
    let settled = merged.settle(&mut |outcome| settle_one(outcome, needs, first.as_mut(), &mut rows, monitor))?;
    for loader in loaders {
        stop.check()?;
        loader.finish()?;
    }
    let Settled { seal, tally, findings } = settled;
    let no_seal = || Error::corrupt(format!("{}: there is no {} in it", about.origin, S::SEAL.info().name));
    let seal = seal.ok_or_else(no_seal)?;
    if options.prove {
        monitor.begin("prove", tally.total().rows);
        prove(sink.as_mut(), &seal, &tally, &copy)?;
    }
    stop.check()?;
    monitor.begin("commit", 0);
    sink.commit(Commit { seal, tally: tally.clone(), about: about.clone() })?;
    Ok(Report {
        about,
        rows,
        tally,
        findings,
        mended: needs.mends,
        proven: options.prove,
        spilled_bytes: options.spill.spilled_bytes(),
    })
}

/// Loads what the census emits.
fn settle_one<S: System>(
    outcome: Outcome<S::Batch>,
    needs: Needs,
    loader: &mut dyn Loader<S>,
    rows: &mut BTreeMap<S::Kind, u64>,
    monitor: &Monitor,
) -> Result<()> {
    match outcome {
        Outcome::Derived(mut batch) => {
            if !needs.defaults {
                batch.canonicalize();
            }
            *rows.entry(batch.kind()).or_default() += batch.len() as u64;
            monitor.loaded(batch.len(), batch.weight());
            if batch.is_empty() { Ok(()) } else { loader.load(batch) }
        }
        Outcome::Amend { after, .. } => loader.amend(after),
        Outcome::Found(_) => Ok(()),
    }
}

/// Reads the target back and compares it with the tally of what was loaded.
fn prove<S: System>(
    sink: &mut dyn Sink<S>,
    seal: &S::Batch,
    tally: &Tally<S::Kind>,
    copy: &Copy<'_, S>,
) -> Result<()> {
    let target = sink.uncommitted()?;
    let mut found = crate::verify::tally(target.as_ref(), &Scope::default(), copy.options.threads, copy.stop)?;
    target.finish()?;
    seal.tally(&mut found);
    let differences = tally.differences(&found);
    let Some((kind, bucket, _)) = differences.first() else { return Ok(()) };
    Err(Error::corrupt(format!(
        "the target was read back and is not equal: {} kinds and buckets differ, the first is {} in bucket {bucket}",
        differences.len(),
        kind.info().name
    ))
    .hint("the target was not committed; run again, and report this if it comes again"))
}

type Transferred<S> = (Vec<Observer<S>>, Vec<Box<dyn Loader<S>>>);

impl<S: System> Copy<'_, S> {
    fn transfer(&self, sink: &mut dyn Sink<S>, about: &About) -> Result<Transferred<S>> {
        let mut partitions = self.snapshot.plan(&Scope::default())?;
        self.monitor.begin("copy", partitions.iter().map(|partition| partition.weight).sum());
        let loaders = (0..self.needs.loaders.clamp(1, self.options.threads)).map(|_| sink.loader()).collect::<Result<_>>()?;
        match (self.needs.order, about.order) {
            (Order::Any, _) => {
                partitions.sort_by_key(|partition| std::cmp::Reverse(partition.weight));
                self.direct(&partitions, loaders)
            }
            (Order::ByKey, Order::ByKey) => self.in_order(&partitions, loaders),
            (Order::ByKey, Order::Any) => self.sorting(&partitions, loaders),
        }
    }

    /// Scanners take the heaviest partition first; loaders take what comes.
    fn direct(&self, partitions: &[Partition<S>], loaders: Vec<Box<dyn Loader<S>>>) -> Result<Transferred<S>> {
        let next = AtomicUsize::new(0);
        let next = &next;
        let scanners = self.observers(about_workers(partitions, self.options.threads)).into_iter().map(|observer| {
            move |outbox: &Outbox<Load<S>>| {
                let mut send = |load| outbox.send(load);
                let mut scan = Scan::new(observer, self, &mut send);
                while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.stop.check()?;
                    self.snapshot.scan(partition, &mut scan)?;
                }
                Ok(scan.into_observer())
            }
        });
        stage::run(self.queue_bytes(), self.stop, scanners.collect(), self.consumers(loaders))
    }

    /// Scanners take partitions in the order of the plan, and a turnstile keeps their batches in it.
    fn in_order(&self, partitions: &[Partition<S>], loaders: Vec<Box<dyn Loader<S>>>) -> Result<Transferred<S>> {
        let workers = about_workers(partitions, self.options.threads);
        let turnstile = Turnstile::new(partitions.len(), self.queue_bytes() / workers);
        let turnstile = &turnstile;
        let scanners = self.observers(workers).into_iter().map(|observer| {
            move |outbox: &Outbox<Load<S>>| {
                let mut observer = Some(observer);
                turnstile.serve(outbox, |lane| {
                    let Some(partition) = partitions.get(lane.partition()) else { return Ok(()) };
                    let Some(mine) = observer.take() else { return Ok(()) };
                    let mut send = |load| lane.send(load);
                    let mut scan = Scan::new(mine, self, &mut send);
                    self.snapshot.scan(partition, &mut scan)?;
                    observer = Some(scan.into_observer());
                    Ok(())
                })?;
                observer.ok_or_else(|| Error::new(ErrorKind::Bug, "a scanner lost its observer"))
            }
        });
        stage::run(self.queue_bytes(), self.stop, scanners.collect(), self.consumers(loaders))
    }

    /// Everything goes through the external sorter before the first row is loaded.
    fn sorting(&self, partitions: &[Partition<S>], mut loaders: Vec<Box<dyn Loader<S>>>) -> Result<Transferred<S>> {
        let workers = about_workers(partitions, self.options.threads);
        let share = self.options.memory_bytes / 2 / workers;
        let next = AtomicUsize::new(0);
        let next = &next;
        let scanners = self.observers(workers).into_iter().map(|observer| {
            move |_: &Outbox<Load<S>>| {
                let mut sorting = Sorting::<S>::new(&self.options.spill, share);
                let mut send = |load: Load<S>| sorting.push(&load.batch);
                let mut scan = Scan::new(observer, self, &mut send);
                while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.stop.check()?;
                    self.snapshot.scan(partition, &mut scan)?;
                }
                let observer = scan.into_observer();
                Ok((observer, sorting.finish()?))
            }
        });
        let nobody: Vec<fn(&Inbox<Load<S>>) -> Result<()>> = Vec::new();
        let (scanned, _) = stage::run(self.queue_bytes(), self.stop, scanners.collect(), nobody)?;
        let (observers, sorted): (Vec<_>, Vec<_>) = scanned.into_iter().unzip();
        if let Some(loader) = loaders.first_mut() {
            self.monitor.begin("load sorted", self.monitor.glance().scanned);
            sort::drain::<S>(sorted, self.stop, &mut |batch| {
                let (rows, bytes) = (batch.len(), batch.weight());
                loader.load(batch)?;
                self.monitor.loaded(rows, bytes);
                Ok(())
            })?;
        }
        Ok((observers, loaders))
    }

    fn consumers<'s>(
        &'s self,
        loaders: Vec<Box<dyn Loader<S>>>,
    ) -> Vec<impl FnOnce(&Inbox<Load<S>>) -> Result<Box<dyn Loader<S>>> + Send + 's> {
        let consume = |mut loader: Box<dyn Loader<S>>| {
            move |inbox: &Inbox<Load<S>>| {
                while let Some((load, _permit)) = inbox.recv()? {
                    let (rows, bytes) = (load.batch.len(), load.bytes);
                    loader.load(load.batch)?;
                    self.monitor.loaded(rows, bytes);
                }
                Ok(loader)
            }
        };
        loaders.into_iter().map(consume).collect()
    }

    fn observers(&self, workers: usize) -> Vec<Observer<S>> {
        let options = CensusOptions {
            mend: self.needs.mends,
            defaults: self.needs.defaults,
            keep_counters: self.options.keep_counters,
        };
        let census = S::Census::new(options);
        let share = self.options.memory_bytes * 3 / 8 / workers;
        let strips = self.needs.strips_secrets && !self.options.keep_secrets;
        let observer = |_| Observer::new(census.share(), &self.options.spill, share, strips);
        (0..workers).map(observer).collect()
    }

    fn queue_bytes(&self) -> usize {
        self.options.memory_bytes / 8
    }
}

/// As many scanners as there are threads and partitions.
fn about_workers<S: System>(partitions: &[Partition<S>], threads: usize) -> usize {
    threads.min(partitions.len()).max(1)
}
