//! Batches out of rows that come one after the other.

use metaferry_codecs::juicefs::{Batch, JuiceFs};
use metaferry_pipeline::{Emit, Result};

use super::rows::{Cells, Row, Stored};

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 4096;
/// Bytes in a batch, about at most.
const BATCH_BYTES: usize = 1 << 20;

/// Rows of one kind, on their way out.
pub(crate) struct Batches<'t, R> {
    table: &'t str,
    rows: Vec<R>,
    bytes: usize,
}

impl<'t, R: Stored> Batches<'t, R>
where
    Batch: From<Vec<R>>,
{
    /// Rows of a table of this name, for messages.
    pub(crate) fn new(table: &'t str) -> Self {
        Self { table, rows: Vec::new(), bytes: 0 }
    }

    /// Decodes one row; emits a batch once it is full.
    pub(crate) fn take(&mut self, cells: &impl Cells, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let row = Row::new(cells, R::COLUMNS);
        match R::read(&row) {
            Ok(read) => {
                self.bytes += size_of::<R>() + read.extra();
                self.rows.push(read);
            }
            Err(error) => out.damaged(row.place(self.table, R::KEYS), error)?,
        }
        if self.bytes >= BATCH_BYTES || self.rows.len() >= BATCH_ROWS {
            self.emit(out)?;
        }
        Ok(())
    }

    fn emit(&mut self, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let full = std::mem::replace(&mut self.rows, Vec::with_capacity(BATCH_ROWS));
        self.bytes = 0;
        out.emit(full.into())
    }

    /// Emits what is left.
    pub(crate) fn finish(mut self, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        if self.rows.is_empty() { Ok(()) } else { self.emit(out) }
    }
}
