//! The sieve: what a binary dump has no room for.

use metaferry_codecs::juicefs::binary::SegmentType;
use metaferry_codecs::juicefs::{Batch, Kind, counter};
use metaferry_codecs::system::{Batch as _, Finding, Kind as _};
use metaferry_pipeline::Findings;

/// Takes out kinds that the format does not have, which JuiceFS leaves behind too, and names that would make the whole dump
/// unreadable to it: protobuf takes no string that is not UTF-8.
pub(super) fn sift(batch: &mut Batch, findings: &mut Findings) {
    let kind = batch.kind();
    if SegmentType::holding(kind).is_none() && kind != Kind::Foreign {
        let what = match kind {
            Kind::DelSlices => "delayed slices",
            Kind::Detached => "detached nodes",
            Kind::Token => "delegation tokens",
            other => other.info().name,
        };
        findings.left_behind(what, batch.len() as u64);
        *batch = Batch::empty(kind);
    }
    match batch {
        Batch::Xattr(rows) => rows.retain(|row| {
            let place = format!("xattr {} of inode {}", String::from_utf8_lossy(&row.name), row.inode);
            is_text(&row.name, place, findings)
        }),
        // JuiceFS has no counters of rules and tokens in a dump: the largest id stands for the first.
        Batch::Counter(rows) => rows.retain(|row| {
            ![counter::ACL_MAX_ID, counter::TOKEN_MAX_ID].contains(&row.name.as_slice())
                && is_text(&row.name, format!("counter {}", String::from_utf8_lossy(&row.name)), findings)
        }),
        _ => {}
    }
}

fn is_text(name: &[u8], place: String, findings: &mut Findings) -> bool {
    let is_text = std::str::from_utf8(name).is_ok();
    if !is_text {
        let text = format!("{place}: its name is not UTF-8, which a binary dump has no room for; it is not carried");
        findings.found(Finding { sort: "row lost", text, mendable: false });
    }
    is_text
}
