//! Next numbers that are moved on past what rows say.

use super::{findings, run, volume};
use crate::juicefs::{Batch, TRASH_INODE};
use crate::system::{Advance, CensusOptions, Outcome};

/// The next inode and the next slice of the volume where they are moved on.
fn advanced(options: CensusOptions) -> (i64, i64) {
    let outcomes = run(&volume(), options);
    let counters = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Derived(Batch::Counter(rows)) => Some(rows),
        _ => None,
    });
    let value = |name: &[u8]| counters.unwrap().iter().find(|row| row.name == name).unwrap().value;
    (value(b"nextInode"), value(b"nextChunk"))
}

#[test]
fn next_numbers_are_moved_on_where_that_is_asked_and_counters_are_not_kept() {
    let mend = CensusOptions { mend: true, ..CensusOptions::default() };
    let by =
        |nodes, objects, largest_object| CensusOptions { advance: Advance { nodes, objects, largest_object }, ..mend };
    assert_eq!(advanced(mend), (1026, 4097));
    assert_eq!(advanced(by(10, 20, 0)), (1036, 4117));
    assert_eq!(advanced(by(0, 20, 4000)), (1026, 4117));
    assert_eq!(advanced(by(0, 20, 5000)), (1026, 5021));
    assert_eq!(advanced(by(u64::MAX, u64::MAX, u64::MAX)), (TRASH_INODE.cast_signed() - 1, i64::MAX));
    assert_eq!(advanced(CensusOptions { keep_counters: true, ..by(10, 20, 5000) }), (1026, 4097));
    assert!(findings(&volume()).is_empty());
}
