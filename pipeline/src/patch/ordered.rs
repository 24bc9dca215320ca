//! Rows of one kind of a snapshot, ascending by key: as its partitions come where they do, else through the external sorter.

use metaferry_codecs::system::{Batch, Finding, System};

use super::Options;
use crate::scan::{Load, scan_all};
use crate::sort::{self, Sorting};
use crate::spill::Sorted;
use crate::stage::{Lane, Outbox, Turnstile};
use crate::{Emit, Error, Findings, Monitor, Partition, Result, Scope, Sieve, Snapshot, Stop};

/// Which rows, and what they go through.
pub(super) struct Rows<'a, S: System> {
    pub(super) snapshot: &'a dyn Snapshot<S>,
    pub(super) kind: S::Kind,
    pub(super) options: &'a Options,
    /// How many may read at once.
    pub(super) readers: usize,
    /// What is planned, the kind in it.
    pub(super) scope: Scope<S>,
    pub(super) sieve: Option<Sieve<S>>,
    pub(super) monitor: &'a Monitor,
}

/// Rows that come in order.
pub(super) enum InOrder<'a, S: System> {
    /// Those of the partitions, in the order of the plan.
    Planned { rows: Rows<'a, S>, partitions: Vec<Partition<S>>, turnstile: Turnstile },
    /// Those that were sorted, and what was seen on the way.
    Sorted { shares: Vec<Sorted>, findings: Findings },
}

/// One worker that sends rows, and says at its end what it saw.
pub(super) type Producer<'a, S> = Box<dyn FnOnce(&Outbox<Load<S>>) -> Result<Findings> + Send + 'a>;

impl<'a, S: System> InOrder<'a, S> {
    /// Plans, and sorts where that has to be.
    pub(super) fn new(rows: Rows<'a, S>, stop: &Stop) -> Result<Self> {
        let partitions = rows.snapshot.plan(&rows.scope)?;
        let share = rows.options.memory_bytes / 8 / rows.readers.max(1);
        if rows.snapshot.about().ordered.contains(rows.kind) {
            let turnstile = Turnstile::new(partitions.len(), share);
            return Ok(Self::Planned { rows, partitions, turnstile });
        }
        let begin = || {
            let sorting = Sorting::<S>::new(&rows.options.spill, share * 2);
            Ok(Reading { rows: &rows, to: sorting, findings: Findings::default(), stop })
        };
        let (mut shares, mut findings) = (Vec::new(), Findings::default());
        for reading in scan_all(rows.snapshot, &partitions, (rows.readers, stop), &begin)? {
            shares.push(reading.to.finish()?);
            findings.merge(reading.findings);
        }
        Ok(Self::Sorted { shares, findings })
    }

    /// The workers that send them.
    pub(super) fn producers(&mut self) -> Vec<Producer<'_, S>> {
        match self {
            Self::Planned { rows, partitions, turnstile } => {
                let (rows, partitions, turnstile) = (&*rows, &*partitions, &*turnstile);
                let one = move |outbox: &Outbox<Load<S>>| planned(rows, partitions, turnstile, outbox);
                let workers = rows.readers.min(partitions.len()).max(1);
                (0..workers).map(|_| Box::new(one) as Producer<'_, S>).collect()
            }
            Self::Sorted { shares, findings } => {
                let (shares, findings) = (std::mem::take(shares), std::mem::take(findings));
                vec![Box::new(move |outbox: &Outbox<Load<S>>| {
                    sort::drain::<S>(shares, outbox.stop(), &mut |batch| outbox.send(Load::of(batch)))?;
                    Ok(findings)
                })]
            }
        }
    }
}

fn planned<S: System>(
    rows: &Rows<'_, S>,
    partitions: &[Partition<S>],
    turnstile: &Turnstile,
    outbox: &Outbox<Load<S>>,
) -> Result<Findings> {
    let mut findings = Findings::default();
    turnstile.serve(outbox, |lane| {
        let Some(partition) = partitions.get(lane.partition()) else { return Ok(()) };
        let seen = std::mem::take(&mut findings);
        let mut reading = Reading { rows, to: lane, findings: seen, stop: outbox.stop() };
        rows.snapshot.scan(partition, &mut reading)?;
        findings = reading.findings;
        Ok(())
    })?;
    Ok(findings)
}

/// Where rows are put.
trait Put<S: System> {
    fn put(&mut self, batch: S::Batch) -> Result<()>;
}

impl<S: System> Put<S> for Sorting<S> {
    fn put(&mut self, batch: S::Batch) -> Result<()> {
        self.push(&batch)
    }
}

impl<S: System> Put<S> for &mut Lane<'_, Load<S>> {
    fn put(&mut self, batch: S::Batch) -> Result<()> {
        self.send(Load::of(batch))
    }
}

/// One scan under way.
struct Reading<'a, S: System, P> {
    rows: &'a Rows<'a, S>,
    to: P,
    findings: Findings,
    stop: &'a Stop,
}

impl<S: System, P: Put<S>> Emit<S> for Reading<'_, S, P> {
    fn emit(&mut self, mut batch: S::Batch) -> Result<()> {
        self.stop.check()?;
        if batch.kind() != self.rows.kind {
            return Ok(());
        }
        self.rows.monitor.scanned(batch.len());
        batch.canonicalize();
        if let Some(sieve) = self.rows.sieve {
            sieve(&mut batch, &mut self.findings);
        }
        if batch.is_empty() { Ok(()) } else { self.to.put(batch) }
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        self.findings.left_behind(what, count);
    }

    fn found(&mut self, finding: Finding) {
        self.findings.found(finding);
    }
}
