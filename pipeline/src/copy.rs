//! Copy: the one verb. Scans a snapshot with many workers, has every batch observed, loads it with many workers, settles
//! the census, proves the target and commits it. It knows no store; where the orders do not fit, it sorts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Advance, Batch, Census, CensusOptions, Finding, Kind, System};

use crate::observe::{Leaving, Merged, Observer, Settled};
use crate::scan::{Load, Scan};
use crate::sort::{self, Sorting};
use crate::spill::{Sorted, SpillDir};
use crate::stage::{self, Inbox, Outbox, Turnstile};
use crate::{
    About, Commit, Error, ErrorKind, Findings, Guarantee, KindSet, Loader, Monitor, Needs, Partition, Result, Scope,
    Sieve, Sink, Snapshot, Source, Stop,
};

/// After how long without a batch a loader is told to be idle.
const IDLE: Duration = Duration::from_secs(5);

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
    /// How far the next numbers are moved on, where the counters are not left as they are.
    pub advance: Advance,
    /// Amend what is wrong in rows, such as link counts, also where the snapshot is exact. A fuzzy one is always mended: there
    /// it may be the snapshot that is wrong.
    pub mend: bool,
    /// Go on past rows that cannot be decoded.
    pub skip_damaged: bool,
    /// Read the target back before it is committed, and compare it with what was loaded.
    pub prove: bool,
    /// Go on although clients have the source in use.
    pub live: bool,
    /// Commit nothing where anything was found that stays wrong.
    pub strict: bool,
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
    pub(crate) sieve: Option<Sieve<S>>,
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
    if about.live_sessions > 0 && !options.live {
        let what = format!("{} has {} live sessions: clients have it mounted", about.origin, about.live_sessions);
        return Err(Error::refused(what)
            .hint("unmount them, or go on with --live; both metadata would hand out the same object names"));
    }
    sink.prepare(&about, stop)?;
    let copy = Copy { snapshot: snapshot.as_ref(), options, needs, sieve: sink.sieve(), monitor, stop };
    let (merged, loaders) = copy.transfer(sink.as_mut(), &about)?;
    snapshot.finish()?;
    let (Settled { seal, tally, mut findings }, rows) = copy.settle(sink.as_mut(), merged, loaders)?;
    let no_seal = || Error::corrupt(format!("{}: there is no {} in it", about.origin, S::SEAL.info().name));
    let seal = seal.ok_or_else(no_seal)?;
    let mended = needs.mends || about.is_partial;
    if options.strict && findings.is_damaged(mended) {
        return Err(wrong(&about, &findings, mended));
    }
    if options.prove {
        monitor.begin("prove", tally.total().rows);
        prove(sink.as_mut(), &seal, &tally, &copy)?.into_iter().for_each(|finding| findings.found(finding));
    }
    stop.check()?;
    monitor.begin("commit", 0);
    findings.merge(sink.commit(Commit { seal, tally: tally.clone(), about: about.clone() })?);
    Ok(Report {
        about,
        rows,
        tally,
        findings,
        mended,
        proven: options.prove,
        spilled_bytes: options.spill.spilled_bytes(),
    })
}

/// What a strict copy does not carry on with.
fn wrong(about: &About, findings: &Findings, mended: bool) -> Error {
    let told = findings.census.values().filter(|sort| !(mended && sort.mendable)).chain([&findings.damaged]);
    let first = told.flat_map(|sort| &sort.told).next().cloned().unwrap_or_default();
    Error::corrupt(format!("{}: {first}", about.origin)).hint("without --strict it is carried, and told")
}

/// Reads the target back and compares it with the tally of what was loaded. What the target worked out otherwise than the
/// source did is found, and mended thereby.
fn prove<S: System>(
    sink: &mut dyn Sink<S>,
    seal: &S::Batch,
    tally: &Tally<S::Kind>,
    copy: &Copy<'_, S>,
) -> Result<Vec<Finding>> {
    let target = sink.uncommitted()?;
    let mut there = crate::verify::tally(target.as_ref(), &Scope::default(), copy.options.threads, copy.stop)?;
    target.finish()?;
    seal.tally(&mut there);
    let differences = tally.differences(&there);
    let (own, wrong): (Vec<_>, Vec<_>) =
        differences.into_iter().partition(|(kind, ..)| copy.needs.works_out.contains(*kind));
    if let Some((kind, bucket, _)) = wrong.first() {
        return Err(Error::corrupt(format!(
            "the target was read back and is not equal: {} kinds and buckets differ, the first is {} in bucket {bucket}",
            wrong.len(),
            kind.info().name
        ))
        .hint("the target was not committed; run again, and report this if it comes again"));
    }
    let kinds: BTreeSet<S::Kind> = own.into_iter().map(|(kind, ..)| kind).collect();
    let finding = |kind: S::Kind| {
        let (given, worked_out) = (tally.of(kind).rows, there.of(kind).rows);
        let text = format!("the source has {given} rows that do not follow from the others, {worked_out} do");
        Finding { sort: kind.info().name, text, mendable: true }
    };
    Ok(kinds.into_iter().map(finding).collect())
}

