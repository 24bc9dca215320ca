//! What happens to every batch between a scan and the queue: the census sees it, it becomes canonical, what the target has
//! no room for and secrets are taken out, it is tallied. Each scanner has its own observer; they are merged at the end.

use std::collections::BTreeMap;

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Outcome, System};

use crate::spill::SpillDir;
use crate::survey::{Survey, Surveyed};
use crate::{Error, Findings, Result, Sieve};

/// What is taken out of batches on their way to a target.
pub(crate) struct Leaving<S: System> {
    /// What the target has no room for.
    pub(crate) sieve: Option<Sieve<S>>,
    /// Secrets.
    pub(crate) secrets: bool,
}

/// One scanner's observer.
pub(crate) struct Observer<S: System> {
    survey: Survey<S>,
    leaving: Leaving<S>,
    /// The batch that makes a target usable, once it came by.
    seal: Option<S::Batch>,
    tally: Tally<S::Kind>,
    pub(crate) findings: Findings,
    rows: BTreeMap<S::Kind, u64>,
}

impl<S: System> Observer<S> {
    pub(crate) fn new(census: S::Census, dir: &SpillDir, budget_bytes: usize, leaving: Leaving<S>) -> Self {
        Self {
            survey: Survey::new(census, dir, budget_bytes),
            leaving,
            seal: None,
            tally: Tally::default(),
            findings: Findings::default(),
            rows: BTreeMap::new(),
        }
    }

    /// Takes a batch in; gives back what goes on to the loaders.
    pub(crate) fn observe(&mut self, mut batch: S::Batch) -> Result<Option<S::Batch>> {
        if self.survey.observe(&batch)? {
            return Ok(None);
        }
        batch.canonicalize();
        if let Some(sieve) = self.leaving.sieve {
            sieve(&mut batch, &mut self.findings);
        }
        if self.leaving.secrets {
            let stripped = S::strip_secrets(&mut batch).map_err(|error| {
                Error::from(error)
                    .hint("secrets cannot be taken out of what cannot be read; --keep-secrets leaves them in")
            });
            self.findings.stripped += stripped?;
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
        let Self { survey, seal, tally, findings, rows, .. } = self;
        Ok(Merged { surveyed: survey.finish()?, seal, tally, findings, rows })
    }
}

/// What scanners saw.
pub(crate) struct Merged<S: System> {
    surveyed: Surveyed<S>,
    seal: Option<S::Batch>,
    tally: Tally<S::Kind>,
    findings: Findings,
    pub(crate) rows: BTreeMap<S::Kind, u64>,
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
        self.surveyed.add(other.surveyed);
        self.tally.add(&other.tally);
        self.findings.merge(other.findings);
        self.seal = self.seal.take().or(other.seal);
        for (kind, more) in other.rows {
            *self.rows.entry(kind).or_default() += more;
        }
    }

    /// Settles the census; `emit` gets the rows it worked out and those it amends, and the tally follows them.
    pub(crate) fn settle(
        mut self,
        sieve: Option<Sieve<S>>,
        dir: &SpillDir,
        budget_bytes: usize,
        emit: &mut dyn FnMut(Outcome<S::Batch>) -> Result<()>,
    ) -> Result<Settled<S>> {
        let (tally, findings) = (&mut self.tally, &mut self.findings);
        self.surveyed.settle(dir, budget_bytes, &mut |mut outcome| {
            if let (Outcome::Derived(batch), Some(sieve)) = (&mut outcome, sieve) {
                sieve(batch, findings);
            }
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
