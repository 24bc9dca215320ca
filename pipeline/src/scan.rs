//! Scan: many workers over many partitions, and where they put their batches in a copy: each is observed, and sent on where
//! it is to be loaded.

use std::sync::atomic::{AtomicUsize, Ordering};

use metaferry_codecs::system::{Batch, Finding, System};

use crate::copy::Copy;
use crate::observe::Observer;
use crate::stage::{self, Weighed};
use crate::{Emit, Error, Partition, Result, Scope, Snapshot, Stop};

/// Scans partitions with as many workers as there are readers, and gives back where each put its batches.
pub(crate) fn scan_all<S: System, E: Emit<S> + Send>(
    snapshot: &dyn Snapshot<S>,
    partitions: &[Partition<S>],
    (readers, stop): (usize, &Stop),
    out: &(dyn Fn() -> Result<E> + Sync),
) -> Result<Vec<E>> {
    let next = &AtomicUsize::new(0);
    let worker = |_| {
        move || {
            let mut out = out()?;
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                stop.check()?;
                snapshot.scan(partition, &mut out)?;
            }
            Ok(out)
        }
    };
    stage::run_alone(stop, (0..readers.max(1)).map(worker).collect())
}

/// The row that makes a store usable; none where there is none.
pub(crate) fn seal<S: System>(snapshot: &dyn Snapshot<S>) -> Result<Option<S::Batch>> {
    let scope = Scope { kinds: Some([S::SEAL].into()), buckets: None };
    let mut found = Found::<S>(None);
    for partition in snapshot.plan(&scope)? {
        snapshot.scan(&partition, &mut found)?;
    }
    Ok(found.0)
}

struct Found<S: System>(Option<S::Batch>);

impl<S: System> Emit<S> for Found<S> {
    fn emit(&mut self, batch: S::Batch) -> Result<()> {
        if batch.kind() == S::SEAL && !batch.is_empty() {
            self.0 = Some(batch);
        }
        Ok(())
    }

    fn damaged(&mut self, _place: String, _why: metaferry_codecs::Error) -> Result<()> {
        Ok(())
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

/// A batch on its way to a loader, weighed once.
pub(crate) struct Load<S: System> {
    pub(crate) batch: S::Batch,
    pub(crate) bytes: usize,
}

impl<S: System> Load<S> {
    pub(crate) fn of(batch: S::Batch) -> Self {
        Self { bytes: batch.weight(), batch }
    }
}

impl<S: System> Weighed for Load<S> {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// One scanner's way into the queue.
pub(crate) struct Scan<'a, S: System> {
    observer: Observer<S>,
    copy: &'a Copy<'a, S>,
    send: &'a mut dyn FnMut(Load<S>) -> Result<()>,
}

impl<'a, S: System> Scan<'a, S> {
    pub(crate) fn new(
        observer: Observer<S>,
        copy: &'a Copy<'a, S>,
        send: &'a mut dyn FnMut(Load<S>) -> Result<()>,
    ) -> Self {
        Self { observer, copy, send }
    }

    pub(crate) fn into_observer(self) -> Observer<S> {
        self.observer
    }
}

impl<S: System> Emit<S> for Scan<'_, S> {
    fn emit(&mut self, batch: S::Batch) -> Result<()> {
        self.copy.stop.check()?;
        self.copy.monitor.scanned(batch.len());
        let Some(batch) = self.observer.observe(batch)? else { return Ok(()) };
        let bytes = batch.weight();
        (self.send)(Load { batch, bytes })
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        if !self.copy.options.skip_damaged {
            return Err(Error::from(why).at(place).hint("--skip-damaged goes on without such rows, and counts them"));
        }
        self.observer.findings.damaged(format!("{place}: {why}"));
        Ok(())
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        self.observer.findings.left_behind(what, count);
    }

    fn found(&mut self, finding: Finding) {
        self.observer.findings.found(finding);
    }
}
