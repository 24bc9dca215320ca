//! Changes: the rows that one of two sources has and the other has not, or has otherwise, in the order of keys; and rows of one
//! source, shown to many workers. What they mean is for others to say.

use metaferry_codecs::system::{Batch, System};

use super::rows::{Walk, kind_of};
use super::{Open, Options, each_worker, sorted, tally};
use crate::{Result, Scope, Stop};

/// A row as each of two sources has it, each in a batch of one row; none where one has no such row.
pub struct Change<S: System> {
    /// The kind of the row.
    pub kind: S::Kind,
    /// As the first source has it.
    pub left: Option<S::Batch>,
    /// As the second has it.
    pub right: Option<S::Batch>,
}

/// Hands out what changed of some kinds from the first source to the second.
///
/// # Errors
/// Those of the sources, and of `take`.
pub fn changes<S: System>(
    (left, right): (Open<'_, S>, Open<'_, S>),
    kinds: &[S::Kind],
    options: &Options,
    stop: &Stop,
    take: &mut dyn FnMut(Change<S>) -> Result<()>,
) -> Result<()> {
    let all = Scope { kinds: Some(kinds.iter().copied().collect()), buckets: None };
    let read = |open: Open<'_, S>| {
        let snapshot = open()?.snapshot(options.threads, stop)?;
        tally(snapshot.as_ref(), &all, options.threads, stop)
    };
    let differences = read(left)?.differences(&read(right)?);
    if differences.is_empty() {
        return Ok(());
    }
    let scope = Scope {
        kinds: Some(differences.iter().map(|&(kind, ..)| kind).collect()),
        buckets: Some(differences.iter().map(|&(_, bucket, _)| bucket).collect()),
    };
    let mut left = Walk::new(sorted(left, &scope, options, stop)?)?;
    let mut right = Walk::new(sorted(right, &scope, options, stop)?)?;
    while let Some(key) = left.key().into_iter().chain(right.key()).min() {
        let key = key.to_vec();
        let (ours, theirs) = (left.take(&key)?, right.take(&key)?);
        let Some(kind) = key.first().and_then(|&number| kind_of::<S>(number)) else { continue };
        if ours != theirs {
            stop.check()?;
            take(Change { kind, left: unpacked::<S>(kind, ours)?, right: unpacked::<S>(kind, theirs)? })?;
        }
    }
    Ok(())
}

/// Shows all rows of a kind to many workers.
///
/// # Errors
/// Those of the source, and of `take`.
pub fn read_rows<S: System>(
    open: Open<'_, S>,
    kind: S::Kind,
    options: &Options,
    stop: &Stop,
    take: &(dyn Fn(S::Batch) -> Result<()> + Sync),
) -> Result<()> {
    let scope = Scope { kinds: Some([kind].into()), buckets: None };
    let snapshot = open()?.snapshot(options.threads, stop)?;
    each_worker(snapshot.as_ref(), &scope, options.threads, stop, |scan| scan(&mut |batch| take(batch))).map(drop)
}

fn unpacked<S: System>(kind: S::Kind, row: Option<Vec<u8>>) -> Result<Option<S::Batch>> {
    let Some(row) = row else { return Ok(None) };
    let mut batch = S::Batch::empty(kind);
    batch.unpack(&row)?;
    Ok(Some(batch))
}
