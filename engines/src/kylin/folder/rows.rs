//! Resources on their way from files to batches: gathered, narrowed to one project where that was asked for, and summed.

use metaferry_codecs::kylin::content::BOUND;
use metaferry_codecs::kylin::{Batch, Kylin, Resource, Selection};
use metaferry_codecs::system::{Finding, Selection as _};
use metaferry_pipeline::{Emit, Result};

use super::sums::Sums;
use super::tree::shown;

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 1024;
/// Content in a batch, in bytes, but for the last row.
const BATCH_BYTES: usize = 1 << 20;

/// Where one scan puts its resources.
pub(super) struct Rows<'a> {
    out: &'a mut dyn Emit<Kylin>,
    selection: Option<&'a Selection>,
    sums: Option<Sums>,
    rows: Vec<Resource>,
    bytes: usize,
}

impl<'a> Rows<'a> {
    /// Puts them into `out`, those of `selection` alone, and sums all of them where `is_summed`.
    pub(super) fn new(out: &'a mut dyn Emit<Kylin>, selection: Option<&'a Selection>, is_summed: bool) -> Self {
        Self { out, selection, sums: is_summed.then(Sums::default), rows: Vec::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, key: Vec<u8>, content: Vec<u8>, ts: i64) -> Result<()> {
        debug_assert!(content.len() <= BOUND);
        if let Some(sums) = &mut self.sums {
            sums.add(&key, &content);
        }
        // What is summed was written here, and by no Java.
        if self.sums.is_none() && key.contains(&b'?') {
            let text = format!(
                "{}: a Java without the locale writes ? for letters that are not ASCII, and those of another name may have \
                 been lost under it",
                shown(&key)
            );
            self.found(Finding { sort: "name with a question mark", text, mendable: false });
        }
        self.bytes += content.len();
        self.rows.push(Resource { key, content, ts, mvcc: 0 });
        if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.out.damaged(place, why)
    }

    pub(super) fn found(&mut self, finding: Finding) {
        self.out.found(finding);
    }

    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let mut batch = Batch::from(std::mem::take(&mut self.rows));
        if let Some(selection) = self.selection {
            selection.keep(&mut batch);
        }
        if metaferry_codecs::system::Batch::is_empty(&batch) { Ok(()) } else { self.out.emit(batch) }
    }

    /// Ends the scan, and gives back the sums.
    pub(super) fn finish(mut self) -> Result<Option<Sums>> {
        self.flush()?;
        Ok(self.sums)
    }
}
