//! Sorting: batches in any order into batches in key order, kind by kind, through the external sorter.

use metaferry_codecs::system::{Batch, Kind, System};

use crate::spill::{Sorted, Sorter, SpillDir};
use crate::{Result, Stop};

/// Rows in a batch that comes out, and what they weigh, at most.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 1 << 20;

/// One worker's share of a sort.
pub(crate) struct Sorting<S: System> {
    sorter: Sorter,
    key: Vec<u8>,
    row: Vec<u8>,
    system: std::marker::PhantomData<S>,
}

impl<S: System> Sorting<S> {
    pub(crate) fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        let sorter = Sorter::new(dir, budget_bytes);
        Self { sorter, key: Vec::new(), row: Vec::new(), system: std::marker::PhantomData }
    }

    pub(crate) fn push(&mut self, batch: &S::Batch) -> Result<()> {
        for index in 0..batch.len() {
            self.key.clear();
            self.row.clear();
            self.key.push(batch.kind().info().number);
            batch.pack(index, &mut self.key, &mut self.row);
            self.sorter.push(&self.key, &self.row)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Sorted> {
        self.sorter.finish()
    }
}

/// Merges the shares of all workers and hands on batches in key order.
pub(crate) fn drain<S: System>(
    shares: Vec<Sorted>,
    stop: &Stop,
    take: &mut dyn FnMut(S::Batch) -> Result<()>,
) -> Result<()> {
    let mut sorted = Sorted::merge(shares)?;
    let (mut batch, mut bytes) = (None::<S::Batch>, 0);
    while let Some((key, row)) = sorted.next()? {
        let number = key.first().copied().unwrap_or_default();
        let has_room = |batch: &S::Batch| batch.len() < BATCH_ROWS && bytes < BATCH_BYTES;
        let fits = batch.as_ref().is_some_and(|batch| batch.kind().info().number == number && has_room(batch));
        if !fits {
            stop.check()?;
            if let Some(full) = batch.take() {
                take(full)?;
            }
            bytes = 0;
            batch = S::Kind::all().iter().find(|kind| kind.info().number == number).map(|&kind| S::Batch::empty(kind));
        }
        bytes += row.len();
        if let Some(batch) = &mut batch {
            batch.unpack(row)?;
        }
    }
    batch.map_or(Ok(()), take)
}
