//! What happens to every batch between a scan and the queue: the census sees it, it becomes canonical, what the target has
//! no room for and secrets are taken out, it is tallied. Each scanner has its own observer; they are merged at the end.

use std::collections::BTreeMap;

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Census, Ledger, Outcome, Sum, System};

use crate::spill::{Aggregator, SpillDir, Sums};
use crate::{Findings, Result, Sieve};

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

/// What is taken out of batches on their way to a target.
pub(crate) struct Leaving<S: System> {
    /// What the target has no room for.
    pub(crate) sieve: Option<Sieve<S>>,
    /// Secrets.
    pub(crate) secrets: bool,
}

/// One scanner's observer.
pub(crate) struct Observer<S: System> {
    census: S::Census,
    books: Books,
    leaving: Leaving<S>,
    /// The batch that makes a target usable, once it came by.
    seal: Option<S::Batch>,
    tally: Tally<S::Kind>,
    pub(crate) findings: Findings,
    rows: BTreeMap<S::Kind, u64>,
}

impl<S: System> Observer<S> {
    pub(crate) fn new(census: S::Census, dir: &SpillDir, budget_bytes: usize, leaving: Leaving<S>) -> Self {
        let (first, second) = (budget_bytes / 8, budget_bytes - budget_bytes / 8);
        let books = Books { first: Aggregator::new(dir, first), second: Aggregator::new(dir, second) };
        Self {
            census,
            books,
            leaving,
            seal: None,
            tally: Tally::default(),
            findings: Findings::default(),
            rows: BTreeMap::new(),
        }
    }

    /// Takes a batch in; gives back what goes on to the loaders.
    pub(crate) fn observe(&mut self, mut batch: S::Batch) -> Result<Option<S::Batch>> {
        if self.census.observe(&batch, &mut self.books)? {
            return Ok(None);
        }
        batch.canonicalize();
        if let Some(sieve) = self.leaving.sieve {
            sieve(&mut batch, &mut self.findings);
        }
        if self.leaving.secrets {
            self.findings.stripped += S::strip_secrets(&mut batch);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        batch.tally(&mut self.tally);
        *self.rows.entry(batch.kind()).or_default() += batch.len() as u64;
        if batch.kind() == S::SEAL {
            self.seal = Some(batch);
            return Ok(None);
        }
        Ok(Some(batch))
    }

    /// Ends what a scanner observed; its sums are sorted in its own worker.
    pub(crate) fn finish(self) -> Result<Merged<S>> {
        let Self { census, books, seal, tally, findings, rows, .. } = self;
        let (first, second) = (vec![books.first.finish()?], vec![books.second.finish()?]);
        Ok(Merged { census, first, second, seal, tally, findings, rows })
    }
}

/// What scanners saw.
pub(crate) struct Merged<S: System> {
    census: S::Census,
    first: Vec<Sums<4>>,
    second: Vec<Sums<4>>,
    seal: Option<S::Batch>,
    tally: Tally<S::Kind>,
    findings: Findings,
    pub(crate) rows: BTreeMap<S::Kind, u64>,
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

/// What is left of a [`Merged`] once its census was settled.
pub(crate) struct Settled<S: System> {
    pub(crate) seal: Option<S::Batch>,
    pub(crate) tally: Tally<S::Kind>,
    pub(crate) findings: Findings,
}

impl<S: System> Merged<S> {
    /// Adds what another scanner saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.census.merge(other.census);
        self.tally.add(&other.tally);
        self.findings.merge(other.findings);
        self.seal = self.seal.take().or(other.seal);
        for (kind, more) in other.rows {
            *self.rows.entry(kind).or_default() += more;
        }
        self.first.extend(other.first);
        self.second.extend(other.second);
    }

    /// Settles the census; `emit` gets the rows it worked out and those it amends, and the tally follows them.
    pub(crate) fn settle(
        mut self,
        dir: &SpillDir,
        budget_bytes: usize,
        emit: &mut dyn FnMut(Outcome<S::Batch>) -> Result<()>,
    ) -> Result<Settled<S>> {
        let mut sums = Sums::merge(self.first);
        let mut bridge = Bridge(Aggregator::new(dir, budget_bytes));
        self.census.bridge(&mut || -> Result<Option<Sum>> { sums.next() }, &mut bridge)?;
        drop(sums);
        self.second.push(bridge.0.finish()?);
        let mut sums = Sums::merge(self.second);
        let (tally, findings) = (&mut self.tally, &mut self.findings);
        self.census.settle(&mut || sums.next(), &mut |outcome| {
            match &outcome {
                Outcome::Derived(batch) => batch.tally_canonical(tally),
                Outcome::Amend { before, after } => {
                    let mut gone = Tally::default();
                    before.tally_canonical(&mut gone);
                    tally.subtract(&gone);
                    after.tally_canonical(tally);
                }
                Outcome::Found(finding) => findings.found(finding.clone()),
            }
            emit(outcome)
        })?;
        Ok(Settled { seal: self.seal, tally: self.tally, findings: self.findings })
    }
}
