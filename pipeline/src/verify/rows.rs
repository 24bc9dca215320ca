//! Rows: walks what two sources hold and what a load mends side by side, in the order of keys, and judges each difference.

use std::collections::BTreeSet;

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Class, Kind, System};

use super::mends::{Mends, follow};
use super::{Difference, Judgement, Verdict};
use crate::spill::Sorted;
use crate::{KindSet, Result, Stop};

/// The kind of this number.
pub(super) fn kind_of<S: System>(number: u8) -> Option<S::Kind> {
    S::Kind::all().iter().copied().find(|kind| kind.info().number == number)
}

/// Books what is in one of two sources only, or differs. Tells the first `limit` of it, what was mended last.
pub(super) fn differing<S: System>(
    sources: [Sorted; 2],
    mends: Mends,
    limit: usize,
    verdict: &mut Verdict<S>,
    stop: &Stop,
) -> Result<()> {
    let cells = verdict.differences.iter().map(|&(kind, bucket, _)| (kind, bucket)).collect();
    let mut judge = Judge::<S> { cells, replaced: mends.replaced, limit, verdict, mended: Vec::new() };
    let [left, right] = sources;
    let (mut left, mut right, mut mends) = (Walk::new(left)?, Walk::new(right)?, Walk::new(mends.rows)?);
    while let Some(key) = left.key().into_iter().chain(right.key()).min() {
        let key = key.to_vec();
        let (ours, theirs) = (left.take(&key)?, right.take(&key)?);
        let mut mended = Vec::new();
        mends.skip_before(&key)?;
        while let Some(mend) = mends.take(&key)? {
            mended.push(mend);
        }
        if ours != theirs {
            stop.check()?;
            judge.judge(&key, (ours, theirs), &mended)?;
        }
    }
    let Judge { verdict, mended, .. } = judge;
    verdict.rows.extend(mended);
    verdict.rows.truncate(limit);
    Ok(())
}

/// A sorted stream and the row that it stands at.
pub(super) struct Walk {
    sorted: Sorted,
    head: PackedRow,
}

type PackedRow = Option<(Vec<u8>, Vec<u8>)>;

impl Walk {
    pub(super) fn new(sorted: Sorted) -> Result<Self> {
        let mut walk = Self { sorted, head: None };
        walk.step()?;
        Ok(walk)
    }

    fn step(&mut self) -> Result<PackedRow> {
        let next = self.sorted.next()?.map(|(key, row)| (key.to_vec(), row.to_vec()));
        Ok(std::mem::replace(&mut self.head, next))
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|(key, _)| key.as_slice())
    }

    /// The row it stands at, where that has this key.
    pub(super) fn take(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.key() == Some(key) { Ok(self.step()?.map(|(_, row)| row)) } else { Ok(None) }
    }

    fn skip_before(&mut self, key: &[u8]) -> Result<()> {
        while self.key().is_some_and(|next| next < key) {
            self.step()?;
        }
        Ok(())
    }
}

/// What differences are held against, and where they are booked.
struct Judge<'a, S: System> {
    /// The kinds and buckets whose tallies differ; what differs elsewhere was changed after they were taken.
    cells: BTreeSet<(S::Kind, u16)>,
    replaced: KindSet,
    limit: usize,
    verdict: &'a mut Verdict<S>,
    mended: Vec<Difference>,
}

impl<S: System> Judge<'_, S> {
    fn judge(&mut self, key: &[u8], sides: (Option<Vec<u8>>, Option<Vec<u8>>), mends: &[Vec<u8>]) -> Result<()> {
        let Some(kind) = key.first().and_then(|&number| kind_of::<S>(number)) else { return Ok(()) };
        let (left, right) = (unpacked::<S>(kind, sides.0)?, unpacked::<S>(kind, sides.1)?);
        let differences = left.0.differences(&right.0);
        let Some(&(kind, bucket, class)) = differences.first() else { return Ok(()) };
        if !self.cells.contains(&(kind, bucket)) {
            return Ok(());
        }
        let mut expected = if self.replaced.contains(kind) { Tally::default() } else { left.0 };
        mends.iter().try_for_each(|mend| follow::<S>(&mut expected, mend))?;
        let judgement = match class {
            _ if expected.differences(&right.0).is_empty() => Judgement::Mended,
            Class::Primary => Judgement::Primary,
            Class::Derived | Class::Volatile => Judgement::Derived,
        };
        let count = match judgement {
            Judgement::Primary => &mut self.verdict.differing.primary,
            Judgement::Derived => &mut self.verdict.differing.derived,
            Judgement::Mended => &mut self.verdict.differing.mended,
        };
        *count += 1;
        let told = if judgement == Judgement::Mended { &mut self.mended } else { &mut self.verdict.rows };
        if told.len() < self.limit {
            told.push(Difference { kind: kind.info().name, judgement, left: left.1, right: right.1 });
        }
        Ok(())
    }
}

/// The tally of a row, and its JSON without secrets.
fn unpacked<S: System>(kind: S::Kind, row: Option<Vec<u8>>) -> Result<(Tally<S::Kind>, Option<String>)> {
    let mut tally = Tally::default();
    let Some(row) = row else { return Ok((tally, None)) };
    let (mut batch, mut text) = (S::Batch::empty(kind), Vec::new());
    batch.unpack(&row)?;
    batch.tally(&mut tally);
    S::strip_secrets(&mut batch)?;
    batch.write_lines(&mut text);
    Ok((tally, Some(String::from_utf8_lossy(&text).trim_end().to_owned())))
}
