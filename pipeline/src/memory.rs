//! The strict store in memory: what every other store is held against. It refuses what a real one might tolerate: rows that
//! come twice, rows out of kind order where it asked for order, a commit before every loader has finished.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metaferry_codecs::system::{Batch, Kind, System};

use crate::{
    About, Commit, Emit, Error, ErrorKind, Findings, Guarantee, KindSet, Loader, Needs, Partition, Result, Scope, Sink,
    Snapshot, Source, Stop,
};

/// Rows in a batch that is read.
const BATCH_ROWS: usize = 100;

/// Packed rows by the number of their kind and their packed key.
type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// A store in memory; clones are the same store.
#[derive(Debug)]
pub struct Memory<S: System> {
    needs: Needs,
    shared: Arc<Mutex<State>>,
    system: std::marker::PhantomData<S>,
}

impl<S: System> Clone for Memory<S> {
    fn clone(&self) -> Self {
        Self { needs: self.needs, shared: Arc::clone(&self.shared), system: std::marker::PhantomData }
    }
}

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    loaders: usize,
    committed: bool,
    prepared: bool,
}

impl<S: System> Memory<S> {
    /// An empty store with these needs.
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self { needs, shared: Arc::default(), system: std::marker::PhantomData }
    }

    /// Whether it was committed.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.state().committed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, batch: &S::Batch, replaces: bool) -> Result<()> {
        let mut state = self.state();
        for index in 0..batch.len() {
            let (mut key, mut row) = (Vec::new(), Vec::new());
            batch.pack(index, &mut key, &mut row);
            let number = batch.kind().info().number;
            if state.rows.insert((number, key), row).is_some() && !replaces {
                return Err(bug(format!("a {} row came twice", batch.kind().info().name)));
            }
        }
        Ok(())
    }
}

fn bug(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Bug, what)
}

impl<S: System> Source<S> for Memory<S> {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<S>>> {
        if !self.is_committed() {
            return Err(Error::corrupt("the store in memory was not committed"));
        }
        Ok(self)
    }
}

impl<S: System> Snapshot<S> for Memory<S> {
    fn about(&self) -> About {
        About {
            origin: "memory".to_owned(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::ALL,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<S>) -> Result<Vec<Partition<S>>> {
        let kinds = S::Kind::all().iter().filter(|&&kind| scope.wants(kind));
        Ok(kinds.map(|&kind| Partition { kind: Some(kind), from: 0, to: u64::MAX, weight: 1 }).collect())
    }

    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let Some(kind) = partition.kind else { return Err(bug("a partition of no kind")) };
        let mut batches = vec![S::Batch::empty(kind)];
        for ((number, _), row) in &self.state().rows {
            if *number != kind.info().number {
                continue;
            }
            if batches.last().is_some_and(|batch| batch.len() == BATCH_ROWS) {
                batches.push(S::Batch::empty(kind));
            }
            if let Some(batch) = batches.last_mut() {
                batch.unpack(row)?;
            }
        }
        batches.into_iter().filter(|batch| !batch.is_empty()).try_for_each(|batch| out.emit(batch))
    }
}

impl<S: System> Sink<S> for Memory<S> {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn prepare(&mut self, _about: &About, _stop: &Stop) -> Result<()> {
        let mut state = self.state();
        if state.prepared || !state.rows.is_empty() {
            return Err(Error::refused("the store in memory is not empty"));
        }
        state.prepared = true;
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<S>>> {
        self.state().loaders += 1;
        Ok(Box::new(MemoryLoader { store: self.clone(), last: BTreeMap::new() }))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<S>>> {
        match self.state().loaders {
            0 => Ok(Box::new(self.clone())),
            _ => Err(bug("read back before every loader had finished")),
        }
    }

    fn commit(self: Box<Self>, commit: Commit<S>) -> Result<Findings> {
        if self.state().loaders > 0 {
            return Err(bug("committed before every loader had finished"));
        }
        if commit.seal.kind() != S::SEAL || commit.seal.len() != 1 {
            return Err(bug("committed with something else than the seal"));
        }
        self.put(&commit.seal, false)?;
        self.state().committed = true;
        Ok(Findings::default())
    }
}

struct MemoryLoader<S: System> {
    store: Memory<S>,
    /// The last key loaded of each kind.
    last: BTreeMap<S::Kind, Vec<u8>>,
}

impl<S: System> Loader<S> for MemoryLoader<S> {
    fn load(&mut self, batch: S::Batch) -> Result<()> {
        let kind = batch.kind();
        if kind == S::SEAL || batch.is_empty() {
            return Err(bug(format!("a batch of {} {} rows was loaded", batch.len(), kind.info().name)));
        }
        for index in (0..batch.len()).filter(|_| self.store.needs.ordered.contains(kind)) {
            let mut key = Vec::new();
            batch.pack(index, &mut key, &mut Vec::new());
            if self.last.insert(kind, key.clone()).is_some_and(|last| last >= key) {
                return Err(bug(format!("a {} row came out of order", kind.info().name)));
            }
        }
        self.store.put(&batch, false)
    }

    fn amend(&mut self, batch: S::Batch) -> Result<()> {
        self.store.put(&batch, true)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.store.state().loaders -= 1;
        Ok(())
    }
}
