//! Scan: where a snapshot puts its batches. Observes each and sends on what is to be loaded.

use metaferry_codecs::system::{Batch, System};

use crate::copy::Copy;
use crate::observe::Observer;
use crate::stage::Weighed;
use crate::{Emit, Error, Result};

/// A batch on its way to a loader, weighed once.
pub(crate) struct Load<S: System> {
    pub(crate) batch: S::Batch,
    pub(crate) bytes: usize,
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
}
