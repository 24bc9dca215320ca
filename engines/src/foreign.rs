//! What a later JuiceFS wrote and nobody knows here: a target that has no room for it leaves it behind.

use metaferry_codecs::juicefs::Batch;
use metaferry_pipeline::Findings;

/// Takes out segments of unknown types, which only a binary dump and an archive hold.
pub(crate) fn sift(batch: &mut Batch, findings: &mut Findings) {
    let Batch::Foreign(rows) = batch else { return };
    let (mut segments, mut bytes) = (0, 0_u64);
    for row in rows.iter().filter(|row| row.piece == 0) {
        segments += 1;
        bytes = bytes.saturating_add(row.length);
    }
    findings.left_behind("segments of unknown types", segments);
    findings.left_behind("bytes in segments of unknown types", bytes);
    rows.clear();
}
