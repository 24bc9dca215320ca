//! The sieve: what a JSON dump has no room for.

use metaferry_codecs::juicefs::{Batch, Kind, dump};
use metaferry_codecs::system::{Batch as _, Finding};
use metaferry_pipeline::Findings;

use crate::foreign;

/// Takes out kinds that the format does not have, which JuiceFS leaves behind too, and names that it has no way to write.
pub(super) fn sift(batch: &mut Batch, findings: &mut Findings) {
    let kind = batch.kind();
    match batch {
        Batch::DelSlices(_) | Batch::Detached(_) | Batch::Token(_) => {
            let what = match kind {
                Kind::DelSlices => "delayed slices",
                Kind::Detached => "detached nodes",
                _ => "delegation tokens",
            };
            findings.left_behind(what, batch.len() as u64);
            *batch = Batch::empty(kind);
        }
        Batch::Foreign(_) => foreign::sift(batch, findings),
        // They follow from the tree.
        Batch::SliceRef(_) | Batch::Parent(_) | Batch::DirStat(_) => *batch = Batch::empty(kind),
        Batch::Xattr(rows) => rows.retain(|row| {
            let is_text = std::str::from_utf8(&row.name).is_ok();
            if !is_text {
                let name = String::from_utf8_lossy(&row.name);
                let text = format!(
                    "xattr {name} of inode {}: its name is not UTF-8, which a JSON dump has no room for; it is not carried",
                    row.inode
                );
                findings.found(Finding { sort: "row lost", text, mendable: false });
            }
            is_text
        }),
        Batch::Counter(rows) => rows.retain(|row| dump::has_counter(&row.name)),
        _ => {}
    }
}
