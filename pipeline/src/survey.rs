//! Survey: a census and the books it keeps, one of each a worker; merged, then settled once. It knows no copy.

use metaferry_codecs::system::{Census, Ledger, Outcome, Sum, System};

use crate::Result;
use crate::spill::{Aggregator, SpillDir, Sums};

/// Both rounds of sums of one worker.
struct Books {
    first: Aggregator<4>,
    second: Aggregator<4>,
}

impl Ledger for Books {
    type Error = crate::Error;

    fn add(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<()> {
        self.second.add(key, delta)
    }

    fn add_first(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<()> {
        self.first.add(key, delta)
    }
}

/// One worker's part of a census.
pub(crate) struct Survey<S: System> {
    census: S::Census,
    books: Books,
}

impl<S: System> Survey<S> {
    pub(crate) fn new(census: S::Census, dir: &SpillDir, budget_bytes: usize) -> Self {
        let (first, second) = (budget_bytes / 8, budget_bytes - budget_bytes / 8);
        Self { census, books: Books { first: Aggregator::new(dir, first), second: Aggregator::new(dir, second) } }
    }

    /// Looks at a batch; true where the census keeps it back.
    pub(crate) fn observe(&mut self, batch: &S::Batch) -> Result<bool> {
        self.census.observe(batch, &mut self.books)
    }

    /// Ends what a worker saw; its sums are sorted in its own thread.
    pub(crate) fn finish(self) -> Result<Surveyed<S>> {
        let Self { census, books } = self;
        Ok(Surveyed { census, first: vec![books.first.finish()?], second: vec![books.second.finish()?] })
    }
}

/// What workers saw.
pub(crate) struct Surveyed<S: System> {
    census: S::Census,
    first: Vec<Sums<4>>,
    second: Vec<Sums<4>>,
}

/// Lets what the first round leads to be booked in the second.
struct Bridge(Aggregator<4>);

impl Ledger for Bridge {
    type Error = crate::Error;

    fn add(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<()> {
        self.0.add(key, delta)
    }

    fn add_first(&mut self, _key: [u64; 2], _delta: [i64; 4]) -> Result<()> {
        Err(crate::Error::new(crate::ErrorKind::Bug, "a census booked in the first round after it had ended"))
    }
}

impl<S: System> Surveyed<S> {
    /// Adds what another worker saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.census.merge(other.census);
        self.first.extend(other.first);
        self.second.extend(other.second);
    }

    /// Settles the census; `emit` gets what comes out.
    pub(crate) fn settle(
        mut self,
        dir: &SpillDir,
        budget_bytes: usize,
        emit: &mut dyn FnMut(Outcome<S::Batch>) -> Result<()>,
    ) -> Result<()> {
        let mut sums = Sums::merge(self.first);
        let mut bridge = Bridge(Aggregator::new(dir, budget_bytes));
        self.census.bridge(&mut || -> Result<Option<Sum>> { sums.next() }, &mut bridge)?;
        drop(sums);
        self.second.push(bridge.0.finish()?);
        let mut sums = Sums::merge(self.second);
        self.census.settle(&mut || sums.next(), emit)
    }
}
