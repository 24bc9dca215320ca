//! Mends: what a load of the first source sets right, as its census says, in the order of keys and spilled like rows.

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Class, Kind, Outcome, System};

use super::Options;
use crate::spill::{Sorted, Sorter};
use crate::survey::Surveyed;
use crate::{KindSet, Result, Scope};

/// Marks a row that a load takes away.
const GONE: u8 = 0;
/// Marks a row that a load puts there.
const PUT: u8 = 1;

/// What a load mends.
pub(super) struct Mends {
    /// Rows by what they amend: those gone and those put there.
    pub(super) rows: Sorted,
    /// Kinds all of whose rows are put there anew.
    pub(super) replaced: KindSet,
}

/// Settles a census into what a load mends within a scope. `withheld` are the kinds that it kept back.
pub(super) fn mends<S: System>(
    surveyed: Surveyed<S>,
    withheld: KindSet,
    scope: &Scope<S>,
    options: &Options,
) -> Result<Mends> {
    let mut sorter = Sorter::new(&options.spill, options.memory_bytes / 8);
    let mut replaced: Vec<S::Kind> =
        S::Kind::all().iter().copied().filter(|&kind| withheld.contains(kind) && is_derived(kind)).collect();
    surveyed.settle(&options.spill, options.memory_bytes / 8, &mut |outcome| match outcome {
        Outcome::Derived(batch) => {
            if is_derived(batch.kind()) && !replaced.contains(&batch.kind()) {
                replaced.push(batch.kind());
            }
            push(&mut sorter, PUT, batch, scope)
        }
        Outcome::Amend { before, after } => {
            push(&mut sorter, GONE, before, scope)?;
            push(&mut sorter, PUT, after, scope)
        }
        Outcome::Found(_) => Ok(()),
    })?;
    Ok(Mends { rows: sorter.finish()?, replaced: KindSet::of(replaced) })
}

fn is_derived(kind: impl Kind) -> bool {
    kind.info().class == Class::Derived
}

/// Books rows under the keys of what they amend: where they are tallied, under their own keys.
fn push<S: System>(sorter: &mut Sorter, mark: u8, mut batch: S::Batch, scope: &Scope<S>) -> Result<()> {
    batch.canonicalize();
    let mut tally = Tally::default();
    batch.tally(&mut tally);
    let Some(amended) = tally.cells().map(|(kind, ..)| kind).next() else { return Ok(()) };
    scope.narrow(&mut batch);
    for index in (0..batch.len()).filter(|_| scope.wants(amended)) {
        let (mut key, mut row) = (vec![amended.info().number], vec![mark, batch.kind().info().number]);
        batch.pack(index, &mut key, &mut row);
        sorter.push(&key, &row)?;
    }
    Ok(())
}

/// Lets a tally follow one mend.
pub(super) fn follow<S: System>(tally: &mut Tally<S::Kind>, mend: &[u8]) -> Result<()> {
    let Some((&[mark, number], row)) = mend.split_first_chunk() else { return Ok(()) };
    let Some(kind) = super::rows::kind_of::<S>(number) else { return Ok(()) };
    let mut batch = S::Batch::empty(kind);
    batch.unpack(row)?;
    if mark == PUT {
        batch.tally(tally);
    } else {
        let mut gone = Tally::default();
        batch.tally(&mut gone);
        tally.subtract(&gone);
    }
    Ok(())
}
