//! Settling a copy: what the census worked out is loaded by all loaders, and rows are amended by one that does nothing else.

use std::collections::BTreeMap;

use metaferry_codecs::system::{Batch, Outcome, System};

use crate::copy::{Copy, Loaders};
use crate::observe::{Merged, Settled};
use crate::scan::Load;
use crate::stage::{self, Inbox, Outbox};
use crate::{Error, ErrorKind, Loader, Result, Sink};

/// What was settled, and how many rows were loaded of each kind.
type Done<S> = (Settled<S>, BTreeMap<<S as System>::Kind, u64>);

/// Takes rows that were worked out, with the loader that amends at hand.
type LoadDerived<'f, S> = dyn FnMut(&mut dyn Loader<S>, <S as System>::Batch) -> Result<()> + 'f;

impl<S: System> Copy<'_, S> {
    /// Settles the census and finishes every loader.
    pub(crate) fn settle(&self, sink: &mut dyn Sink<S>, merged: Merged<S>, mut loaders: Loaders<S>) -> Result<Done<S>> {
        self.monitor.begin("settle", 0);
        let (done, loaders) = if self.needs.mends && loaders.len() > 1 {
            let mut amending = sink.loader()?;
            let produce = |outbox: &Outbox<Load<S>>| {
                let done = self.settle_into(merged, amending.as_mut(), &mut |_, batch| outbox.send(Load::of(batch)))?;
                Ok((done, amending))
            };
            let consume = loaders.into_iter().map(|loader| move |inbox: &Inbox<Load<S>>| self.consume(loader, inbox));
            let (produced, mut loaders) = stage::run(self.queue_bytes(), self.stop, vec![produce], consume.collect())?;
            let (mut done, amending): (Vec<_>, Vec<_>) = produced.into_iter().unzip();
            loaders.extend(amending);
            (done.pop(), loaders)
        } else {
            let no_loader = || Error::new(ErrorKind::Bug, "a copy ran without a loader");
            let loader = loaders.first_mut().ok_or_else(no_loader)?;
            (Some(self.settle_into(merged, loader.as_mut(), &mut |loader, batch| self.load(loader, batch))?), loaders)
        };
        self.stop.check()?;
        stage::run_alone(self.stop, loaders.into_iter().map(|loader| || loader.finish()).collect())?;
        done.ok_or_else(|| Error::new(ErrorKind::Bug, "a census was settled by nobody"))
    }

    /// Amends rows by `amending`, and has `load` take those that were worked out.
    fn settle_into(
        &self,
        merged: Merged<S>,
        amending: &mut dyn Loader<S>,
        load: &mut LoadDerived<'_, S>,
    ) -> Result<Done<S>> {
        let mut rows = merged.rows.clone();
        let mut emit = |outcome: Outcome<S::Batch>| match outcome {
            Outcome::Derived(mut batch) => {
                if !self.needs.defaults {
                    batch.canonicalize();
                }
                *rows.entry(batch.kind()).or_default() += batch.len() as u64;
                if batch.is_empty() { Ok(()) } else { load(amending, batch) }
            }
            Outcome::Amend { after, .. } => amending.amend(after),
            Outcome::Found(_) => Ok(()),
        };
        let settled = merged.settle(self.sieve, &self.options.spill, self.ledger_bytes(), &mut emit)?;
        Ok((settled, rows))
    }
}
