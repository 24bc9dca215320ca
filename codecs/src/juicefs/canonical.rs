//! What the canonical form holds to be absent or equal, so that the same volume has the same tally on every engine.

use super::kinds::{Batch, Counter, Kind, Node, Xattr};
use super::{ROOT_INODE, counter};
use crate::Tally;
use crate::declare::Row;
use crate::tally::{bucket_of, digest};

/// Whether a counter is the clock of a background job, which runs by itself.
pub(super) fn is_clock(row: &Counter) -> bool {
    counter::CLOCKS.contains(&row.name.as_slice())
}

/// Whether this is the note that JuiceFS's automatic backup leaves on the root.
pub(super) fn is_last_backup(row: &Xattr) -> bool {
    row.inode == ROOT_INODE && row.name == b"lastBackup"
}

/// Drops rows that mean nothing and brings the rest to one spelling.
pub(super) fn canonicalize(batch: &mut Batch) {
    match batch {
        Batch::Counter(rows) => {
            for row in rows.iter_mut() {
                row.value = counter::at_least_first(&row.name, row.value);
            }
            rows.retain(|row| row.value != 0);
        }
        Batch::Chunk(rows) => rows.retain(|row| !row.slices.0.is_empty()),
        Batch::SliceRef(rows) => rows.retain(|row| row.id != 0 && row.refs != 1),
        Batch::Parent(rows) => rows.retain(|row| row.count > 0 && row.parent != 0),
        _ => {}
    }
}

/// Adds link counts to where those of whole nodes are counted; false for every other kind, which is counted as its own.
pub(super) fn tally_apart(batch: &Batch, tally: &mut Tally<Kind>) -> bool {
    let Batch::Links(rows) = batch else { return false };
    let mut buffer = Vec::new();
    for row in rows {
        buffer.clear();
        Node { inode: row.inode, nlink: row.nlink, ..Node::default() }.put_derived(&mut buffer);
        let cell = tally.cell(Kind::Node, bucket_of(row.inode));
        cell.derived = cell.derived.wrapping_add(digest(&buffer));
    }
    true
}
