//! What of Kylin's rows is never compared: the change log, and the list of files to be cleaned up. Content is compared byte by
//! byte.

use super::key::TRASH;
use super::kinds::{Audit, Batch, Kind, Resource};
use crate::Tally;

/// An entry of the change log belongs to one store.
pub(super) fn is_log(_row: &Audit) -> bool {
    true
}

/// What is to be cleaned up changes by itself, and Kylin takes it out of every backup (`MetadataToolHelper`).
pub(super) fn is_trash(row: &Resource) -> bool {
    TRASH.contains(&row.key.as_slice())
}

/// No row means nothing, and none has a second spelling.
pub(super) fn canonicalize(_batch: &mut Batch) {}

/// No kind is counted as another one.
pub(super) fn tally_apart(_batch: &Batch, _tally: &mut Tally<Kind>) -> bool {
    false
}
