//! Select: a source of which a selection is read. It first learns what to keep, from a snapshot that it may scan again or
//! has put aside, and then filters every batch of every scan.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metaferry_codecs::system::{Batch, Finding, Selection, System};

use crate::preflight::{Outlook, Room};
use crate::scan::scan_all;
use crate::spill::SpillDir;
use crate::spool::{Aside, Reading, spool};
use crate::{About, Emit, Error, ErrorKind, Monitor, Partition, Result, Scope, Snapshot, Source, Stop};

#[cfg(test)]
mod tests;

/// Part of what another source holds.
pub struct Select<S: System> {
    source: Box<dyn Source<S>>,
    selection: S::Selection,
    spill: SpillDir,
    monitor: Arc<Monitor>,
}

impl<S: System> Select<S> {
    /// What `selection` keeps of `source`. What can be scanned only once is put aside in `spill`.
    #[must_use]
    pub fn new(source: Box<dyn Source<S>>, selection: S::Selection, spill: SpillDir, monitor: Arc<Monitor>) -> Self {
        Self { source, selection, spill, monitor }
    }
}

impl<S: System> Source<S> for Select<S> {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<S>>> {
        let Self { source, selection, spill, monitor } = *self;
        let snapshot = source.snapshot(readers, stop)?;
        let mut about = snapshot.about();
        about.is_partial = true;
        about.notes.push(selection.note().to_owned());
        let (opened, chosen) = (Mutex::new(Some((snapshot, selection))), OnceLock::new());
        Ok(Box::new(Selected { about, opened, chosen, readers, stop: stop.clone(), spill, monitor }))
    }

    /// How much of the source it is, and what is the largest of that, is not known.
    fn outlook(&self, _rooms: &[Room<S::Kind>], stop: &Stop) -> Result<Outlook<S::Kind>> {
        let whole = self.source.outlook(&[], stop)?;
        Ok(Outlook { rows: None, largest: Vec::new(), ..whole })
    }
}

/// One point in time of a [`Select`]. It learns when it is first asked for a plan: a copy that is refused before needs none.
struct Selected<S: System> {
    about: About,
    opened: Mutex<Option<Opened<S>>>,
    chosen: OnceLock<Chosen<S>>,
    readers: usize,
    stop: Stop,
    spill: SpillDir,
    monitor: Arc<Monitor>,
}

type Opened<S> = (Box<dyn Snapshot<S>>, <S as System>::Selection);

/// A snapshot and what is kept of it.
struct Chosen<S: System> {
    snapshot: Box<dyn Snapshot<S>>,
    selection: S::Selection,
    /// What was reported while it was put aside, until someone scans.
    aside: Mutex<Aside>,
}

impl<S: System> Selected<S> {
    fn chosen(&self) -> Result<&Chosen<S>> {
        self.chosen.get().ok_or_else(|| Error::new(ErrorKind::Bug, "a selection is scanned before it is planned"))
    }

    fn choose(&self) -> Result<Chosen<S>> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        let again = || Error::new(ErrorKind::Bug, "a selection is planned by two at once");
        let (mut snapshot, mut selection) = opened.ok_or_else(again)?;
        let mut aside = Aside::default();
        if self.about.is_repeatable {
            self.learn(snapshot.as_ref(), &selection)?;
        } else {
            let Self { readers, spill, monitor, stop, .. } = self;
            let reading = Reading { readers: *readers, spill, monitor, stop };
            let (spooled, reported) = spool(snapshot.as_ref(), &reading, &|batch| selection.learn(batch))?;
            (snapshot, aside) = (Box::new(spooled), reported);
        }
        while selection.settle()? {
            self.learn(snapshot.as_ref(), &selection)?;
        }
        Ok(Chosen { snapshot, selection, aside: Mutex::new(aside) })
    }

    /// One pass over the kinds that the selection learns from.
    fn learn(&self, snapshot: &dyn Snapshot<S>, selection: &S::Selection) -> Result<()> {
        let kinds = Some(selection.kinds().iter().copied().collect());
        let partitions = snapshot.plan(&Scope { kinds, buckets: None })?;
        self.monitor.begin("learn", partitions.iter().map(|partition| partition.weight).sum());
        let worker = || Ok(Learn::<S> { selection, monitor: &self.monitor, stop: &self.stop });
        scan_all(snapshot, &partitions, (self.readers, &self.stop), &worker).map(drop)
    }
}

impl<S: System> Snapshot<S> for Selected<S> {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, scope: &Scope<S>) -> Result<Vec<Partition<S>>> {
        if self.chosen.get().is_none() {
            let chosen = self.choose()?;
            self.chosen.get_or_init(|| chosen);
        }
        self.chosen()?.snapshot.plan(scope)
    }

    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let Chosen { snapshot, selection, aside } = self.chosen()?;
        let aside = std::mem::take(&mut *aside.lock().unwrap_or_else(PoisonError::into_inner));
        aside.replay(out)?;
        snapshot.scan(partition, &mut Keep { selection, out })
    }

    fn finish(&self) -> Result<()> {
        self.chosen()?.snapshot.finish()
    }
}

/// Shows a selection what it learns from. What is damaged there is reported by the scan that follows.
struct Learn<'a, S: System> {
    selection: &'a S::Selection,
    monitor: &'a Monitor,
    stop: &'a Stop,
}

impl<S: System> Emit<S> for Learn<'_, S> {
    fn emit(&mut self, batch: S::Batch) -> Result<()> {
        self.stop.check()?;
        self.monitor.scanned(batch.len());
        self.selection.learn(&batch);
        Ok(())
    }

    fn damaged(&mut self, _place: String, _why: metaferry_codecs::Error) -> Result<()> {
        Ok(())
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

/// Hands on what is kept, and counts what is not.
struct Keep<'a, S: System> {
    selection: &'a S::Selection,
    out: &'a mut dyn Emit<S>,
}

impl<S: System> Emit<S> for Keep<'_, S> {
    fn emit(&mut self, mut batch: S::Batch) -> Result<()> {
        if let Some((what, count)) = self.selection.keep(&mut batch) {
            self.out.left_behind(what, count);
        }
        if batch.is_empty() { Ok(()) } else { self.out.emit(batch) }
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.out.damaged(place, why)
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        self.out.left_behind(what, count);
    }

    fn found(&mut self, finding: Finding) {
        self.out.found(finding);
    }
}