/// Every worker's hand on the target.
pub(crate) type Loaders<S> = Vec<Box<dyn Loader<S>>>;

type Transferred<S> = (Merged<S>, Loaders<S>);

/// What a scanner leaves behind: what it observed, and its share of the rows that must be sorted first.
type Scanned<S> = (Merged<S>, Sorted);

impl<S: System> Copy<'_, S> {
    fn transfer(&self, sink: &mut dyn Sink<S>, about: &About) -> Result<Transferred<S>> {
        let mut partitions = self.snapshot.plan(&Scope::default())?;
        self.monitor.begin("copy", partitions.iter().map(|partition| partition.weight).sum());
        let scanners = self.options.threads.min(partitions.len()).max(1);
        if self.needs.ordered.is_empty() {
            partitions.sort_by_key(|partition| std::cmp::Reverse(partition.weight));
        }
        let fused = self.needs.affine && scanners > 1;
        let loaders = match (fused, self.needs.affine) {
            (true, _) => scanners,
            (_, true) => 1,
            _ => self.needs.loaders.clamp(1, self.options.threads),
        };
        let loaders = (0..loaders).map(|_| sink.loader()).collect::<Result<Vec<_>>>()?;
        let observers = self.observers(scanners, about);
        if fused {
            return self.fused(&partitions, observers, loaders);
        }
        let misfits = self.needs.ordered.without(about.ordered);
        let (scanned, mut loaders) = self.queued(&partitions, observers, loaders, misfits)?;
        let (merged, sorted): (Vec<_>, _) = scanned.into_iter().unzip();
        if !misfits.is_empty() {
            self.monitor.begin("load sorted", 0);
            loaders = self.load_sorted(sorted, loaders)?;
        }
        Ok((merge(merged)?, loaders))
    }

    fn load_sorted(&self, sorted: Vec<Sorted>, loaders: Loaders<S>) -> Result<Loaders<S>> {
        let produce =
            |outbox: &Outbox<Load<S>>| sort::drain::<S>(sorted, self.stop, &mut |batch| outbox.send(Load::of(batch)));
        let consume = loaders.into_iter().map(|loader| move |inbox: &Inbox<Load<S>>| self.consume(loader, inbox));
        stage::run(self.queue_bytes(), self.stop, vec![produce], consume.collect()).map(|(_, loaders)| loaders)
    }

    /// Each worker scans and loads what it scanned: the batches of a partition stay together, and nothing is queued.
    fn fused(
        &self,
        partitions: &[Partition<S>],
        observers: Vec<Observer<S>>,
        loaders: Loaders<S>,
    ) -> Result<Transferred<S>> {
        let next = &AtomicUsize::new(0);
        let workers = observers.into_iter().zip(loaders).map(|(observer, mut loader)| {
            move || {
                let mut observer = Some(observer);
                while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut send = |load: Load<S>| self.load(loader.as_mut(), load.batch);
                    self.scan(partition, &mut observer, &mut send)?;
                    loader.end_partition()?;
                }
                Ok((finish(observer)?, loader))
            }
        });
        let worked = stage::run_alone(self.stop, workers.collect())?;
        let (merged, loaders): (Vec<_>, _) = worked.into_iter().unzip();
        Ok((merge(merged)?, loaders))
    }

    /// Scanners and loaders with a queue between them. A turnstile keeps the order of the plan where the sink needs any;
    /// kinds that it needs in an order in which they do not come go to the external sorter instead.
    fn queued(
        &self,
        partitions: &[Partition<S>],
        observers: Vec<Observer<S>>,
        loaders: Loaders<S>,
        misfits: KindSet,
    ) -> Result<(Vec<Scanned<S>>, Loaders<S>)> {
        let scanners = observers.len();
        let sort_bytes = self.options.memory_bytes / 4 / scanners;
        let lane_bytes = self.queue_bytes() / scanners;
        let in_order = !self.needs.ordered.without(misfits).is_empty();
        let turnstile = &Turnstile::new(partitions.len(), lane_bytes);
        let next = &AtomicUsize::new(0);
        let scan_all = observers.into_iter().map(|observer| {
            move |outbox: &Outbox<Load<S>>| {
                let mut observer = Some(observer);
                let mut sorting = Sorting::<S>::new(&self.options.spill, sort_bytes);
                let mut one = |partition: usize, queue: &mut dyn FnMut(Load<S>) -> Result<()>| {
                    let Some(partition) = partitions.get(partition) else { return Ok(()) };
                    let mut send = |load: Load<S>| {
                        if misfits.contains(load.batch.kind()) { sorting.push(&load.batch) } else { queue(load) }
                    };
                    self.scan(partition, &mut observer, &mut send)
                };
                if in_order {
                    turnstile.serve(outbox, |lane| one(lane.partition(), &mut |load| lane.send(load)))?;
                } else {
                    loop {
                        let partition = next.fetch_add(1, Ordering::Relaxed);
                        if partition >= partitions.len() {
                            break;
                        }
                        one(partition, &mut |load| outbox.send(load))?;
                    }
                }
                Ok((finish(observer)?, sorting.finish()?))
            }
        });
        let load_all = loaders.into_iter().map(|loader| move |inbox: &Inbox<Load<S>>| self.consume(loader, inbox));
        stage::run(self.queue_bytes(), self.stop, scan_all.collect(), load_all.collect())
    }

    /// Scans one partition; the observer sees every batch, `send` gets what is to be loaded.
    fn scan(
        &self,
        partition: &Partition<S>,
        observer: &mut Option<Observer<S>>,
        send: &mut dyn FnMut(Load<S>) -> Result<()>,
    ) -> Result<()> {
        self.stop.check()?;
        let Some(mine) = observer.take() else { return Ok(()) };
        let mut scan = Scan::new(mine, self, send);
        self.snapshot.scan(partition, &mut scan)?;
        *observer = Some(scan.into_observer());
        Ok(())
    }

    pub(crate) fn load(&self, loader: &mut dyn Loader<S>, batch: S::Batch) -> Result<()> {
        let (rows, bytes) = (batch.len(), batch.weight());
        loader.load(batch)?;
        self.monitor.loaded(rows, bytes);
        Ok(())
    }

    /// One loader's end of the queue.
    pub(crate) fn consume(&self, mut loader: Box<dyn Loader<S>>, inbox: &Inbox<Load<S>>) -> Result<Box<dyn Loader<S>>> {
        while let Some((load, _permit)) = inbox.recv_or(IDLE, &mut || loader.idle())? {
            self.load(loader.as_mut(), load.batch)?;
        }
        Ok(loader)
    }

    fn observers(&self, workers: usize, about: &About) -> Vec<Observer<S>> {
        let options = CensusOptions {
            mend: self.needs.mends,
            amend: self.needs.mends && (self.options.mend || about.guarantee == Guarantee::Fuzzy),
            defaults: self.needs.defaults,
            keep_counters: self.options.keep_counters,
            advance: self.options.advance,
            partial: about.is_partial,
        };
        let census = S::Census::new(options);
        let share = self.ledger_bytes() / workers;
        let secrets = self.needs.strips_secrets && !self.options.keep_secrets;
        let leaving = || Leaving { sieve: self.sieve, secrets };
        let observer = |_| Observer::new(census.share(), &self.options.spill, share, leaving());
        (0..workers).map(observer).collect()
    }

    pub(crate) fn ledger_bytes(&self) -> usize {
        self.options.memory_bytes / 4
    }

    pub(crate) fn queue_bytes(&self) -> usize {
        self.options.memory_bytes / 8
    }
}

fn finish<S: System>(observer: Option<Observer<S>>) -> Result<Merged<S>> {
    observer.ok_or_else(|| Error::new(ErrorKind::Bug, "a scanner lost its observer"))?.finish()
}

fn merge<S: System>(parts: Vec<Merged<S>>) -> Result<Merged<S>> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().ok_or_else(|| Error::new(ErrorKind::Bug, "a copy ran without a scanner"))?;
    parts.for_each(|part| all.add(part));
    Ok(all)
}
